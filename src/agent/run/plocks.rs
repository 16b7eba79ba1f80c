//! POSIX locks, between the kernel and the machine beside the core that follows its view.

use super::Agent;
use crate::agent::leaving::Leaving;
use crate::agent::machine::Machine;
use crate::base::NodeSet;
use crate::base::limits::SPACES_MAX;
use crate::drv::clock;
use crate::wire::Message;

impl Agent {
    /// POSIX locks: what the kernel asks for, and what there is to say about it.
    pub(super) fn take_plocks(&mut self) {
        if self.leaving == Leaving::Gone {
            return;
        }
        self.follow_plocks();
        let Agent { plocks, machine, joined, .. } = self;
        let Machine { spaces, peers, incarnation, .. } = &mut **machine;
        if let Some(spaces) = spaces {
            let now: heapless::Vec<u32, SPACES_MAX> = spaces.states().iter().map(|entry| entry.name.id()).collect();
            joined.iter().filter(|id| !now.contains(id)).for_each(|id| plocks.client.left(*id));
            *joined = now;
            while plocks.client.has_room()
                && let Some((wish, lock)) = spaces.take_request()
            {
                plocks.client.wishes(wish, &lock);
            }
        }
        plocks.turn(
            clock::boottime_ms(),
            &mut |to, message| peers.send(NodeSet::of(to), *incarnation, message),
            &mut |wish, lock, result| {
                if let Some(spaces) = spaces {
                    spaces.answer(wish, lock, result);
                }
            },
        );
    }

    pub(super) fn follow_plocks(&mut self) {
        let (view, active) = match self.node.followed() {
            Some((view, active)) => (Some(view), active),
            None => (None, false),
        };
        self.plocks.follow(clock::boottime_ms(), self.node.incarnation(), view, active);
    }
}

pub(super) fn is_of_plocks(message: &Message) -> bool {
    matches!(message, Message::PlockAsk { .. } | Message::PlockTell { .. })
}

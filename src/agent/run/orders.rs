//! What an operator ordered: done once it is told; and the way out of the cluster.

use super::Agent;
use crate::agent::gate;
use crate::agent::leaving::{End, Next};
use crate::agent::machine::Machine;
use crate::base::NodeId;
use crate::cli::order::Order;
use crate::cluster::event::Event;
use crate::drv::reset;

/// An agent whose work is done waits so long for hooks that are told of it.
const LAST_WORDS_MS: u64 = 10_000;
/// And so long for whoever ordered it to ask whether it is.
const ASKED_MS: u64 = 1_000;

/// May the process of an agent whose work is done end?
pub(super) fn may_exit(now_ms: u64, ended_ms: u64, hooks_are_idle: bool) -> bool {
    now_ms >= ended_ms + LAST_WORDS_MS || (hooks_are_idle && now_ms >= ended_ms + ASKED_MS)
}

impl Agent {
    /// Does what is next to do on the way out.
    pub(super) fn leave_further(&mut self, now_ms: u64) {
        let Machine { behind, spaces, has_left, .. } = &mut *self.machine;
        let closed = behind.is_closed() && spaces.as_ref().is_none_or(|spaces| spaces.states().is_empty());
        let fence_ms = u64::from(self.cluster.timing.fence_timeout_ms);
        match self.leaving.turn(now_ms, closed, *has_left, fence_ms) {
            Next::Wait => {}
            Next::Ask => self.step(Event::Leave),
            Next::Stay => {
                for entry in spaces.iter().flat_map(|spaces| spaces.states()) {
                    log::error!("lockspace {} is in use: something of it is still mounted", entry.name);
                }
                log::error!("this node stays: what uses the shared storage did not end in time");
                behind.reopen(now_ms);
            }
            Next::End(end) => self.end(now_ms, end),
        }
    }

    /// The last thing that this agent does, but for telling hooks of it; a first process stays to be asked.
    pub(super) fn end(&mut self, now_ms: u64, end: End) {
        if end.disarms(&self.cluster) {
            reset::disarm_watchdog();
        } else {
            log::warn!("the watchdog resets this machine: the others count on that, whatever still runs here");
        }
        if self.machine.mark_boot {
            // If that fails, the marker of the gate stays: then the next start resets the machine, which is as safe.
            let _ = gate::mark_left(self.machine.boot_id);
        }
        log::info!("{end}; a reboot of the machine makes it join again");
        if std::process::id() != 1 {
            self.ended_ms = Some(now_ms);
        }
    }

    /// Does what an operator has confirmed. It is told first: on the consoles, and to the client by its answer.
    pub(super) fn obey(&mut self, now_ms: u64, order: Order, whom: Option<NodeId>) {
        self.journal.note_order(now_ms, order);
        self.obeying = true;
        self.talk(now_ms);
        self.obeying = false;
        match order {
            Order::Ack(_) => whom.into_iter().for_each(|whom| self.step(Event::Acknowledge(whom))),
            Order::Fence(_) => whom.into_iter().for_each(|whom| self.step(Event::Fence(whom))),
            Order::Leave | Order::LeaveNow => {
                self.leaving.begin(now_ms, order == Order::Leave);
                self.machine.behind.close(now_ms);
            }
            Order::Apply(file) => {
                if !self.config_file.read(file) {
                    log::error!("config apply {}: another file is still being read; nothing was done", file.as_str());
                }
            }
            Order::Reboot => reset::self_fence(format_args!("an operator ordered it")),
        }
    }
}

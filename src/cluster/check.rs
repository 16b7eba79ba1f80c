//! The fresh check: is the view that this node leads still the newest, as far as a quorum or the qdisk can tell?

use super::event::{Action, Actions};
use super::leader::{Lead, Leading};
use super::node::{Node, push};
use super::votes::{Ballot, is_quorum};
use crate::base::{NodeId, Proposal, View, ViewId};
use crate::wire::Message;

/// "Has nobody been promised a higher term since I began to ask?"
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Check {
    /// Not begun.
    #[default]
    Idle,
    /// A qdisk cycle that carries this version.
    Qdisk {
        /// The slot's version.
        version: u64,
    },
    /// A round of acceptances from a quorum.
    Round {
        /// Answers count only for this round.
        round: u32,
        /// The view asked about.
        id: ViewId,
        /// Who said yes.
        ballot: Ballot,
    },
    /// Yes.
    Done,
}

impl Check {
    /// Counts an acceptance if it is one of this round; true if it is.
    pub fn count(&mut self, of_round: u32, of_id: ViewId, from: NodeId, warm: bool) -> bool {
        match self {
            Check::Round { round, id, ballot } if *round == of_round && *id == of_id => {
                ballot.add(from, warm);
                true
            }
            _ => false,
        }
    }
}

impl Node {
    /// Drives a check; true once it is done.
    pub(super) fn checked(&mut self, of: impl Fn(&mut Leading) -> (&mut Check, u32), actions: &mut Actions) -> bool {
        let Some(view) = self.led_view() else { return false };
        let check = self.with_leading(|leading| *of(leading).0);
        let next = match check {
            Check::Done => return true,
            Check::Idle if view.holds_qdisk => Check::Qdisk { version: self.touch_slot() },
            Check::Idle => self.ask_round(&view, actions),
            Check::Qdisk { version } if self.qdisk_confirms(&view, version) => Check::Done,
            Check::Round { ballot, .. } if is_quorum(&self.settings, ballot, false) => Check::Done,
            Check::Qdisk { .. } | Check::Round { .. } => return false,
        };
        self.with_leading(|leading| *of(leading).0 = next);
        self.again = true;
        next == Check::Done
    }

    /// Only for who has seen that it leads (`led_view`).
    pub(super) fn with_leading<T>(&mut self, change: impl FnOnce(&mut Leading) -> T) -> T {
        let Lead::Leading(leading) = &mut self.lead else { unreachable!("only a leader checks") };
        change(leading)
    }

    /// The committed view with its own base. A proposal that was withdrawn since may be what is accepted now.
    fn in_force(&self, view: &View) -> Proposal {
        Proposal { view: *view, base: self.accepted.filter(|held| held.view.id == view.id).and_then(|held| held.base) }
    }

    /// Asks everybody to accept the committed view once more.
    fn ask_round(&mut self, view: &View, actions: &mut Actions) -> Check {
        let round = self.with_leading(|leading| {
            leading.round += 1;
            leading.round
        });
        let mut ballot = Ballot::default();
        ballot.add(self.me(), true);
        let proposal = self.in_force(view);
        let to = self.peers.alive();
        push(actions, Action::Send { to, message: Message::Accept { round, proposal } });
        Check::Round { round, id: view.id, ballot }
    }

    /// With every heartbeat: a round that is not answered is asked again.
    pub(super) fn repeat_checks(&mut self, actions: &mut Actions) {
        let Some(view) = self.led_view() else { return };
        let Lead::Leading(leading) = &self.lead else { return };
        let checks = [leading.plan.before_fencing, leading.plan.before_release, leading.joining.check];
        let proposal = self.in_force(&view);
        for check in checks {
            if let Check::Round { round, ballot, .. } = check {
                let to = self.peers.alive().without(ballot.warm.union(ballot.cold));
                push(actions, Action::Send { to, message: Message::Accept { round, proposal } });
            }
        }
        let missing = self.unacknowledged(&view).intersection(self.peers.alive());
        if !missing.is_empty() {
            let phase = self.committed_phase;
            push(actions, Action::Send { to: missing, message: Message::Commit { view, phase } });
        }
    }
}

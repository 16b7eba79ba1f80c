//! What goes wrong at an output: each kind of deviation, carried out.

use quorate::base::NodeId;
use quorate::cluster::Action;
use quorate::cluster::event::Op;
use quorate::disk::DiskError;
use quorate::scsi::{PrCommand, PrError};

use super::machine::{Input, Power, Todo};
use super::{Due, World, node_id};
use crate::explore::kinds::Kind;
use crate::queue::{MS, Micros, S};

/// A late frame comes after the sender was suspected and a new view was made.
const LATE: Micros = 2_500 * MS;
/// A disk that hangs for longer than the issuer waits (io_timeout is 5 s).
const HANG: Micros = 7 * S;
/// Pauses end when the others have released a newer view, or after this.
const PAUSE_MAX: Micros = 8 * S;
/// A machine that boots before anybody suspects it,
const QUICK_BOOT: Micros = 700 * MS;
/// and one that boots when all is over.
const LATE_BOOT: Micros = 9 * S;
/// An error comes back after this.
const ANSWER: Micros = 2 * MS;

/// Something waits until others have released a view, or for its time.
#[derive(Debug, Clone)]
pub(super) struct Wait {
    node: usize,
    /// Releases so far.
    released: usize,
    then: Then,
}

#[derive(Debug, Clone)]
enum Then {
    /// The pause of this number ends.
    Resume(u64),
    /// Held commands of the node land.
    LetGo,
}

/// A deviation goes on.
#[derive(Debug, Clone)]
pub(super) enum Later {
    /// An answer arrives.
    Answer { node: usize, boot: u32, input: Input },
    /// Held commands land.
    LetGo(usize),
    /// A machine gets its power back.
    PowerOn(usize),
    /// Cut links work again.
    Rejoin,
}

impl World {
    /// Does the action, with this going wrong.
    pub(super) fn deviate(&mut self, node: usize, todo: Todo, point: u32, kind: Kind) {
        match kind {
            Kind::Lost => self.with_links_cut(node, |world| world.just_do(node, todo)),
            Kind::Late => {
                let usual = (self.options.delay_min, self.options.delay_max);
                (self.options.delay_min, self.options.delay_max) = (LATE, LATE);
                self.just_do(node, todo);
                (self.options.delay_min, self.options.delay_max) = usual;
                self.busy_for(LATE + 100 * MS);
            }
            Kind::Twice => {
                self.options.duplicate = 1_000_000;
                self.just_do(node, todo);
                self.options.duplicate = 0;
            }
            Kind::Failed => self.fail_after(node, todo),
            Kind::Refused => self.refuse(node, todo),
            Kind::Torn => {
                if let Action::QdiskWrite { slot, .. } = &todo.action {
                    self.tear_slot_write(node, slot);
                }
                self.refuse(node, todo);
            }
            Kind::Hung => self.hang_one(node, todo),
            Kind::Orphan => {
                self.issue_held(node, todo);
                self.busy_for(LATE_BOOT);
                let later = self.now + PAUSE_MAX;
                self.queue.push(later, Due::Placed(Later::LetGo(node)));
                self.wait_for_release(node, Then::LetGo);
                self.die(node, LATE_BOOT);
            }
            Kind::Pause | Kind::PauseRunning | Kind::PauseStale => {
                let checked = todo.checked || kind == Kind::PauseRunning;
                self.put_back(node, point, Todo { checked, ..todo });
                self.stand_still(node, kind != Kind::Pause);
            }
            Kind::PauseAfter | Kind::PauseAfterRunning => {
                self.just_do(node, todo);
                self.stand_still(node, kind == Kind::PauseAfterRunning);
            }
            Kind::Crash => self.die(node, QUICK_BOOT),
            Kind::CrashLong => self.die(node, LATE_BOOT),
            Kind::CrashAfter | Kind::CrashAfterLong => {
                self.just_do(node, todo);
                self.die(node, if kind == Kind::CrashAfter { QUICK_BOOT } else { LATE_BOOT });
            }
            Kind::TargetReset => {
                self.power_cycle(0);
                self.just_do(node, todo);
                self.busy_for(2 * S);
            }
            Kind::Wipe => {
                self.wipe_qdisk();
                self.just_do(node, todo);
                self.busy_for(2 * S);
            }
        }
    }

    fn just_do(&mut self, node: usize, todo: Todo) {
        self.books().free = true;
        self.act(node, todo);
    }

    pub(super) fn busy_for(&mut self, length: Micros) {
        let until = self.now + length;
        let books = self.books();
        books.busy_until = books.busy_until.max(until);
    }

    fn with_links_cut(&mut self, node: usize, act: impl FnOnce(&mut World)) {
        let others: Vec<NodeId> = (0..self.machines.len()).filter(|&other| other != node).map(node_id).collect();
        self.cut(&[node_id(node)], &others, true);
        act(self);
        for other in others {
            if !self.books().parted.contains(&(node, other.index())) {
                self.cut(&[node_id(node)], &[other], false);
            }
        }
    }

    /// Cuts a node off for a while.
    pub fn part(&mut self, node: NodeId, length: Micros) {
        let others: Vec<NodeId> = (0..self.machines.len()).map(node_id).filter(|&other| other != node).collect();
        self.cut(&[node], &others, true);
        let pairs = others.iter().flat_map(|other| [(node.index(), other.index()), (other.index(), node.index())]);
        self.books().parted = pairs.collect();
        let at = self.now + length;
        self.queue.push(at, Due::Placed(Later::Rejoin));
        self.busy_for(length);
        self.tell(|| format!("*** n{node} is cut off"));
    }

    /// The command is carried out, the answer is an error.
    fn fail_after(&mut self, node: usize, todo: Todo) {
        match &todo.action {
            Action::QdiskWrite { op, .. } | Action::EvictionWrite { op, .. } | Action::QdiskRead { op, .. } => {
                let (op, boot) = (*op, self.machines[node].boot);
                self.books().spoiled.push((node, boot, op));
            }
            Action::Pr { command, .. } => {
                let command = *command;
                self.lose_answer(node_id(node), move |other| *other == command);
            }
            _ => {}
        }
        self.just_do(node, todo);
    }

    /// Does the answer of this command come back as an error, whatever became of it?
    pub(super) fn spoils(&mut self, node: usize, boot: u32, op: Op) -> bool {
        let Some(books) = &mut self.placing else { return false };
        let position = books.spoiled.iter().position(|spoiled| *spoiled == (node, boot, op));
        position.map(|position| books.spoiled.remove(position)).is_some()
    }

    /// The command never gets to the disk, the answer is an error.
    fn refuse(&mut self, node: usize, todo: Todo) {
        let boot = self.machines[node].boot;
        let input = match todo.action {
            Action::QdiskWrite { op, .. } | Action::EvictionWrite { op, .. } => {
                Input::QdiskWritten(op, Err(DiskError::Io))
            }
            Action::QdiskRead { op, .. } => Input::QdiskRead(op, Err(DiskError::Io)),
            Action::Pr { disk, op, command, .. } => {
                if let PrCommand::Register { key, .. } = command {
                    let life = self.machines[node].life();
                    self.checker.register_sent(self.now, life, disk, key);
                    self.checker.register_returned(life, disk, false, true);
                }
                Input::PrDone(disk, op, Box::new(Err(PrError::Transport)))
            }
            _ => return self.just_do(node, todo),
        };
        let at = self.now + ANSWER;
        self.queue.push(at, Due::Placed(Later::Answer { node, boot, input }));
    }

    /// The command hangs for longer than anybody waits for it.
    fn hang_one(&mut self, node: usize, todo: Todo) {
        self.busy_for(HANG + 100 * MS);
        let until = self.now + HANG;
        if let Action::Pr { .. } = todo.action {
            let ticket = self.issue_held(node, todo);
            let patience = u64::from(self.settings.timing.io_timeout_ms) * MS;
            self.books().hung.push(ticket);
            self.queue.push(self.now + patience, Due::PrTimeout(ticket));
            self.queue.push(until, Due::Placed(Later::LetGo(node)));
        } else {
            self.hang_qdisk(node_id(node), until);
            self.just_do(node, todo);
        }
    }

    fn issue_held(&mut self, node: usize, todo: Todo) -> u64 {
        self.hold(node_id(node), |_| true);
        self.just_do(node, todo);
        self.hooks.pop();
        self.ticket
    }

    fn stand_still(&mut self, node: usize, clock_runs: bool) {
        self.pause_for(node, Some(PAUSE_MAX), clock_runs);
        if matches!(self.machines[node].power, Power::Paused { .. }) {
            let pause = self.machines[node].pauses;
            self.wait_for_release(node, Then::Resume(pause));
        }
    }

    fn die(&mut self, node: usize, boots_after: Micros) {
        self.machines[node].stays_off = true;
        self.kill(node, "crash");
        let at = self.now + boots_after;
        self.queue.push(at, Due::Placed(Later::PowerOn(node)));
        self.busy_for(boots_after);
    }

    fn wait_for_release(&mut self, node: usize, then: Then) {
        let released = self.checker.released().count();
        self.books().waits.push(Wait { node, released, then });
    }

    /// Somebody is about to act: has there been a release since?
    pub(super) fn wake_those_who_waited(&mut self) {
        if self.books().waits.is_empty() {
            return;
        }
        let soon = self.now + MS;
        let mut waits = std::mem::take(&mut self.books().waits);
        waits.retain(|wait| {
            let mut news = self.checker.released().skip(wait.released);
            let newer = news.any(|known| known.view.coordinator() != Some(node_id(wait.node)));
            match wait.then {
                // Over already, one way or the other.
                Then::Resume(pause) if self.machines[wait.node].pauses != pause => return false,
                Then::Resume(_) if !matches!(self.machines[wait.node].power, Power::Paused { .. }) => return false,
                _ if !newer => return true,
                Then::Resume(pause) => self.queue.push(soon, Due::Resume { node: wait.node, pause }),
                Then::LetGo => self.queue.push(soon, Due::Placed(Later::LetGo(wait.node))),
            }
            false
        });
        self.books().waits = waits;
    }

    /// A deviation goes on.
    pub(super) fn later(&mut self, later: Later) {
        match later {
            Later::Answer { node, boot, input } => self.give(node, boot, input),
            Later::LetGo(node) => {
                let gone = |wait: &Wait| wait.node == node && matches!(wait.then, Then::LetGo);
                self.books().waits.retain(|wait| !gone(wait));
                self.let_commands_go(node);
            }
            Later::PowerOn(node) => {
                let machine = &mut self.machines[node];
                machine.stays_off = false;
                let boot = machine.boot;
                self.boot(node, boot);
            }
            Later::Rejoin => {
                let parted = std::mem::take(&mut self.books().parted);
                for (from, to) in parted {
                    self.cut(&[node_id(from)], &[node_id(to)], false);
                }
                self.tell(|| "*** all links work again".to_string());
            }
        }
    }
}

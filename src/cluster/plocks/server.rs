//! The coordinator's side: one table for the locks of all nodes, filled anew at the beginning of every reign from what the nodes hold.

use heapless::Vec;

use super::REPEAT_MS;
use super::table::{Entry, Table};
use crate::base::limits::{NODES_MAX, PLOCK_WAITERS_MAX, PLOCKS_MAX};
use crate::base::{
    Incarnation, NodeId, NodeSet, PLOCK_ITEMS, Plock, PlockAnswer, PlockItem, PlockResult, PlockWish, Term, View,
};
use crate::wire::Message;

/// A wish that waits for another lock to go, or has been met and is not on its way to its node yet.
#[derive(Debug, Clone, Copy)]
pub struct Waiter {
    /// Whose.
    pub node: NodeId,
    op: u32,
    /// For what.
    pub lock: Plock,
    result: Option<PlockResult>,
}

/// The stream from and to a member.
#[derive(Debug, Clone)]
struct Member {
    life: Incarnation,
    /// It said what it holds.
    ready: bool,
    /// The last batch that was carried out.
    heard: u32,
    /// It must be told so.
    owes: bool,
    /// The last batch of answers, which is sent until it was heard.
    batch: u32,
    answers: Option<[Option<PlockAnswer>; PLOCK_ITEMS]>,
    next_ms: u64,
}

/// Serves as long as this node is the coordinator.
#[derive(Debug)]
pub struct Server {
    /// The term under which it coordinates; `None`: somebody else serves.
    reign: Option<Term>,
    /// The view followed is released and quorate.
    active: bool,
    members: [Option<Member>; NODES_MAX],
    table: Table<PLOCKS_MAX>,
    waiters: Vec<Waiter, PLOCK_WAITERS_MAX>,
}

impl Server {
    /// Somebody else serves.
    pub const fn new() -> Server {
        Server {
            reign: None,
            active: false,
            members: [const { None }; NODES_MAX],
            table: Table::new(),
            waiters: Vec::new(),
        }
    }

    /// Does this node serve?
    pub fn reigns(&self) -> bool {
        self.reign.is_some()
    }

    /// Members that have not said yet what they hold: nobody is served before.
    pub fn awaited(&self) -> NodeSet {
        let members = self.members.iter().enumerate();
        let silent = members.filter(|(_, member)| member.as_ref().is_some_and(|member| !member.ready));
        silent.filter_map(|(index, _)| NodeId::new(index as u8 + 1)).collect()
    }

    /// All locks.
    pub fn locks(&self) -> &[Entry] {
        self.table.entries()
    }

    /// Wishes that wait.
    pub fn waiters(&self) -> impl Iterator<Item = &Waiter> {
        self.waiters.iter().filter(|waiter| waiter.result.is_none())
    }

    /// Everything of a reign that is over goes: another node's may have granted what this one knows nothing of.
    pub fn end(&mut self) {
        if self.reigns() {
            (self.reign, self.active) = (None, false);
            self.members = [const { None }; NODES_MAX];
            self.table.retain(|_| false);
            self.waiters.clear();
        }
    }

    /// Follows a view that this node coordinates. `active`: it is released, so whoever is not in it cannot write any more, and quorate.
    pub fn follow(&mut self, now_ms: u64, view: &View, active: bool) {
        if self.reign != Some(view.id.term) {
            // Somebody else may have coordinated in between, and granted what is not in this table.
            self.end();
            self.reign = Some(view.id.term);
        }
        for index in 0..NODES_MAX {
            let Some(node) = NodeId::new(index as u8 + 1) else { continue };
            let life = view.members.contains(node).then(|| view.incarnations.of(node));
            let place = &mut self.members[index];
            if place.as_ref().map(|member| member.life) == life {
                continue;
            }
            if place.is_some() {
                // Its locks matter no more once the view is released, and before that nobody is served.
                self.table.retain(|entry| entry.node != node);
                self.waiters.retain(|waiter| waiter.node != node);
            }
            *place = life.map(|life| Member {
                life,
                ready: false,
                heard: 0,
                owes: false,
                batch: 0,
                answers: None,
                next_ms: now_ms,
            });
        }
        self.active = active;
        self.look(now_ms);
    }

    /// A member's batch.
    pub fn asked(
        &mut self,
        now_ms: u64,
        from: (NodeId, Incarnation),
        (batch, items): (u32, &[Option<PlockItem>; PLOCK_ITEMS]),
        heard: u32,
        reign: Term,
    ) {
        let (node, life) = from;
        if self.reign != Some(reign) {
            return;
        }
        let serves = self.serves();
        let Some(member) = self.members[node.index()].as_mut().filter(|member| member.life == life) else { return };
        if heard == member.batch {
            member.answers = None;
        }
        let has_wishes = items.iter().flatten().any(|item| matches!(item, PlockItem::Wishes { .. }));
        if batch == member.heard && batch > 0 {
            // Told already, and that was lost.
            member.owes = true;
        } else if batch == member.heard + 1 && member.answers.is_none() && (serves || !has_wishes) {
            (member.heard, member.owes) = (batch, true);
            let mut answers = Vec::<PlockAnswer, PLOCK_ITEMS>::new();
            for item in items.iter().flatten() {
                if let Some(answer) = self.carry_out(node, item) {
                    // As many answers as items at most.
                    let _ = answers.push(answer);
                }
            }
            self.answer(now_ms, node, &answers);
        }
        self.look(now_ms);
    }

    /// Nobody is served while somebody may hold what is not in the table, or write without holding it.
    pub fn serves(&self) -> bool {
        self.active && self.members.iter().flatten().all(|member| member.ready)
    }

    fn carry_out(&mut self, node: NodeId, item: &PlockItem) -> Option<PlockAnswer> {
        match *item {
            PlockItem::Holds(lock) => {
                // It holds it, whatever the table says: one that is too full refuses others.
                let _ = self.table.lock(node, &lock);
                None
            }
            PlockItem::Ready => {
                if let Some(member) = &mut self.members[node.index()] {
                    member.ready = true;
                }
                None
            }
            PlockItem::Leaves(space) => {
                self.table.retain(|entry| entry.node != node || entry.lock.space != space);
                self.waiters.retain(|waiter| waiter.node != node || waiter.lock.space != space);
                None
            }
            PlockItem::Wishes { op, wish, lock } => {
                self.wish(node, op, wish, &lock).map(|result| PlockAnswer { op, result })
            }
        }
    }

    /// `None`: the answer comes later, or none does.
    fn wish(&mut self, node: NodeId, op: u32, wish: PlockWish, lock: &Plock) -> Option<PlockResult> {
        let result = |done: Result<(), _>| if done.is_ok() { PlockResult::Done } else { PlockResult::NoRoom };
        match wish {
            PlockWish::Get => Some(match self.table.in_the_way(node, lock) {
                None => PlockResult::Free,
                Some(entry) => PlockResult::InTheWay { node: entry.node, lock: entry.lock },
            }),
            PlockWish::Unlock { closes } => {
                let done = self.table.unlock(node, lock);
                if !closes {
                    return Some(result(done));
                }
                self.waiters.retain(|waiter| {
                    waiter.node != node || waiter.lock.owner != lock.owner || !waiter.lock.same_file(lock)
                });
                None
            }
            PlockWish::Lock { waits } => match (self.table.in_the_way(node, lock), waits) {
                (None, _) => Some(result(self.table.lock(node, lock))),
                (Some(_), false) => Some(PlockResult::Busy),
                (Some(_), true) => {
                    let waiter = Waiter { node, op, lock: *lock, result: None };
                    self.waiters.push(waiter).is_err().then_some(PlockResult::NoRoom)
                }
            },
        }
    }

    /// Whoever waits and need not any more, first come, first served; and answers for whoever has heard the last ones.
    fn look(&mut self, now_ms: u64) {
        if !self.serves() {
            return;
        }
        for place in 0..self.waiters.len() {
            let Waiter { node, lock, result, .. } = self.waiters[place];
            if result.is_none() && self.table.in_the_way(node, &lock).is_none() {
                let done = self.table.lock(node, &lock);
                self.waiters[place].result = Some(if done.is_ok() { PlockResult::Done } else { PlockResult::NoRoom });
            }
        }
        for index in 0..NODES_MAX {
            let Some(node) = NodeId::new(index as u8 + 1) else { continue };
            if self.members[index].as_ref().is_none_or(|member| member.answers.is_some()) {
                continue;
            }
            let mut answers = Vec::<PlockAnswer, PLOCK_ITEMS>::new();
            self.waiters.retain(|waiter| {
                let Some(result) = waiter.result.filter(|_| waiter.node == node) else { return true };
                // What does not fit waits for the next batch.
                answers.push(PlockAnswer { op: waiter.op, result }).is_err()
            });
            self.answer(now_ms, node, &answers);
        }
    }

    fn answer(&mut self, now_ms: u64, node: NodeId, answers: &[PlockAnswer]) {
        let Some(member) = self.members[node.index()].as_mut().filter(|_| !answers.is_empty()) else { return };
        let mut batch = [None; PLOCK_ITEMS];
        batch.iter_mut().zip(answers).for_each(|(place, answer)| *place = Some(*answer));
        member.batch += 1;
        member.answers = Some(batch);
        member.next_ms = now_ms;
    }

    /// What is to be told now, and to whom.
    pub fn tells(&mut self, now_ms: u64) -> Option<(NodeId, Message)> {
        let reign = self.reign?;
        let due =
            |member: &Member| member.owes || (now_ms >= member.next_ms && (member.answers.is_some() || !member.ready));
        let index = self.members.iter().position(|member| member.as_ref().is_some_and(due))?;
        let member = self.members[index].as_mut()?;
        (member.owes, member.next_ms) = (false, now_ms + REPEAT_MS);
        let (life, batch, heard) = (member.life, member.batch, member.heard);
        let answers = member.answers.unwrap_or([None; PLOCK_ITEMS]);
        Some((NodeId::new(index as u8 + 1)?, Message::PlockTell { reign, life, batch, answers, heard }))
    }

    /// When that has to be asked again.
    pub fn deadline_ms(&self) -> Option<u64> {
        let waits = |member: &&Member| member.answers.is_some() || !member.ready;
        self.members.iter().flatten().filter(waits).map(|member| member.next_ms).min()
    }
}

impl Default for Server {
    fn default() -> Server {
        Server::new()
    }
}

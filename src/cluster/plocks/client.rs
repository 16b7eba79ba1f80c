//! Every node's side: what its processes want, on its way to the coordinator, and what they hold, so that the next coordinator can be told.

use heapless::Vec;

use super::REPEAT_MS;
use super::table::{Entry, Table};
use crate::base::limits::{PLOCK_OPS_MAX, PLOCKS_OWN_MAX, SPACES_MAX};
use crate::base::{
    Incarnation, NodeId, PLOCK_ITEMS, Plock, PlockAnswer, PlockItem, PlockResult, PlockWish, Term, View,
};
use crate::wire::Message;

/// A wish that is not answered yet.
#[derive(Debug, Clone, Copy)]
pub struct Op {
    number: u32,
    /// What.
    pub wish: PlockWish,
    /// Of which range.
    pub lock: Plock,
    /// It is in a batch of this session, on its way or heard.
    sent: bool,
    /// There is no room for what it would lock. It goes its way all the same, as a question: newer kernels take the answers to those
    /// that do not wait in the order in which they asked (`dev_write` of fs/dlm/plock.c).
    refused: bool,
}

/// The streams to and from one reign.
#[derive(Debug, Clone)]
struct Session {
    server: NodeId,
    reign: Term,
    /// The last batch, which is sent until it was heard.
    batch: u32,
    items: Option<[Option<PlockItem>; PLOCK_ITEMS]>,
    /// So many of the locks held are told; then that these were all.
    told: usize,
    said_ready: bool,
    /// That was heard: wishes may follow.
    ready: bool,
    /// The last batch of answers.
    heard: u32,
    /// The server must be told so.
    owes: bool,
    next_ms: u64,
}

/// Wishes and locks of this node's processes.
#[derive(Debug)]
pub struct Client {
    me: NodeId,
    session: Option<Session>,
    ops: Vec<Op, PLOCK_OPS_MAX>,
    number: u32,
    held: Table<PLOCKS_OWN_MAX>,
    /// Lockspaces that were left, to be told to the server.
    left: Vec<u32, SPACES_MAX>,
}

impl Client {
    /// Nobody wants or holds anything.
    pub const fn new(me: NodeId) -> Client {
        Client { me, session: None, ops: Vec::new(), number: 0, held: Table::new(), left: Vec::new() }
    }

    /// What is held.
    pub fn locks(&self) -> &[Entry] {
        self.held.entries()
    }

    /// What is wished for.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Whom they wait for to serve them, if it has not begun to.
    pub fn is_served(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.ready)
    }

    /// Is there room for another request of the kernel's? While there is not it waits in the kernel.
    pub fn has_room(&self) -> bool {
        !self.ops.is_full()
    }

    /// Takes a request of the kernel's. To be called only while there is room.
    pub fn wishes(&mut self, wish: PlockWish, lock: &Plock) {
        let unlocks = matches!(wish, PlockWish::Unlock { .. });
        if wish == (PlockWish::Unlock { closes: true }) {
            // Who closed the file, or broke its wait off, wants nothing of it any more. What was sent comes first on its way; its
            // answer finds nobody, and the unlock that follows takes back what it granted.
            self.ops.retain(|op| op.lock.owner != lock.owner || !op.lock.same_file(lock) || is_unlock(op));
        }
        // Unlocks always have a place: without them nobody would ever get on. Each wish may make two locks more.
        let most = self.held.entries().len() + 2 * self.ops.len() + 2;
        let room = self.ops.len() < PLOCK_OPS_MAX / 2 && most + PLOCK_OPS_MAX <= PLOCKS_OWN_MAX;
        let refused = lock.start > lock.end || (!unlocks && !room);
        self.number = self.number.wrapping_add(1);
        let pushed = self.ops.push(Op { number: self.number, wish, lock: *lock, sent: false, refused });
        debug_assert!(pushed.is_ok(), "whoever asks looks for room first");
    }

    /// The kernel has left a lockspace: with it went every lock there, and whoever wanted one.
    pub fn left(&mut self, space: u32) {
        if let Some(session) = &mut self.session {
            let told = self.held.entries().iter().take(session.told);
            session.told -= told.filter(|entry| entry.lock.space == space).count();
        }
        self.held.retain(|entry| entry.lock.space != space);
        self.ops.retain(|op| op.lock.space != space);
        if !self.left.contains(&space) {
            // Full only if as many as there can be were left within one turn of the stream; the next reign does not need to be told.
            let _ = self.left.push(space);
        }
    }

    /// Follows a view, or none: whoever does not coordinate it is no server any more.
    pub fn follow(&mut self, view: Option<&View>) {
        if self.session.as_ref().is_some_and(|session| view.is_none_or(|view| view.id.term != session.reign)) {
            self.session = None;
        }
    }

    /// The server's batch. `answer` is told what became of which wish.
    pub fn told(
        &mut self,
        now_ms: u64,
        view: Option<&View>,
        from: (NodeId, Incarnation),
        (batch, answers): (u32, &[Option<PlockAnswer>; PLOCK_ITEMS]),
        (reign, heard): (Term, u32),
        answer: &mut dyn FnMut(PlockWish, &Plock, PlockResult),
    ) {
        // Not from one that was superseded, nor from one whose view is not known here yet: what it granted would not be in the state
        // that this node gives to the coordinator it follows.
        if view.is_none_or(|view| server_of(view) != Some(from) || reign != view.id.term) {
            return;
        }
        if self.session.is_none() {
            self.begin(now_ms, from.0, reign);
        }
        let Some(session) = &mut self.session else { return };
        if heard == session.batch
            && let Some(items) = session.items.take()
        {
            session.ready |= items.contains(&Some(PlockItem::Ready));
            for item in items.into_iter().flatten() {
                if let PlockItem::Wishes { op, wish: PlockWish::Unlock { closes: true }, lock } = item {
                    // There is no answer to it. It takes a piece out at most as large as the server has taken out.
                    let _ = self.held.unlock(self.me, &lock);
                    self.ops.retain(|other| other.number != op);
                }
            }
        }
        let any = answers.iter().any(Option::is_some);
        if any && batch == session.heard + 1 {
            (session.heard, session.owes) = (batch, true);
            for PlockAnswer { op, result } in answers.iter().flatten() {
                self.answered(*op, *result, answer);
            }
        } else if any && batch == session.heard {
            session.owes = true;
        }
    }

    fn begin(&mut self, now_ms: u64, server: NodeId, reign: Term) {
        // A new server knows nothing of what was left, nor of what was asked for.
        self.left.clear();
        self.ops.iter_mut().for_each(|op| op.sent = false);
        self.session = Some(Session {
            server,
            reign,
            batch: 0,
            items: None,
            told: 0,
            said_ready: false,
            ready: false,
            heard: 0,
            owes: false,
            next_ms: now_ms,
        });
    }

    fn answered(&mut self, number: u32, result: PlockResult, answer: &mut dyn FnMut(PlockWish, &Plock, PlockResult)) {
        let Some(place) = self.ops.iter().position(|op| op.number == number && op.sent) else { return };
        let Op { wish, lock, refused, .. } = self.ops.remove(place);
        let result = if refused { PlockResult::NoRoom } else { result };
        if result == PlockResult::Done {
            // There is room: it was counted when the wish was taken.
            let _ = match wish {
                PlockWish::Lock { .. } => self.held.lock(self.me, &lock),
                PlockWish::Unlock { .. } => self.held.unlock(self.me, &lock),
                PlockWish::Get => Ok(()),
            };
        }
        answer(wish, &lock, result);
    }

    /// What is to be told to the server now.
    pub fn tells(&mut self, now_ms: u64) -> Option<(NodeId, Message)> {
        self.compose(now_ms);
        let session = self.session.as_mut()?;
        if !session.owes && (session.items.is_none() || now_ms < session.next_ms) {
            return None;
        }
        (session.owes, session.next_ms) = (false, now_ms + REPEAT_MS);
        let items = session.items.unwrap_or([None; PLOCK_ITEMS]);
        let Session { reign, batch, heard, server, .. } = *session;
        Some((server, Message::PlockAsk { reign, batch, items, heard }))
    }

    /// The next batch, if the last one was heard: what is held, then that this is all, then what was left and is wanted.
    fn compose(&mut self, now_ms: u64) {
        let Client { session: Some(session), held, ops, left, .. } = self else { return };
        if session.items.is_some() {
            return;
        }
        let mut items = Vec::<PlockItem, PLOCK_ITEMS>::new();
        if !session.said_ready {
            for entry in held.entries().iter().skip(session.told).take(PLOCK_ITEMS) {
                let _ = items.push(PlockItem::Holds(entry.lock));
            }
            session.told += items.len();
            // With room to spare there was nothing more.
            session.said_ready = items.push(PlockItem::Ready).is_ok();
        } else if session.ready {
            while !items.is_full()
                && let Some(space) = left.pop()
            {
                let _ = items.push(PlockItem::Leaves(space));
            }
            for op in ops.iter_mut().filter(|op| !op.sent) {
                let wish = if op.refused { PlockWish::Get } else { op.wish };
                if items.push(PlockItem::Wishes { op: op.number, wish, lock: op.lock }).is_err() {
                    break;
                }
                op.sent = true;
            }
        }
        if items.is_empty() {
            return;
        }
        let mut batch = [None; PLOCK_ITEMS];
        batch.iter_mut().zip(&items).for_each(|(place, item)| *place = Some(*item));
        session.batch += 1;
        session.items = Some(batch);
        session.next_ms = now_ms;
    }

    /// When that has to be asked again.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.session.as_ref().filter(|session| session.items.is_some()).map(|session| session.next_ms)
    }
}

fn server_of(view: &View) -> Option<(NodeId, Incarnation)> {
    view.coordinator().map(|node| (node, view.incarnations.of(node)))
}

fn is_unlock(op: &Op) -> bool {
    matches!(op.wish, PlockWish::Unlock { .. })
}

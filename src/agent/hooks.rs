//! Tells programs what happened. Each hook has a thread and a queue of its own: one that hangs holds up neither the loop nor
//! another hook, and each hears of events in their order.
//!
//! What is told comes from the journal, where most events stand as they are. Who came, who left and who was fenced is told by the
//! views: each is compared with the one before it.

use std::fmt::{self, Write};
use std::io;
use std::task::Context;
use std::time::Duration;

use heapless::{Deque, String};

use super::worker::Worker;
use crate::base::limits::{COMMAND_BYTES_MAX, HOOK_QUEUE_MAX, HOOK_TEXT_BYTES_MAX, NAME_BYTES_MAX, NODES_MAX};
use crate::base::trace::Entry;
use crate::base::{Incarnation, NodeId, NodeSet, View, ViewId};
use crate::cli::render::sentence;
use crate::cli::words::Say;
use crate::cli::{Happening, Snapshot};
use crate::cluster::by_hand::{Departure, Why};
use crate::cluster::trace::Trace;
use crate::config::hook::{Kind, Kinds};
use crate::config::{Cluster, Hook};
use crate::drv::{clock, program};
use crate::heuristics::{Note, Outcome, Output};

/// Any text for a program: a sentence, or two digits and a blank for each node of a view.
type Text = String<HOOK_TEXT_BYTES_MAX>;
const _: () = assert!(HOOK_TEXT_BYTES_MAX >= 3 * NODES_MAX);

/// What a program is told.
struct Told {
    kind: Kind,
    /// About whom.
    node: NodeId,
    name: String<NAME_BYTES_MAX>,
    /// The view in force, and its members.
    view: ViewId,
    members: NodeSet,
    /// When, in seconds since 1970.
    clock_s: u32,
    /// A sentence about it.
    text: Text,
}

/// From a hook's thread.
struct Done {
    kind: Kind,
    outcome: Outcome,
    took_ms: u64,
    output: Output,
}

/// What waits for a hook.
struct Queue<T> {
    waiting: Deque<T, HOOK_QUEUE_MAX>,
    dropped: u32,
}

impl<T> Queue<T> {
    const fn new() -> Queue<T> {
        Queue { waiting: Deque::new(), dropped: 0 }
    }

    /// Takes the newest; what had to go for it.
    fn push(&mut self, newest: T) -> Option<T> {
        let oldest = if self.waiting.is_full() { self.waiting.pop_front() } else { None };
        self.dropped += u32::from(oldest.is_some());
        // Cannot fail: room was just made.
        let _ = self.waiting.push_back(newest);
        oldest
    }
}

struct One {
    /// From 1, as in the configuration.
    number: usize,
    on: Kinds,
    /// With NULs between its words.
    command: String<COMMAND_BYTES_MAX>,
    timeout_ms: u32,
    queue: Queue<Told>,
    thread: Worker<Told, Done>,
    busy: bool,
}

/// The hook in a line of the log.
impl fmt::Display for One {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hook[{}] ({})", self.number, self.command.split('\0').next().unwrap_or_default())
    }
}

/// The hooks of this node and their threads.
pub struct Hooks {
    hooks: Vec<One>,
    me: NodeId,
    /// The last views whose members hooks were told of: a committed one, and a released one.
    committed: Option<View>,
    released: Option<View>,
}

impl Hooks {
    /// Starts the threads, which wait for something to tell.
    pub fn start(cluster: &Cluster, me: NodeId) -> io::Result<Hooks> {
        let mut hooks = Vec::with_capacity(cluster.hooks.len());
        for (index, hook) in cluster.hooks.iter().enumerate() {
            hooks.push(One {
                number: index + 1,
                on: hook.on,
                command: hook.command.clone(),
                timeout_ms: hook.timeout_ms,
                queue: Queue::new(),
                thread: start(index, hook, cluster, me)?,
                busy: false,
            });
        }
        Ok(Hooks { hooks, me, committed: None, released: None })
    }

    /// One entry of the journal; to be called once for each, in their order.
    pub fn hear(&mut self, snapshot: &Snapshot<'_>, entry: &Entry<Happening>) {
        if self.hooks.is_empty() {
            return;
        }
        if let Some((kind, node)) = kind_of(&entry.what) {
            self.tell(snapshot, kind, node.unwrap_or(self.me), format_args!("{}", sentence(snapshot, entry)));
        }
        // One that was succeeded meanwhile is skipped: its changes are among those of the view that succeeded it.
        let in_force = snapshot.status.view.as_ref().map(|(view, _)| view);
        match entry.what {
            Happening::Core(Trace::Committed(id, _)) => {
                if let Some(view) = in_force.filter(|view| view.id == id) {
                    let before = self.committed.replace(*view);
                    self.tell_of_fences(snapshot, before.as_ref(), view, false);
                }
            }
            Happening::Core(Trace::Released(id, _)) => {
                if let Some(view) = in_force.filter(|view| view.id == id) {
                    let before = self.released.replace(*view);
                    self.tell_of_fences(snapshot, before.as_ref(), view, true);
                    for (node, life) in came(before.as_ref(), view, self.me) {
                        let text = format_args!("{} joined as incarnation {life}.", Say(snapshot, node));
                        self.tell(snapshot, Kind::NodeJoined, node, text);
                    }
                }
            }
            _ => {}
        }
    }

    /// Lives of the earlier view that are not in the later one: their fence begins, or is over.
    fn tell_of_fences(&mut self, snapshot: &Snapshot<'_>, before: Option<&View>, view: &View, over: bool) {
        let Some(before) = before else { return };
        for (node, life) in gone(before, view) {
            let who = Say(snapshot, node);
            let of = |departure: &&Departure| (departure.node, departure.life) == (node, life);
            match snapshot.facts.departures.iter().rev().find(of).map_or(Why::Lost, |departure| departure.why) {
                Why::Left if over => {
                    self.tell(snapshot, Kind::NodeLeft, node, format_args!("{who}, incarnation {life}, left."));
                }
                Why::Left => {}
                why => {
                    let why = Say(snapshot, why);
                    let (kind, what) = match over {
                        true => (Kind::NodeFenced, "is fenced"),
                        false => (Kind::Fencing, "is put out and will be fenced"),
                    };
                    self.tell(snapshot, kind, node, format_args!("{who}, incarnation {life}, {what}: {why}."));
                }
            }
        }
    }

    /// Puts an event into the queues of those who want it.
    fn tell(&mut self, snapshot: &Snapshot<'_>, kind: Kind, node: NodeId, text: fmt::Arguments<'_>) {
        for hook in self.hooks.iter_mut().filter(|hook| hook.on.has(kind)) {
            let (view, members) = snapshot
                .status
                .view
                .as_ref()
                .map_or((ViewId::ZERO, NodeSet::EMPTY), |(view, _)| (view.id, view.members));
            let mut told = Told {
                kind,
                node,
                // A node's name fits: the configuration's has the same bound.
                name: String::try_from(snapshot.name(node)).unwrap_or_default(),
                view,
                members,
                clock_s: snapshot.facts.clock_s,
                text: Text::new(),
            };
            // An error only says that the text was longer.
            let _ = Cut(&mut told.text).write_fmt(text);
            let oldest = hook.queue.push(told);
            if let Some(oldest) = oldest.filter(|_| hook.queue.dropped == 1) {
                let word = oldest.kind.word();
                log::warn!("{hook}: is behind; {HOOK_QUEUE_MAX} events wait, and the oldest ({word}) is dropped");
            }
        }
    }

    /// Says how programs ended, and starts what is next.
    pub fn turn(&mut self) {
        for hook in &mut self.hooks {
            if let Some(done) = hook.thread.collect() {
                hook.busy = false;
                hook.report(&done);
            }
            if !hook.busy
                && let Some(told) = hook.queue.waiting.pop_front()
            {
                hook.busy = true;
                // Cannot be refused: the last one was collected.
                let _ = hook.thread.submit(told);
            }
        }
    }

    /// Has everything been told?
    pub fn are_idle(&self) -> bool {
        self.hooks.iter().all(|hook| !hook.busy && hook.queue.waiting.is_empty())
    }

    /// Wakes the task when a program has ended.
    pub fn poll(&self, cx: &mut Context<'_>) -> bool {
        self.hooks.iter().fold(false, |any, hook| hook.thread.poll_done(cx).is_ready() | any)
    }
}

impl One {
    fn report(&mut self, done: &Done) {
        let (word, took_ms, timeout_ms) = (done.kind.word(), done.took_ms, self.timeout_ms);
        match done.outcome {
            Outcome::Good => log::info!("{self}: was told of {word}; it took {took_ms} ms"),
            Outcome::Late => log::warn!("{self}: told of {word}, was not done within {timeout_ms} ms and was killed"),
            Outcome::Exit(code) => log::warn!("{self}: told of {word}, ended with exit code {code} after {took_ms} ms"),
            Outcome::Signal(signal) => {
                log::warn!("{self}: told of {word}, was ended by signal {signal} after {took_ms} ms");
            }
            Outcome::Os(errno) => {
                let why = io::Error::from_raw_os_error(errno);
                log::error!(
                    "{self}: could not be told of {word}: {why}; see that the program is there, and may be run"
                );
            }
            // Nothing that a program's run can end with.
            Outcome::NoCarrier | Outcome::LinkDown | Outcome::Short | Outcome::NotADisk => {}
        }
        for line in &done.output {
            log::info!("hook[{}]: {}", self.number, line.as_str());
        }
        let dropped = core::mem::take(&mut self.queue.dropped);
        if dropped > 1 {
            log::warn!("{self}: {dropped} events were dropped meanwhile");
        }
    }
}

/// What an entry is for hooks, and about whom if not about this node.
fn kind_of(what: &Happening) -> Option<(Kind, Option<NodeId>)> {
    let core = match what {
        Happening::Core(trace) => trace,
        Happening::Heuristics(Note::Sufficient { .. }) => return Some((Kind::ScoreOk, None)),
        Happening::Heuristics(Note::Insufficient { .. }) => return Some((Kind::ScoreLow, None)),
        Happening::Heuristics(_) | Happening::Ordered(_) | Happening::Applied(_) => return None,
    };
    Some(match core {
        Trace::Quorate => (Kind::Quorate, None),
        Trace::Inquorate { .. } => (Kind::Inquorate, None),
        Trace::Released(..) => (Kind::Released, None),
        Trace::GateOpened(_) => (Kind::GateOpen, None),
        Trace::CannotFence => (Kind::CannotFence, None),
        Trace::QdiskUp => (Kind::QdiskUp, None),
        Trace::QdiskLost(_) => (Kind::QdiskDown, None),
        Trace::Left(_) => (Kind::NodeLeft, None),
        Trace::OtherConfig(node, _) | Trace::TwinNode(node) => (Kind::Alarm, Some(*node)),
        Trace::QdiskFault(_) | Trace::ReservationLost { .. } | Trace::ForeignKey { .. } => (Kind::Alarm, None),
        _ => return None,
    })
}

/// Who is in the later view, and was not in the earlier one in this life. In the first view of all only this node: whether the
/// others have just come is not known.
fn came<'a>(before: Option<&'a View>, view: &'a View, me: NodeId) -> impl Iterator<Item = (NodeId, Incarnation)> + 'a {
    let lives = view.members.iter().map(|node| (node, view.incarnations.of(node)));
    lives.filter(move |(node, life)| before.map_or(*node == me, |before| !before.has_member(*node, *life)))
}

/// Who is in the earlier view, and not in the later one.
fn gone<'a>(before: &'a View, view: &'a View) -> impl Iterator<Item = (NodeId, Incarnation)> + 'a {
    let lives = before.members.iter().map(|node| (node, before.incarnations.of(node)));
    lives.filter(|(node, life)| !view.has_member(*node, *life))
}

/// Keeps as much of a text as fits.
struct Cut<'a>(&'a mut Text);

impl Write for Cut<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.0.push(c)).map_err(|_| fmt::Error)
    }
}

/// One hook's thread: an ordinary one.
fn start(index: usize, hook: &Hook, cluster: &Cluster, me: NodeId) -> io::Result<Worker<Told, Done>> {
    let Hook { command, timeout_ms, .. } = hook.clone();
    let timeout = Duration::from_millis(timeout_ms.into());
    let cluster_name = cluster.name.clone();
    let own_name = cluster.node(me).map(|node| node.name.clone()).unwrap_or_default();
    let mut name = String::<16>::new();
    let _ = write!(name, "hook{index}");
    Worker::start_ordinary(&name, move |told: Told| {
        let started_ms = clock::boottime_ms();
        // All of these fit.
        let [mut members, mut view, mut id, mut clock_s] = [const { Text::new() }; 4];
        for node in told.members.iter() {
            let _ = write!(members, "{}{node}", if members.is_empty() { "" } else { " " });
        }
        if told.view != ViewId::ZERO {
            let _ = write!(view, "{}", told.view);
        }
        let _ = write!(id, "{}", told.node);
        let _ = write!(clock_s, "{}", told.clock_s);
        let environment = [
            ("QUORATE_EVENT", told.kind.word()),
            ("QUORATE_TEXT", &told.text),
            ("QUORATE_NODE", &told.name),
            ("QUORATE_NODE_ID", &id),
            ("QUORATE_VIEW", &view),
            ("QUORATE_MEMBERS", &members),
            ("QUORATE_TIME", &clock_s),
            ("QUORATE_CLUSTER", &cluster_name),
            ("QUORATE_SELF", &own_name),
        ];
        let (outcome, output) = program::tell(index, &command, &environment, timeout);
        Done { kind: told.kind, outcome, took_ms: clock::boottime_ms().saturating_sub(started_ms), output }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::view::Incarnations;

    fn view(members: &[(u8, u32)]) -> View {
        let mut view = View {
            id: ViewId::ZERO,
            members: NodeSet::EMPTY,
            victims: NodeSet::EMPTY,
            reregister: NodeSet::EMPTY,
            lost_disks: 0,
            forgotten: NodeSet::EMPTY,
            incarnations: Incarnations::NONE,
            holds_qdisk: false,
            qdisk_uuid: 0,
            config: crate::base::ConfigStamp { version: 1, digest: 0 },
            config_before: crate::base::ConfigStamp::NONE,
        };
        for &(id, life) in members {
            let node = NodeId::new(id).unwrap();
            view.members.insert(node);
            view.incarnations.raise(node, Incarnation(life));
        }
        view
    }

    fn ids(lives: impl Iterator<Item = (NodeId, Incarnation)>) -> Vec<(u8, u32)> {
        lives.map(|(node, life)| (node.get(), life.0)).collect()
    }

    #[test]
    fn a_full_queue_drops_the_oldest_and_counts_it() {
        let mut queue = Queue::new();
        (0..HOOK_QUEUE_MAX).for_each(|number| assert_eq!(queue.push(number), None));
        assert_eq!((queue.push(100), queue.push(101), queue.dropped), (Some(0), Some(1), 2));
        assert_eq!((queue.waiting.front(), queue.waiting.back()), (Some(&2), Some(&101)));
    }

    #[test]
    fn views_tell_who_came_and_who_is_gone() {
        let me = NodeId::new(1).unwrap();
        let first = view(&[(1, 7), (2, 7), (3, 7)]);
        assert_eq!(ids(came(None, &first, me)), [(1, 7)], "of the others nobody knows");
        // Node 2 has rebooted, node 3 is gone, node 4 is new.
        let second = view(&[(1, 7), (2, 8), (4, 1)]);
        assert_eq!(ids(came(Some(&first), &second, me)), [(2, 8), (4, 1)]);
        assert_eq!(ids(gone(&first, &second)), [(2, 7), (3, 7)]);
        assert_eq!(ids(came(Some(&second), &second, me)), []);
    }
}

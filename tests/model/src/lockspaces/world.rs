//! A few nodes with one lockspace: the core's own `Spaces` and `Steward`, kernels that obey, messages that arrive in any order and
//! any number of times, and views that change as docs/PROTOCOL.md allows it.
//!
//! A node follows views in their order. A view is released when every member follows it and everybody else is fenced; what a fenced node
//! does after that harms nobody and counts for nothing. A node may stand still between any two of its steps, so every step is one of its own.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use quorate::base::view::Incarnations;
use quorate::base::{
    Change, Incarnation, NodeId, NodeSet, Roster, SpaceCommand, SpaceError, SpaceName, Term, View, ViewId,
};
use quorate::cluster::lockspaces::{Moment, Orders, Spaces, Steward, Tell};
use quorate::wire::{SpaceOrder, SpaceReport};

use super::Bounds;

/// What nodes say to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // two indices of nodes and one of the book
pub enum Said {
    /// A report, by its number in the search's book.
    Report { from: usize, to: usize, report: usize },
    /// An order, by its number there.
    Order { from: usize, to: usize, order: usize },
}

/// A report as it was sent.
type Report = (ViewId, u32, [Option<SpaceReport>; 8]);
/// An order as it was sent.
type Order = (Change, SpaceOrder);

/// Everything that was ever said in any state of a search, so that equal states name it alike. No part of a state.
#[derive(Debug, Clone, Default)]
struct Book(Rc<RefCell<(Vec<Report>, Vec<Order>)>>);

impl PartialEq for Book {
    fn eq(&self, _: &Book) -> bool {
        true
    }
}

impl Eq for Book {}

impl Hash for Book {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Book {
    fn report(&self, report: Report) -> usize {
        number_of(&mut self.0.borrow_mut().0, report)
    }

    fn order(&self, order: Order) -> usize {
        number_of(&mut self.0.borrow_mut().1, order)
    }
}

/// The kernel's side of the lockspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Kernel {
    /// Tells this stay from every other one.
    stay: u8,
    /// Its mount has returned.
    entered: bool,
    /// Locks are granted.
    running: bool,
    /// Its umount waits.
    leaving: bool,
    /// What it was given last.
    roster: Option<Roster>,
}

/// A command between the agent and its kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Command {
    /// On its way.
    Sent(u64, SpaceCommand),
    /// Done; the answer is on its way.
    Done(u64, Result<(), SpaceError>),
}

/// One node in one life.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Node {
    up: bool,
    life: u32,
    /// The newest view that it follows, and whether it knows it to be released.
    follows: usize,
    knows_released: bool,
    quorate: bool,
    fenced: bool,
    spaces: Spaces,
    steward: Steward,
    kernel: Option<Kernel>,
    command: Option<Command>,
    op: u64,
}

/// A committed view.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Committed {
    view: View,
    released: bool,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    nodes: Vec<Node>,
    views: Vec<Committed>,
    said: BTreeSet<Said>,
    book: Book,
    now_ms: u64,
    /// Stays that ended by leaving, and the name that each stay went by: (node, life, stay) of the core.
    left: BTreeSet<u8>,
    named: BTreeSet<(usize, u32, u16, u8)>,
    stays: u8,
    spent: Bounds,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Somebody mounts.
    Mount(usize),
    /// Somebody unmounts.
    Unmount(usize),
    /// A node dies.
    Crash(usize),
    /// And boots.
    Boot(usize),
    /// A view without this node, or with a new life of it, led by that one.
    Commit {
        /// Who goes.
        without: Option<usize>,
        /// Whose new life comes.
        with: Option<usize>,
        /// Who leads.
        leader: usize,
    },
    /// A member learns of the newest view.
    Follow(usize),
    /// The newest view is released.
    Release,
    /// A member learns that.
    HearRelease(usize),
    /// A node sees too few votes.
    LoseQuorum(usize),
    /// And enough again.
    FindQuorum(usize),
    /// Something arrives.
    Hear(Said),
    /// A kernel does what it was told.
    Land(usize),
    /// It fails, having done it or not.
    LandBadly(usize, bool),
    /// Its agent hears.
    Answer(usize),
    /// Until something that was refused may be tried again.
    Wait,
}

/// What is broken.
pub type Broken = String;

fn id(index: usize) -> NodeId {
    NodeId::from_index(index).expect("few nodes")
}

fn name() -> SpaceName {
    SpaceName::new("s").expect("a name")
}

impl World {
    /// Everybody is in a released view that node 1 leads, and nobody has mounted anything.
    pub fn new(nodes: usize) -> World {
        let node = || Node {
            up: true,
            life: 1,
            follows: 0,
            knows_released: true,
            quorate: true,
            fenced: false,
            spaces: Spaces::new(),
            steward: Steward::new(),
            kernel: None,
            command: None,
            op: 0,
        };
        let mut world = World {
            nodes: (0..nodes).map(|_| node()).collect(),
            views: Vec::new(),
            said: BTreeSet::new(),
            book: Book::default(),
            now_ms: 0,
            left: BTreeSet::new(),
            named: BTreeSet::new(),
            stays: 0,
            spent: Bounds::default(),
        };
        let members = (0..nodes).collect::<Vec<_>>();
        let view = world.view_of(&members, 0);
        world.views.push(Committed { view, released: true });
        world.settle();
        world
    }

    fn view_of(&self, members: &[usize], leader: usize) -> View {
        let mut incarnations = Incarnations::NONE;
        for node in 0..self.nodes.len() {
            incarnations.raise(id(node), Incarnation(self.nodes[node].life));
        }
        let number = self.views.len() as u64 + 1;
        let term = Term { counter: number, node: Some(id(leader)), incarnation: Incarnation(self.nodes[leader].life) };
        View {
            id: ViewId { term, epoch: number },
            members: members.iter().map(|node| id(*node)).collect(),
            victims: NodeSet::EMPTY,
            reregister: NodeSet::EMPTY,
            lost_disks: 0,
            forgotten: NodeSet::EMPTY,
            incarnations,
            holds_qdisk: true,
            qdisk_uuid: 1,
            config: quorate::base::ConfigStamp { version: 1, digest: 0 },
            config_before: quorate::base::ConfigStamp::NONE,
        }
    }

    fn is_member(&self, node: usize, view: usize) -> bool {
        self.views[view].view.has_member(id(node), Incarnation(self.nodes[node].life))
    }

    /// Every step that is possible within the bounds.
    pub fn steps(&self, bounds: &Bounds) -> Vec<Step> {
        let mut steps = Vec::new();
        let newest = self.views.len() - 1;
        for (index, node) in self.nodes.iter().enumerate() {
            if !node.up {
                if self.spent.boots < bounds.boots {
                    steps.push(Step::Boot(index));
                }
                continue;
            }
            let member = self.is_member(index, node.follows);
            match &node.kernel {
                None if member && node.knows_released && self.spent.mounts < bounds.mounts => {
                    steps.push(Step::Mount(index));
                }
                Some(kernel) if kernel.entered && !kernel.leaving && self.spent.unmounts < bounds.unmounts => {
                    steps.push(Step::Unmount(index));
                }
                None | Some(_) => {}
            }
            if self.spent.crashes < bounds.crashes {
                steps.push(Step::Crash(index));
            }
            if let Some(next) = (node.follows + 1..=newest).find(|view| self.is_member(index, *view)) {
                let _ = next;
                steps.push(Step::Follow(index));
            }
            if !node.knows_released && self.views[node.follows].released {
                steps.push(Step::HearRelease(index));
            }
            if node.quorate && self.spent.losses < bounds.losses {
                steps.push(Step::LoseQuorum(index));
            }
            if !node.quorate {
                steps.push(Step::FindQuorum(index));
            }
            match node.command {
                Some(Command::Sent(..)) => {
                    steps.push(Step::Land(index));
                    if self.spent.failures < bounds.failures {
                        steps.extend([Step::LandBadly(index, false), Step::LandBadly(index, true)]);
                    }
                }
                Some(Command::Done(..)) => steps.push(Step::Answer(index)),
                None => {}
            }
        }
        if self.retry_ms().is_some() {
            steps.push(Step::Wait);
        }
        if self.spent.views < bounds.views {
            self.next_views(&mut steps);
        }
        if !self.views[newest].released && self.may_release(newest) {
            steps.push(Step::Release);
        }
        steps.extend(self.said.iter().filter(|said| self.can_hear(said)).map(|said| Step::Hear(*said)));
        steps
    }

    fn retry_ms(&self) -> Option<u64> {
        let up = self.nodes.iter().filter(|node| node.up);
        up.flat_map(|node| [node.spaces.retry_ms(self.now_ms), node.steward.retry_ms(self.now_ms)]).flatten().min()
    }

    fn next_views(&self, steps: &mut Vec<Step>) {
        let newest = self.views.len() - 1;
        for leader in (0..self.nodes.len()).filter(|leader| self.nodes[*leader].up && self.is_member(*leader, newest)) {
            for out in (0..self.nodes.len()).filter(|out| *out != leader) {
                let in_now = self.views[newest].view.members.contains(id(out));
                let new_life = self.nodes[out].up && !self.is_member(out, newest) && !self.nodes[out].fenced;
                if in_now && !new_life {
                    steps.push(Step::Commit { without: Some(out), with: None, leader });
                }
                if new_life {
                    steps.push(Step::Commit { without: None, with: Some(out), leader });
                }
            }
            // Somebody else takes over, and nobody goes.
            if self.views[newest].view.coordinator() != Some(id(leader)) {
                steps.push(Step::Commit { without: None, with: None, leader });
            }
        }
    }

    fn may_release(&self, view: usize) -> bool {
        (0..self.nodes.len()).all(|node| match self.views[view].view.members.contains(id(node)) {
            true => self.nodes[node].up && self.is_member(node, view) && self.nodes[node].follows == view,
            false => true,
        })
    }

    fn can_hear(&self, said: &Said) -> bool {
        match *said {
            Said::Report { to, .. } | Said::Order { to, .. } => self.nodes[to].up,
        }
    }

    /// Takes the step; what it breaks.
    pub fn take(&mut self, step: Step) -> Result<(), Broken> {
        match step {
            Step::Mount(node) => {
                self.spent.mounts += 1;
                self.stays += 1;
                let stay = self.stays;
                self.nodes[node].kernel =
                    Some(Kernel { stay, entered: false, running: false, leaving: false, roster: None });
                self.tell_of_kernel(node);
            }
            Step::Unmount(node) => {
                self.spent.unmounts += 1;
                if let Some(kernel) = &mut self.nodes[node].kernel {
                    kernel.leaving = true;
                }
                self.nodes[node].spaces.offline(name(), self.now_ms);
            }
            Step::Crash(node) => {
                self.spent.crashes += 1;
                self.dies(node);
            }
            Step::Boot(node) => {
                self.spent.boots += 1;
                let life = self.nodes[node].life + 1;
                let newest = self.views.len() - 1;
                self.nodes[node] = Node {
                    up: true,
                    life,
                    follows: newest,
                    knows_released: false,
                    quorate: true,
                    fenced: false,
                    spaces: Spaces::new(),
                    steward: Steward::new(),
                    kernel: None,
                    command: None,
                    op: 0,
                };
            }
            Step::Commit { without, with, leader } => self.commit(without, with, leader),
            Step::Follow(node) => self.follow(node),
            Step::Release => {
                let newest = self.views.len() - 1;
                for node in 0..self.nodes.len() {
                    if !self.is_member(node, newest) {
                        self.nodes[node].fenced = true;
                    }
                }
                self.views[newest].released = true;
                let leader = self.views[newest].view.coordinator().expect("a view has one").index();
                self.nodes[leader].knows_released = true;
            }
            Step::HearRelease(node) => self.nodes[node].knows_released = true,
            Step::LoseQuorum(node) => {
                self.spent.losses += 1;
                self.nodes[node].quorate = false;
            }
            Step::FindQuorum(node) => self.nodes[node].quorate = true,
            Step::Hear(said) => self.hear(said),
            Step::Wait => self.now_ms = self.retry_ms().unwrap_or(self.now_ms),
            Step::Land(node) => self.land(node, Ok(()), true)?,
            Step::LandBadly(node, done) => {
                self.spent.failures += 1;
                self.land(node, Err(SpaceError::Errno(-5)), done)?;
            }
            Step::Answer(node) => {
                if let Some(Command::Done(op, result)) = self.nodes[node].command.take() {
                    self.nodes[node].spaces.done(op, result, self.now_ms);
                    self.tell_of_kernel(node);
                }
            }
        }
        self.settle();
        Ok(())
    }

    /// The agent tells the core nothing of a lockspace while a command about it is out.
    fn tell_of_kernel(&mut self, node: usize) {
        let of = &mut self.nodes[node];
        if of.command.is_none() && of.kernel.is_some_and(|kernel| !kernel.entered) {
            of.spaces.online(name(), self.now_ms);
        }
    }

    fn dies(&mut self, node: usize) {
        let dead = &mut self.nodes[node];
        dead.up = false;
        // What waits to leave was unmounted before.
        if let Some(kernel) = dead.kernel.take().filter(|kernel| kernel.leaving && !kernel.running) {
            self.left.insert(kernel.stay);
        }
        dead.command = None;
        self.said.retain(|said| match *said {
            Said::Report { to, .. } | Said::Order { to, .. } => to != node,
        });
    }

    fn commit(&mut self, without: Option<usize>, with: Option<usize>, leader: usize) {
        self.spent.views += 1;
        let newest = self.views.len() - 1;
        let members: Vec<usize> = (0..self.nodes.len())
            .filter(|node| {
                let stays = self.views[newest].view.members.contains(id(*node)) && Some(*node) != without;
                stays || Some(*node) == with
            })
            .collect();
        let mut view = self.view_of(&members, leader);
        // A life that is not let in is not in the view's numbers either.
        for node in 0..self.nodes.len() {
            if Some(node) != with && !self.is_member(node, newest) {
                view.incarnations.0[node] = self.views[newest].view.incarnations.0[node];
            }
        }
        self.views.push(Committed { view, released: false });
        let number = self.views.len() - 1;
        self.nodes[leader].follows = number;
        self.nodes[leader].knows_released = false;
    }

    fn follow(&mut self, node: usize) {
        let newest = self.views.len() - 1;
        let next = (self.nodes[node].follows + 1..=newest).rev().find(|view| self.is_member(node, *view));
        if let Some(next) = next {
            self.nodes[node].follows = next;
            self.nodes[node].knows_released = false;
        }
    }

    fn hear(&mut self, said: Said) {
        match said {
            Said::Report { from, to, report } => {
                let (view, version, spaces) = self.book.0.borrow().0[report];
                let follows = self.nodes[to].follows;
                if self.is_member(from, follows) {
                    self.nodes[to].steward.reported(id(from), view, version, &spaces);
                }
            }
            Said::Order { from, to, order } => {
                let (change, order) = self.book.0.borrow().1[order];
                let view = self.views[self.nodes[to].follows].view;
                if self.is_member(to, self.nodes[to].follows)
                    && view.coordinator() == Some(id(from))
                    && view.has_member(id(from), Incarnation(self.nodes[from].life))
                {
                    let moment = self.moment(to, &view);
                    let node = &mut self.nodes[to];
                    node.spaces.ordered(&moment, change, name(), &order);
                }
            }
        }
    }

    fn moment<'a>(&self, node: usize, view: &'a View) -> Moment<'a> {
        let of = &self.nodes[node];
        Moment {
            now_ms: self.now_ms,
            me: id(node),
            view,
            released: of.knows_released,
            quorate: of.quorate,
            gate_open: true,
        }
    }

    /// What a node does at once: the coordinator orders, everybody tells its kernel and reports.
    fn settle(&mut self) {
        for node in 0..self.nodes.len() {
            let follows = self.nodes[node].follows;
            if self.nodes[node].up && self.is_member(node, follows) {
                self.settle_one(node, self.views[follows].view);
            }
        }
    }

    fn settle_one(&mut self, node: usize, view: View) {
        let moment = self.moment(node, &view);
        let me = id(node);
        if view.coordinator() == Some(me) {
            self.nodes[node].steward.serve(view.id);
            for _ in 0..4 {
                let of = &mut self.nodes[node];
                let report = of.spaces.report(&moment);
                of.steward.reported(me, view.id, of.spaces.version(), &report);
                let mut orders = Orders::new();
                of.steward.look(&moment, &mut orders);
                self.send(node, &orders, &moment);
            }
            // With every heartbeat, so at any time.
            let mut orders = Orders::new();
            self.nodes[node].steward.repeat(view.id, &mut orders);
            self.send(node, &orders, &moment);
        }
        let of = &mut self.nodes[node];
        while of.command.is_none()
            && let Some(tell) = of.spaces.next_command(&moment, of.op + 1)
        {
            of.op += 1;
            match tell {
                Tell::Space(_, command) => of.command = Some(Command::Sent(of.op, command)),
                // Of no consequence here: nobody waits for a word of the dead.
                Tell::Disconnect(..) => _ = of.spaces.done(of.op, Ok(()), self.now_ms),
            }
        }
        let report = (view.id, of.spaces.version(), of.spaces.report(&moment));
        let leader = view.coordinator().expect("a view has one").index();
        if leader == node {
            let (id, version, spaces) = report;
            self.nodes[node].steward.reported(me, id, version, &spaces);
        } else {
            let report = self.book.report(report);
            // The last report of a node under a view says all that earlier ones did; those may still be on their way.
            self.said.insert(Said::Report { from: node, to: leader, report });
        }
    }

    fn send(&mut self, node: usize, orders: &Orders, moment: &Moment<'_>) {
        for (to, change, _, order) in orders {
            for receiver in to.iter() {
                if receiver == id(node) {
                    self.nodes[node].spaces.ordered(moment, *change, name(), order);
                } else {
                    let order = self.book.order((*change, *order));
                    self.said.insert(Said::Order { from: node, to: receiver.index(), order });
                }
            }
        }
    }

    fn land(&mut self, node: usize, result: Result<(), SpaceError>, done: bool) -> Result<(), Broken> {
        let Some(Command::Sent(op, command)) = self.nodes[node].command else { return Ok(()) };
        let mut answer = result;
        if done {
            if self.nodes[node].kernel.is_none() {
                answer = Err(SpaceError::Gone);
            } else {
                self.obey(node, &command, result.is_ok())?;
            }
        }
        self.nodes[node].command = Some(Command::Done(op, answer));
        Ok(())
    }

    fn obey(&mut self, node: usize, command: &SpaceCommand, whole: bool) -> Result<(), Broken> {
        let life = self.nodes[node].life;
        let Some(mut kernel) = self.nodes[node].kernel else { return Ok(()) };
        match command {
            SpaceCommand::Stop => kernel.running = false,
            SpaceCommand::Refuse | SpaceCommand::Leave => {
                let asked = match command {
                    SpaceCommand::Refuse => !kernel.entered,
                    _ => kernel.leaving && !kernel.running,
                };
                if !asked {
                    return Err(format!("node {} leaves or is refused unasked", node + 1));
                }
                self.left.insert(kernel.stay);
                self.nodes[node].kernel = None;
                return Ok(());
            }
            SpaceCommand::Start { roster, cluster, lives, entering } => {
                if kernel.running || *entering == kernel.entered {
                    return Err(format!("node {}: started while it runs, or entering {entering}", node + 1));
                }
                let before = kernel.roster;
                kernel.roster = Some(*roster);
                kernel.running = true;
                kernel.entered |= whole;
                if !self.nodes[node].fenced {
                    self.started(node, life, &kernel, before, *cluster, lives)?;
                }
            }
        }
        self.nodes[node].kernel = Some(kernel);
        Ok(())
    }

    /// What the kernel trusts its control daemon in.
    fn started(
        &mut self,
        node: usize,
        life: u32,
        kernel: &Kernel,
        before: Option<Roster>,
        cluster: NodeSet,
        lives: &Incarnations,
    ) -> Result<(), Broken> {
        let roster = kernel.roster.expect("just given");
        let stay = roster.stays.of(id(node));
        if !roster.has(id(node), Incarnation(life), stay) {
            return Err(format!("node {} starts without itself", node + 1));
        }
        let others = self.named.range((node, life, stay.0, 0)..=(node, life, stay.0, u8::MAX));
        if others.clone().any(|(_, _, _, other)| *other != kernel.stay) {
            return Err(format!("two stays of node {} go by one number", node + 1));
        }
        self.named.insert((node, life, stay.0, kernel.stay));
        for (index, other) in self.nodes.iter().enumerate().filter(|(index, _)| *index != node) {
            let Some(theirs) = other.kernel.filter(|_| other.up && !other.fenced) else { continue };
            if theirs.running && theirs.roster != Some(roster) {
                return Err(format!(
                    "node {} starts while node {} grants locks with another list",
                    node + 1,
                    index + 1
                ));
            }
            let listed = roster.members.contains(id(index)) && roster.lives.of(id(index)).0 == other.life;
            if theirs.entered && !theirs.leaving && !listed {
                return Err(format!("node {} starts without node {}, which is in", node + 1, index + 1));
            }
        }
        let Some(before) = before else { return Ok(()) };
        for gone in
            before.members.iter().filter(|gone| !roster.has(*gone, before.lives.of(*gone), before.stays.of(*gone)))
        {
            let was = (gone.index(), before.lives.of(gone).0, before.stays.of(gone).0);
            let stay = self.named.range((was.0, was.1, was.2, 0)..=(was.0, was.1, was.2, u8::MAX)).next();
            let Some(&(_, _, _, stay)) = stay else { continue };
            let other = &self.nodes[gone.index()];
            let there = other.up && other.life == was.1;
            let leaves = other.kernel.is_some_and(|kernel| kernel.stay == stay && kernel.leaving && !kernel.running);
            if self.left.contains(&stay) || (there && leaves) {
                continue;
            }
            if cluster.contains(gone) && lives.of(gone).0 == was.1 {
                return Err(format!(
                    "node {} starts without {gone}, which did not leave and does not count as failed",
                    node + 1
                ));
            }
            if there && !other.fenced {
                return Err(format!("node {} has the journal of {gone} replayed, and it can write", node + 1));
            }
        }
        Ok(())
    }

    /// Everybody who has it grants locks with everybody else who has it, and who wants to leave has left.
    pub fn is_good(&self) -> bool {
        let newest = self.views.len() - 1;
        let mut first = None;
        self.views[newest].released
            && (0..self.nodes.len()).filter(|node| self.is_member(*node, newest)).all(|node| {
                let of = &self.nodes[node];
                let Some(kernel) = of.kernel else { return of.up };
                of.up && kernel.running && !kernel.leaving && *first.get_or_insert(kernel.roster) == kernel.roster
            })
    }
}

fn number_of<T: PartialEq>(all: &mut Vec<T>, one: T) -> usize {
    if let Some(known) = all.iter().position(|other| *other == one) {
        return known;
    }
    all.push(one);
    all.len() - 1
}

//! What happened in the core, as sentences: the journal on consoles and in `events`.

use core::fmt::{self, Display, Formatter};

use super::{Age, Disk, Plain, Say, SlotRefused};
use crate::base::limits::SPACES_MAX;
use crate::base::{NodeId, NodeSet};
use crate::cluster::trace::Trace;
use crate::disk::DiskError;

impl Display for Say<'_, Trace> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Say(snapshot, trace) = *self;
        let shares_lun = snapshot.facts.cluster.shares_lun();
        let node = |node: NodeId| Say(snapshot, node);
        let nodes = |nodes: NodeSet| Say(snapshot, nodes);
        let disk = |disk: u8| Say(snapshot, Disk(disk));
        match trace {
            Trace::Started(incarnation) => write!(f, "Started as incarnation {incarnation}."),
            Trace::PeerUp(peer, incarnation) => write!(f, "Hears {}, incarnation {incarnation}.", node(peer)),
            Trace::PeerLost(peer) => write!(f, "Does not hear {} any more.", node(peer)),
            Trace::Proposing(term) => write!(f, "Proposes a view under term {term}."),
            Trace::HeadStart(peer) => write!(f, "Waits: the partition of {} is stronger.", node(peer)),
            Trace::Withdrawn(view) => write!(f, "View {view} was given up by its proposer."),
            Trace::Committed(view, members) => write!(f, "View {view} is committed: {}.", nodes(members)),
            Trace::Released(view, members) => write!(f, "View {view} is released: {}.", nodes(members)),
            Trace::Evicting(peer, incarnation) => write!(f, "Evicts {}, incarnation {incarnation}.", node(peer)),
            Trace::Preempted { disk: index, key } => {
                write!(f, "Removed the key {key} from {} ({}).", disk(index), Say(snapshot, key))
            }
            Trace::Announced { victims, ms } => {
                write!(
                    f,
                    "The quorum disk says that {} is out; its watchdog must have fired in {ms} ms.",
                    nodes(victims)
                )
            }
            Trace::Proven(view) => write!(f, "Proved keys and reservation of view {view} on every data disk."),
            Trace::Registered => f.write_str("Registered its key on every data disk."),
            Trace::Reserved { disk: index } => write!(f, "Made the reservation on {}.", disk(index)),
            Trace::OrderedToRegister { disk: index } => {
                write!(f, "Registering again on {}, which forgot every key: ordered by the view", disk(index))
            }
            Trace::ReservationLost { disk: index } => {
                write!(f, "ALARM: {} had lost its reservation; makes it again.", disk(index))
            }
            Trace::GateOpened(view) => write!(f, "Opened the gate in view {view}: shared storage may be mounted."),
            Trace::Quorate => f.write_str("Has quorum."),
            Trace::Inquorate { have, need } => {
                write!(f, "Lost quorum: {have} votes in sight, {need} needed; activity is blocked.")
            }
            Trace::CannotFence => f.write_str("Could not prove its victims fenced in time; lets another node try."),
            Trace::QdiskUp => f.write_str("Uses the quorum disk."),
            Trace::QdiskLost(DiskError::Conflict) => {
                write!(f, "Does not use the quorum disk any more: {}.", SlotRefused { shares_lun })
            }
            Trace::QdiskLost(error) => write!(f, "Does not use the quorum disk any more: {}.", Plain(error)),
            Trace::QdiskFault(fault) => write!(f, "ALARM: quorum disk {}: {}.", snapshot.qdisk_device(), Plain(fault)),
            Trace::QdiskHung => f.write_str("The quorum disk has not answered in time."),
            Trace::QdiskAdopted => f.write_str("The cluster adopted the quorum disk."),
            Trace::DataDiskError { disk: index, error } => write!(f, "{}: {}.", Capital(disk(index)), Plain(error)),
            Trace::TargetRefused { disk: index, why } => write!(f, "{} {}.", Capital(disk(index)), Plain(why)),
            Trace::ForeignKey { disk: index, key } => {
                write!(f, "ALARM: {} has the key {key} of another cluster; leaves it there.", disk(index))
            }
            Trace::ConfigStaged(config) => write!(f, "Configuration {config} is ready to be agreed on."),
            Trace::ConfigTaken(config) => write!(f, "Runs configuration {config} from now on."),
            Trace::ConfigMissing(config) => {
                write!(
                    f,
                    "A view was agreed by configuration {config}, which this node does not have; takes part in none without it."
                )
            }
            Trace::OtherConfig(peer, config) => {
                write!(f, "ALARM: {} runs configuration {config}; does not vote with it.", node(peer))
            }
            Trace::TwinNode(peer) => {
                write!(f, "ALARM: two machines say that they are {}. Give every image an id of its own.", node(peer))
            }
            Trace::Stalled { ms } => write!(f, "Was stopped for {}; reads everything again.", Age(ms)),
            Trace::SpaceEntering(name) => write!(f, "The kernel wants to enter lockspace {name}."),
            Trace::SpaceLeaving(name) => write!(f, "The kernel wants to leave lockspace {name}."),
            Trace::SpaceRefused(name) => {
                write!(f, "Refuses lockspace {name}: this node is in {SPACES_MAX} already, unmount one first.")
            }
            Trace::SpaceStopping(name) => write!(f, "Stops the locks of lockspace {name}."),
            Trace::SpaceStarting { name, change, members } => {
                write!(f, "Starts lockspace {name}, change {change}: {}.", nodes(members))
            }
            Trace::SpaceLeft(name) => write!(f, "Is out of lockspace {name}."),
            Trace::SpaceFailed { name, error } => write!(f, "Lockspace {name}: {error}."),
            Trace::FenceOrdered(peer, incarnation) => {
                write!(f, "An operator wants {}, incarnation {incarnation}, fenced.", node(peer))
            }
            Trace::FenceNotDone(peer) => {
                write!(f, "Gave the order to fence {} up: without it there were never enough votes.", node(peer))
            }
            Trace::VouchedFor(peer, incarnation) => {
                write!(f, "ALARM: an operator vouches that {}, incarnation {incarnation}, is off.", node(peer))
            }
            Trace::Leaving => f.write_str("Is ready to leave; waits for a view without this node."),
            Trace::Left(view) => write!(f, "Left the cluster by view {view}."),
            Trace::ShutOut(view) => write!(f, "View {view} leaves this node out; finds out whether it stands."),
            Trace::SelfFence(why) => write!(f, "RESETS THIS MACHINE: {}.", Say(snapshot, why)),
        }
    }
}

/// The same text as a sentence's beginning: `data disk` becomes `Data disk`.
struct Capital<T>(T);

impl<T: Display> Display for Capital<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        struct First<'a, 'b>(&'a mut Formatter<'b>, bool);
        impl fmt::Write for First<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                let mut chars = text.chars();
                if let Some(first) = chars.next() {
                    self.0.write_char(if self.1 { first } else { first.to_ascii_uppercase() })?;
                    self.1 = true;
                }
                self.0.write_str(chars.as_str())
            }
        }
        use fmt::Write;
        write!(First(f, false), "{}", self.0)
    }
}

//! What the core shows of itself: a plain snapshot for the console, the socket and tests. Building it changes nothing.

use heapless::Vec;

use super::by_hand::NoOrder;
use super::data::Registration;
use super::event::SelfFence;
use super::node::Node;
use super::votes;
use crate::base::limits::{DATA_DISKS_MAX, KEYS_MAX, NODES_MAX};
use crate::base::{ConfigStamp, Incarnation, NodeId, NodeSet, Phase, PrKey, Term, View, ViewId};
use crate::disk::{DiskError, HeaderFault, Standing};
use crate::scsi::{Held, PrError};

/// Everything the status commands print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub node: NodeId,
    /// Its life; 0 while it is still choosing one.
    pub incarnation: Incarnation,
    /// In one word what it is doing.
    pub stage: Stage,
    /// The highest committed view known, and how far it is.
    pub view: Option<(View, Phase)>,
    /// Highest term promised.
    pub promised: Term,
    /// Own configuration.
    pub config: ConfigStamp,
    /// E.
    pub expected_votes: u32,
    /// E/2 + 1.
    pub quorum: u32,
    /// Votes present now: live members of the view, and the qdisk if the view holds it and it works.
    pub total_votes: u32,
    /// The qdisk's configured votes, if they are counted now; `None` without a qdisk or while it does not count.
    pub qdisk_votes: Option<u16>,
    /// Votes of this node.
    pub node_votes: u16,
    /// Is the view quorate right now?
    pub quorate: bool,
    /// Own standing.
    pub standing: Standing,
    /// Own score.
    pub score: u16,
    /// Where watchdogs fence: age of the last moment of which this node knows that nobody had evicted it.
    pub renewed_ms_ago: Option<u64>,
    /// What has to happen next, for an admin who wonders why nothing does.
    pub waiting_for: Waiting,
    /// Every configured node.
    pub nodes: Vec<NodeStatus, NODES_MAX>,
    /// The qdisk, if one is configured.
    pub qdisk: Option<QdiskStatus>,
    /// The data disks.
    pub disks: Vec<DataStatus, DATA_DISKS_MAX>,
    /// The gate was opened under this view.
    pub gate_open: Option<ViewId>,
    /// Set when the node is about to reset.
    pub self_fence: Option<SelfFence>,
}

/// Where a node is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Reads the disks and listens, to choose its incarnation.
    Starting,
    /// Not a member of a committed view yet.
    Joining,
    /// Member of a committed view that is not released yet.
    Committed,
    /// Member of a released view.
    Released,
    /// Member, but the view has lost its votes: nothing may change.
    Blocked,
    /// Shut out by a view that may be committed; about to find out.
    ShutOut,
    /// Resets itself.
    Fenced,
    /// Waits for a view without it: an operator wants it to leave.
    Leaving,
    /// Left.
    Left,
}

/// The one thing that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Waiting {
    /// Nothing: all is well.
    Nothing,
    /// The first reads and the first heartbeats.
    Startup,
    /// The machine's clock is not set, and no qdisk could be read that remembers this node's earlier lives.
    Clock,
    /// Votes: so many are in sight, so many are needed.
    Votes {
        /// In sight.
        have: u32,
        /// Needed.
        need: u32,
    },
    /// Another node proposes or leads; this one waits to be admitted.
    Coordinator(NodeId),
    /// The coordinator's slot on the qdisk is fresh, and it is not heard: nobody takes over from it, or joins it, so.
    Network(NodeId),
    /// Votes, and this node, which would have some, runs another configuration.
    OtherConfig {
        /// Whom.
        node: NodeId,
        /// Its configuration.
        theirs: ConfigStamp,
        /// Ours.
        ours: ConfigStamp,
    },
    /// The qdisk must be adopted: start all nodes, or tell it so (`quorate qdisk format --adopt`).
    QdiskAdoption,
    /// A reservation refuses this node's slot on the qdisk, and without the qdisk there are too few votes.
    SlotRefused,
    /// A view names a configuration that this node lacks.
    Config(ConfigStamp),
    /// A data disk does not answer.
    DataDisk {
        /// Its index.
        disk: u8,
    },
    /// A target was refused.
    TargetRefused {
        /// Disk index.
        disk: u8,
        /// Why.
        why: TargetRefusal,
    },
    /// A key of another cluster is on the disk: it is never preempted by itself.
    ForeignKey {
        /// Disk index.
        disk: u8,
        /// The key.
        key: PrKey,
    },
    /// Victims not proven fenced yet.
    Fencing(NodeSet),
    /// The watchdogs of these victims.
    Watchdogs {
        /// Who.
        victims: NodeSet,
        /// In so many milliseconds they must have fired; `None` before the qdisk says that they are out.
        left_ms: Option<u64>,
    },
    /// Members that have not acknowledged the view.
    Acks(NodeSet),
    /// Own registration under way.
    Registering,
    /// The coordinator's answer to our report.
    JoinAnswer,
}

/// Why a target may not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TargetRefusal {
    /// It does not know PREEMPT AND ABORT; `fencing.abort = "preferred"` accepts that.
    NoPreemptAbort,
    /// It cannot keep registrations over a power loss; `fencing.persist = "preferred"` accepts that.
    NoPersistence,
    /// No persistent reservations at all.
    NoReservations(PrError),
}

/// One row of `nodes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// Id.
    pub id: NodeId,
    /// Configured votes.
    pub votes: u16,
    /// Member of the committed view.
    pub member: bool,
    /// Heard both ways now, under the same configuration.
    pub alive: bool,
    /// The configuration that it runs, as last heard.
    pub config: ConfigStamp,
    /// The one that it has ready to follow; `ConfigStamp::NONE` = none.
    pub staged: ConfigStamp,
    /// It is heard, and runs this other configuration.
    pub other_config: Option<ConfigStamp>,
    /// Latest life heard of.
    pub incarnation: Incarnation,
    /// Its standing as last heard.
    pub standing: Standing,
    /// Its score.
    pub score: u16,
    /// Age of the newest heartbeat that echoed ours; `None` if never.
    pub heard_ms_ago: Option<u64>,
    /// Age of the newest change of its slot, or of the last good write of the own one; `None` if never, or without a qdisk.
    pub slot_ms_ago: Option<u64>,
    /// Waiting to be proven fenced.
    pub victim: bool,
    /// Why it may not be put out by hand now; of this node, why it may not leave.
    pub no_order: Option<NoOrder>,
    /// Why nobody need vouch that it is off.
    pub no_ack: Option<NoOrder>,
}

/// The qdisk as this node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QdiskStatus {
    /// Configured votes.
    pub votes: u16,
    /// Works and is ours.
    pub usable: bool,
    /// Age of the last good cycle, whatever came after it.
    pub good_ms_ago: Option<u64>,
    /// How long the last good cycle took.
    pub cycle_ms: u64,
    /// What is wrong with the header, if it could be read.
    pub fault: Option<HeaderFault>,
    /// An operation is overdue and has not returned.
    pub hung: bool,
    /// The last error, until the next good cycle.
    pub error: Option<DiskError>,
    /// It is on the LUN of the first data disk.
    pub shares_lun: bool,
    /// Its uuid, 0 if not read yet.
    pub uuid: u128,
    /// The cluster (or the operator) adopted this uuid.
    pub adopted: bool,
    /// Cycles that failed since start.
    pub errors: u32,
}

/// A data disk as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataStatus {
    /// Answers in time and was not refused.
    pub usable: bool,
    /// A command is overdue and has not returned.
    pub hung: bool,
    /// This node's key is on it.
    pub registered: bool,
    /// Keys as last read.
    pub keys: Vec<PrKey, KEYS_MAX>,
    /// PRGENERATION as last read.
    pub generation: u32,
    /// Reservation as last read.
    pub reservation: Option<Held>,
    /// Age of the last READ KEYS.
    pub read_ms_ago: Option<u64>,
    /// Knows PREEMPT AND ABORT; `None` until probed.
    pub abort: Option<bool>,
    /// Keeps registrations over a power loss; `None` until probed.
    pub persist: Option<bool>,
    /// Why it is refused, if it is.
    pub refused: Option<TargetRefusal>,
    /// The last error, until the next good answer.
    pub error: Option<PrError>,
}

impl Node {
    /// The snapshot for people and tests.
    pub fn status(&self, now_ms: u64) -> Status {
        let now_ms = now_ms.max(self.now_ms);
        let (total_votes, qdisk_counts) = self.present_votes();
        let nodes = self.settings.nodes.iter().map(|node| self.node_status(node, now_ms)).collect();
        let disks = (0..self.disks.len()).map(|index| self.data_status(index, now_ms)).collect();
        Status {
            node: self.me(),
            incarnation: self.incarnation,
            stage: self.stage(),
            view: self.committed.map(|view| (view, self.committed_phase)),
            promised: self.promised,
            config: self.config,
            expected_votes: votes::expected(&self.settings),
            quorum: votes::quorum(&self.settings),
            total_votes,
            qdisk_votes: self.settings.qdisk.filter(|_| qdisk_counts).map(|qdisk| qdisk.votes),
            node_votes: self.settings.votes[self.me().index()],
            quorate: self.leads_or_follows_a_quorum(),
            standing: self.standing(),
            score: self.score,
            renewed_ms_ago: self.renewed_ms().map(|at| now_ms.saturating_sub(at)),
            waiting_for: self.waiting_for(),
            nodes,
            qdisk: self.settings.qdisk.map(|settings| QdiskStatus {
                votes: settings.votes,
                usable: self.qdisk_usable(),
                good_ms_ago: self.qdisk.good_ms.map(|at| now_ms - at),
                cycle_ms: self.qdisk.took_ms,
                fault: self.qdisk.fault,
                hung: self.qdisk.hung,
                error: self.qdisk.error,
                shares_lun: self.settings.shares_lun,
                uuid: self.qdisk.uuid,
                adopted: self.qdisk_adopted(),
                errors: self.qdisk.errors,
            }),
            disks,
            gate_open: self.gate,
            self_fence: self.fenced,
        }
    }

    fn member_view(&self) -> Option<View> {
        self.committed.filter(|view| view.has_member(self.me(), self.incarnation))
    }

    fn stage(&self) -> Stage {
        if self.fenced.is_some() {
            return Stage::Fenced;
        }
        if self.left.is_some() {
            return Stage::Left;
        }
        if self.leaves() {
            return Stage::Leaving;
        }
        if self.is_starting() {
            return Stage::Starting;
        }
        if self.shut_out.is_some() {
            return Stage::ShutOut;
        }
        match self.member_view() {
            None => Stage::Joining,
            Some(_) if !self.leads_or_follows_a_quorum() => Stage::Blocked,
            Some(_) if self.committed_phase == Phase::Released => Stage::Released,
            Some(_) => Stage::Committed,
        }
    }

    /// The first thing that is missing, in the order in which an admin would look.
    fn waiting_for(&self) -> Waiting {
        if self.is_starting() {
            let blind = self.boot.clock_s == 0 && (!self.own_past_is_known() || self.slot_is_refused());
            return if blind { Waiting::Clock } else { Waiting::Startup };
        }
        for (index, data) in self.disks.iter().enumerate() {
            let disk = index as u8;
            if let Some(why) = data.refused {
                return Waiting::TargetRefused { disk, why };
            }
            if let Some(key) = self.foreign_key(index) {
                return Waiting::ForeignKey { disk, key };
            }
            if !data.usable() {
                return Waiting::DataDisk { disk };
            }
        }
        match self.member_view() {
            None => self.waiting_to_join(),
            Some(view) => self.waiting_in(&view),
        }
    }

    fn is_heard(&self, node: NodeId) -> bool {
        self.peers.of(node).frame_ms.is_some_and(|at| self.now_ms - at <= self.suspect_ms())
    }

    /// A node that is heard and runs another configuration.
    fn other_config(&self) -> Option<Waiting> {
        let strangers = self.settings.nodes.iter().filter(|node| self.is_heard(*node));
        let mut strangers = strangers.filter_map(|node| Some((node, self.peers.of(node).stranger?)));
        strangers.next().map(|(node, theirs)| Waiting::OtherConfig { node, theirs, ours: self.config })
    }

    fn waiting_to_join(&self) -> Waiting {
        if let Some(config) = self.wanted_config() {
            return Waiting::Config(config);
        }
        if let Some(other) = self.other_config() {
            return other;
        }
        if let Some(coordinator) = self.living_coordinator() {
            return Waiting::Coordinator(coordinator);
        }
        if !self.could_be_quorate() {
            if self.qdisk_usable() && !self.qdisk_adopted() {
                return Waiting::QdiskAdoption;
            }
            if self.slot_is_refused() {
                return Waiting::SlotRefused;
            }
            return self.votes_in_sight();
        }
        match self.hears().first().filter(|first| *first != self.me()) {
            Some(first) => Waiting::Coordinator(first),
            None => {
                match self.committed.and_then(|view| view.coordinator()).filter(|_| self.coordinator_lives_on_disk()) {
                    Some(unheard) => Waiting::Network(unheard),
                    None => Waiting::Startup,
                }
            }
        }
    }

    fn votes_in_sight(&self) -> Waiting {
        let qdisk =
            if self.may_claim_qdisk() { self.settings.qdisk.map_or(0, |qdisk| u32::from(qdisk.votes)) } else { 0 };
        Waiting::Votes {
            have: votes::votes_of(&self.settings, self.hears()) + qdisk,
            need: votes::quorum(&self.settings),
        }
    }

    fn waiting_in(&self, view: &View) -> Waiting {
        if !self.leads_or_follows_a_quorum() {
            if let Some(other) = self.other_config() {
                return other;
            }
            return Waiting::Votes { have: self.present_votes().0, need: votes::quorum(&self.settings) };
        }
        if !self.registered() {
            return Waiting::Registering;
        }
        if self.committed_phase < Phase::Released {
            let acks = self.unacknowledged(view);
            return match self.led_view() {
                Some(view) if self.settings.watchdog().is_some() && !self.victims_running(&view).is_empty() => {
                    Waiting::Watchdogs {
                        victims: self.victims_running(&view),
                        left_ms: self.watchdogs_fire_in_ms(&view),
                    }
                }
                Some(view) if !view.victims.is_empty() => Waiting::Fencing(view.victims),
                Some(_) if !acks.is_empty() => Waiting::Acks(acks),
                Some(_) | None => match view.coordinator() {
                    Some(coordinator) => Waiting::Coordinator(coordinator),
                    None => Waiting::Nothing,
                },
            };
        }
        if self.gate.is_none() { Waiting::JoinAnswer } else { Waiting::Nothing }
    }

    fn node_status(&self, node: NodeId, now_ms: u64) -> NodeStatus {
        let me = node == self.me();
        let peer = self.peers.of(node);
        let view = self.committed;
        let incarnation = if me { self.incarnation } else { peer.incarnation };
        NodeStatus {
            id: node,
            votes: self.settings.votes[node.index()],
            member: view.is_some_and(|view| view.has_member(node, incarnation)),
            alive: me || peer.alive,
            config: self.configs_of(node).0,
            staged: self.configs_of(node).1,
            other_config: peer.stranger.filter(|_| self.is_heard(node)),
            incarnation,
            standing: if me { self.standing() } else { peer.heartbeat.map_or(Standing::empty(), |last| last.standing) },
            score: if me { self.score } else { peer.heartbeat.map_or(0, |last| last.score) },
            heard_ms_ago: peer.echoed_ms.map(|at| now_ms.saturating_sub(at)),
            slot_ms_ago: if me { self.qdisk.good_ms } else { peer.slot_changed_ms }.map(|at| now_ms.saturating_sub(at)),
            no_ack: self.may_acknowledge(node).err(),
            no_order: if me { self.may_leave().err() } else { self.may_fence(node).err() },
            victim: self.committed_phase < Phase::Released && view.is_some_and(|view| view.victims.contains(node)),
        }
    }

    fn data_status(&self, index: usize, now_ms: u64) -> DataStatus {
        let disk = &self.disks[index];
        DataStatus {
            usable: disk.usable(),
            hung: disk.hung,
            registered: disk.registration == Registration::Done,
            keys: disk.keys.clone(),
            generation: disk.generation,
            reservation: disk.reservation,
            read_ms_ago: disk.keys_ms.map(|at| now_ms.saturating_sub(at)),
            abort: disk.probe.abort,
            persist: disk.probe.persist,
            refused: disk.refused,
            error: disk.error,
        }
    }
}

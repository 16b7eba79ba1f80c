//! What can go wrong.

/// What can go wrong. Each seed switches some of them on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Fault {
    /// A machine stops dead and boots again later.
    Crash,
    /// A machine stands still; its clock knows of it afterwards.
    Pause,
    /// A machine stands still, and its clock too.
    PauseUnnoticed,
    /// The network falls into two parts.
    Partition,
    /// One node does not hear another, but is heard.
    OneWayCut,
    /// One node's links drop most frames.
    LossyLinks,
    /// Some nodes hear everyone, the others fall into two parts.
    PartialPartition,
    /// One of two networks is down for everyone.
    NetworkDown,
    /// One node's links damage many frames.
    DamagingLinks,
    /// An outsider without the cluster's key sends frames.
    Forgery,
    /// One node's qdisk path hangs.
    QdiskHang,
    /// Everyone's qdisk path hangs.
    QdiskHangAll,
    /// One node's qdisk path gives errors.
    QdiskErrors,
    /// Everyone's qdisk path gives errors.
    QdiskErrorsAll,
    /// The qdisk is slow for everyone.
    QdiskSlow,
    /// The qdisk is overwritten with zeros and later formatted again.
    QdiskWipe,
    /// The qdisk is formatted again: new uuid, empty slots.
    QdiskReformat,
    /// One sector of the qdisk rots.
    QdiskRot,
    /// One node's path to a data disk hangs.
    DataHang,
    /// Everyone's path to a data disk hangs.
    DataHangAll,
    /// One node's path to a data disk gives errors.
    DataErrors,
    /// Everyone's path to a data disk gives errors.
    DataErrorsAll,
    /// A target loses power: it keeps registrations only if it can persist.
    TargetReset,
    /// A foreign initiator registers a key of another cluster for a while.
    ForeignKey,
    /// An operator releases the reservation (keys stay).
    ReservationReleased,
    /// A target raises unit attentions.
    Attention,
    /// A node's heuristics fail for a while.
    ScoreDrop,
    /// A node's clock jumps forward.
    ClockJump,
    /// Another disk stands in the place of the qdisk for a while, for one node or for all; what was written goes there.
    QdiskReplaced,
    /// The qdisk acknowledges one node's writes and loses them.
    QdiskLosesWrites,
    /// The qdisk acknowledges one node's writes and makes them in other places.
    QdiskMisdirects,
    /// The qdisk returns old sectors to one node.
    QdiskStale,
    /// The qdisk goes back to what it held some time ago.
    QdiskRollBack,
    /// A node's heuristics change their mind again and again.
    ScoreFlap,
    /// A node's wall clock is set wrong: the next start reads it.
    WallClock,
    /// An agent ends and is started again in the same boot.
    AgentRestart,
    /// A machine goes back to a snapshot of itself.
    Snapshot,
    /// A foreign initiator registers for a while, and reserves with any type where nobody holds.
    ForeignReserve,
    /// A foreign initiator registers for a while and preempts one of our keys.
    ForeignPreempt,
    /// A foreign initiator registers and CLEARs everything, its own key included.
    ForeignClear,
    /// LOGICAL UNIT RESET: commands are lost, registrations stay.
    UnitReset,
    /// A node's session is renewed under another name: a new nexus, while the old one's registration stays listed.
    SessionRenewed,
    /// PREEMPT AND ABORT is carried out at once and answered after everybody's patience.
    AbortHangs,
    /// A target answers BUSY or TASK SET FULL.
    TargetBusy,
    /// A target maps the unit to nobody for a while, and knows all it knew when it maps it again.
    UnitUnmapped,
    /// A target raises several unit attentions for everyone, reservations' among them, though nothing happened.
    AttentionStorm,
    /// A newer configuration: this machine reboots with it now, the others whenever they boot.
    NewImage,
    /// The network falls into two or three parts, or one node is cut off, both ways or one way. Everybody reaches the qdisk.
    Split,
    /// Such a split, and one side alone reaches the qdisk.
    SplitQdiskOneSide,
    /// Such a split, and nobody reaches the qdisk.
    SplitQdiskNobody,
    /// Such a split, and the heuristics of one side fail.
    SplitScoreLow,
    /// Such a split, and everybody's heuristics fail: what they ask for lies behind the cut.
    SplitScoreLowAll,
    /// The present coordinator is cut off from everybody, both ways or one way.
    CoordinatorCut,
    /// Everybody's heuristics fail: they all ask for the same.
    ScoreDropAll,
    /// The qdisk takes seconds for each command of one side.
    QdiskCrawlSide,
    /// The qdisk takes seconds for each command of everybody.
    QdiskCrawlAll,
    /// The qdisk paths of one side hang.
    QdiskHangSide,
    /// The qdisk paths of one side give errors.
    QdiskErrorsSide,
    /// One node's qdisk path is unplugged: errors at once, and nothing gets through.
    QdiskUnplugged,
    /// The qdisk paths of one side are unplugged.
    QdiskUnpluggedSide,
    /// The qdisk is unplugged.
    QdiskUnpluggedAll,
    /// One side sees another disk in the place of the qdisk.
    QdiskReplacedSide,
    /// A data disk takes seconds for each command of one node.
    DataCrawl,
    /// One node's path to a data disk is unplugged.
    DataUnplugged,
    /// An operator orders a node to have another one fenced.
    FenceByHand,
    /// An operator lets a node leave.
    Leave,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 66] = [
        Fault::Crash,
        Fault::Pause,
        Fault::PauseUnnoticed,
        Fault::Partition,
        Fault::OneWayCut,
        Fault::LossyLinks,
        Fault::PartialPartition,
        Fault::NetworkDown,
        Fault::DamagingLinks,
        Fault::Forgery,
        Fault::QdiskHang,
        Fault::QdiskHangAll,
        Fault::QdiskErrors,
        Fault::QdiskErrorsAll,
        Fault::QdiskSlow,
        Fault::QdiskWipe,
        Fault::QdiskReformat,
        Fault::QdiskRot,
        Fault::DataHang,
        Fault::DataHangAll,
        Fault::DataErrors,
        Fault::DataErrorsAll,
        Fault::TargetReset,
        Fault::ForeignKey,
        Fault::ReservationReleased,
        Fault::Attention,
        Fault::ScoreDrop,
        Fault::ClockJump,
        Fault::QdiskReplaced,
        Fault::QdiskLosesWrites,
        Fault::QdiskMisdirects,
        Fault::QdiskStale,
        Fault::QdiskRollBack,
        Fault::ScoreFlap,
        Fault::WallClock,
        Fault::AgentRestart,
        Fault::Snapshot,
        Fault::ForeignReserve,
        Fault::ForeignPreempt,
        Fault::ForeignClear,
        Fault::UnitReset,
        Fault::SessionRenewed,
        Fault::AbortHangs,
        Fault::TargetBusy,
        Fault::UnitUnmapped,
        Fault::AttentionStorm,
        Fault::NewImage,
        Fault::Split,
        Fault::SplitQdiskOneSide,
        Fault::SplitQdiskNobody,
        Fault::SplitScoreLow,
        Fault::SplitScoreLowAll,
        Fault::CoordinatorCut,
        Fault::ScoreDropAll,
        Fault::QdiskCrawlSide,
        Fault::QdiskCrawlAll,
        Fault::QdiskHangSide,
        Fault::QdiskErrorsSide,
        Fault::QdiskUnplugged,
        Fault::QdiskUnpluggedSide,
        Fault::QdiskUnpluggedAll,
        Fault::QdiskReplacedSide,
        Fault::DataCrawl,
        Fault::DataUnplugged,
        Fault::FenceByHand,
        Fault::Leave,
    ];

    /// Needs a qdisk to mean anything.
    pub fn needs_qdisk(self) -> bool {
        matches!(
            self,
            Fault::QdiskHang
                | Fault::QdiskHangAll
                | Fault::QdiskErrors
                | Fault::QdiskErrorsAll
                | Fault::QdiskSlow
                | Fault::QdiskWipe
                | Fault::QdiskReformat
                | Fault::QdiskRot
                | Fault::QdiskReplaced
                | Fault::SplitQdiskOneSide
                | Fault::SplitQdiskNobody
                | Fault::SplitScoreLow
                | Fault::SplitScoreLowAll
                | Fault::ScoreDropAll
        ) || (Fault::QdiskCrawlSide..=Fault::QdiskReplacedSide).contains(&self)
            || self.lies()
    }

    /// The qdisk acknowledges what it does not do, or returns what it no longer holds. No write of ours can notice in time.
    pub fn lies(self) -> bool {
        matches!(self, Fault::QdiskLosesWrites | Fault::QdiskMisdirects | Fault::QdiskStale | Fault::QdiskRollBack)
    }

    /// Concerns targets alone: drawn from their own stream.
    pub(crate) fn of_targets(self) -> bool {
        (Fault::ForeignReserve..=Fault::AttentionStorm).contains(&self)
    }

    /// Several things at once, that decide together who may go on; or a disk that is bad in another way: drawn from their own
    /// stream.
    pub(crate) fn of_arbitration(self) -> bool {
        (Fault::Split..=Fault::DataUnplugged).contains(&self)
    }

    /// What operators do: drawn from its own stream.
    pub(crate) fn of_operators(self) -> bool {
        self >= Fault::FenceByHand
    }

    /// May it strike where watchdogs fence? There are no reservations there. A machine that goes back to a snapshot or stands still
    /// with its watchdog, a clock that jumps, and a quorum disk that lies are what docs/PROTOCOL.md excludes.
    pub(crate) fn watchdogs_bear_it(self) -> bool {
        let of_reservations =
            matches!(self, Fault::TargetReset | Fault::ForeignKey | Fault::ReservationReleased | Fault::Attention);
        let excluded = matches!(self, Fault::PauseUnnoticed | Fault::Snapshot | Fault::ClockJump);
        let elsewhere = self.of_targets() || self.of_arbitration();
        !of_reservations && !excluded && !elsewhere && !self.lies()
    }

    /// What a slot on the qdisk held may be gone after it.
    pub(crate) fn loses_slots(self) -> bool {
        matches!(
            self,
            Fault::QdiskWipe | Fault::QdiskReformat | Fault::QdiskRot | Fault::QdiskReplaced | Fault::QdiskReplacedSide
        ) || self.lies()
    }
}

//! The rules of the protocol that can be taken out one by one, and the properties that then fail.

use std::fmt;

/// A rule of the core. `Rules` says which are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Rule {
    /// A join answer needs a check and a key read begun after the report (`joiners::look_at_joiners`).
    FreshAnswer,
    /// A victim under an unreported order to register is not proven fenced by a missing key (`fencing::plan_proves`).
    OrderedIsDoubtful,
    /// Targets that forget reservations are refused (`data_traffic::judge_persistence`).
    Persistence,
    /// Released only when every member has stopped what is older (`fencing::unacknowledged`).
    Stop,
    /// An agent that starts in a boot whose gate was opened resets the machine (`src/agent/gate.rs`).
    BootMarker,
    /// One REGISTER per life and disk; unknown result = reset (`data_traffic::pr_failed`).
    OneRegister,
    /// The check before the fence comes after the own REGISTER (`fencing::plan_proves`).
    CheckAfterRegister,
    /// Without the qdisk, epochs and counters grow with lives (`leader::propose`, `prepare::prepare_now`).
    LivesInNames,
    /// A cold acceptance counts only from the life that promised (`leader::accepted_by`).
    PromisedLife,
    /// A new life carries its slot on (`acceptor::carry_on`).
    CarryOn,
    /// Not in the code: no new view while a configured qdisk is away.
    QdiskInEveryView,
    /// A check between proof and release (`fencing::look_at_fencing`).
    CheckBeforeRelease,
    /// Views are ordered by term, then epoch (`ViewId`).
    TermFirst,
    /// Two copies of a slot, written in turn (`disk::slot`).
    TwoCopies,
    /// All nodes count by one configuration.
    OneConfiguration,
    /// Only a life that no view condemns may join (`View::may_have`).
    HigherLife,
    /// RESERVATION CONFLICT on PREEMPT proves nothing (`data_traffic::pr_failed`).
    ConflictIsNoDefeat,
    /// A reservation that is gone is made again (`data_traffic::next_command`).
    ReserveAgain,
    /// Only keys that the own committed view condemns are preempted (`fencing::proof`).
    OnlyVictims,
    /// A withdrawn view resets nobody (`member::weigh_evidence`).
    Withdrawn,
    /// Members of a committed view register before it is released (`member::may_register`).
    RegisterWhenCommitted,
    /// A coordinator that cannot fence yields (`fencing::look_at_fencing`).
    Yield,
    /// Only a coordinator that is quorate keeps others waiting (`turn::coordinator_lives_on_disk`).
    LivingIsQuorate,
    /// A re-created qdisk counts once it was adopted (`quorum::qdisk_adopted`).
    Adoption,
    /// What a slot showed after the own promise was counted is part of the base (`prepare::win_term`).
    OwnSlotCounts,
    /// A view's later cycles count only on the qdisk that its first phase was won on (`quorum::qdisk_confirms`).
    SameDisk,
    /// Without the configured qdisk, cold votes count only if everybody agrees (`votes::is_quorum`).
    ColdVotes,
}

/// A set of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules(u32);

impl Rules {
    /// The rules as the code has them.
    pub const AS_CODED: Rules = Rules(!(1 << Rule::QdiskInEveryView as u32));

    /// Is the rule in force?
    pub const fn has(self, rule: Rule) -> bool {
        self.0 & 1 << rule as u32 != 0
    }

    /// These rules without one.
    #[must_use]
    pub const fn without(self, rule: Rule) -> Rules {
        Rules(self.0 & !(1 << rule as u32))
    }

    /// These rules and one more.
    #[must_use]
    pub const fn with(self, rule: Rule) -> Rules {
        Rules(self.0 | 1 << rule as u32)
    }
}

/// What must hold in every state and at every step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Property {
    /// I1: two different views have one name.
    OneName,
    /// I1: two committed views, neither of which descends from the other.
    OneHistory,
    /// I1: a view is committed whose name is below that of a released view that it does not know.
    NamesGrow,
    /// I2 as it was first worded: nothing is fenced or released once a higher view is committed.
    NobodyActsLate,
    /// I2: the key of a member of a newer released view is preempted.
    NewerReleasedPreempted,
    /// I3: at a release, an open gate whose key is on a disk and belongs to no member.
    FencedAtRelease,
    /// I4: the disk takes a write of a life after the release of the view that evicted it.
    NoWriteAfterEviction,
    /// I5: the key of an evicted life whose gate is open comes onto a disk.
    NoWayBack,
    /// I5: a committed view admits a life that a released view below it condemned.
    NoReturn,
    /// A view is released while a member still runs an older one.
    AllStopped,
    /// I8: a node is reset without one of the reasons that are allowed.
    NeedlessReset,
    /// C4: a node is reset by a view that its proposer has withdrawn.
    ResetByWithdrawn,
    /// C3: the key of a member of a newer committed view, which the preempting view does not condemn, is preempted.
    ForeignPreempted,
    /// L1: from some state no good state can be reached.
    Trap,
}

/// A set of properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Properties(u32);

impl Properties {
    /// Those that hold with the rules as coded, whatever happens, as long as targets keep their reservations.
    pub const ALWAYS: Properties = Properties(
        !(1 << Property::OneHistory as u32 | 1 << Property::NamesGrow as u32 | 1 << Property::NobodyActsLate as u32),
    );

    /// And one more.
    #[must_use]
    pub const fn and(self, property: Property) -> Properties {
        Properties(self.0 | 1 << property as u32)
    }

    /// Less one.
    #[must_use]
    pub const fn but(self, property: Property) -> Properties {
        Properties(self.0 & !(1 << property as u32))
    }

    /// Only this one.
    pub const fn only(property: Property) -> Properties {
        Properties(1 << property as u32)
    }

    /// Is it asked for?
    pub const fn has(self, property: Property) -> bool {
        self.0 & 1 << property as u32 != 0
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Property::OneName => "I1 one name",
            Property::OneHistory => "I1 one history",
            Property::NamesGrow => "I1 names grow",
            Property::NobodyActsLate => "I2 as first worded",
            Property::NewerReleasedPreempted => "I2 newer released preempted",
            Property::FencedAtRelease => "I3 fenced at release",
            Property::NoWriteAfterEviction => "I4 write after eviction",
            Property::NoWayBack => "I5 no way back",
            Property::NoReturn => "I5 no return",
            Property::AllStopped => "all stopped",
            Property::NeedlessReset => "I8 needless reset",
            Property::ResetByWithdrawn => "I8 reset by withdrawn",
            Property::ForeignPreempted => "I8 foreign preempted",
            Property::Trap => "L1 trap",
        })
    }
}

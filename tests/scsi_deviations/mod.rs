//! Where real targets leave SPC-4, by name, and why the core can live with it. docs/targets.md tells the same to people.

use quorate::base::PrKey;
use quorate::scsi::target::{Access, Request};
use quorate::scsi::{Held, PrCommand, PrError, is_type};

/// What was asked of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// A command about reservations.
    Pr(Request),
    /// A READ(10) or WRITE(10) of one block.
    Block(Access),
}

/// What the unit's state looks like to an initiator that takes no part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// All keys, sorted: the order means nothing.
    pub keys: Vec<PrKey>,
    /// The reservation; a type that SPC-4 does not have is no answer that the product takes.
    pub held: Result<Option<Held>, PrError>,
}

/// One difference.
#[derive(Debug)]
pub enum Difference {
    /// Unit attentions told before the command was carried out.
    Attentions { real: Vec<(u8, u8)>, model: Vec<(u8, u8)> },
    /// What the command itself came to.
    Answer { real: Result<(), PrError>, model: Result<(), PrError> },
    /// The state afterwards.
    State { real: State, model: State },
    /// By how much more PRGENERATION grew than by the model.
    Generation { more: i32 },
}

/// A difference and what led to it.
pub struct Seen {
    /// The command.
    pub ask: Ask,
    /// Was its sender registered?
    pub registered: bool,
    /// The state before it.
    pub before: State,
    /// What differs.
    pub difference: Difference,
}

/// A known deviation.
pub struct Deviation {
    /// Who.
    pub target: &'static str,
    /// Its name in the report.
    pub name: &'static str,
    /// What SPC-4 says.
    pub spc: &'static str,
    /// What the target does.
    pub does: &'static str,
    /// Why the core can live with it, or what becomes of a cluster that tries.
    pub lives: &'static str,
    /// No cluster can be built on a target that does this.
    pub unfit: bool,
    /// Is it this one?
    pub is: fn(&Seen) -> bool,
}

/// INVALID FIELD IN CDB.
const BAD_FIELD: Result<(), PrError> = Err(PrError::IllegalRequest { asc: 0x24, ascq: 0x00 });
const CONFLICT: Result<(), PrError> = Err(PrError::ReservationConflict);

impl Seen {
    fn answers(&self) -> Option<(Result<(), PrError>, Result<(), PrError>)> {
        match &self.difference {
            Difference::Answer { real, model } => Some((*real, *model)),
            _ => None,
        }
    }

    /// The type that the command names is none of the six.
    fn names_no_type(&self) -> bool {
        match self.ask {
            Ask::Pr(Request::Reserve { kind, .. } | Request::Preempt { kind, .. }) => !is_type(kind),
            _ => false,
        }
    }

    fn all_registrants(&self) -> bool {
        self.before.held.is_ok_and(|held| held.is_some_and(|held| matches!(held.kind, 7 | 8)))
    }

    fn unregisters(&self) -> bool {
        matches!(
            self.ask,
            Ask::Pr(Request::Register { new: PrKey(0), .. } | Request::Pr(PrCommand::Register { key: PrKey(0), .. }))
        )
    }
}

/// All of them.
pub const DEVIATIONS: &[Deviation] = &[
    Deviation {
        target: "lio",
        name: "order of checks",
        spc: "a type that does not exist is 24h/00h, where a reservation is to be made; nothing says which check comes first",
        does: "looks at the type before registration and key, in PREEMPT also where no reservation is to be made",
        lives: "names type 5 and nothing else",
        unfit: false,
        is: |seen| {
            seen.names_no_type() && seen.answers().is_some_and(|(real, _)| real == BAD_FIELD || real == CONFLICT)
        },
    },
    Deviation {
        target: "lio",
        name: "not ready",
        spc: "RESERVE, RELEASE and CLEAR of a nexus that is not registered are RESERVATION CONFLICTs",
        does: "answers NOT READY 08h/00h (communication failure)",
        lives: "before it repeats a RESERVE it reads the keys",
        unfit: false,
        is: |seen| {
            let not_ready = Err(PrError::NotReady { asc: 0x08, ascq: 0x00 });
            !seen.registered && seen.answers() == Some((not_ready, CONFLICT))
        },
    },
    Deviation {
        target: "lio",
        name: "one attention",
        spc: "a nexus with several unit attentions is told one a command",
        does: "tells one and drops the others",
        lives: "reads keys and reservation twice a second and takes no attention for an answer",
        unfit: false,
        is: |seen| match &seen.difference {
            Difference::Attentions { real, model } => real.len() == 1 && model.len() > 1 && model.contains(&real[0]),
            _ => false,
        },
    },
    Deviation {
        target: "lio",
        name: "unregistering counts no generation",
        spc: "PRGENERATION counts every REGISTER that is carried out",
        does: "does not count one with key 0",
        lives: "shows PRGENERATION and decides nothing by it",
        unfit: false,
        is: |seen| seen.unregisters() && matches!(seen.difference, Difference::Generation { more: -1 }),
    },
    Deviation {
        target: "lio",
        name: "release of another type",
        spc: "RELEASE of the holder with another type is 26h/04h",
        does: "answers RESERVATION CONFLICT",
        lives: "never releases",
        unfit: false,
        is: |seen| {
            let wrong_type = Err(PrError::IllegalRequest { asc: 0x26, ascq: 0x04 });
            matches!(seen.ask, Ask::Pr(Request::Release { .. })) && seen.answers() == Some((CONFLICT, wrong_type))
        },
    },
    Deviation {
        target: "lio",
        name: "release of nothing",
        spc: "RELEASE with a key that is not the sender's is a RESERVATION CONFLICT",
        does: "answers GOOD where there is no reservation, or the sender does not hold it, before it looks at the key",
        lives: "never releases",
        unfit: false,
        is: |seen| {
            matches!(seen.ask, Ask::Pr(Request::Release { .. }))
                && seen.registered
                && seen.answers() == Some((Ok(()), CONFLICT))
        },
    },
    Deviation {
        target: "tgt",
        name: "order of checks",
        spc: "a type that does not exist is 24h/00h, where a reservation is to be made; nothing says which check comes first",
        does: "looks at the type of a RESERVE before the registration, and never at that of a PREEMPT",
        lives: "names type 5 and nothing else",
        unfit: false,
        is: |seen| {
            let is_good_or_bad = |answer| answer == BAD_FIELD || answer == Ok(());
            seen.names_no_type() && seen.answers().is_some_and(|(real, _)| is_good_or_bad(real))
        },
    },
    Deviation {
        target: "tgt",
        name: "attentions",
        spc: "2Ah/05h to who lost a registration by PREEMPT; 2Ah/04h to registrants where a reservation that they share goes",
        does: "says 2Ah/03h for 05h, and 04h also for types 1 and 3, twice, or not at all when a holder unregisters",
        lives: "reads keys and reservation twice a second and takes no attention for an answer",
        unfit: false,
        is: |seen| {
            let of_reservations = |list: &[(u8, u8)]| list.iter().all(|code| matches!(code, (0x2a, 3..=5)));
            match &seen.difference {
                Difference::Attentions { real, model } => of_reservations(real) && of_reservations(model),
                _ => false,
            }
        },
    },
    Deviation {
        target: "tgt",
        name: "any key will do",
        spc: "RESERVE and RELEASE with a key that is not the sender's are RESERVATION CONFLICTs",
        does: "looks only at whether the sender is registered",
        lives: "names its own key; a registration of an earlier life is replaced before it reserves",
        unfit: false,
        is: |seen| {
            matches!(seen.ask, Ask::Pr(Request::Reserve { .. } | Request::Release { .. }))
                && seen.registered
                && seen.answers().is_some_and(|(real, model)| real == Ok(()) && model == CONFLICT)
        },
    },
    Deviation {
        target: "tgt",
        name: "preempting nobody",
        spc: "PREEMPT of key 0 is 26h/00h unless all registrants hold the reservation",
        does: "answers GOOD, or 24h/00h under some types, and removes nobody",
        lives: "preempts keys that it has read, and 0 is none",
        unfit: false,
        is: |seen| {
            let of_zero = matches!(seen.ask, Ask::Pr(Request::Preempt { victim: PrKey(0), .. }));
            let refused = Err(PrError::IllegalRequest { asc: 0x26, ascq: 0x00 });
            of_zero
                && seen.answers().is_some_and(|(real, model)| model == refused && (real == Ok(()) || real == BAD_FIELD))
        },
    },
    Deviation {
        target: "tgt",
        name: "generation",
        spc: "PRGENERATION counts registrations, PREEMPT and CLEAR, and no release",
        does: "counts once more where a holder unregisters",
        lives: "shows PRGENERATION and decides nothing by it",
        unfit: false,
        is: |seen| seen.unregisters() && matches!(seen.difference, Difference::Generation { more: 1 }),
    },
    Deviation {
        target: "lio",
        name: "all registrants have one holder",
        spc: "under types 7 and 8 every registrant holds the reservation, and only key 0 in PREEMPT names it",
        does: "remembers who reserved: naming that key in PREEMPT takes the reservation over, and its own sender stays registered",
        lives: "makes no such reservation, and proves nothing on a disk that has one",
        unfit: false,
        is: |seen| {
            let preempts = matches!(seen.ask, Ask::Pr(Request::Preempt { victim, .. }) if victim.0 != 0);
            preempts && seen.all_registrants() && matches!(seen.difference, Difference::State { .. })
        },
    },
    Deviation {
        target: "tgt",
        name: "own key stays",
        spc: "PREEMPT of the sender's own key, where it does not hold the reservation, takes its registration away",
        does: "takes others' with that key away and leaves the sender's",
        lives: "never preempts its own key but to ask for PREEMPT AND ABORT, before it is registered",
        unfit: false,
        is: |seen| {
            let own = matches!(seen.ask, Ask::Pr(Request::Preempt { own, victim, .. }) if own == victim);
            own && matches!(seen.difference, Difference::State { .. })
        },
    },
    Deviation {
        target: "tgt",
        name: "newcomer under all registrants",
        spc: "a registration under types 7 and 8 leaves the reservation as it is",
        does: "answers READ RESERVATION with a type that does not exist",
        lives: "makes no such reservation; an answer that makes no sense proves nothing",
        unfit: false,
        is: |seen| match &seen.difference {
            Difference::State { real, model } => {
                seen.all_registrants() && real.keys == model.keys && real.held == Err(PrError::Malformed)
            }
            _ => false,
        },
    },
    Deviation {
        target: "istgt",
        name: "another's registration",
        spc: "REGISTER changes the sender's registration, PREEMPT takes away those with the key it names",
        does: "changes or takes away somebody else's, so that READ KEYS lists other keys than those that may write",
        lives: "no fence can be proven, and a member whose key is gone resets itself",
        unfit: true,
        is: |seen| matches!(&seen.difference, Difference::State { real, model } if real.keys != model.keys),
    },
    Deviation {
        target: "istgt",
        name: "holder",
        spc: "READ RESERVATION shows key 0 under types 7 and 8; the reservation goes when its holder unregisters",
        does: "shows the key of who reserved, and keeps the reservation of nobody",
        lives: "a reservation whose holder is not listed is no proof",
        unfit: true,
        is: |seen| matches!(&seen.difference, Difference::State { real, model } if real.keys == model.keys),
    },
    Deviation {
        target: "istgt",
        name: "any key will do",
        spc: "a key that is not the sender's, or names nobody, is refused",
        does: "answers GOOD to RESERVE, CLEAR and PREEMPT, and refuses RELEASE of who does not hold with 26h/04h",
        lives: "GOOD to a PREEMPT is followed by READ KEYS, which decides",
        unfit: false,
        is: |seen| {
            let wrong_type = Err(PrError::IllegalRequest { asc: 0x26, ascq: 0x04 });
            seen.answers().is_some_and(|(real, _)| real == Ok(()) || real == wrong_type)
        },
    },
    Deviation {
        target: "istgt",
        name: "attentions",
        spc: "2Ah/03h, 04h and 05h to those concerned",
        does: "forgets some",
        lives: "reads keys and reservation twice a second and takes no attention for an answer",
        unfit: false,
        is: |seen| match &seen.difference {
            Difference::Attentions { real, model } => real.iter().all(|code| model.contains(code)),
            _ => false,
        },
    },
    Deviation {
        target: "istgt",
        name: "generation",
        spc: "PRGENERATION counts registrations, PREEMPT and CLEAR",
        does: "counts neither CLEAR nor a REGISTER with key 0",
        lives: "shows PRGENERATION and decides nothing by it",
        unfit: false,
        is: |seen| matches!(seen.difference, Difference::Generation { more: -1 }),
    },
];

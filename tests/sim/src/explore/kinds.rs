//! What a node can put out, and what can go wrong right there.

use std::fmt;
use std::str::FromStr;

/// A protocol output of a node: a place where a deviation can be put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Output {
    /// A message, or a heartbeat that says something new.
    Frame,
    /// A slot that says something new.
    SlotWrite,
    /// The read after it.
    QdiskRead,
    /// An eviction block.
    EvictionWrite,
    /// A command to a data disk, but for the audit's reads.
    Pr,
    /// The kernel is told something about a lockspace.
    Space,
    /// The gate opens.
    Gate,
    /// The node resets itself.
    Reset,
}

/// One deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The frame is lost.
    Lost,
    /// It arrives seconds later.
    Late,
    /// It arrives twice.
    Twice,
    /// The command is carried out, and its answer is an error.
    Failed,
    /// It is not carried out, and its answer is an error.
    Refused,
    /// It hangs past its timeout, then lands.
    Hung,
    /// Half of the slot is written, and the answer is an error.
    Torn,
    /// The command is on its way when its issuer dies, and lands later.
    Orphan,
    /// The machine stands still right before, its clock too.
    Pause,
    /// Right before, after the driver's look at the clock, which runs on.
    PauseRunning,
    /// Right before, before the driver's look at the clock, which runs on.
    PauseStale,
    /// Right after, the clock standing.
    PauseAfter,
    /// Right after, the clock running.
    PauseAfterRunning,
    /// The machine dies right before, and boots quickly.
    Crash,
    /// And boots late.
    CrashLong,
    /// The machine dies right after, and boots quickly.
    CrashAfter,
    /// And boots late.
    CrashAfterLong,
    /// The first data disk's target loses power.
    TargetReset,
    /// The quorum disk is overwritten with zeros.
    Wipe,
}

impl Kind {
    /// All of them, with the names they have on the command line.
    pub const ALL: [(Kind, &str); 19] = [
        (Kind::Lost, "lost"),
        (Kind::Late, "late"),
        (Kind::Twice, "twice"),
        (Kind::Failed, "failed"),
        (Kind::Refused, "refused"),
        (Kind::Hung, "hung"),
        (Kind::Torn, "torn"),
        (Kind::Orphan, "orphan"),
        (Kind::Pause, "pause"),
        (Kind::PauseRunning, "pause-running"),
        (Kind::PauseStale, "pause-stale"),
        (Kind::PauseAfter, "pause-after"),
        (Kind::PauseAfterRunning, "pause-after-running"),
        (Kind::Crash, "crash"),
        (Kind::CrashLong, "crash-long"),
        (Kind::CrashAfter, "crash-after"),
        (Kind::CrashAfterLong, "crash-after-long"),
        (Kind::TargetReset, "reset"),
        (Kind::Wipe, "wipe"),
    ];

    /// All that means anything at such an output.
    pub fn at(output: Output, qdisk: bool) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().map(|(kind, _)| kind).filter(move |kind| kind.applies(output, qdisk))
    }

    fn applies(self, output: Output, qdisk: bool) -> bool {
        use Output::{EvictionWrite, Frame, Gate, Pr, QdiskRead, Reset, SlotWrite, Space};
        match self {
            Kind::Lost | Kind::Late | Kind::Twice => output == Frame,
            Kind::Failed | Kind::Hung => matches!(output, SlotWrite | QdiskRead | EvictionWrite | Pr),
            Kind::Refused => matches!(output, SlotWrite | EvictionWrite | Pr),
            Kind::Torn => output == SlotWrite,
            Kind::Orphan => output == Pr,
            Kind::Pause | Kind::PauseRunning => true,
            Kind::PauseStale => matches!(output, SlotWrite | QdiskRead | EvictionWrite | Pr),
            Kind::PauseAfter | Kind::PauseAfterRunning | Kind::CrashAfter | Kind::CrashAfterLong => output != Reset,
            // A crash before the reset is the reset.
            Kind::Crash | Kind::CrashLong => output != Reset,
            Kind::TargetReset => !matches!(output, Gate | Space),
            Kind::Wipe => qdisk && !matches!(output, Gate | Space),
        }
    }

    /// The first one of a pair: what has an effect of its own on what comes later.
    pub fn may_come_first(self) -> bool {
        !matches!(
            self,
            // The envelope refuses the second copy, whatever else happens.
            Kind::Twice
            // As a pause with the clock standing that ends with a look at the disks.
            | Kind::PauseRunning | Kind::PauseStale | Kind::PauseAfterRunning
            // What follows in the same breath is an output as well, and there is the pause before that one.
            | Kind::PauseAfter
            // Before an output is after the last one, but for what came in between.
            | Kind::Crash | Kind::CrashLong
            // A failure of the whole device, not of one output.
            | Kind::TargetReset | Kind::Wipe
        )
    }

    /// The second one of a pair.
    pub fn may_come_second(self) -> bool {
        // A frame that is late only counts if something goes wrong in the meantime.
        self.may_come_first() && self != Kind::Late
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Kind::ALL.iter().find(|(kind, _)| kind == self).map_or("?", |(_, name)| name))
    }
}

/// A deviation at a numbered output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// Number of the output in the run that the places before this one made.
    pub point: u32,
    /// What goes wrong there.
    pub kind: Kind,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.point, self.kind)
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let (point, name) = text.split_once(':').ok_or(format!("`{text}` is not NUMBER:KIND"))?;
        let point = point.parse().map_err(|_| format!("`{point}` is not a number"))?;
        let names = || Kind::ALL.map(|(_, name)| name).join(" ");
        let kind = Kind::ALL.iter().find(|(_, known)| *known == name);
        let (kind, _) = kind.ok_or_else(|| format!("`{name}` is none of {}", names()))?;
        Ok(Place { point, kind: *kind })
    }
}

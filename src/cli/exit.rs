//! Exit codes: one table for the whole binary.

/// How the process ended. The same table for every command and for the agent; docs/configuration.md has it too, and
/// tests/cli.rs holds the two together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; for `status`: quorate.
    Ok = 0,
    /// `status`: not quorate. Otherwise: not done, and the reason was printed.
    No = 1,
    /// The command line, or the request, makes no sense.
    Usage = 2,
    /// No agent is running, or several and none was named.
    NoAgent = 3,
    /// Not allowed: be root.
    Permission = 4,
    /// The configuration is missing, damaged or refused.
    Config = 5,
    /// A device is not there, too small, has foreign data, or failed.
    Device = 6,
    /// The agent, or a disk, did not answer in time.
    Timeout = 7,
    /// The agent lacks a socket, a thread or memory, and decided nothing yet.
    Start = 8,
    /// A gate was open in this boot before: only a reset makes a new life of this node.
    StaleBoot = 85,
    /// A self-fence where the process stands for a machine.
    SelfFence = 86,
}

impl Exit {
    /// All codes, in order.
    pub const ALL: [Exit; 11] = [
        Exit::Ok,
        Exit::No,
        Exit::Usage,
        Exit::NoAgent,
        Exit::Permission,
        Exit::Config,
        Exit::Device,
        Exit::Timeout,
        Exit::Start,
        Exit::StaleBoot,
        Exit::SelfFence,
    ];

    /// The code as a number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The code of this number.
    pub fn from_code(code: u8) -> Option<Exit> {
        Exit::ALL.into_iter().find(|exit| exit.code() == code)
    }

    /// One line of the table.
    pub const fn meaning(self) -> &'static str {
        match self {
            Exit::Ok => "done; for `status`: quorate",
            Exit::No => "`status`: not quorate; otherwise: not done, and the reason was printed",
            Exit::Usage => "the command line makes no sense",
            Exit::NoAgent => "no agent is running, or several and none was named",
            Exit::Permission => "not allowed: be root",
            Exit::Config => "the configuration is missing, damaged or refused",
            Exit::Device => "a device is not there, too small, has foreign data, or failed",
            Exit::Timeout => "the agent, or a disk, did not answer in time",
            Exit::Start => "the agent lacks a socket, a thread or memory, and decided nothing yet",
            Exit::StaleBoot => "`agent --self-fence exit`: a gate was open in this boot before; reset the machine",
            Exit::SelfFence => "`agent --self-fence exit` or `--emulate`: the node fenced itself",
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> std::process::ExitCode {
        exit.code().into()
    }
}

impl From<Exit> for i32 {
    fn from(exit: Exit) -> i32 {
        exit.code().into()
    }
}

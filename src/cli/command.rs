//! The tree of commands.

use argh::{ArgsInfo, FromArgs};

use super::by_hand::{AckCommand, FenceCommand, LeaveCommand};
use super::child::ChildCommand;
use super::config::ConfigCommand;
use super::exit::Exit;
use super::mount::{MountCommand, UmountCommand};
use super::pr::PrCommandLine;
use super::qdisk::QdiskCommand;
use super::render::Noun;
use super::shell::ConsoleCommand;
use super::socket;
use super::wait::WaitCommand;
use crate::base::NodeId;

/// Membership, quorum disk and SCSI-3 fencing for a few VMs on shared disks. Exit codes: 0 done (status: quorate), 1 not
/// quorate or not done, 2 bad command line, 3 no agent, 4 not allowed, 5 bad configuration, 6 device, 7 no answer in time,
/// 8 agent cannot start, 85 gate was open in this boot, 86 self-fence.
#[derive(FromArgs, ArgsInfo, Debug)]
pub struct Arguments {
    /// what to do
    #[argh(subcommand)]
    pub command: Command,
}

/// Subcommands.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
#[allow(missing_docs)]
pub enum Command {
    Agent(AgentCommand),
    Payload(PayloadCommand),
    Child(ChildCommand),
    Config(ConfigCommand),
    Mount(MountCommand),
    Umount(UmountCommand),
    Console(ConsoleCommand),
    Status(StatusCommand),
    Nodes(NodesCommand),
    View(ViewCommand),
    Votes(VotesCommand),
    Keys(KeysCommand),
    Reservation(ReservationCommand),
    Heuristics(HeuristicsCommand),
    Lockspaces(LockspacesCommand),
    Plocks(PlocksCommand),
    Events(EventsCommand),
    Fences(FencesCommand),
    Gate(GateCommand),
    Stats(StatsCommand),
    Fence(FenceCommand),
    Ack(AckCommand),
    Leave(LeaveCommand),
    Pr(PrCommandLine),
    Metrics(MetricsCommand),
    Wait(WaitCommand),
    Clustat(ClustatCommand),
    CmanTool(CmanToolCommand),
    Mkqdisk(MkqdiskCommand),
    Qdisk(QdiskCommand),
    Version(VersionCommand),
}

/// Run the agent of this node. Ends with 86 when it fences itself and may not reset the machine, with 85 when the gate
/// was open in this boot before.
#[derive(FromArgs, ArgsInfo, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "agent")]
pub struct AgentCommand {
    /// configuration blob (default /etc/quorate/config)
    #[argh(option, default = "\"/etc/quorate/config\".into()")]
    pub config: String,
    /// which node this is (default: the one whose MAC address this machine has)
    #[argh(option, from_str_fn(node))]
    pub node: Option<NodeId>,
    /// directory of the disks' files, with emulated reservations: nothing is fenced for real
    #[argh(option)]
    pub emulate: Option<String>,
    /// name of the status socket (default quorate)
    #[argh(option, default = "socket::NAME.into()")]
    pub socket: String,
    /// file for the process id
    #[argh(option)]
    pub pid_file: Option<String>,
    /// on a self-fence `reset` the machine (default) or `exit` the process with code 86 (always with --emulate)
    #[argh(option, default = "SelfFenceWay::Reset", from_str_fn(way))]
    pub self_fence: SelfFenceWay,
    /// watchdog device or `none` (default /dev/watchdog where a self-fence resets the machine)
    #[argh(option)]
    pub watchdog: Option<String>,
    /// console to serve, may be repeated (default: none; lines go to standard error)
    #[argh(option)]
    pub console: Vec<String>,
    /// neither mount nor start anything when the gate opens
    #[argh(switch)]
    pub no_payload: bool,
    /// for an initramfs and for units: find this machine's agent, or leave one behind that survives the change to the real
    /// root; it gives the network card its addresses, logs to the kernel's log, and implies --no-payload
    #[argh(switch)]
    pub early: bool,
    /// end with the process that started the agent (for test harnesses)
    #[argh(switch)]
    pub die_with_parent: bool,
}

/// What a self-fence does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelfFenceWay {
    /// Resets the machine.
    Reset,
    /// Ends the process.
    Exit,
}

fn way(text: &str) -> Result<SelfFenceWay, String> {
    match text {
        "reset" => Ok(SelfFenceWay::Reset),
        "exit" => Ok(SelfFenceWay::Exit),
        _ => Err(format!("`{text}` is neither `reset` nor `exit`")),
    }
}

/// Write stamps to a data disk as fast as it takes them (the agent starts this when its gate opens).
#[derive(FromArgs, ArgsInfo, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "payload-writer")]
pub struct PayloadCommand {
    /// data disk, as the configuration names it
    #[argh(option)]
    pub device: String,
    /// the writer's node
    #[argh(option, from_str_fn(node))]
    pub node: NodeId,
    /// the writer's incarnation
    #[argh(option)]
    pub incarnation: u32,
    /// directory of the disks' files, with emulated reservations
    #[argh(option)]
    pub emulate: Option<String>,
    /// process id of the agent; the writer ends with it
    #[argh(option)]
    pub agent: u32,
}

fn node(text: &str) -> Result<NodeId, String> {
    text.parse().ok().and_then(NodeId::new).ok_or_else(|| format!("`{text}` is not a node id (1 to 64)"))
}

/// Show the version.
#[derive(FromArgs, ArgsInfo, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "version")]
pub struct VersionCommand {}

/// Show everything that counts, for Prometheus.
#[derive(FromArgs, ArgsInfo, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "metrics")]
pub struct MetricsCommand {
    /// the agent's socket, where several run (default: the only one)
    #[argh(option)]
    pub socket: Option<String>,
}

/// An old tool in the list of commands. Its words are taken by `cli::rhcs` before anything else looks at them: its options
/// are not ours.
macro_rules! old_tool {
    ($command:ident, $name:tt, $help:tt) => {
        #[doc = $help]
        #[derive(FromArgs, ArgsInfo, Debug, Clone, PartialEq, Eq)]
        #[argh(subcommand, name = $name)]
        pub struct $command {}
    };
}

old_tool!(ClustatCommand, "clustat", "Show the members as RHCS did: `quorate clustat -h`.");
old_tool!(CmanToolCommand, "cman_tool", "Show and wait as RHCS did: `quorate cman_tool -h`.");
old_tool!(MkqdiskCommand, "mkqdisk", "Show and make quorum disks as RHCS did: `quorate mkqdisk -h`.");

/// One command for a noun: only its name, its noun and its help differ.
macro_rules! show {
    ($command:ident, $name:tt, $noun:ident, $help:tt) => {
        #[doc = $help]
        #[derive(FromArgs, ArgsInfo, Debug, Clone, PartialEq, Eq)]
        #[argh(subcommand, name = $name)]
        pub struct $command {
            /// one JSON object instead of text
            #[argh(switch)]
            pub json: bool,
            /// no output, only the exit code
            #[argh(switch, short = 'q')]
            pub quiet: bool,
            /// the agent's socket, where several run (default: the only one)
            #[argh(option)]
            pub socket: Option<String>,
        }

        impl $command {
            /// Asks the agent and prints its answer.
            pub fn run(&self) -> Exit {
                let json = if self.json { " json" } else { "" };
                let request = format!("{}{json}", Noun::$noun.word());
                socket::ask(self.socket.as_deref(), &request, self.quiet)
            }
        }
    };
}

show!(
    StatusCommand,
    "status",
    Status,
    "Show votes, quorum, gate, and what is being waited for. Exit code 1: not quorate."
);
show!(NodesCommand, "nodes", Nodes, "Show every node: online or not, incarnation, last heard.");
show!(ViewCommand, "view", View, "Show the view that the members agreed on.");
show!(VotesCommand, "votes", Votes, "Show whose votes count now.");
show!(KeysCommand, "keys", Keys, "Show the keys registered on the data disks.");
show!(ReservationCommand, "reservation", Reservation, "Show the reservations on the data disks.");
show!(
    GateCommand,
    "gate",
    Gate,
    "Show whether shared storage may be mounted here, and what is. Exit code 1: it must not."
);
show!(HeuristicsCommand, "heuristics", Heuristics, "Show this node's heuristics and their score.");
show!(LockspacesCommand, "lockspaces", Lockspaces, "Show the lockspaces of the kernel's DLM, as dlm_tool ls.");
show!(PlocksCommand, "plocks", Plocks, "Show the POSIX locks on cluster file systems, as dlm_tool plocks.");
show!(EventsCommand, "events", Events, "Show what happened lately.");
show!(FencesCommand, "fences", Fences, "Show who was put out lately, why, and how long it took.");
show!(StatsCommand, "stats", Stats, "Show the agent's time, memory and losses.");
show!(QdiskStatusCommand, "status", Qdisk, "Show the quorum disk as this node's agent sees it.");

//! Command lines of the agent and of its payload writer.

use argh::FromArgs;

use crate::base::NodeId;

/// Where an agent finds its configuration unless told otherwise.
pub const CONFIG_PATH: &str = "/etc/quorate/config";

/// Run the agent of this node in the foreground: join the cluster, keep the quorum, fence, open the gate.
#[derive(FromArgs, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "agent")]
pub struct AgentOptions {
    /// configuration blob (default /etc/quorate/config)
    #[argh(option, default = "CONFIG_PATH.into()")]
    pub config: String,
    /// which node of the configuration this is (default: the one whose MAC address this machine has)
    #[argh(option, from_str_fn(node))]
    pub node: Option<NodeId>,
    /// disks are files and their reservations are emulated; nothing is real, and no machine is ever reset
    #[argh(switch)]
    pub emulate: bool,
    /// what a self-fence does: `reset` the machine (default) or `exit` the process with code 86 (always so with --emulate)
    #[argh(option, default = "SelfFenceWay::Reset", from_str_fn(way))]
    pub self_fence: SelfFenceWay,
    /// watchdog device, or `none` (default /dev/watchdog; none with --emulate or --self-fence exit)
    #[argh(option)]
    pub watchdog: Option<String>,
    /// console to serve, may be repeated (default: none, lines go to standard error)
    #[argh(option)]
    pub console: Vec<String>,
    /// abstract name of the status socket (default quorate)
    #[argh(option, default = "SOCKET_NAME.into()")]
    pub socket: String,
    /// do not start the built-in payload writer when the gate opens
    #[argh(switch)]
    pub no_payload: bool,
}

/// Abstract name of the status socket: it needs no file system, so it survives a switch of the root.
pub const SOCKET_NAME: &str = "quorate";

/// What a self-fence does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelfFenceWay {
    /// Resets the machine.
    Reset,
    /// Ends the process.
    Exit,
}

/// Write stamps to a data disk as fast as it takes them (started by the agent when its gate opens).
#[derive(FromArgs, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "payload-writer")]
pub struct PayloadOptions {
    /// data disk
    #[argh(option)]
    pub device: String,
    /// the writer's node
    #[argh(option, from_str_fn(node))]
    pub node: Option<NodeId>,
    /// the writer's incarnation
    #[argh(option)]
    pub incarnation: u32,
    /// the disk is a file with emulated reservations
    #[argh(switch)]
    pub emulate: bool,
}

fn node(text: &str) -> Result<NodeId, String> {
    text.parse::<u8>().ok().and_then(NodeId::new).ok_or_else(|| format!("`{text}` is not a node id (1 to 64)"))
}

fn way(text: &str) -> Result<SelfFenceWay, String> {
    match text {
        "reset" => Ok(SelfFenceWay::Reset),
        "exit" => Ok(SelfFenceWay::Exit),
        _ => Err(format!("`{text}` is neither `reset` nor `exit`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_reset_the_machine_and_bad_values_are_refused() {
        let parsed = AgentOptions::from_args(&["agent"], &[]).unwrap();
        assert_eq!((parsed.self_fence, parsed.node, parsed.emulate), (SelfFenceWay::Reset, None, false));
        assert!(AgentOptions::from_args(&["agent"], &["--node", "65"]).is_err());
        assert!(AgentOptions::from_args(&["agent"], &["--self-fence", "maybe"]).is_err());
    }
}

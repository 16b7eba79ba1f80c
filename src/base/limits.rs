//! Every capacity in the product, by name. "Full" is an outcome that callers handle, never a panic.

/// Highest node id, and the most nodes of a cluster.
pub const NODES_MAX: usize = 64;
/// Data disks that carry reservations.
pub const DATA_DISKS_MAX: usize = 4;
/// Addresses (networks) of a node.
pub const NETWORKS_MAX: usize = 2;
/// Registered keys read from one disk; a disk with more is reported as `Overflow`, never cut short.
pub const KEYS_MAX: usize = 256;
/// Bytes of a frame on the wire, envelope and MAC included.
pub const FRAME_BYTES_MAX: usize = 1400;
/// Bytes of a node or cluster name.
pub const NAME_BYTES_MAX: usize = 32;
/// Bytes of a qdisk label (RHCS allows 127; a label is typed by people).
pub const LABEL_BYTES_MAX: usize = 64;
/// Bytes of a device path in the configuration.
pub const PATH_BYTES_MAX: usize = 96;
/// Heuristics of the quorum disk (qdiskd had 10). Each has a thread of its own.
pub const HEURISTICS_MAX: usize = 16;
/// Bytes of a program's path and arguments, or of a shell's command line.
pub const COMMAND_BYTES_MAX: usize = 240;
/// Bytes of a network interface's name (IFNAMSIZ less its NUL).
pub const INTERFACE_BYTES_MAX: usize = 15;
/// File systems that are mounted behind the gate.
pub const MOUNTS_MAX: usize = 4;
/// Bytes of a line that a heuristic's program printed; what is longer is cut.
pub const OUTPUT_LINE_BYTES_MAX: usize = 96;
/// Lines remembered of one run of a program.
pub const OUTPUT_LINES_MAX: usize = 4;
/// Programs that are told what happens. Each has a thread of its own.
pub const HOOKS_MAX: usize = 8;
/// Events that wait for a hook's program; the oldest makes room.
pub const HOOK_QUEUE_MAX: usize = 16;
/// Bytes of the sentence that a hook's program is told; what is longer is cut.
pub const HOOK_TEXT_BYTES_MAX: usize = 200;
/// Lockspaces of the kernel's DLM that a node can be in at a time.
pub const SPACES_MAX: usize = 8;
/// Bytes of a lockspace's name (DLM_LOCKSPACE_LEN of the kernel).
pub const SPACE_NAME_BYTES_MAX: usize = 64;
/// Bytes of an encoded configuration, envelope included.
pub const BLOB_BYTES_MAX: usize = 16 * 1024;
/// Events remembered for the console.
pub const TRACE_RING: usize = 128;
/// Actions one step may emit: a heartbeat and the answer to a report for every peer, orders for every lockspace, and some.
pub const ACTIONS_MAX: usize = 2 * NODES_MAX + 3 * SPACES_MAX + 32;
/// A watchdog is fed so many times in its timeout.
pub const WATCHDOG_FEEDS: u64 = 4;
/// POSIX locks of all nodes together.
pub const PLOCKS_MAX: usize = 1024;
/// Wishes for POSIX locks of all nodes that wait for others.
pub const PLOCK_WAITERS_MAX: usize = 256;
/// Wishes for POSIX locks of one node that are not answered yet.
pub const PLOCK_OPS_MAX: usize = 128;
/// POSIX locks of one node. An unlock may split one, so as many wishes as there can be always have room.
pub const PLOCKS_OWN_MAX: usize = 512 + PLOCK_OPS_MAX;

//! A guest with busybox and sg_persist in place of the agent: the LIO target, the second opinion, the lab's own test.

use std::path::Path;

use anyhow::Result;
use fs_err as fs;

use crate::board::Board;
use crate::cpio::Archive;
use crate::extras::{self, Extras};
use crate::kernel::Kernel;

/// What the console says when the shell takes commands.
pub const READY: &str = "toolbox ready";

/// Loads the modules, runs /setup, then evaluates each line of the console.
///
/// The loop takes the place of an interactive shell: nothing is echoed, no prompt gets between an answer and its mark,
/// and a command neither eats the next one from the console nor, by a syntax error, ends the shell that is PID 1.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /lib/quorate/modules/*.ko; do insmod "$module" || echo "cannot load $module"; done
word() { sed "s/.*$1=\([^ ]*\).*/\1/" /proc/cmdline; }
disk() { for disk in /sys/block/sd*; do
    case $(readlink -f "$disk/device") in *:"$1") echo "/dev/${disk##*/}";; esac
done; }
. /setup
stty -echo
echo "toolbox ready"
while IFS= read -r line; do (eval "$line") </dev/null; done
"#;

/// Waits for the shared disks, which a kernel finds in the background and in any order, so that their LUN is what tells
/// them apart; then brings up the network, if there is one, with an address that ends in the node's number.
const NODE_SETUP: &str = r#"
for lun in $luns; do until [ -b "$(disk $lun)" ]; do usleep 10000; done; done
data=$(disk 0)
qdisk=$(disk 1)
if grep -q quorate.node= /proc/cmdline; then
    ip link set lo up
    ip link set eth0 up
    ip addr add "10.0.0.$(word quorate.node)/24" dev eth0
fi
"#;

/// The setup of a guest that has these LUNs.
pub fn node_setup(luns: &[u8]) -> String {
    let luns: Vec<String> = luns.iter().map(u8::to_string).collect();
    format!("luns='{}'{NODE_SETUP}", luns.join(" "))
}

/// Writes the initramfs of a toolbox with the board's modules and `more`, which sources `setup` before it takes commands.
pub fn initramfs(board: &Board, kernel: &Kernel, more: &[&str], setup: &str, out: &Path) -> Result<()> {
    initramfs_with(&Extras::default(), board, kernel, more, setup, out)
}

/// The same with additions.
pub fn initramfs_with(
    extras: &Extras,
    board: &Board,
    kernel: &Kernel,
    more: &[&str],
    setup: &str,
    out: &Path,
) -> Result<()> {
    let mut archive = Archive::new()?;
    extras.put(&mut archive)?;
    archive.file("init", 0o755, INIT.as_bytes())?;
    archive.file("setup", 0o644, setup.as_bytes())?;
    archive.file("bin/busybox", 0o755, &fs::read("/bin/busybox")?)?;
    let persist = Path::new("/usr/bin/sg_persist");
    archive.file("usr/bin/sg_persist", 0o755, &fs::read(persist)?)?;
    for library in extras::libraries(persist, Path::new("/"))? {
        let path = library.to_string_lossy();
        archive.file(path.trim_start_matches('/'), 0o755, &fs::read(&library)?)?;
    }
    let mut modules = board.modules();
    modules.extend_from_slice(more);
    modules.extend(extras.modules());
    archive.modules(kernel, &modules)?;
    archive.write(out, board.image.compression)
}

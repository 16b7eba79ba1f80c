//! The model of a target against the real one: tests/scsi_differential.rs in a guest with four nexuses to one disk.

use std::time::Duration;

use anyhow::{Result, bail};

use super::Run;
use super::story::Story;
use crate::board::Board;
use crate::extras::Extras;
use crate::kernel::Kernel;
use crate::node::{Guest, Node, attach_nexuses};
use crate::paths::RunDir;
use crate::qemu::{Accelerator, Vm};
use crate::target::{DATA_BYTES, Layout, Place, Target};
use crate::{build, debian, lab, toolbox};

/// Three that act and one that looks.
const NEXUSES: u8 = 4;
/// Four thousand commands and three looks after each, emulated on a busy host.
const DONE_WITHIN: Duration = Duration::from_secs(900);

/// Waits for all nexuses, and names them in the order of their SCSI ids.
const SETUP: &str = r#"
nexus() { for disk in /sys/block/sd*; do
    case $(readlink -f "$disk/device") in *:0:"$1":0) echo "/dev/${disk##*/}";; esac
done; }
until [ -b "$(nexus 0)" ] && [ -b "$(nexus 1)" ] && [ -b "$(nexus 2)" ] && [ -b "$(nexus 3)" ]; do usleep 10000; done
nexuses=$(nexus 0),$(nexus 1),$(nexus 2),$(nexus 3)
"#;

/// Boots target and guest, runs the comparison, and passes its report on.
pub fn run(run: &Run, story: &mut Story) -> Result<()> {
    debian::ensure_for_vms(run.target)?;
    let board = Board::for_qemu(&run.board)?;
    let kernel = Kernel::fetch(&board.kernel.package)?;
    let test = build::static_test("scsi_differential")?;
    let files = RunDir::create()?;
    let accelerator = Accelerator::choose(run.kvm);
    let place = Place { board: &board, kernel: &kernel, accelerator, run: &files, data_bytes: DATA_BYTES };
    let target = story.step("the target serves", |_| Target::start(run.target, Layout::TwoLuns, &place))?;
    let initrd = files.file("initiators.cpio");
    let program = Extras::default().with_program("bin/program", &test);
    toolbox::initramfs_with(&program, &board, &kernel, &[], SETUP, &initrd)?;
    let mut vm = Vm::describe("initiators", &board, &kernel, &initrd, &[], accelerator, &files);
    attach_nexuses(&mut vm, &board, &target, NEXUSES);
    let guest = Node::new(vm, Guest::Toolbox);
    story.step("four nexuses to one disk", |_| {
        guest.boot()?;
        guest.wait_ready(lab::BOOT_WITHIN)
    })?;
    story.step("the same commands to the target and to the model", |story| {
        let line = format!(
            "QUORATE_PR_DISKS=$nexuses QUORATE_PR_TARGET={} QUORATE_PR_SEED={} QUORATE_PR_ROUNDS={} \
             /bin/program --nocapture --test-threads=1",
            run.target, run.seed, run.commands
        );
        let (status, report) = guest.shell(&line, DONE_WITHIN)?;
        story.saw(&report);
        if status != 0 {
            bail!("the comparison failed; files in {}", files.files().display());
        }
        Ok(())
    })
}

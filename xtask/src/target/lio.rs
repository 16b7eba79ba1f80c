//! LIO: the Linux kernel's target, in a VM of its own, because the host's kernel is not ours to load modules into.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Lun, Place, iqn};
use crate::qemu::Vm;
use crate::toolbox;

const READY_WITHIN: Duration = Duration::from_secs(90);

/// Without crc32c_generic every login fails: iscsi_target_mod asks the crypto layer for it and has no modprobe to load it.
const MODULES: &[&str] = &["virtio_blk", "crc32c_generic", "target_core_iblock", "iscsi_target_mod"];

/// Boots the VM and waits until its target is set up.
pub fn start(place: &Place<'_>, port: u16, luns: &[Lun]) -> Result<Vm> {
    let initrd = place.run.file("lio.cpio");
    toolbox::initramfs(place.board, place.kernel, MODULES, &setup(luns), &initrd)?;
    let mut vm = Vm::describe("lio", place.board, place.kernel, &initrd, &[], place.accelerator, place.run);
    for lun in luns {
        // writeback: a write that the guest sees done is in the host's page cache, where a reader of the file finds it.
        let drive = format!("if=none,id={},format=raw,cache=writeback,file={}", lun.name, lun.file.display());
        vm.add(&["-drive", &drive]);
        vm.add(&["-device", &format!("virtio-blk-pci,drive={0},serial={0}", lun.name)]);
    }
    // restrict: the guest is reached through the one forwarded port and reaches nothing itself.
    let network = format!("user,id=wire,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:3260");
    vm.add(&["-netdev", &network]);
    place.board.network.device.iter().for_each(|device| vm.add(&["-device", &format!("{device},netdev=wire")]));
    vm.boot()?;
    vm.wait_console(toolbox::READY, READY_WITHIN).context("the LIO target did not come up")?;
    Ok(vm)
}

/// The shell script that makes the target through configfs.
fn setup(luns: &[Lun]) -> String {
    let iqn = iqn();
    let mut script = format!(
        r#"set -e
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
mount -t configfs configfs /sys/kernel/config
# Where LIO keeps reservations that shall survive a loss of power.
mkdir -p /var/target/pr /etc/target/pr
disk_with() {{ for disk in /sys/block/vd*; do
    [ "$(cat $disk/serial)" = $1 ] && echo "/dev/${{disk##*/}}"
done; }}
target=/sys/kernel/config/target
group=$target/iscsi/{iqn}/tpgt_1
mkdir -p $target/iscsi/{iqn}
mkdir -p $group
"#
    );
    for lun in luns {
        let Lun { name, number, .. } = lun;
        let serial = lun.serial();
        script += &format!(
            r#"
mkdir -p $target/core/iblock_{number}/{name}
store=$target/core/iblock_{number}/{name}
echo udev_path=$(disk_with {name}) > $store/control
echo 1 > $store/enable
echo {serial} > $store/wwn/vpd_unit_serial
mkdir -p $group/lun/lun_{number}
ln -s $store $group/lun/lun_{number}/store
"#
        );
    }
    script += r#"
# Any initiator may come, write, and is remembered with its registrations when it logs in again.
echo 0 > $group/attrib/authentication
echo 0 > $group/attrib/demo_mode_write_protect
echo 1 > $group/attrib/generate_node_acls
echo 1 > $group/attrib/cache_dynamic_acls
mkdir $group/np/0.0.0.0:3260
echo 1 > $group/enable
set +e
"#;
    script
}

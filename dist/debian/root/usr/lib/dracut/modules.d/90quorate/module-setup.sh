#!/bin/bash
# Puts the agent, its configuration and its kernel modules into the initramfs.

check() {
    # shellcheck disable=SC2154
    [[ -s $dracutsysrootdir/etc/quorate/config ]] || return 1
    require_binaries /usr/sbin/quorate modprobe
}

depends() {
    return 0
}

installkernel() {
    local module
    while read -r module _; do
        [[ -z $module || $module == '#'* ]] || hostonly='' instmods "$module"
    done < "$dracutsysrootdir/etc/quorate/modules"
    # Without dracut's network modules only what the root needs would be there.
    # shellcheck disable=SC2154
    if [[ ! $hostonly ]]; then
        instmods '=drivers/net/ethernet' virtio_net hv_netvsc xen-netfront vmxnet3
        return 0
    fi
    for module in /sys/class/net/*/device/driver/module; do
        [[ ! -e $module ]] || hostonly='' instmods "$(basename "$(readlink -f "$module")")"
    done
}

install() {
    inst_binary /usr/sbin/quorate
    inst_simple /usr/lib/quorate/start
    inst_simple /etc/quorate/config
    inst_simple /etc/quorate/modules
    # shellcheck disable=SC2154
    inst_hook pre-mount 05 "$moddir/quorate-start.sh"
}

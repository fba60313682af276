#!/bin/bash
# Runs as PID 1 of fresh network, mount, UTS, IPC and PID namespaces: makes them a hypervisor host of its own, then becomes its init.
#
#   usage: host.sh NAME HOST_DIR READY_FILE COMMAND...
set -euo pipefail

name=$1 directory=$2 ready=$3
shift 3

mount --make-rprivate /
mount -t proc proc /proc
# libvirtd would still find cgroup mounts that the new /sys merely hides, and fail every start on them.
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t sysfs sysfs /sys
mount --bind "$directory/run" /run
mount --bind "$directory/etc" /etc/libvirt
mount --bind "$directory/lib" /var/lib/libvirt
mount --bind "$directory/log" /var/log/libvirt
mount --bind "$directory/cache" /var/cache/libvirt
mount --bind "$directory/hosts" /etc/hosts
[ ! -e /etc/machine-id ] || mount --bind "$directory/machine-id" /etc/machine-id
hostname "$name"

ip link set lo up
ip link add br0 type bridge stp_state 0 forward_delay 0
ip link set br0 up
# Guests' addresses are known: nobody waits for duplicates of link-local ones.
echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad 2>/dev/null || true
touch "$ready"
exec "$@"

#!/bin/bash
# Runs in the fabric's network namespace: lays a host's two cables, eth0 for management and eth1 into its provider bridge.
#
#   usage: plug.sh NAME HOST_PID ADDRESS_CIDR
set -euo pipefail

name=$1 pid=$2 address=$3

cable() {
    local port=$name-$1 device=$2 switch=$3
    # The port of a host that crashed goes with its namespace, a moment later.
    ip link del "$port" 2>/dev/null || true
    ip link add "$port" type veth peer name "$device" netns "$pid"
    ip link set "$port" master "$switch" up
}

in_host() { nsenter --target "$pid" --net -- ip "$@"; }

in_host link del eth0 2>/dev/null || true
in_host link del eth1 2>/dev/null || true
cable m eth0 br-mgmt
cable p eth1 br-prov
in_host addr add "$address" dev eth0
in_host link set eth0 up
in_host link set eth1 master br0 up

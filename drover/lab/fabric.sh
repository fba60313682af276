#!/bin/bash
# Runs in a fresh network namespace: the two switches between the lab's hosts. Then becomes the program that holds it.
#
#   usage: fabric.sh MANAGEMENT_CIDR PROVIDER_CIDR READY_FILE COMMAND...
set -euo pipefail

bridge() {
    ip link add "$1" type bridge stp_state 0 forward_delay 0
    ip addr add "$2" dev "$1"
    ip link set "$1" up
}

ip link set lo up
bridge br-mgmt "$1"
bridge br-prov "$2"
ready=$3
shift 3
touch "$ready"
exec "$@"

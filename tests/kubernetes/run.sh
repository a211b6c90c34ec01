#!/usr/bin/env bash
# The image of this tree in a Kubernetes of one node, with real clients in its pods; `make e2e-kubernetes` calls this. Arguments
# are options of pytest, like -k NAME.
#
# Everything runs in namespaces of its own: the end of the first process there ends all the others, and their mounts and network
# go with them. On this machine's disk, what they write is below target/kubernetes; the logs stay there.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/setup/say.sh

readonly STATE=$PWD/target/kubernetes CGROUP=weightfs-kubernetes
[ "$(id -u)" -eq 0 ] || fail "only root can run a Kubernetes"
[ -c /dev/fuse ] || fail "/dev/fuse is not there (modprobe fuse)"

# Two kubelets would remove each other's containers.
mkdir -p "$STATE"
exec 8>"$STATE/lock"
flock --nonblock 8 || fail "another run holds $STATE/lock"

remove_groups() {
    local hierarchy
    for hierarchy in $(findmnt --list --noheadings --types cgroup,cgroup2 --output TARGET); do
        [ ! -d "$hierarchy/$CGROUP" ] || find "$hierarchy/$CGROUP" -depth -type d -exec rmdir {} + || return
    done
}

remove_state() {
    rm -rf --one-file-system "$STATE"/{lib,cache,containerd,signals}
    # After a cluster that was killed, its last processes are still ending.
    for _ in {1..50}; do
        remove_groups 2>/dev/null && return
        sleep 0.2
    done
    fail "the control groups of an earlier run stay: $(remove_groups 2>&1)"
}

if [ -z "${TEST_HUB_BINARY:-}" ]; then
    cargo build --quiet --locked -p test-hub
    TEST_HUB_BINARY=$(realpath "${CARGO_TARGET_DIR:-target}/debug/test-hub")
fi
export TEST_HUB_BINARY
remove_state
rm -rf "$STATE/logs"
mkdir -p "$STATE"/{lib,cache,containerd,signals,logs}
trap remove_state EXIT

# Whatever becomes of this shell, nothing outlives it.
setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child --net --mount-proc \
    tests/kubernetes/inside.sh "$STATE" "$CGROUP" "$@" &
cluster=$!
trap 'kill -KILL $cluster; wait $cluster || exit' INT TERM HUP
wait $cluster

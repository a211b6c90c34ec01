#!/usr/bin/env bash
# The node of the tests: what run.sh starts as the first process of new namespaces. It makes the places, the network and the
# control groups that a kubelet wants, without touching this machine's, runs the tests, and stays until they end, since orphans
# of containers become its children.
set -euo pipefail
readonly STATE=$1 CGROUP=$2
shift 2

# A kubelet hands mounts on in both directions. Nothing reaches the machine: run.sh has cut that.
mount --make-rshared /

# The places that charts and kubelets have by default, but not this machine's.
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p "$STATE"/lib/{kubelet,etcd}
mount --bind "$STATE/lib" /var/lib
mount -t tmpfs -o mode=700 tmpfs /var/lib/etcd # it waits for the disk at each write
mount --bind "$STATE/cache" /var/cache
mount --bind "$STATE/logs" /var/log

# A kubelet sets some of the kernel's settings. Here it writes them to files that nobody reads.
mkdir /run/settings
for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_max{keys,bytes}; do
    if [ -e "/proc/sys/$setting" ]; then
        cat "/proc/sys/$setting" >"/run/settings/${setting//\//-}"
        mount --bind "/run/settings/${setting//\//-}" "/proc/sys/$setting"
    fi
done

# Pods are on the bridge. The API's own service address is the node's too, so that no kube-proxy is needed to reach it.
ip link set lo up
ip link add pods type bridge
ip link add up0 type veth peer name up1 # a bridge without a member is down
ip link set up0 master pods up
ip link set up1 up
ip link set pods up
ip address add 10.99.0.1/24 dev pods
ip address add 10.98.0.1/32 dev pods
ip route add default via 10.99.0.254

# All containers below one group of our own.
for hierarchy in $(findmnt --list --noheadings --types cgroup,cgroup2 --output TARGET); do
    mkdir "$hierarchy/$CGROUP"
    for setting in cpuset.cpus cpuset.mems; do
        # The old kind starts without any processor.
        [ ! -s "$hierarchy/$setting" ] || cat "$hierarchy/$setting" >"$hierarchy/$CGROUP/$setting"
    done
done

PYTHONDONTWRITEBYTECODE=1 target/venv/main/bin/python -m pytest -c tests/kubernetes/pytest.ini tests/kubernetes "$@" || exit

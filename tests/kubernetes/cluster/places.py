"""Where the cluster's programs are, and what its parts agree on. inside.sh has made the folders and the network."""

import os
from pathlib import Path

from harness.paths import TARGET

PROGRAMS = TARGET / "tools" / "kubernetes"
KUBECTL = PROGRAMS / "kubectl"
HELM = TARGET / "tools" / "helm"
IMAGE = TARGET / "image" / "weightfs.tar"

STATE = TARGET / "kubernetes"
LOGS = STATE / "logs"
# Seen by pods under the same path: what is there tells readers to end.
SIGNALS = STATE / "signals"
RUN = Path("/run/cluster")
CERTIFICATES = RUN / "certificates"
KUBECONFIG = RUN / "kubeconfig"
CONTAINERD = Path("/run/containerd/containerd.sock")
KUBELET = Path("/var/lib/kubelet")

NODE = "node1"
NODE_ADDRESS = "10.99.0.1"
SERVICES = "10.98.0.0/24"
API_ADDRESS = "10.98.0.1"  # the first of them, by which pods know it
POD_ADDRESSES = {"subnet": "10.99.0.0/24", "rangeStart": "10.99.0.50", "rangeEnd": "10.99.0.200", "gateway": NODE_ADDRESS}
CGROUP = "weightfs-kubernetes"

ENVIRONMENT = {"PATH": f"{PROGRAMS}:{os.environ['PATH']}", "KUBECONFIG": str(KUBECONFIG), "HOME": str(RUN)}

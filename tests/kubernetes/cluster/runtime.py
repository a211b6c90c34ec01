"""containerd: runs the containers, from images that are handed to it."""

import json
from pathlib import Path

from cluster.images import PAUSE
from cluster.places import CONTAINERD, ENVIRONMENT, POD_ADDRESSES, PROGRAMS, RUN, STATE
from cluster.program import Program
from harness.process import run_well

NETWORK = RUN / "network"


def start() -> None:
    NETWORK.mkdir(parents=True)
    (NETWORK / "pods.conflist").write_text(json.dumps(network()))
    config = RUN / "containerd.toml"
    config.write_text(configuration())
    Program("containerd", "--config", config, ready=CONTAINERD.is_socket)


def configuration() -> str:
    return f"""
version = 3
root = "{STATE}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri"]
[grpc]
address = "{CONTAINERD}"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE}"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni", "/opt/cni/bin"]
conf_dir = "{NETWORK}"
"""


def network() -> dict:
    addresses = {"type": "host-local", "dataDir": f"{RUN}/addresses", "ranges": [[POD_ADDRESSES]]}
    addresses["routes"] = [{"dst": "0.0.0.0/0"}]
    bridge = {"type": "bridge", "bridge": "pods", "isGateway": False, "ipMasq": False, "ipam": addresses}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}


def add_image(archive: Path) -> None:
    ctr("images", "import", "--local", str(archive))


def add_name(image: str, another: str) -> None:
    ctr("images", "tag", image, another)


def ctr(*words: str) -> str:
    return run_well([PROGRAMS / "ctr", "--address", CONTAINERD, "--namespace", "k8s.io", *words], ENVIRONMENT)

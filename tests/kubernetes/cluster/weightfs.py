"""weightfs in the cluster, as an administrator installs and upgrades it."""

from pathlib import Path

from cluster import runtime
from cluster.kubectl import apply, get, kubectl
from cluster.pods import PATIENCE
from harness.waiting import wait_until

IMAGE = "weightfs:0.1.0"
SETUP = Path(__file__).parents[1] / "interim.yaml"


def install(hub: str) -> None:
    import yaml
    objects = list(yaml.safe_load_all(SETUP.read_text().replace("HUB", hub)))
    apply(*objects)
    wait_for_daemons("weightfs-node")


def wait_for_daemons(name: str) -> None:
    kubectl("rollout", "status", f"daemonset/{name}", f"--timeout={PATIENCE:.0f}s", "--namespace=weightfs", seconds=PATIENCE + 10)


def pods(name: str) -> list[dict]:
    return get("pods", "--namespace=weightfs", f"--selector=app={name}")["items"]

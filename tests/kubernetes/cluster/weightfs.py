"""weightfs in the cluster, as an administrator installs and upgrades it."""

from pathlib import Path

import yaml

from cluster import runtime
from cluster.kubectl import apply, get, kubectl
from cluster.pods import PATIENCE
from harness.waiting import wait_until

IMAGE, ANOTHER_IMAGE = "docker.io/library/weightfs:0.1.0", "docker.io/library/weightfs:another"
SETUP = Path(__file__).parents[1] / "interim.yaml"
NAMESPACE = "--namespace=weightfs"


def install(hub: str) -> None:
    runtime.add_name(IMAGE, ANOTHER_IMAGE)
    apply(*yaml.safe_load_all(SETUP.read_text().replace("HUB", hub)))
    for name in daemon_sets():
        wait_for(name)


def daemon_sets() -> list[str]:
    return [found["metadata"]["name"] for found in get("daemonsets", NAMESPACE)["items"]]


def wait_for(name: str) -> None:
    kubectl("rollout", "status", f"daemonset/{name}", f"--timeout={PATIENCE:.0f}s", NAMESPACE, seconds=PATIENCE + 10)


def delete_pods(name: str) -> None:
    """Ends with their successors at work."""
    kubectl("delete", "pods", f"--selector=app={name}", f"--timeout={PATIENCE:.0f}s", NAMESPACE, seconds=PATIENCE + 10)
    wait_until(lambda: are_ready(name), f"new pods of {name} are ready", PATIENCE)


def are_ready(name: str) -> bool:
    found = pods(name)
    return len(found) > 0 and all(is_ready(pod) for pod in found)


def is_ready(pod: dict) -> bool:
    conditions = pod["status"].get("conditions", [])
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def use_another_image() -> None:
    kubectl("set", "image", "daemonset/weightfs-node", f"*={ANOTHER_IMAGE}", NAMESPACE)
    wait_for("weightfs-node")


def pods(name: str) -> list[dict]:
    return get("pods", NAMESPACE, f"--selector=app={name}")["items"]

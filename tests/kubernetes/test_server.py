"""The shared server, in a namespace whose pods may do nothing that Kubernetes can forbid."""

import urllib.request
from collections.abc import Iterator

import pytest

from cluster.kubectl import apply, get, kubectl, wait_for
from cluster.release import IMAGE, Release
from harness.hub import Hub
from harness.repositories import repository

TEAM = "team"
SECONDS = 10.0
# Not of any node, and with a cache that goes with its pod.
VALUES = "node.enabled=false,server.enabled=true,server.pvc.create=false,fullnameOverride=weightfs"


@pytest.fixture
def address(hub: Hub) -> Iterator[str]:
    release = Release(TEAM)
    release.install("restricted", "--set", f"hub.endpoint={hub.url},{VALUES}")
    [server] = release.pods("server")
    yield server["status"]["podIP"]
    release.uninstall()


def test_it_brings_a_model_and_counts_it(address: str) -> None:
    download = ["model", "download", "acme/minilm", "--strategy", "server-only"]
    apply(client(["--endpoint", f"http://{address}:8001", *download]))
    wait_for(lambda: phase() in ("Succeeded", "Failed"), "the client has ended")
    assert phase() == "Succeeded", kubectl("logs", "client", f"--namespace={TEAM}")
    size = sum(path.stat().st_size for path in repository("minilm").rglob("*") if path.is_file())
    assert figure(address, "weightfs_fetched_bytes_total") == size


def figure(address: str, name: str) -> float:
    with urllib.request.urlopen(f"http://{address}:9401/metrics", timeout=SECONDS) as answer:
        lines = answer.read().decode().splitlines()
    [value] = [line.split(" ")[1] for line in lines if line.startswith(f"{name} ")]
    return float(value)


def phase() -> str:
    return get("pod", "client", f"--namespace={TEAM}")["status"]["phase"]


def client(arguments: list[str]) -> dict:
    """The image's own program, as little as may be."""
    limits = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": "client", "image": IMAGE, "imagePullPolicy": "Never", "args": arguments, "securityContext": limits}
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"restartPolicy": "Never", "securityContext": security, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client", "namespace": TEAM}, "spec": spec}

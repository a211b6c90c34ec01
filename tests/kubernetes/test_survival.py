"""Whatever is replaced or killed, pods read on: not one error, not one wrong byte."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import node, weightfs
from cluster.pods import NewPod
from cluster.readers import Readers, sums
from harness.hub import Hub
from harness.repositories import repository

# What the node does not have comes for as long as a scenario lasts.
SLOW_LINK = 4 << 20
COLD_FILES, COLD_SIZE = 3, 32 << 20


@pytest.fixture
def cold(tmp_path: Path) -> Path:
    """A model that nobody has ever read."""
    for number in range(COLD_FILES):
        (tmp_path / f"model-{number}.safetensors").write_bytes(os.urandom(COLD_SIZE))
    return tmp_path


@pytest.fixture
def readers(pod: NewPod, hub: Hub, cold: Path) -> Iterator[Readers]:
    name = f"cold-{len(hub.admin('GET', 'repos'))}"
    hub.admin("POST", "commit", {"repo": f"acme/{name}", "from_dir": str(cold)})
    hub.admin("PUT", "options", {"link_bandwidth": SLOW_LINK})
    yield Readers(pod, {"minilm": sums(repository("minilm")), name: sums(cold)})
    hub.admin("PUT", "options", {"link_bandwidth": None})


def test_the_daemons_pod_is_deleted(readers) -> None:
    weightfs.delete_pods("node")
    readers.read_on()
    print(readers.end())


def test_the_node_set_is_rolled_to_another_image(readers) -> None:
    weightfs.use_another_image()
    readers.read_on()
    print(readers.end())


def test_the_daemon_is_killed(readers) -> None:
    for _ in range(3):
        [daemon] = node.processes("/usr/bin/weightfs serve")
        os.kill(daemon, signal.SIGKILL)
        readers.read_on()
    print(readers.end())


def test_the_holder_is_replaced_and_then_the_daemon(readers) -> None:
    weightfs.delete_pods("holder")
    readers.read_on()
    weightfs.delete_pods("node")
    readers.read_on()
    print(readers.end())


def test_the_driver_is_killed(readers) -> None:
    [driver] = node.processes("/usr/bin/weightfs-csi")
    os.kill(driver, signal.SIGKILL)
    readers.read_on()
    print(readers.end())


def test_the_kubelet_is_restarted_and_still_takes_volumes_away(cluster, readers) -> None:
    cluster.restart_kubelet()
    readers.read_on()
    readers.end()
    for reader in readers.pods:
        reader.delete()
    assert node.mounts_of_pods() == []

"""Whatever is replaced or killed, pods read on: not one error, not one wrong byte."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import node
from cluster.places import SIGNALS
from cluster.pods import VOLUME, Inline, NewPod
from cluster.readers import Model, Readers, no_signals, sums
from cluster.release import name_image
from harness.hub import Hub
from harness.repositories import repository, sha256_of_files

# What the node does not have comes for as long as a scenario lasts.
SLOW_LINK = 4 << 20
COLD_SIZES = [32 << 20] + 16 * [4 << 20]


@pytest.fixture
def cold(tmp_path: Path) -> Path:
    """A model that nobody has ever read."""
    for number, size in enumerate(COLD_SIZES):
        (tmp_path / f"model-{number}.safetensors").write_bytes(os.urandom(size))
    return tmp_path


@pytest.fixture
def readers(pod: NewPod, hub: Hub, cold: Path) -> Iterator[Readers]:
    """Of a model that the node has, each out of an HF_HOME of its own, and of one that comes slowly, all by one connection."""
    readers = Readers()
    readers.add(pod, Model("warm", Inline(), f"{VOLUME}/models/acme/minilm", sums(repository("minilm"))))
    name = f"acme/cold-{len(hub.admin('GET', 'repos'))}"
    hub.admin("POST", "commit", {"repo": name, "from_dir": str(cold)})
    hub.admin("PUT", "options", {"link_bandwidth": SLOW_LINK})
    readers.add(pod, Model("cold", Inline({"view": "model", "repo": name}), VOLUME, sums(cold)))
    yield readers
    hub.admin("PUT", "options", {"link_bandwidth": None})


def test_the_daemons_pod_is_deleted(installed, readers) -> None:
    installed.delete_pods("node")
    readers.read_on()
    print(readers.end())


def test_the_node_set_is_rolled_to_another_image(installed, readers) -> None:
    name_image("another")
    holders = installed.names("holder")
    installed.upgrade_to("another")
    readers.read_on()
    assert installed.names("holder") == holders, "it is not touched"
    print(readers.end())


def test_the_daemon_is_killed(readers) -> None:
    # From the second time on the kubelet lets it wait.
    for _ in range(2):
        node.kill("/usr/bin/weightfs serve")
        readers.read_on()
    print(readers.end())


def test_the_holder_is_replaced_and_then_the_daemon(installed, readers) -> None:
    installed.delete_pods("holder")
    readers.read_on()
    installed.delete_pods("node")
    readers.read_on()
    print(readers.end())


def test_the_driver_is_killed(readers) -> None:
    node.kill("/usr/bin/weightfs-csi")
    readers.read_on()
    print(readers.end())


def test_the_kubelet_is_restarted_and_still_takes_volumes_away(cluster, readers) -> None:
    cluster.restart_kubelet()
    readers.read_on()
    readers.end()
    for reader in readers.pods:
        reader.delete()
    assert node.mounts_of_pods() == []


def test_where_nobody_is_left_to_keep_a_volume_its_pod_has_an_event(pod) -> None:
    no_signals()
    lost = pod("lost", Inline(), "stay.py", str(SIGNALS))
    lost.wait_until_running()
    node.kill("/usr/bin/weightfs holder", "/usr/bin/weightfs serve")
    assert "Delete the pod" in lost.event("VolumeConditionAbnormal")
    assert pod("found", Inline(), "hash.py", "acme/minilm").answer() == sha256_of_files(repository("minilm"))

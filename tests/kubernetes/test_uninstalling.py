"""Last, by its name: what is left on the node when weightfs goes."""

from cluster import node
from cluster.places import SIGNALS
from cluster.pods import Inline, NewPod
from cluster.readers import no_signals
from cluster.release import Release


def test_when_its_pods_are_gone_and_it_is_uninstalled_no_mount_and_no_process_is_left(
    installed: Release, pod: NewPod
) -> None:
    no_signals()
    volumes = {"last-home": Inline(), "last-model": Inline({"view": "model", "repo": "acme/minilm"})}
    pods = [pod(name, volume, "stay.py", str(SIGNALS)) for name, volume in volumes.items()]
    for each in pods:
        each.wait_until_running()
    assert len(node.mounts_of_pods()) == len(pods)
    for each in pods:
        each.delete()
    assert node.mounts() == []
    installed.uninstall()
    assert node.processes("/usr/bin/weightfs") == []

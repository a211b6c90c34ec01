"""Last, by its name: what is left on the node when weightfs goes."""

from cluster import node, weightfs
from cluster.pods import VOLUME, Inline, NewPod


def test_when_its_pods_are_gone_and_it_is_uninstalled_no_mount_and_no_process_is_left(pod: NewPod) -> None:
    pods = [pod("last-home", Inline(), "hash.py", "acme/minilm")]
    pods.append(pod("last-model", Inline({"view": "model", "repo": "acme/minilm"}), "hash.py", VOLUME))
    for each in pods:
        each.answer()
    assert len(node.mounts_of_pods()) == len(pods)
    for each in pods:
        each.delete()
    assert node.mounts() == []
    weightfs.uninstall()
    assert node.processes("/usr/bin/weightfs") == []

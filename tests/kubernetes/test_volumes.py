"""A pod's volume is what the Hub has, by real clients, and nothing is left when the pod is gone."""

from cluster import node
from cluster.pods import VOLUME, Inline
from harness.repositories import repository, sha256_of_files


def test_a_pod_with_an_inline_volume_loads_a_model_by_its_plain_id(pod) -> None:
    loaded = pod("inline-load", Inline(), "load.py", "acme/minilm").answer()
    assert loaded["layers"] == 6
    assert pod("inline-hash", Inline(), "hash.py", "acme/minilm").answer() == sha256_of_files(repository("minilm"))


def test_a_pod_with_a_claim_loads_a_model_by_its_path(pod, claim) -> None:
    volume = claim("minilm", view="model", repo="acme/minilm")
    assert pod("claim-load", volume, "load.py", VOLUME).answer()["layers"] == 6
    assert pod("claim-hash", volume, "hash.py", VOLUME).answer() == sha256_of_files(repository("minilm"))


def test_a_wrong_name_is_an_event_that_says_so(pod) -> None:
    wrong = pod("wrong", Inline({"view": "model", "repo": "acme/nobody"}), "hash.py", VOLUME)
    event = wrong.failure_to_mount()
    assert "NotFound" in event and "acme/nobody" in event, event


def test_when_its_pods_are_gone_no_mount_is_left(pod) -> None:
    first = pod("leaving", Inline({"view": "model", "repo": "acme/minilm"}), "hash.py", VOLUME)
    first.answer()
    assert node.mounts_of_pods() != []
    first.delete()
    assert node.mounts_of_pods() == []

"""A pod's volume is what the Hub has, by real clients."""

from cluster.kubectl import kubectl, wait_for
from cluster.places import NODE
from cluster.pods import VOLUME, Inline
from cluster.readers import Model, Readers, sums
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


def test_a_claims_figures_are_among_the_kubelets_metrics(pod, claim) -> None:
    volume = claim("figures", view="model", repo="acme/minilm")
    Readers().add(pod, Model("figures", volume, VOLUME, sums(repository("minilm"))), ["sequential"])
    wait_for(lambda: figure("kubelet_volume_stats_used_bytes", "figures") > 0, "the kubelet has asked the driver")
    assert figure("kubelet_volume_stats_inodes", "figures") > 0


def figure(metric: str, claim: str) -> float:
    """0 if the kubelet has none yet."""
    metrics = kubectl("get", "--raw", f"/api/v1/nodes/{NODE}/proxy/metrics").splitlines()
    found = [line for line in metrics if line.startswith(f"{metric}{{") and f'persistentvolumeclaim="{claim}"' in line]
    return float(found[0].rpartition(" ")[2]) if found else 0

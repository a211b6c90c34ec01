"""The API takes whatever this repository says may be applied."""

from cluster.cluster import Cluster
from cluster.places import ENVIRONMENT, KUBECONFIG, KUBECTL
from harness.paths import ROOT, venv_bin
from harness.process import run


def test_the_api_takes_the_manifests_the_examples_and_every_combination_of_values(cluster: Cluster) -> None:
    asked = run([venv_bin("main"), ROOT / "tests" / "chart" / "dry_run.py", KUBECONFIG, KUBECTL], ENVIRONMENT, seconds=300)
    assert asked.code == 0, asked

"""weightfs in the cluster, as an administrator installs and upgrades it: by its chart."""

import yaml

from cluster import runtime
from cluster.kubectl import get, kubectl
from cluster.places import ENVIRONMENT, HELM
from cluster.pods import PATIENCE
from harness.paths import ROOT
from harness.process import run_well
from harness.waiting import wait_until

CHART = ROOT / "deploy" / "helm" / "weightfs"
IMAGE, ANOTHER_TAG = "docker.io/library/weightfs", "another"
RELEASE = NAMESPACE = "weightfs"
IN_NAMESPACE = f"--namespace={NAMESPACE}"


def install(hub: str) -> None:
    runtime.add_name(f"{IMAGE}:{version()}", f"{IMAGE}:{ANOTHER_TAG}")
    kubectl("create", "namespace", NAMESPACE)
    helm("install", "--set", f"hub.endpoint={hub}")
    wait_until_ready("holder")
    wait_until_ready("node")


def version() -> str:
    return yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]


def use_another_image() -> None:
    """Ends with its pods at work."""
    before = names("node")
    helm("upgrade", "--reuse-values", "--set", f"image.tag={ANOTHER_TAG}")
    wait_until(lambda: names("node").isdisjoint(before), "the node set is rolled", PATIENCE)
    wait_until_ready("node")


def uninstall() -> None:
    """Ends with its pods gone."""
    run_well([HELM, "uninstall", RELEASE, IN_NAMESPACE, "--wait", f"--timeout={PATIENCE:.0f}s"], ENVIRONMENT, seconds=PATIENCE + 10)
    wait_until(lambda: not pods("node") and not pods("holder"), "its pods are gone", PATIENCE)


def helm(verb: str, *options: str) -> str:
    return run_well([HELM, verb, RELEASE, CHART, IN_NAMESPACE, *options], ENVIRONMENT)


def delete_pods(part: str) -> None:
    """Ends with their successors at work."""
    limit = f"--timeout={PATIENCE:.0f}s"
    kubectl("delete", "pods", f"--selector={selector(part)}", limit, IN_NAMESPACE, seconds=PATIENCE + 10)
    wait_until_ready(part)


def wait_until_ready(part: str) -> None:
    wait_until(lambda: len(pods(part)) > 0 and all(map(is_ready, pods(part))), f"the pods of {part} are ready", PATIENCE)


def is_ready(pod: dict) -> bool:
    conditions = {condition["type"]: condition["status"] for condition in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def names(part: str) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods(part)}


def pods(part: str) -> list[dict]:
    return get("pods", IN_NAMESPACE, f"--selector={selector(part)}")["items"]


def selector(part: str) -> str:
    return f"app.kubernetes.io/component={part}"

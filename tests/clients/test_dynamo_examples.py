"""The examples of deploy/dynamo/ say what Dynamo's operator and our driver understand, and fit together."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from harness.paths import ROOT

EXAMPLES = ["volume", "service"]

# Of DynamoGraphDeployment v1alpha1, as far as an example of ours may use it: read in deploy/operator/api/v1alpha1 of
# ai-dynamo/dynamo, commit 0fddc01b and others of 2026. What is not here is a mistake, or is to be looked up there first.
SPEC = {"annotations", "labels", "pvcs", "services", "envs", "backendFramework"}
SERVICE = {
    "annotations", "labels", "componentType", "subComponentType", "resources", "envs", "envFromSecret", "volumeMounts",
    "sharedMemory", "extraPodMetadata", "extraPodSpec", "livenessProbe", "readinessProbe", "replicas", "multinode",
}
RESOURCES = {"requests", "limits", "claims"}
AMOUNTS = {"cpu", "memory", "gpu", "gpuType", "custom"}
FRAMEWORKS = {"sglang", "vllm", "trtllm"}

# What test_dynamo.py shows the runtime to obey.
PROVED = {"HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "MODEL_EXPRESS_URL", "MODEL_EXPRESS_NO_SHARED_STORAGE"}


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request.param)


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "deploy" / "dynamo" / f"{name}.yaml").read_text())


def services(example: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from example["spec"]["services"].values()


def variables(example: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in example["spec"]["envs"]}


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Name of a volume to its place in the container."""
    listed = service["extraPodSpec"]["mainContainer"].get("volumeMounts", [])
    return {mount["name"]: mount["mountPath"] for mount in listed}


def test_it_uses_fields_that_the_operator_knows(example) -> None:
    assert (example["apiVersion"], example["kind"]) == ("nvidia.com/v1alpha1", "DynamoGraphDeployment")
    spec = example["spec"]
    assert spec.keys() <= SPEC and spec["backendFramework"] in FRAMEWORKS
    for service in services(example):
        assert service.keys() <= SERVICE
        for kind, amounts in service.get("resources", {}).items():
            assert kind in RESOURCES and amounts.keys() <= AMOUNTS
            # The operator's own type: text, not a number.
            assert all(isinstance(amount, str) for amount in amounts.values())


def test_every_variable_is_one_that_the_runtime_is_shown_to_obey(example) -> None:
    assert variables(example).keys() <= PROVED
    assert all(isinstance(value, str) for value in variables(example).values())


def test_every_mount_has_its_volume_and_every_volume_its_mount(example) -> None:
    for service in services(example):
        volumes = service["extraPodSpec"].get("volumes", [])
        assert mounts(service).keys() == {volume["name"] for volume in volumes}


def test_the_backend_is_called_as_without_us(example) -> None:
    called = [service["extraPodSpec"]["mainContainer"] for service in services(example) if service["componentType"] == "worker"]
    assert [(worker["command"], worker["args"]) for worker in called] == [
        (["python3", "-m", "dynamo.vllm"], ["--model", "Qwen/Qwen3-0.6B"])
    ]


def test_the_volume_is_the_hf_home_of_every_component_and_has_their_model() -> None:
    example = read("volume")
    known = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "KUBERNETES.md").read_text(), re.MULTILINE))
    for service in services(example):
        [volume] = service["extraPodSpec"]["volumes"]
        assert mounts(service)[volume["name"]] == variables(example)["HF_HOME"]
        assert volume["csi"]["driver"] == "csi.weightfs.dev"
        assert volume["csi"]["volumeAttributes"].keys() <= known
        assert volume["csi"]["volumeAttributes"]["repo"] == "Qwen/Qwen3-0.6B"


def test_what_is_streamed_lands_on_the_workers_volume() -> None:
    example = read("service")
    [places] = [mounts(service) for service in services(example) if service["componentType"] == "worker"]
    assert list(places.values()) == [variables(example)["HF_HUB_CACHE"]]
    assert variables(example)["HF_HUB_CACHE"].endswith("/.model-express/cache")

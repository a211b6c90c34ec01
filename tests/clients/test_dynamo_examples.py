"""The examples of deploy/dynamo/ say what Dynamo's operator and our driver understand, and fit together."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from harness.paths import ROOT

EXAMPLES = ["volume", "service"]

# Of DynamoGraphDeployment v1beta1, as far as an example of ours may use it: read in deploy/operator/api/v1beta1 of
# ai-dynamo/dynamo, commit 006b6e10 of 2026. What is not here is a mistake, or is to be looked up there first.
SPEC = {"annotations", "labels", "components", "env", "backendFramework"}
COMPONENT = {"name", "type", "runtimeVersionOverride", "podTemplate", "replicas", "multinode", "sharedMemorySize"}
TYPES = {"frontend", "worker", "prefill", "decode", "planner", "epp"}
FRAMEWORKS = {"sglang", "vllm", "trtllm"}

# Of Kubernetes' own pods, likewise.
POD = {"containers", "volumes", "securityContext", "imagePullSecrets", "nodeSelector", "tolerations"}
CONTAINER = {"name", "image", "command", "args", "env", "envFrom", "resources", "volumeMounts"}

# The operator works out from the tag what its runtime can do.
VERSIONED = re.compile(r".+:\d+\.\d+\.\d+")

# What test_dynamo.py shows the runtime to obey.
PROVED = {"HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "MODEL_EXPRESS_URL", "MODEL_EXPRESS_NO_SHARED_STORAGE"}


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request.param)


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "deploy" / "dynamo" / f"{name}.yaml").read_text())


def components(example: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from example["spec"]["components"]


def pod(component: dict[str, Any]) -> dict[str, Any]:
    return component["podTemplate"]["spec"]


def main(component: dict[str, Any]) -> dict[str, Any]:
    """The container that the operator takes for its own; the examples have no other."""
    [container] = pod(component)["containers"]
    return container


def variables(example: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in example["spec"]["env"]}


def mounts(component: dict[str, Any]) -> dict[str, str]:
    """Name of a volume to its place in the container."""
    return {mount["name"]: mount["mountPath"] for mount in main(component).get("volumeMounts", [])}


def test_it_uses_fields_that_the_operator_knows(example) -> None:
    assert (example["apiVersion"], example["kind"]) == ("nvidia.com/v1beta1", "DynamoGraphDeployment")
    spec = example["spec"]
    assert spec.keys() <= SPEC and spec["backendFramework"] in FRAMEWORKS
    for component in components(example):
        assert component.keys() <= COMPONENT and component["type"] in TYPES
        assert component["podTemplate"].keys() == {"spec"} and pod(component).keys() <= POD
        assert main(component).keys() <= CONTAINER and main(component)["name"] == "main"
        assert VERSIONED.fullmatch(main(component)["image"])


def test_every_variable_is_one_that_the_runtime_is_shown_to_obey(example) -> None:
    assert variables(example).keys() <= PROVED
    assert all(isinstance(value, str) for value in variables(example).values())


def test_every_mount_has_its_volume_and_every_volume_its_mount(example) -> None:
    for component in components(example):
        assert mounts(component).keys() == {volume["name"] for volume in pod(component).get("volumes", [])}


def test_the_backend_is_called_as_without_us(example) -> None:
    called = [main(component) for component in components(example) if component["type"] == "worker"]
    assert [(worker["command"], worker["args"]) for worker in called] == [
        (["python3", "-m", "dynamo.vllm"], ["--model", "Qwen/Qwen3-0.6B"])
    ]


def test_the_volume_is_the_hf_home_of_every_component_and_has_their_model() -> None:
    example = read("volume")
    known = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "KUBERNETES.md").read_text(), re.MULTILINE))
    for component in components(example):
        [volume] = pod(component)["volumes"]
        assert mounts(component)[volume["name"]] == variables(example)["HF_HOME"]
        assert volume["csi"]["driver"] == "csi.weightfs.dev"
        assert volume["csi"]["volumeAttributes"].keys() <= known
        assert volume["csi"]["volumeAttributes"]["repo"] == "Qwen/Qwen3-0.6B"


def test_what_is_streamed_lands_on_the_workers_volume() -> None:
    example = read("service")
    [places] = [mounts(component) for component in components(example) if component["type"] == "worker"]
    [place] = places.values()
    assert variables(example)["HF_HUB_CACHE"] == f"{place}/cache" and place.endswith("/.model-express")

"""Pods as their authors write them: a client's program in an image with nothing of ours, and volumes of the driver."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.images import CLIENT
from cluster.kubectl import apply, asked, get, kubectl
from cluster.places import SIGNALS
from harness.paths import ROOT, TARGET, venv_bin
from harness.waiting import wait_until

DRIVER = "csi.weightfs.dev"
PATIENCE = 120.0
# Where pods find their HF_HOME, or their model.
VOLUME = "/models"


@dataclass(frozen=True)
class Inline:
    """A volume of this pod alone."""

    attributes: dict[str, str] = field(default_factory=dict)
    secret: str | None = None

    def source(self) -> dict:
        source: dict[str, Any] = {"driver": DRIVER, "volumeAttributes": self.attributes}
        if self.secret:
            source["nodePublishSecretRef"] = {"name": self.secret}
        return {"csi": source}


@dataclass(frozen=True)
class Claim:
    """A volume of the cluster, made by an administrator, and a claim to it."""

    name: str
    attributes: dict[str, str]

    def create(self) -> None:
        size, modes = "1Gi", ["ReadOnlyMany"]
        source = {"driver": DRIVER, "volumeHandle": self.name, "volumeAttributes": self.attributes}
        spec = {"capacity": {"storage": size}, "accessModes": modes, "storageClassName": "", "csi": source}
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": self.name}, "spec": spec}
        spec = {"resources": {"requests": {"storage": size}}, "accessModes": modes, "storageClassName": "", "volumeName": self.name}
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": self.name}, "spec": spec}
        apply(volume, claim)

    def source(self) -> dict:
        return {"persistentVolumeClaim": {"claimName": self.name}}

    def delete(self) -> None:
        kubectl("delete", "persistentvolumeclaim", self.name)
        kubectl("delete", "persistentvolume", self.name)


@dataclass(frozen=True)
class Pod:
    """Runs one of in_pods/ with words for it; what it prints last is its answer, as JSON."""

    name: str
    volume: Inline | Claim
    program: str
    words: Sequence[str] = ()
    hub: str = ""

    def create(self) -> "Pod":
        apply(self.manifest())
        return self

    def manifest(self) -> dict:
        python, program = str(venv_bin("main")), str(ROOT / "tests" / "kubernetes" / "in_pods" / self.program)
        shared = {"usr": "/usr", "environment": str(TARGET / "venv" / "main"), "programs": str(ROOT / "tests" / "kubernetes" / "in_pods")}
        hosts = [{"name": name, "hostPath": {"path": path}} for name, path in (shared | {"signals": str(SIGNALS)}).items()]
        seen = [{"name": name, "mountPath": path, "readOnly": True} for name, path in shared.items()]
        seen.append({"name": "signals", "mountPath": str(SIGNALS)})
        environment = {"HF_HOME": VOLUME, "HF_ENDPOINT": self.hub, "HF_HUB_DISABLE_TELEMETRY": "1", "HOME": "/tmp", "POD": self.name}
        container = {
            "name": "client",
            "image": CLIENT,
            "imagePullPolicy": "Never",
            "command": [python, "-u", program, *self.words],
            "env": [{"name": name, "value": value} for name, value in environment.items()],
            "volumeMounts": [*seen, {"name": "models", "mountPath": VOLUME}],
        }
        spec = {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            "volumes": [*hosts, {"name": "models", **self.volume.source()}],
        }
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": self.name}, "spec": spec}

    def answer(self, seconds: float = PATIENCE) -> Any:
        """Waits for its end; fails if the program does."""
        self.wait_until(self.has_ended, "is at its end", seconds)
        said = self.said()
        assert self.phase() == "Succeeded", f"{self.name} failed:\n{said}"
        return json.loads(said.splitlines()[-1])

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """As `waiting` does; where it is in vain, says what is known of the pod."""
        try:
            wait_until(condition, f"the pod {self.name} {what}", seconds)
        except TimeoutError as late:
            raise TimeoutError(f"{late}\n{asked('describe', 'pod', self.name).out}\n{self.said()}") from None

    def wait_until_running(self) -> None:
        self.wait_until(lambda: self.phase() == "Running", "runs")

    def has_ended(self) -> bool:
        return self.phase() in ("Succeeded", "Failed")

    def phase(self) -> str:
        return get("pod", self.name)["status"]["phase"]

    def said(self) -> str:
        return asked("logs", self.name).out

    def uid(self) -> str:
        return get("pod", self.name)["metadata"]["uid"]

    def event(self, reason: str, words: str = "") -> str:
        """What the last event for that reason says that has these words; waits for one."""
        found: list[str] = []

        def look() -> bool:
            events = get("events", f"--field-selector=involvedObject.name={self.name},reason={reason}")["items"]
            found.extend(event["message"] for event in events if words in event["message"])
            return bool(found)

        self.wait_until(look, f"has an event {reason}")
        return found[-1]

    def failure_to_mount(self) -> str:
        """The driver's own words."""
        return self.event("FailedMount", "rpc error")

    def delete(self) -> None:
        kubectl("delete", "pod", self.name, "--ignore-not-found", "--wait=true", f"--timeout={PATIENCE:.0f}s", seconds=PATIENCE + 10)


def is_ready(pod: dict) -> bool:
    conditions = {condition["type"]: condition["status"] for condition in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


NewPod = Callable[..., Pod]

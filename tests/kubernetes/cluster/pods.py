"""Pods as their authors write them: a client's program in an image with nothing of ours, and volumes of the driver."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.images import CLIENT
from cluster.kubectl import PATIENCE, apply, asked, get, kubectl, wait_for
from cluster.places import SIGNALS
from harness.paths import ROOT, TARGET, venv_bin

DRIVER = "csi.weightfs.dev"
# Where pods find their HF_HOME, or their model.
VOLUME = "/models"
PROGRAMS = ROOT / "tests" / "kubernetes" / "in_pods"


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
        shared = {"accessModes": modes, "storageClassName": ""}
        volume = {"capacity": {"storage": size}, "csi": source, **shared}
        claim = {"resources": {"requests": {"storage": size}}, "volumeName": self.name, **shared}
        for kind, spec in {"PersistentVolume": volume, "PersistentVolumeClaim": claim}.items():
            apply({"apiVersion": "v1", "kind": kind, "metadata": {"name": self.name}, "spec": spec})

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
        # Of the machine, by the same paths.
        shared = {"usr": Path("/usr"), "environment": TARGET / "venv" / "main", "programs": PROGRAMS, "signals": SIGNALS}
        hosts = [{"name": name, "hostPath": {"path": str(path)}} for name, path in shared.items()]
        seen = [{"name": name, "mountPath": str(path), "readOnly": path != SIGNALS} for name, path in shared.items()]
        environment = {"HF_HOME": VOLUME, "HF_ENDPOINT": self.hub, "HF_HUB_DISABLE_TELEMETRY": "1"}
        environment |= {"HOME": "/tmp", "POD": self.name}
        container = {
            "name": "client",
            "image": CLIENT,
            "imagePullPolicy": "Never",
            "command": [str(venv_bin("main")), "-u", str(PROGRAMS / self.program), *self.words],
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

    def answer(self) -> Any:
        """Waits for its end; fails if the program does."""
        self.wait_until(self.has_ended, "is at its end")
        said = self.said()
        assert self.phase() == "Succeeded", f"{self.name} failed:\n{said}"
        return json.loads(said.splitlines()[-1])

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Where it is in vain, says what is known of the pod."""
        try:
            wait_for(condition, f"the pod {self.name} {what}")
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
        kubectl("delete", "pod", self.name, "--ignore-not-found", seconds=PATIENCE)


def is_ready(pod: dict) -> bool:
    conditions = {condition["type"]: condition["status"] for condition in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


NewPod = Callable[..., Pod]

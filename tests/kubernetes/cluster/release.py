"""weightfs in the cluster, as an administrator installs, upgrades and removes it: by its chart."""

from dataclasses import dataclass

import yaml

from cluster import runtime
from cluster.kubectl import PATIENCE, get, kubectl, wait_for
from cluster.places import ENVIRONMENT, HELM
from cluster.pods import is_ready
from harness.paths import ROOT
from harness.process import run_well

CHART = ROOT / "deploy" / "helm" / "weightfs"
REPOSITORY = "docker.io/library/weightfs"
IMAGE = f"{REPOSITORY}:{yaml.safe_load((CHART / 'Chart.yaml').read_text())['appVersion']}"


@dataclass(frozen=True)
class Release:
    """One of the namespace `name`. Its parts are node, holder and server."""

    name: str

    def install(self, security: str, *options: str) -> None:
        """Ends with its pods at work. `security`: what the namespace's pods may do at most."""
        kubectl("create", "namespace", self.name)
        kubectl("label", "namespace", self.name, f"pod-security.kubernetes.io/enforce={security}")
        self.helm("install", str(CHART), "--wait", *options)

    def upgrade_to(self, tag: str) -> None:
        """To the image of that tag; ends with its node set at work."""
        before = self.names("node")
        self.helm("upgrade", str(CHART), "--reuse-values", "--set", f"image.tag={tag}")
        wait_for(lambda: self.names("node").isdisjoint(before), "the node set is rolled")
        self.wait_until_ready("node")

    def uninstall(self) -> None:
        """Ends with its pods gone."""
        self.helm("uninstall", "--wait")
        kubectl("delete", "namespace", self.name, seconds=PATIENCE)

    def helm(self, verb: str, *words: str) -> str:
        options = [f"--namespace={self.name}", f"--timeout={PATIENCE:.0f}s"]
        return run_well([HELM, verb, self.name, *words, *options], ENVIRONMENT, seconds=PATIENCE + 10)

    def delete_pods(self, part: str) -> None:
        """Ends with their successors at work."""
        kubectl("delete", "pods", *self.selected(part), seconds=PATIENCE)
        self.wait_until_ready(part)

    def wait_until_ready(self, part: str) -> None:
        wait_for(lambda: self.is_ready(part), f"{part} is ready")

    def is_ready(self, part: str) -> bool:
        pods = self.pods(part)
        return len(pods) > 0 and all(map(is_ready, pods))

    def names(self, part: str) -> set[str]:
        return {pod["metadata"]["name"] for pod in self.pods(part)}

    def pods(self, part: str) -> list[dict]:
        return get("pods", *self.selected(part))["items"]

    def selected(self, part: str) -> list[str]:
        return [f"--namespace={self.name}", f"--selector=app.kubernetes.io/component={part}"]


def name_image(tag: str) -> None:
    """The image of this tree also has that tag then."""
    runtime.add_name(IMAGE, f"{REPOSITORY}:{tag}")

"""The chart, rendered by helm, as objects."""

import functools
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/weightfs"
HELM = ROOT / "target/tools/helm"
# Each documented combination of values, the default one included.
COMBINATIONS = [None, *sorted((CHART / "ci").glob("*-values.yaml"))]
OLDEST = "1.26"


# Many tests look at the same combination.
@functools.cache
def helm(*arguments):
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, timeout=60)


def values(file=None, **sets):
    """Arguments of helm: a file of values, and single ones, `node__enabled=False` for node.enabled."""
    words = ["--values", str(file)] if file else []
    for key, value in sets.items():
        text = str(value).lower() if isinstance(value, bool) else value
        words += ["--set", f"{key.replace('__', '.')}={text}"]
    return words


def render(file=None, chart=CHART, **sets):
    """Every object of a release `weightfs` in the namespace `models`."""
    run = helm("template", "weightfs", chart, "--namespace", "models", "--kube-version", OLDEST, *values(file, **sets))
    assert run.returncode == 0, run.stderr
    return [found for found in yaml.load_all(run.stdout, yaml.CSafeLoader) if found]


def find(objects, kind, name=None):
    found = [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} objects of kind {kind}, name {name}"
    return found[0]


def workload(objects, part):
    """What makes the pods of one part: holder, node, server."""
    return next(o for o in objects if "template" in o.get("spec", {}) and o["metadata"]["name"].endswith(f"-{part}"))


def pods(objects):
    """The specification of each pod that the objects make, by the name of its object."""
    for found in objects:
        if found["kind"] == "Pod":
            yield found["metadata"]["name"], found["spec"]
        elif "template" in found.get("spec", {}):
            yield found["metadata"]["name"], found["spec"]["template"]["spec"]


def container(objects, name):
    return next(c for _, pod in pods(objects) for c in pod["containers"] if c["name"] == name)


def environment(container):
    """What the container's variables are set to; None for what comes from elsewhere."""
    return {variable["name"]: variable.get("value") for variable in container.get("env", [])}

#!/usr/bin/env python3
"""What a real apiserver says to the manifests, the examples and every combination of the chart's values.

    target/venv/chart/bin/python tests/chart/dry_run.py KUBECONFIG [KUBECTL]

Nothing stays in the cluster: each object goes through defaults, validation and admission, and is not kept. Only the namespaces, which
objects need to be taken, are made for that time.
"""

import subprocess
import sys

import yaml
from rendering import COMBINATIONS, ROOT, render

MANIFESTS = ROOT / "deploy/kubernetes"
# `models` is where the combinations go.
NAMESPACES = ["weightfs", "models"]
# Whose definitions a bare cluster has not.
FOREIGN = {"ServiceMonitor"}


def server_dry_run(kubeconfig, kubectl="kubectl"):
    """What the apiserver refused, a line each; nothing if it takes everything."""
    made = [name for name in NAMESPACES if make(kubeconfig, kubectl, name)]
    try:
        return [line for name, objects in everything() for line in ask(kubeconfig, kubectl, name, objects)]
    finally:
        for name in made:
            call(kubeconfig, kubectl, ["delete", "namespace", name, "--wait=false"])


def everything():
    for file in sorted(MANIFESTS.rglob("*.yaml")):
        yield file.name, list(yaml.safe_load_all(file.read_text()))
    for file in COMBINATIONS:
        yield file.name if file else "the chart's defaults", render(file)


def ask(kubeconfig, kubectl, name, objects):
    known = [found for found in objects if found["kind"] not in FOREIGN]
    run = call(kubeconfig, kubectl, ["apply", "--dry-run=server", "--filename", "-"], yaml.safe_dump_all(known))
    if run.returncode != 0:
        yield from (f"{name}: {line}" for line in run.stderr.splitlines() or ["kubectl said nothing"])


def make(kubeconfig, kubectl, name):
    """Whether it was not there before."""
    run = call(kubeconfig, kubectl, ["create", "namespace", name])
    if run.returncode != 0 and "AlreadyExists" not in run.stderr:
        raise RuntimeError(f"the namespace {name} could not be made: {run.stderr}")
    return run.returncode == 0


def call(kubeconfig, kubectl, arguments, given=None):
    command = [kubectl, "--kubeconfig", kubeconfig, "--request-timeout=20s", *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=120)


if __name__ == "__main__":
    refused = server_dry_run(*sys.argv[1:])
    print("\n".join(refused) or f"the apiserver takes all {sum(1 for _ in everything())}")
    sys.exit(bool(refused))

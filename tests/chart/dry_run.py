"""What a real apiserver says to the manifests, the examples and every combination of the chart's values.

    target/venv/chart/bin/python tests/chart/dry_run.py KUBECONFIG [KUBECTL]

Nothing stays in the cluster: each object goes through defaults, validation and admission, and is not kept. Pods of DaemonSets and the
like are asked about as well, since admission looks at pods. Only the namespaces that this needs are made for that time.
"""

import subprocess
import sys

import yaml
from rendering import COMBINATIONS, ROOT, pods, render

MANIFESTS = ROOT / "deploy/kubernetes"
# By what pods may do there: those of nodes anything, all others as little as Kubernetes can ask for.
NAMESPACES = {"weightfs": "privileged", "models": "restricted"}
# Whose definitions a bare cluster has not.
FOREIGN = {"ServiceMonitor"}


def server_dry_run(kubeconfig, kubectl="kubectl"):
    """What the apiserver refused, a line each; nothing if it takes everything."""

    def call(*arguments, given=None):
        command = [kubectl, "--kubeconfig", kubeconfig, "--request-timeout=20s", *arguments]
        return subprocess.run(command, input=given, capture_output=True, text=True, timeout=120)

    def refused(name, objects):
        given = yaml.safe_dump_all([found for found in objects if found["kind"] not in FOREIGN])
        run = call("apply", "--dry-run=server", "--filename", "-", given=given)
        return [] if run.returncode == 0 else [f"{name}: {line}" for line in run.stderr.splitlines() or ["kubectl failed"]]

    made = [name for name, level in NAMESPACES.items() if make_namespace(call, name, level)]
    try:
        return [line for name, objects in everything() for line in refused(name, objects)]
    finally:
        for name in made:
            call("delete", "namespace", name, "--wait=false")


def make_namespace(call, name, level):
    """Whether it was not there before."""
    run = call("create", "namespace", name)
    if run.returncode != 0 and "AlreadyExists" not in run.stderr:
        raise RuntimeError(f"the namespace {name} could not be made: {run.stderr}")
    if run.returncode == 0:
        call("label", "namespace", name, f"pod-security.kubernetes.io/enforce={level}")
        # A pod is refused without it, and a controller makes it only in a moment.
        call("create", "serviceaccount", "default", "--namespace", name)
    return run.returncode == 0


def everything():
    for file in sorted(MANIFESTS.rglob("*.yaml")):
        yield file.name, list(yaml.safe_load_all(file.read_text()))
    for file in COMBINATIONS:
        objects = render(file)
        name = file.name if file else "the chart's defaults"
        yield name, [found for found in objects if found["kind"] != "Pod"]
        yield f"the pods of {name}", [bare(*pod) for pod in pods(objects)]


def bare(name, pod):
    """One pod, without what it needs to be there and is not: its account and its class."""
    of_a_node = any("hostPath" in volume for volume in pod.get("volumes", []))
    spec = {key: value for key, value in pod.items() if key not in ("serviceAccountName", "priorityClassName")}
    metadata = {"name": name, "namespace": "weightfs" if of_a_node else "models"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


if __name__ == "__main__":
    lines = server_dry_run(*sys.argv[1:])
    print("\n".join(lines) or "the apiserver takes everything")
    sys.exit(bool(lines))

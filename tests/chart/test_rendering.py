"""What helm makes of the chart is something that Kubernetes takes, and what helm refuses it refuses in plain words."""

import filecmp
import subprocess

import kubernetes_validate
import pytest
import yaml
from rendering import CHART, COMBINATIONS, OLDEST, ROOT, helm, render, values

MANIFESTS = ROOT / "deploy/kubernetes"
NEWEST = kubernetes_validate.latest_version()
# Other people's resources, which Kubernetes itself has no schema of.
FOREIGN = {"ServiceMonitor"}


def named(file):
    return file.stem if file else "default"


def refused(objects, version):
    for found in objects:
        if found["kind"] in FOREIGN:
            continue
        try:
            kubernetes_validate.validate(found, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{found['kind']} {found['metadata']['name']}: {'.'.join(map(str, error.path))}: {error.message}"


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("file", COMBINATIONS, ids=named)
def test_each_combination_is_valid_in_the_oldest_and_the_newest_kubernetes(file, version):
    objects = render(file)
    assert len(objects) > 5
    assert list(refused(objects, version)) == []


@pytest.mark.parametrize("file", COMBINATIONS, ids=named)
def test_helm_finds_nothing_to_complain_of(file):
    run = helm("lint", "--strict", CHART, *values(file))
    assert run.returncode == 0, run.stdout + run.stderr
    # A value that was forgotten in a template is rendered as this.
    assert "<no value>" not in str(render(file))


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("file", sorted(MANIFESTS.rglob("*.yaml")), ids=lambda file: file.name)
def test_each_manifest_is_valid_in_the_oldest_and_the_newest_kubernetes(file, version):
    assert list(refused(yaml.safe_load_all(file.read_text()), version)) == []


def test_the_validation_refuses_what_kubernetes_would():
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"internalTrafficPolice": "Local"}}
    assert "internalTrafficPolice" in next(refused([service], OLDEST))


def test_the_plain_manifests_are_what_the_chart_renders(tmp_path):
    subprocess.run([MANIFESTS / "render.sh", tmp_path], check=True, timeout=60)
    for name in ["weightfs.yaml", "server.yaml"]:
        assert filecmp.cmp(tmp_path / name, MANIFESTS / name, shallow=False), f"{name} is out of date: run `make chart`"


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ({"node__kubletPath": "/var/lib/kubelet"}, ["/node", "'kubletPath' not allowed"]),
        ({"nodes__enabled": True}, ["'nodes' not allowed"]),
        ({"server__scope": "cluster"}, ["/server/scope", "'namespace', 'global'"]),
        ({"server__pvc__class": "fast"}, ["/server/pvc", "'class' not allowed"]),
        ({"server__pvc__size": "10 GB"}, ["/server/pvc/size"]),
        ({"node__cache__hostPath": "cache"}, ["/node/cache/hostPath"]),
        ({"node__maxUnavailable": 0}, ["/node/maxUnavailable"]),
        ({"hub__endpoint": "huggingface.co"}, ["/hub/endpoint"]),
        ({"hub__endpoint": "https://user:pass@hub"}, ["/hub/endpoint"]),
        ({"metrics__port": 8001}, ["/metrics/port"]),
        ({"holder__image__tag": ""}, ["/holder/image/tag"]),
        ({"config__cache__directory": "/data"}, ["leave cache.directory out", "node.cache.hostPath"]),
        ({"node__config__daemon__holder": "/run/x"}, ["leave daemon.holder out"]),
        ({"server__enabled": True, "server__config__server__port": 80}, ["leave server.port out"]),
        ({"config__runtime_directory": "/run/x"}, ["leave runtime_directory out"]),
    ],
    ids=lambda case: ",".join(case) if isinstance(case, dict) else "",
)
def test_a_wrong_value_is_refused_by_its_name(sets, words):
    run = helm("template", "weightfs", CHART, *values(**sets))
    assert run.returncode != 0
    for word in words:
        assert word in run.stderr, run.stderr


def test_a_kubernetes_that_is_too_old_is_refused():
    run = helm("template", "weightfs", CHART, "--kube-version", "1.25.0")
    assert run.returncode != 0 and "1.26" in run.stderr

"""What must hold whatever the values are: rights, the holder's peace, who may ask."""

import re
import shutil

import pytest
import yaml
from rendering import CHART, COMBINATIONS, ROOT, container, environment, find, helm, pods, render, values, workload

EVERYTHING = CHART / "ci/everything-values.yaml"


@pytest.fixture(params=COMBINATIONS, ids=lambda file: file.stem if file else "default")
def objects(request):
    return render(request.param)


def privileged(pod):
    return [c["name"] for c in pod["containers"] if c.get("securityContext", {}).get("privileged")]


def test_only_who_mounts_is_privileged(objects):
    for name, pod in pods(objects):
        assert privileged(pod) == (["daemon", "driver"] if name.endswith("-node") else []), name


def test_who_is_not_privileged_has_no_right_of_roots(objects):
    for name, pod in pods(objects):
        for part in pod["containers"]:
            context = part["securityContext"]
            assert context["readOnlyRootFilesystem"], name
            if not context.get("privileged"):
                assert context["capabilities"] == {"drop": ["ALL"]}, name
                assert context["allowPrivilegeEscalation"] is False, name


def test_a_server_meets_the_restricted_pod_standard(objects):
    for name, pod in pods(objects):
        if not name.endswith(("-server", "-answers")):
            continue
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        kinds = {kind for volume in pod.get("volumes", []) for kind in volume if kind != "name"}
        assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}, name


def test_no_pod_is_in_a_namespace_of_its_node(objects):
    for name, pod in pods(objects):
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), name


def test_only_the_driver_has_an_account_and_it_may_only_tell_events(objects):
    for name, pod in pods(objects):
        assert pod["automountServiceAccountToken"] is False, name
        holds = [
            part["name"]
            for part in pod["containers"]
            for mount in part.get("volumeMounts", [])
            for volume in pod.get("volumes", [])
            if volume["name"] == mount["name"] and "serviceAccountToken" in str(volume.get("projected"))
        ]
        assert holds == (["driver"] if name.endswith("-node") else []), name
    rules = [rule for found in objects if found["kind"] in ("ClusterRole", "Role") for rule in found["rules"]]
    events = [{"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}]
    assert rules == (events if any(found["kind"] == "CSIDriver" for found in objects) else [])


def test_no_service_of_the_namespace_becomes_a_variable(objects):
    for name, pod in pods(objects):
        assert pod["enableServiceLinks"] is False, name


def newer(tmp_path):
    """The next version of the chart."""
    chart = shutil.copytree(CHART, tmp_path / "weightfs")
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump(about | {"version": "9.8.7", "appVersion": "9.8.7"}))
    return chart


@pytest.mark.parametrize("file", [None, EVERYTHING], ids=["default", "everything"])
def test_an_upgrade_leaves_the_holders_pods_as_they_are(tmp_path, file):
    before = render(file)
    after = render(file, chart=newer(tmp_path), image__tag="9.8.7", config__logging__level="debug", metrics__enabled=False)
    assert workload(before, "holder")["spec"] == workload(after, "holder")["spec"]
    assert workload(before, "holder")["spec"]["updateStrategy"] == {"type": "OnDelete"}
    assert workload(before, "node")["spec"] != workload(after, "node")["spec"]


def test_an_upgrade_of_the_chart_alone_brings_its_programs(tmp_path):
    after = render(chart=newer(tmp_path))
    assert container(after, "daemon")["image"] == container(after, "driver")["image"] == "weightfs:9.8.7"
    assert container(after, "holder")["image"] == "weightfs:0.1.0"


def test_only_whose_settings_changed_is_restarted():
    before = render(server__enabled=True)
    after = render(server__enabled=True, server__config__logging__level="debug")
    assert workload(before, "server")["spec"] != workload(after, "server")["spec"]
    assert workload(before, "node")["spec"] == workload(after, "node")["spec"]


def test_never_two_daemons_have_one_nodes_cache():
    update = workload(render(), "node")["spec"]["updateStrategy"]
    assert update == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "10%"}}


def test_kubelet_daemon_and_driver_name_volumes_by_the_same_path():
    pod = workload(render(node__kubeletPath="/var/lib/k0s/kubelet"), "node")["spec"]["template"]["spec"]
    volume = next(v for v in pod["volumes"] if v["name"] == "kubelet")
    assert volume["hostPath"] == {"path": "/var/lib/k0s/kubelet", "type": "Directory"}
    for part in pod["containers"]:
        mount = next(m for m in part["volumeMounts"] if m["name"] == "kubelet")
        assert (mount["mountPath"], mount["mountPropagation"]) == ("/var/lib/k0s/kubelet", "Bidirectional")
    assert environment(pod["containers"][1])["KUBELET_DIRECTORY"] == "/var/lib/k0s/kubelet"


def test_a_server_alone_needs_no_right_in_the_cluster():
    kinds = {found["kind"] for found in render(node__enabled=False, server__enabled=True)}
    namespaced = {"StatefulSet", "Service", "ServiceAccount", "ConfigMap", "PersistentVolumeClaim", "NetworkPolicy", "Pod"}
    assert kinds <= namespaced


def peers(objects, port="grpc"):
    rules = find(objects, "NetworkPolicy", "weightfs-server")["spec"]["ingress"]
    return next(rule["from"] for rule in rules if rule["ports"][0]["port"] == port)


def test_a_servers_scope_is_who_may_connect():
    assert peers(render(server__enabled=True)) == [{"podSelector": {}}]
    assert peers(render(server__enabled=True, server__scope="global")) == [{"podSelector": {}, "namespaceSelector": {}}]
    mine = {"nvidia.com/dynamo-namespace": "mine"}
    assert peers(render(CHART / "ci/dynamo-values.yaml")) == [{"podSelector": {"matchLabels": mine}}]


def test_a_pod_asks_the_daemon_of_its_own_node():
    assert find(render(), "Service", "weightfs-node")["spec"]["internalTrafficPolicy"] == "Local"


@pytest.mark.parametrize(
    ("file", "claim", "made"),
    [
        ("server-of-a-namespace", "weightfs-server", True),
        ("dynamo", "model-express-pvc", True),
        ("claim-of-others", "models", False),
        ("without-a-volume", None, False),
    ],
)
def test_the_claim_is_the_one_that_was_asked_for(file, claim, made):
    objects = render(CHART / f"ci/{file}-values.yaml")
    pod = workload(objects, "server")["spec"]["template"]["spec"]
    cache = next(v for v in pod["volumes"] if v["name"] == "cache")
    assert cache == {"name": "cache", **({"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}})}
    claims = [found["metadata"]["name"] for found in objects if found["kind"] == "PersistentVolumeClaim"]
    assert claims == ([claim] if made else [])


def test_a_token_is_in_a_file_and_in_no_variable(objects):
    for _, pod in pods(objects):
        for part in pod["containers"]:
            assert "HF_TOKEN" not in environment(part)


def notes(file):
    run = helm("install", "weightfs", CHART, "--namespace", "models", "--dry-run=client", *values(file))
    assert run.returncode == 0, run.stderr
    return run.stdout[run.stdout.index("NOTES:") :]


@pytest.mark.parametrize("file", [None, EVERYTHING, CHART / "ci/dynamo-values.yaml"], ids=["default", "everything", "dynamo"])
def test_the_notes_say_what_is_next_and_no_secret(file):
    text = notes(file)
    assert "MODEL_EXPRESS_URL=http://" in text and "kubectl --namespace models rollout status" in text
    assert "clients-token" not in text and ".Values" not in text and "%!" not in text


def test_the_chart_is_of_the_programs_version():
    version = next(line for line in (ROOT / "Cargo.toml").read_text().splitlines() if line.startswith("version = "))
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == version.split('"')[1]


def test_the_pages_values_are_the_charts():
    text = (ROOT / "docs/KUBERNETES.md").read_text()
    table = text[text.index("| value | default |") : text.index("## The service")]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`([A-Za-z.]+)`", row[0])]
    assert len(named) > 15
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for name in named:
        found = values
        for key in name.split("."):
            assert key in found, name
            found = found[key]

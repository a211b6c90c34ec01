"""The programs know what the chart tells them: settings, variables, arguments."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from rendering import CHART, COMBINATIONS, container, environment, find, pods, render

PROGRAMS = Path(os.environ["PROGRAMS"])


def run(program, *arguments, **variables):
    return subprocess.run([PROGRAMS / program, *arguments], env=variables, capture_output=True, text=True, timeout=30)


def servers(objects):
    """Each container that runs `weightfs serve`, and its file of settings."""
    for name, pod in pods(objects):
        for part in pod["containers"]:
            if part.get("args") == ["serve"]:
                yield part, find(objects, "ConfigMap", name)["data"]["config.yaml"]


@pytest.mark.parametrize("file", COMBINATIONS, ids=lambda file: file.stem if file else "default")
def test_the_program_takes_the_settings_and_knows_each_variable(tmp_path, file):
    found = list(servers(render(file)))
    assert found
    for part, settings in found:
        path = tmp_path / "config.yaml"
        path.write_text(settings)
        variables = {name: value or "from-elsewhere" for name, value in environment(part).items()}
        checked = run("weightfs", "serve", "--config", path, "--validate-config", **variables)
        assert checked.returncode == 0, checked.stderr


def test_a_variable_that_no_setting_has_would_be_found(tmp_path):
    (tmp_path / "config.yaml").write_text("{}")
    checked = run("weightfs", "serve", "--config", tmp_path / "config.yaml", "--validate-config", WEIGHTFS_CACHE_DIRECTROY="/x")
    assert checked.returncode != 0 and "WEIGHTFS_CACHE_DIRECTROY" in checked.stderr


def test_large_numbers_stay_whole_numbers(tmp_path):
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"config": {"cache": {"max_size_bytes": 4_000_000_000_000}}}))
    ((_, settings),) = servers(render(values))
    (tmp_path / "config.yaml").write_text(settings)
    checked = run("weightfs", "config", "validate", tmp_path / "config.yaml")
    assert checked.returncode == 0, settings + checked.stderr


def test_the_holder_knows_its_arguments():
    arguments = container(render(), "holder")["args"]
    checked = run("weightfs", *arguments, "--help")
    assert checked.returncode == 0, checked.stderr
    assert "--socket" in checked.stdout and "--give-up" in checked.stdout


def test_the_driver_knows_its_variables_and_its_probe():
    driver = container(render(CHART / "ci/everything-values.yaml"), "driver")
    known = set(re.findall(r"\[env: ([A-Z_]+)=", run("weightfs-csi", "--help").stdout))
    # For who looks for a fault, and not in its help.
    known |= {"WEIGHTFS_LOG", "RUST_BACKTRACE"}
    assert set(environment(driver)) <= known
    probe = driver["livenessProbe"]["exec"]["command"]
    assert probe[0] == "/usr/bin/weightfs-csi" and driver["startupProbe"]["exec"]["command"] == probe
    checked = run("weightfs-csi", *probe[1:], "--help")
    assert checked.returncode == 0 and "probe" in checked.stdout, checked.stderr


def test_every_part_meets_the_others_at_the_same_place():
    objects = render()
    holder, daemon, driver = (container(objects, name) for name in ("holder", "daemon", "driver"))
    assert environment(daemon)["WEIGHTFS_DAEMON_HOLDER"] in holder["args"]
    assert environment(driver)["WEIGHTFS_SOCKET"].startswith(environment(daemon)["WEIGHTFS_RUNTIME_DIRECTORY"] + "/")
    assert environment(driver)["HF_ENDPOINT"] == environment(daemon)["WEIGHTFS_HUB_ENDPOINT"]
    for part in (holder, daemon, driver):
        assert {"name": "run", "mountPath": "/run/weightfs"} in part["volumeMounts"]


def test_no_probe_depends_on_the_hub():
    for _, pod in pods(render(server__enabled=True)):
        for part in pod["containers"]:
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                # The health service says whether the process answers, and the driver's probe asks the driver.
                assert part.get(kind, {}).keys() <= {"grpc", "exec", "periodSeconds", "timeoutSeconds", "failureThreshold"}

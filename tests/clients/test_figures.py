"""The page of figures, as Prometheus' own client library reads it."""

import json
import urllib.request
from pathlib import Path

import pytest

from harness.paths import WEIGHTFS, venv_bin
from harness.process import run, run_well
from harness.server import Server, free_port

PARSE = """
import json, sys
from prometheus_client.parser import text_string_to_metric_families
families = text_string_to_metric_families(sys.argv[1])
print(json.dumps({
    family.name: {
        "type": family.type,
        "help": family.documentation,
        "samples": [[sample.name, sample.labels, sample.value] for sample in family.samples],
    }
    for family in families
}))
"""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server(base: Path, serve, port: int):
    with Server(base / "server", serve("tiny").url, variables={"WEIGHTFS_SERVER_METRICS_PORT": str(port)}).running() as server:
        yield server


def read(port: int) -> dict[str, dict]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        page = answer.read().decode()
    return json.loads(run_well([venv_bin("prometheus"), "-c", PARSE, page], {}))


def value(families: dict[str, dict], name: str) -> float:
    [[_, _, value]] = families[name]["samples"]
    return value


def test_every_figure_is_one_sample_with_its_type_and_its_help(server: Server, port: int) -> None:
    families = read(port)
    assert value(families, "weightfs_build_info") == 1
    for name, family in families.items():
        [[sample, _, _]] = family["samples"]
        # The reader takes the ending of counters off, as the format's next version does.
        expected = {"counter": f"{name}_total", "gauge": name}
        assert name.startswith("weightfs_") and sample == expected[family["type"]], family
        assert family["help"].endswith("."), family


def test_what_it_counts_is_what_status_says(server: Server, port: int) -> None:
    downloaded = run([WEIGHTFS, "model", "download", "acme/tiny"], server.own_environment() | {"HF_ENDPOINT": server.endpoint})
    assert downloaded.code == 0, downloaded
    families = read(port)
    status = run_well([WEIGHTFS, "status", "--format", "json"], server.own_environment())
    [daemon] = json.loads(status)["daemons"]
    assert daemon["counters"]["fetched_bytes"] > 0
    for name, counted in daemon["counters"].items():
        assert value(families, f"weightfs_{name}") == counted, name
    assert value(families, "weightfs_cache_bytes") >= daemon["counters"]["fetched_bytes"]

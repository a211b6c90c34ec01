"""Scenario: models move between the cache of the Hub's own client and ours, and load offline on either side."""

import json
from pathlib import Path

from harness.client import Client
from harness.mount import Mount
from harness.repositories import repository, sha256_of_files

DOWNLOAD = """
import json
from huggingface_hub import hf_hub_download, snapshot_download
hf_hub_download("acme/big", "config.json")
print(json.dumps(snapshot_download("acme/tiny")))
"""

LOAD = """
import json, sys
from huggingface_hub import snapshot_download
print(json.dumps(snapshot_download(sys.argv[1])))
"""


def offline_home(hub, base: Path, home: Path) -> Client:
    return Client(home, hub.url, base / "scratch-offline", offline=True)


def test_a_cache_of_the_hubs_client_loads_offline_after_the_import(serve, base: Path) -> None:
    hub = serve("tiny", "big")
    scratch = base / "scratch-offline"
    scratch.mkdir()
    Client(base / "foreign", hub.url, scratch).python(DOWNLOAD)
    hub.stop()

    mounted = Mount(base, hub.url, ["--offline"])
    imported = mounted.weightfs("import", base / "foreign", "--offline", "--hub-endpoint", hub.url)
    assert imported.code == 0, imported
    mounted.mount()
    try:
        client = offline_home(hub, base, mounted.home)
        snapshot = Path(client.python(LOAD, "acme/tiny"))
        assert snapshot.is_relative_to(mounted.home)
        expected = sha256_of_files(repository("tiny"))
        content = mounted.read_all(*(snapshot / name for name in expected))
        assert content == {snapshot / name: digest for name, digest in expected.items()}
        listed = json.loads(mounted.weightfs("model", "list", "--format", "json").out)["models"]
        assert {model["repo"]: (model["complete"], model["partial"]) for model in listed} == {
            "acme/tiny": (True, False),
            "acme/big": (True, True),
        }
    finally:
        mounted.close()


def test_an_exported_hub_cache_loads_offline(serve, base: Path) -> None:
    hub = serve("tiny")
    (base / "scratch-offline").mkdir()
    ours = Mount(base, hub.url)
    exported = ours.weightfs("export", "acme/tiny", base / "out" / "hub", "--hub-cache", "--hub-endpoint", hub.url)
    assert exported.code == 0, exported
    hub.stop()

    snapshot = Path(offline_home(hub, base, base / "out").python(LOAD, "acme/tiny"))
    assert snapshot.is_relative_to(base / "out" / "hub")
    expected = sha256_of_files(repository("tiny"))
    assert ours.read_all(*(snapshot / name for name in expected)) == {
        snapshot / name: digest for name, digest in expected.items()
    }

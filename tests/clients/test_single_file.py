"""Scenario 1: one file by its plain id, online and offline."""

from pathlib import Path

import pytest

from harness.repositories import repository, sha256_of

DOWNLOAD = """
import json, sys
from huggingface_hub import hf_hub_download
print(json.dumps(hf_hub_download(sys.argv[1], sys.argv[2])))
"""


@pytest.mark.parametrize("name", ["config.json", "1_Pooling/config.json", "empty.txt", "model.safetensors"])
def test_a_file_is_the_same_online_and_offline(serve, mount, client, name: str) -> None:
    hub = serve("tiny")
    mounted = mount(hub)
    expected = sha256_of(repository("tiny") / name)

    online = Path(client(hub, mounted).python(DOWNLOAD, "acme/tiny", name))
    assert online.is_relative_to(mounted.home / "hub" / "models--acme--tiny" / "snapshots")
    assert mounted.read_all(online) == {online: expected}

    before_offline = hub.mark()
    offline = client(hub, mounted, offline=True)
    assert offline.python(DOWNLOAD, "acme/tiny", name) == str(online)
    assert hub.since(before_offline).of_clients() == []

    hub.stop()
    assert offline.python(DOWNLOAD, "acme/tiny", name) == str(online)
    assert mounted.read_all(online) == {online: expected}


def test_what_was_read_survives_a_remount_without_the_hub(serve, mount, client) -> None:
    hub = serve("tiny")
    mounted = mount(hub)
    path = Path(client(hub, mounted).python(DOWNLOAD, "acme/tiny", "model.safetensors"))
    content = mounted.read_all(path)

    hub.stop()
    mounted.remount()
    offline = client(hub, mounted, offline=True)
    assert offline.python(DOWNLOAD, "acme/tiny", "model.safetensors") == str(path)
    assert mounted.read_all(path) == content


def test_a_restarted_daemon_fetches_nothing_again(serve, mount, client) -> None:
    hub = serve("tiny")
    mounted = mount(hub)
    path = Path(client(hub, mounted).python(DOWNLOAD, "acme/tiny", "model.safetensors"))
    content = mounted.read_all(path)

    mounted.umount()
    before_second_life = hub.mark()
    mounted.mount()
    assert mounted.read_all(path) == content
    assert hub.since(before_second_life).data_bytes() == 0


def test_a_file_that_the_repository_lacks_is_a_clear_error(serve, mount, client) -> None:
    hub = serve("tiny")
    mounted = mount(hub)
    code = """
import json
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
try:
    print(json.dumps(hf_hub_download("acme/tiny", "absent.json")))
except EntryNotFoundError:
    print(json.dumps("EntryNotFoundError"))
"""
    assert client(hub, mounted).python(code) == "EntryNotFoundError"

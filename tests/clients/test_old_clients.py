"""Scenario 2: the versions of huggingface_hub before it learned to live with a read-only cache."""

from pathlib import Path

import pytest

from harness.paths import venv_bin
from harness.process import MYSELF, ORDINARY, User, require_ordinary_user
from harness.repositories import repository, sha256_of_files

VERSIONS = ["hub-0.36.0", "hub-1.0.0", "hub-1.24.0", "main"]
USERS = [pytest.param(MYSELF, id="own-user"), pytest.param(ORDINARY, id="ordinary-user")]

EVERY_WAY = """
import json
from huggingface_hub import hf_hub_download, snapshot_download
config = hf_hub_download("acme/tiny", "config.json")
weights = hf_hub_download("acme/tiny", "model.safetensors")
print(json.dumps({"snapshot": snapshot_download("acme/tiny"), "files": [config, weights]}))
"""


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("venv", VERSIONS)
def test_an_old_client_downloads_online_and_offline(serve, mount, client, venv: str, user: User) -> None:
    if user == ORDINARY:
        require_ordinary_user(venv_bin(venv))
    hub = serve("tiny")
    mounted = mount(hub)

    online = client(hub, mounted, venv=venv, user=user).python(EVERY_WAY)
    assert client(hub, mounted, venv=venv, user=user, offline=True).python(EVERY_WAY) == online

    snapshot = Path(online["snapshot"])
    expected = sha256_of_files(repository("tiny"))
    content = mounted.read_all(*(snapshot / name for name in expected))
    assert content == {snapshot / name: digest for name, digest in expected.items()}

"""Scenario 8: main moves on the Hub while it is mounted."""

import hashlib
from pathlib import Path

DOWNLOAD = """
import json, sys
from huggingface_hub import hf_hub_download
revision = sys.argv[1] if len(sys.argv) > 1 else None
print(json.dumps(hf_hub_download("acme/tiny", "config.json", revision=revision)))
"""

NEW_CONFIG = '{"model_type": "bert", "hidden_size": 16}\n'


def test_a_client_gets_the_new_commit_and_still_the_old_one(serve, mount, client) -> None:
    hub = serve("tiny")
    mounted = mount(hub)
    online, offline = client(hub, mounted), client(hub, mounted, offline=True)
    old = Path(online.python(DOWNLOAD))
    old_content = mounted.read_all(old)

    commit = hub.push("tiny", {"config.json": NEW_CONFIG})
    new = Path(online.python(DOWNLOAD))
    assert new.parent.name == commit
    assert mounted.read_all(new) == {new: hashlib.sha256(NEW_CONFIG.encode()).hexdigest()}

    assert Path(online.python(DOWNLOAD, old.parent.name)) == old
    assert mounted.read_all(old) == old_content

    # Whichever of the two commits main names by now, it is one that is there, whole.
    assert Path(offline.python(DOWNLOAD)) in (old, new)
    assert offline.python(DOWNLOAD, old.parent.name) == str(old)
    assert offline.python(DOWNLOAD, commit) == str(new)


def test_a_snapshot_follows_the_branch(serve, mount, client) -> None:
    hub = serve("tiny")
    mounted = mount(hub)
    code = """
import json
from huggingface_hub import snapshot_download
print(json.dumps(snapshot_download("acme/tiny")))
"""
    online = client(hub, mounted)
    old = Path(online.python(code))
    commit = hub.push("tiny", {"added.txt": "new\n"})
    new = Path(online.python(code))
    assert new == old.parent / commit
    added = new / "added.txt"
    assert mounted.read_all(added) == {added: hashlib.sha256(b"new\n").hexdigest()}

"""Scenario 3: a snapshot of a large model costs its listing, not its weights."""

from pathlib import Path

from harness.repositories import repository, sha256_of_files

SNAPSHOT = """
import json
from huggingface_hub import snapshot_download
print(json.dumps(snapshot_download("acme/big")))
"""


def test_a_snapshot_is_metadata_until_it_is_read(serve, mount, client) -> None:
    hub = serve("big")
    mounted = mount(hub)

    snapshot = Path(client(hub, mounted).python(SNAPSHOT))
    assert snapshot.parent == mounted.home / "hub" / "models--acme--big" / "snapshots"
    assert len(hub.since(0).of_clients()) <= 2
    assert hub.since(0).data_bytes("model-") == 0

    before_offline = hub.mark()
    assert client(hub, mounted, offline=True).python(SNAPSHOT) == str(snapshot)
    assert hub.since(before_offline).of_clients() == []
    assert hub.since(0).data_bytes("model-") == 0

    expected = sha256_of_files(repository("big"))
    content = mounted.read_all(*(snapshot / name for name in expected))
    assert content == {snapshot / name: digest for name, digest in expected.items()}

"""Scenario 10 (i): the hf-hub crate, which rewrites refs/main at each download."""

import pytest

from harness.paths import CLIENTS
from harness.repositories import repository, sha256_of

CASES = [
    pytest.param("tiny", "model.safetensors", id="file"),
    pytest.param("big", "model-00002-of-00004.safetensors", id="shard"),
]


@pytest.mark.parametrize(("name", "file"), CASES)
def test_the_crate_downloads_online_and_from_the_cache_alone(serve, mount, client, name: str, file: str) -> None:
    hub = serve(name)
    mounted = mount(hub)
    expected = sha256_of(repository(name) / file)
    arguments = (mounted.home / "hub", f"acme/{name}", file)

    online = client(hub, mounted).program(CLIENTS / "hf-hub-client", *arguments)
    assert online.code == 0, str(online)
    assert answers(online.out) == {"download_file": expected, "snapshot_download": expected}
    assert [sent for sent in hub.since(0).of_clients() if sent.is_data and sent.bytes > 0] == []

    before_local = hub.mark()
    local = client(hub, mounted).program(CLIENTS / "hf-hub-client", "--local-files-only", *arguments)
    assert local.code == 0, str(local)
    assert answers(local.out) == {"download_file": expected, "snapshot_download": expected}
    assert hub.since(before_local).of_clients() == []


def answers(out: str) -> dict[str, str]:
    lines = (line.split(maxsplit=2) for line in out.splitlines())
    return {what: digest for what, digest, _ in lines}

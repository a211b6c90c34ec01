"""A real engine, candle: it finds the model by its plain id, maps the weights and computes with them."""

import json
from pathlib import Path

from harness.client import Client
from harness.hub import Hub
from harness.paths import CLIENTS
from harness.repositories import repository

SENTENCES = ["A cat sits on the mat.", "A kitten rests on a rug.", "The stock market fell today."]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def embed(client: Client) -> dict:
    finished = client.program(CLIENTS / "embed", "--model", "acme/minilm", *SENTENCES)
    assert finished.code == 0, str(finished)
    answer = json.loads(finished.out)
    return {key: answer[key] for key in ("dimensions", "similarities", "embeddings")}


def plain_cache(home: Path) -> Path:
    """An HF_HOME on the local disk, as a download would have left it."""
    repo = home / "hub" / "models--acme--minilm"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    (repo / "snapshots").mkdir()
    (repo / "snapshots" / COMMIT).symlink_to(repository("minilm"))
    return home


def test_an_embedding_is_the_same_as_from_a_local_cache(serve, mount, client, base: Path) -> None:
    hub: Hub = serve("minilm")
    mounted = mount(hub)
    local = Client(plain_cache(base / "plain"), hub.url, base)
    expected = embed(local)
    similar, other = expected["similarities"]
    assert similar > 0.6 > 0.2 > other

    assert embed(client(hub, mounted)) == expected
    assert hub.since(0).of_clients() == []

    before_second = hub.mark()
    assert embed(client(hub, mounted)) == expected
    assert hub.since(before_second).data_bytes() == 0

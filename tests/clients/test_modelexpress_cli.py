"""ModelExpress's own command line, as it is published, against `weightfs serve`; and its JSON beside ours."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness.paths import TARGET
from harness.process import Finished, run
from harness.repositories import repository, sha256_of_files
from harness.server import Server

pytestmark = pytest.mark.full

MODEL = "acme/tiny"


@pytest.fixture
def hub(serve):
    return serve("tiny")


@pytest.fixture
def server(base: Path, hub) -> Iterator[Server]:
    with Server(base / "server", hub.url).running() as server:
        yield server


@pytest.fixture
def cache(base: Path) -> Path:
    """Of the original's client."""
    return base / "theirs"


@pytest.fixture
def theirs(base: Path, cache: Path, server: Server):
    """`theirs("health")`: the original's command line with this server; it finds no Hub unless one is given."""

    def call(*words: str, hub: str = "http://127.0.0.1:9", streamed: bool = False) -> Finished:
        environment = {"PATH": os.environ["PATH"], "HOME": str(base), "HF_ENDPOINT": hub}
        options = ["--endpoint", f"http://{server.address}", "--cache-path", cache, "--format", "json"]
        options += ["--no-shared-storage"] * streamed
        return run([TARGET / "tools" / "bin" / "modelexpress-cli", *options, *words], environment)

    return call


def said(finished: Finished) -> dict:
    assert finished.code == 0, finished
    return json.loads(finished.out)


def test_health_and_actions_are_answered(theirs) -> None:
    health = said(theirs("health"))
    assert health["status"] == "ok" and health["version"]
    assert said(theirs("api", "send", "ping")) == {"message": "pong"}
    unknown = theirs("api", "send", "no-such-action")
    assert unknown.code == 1 and "no-such-action" in unknown.out, unknown


@pytest.mark.parametrize("strategy", ["server-only", "smart-fallback"])
@pytest.mark.parametrize("revision", [None, "main"])
def test_a_streamed_model_is_whole(theirs, cache: Path, strategy: str, revision: str | None) -> None:
    words = ["--revision", revision] * (revision is not None)
    done = said(theirs("model", "download", MODEL, "--strategy", strategy, *words, streamed=True))
    assert Path(done["path"]) == cache / "models--acme--tiny" / "snapshots" / done["resolved_revision"]
    assert sha256_of_files(Path(done["path"])) == sha256_of_files(repository("tiny"))
    assert said(theirs("model", "list"))["total_models"] == 1
    assert said(theirs("model", "validate", MODEL))["exists"]


def test_a_model_that_is_not_there_is_an_error_with_its_name(theirs) -> None:
    for words in (["acme/none"], [MODEL, "--revision", "no-such-branch"]):
        refused = theirs("model", "download", *words, "--strategy", "server-only", streamed=True)
        assert refused.code == 1 and words[-1] in refused.out, refused


def test_clearing_a_model_takes_it_off_the_server_too(theirs, server: Server, hub) -> None:
    def is_cached() -> bool:
        listed = json.loads(server.weightfs("model", "list", "--format", "json").out)
        return any(model["name"] == MODEL and model["size"] for model in listed["models"])

    for clear in (["model", "clear", MODEL], ["model", "clear-all", "--yes"]):
        said(theirs("model", "download", MODEL, "--strategy", "server-only", streamed=True))
        assert is_cached()
        assert said(theirs(*clear))["success"]
        assert not is_cached(), f"{clear}"


SAME_VERBS: Sequence[Sequence[str]] = [
    ["health"],
    ["api", "send", "ping"],
    ["model", "download", MODEL, "--strategy", "server-only"],
    ["model", "list"],
    ["model", "list", "--detailed"],
    ["model", "stats"],
    ["model", "stats", "--detailed"],
    ["model", "status"],
    ["model", "validate", MODEL],
    ["model", "clear", MODEL],
    ["model", "clear-all", "--yes"],
]


def test_our_command_line_says_whatever_the_originals_says(theirs, server: Server) -> None:
    """A script that reads the original's JSON finds every key in ours, with a value of the same kind."""
    for words in SAME_VERBS:
        original = said(theirs(*words, streamed=True))
        ours = json.loads(server.weightfs(*words, "--format", "json").out)
        check(original, ours, " ".join(words))


def check(original: object, ours: object, place: str) -> None:
    if isinstance(original, dict):
        assert isinstance(ours, dict), f"{place}: {ours}"
        for key, value in original.items():
            assert key in ours, f"{place}: {key} is missing in {sorted(ours)}"
            check(value, ours[key], f"{place}: {key}")
    elif isinstance(original, list):
        assert isinstance(ours, list) and bool(original) <= bool(ours), f"{place}: {ours}"
        for one, other in zip(original, ours, strict=False):
            check(one, other, f"{place}[]")
    elif original is not None and ours is not None:
        assert type(original) is type(ours), f"{place}: {original!r}, {ours!r}"

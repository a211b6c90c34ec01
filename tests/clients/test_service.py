"""One model through the service and without it: the same bytes. `tests/clients/run.sh --test-model google-t5/t5-small` takes
a model of the real Hub (or of HF_ENDPOINT) in place of the stand-in's."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.modelexpress import INSTALL, SECONDS, ask
from harness.paths import WEIGHTFS
from harness.process import Finished, run
from harness.repositories import sha256_of_files
from harness.server import Server


@dataclass(frozen=True)
class Source:
    """A model, and the Hub that has it."""

    model: str
    endpoint: str


@pytest.fixture
def source(request: pytest.FixtureRequest, serve) -> Source:
    model = request.config.getoption("--test-model")
    if model is None:
        return Source("acme/tiny", serve("tiny").url)
    return Source(model, os.environ.get("HF_ENDPOINT", "https://huggingface.co"))


@pytest.fixture
def server(base: Path, source: Source) -> Iterator[Server]:
    with Server(base / "server", source.endpoint).running() as server:
        yield server


@dataclass(frozen=True)
class Machine:
    """A machine of a client, with a cache of its own."""

    base: Path
    hub: str

    def weightfs(self, *words: str | Path) -> Finished:
        self.base.mkdir(exist_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.base),
            "WEIGHTFS_RUNTIME_DIRECTORY": str(self.base / "run"),
            "WEIGHTFS_CACHE_DIRECTORY": str(self.base / "cache"),
            "HF_ENDPOINT": self.hub,
        }
        return run([WEIGHTFS, *words], environment, seconds=SECONDS)

    def exported(self, model: str) -> dict[str, str]:
        """What this machine has of the model, by its cache alone."""
        folder = self.base / "exported"
        done = self.weightfs("export", model, folder)
        assert done.code == 0, done
        return sha256_of_files(folder)


@pytest.fixture
def direct(base: Path, source: Source) -> dict[str, str]:
    """The model's files as a machine gets them that asks nobody but the Hub."""
    machine = Machine(base / "direct", source.endpoint)
    done = machine.weightfs("model", "download", source.model, "--strategy", "direct")
    assert done.code == 0, done
    return machine.exported(source.model)


def test_what_the_service_streams_is_what_the_hub_has(base: Path, source: Source, server: Server, direct) -> None:
    installed = ask(server, base / "client", INSTALL, source.model)
    assert sha256_of_files(Path(installed["snapshot"])) == direct


def test_clients_at_once_get_the_model_from_the_service(base: Path, source: Source, server: Server) -> None:
    def download(number: int) -> Finished:
        machine = Machine(base / f"client-{number}", "http://127.0.0.1:9")
        words = ["model", "download", source.model, "--strategy", "server-only"]
        return machine.weightfs("--endpoint", f"http://{server.address}", *words)

    with ThreadPoolExecutor() as pool:
        for done in pool.map(download, range(2)):
            assert done.code == 0, done


def test_without_the_service_a_machine_downloads_the_model_itself(
    base: Path, source: Source, server: Server, direct
) -> None:
    server.stop()
    machine = Machine(base / "alone", source.endpoint)
    download = ["--endpoint", f"http://{server.address}", "model", "download", source.model, "--strategy"]
    refused = machine.weightfs(*download, "server-only")
    assert refused.code == 1 and "no service answers" in refused.err, refused
    done = machine.weightfs(*download, "smart-fallback")
    assert done.code == 0 and "this machine downloads it itself" in done.err, done
    assert machine.exported(source.model) == direct

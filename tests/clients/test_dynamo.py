"""Dynamo's runtime, as it is published, finds its models on a mount and by the service (docs/DYNAMO.md)."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.dynamo import Pod, load_at_once
from harness.hub import Hub
from harness.paths import venv_bin
from harness.process import ORDINARY, require_ordinary_user
from harness.repositories import repository, sha256_of_files
from harness.server import Server, free_port

MODEL = "acme/minilm"
WITHOUT_TOKENIZER = "acme/tiny"
WEIGHTS = "model.safetensors"
WORKERS = 3

# What its clients connect to when they are told nothing.
USUAL_PORT = 8001

STREAMED = {"MODEL_EXPRESS_NO_SHARED_STORAGE": "1"}
OFFLINE = {"HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def model() -> dict[str, str]:
    """What the model's files are."""
    return sha256_of_files(repository("minilm"))


@pytest.fixture
def hub(serve) -> Hub:
    return serve("minilm", "tiny")


@pytest.fixture
def server(base: Path, hub: Hub) -> Iterator[Server]:
    with Server(base / "server", hub.url).running() as server:
        yield server


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Where a service would be; it says nothing, and shows who came."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def nobody_came(listener: socket.socket) -> bool:
    try:
        listener.accept()
    except BlockingIOError:
        return True
    return False


def at(listener: socket.socket) -> dict[str, str]:
    return {"MODEL_EXPRESS_URL": f"http://127.0.0.1:{listener.getsockname()[1]}"}


def by(server: Server) -> dict[str, str]:
    return {"MODEL_EXPRESS_URL": f"http://{server.address}"}


def nowhere() -> dict[str, str]:
    return {"MODEL_EXPRESS_URL": f"http://127.0.0.1:{free_port()}"}


def weights_sent(hub: Hub, model: dict[str, str]) -> int:
    """The bytes of the weights that left the Hub; its storage knows them by their hash."""
    return hub.since(0).data_bytes(model[WEIGHTS])


def weights_size() -> int:
    return (repository("minilm") / WEIGHTS).stat().st_size


def as_downloaded(files: dict[str, str]) -> dict[str, str]:
    """What is left of a model where the runtime downloads it itself: it takes no folders, dotfiles or README."""
    return {name: hash for name, hash in files.items() if "/" not in name and name[0] != "." and name != "README.md"}


# On a mount


PLACES = [
    pytest.param({"HF_HOME": "{home}"}, id="HF_HOME"),
    pytest.param({"HF_HUB_CACHE": "{home}/hub"}, id="HF_HUB_CACHE"),
    pytest.param({"MODEL_EXPRESS_CACHE_PATH": "{home}/hub"}, id="MODEL_EXPRESS_CACHE_PATH"),
]


@pytest.mark.parametrize("place", PLACES)
def test_a_worker_finds_its_model_on_a_mount_and_asks_nobody(base: Path, hub, mount, model, listener, place) -> None:
    home = mount(hub).home
    variables = at(listener) | {name: value.format(home=home) for name, value in place.items()}
    pod = Pod(base / "worker", hub.url, variables)
    found = pod.fetch(MODEL)
    assert found.is_relative_to(home / "hub"), found
    assert weights_sent(hub, model) == 0, "the weights come when they are read"
    assert pod.read(found) == model
    assert hub.since(0).of_clients() == []
    assert nobody_came(listener)


def test_a_worker_that_is_told_to_be_offline_finds_any_model_on_a_mount(base: Path, hub, mount) -> None:
    home = mount(hub).home
    pod = Pod(base / "worker", hub.url, nowhere() | OFFLINE | {"HF_HOME": str(home)})
    for model in [MODEL, WITHOUT_TOKENIZER]:
        assert pod.load(model) == sha256_of_files(repository(model.removeprefix("acme/")))
    assert hub.since(0).of_clients() == []


def test_without_a_tokenizer_a_worker_that_is_online_wants_to_download_and_may_not(base: Path, hub, mount) -> None:
    home = mount(hub).home
    finished = Pod(base / "worker", hub.url, nowhere() | {"HF_HOME": str(home)}).tries(WITHOUT_TOKENIZER)
    assert finished.code != 0 and "Permission denied" in finished.err, finished


def test_a_model_that_was_read_is_found_with_the_hub_and_the_service_away(base: Path, hub, mount, model) -> None:
    home = mount(hub).home
    pod = Pod(base / "worker", hub.url, nowhere() | {"HF_HOME": str(home)})
    assert pod.load(MODEL) == model
    hub.stop()
    assert pod.load(MODEL) == model


def test_a_frontend_takes_no_weights(base: Path, hub, mount, model) -> None:
    home = mount(hub).home
    found = Pod(base / "frontend", hub.url, nowhere() | {"HF_HOME": str(home)}).fetch(MODEL, "frontend")
    assert found.is_relative_to(home / "hub"), found
    assert weights_sent(hub, model) == 0


def test_a_worker_that_is_not_root_finds_its_model(base: Path, hub, mount, model) -> None:
    require_ordinary_user(venv_bin("dynamo"))
    home = mount(hub).home
    pod = Pod(base / "worker", hub.url, nowhere() | {"HF_HOME": str(home)}, ORDINARY)
    assert pod.load(MODEL) == model
    assert hub.since(0).of_clients() == []


def test_an_adapter_is_given_by_its_path(base: Path, serve, mount) -> None:
    hub = serve("adapter")
    path = mount(hub).home / "models" / "acme" / "adapter"
    pod = Pod(base / "worker", hub.url, OFFLINE)
    assert pod.fetch_adapter(f"file://{path}") == path
    assert pod.read(path) == sha256_of_files(repository("adapter"))
    assert hub.since(0).of_clients() == []


def test_workers_at_once_on_a_mount_are_one_fetch(base: Path, hub, mount, model) -> None:
    home = mount(hub).home
    variables = nowhere() | {"HF_HOME": str(home)}
    pods = [Pod(base / f"worker-{number}", hub.url, variables) for number in range(WORKERS)]
    assert load_at_once(pods, MODEL) == [model] * WORKERS
    assert weights_sent(hub, model) == weights_size()


# By the service


def test_the_service_streams_what_the_hub_has_and_fetches_it_once(base: Path, hub, server, model) -> None:
    pods = [Pod(base / f"worker-{number}", hub.url, by(server) | STREAMED | OFFLINE) for number in range(WORKERS)]
    assert load_at_once(pods, MODEL) == [model] * WORKERS
    assert weights_sent(hub, model) == weights_size()
    assert hub.since(0).of_clients() == []


def test_a_worker_that_is_started_anew_finds_what_was_streamed(base: Path, hub, server, model) -> None:
    cache = base / "worker" / ".model-express" / "cache"
    pod = Pod(base / "worker", hub.url, by(server) | STREAMED | OFFLINE | {"HF_HUB_CACHE": str(cache)})
    found = pod.fetch(MODEL)
    assert found.is_relative_to(cache), found
    server.stop()
    assert pod.load(MODEL) == model
    assert hub.since(0).of_clients() == []


def test_without_a_storage_in_common_a_worker_downloads_what_the_service_has(base: Path, hub, server, model) -> None:
    loaded = Pod(base / "worker", hub.url, by(server)).load(MODEL)
    assert loaded == as_downloaded(model)
    assert any(request.is_data for request in hub.since(0).of_clients())


# With nobody


def test_with_the_service_away_a_worker_goes_to_the_hub(base: Path, hub, model) -> None:
    assert Pod(base / "worker", hub.url, nowhere()).load(MODEL) == as_downloaded(model)


def test_with_the_service_away_a_worker_that_is_told_to_be_offline_fails(base: Path, hub) -> None:
    finished = Pod(base / "worker", hub.url, nowhere() | OFFLINE).tries(MODEL)
    assert finished.code != 0 and "not found in cache" in finished.err, finished
    assert hub.since(0).of_clients() == []


@pytest.mark.full
def test_what_the_service_cannot_have_a_worker_downloads_itself(base: Path, hub) -> None:
    with Server(base / "server", "http://127.0.0.1:9").running() as server:
        assert Pod(base / "worker", hub.url, by(server) | STREAMED).fetch(WITHOUT_TOKENIZER).is_dir()
    assert any(request.is_data for request in hub.since(0).of_clients())


def test_without_any_variable_a_worker_goes_to_the_hub(base: Path, hub, model) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", USUAL_PORT)) == 0:
            pytest.skip(f"something answers at port {USUAL_PORT} of this machine, and would be asked")
    assert Pod(base / "worker", hub.url).load(MODEL) == as_downloaded(model)


@pytest.mark.full
def test_a_service_that_says_nothing_costs_a_worker_half_a_minute(base: Path, hub, listener) -> None:
    assert Pod(base / "worker", hub.url, at(listener)).fetch(WITHOUT_TOKENIZER).is_dir()
    assert not nobody_came(listener)

"""Fixtures of every scenario: `serve` starts the Hub stand-in, `mount` puts a virtual HF_HOME over it, `client` is
somebody who works with the two."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.client import Client
from harness.hub import Hub
from harness.mount import Mount
from harness.process import MYSELF, ORDINARY, User, is_root

FAILED = pytest.StashKey[bool]()

Serve = Callable[..., Hub]
MountOver = Callable[..., Mount]
NewClient = Callable[..., Client]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--test-model", metavar="ORG/NAME", help="a model of the real Hub, for test_service.py alone")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder that other users can reach, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="weightfs-"))
    folder.chmod(0o755)
    yield folder
    # Never through a mount that was left behind.
    if not any(str(folder) in line for line in Path("/proc/mounts").read_text().splitlines()):
        shutil.rmtree(folder)


@pytest.fixture
def serve(base: Path, request: pytest.FixtureRequest) -> Iterator[Serve]:
    """`serve("tiny", "big")`: a stand-in with acme/tiny and acme/big."""
    with ExitStack() as stack:

        def start(*names: str) -> Hub:
            hub = Hub(base / "hub", names)
            stack.callback(hub.stop)
            hub.start()
            return hub

        yield start


@pytest.fixture
def mount(base: Path, request: pytest.FixtureRequest) -> Iterator[MountOver]:
    """`mount(hub)`: a mount with an empty cache over that Hub."""
    with ExitStack() as stack:

        def start(hub: Hub, *options: str) -> Mount:
            # Root's tests also have clients of other users, who may only see such a mount.
            allow = ["--allow-other"] if is_root() else []
            mounted = Mount(base, hub.url, [*allow, *options])
            stack.callback(mounted.close)
            stack.callback(show_if_failed, request.node, mounted)
            mounted.mount()
            return mounted

        yield start


def show_if_failed(node: pytest.Item, mounted: Mount) -> None:
    if node.stash.get(FAILED, False):
        print(f"the daemon's log ends with\n{mounted.log_tail()}")


@pytest.fixture
def client(base: Path) -> NewClient:
    """`client(hub, mounted, venv=..., offline=..., user=...)`."""

    def new(hub: Hub, mounted: Mount, *, venv: str = "main", offline: bool = False, user: User = MYSELF) -> Client:
        scratch = base / f"scratch-{user.uid or 'self'}"
        scratch.mkdir(exist_ok=True)
        if user == ORDINARY:
            shutil.chown(scratch, ORDINARY.uid, ORDINARY.uid)
        return Client(mounted.home, hub.url, scratch, venv, offline, user)

    return new

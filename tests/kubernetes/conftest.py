"""Fixtures of every scenario: one cluster for all of them, the Hub stand-in that its pods reach, and weightfs installed. What a
scenario creates, `pod` and `claim` take away again."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from cluster import weightfs
from cluster.cluster import Cluster
from cluster.hub import start_hub
from cluster.kubectl import asked
from cluster.pods import Claim, Inline, NewPod, Pod
from harness.hub import Hub

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    report = yield
    if report.failed and "installed" in item.fixturenames:
        report.sections.append(("what the cluster says", what_the_cluster_says()))
    return report


def what_the_cluster_says() -> str:
    pods = asked("get", "pods", "--all-namespaces", "--output=wide").out
    events = asked("get", "events", "--all-namespaces", "--sort-by=.lastTimestamp").out
    logs = asked("logs", "--namespace=weightfs", "--selector=app.kubernetes.io/name=weightfs", "--all-containers", "--prefix", "--tail=25").out
    return "\n".join([pods, *events.splitlines()[-15:], logs])


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    return Cluster.start()


@pytest.fixture(scope="session")
def hub(cluster: Cluster) -> Iterator[Hub]:
    hub = start_hub()
    yield hub
    hub.stop()


@pytest.fixture(scope="session")
def installed(cluster: Cluster, hub: Hub) -> None:
    weightfs.install(hub.url)


@pytest.fixture
def pod(installed: None, hub: Hub) -> Iterator[NewPod]:
    """`pod("name", volume, "hash.py", "acme/tiny")`: created now, deleted at the end."""
    with ExitStack() as stack:

        def create(name: str, volume: Inline | Claim, program: str, *words: str) -> Pod:
            created = Pod(name, volume, program, words, hub.url)
            stack.callback(created.delete)
            return created.create()

        yield create


@pytest.fixture
def claim(installed: None) -> Iterator[Callable[..., Claim]]:
    with ExitStack() as stack:

        def create(name: str, **attributes: str) -> Claim:
            created = Claim(name, attributes)
            stack.callback(created.delete)
            created.create()
            return created

        yield create

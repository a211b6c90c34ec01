"""Fixtures of every scenario: one cluster for all of them, the Hub stand-in that its pods reach, and weightfs installed. What a
scenario creates, `pod` and `claim` take away again."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from cluster.cluster import Cluster
from cluster.hub import start_hub
from cluster.kubectl import asked
from cluster.pods import Claim, Inline, NewPod, Pod
from cluster.release import Release
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
    ours = ["--namespace=weightfs", "--selector=app.kubernetes.io/name=weightfs"]
    logs = asked("logs", *ours, "--all-containers", "--prefix", "--tail=25").out
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
def installed(cluster: Cluster, hub: Hub) -> Release:
    """Daemon, driver and holder on the node."""
    release = Release("weightfs")
    # However full the disk is, what was fetched is kept.
    keep = "node.config.cache.eviction.policy.min_free_space_percent=0"
    release.install("privileged", "--set", f"hub.endpoint={hub.url},{keep}")
    return release


@pytest.fixture
def created() -> Iterator[ExitStack]:
    """Takes away what a scenario has created, the last of it first: a claim that is in use would stay."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def pod(installed: Release, hub: Hub, created: ExitStack) -> NewPod:
    """`pod("name", volume, "hash.py", "acme/tiny")`: runs one of in_pods/ with these words."""

    def create(name: str, volume: Inline | Claim, program: str, *words: str) -> Pod:
        pod = Pod(name, volume, program, words, hub.url)
        created.callback(pod.delete)
        return pod.create()

    return create


@pytest.fixture
def claim(installed: Release, created: ExitStack) -> Callable[..., Claim]:
    """`claim("name", view="model", repo="acme/tiny")`, for `pod`."""

    def create(name: str, **attributes: str) -> Claim:
        claim = Claim(name, attributes)
        created.callback(claim.delete)
        claim.create()
        return claim

    return create

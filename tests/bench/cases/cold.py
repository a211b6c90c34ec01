"""Files of which nothing is here yet: each measurement has a mount with an empty cache of its own."""

from collections.abc import Callable
from contextlib import ExitStack

from comparison import Case, Measurement, Side, Suite, speed_at_least, time_at_most
from model import WHOLE, Model
from mount import Mount
from origin import Origin, fresh
from places import WORK
from programs import Probed, probe

CONNECTIONS = 8


def cold(origin: Origin, read: Callable[[Mount], Probed]) -> Measurement:
    """Reads through a new mount; its cost is counted until the daemon is quiet."""
    with ExitStack() as stack:
        mount = Mount(origin.endpoint, stack)
        mount.weights(WHOLE)
        origin.forget()
        before = mount.cpu_seconds()
        probed = read(mount)
        mount.settle()
        return Measurement(
            seconds=probed.seconds,
            bytes=probed.bytes,
            reader_cpu_seconds=probed.cpu_seconds,
            daemon_cpu_seconds=mount.cpu_seconds() - before,
            daemon_peak_bytes=mount.peak_memory(),
            fetched_bytes=origin.fetched(),
            connections=origin.connections(),
        )


def download(origin: Origin, model: Model, *options: str) -> Measurement:
    """The same blocks in parallel, written to a sparse file."""
    folder = fresh(WORK / "download")
    urls = origin.urls(model)
    probed = probe("download", "--connections", CONNECTIONS, *options, "--into", folder, *urls)
    fresh(folder)
    return Measurement(probed.seconds, probed.bytes, probed.cpu_seconds)


def reads(origin: Origin, where: str) -> dict[str, Side]:
    def sequential(mount: Mount) -> Probed:
        return probe("sequential", *mount.weights(WHOLE))

    def tensors(mount: Mount) -> Probed:
        return probe("tensors", *mount.weights(WHOLE))

    def random(mount: Mount) -> Probed:
        return probe("random", *mount.weights(WHOLE))

    patterns = {"sequential": sequential, "mmap": tensors, "random": random}
    return {name: Side(f"{where}: weightfs, {name}", lambda read=read: cold(origin, read)) for name, read in patterns.items()}


def against_itself(prefix: str, where: str, sides: dict[str, Side]) -> list[Case]:
    """Whatever the pattern, nearly the speed of the sequential reader."""
    return [
        Case(f"{prefix}-mmap", f"{where}, every tensor mapped", sides["mmap"], sides["sequential"], time_at_most(1.2), once=True),
        Case(f"{prefix}-random", f"{where}, 8 threads, random 4 MiB", sides["random"], sides["sequential"], speed_at_least(0.5), once=True),
    ]


def unlimited(stack: ExitStack) -> list[Case]:
    origin = Origin.unlimited(stack)
    sides = reads(origin, "loopback")
    reference = Side("loopback: download, sha256, sync", lambda: download(origin, WHOLE, "--hash", "--sync"))
    return [
        Case("cold-sequential", "cold, sequential", sides["sequential"], reference, speed_at_least(0.6), once=True),
        *against_itself("cold", "cold", sides),
    ]


def line(stack: ExitStack) -> list[Case]:
    origin = Origin.line(stack)
    sides = reads(origin, "line")
    reference = Side("line: download", lambda: download(origin, WHOLE))
    return [
        Case("line-sequential", "cold, slow line, sequential", sides["sequential"], reference, speed_at_least(0.95), once=True),
        *against_itself("line", "cold, slow line", sides),
    ]


UNLIMITED = Suite(("cold-sequential", "cold-mmap", "cold-random"), 5, unlimited)
LINE = Suite(("line-sequential", "line-mmap", "line-random"), 3, line)

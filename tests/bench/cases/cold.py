"""Files of which nothing is here yet: each measurement has a mount with an empty cache of its own."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from comparison import NO_GOAL, Case, Measurement, Side, Suite, speed_at_least, time_at_most
from model import WHOLE, Model
from mount import Mount
from origin import Origin, fresh
from places import WORK
from programs import Probed, probe
from rclone import RcloneMount

CONNECTIONS = 8
"""Of the reference. More or fewer change little; one alone is much slower."""

Read = Callable[[Sequence[Path]], Probed]

PATTERNS: dict[str, Read] = {
    "sequential": lambda files: probe("sequential", *files),
    "mmap": lambda files: probe("tensors", *files),
    "random": lambda files: probe("random", *files),
}


def cold(
    origin: Origin, model: Model, read: Read, lookup: bool = False, before: Callable[[], None] | None = None
) -> Measurement:
    """Reads through a new mount, with `lookup` finding the files too; the cost counts until the daemon is quiet."""
    with ExitStack() as stack:
        mount = Mount.mounted(origin, stack, before=before)
        started = time.monotonic()
        files = mount.weights(model)
        looked_seconds = time.monotonic() - started if lookup else 0
        origin.forget()
        cpu_before = mount.cpu_seconds()
        probed = read(files)
        mount.settle()
        return Measurement(
            seconds=looked_seconds + probed.seconds,
            bytes=probed.bytes,
            reader_cpu_seconds=probed.cpu_seconds,
            daemon_cpu_seconds=mount.cpu_seconds() - cpu_before,
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


def rclone(origin: Origin, read: Read) -> Measurement:
    """What one may mount today: the files behind plain URLs, with a cache of the same kind."""
    with ExitStack() as stack:
        mount = RcloneMount(origin.plain_url(), stack)
        probed = read(mount.weights(WHOLE))
        return Measurement(probed.seconds, probed.bytes, probed.cpu_seconds)


def ours(origin: Origin, where: str) -> dict[str, Side]:
    def side(name: str, read: Read) -> Side:
        return Side(f"{where}: weightfs, {name}", lambda: cold(origin, WHOLE, read))

    return {name: side(name, read) for name, read in PATTERNS.items()}


def compared(prefix: str, what: str, sides: dict[str, Side], reference: Side, least: float) -> list[Case]:
    """The network first; and whatever the pattern, nearly the speed of our own sequential reader."""
    sequential, mmap, random = sides["sequential"], sides["mmap"], sides["random"]
    return [
        Case(f"{prefix}-sequential", f"{what}, 1 MiB reads", sequential, reference, speed_at_least(least), once=True),
        Case(f"{prefix}-mmap", f"{what}, mmap / 1 MiB reads", mmap, sequential, time_at_most(1.2), once=True),
        Case(f"{prefix}-random", f"{what}, random / 1 MiB reads", random, sequential, speed_at_least(0.5), once=True),
    ]


def unlimited(stack: ExitStack) -> list[Case]:
    origin = Origin.unlimited(stack)
    sides = ours(origin, "loopback")
    reference = Side("loopback: download, sha256, sync", lambda: download(origin, WHOLE, "--hash", "--sync"))
    unsynced = Side("loopback: download", lambda: download(origin, WHOLE))
    read = Side("loopback: rclone, sequential", lambda: rclone(origin, PATTERNS["sequential"]))
    mapped = Side("loopback: rclone, mmap", lambda: rclone(origin, PATTERNS["mmap"]))
    return [
        *compared("cold", "cold", sides, reference, 0.6),
        # The disk decides how long a sync takes, and no reader of ours waits for one: this is the harder comparison.
        Case("cold-unsynced", "cold / no hash, no sync", sides["sequential"], unsynced, NO_GOAL),
        Case("cold-rclone-sequential", "cold / rclone", sides["sequential"], read, NO_GOAL),
        Case("cold-rclone-mmap", "cold, mmap / rclone, mmap", sides["mmap"], mapped, NO_GOAL),
    ]


def line(stack: ExitStack) -> list[Case]:
    origin = Origin.line(stack)
    reference = Side("line: download", lambda: download(origin, WHOLE))
    return compared("line", "line", ours(origin, "line"), reference, 0.95)


COLD = Suite(
    ("cold-sequential", "cold-unsynced", "cold-mmap", "cold-random", "cold-rclone-sequential", "cold-rclone-mmap"),
    5,
    unlimited,
)
LINE = Suite(("line-sequential", "line-mmap", "line-random"), 3, line)

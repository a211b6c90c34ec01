"""Files that are here complete, against the same bytes on the disk's own file system; both in the page cache."""

from collections.abc import Callable
from contextlib import ExitStack

from comparison import Case, Measurement, Side, Suite, speed_at_least
from model import WHOLE
from mount import Mount
from origin import Origin
from programs import Probed, probe

PASSES = 4
PATTERNS = ("sequential", "random", "tensors")
NAMES = {"tensors": "mmap"}


def on_disk(pattern: str) -> Measurement:
    probed = probe(pattern, "--passes", PASSES, *WHOLE.local())
    return Measurement(probed.seconds, probed.bytes, probed.cpu_seconds)


def through(mount: Mount, read: Callable[[], Probed]) -> Measurement:
    before = mount.cpu_seconds()
    probed = read()
    return Measurement(
        probed.seconds,
        probed.bytes,
        probed.cpu_seconds,
        daemon_cpu_seconds=mount.cpu_seconds() - before,
        daemon_peak_bytes=mount.peak_memory(),
    )


def warm(stack: ExitStack) -> list[Case]:
    mount = complete(Origin.unlimited(stack), stack)
    cases = []
    for pattern in PATTERNS:
        name = NAMES.get(pattern, pattern)
        ours = Side(f"warm: weightfs, {name}", lambda p=pattern: through(mount, lambda: passes(mount, p)))
        disk = Side(f"warm: ext4, {name}", lambda p=pattern: on_disk(p))
        cases.append(Case(f"warm-{name}", f"complete, {name}", ours, disk, speed_at_least(0.95)))
    return cases


def passes(mount: Mount, pattern: str) -> Probed:
    return probe(pattern, "--passes", PASSES, *mount.weights(WHOLE))


def complete(origin: Origin, stack: ExitStack, *options: str) -> Mount:
    """Everything fetched and proven, and read once more, so that it is in memory wherever it is going to be."""
    mount = Mount(origin.endpoint, stack, *options)
    probe("sequential", *mount.weights(WHOLE))
    mount.settle()
    probe("sequential", *mount.weights(WHOLE))
    probe("sequential", *WHOLE.local())
    return mount


WARM = Suite(("warm-sequential", "warm-random", "warm-mmap"), 5, warm)

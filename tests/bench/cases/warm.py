"""Files that are here complete, against the same bytes on the disk's own file system; both in the page cache."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from comparison import Case, Goal, Measurement, Side, Suite, more_at_most, same_time, speed_at_least
from model import WHOLE
from mount import Mount, flag_named
from origin import Origin, fresh
from places import WORK
from programs import Probed, cool, probe

PASSES = 4
COMMANDS = {"sequential": "sequential", "random": "random", "mmap": "tensors"}


class Warm:
    """One mount with one complete file, and the same file in a cache that a client downloaded."""

    def __init__(self, name: str, stack: ExitStack, *options: str) -> None:
        self.name = name
        self.mount = Mount.mounted(Origin.unlimited(stack), stack, *options)
        (self.file,) = self.mount.weights(WHOLE)
        probe("sequential", self.file)
        self.mount.settle()
        self.on_disk = downloaded_cache()

    def passes(self, pattern: str, goal: Goal) -> Case:
        ours = self.side(f"weightfs, {pattern}", lambda: self.read(pattern))
        return Case(f"{self.name}-{pattern}", f"{self.name}, {pattern}", ours, self.disk(pattern), goal)

    def cold_page_cache(self, pattern: str, goal: Goal) -> Case:
        """The daemon answers every read: what a file costs that fell out of the mount's page cache, not out of ours."""

        def once() -> Measurement:
            cool(self.file)
            probe("sequential", self.blob())
            return self.through(lambda: probe(COMMANDS[pattern], self.file), 1)

        ours = self.side(f"weightfs, past the page cache, {pattern}", once)
        return Case(f"past-{pattern}", f"past the page cache, {pattern}", ours, self.disk(pattern), goal)

    def asked(self, command: str, goal: Goal) -> Case:
        ours = self.side(f"weightfs, {command}", lambda: self.through(lambda: probe(command, self.file), 1))
        disk = self.side(f"ext4, {command}", lambda: one_pass(probe(command, self.on_disk), 1))
        return Case(command, f"{command} of a known file", ours, disk, goal)

    def read(self, pattern: str) -> Measurement:
        # What another case dropped comes back first.
        probe("sequential", self.file)
        return self.through(lambda: probe(COMMANDS[pattern], "--passes", PASSES, self.file), PASSES)

    def disk(self, pattern: str) -> Side:
        command = COMMANDS[pattern]

        def read() -> Measurement:
            probe("sequential", self.on_disk)
            return one_pass(probe(command, "--passes", PASSES, self.on_disk), PASSES)

        return self.side(f"ext4, {pattern}", read)

    def side(self, what: str, measure: Callable[[], Measurement]) -> Side:
        return Side(f"{self.name}: {what}", measure)

    def through(self, read: Callable[[], Probed], passes: int) -> Measurement:
        before = self.mount.cpu_seconds()
        one = one_pass(read(), passes)
        cpu_seconds = (self.mount.cpu_seconds() - before) / passes
        return Measurement(one.seconds, one.bytes, one.reader_cpu_seconds, cpu_seconds, self.mount.peak_memory())

    def blob(self) -> Path:
        """Our own file behind the mount's: the largest that there is."""
        files = (path for path in self.mount.cache.rglob("*") if path.is_file())
        return max(files, key=lambda path: path.stat().st_size)


def one_pass(probed: Probed, passes: int) -> Measurement:
    """Of one pass."""
    return Measurement(probed.seconds / passes, probed.bytes // passes, probed.cpu_seconds / passes)


def downloaded_cache() -> Path:
    """The path of the weights in an HF_HOME on the disk, as deep and with the same links as in ours."""
    repo = fresh(WORK / "disk") / "home" / "hub" / WHOLE.cache_folder
    snapshot, blobs = repo / "snapshots" / ("0" * 40), repo / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (original,) = WHOLE.local()
    blob = blobs / ("0" * 64)
    blob.hardlink_to(original)
    file = snapshot / original.name
    file.symlink_to(Path("../../blobs") / blob.name)
    return file


def as_it_comes(stack: ExitStack) -> list[Case]:
    warm = Warm("warm", stack)
    patterns = [warm.passes(pattern, speed_at_least(0.95)) for pattern in COMMANDS]
    return [*patterns, warm.asked("stat", same_time()), warm.asked("open", more_at_most(0.05))]


def without_passthrough(stack: ExitStack) -> list[Case]:
    flag = flag_named("passthrough")
    warm = Warm("cached", stack, *([f"{flag}=off"] if flag else []))
    patterns = [warm.passes(pattern, speed_at_least(0.9)) for pattern in COMMANDS]
    return [*patterns, *(warm.cold_page_cache(pattern, speed_at_least(0.3)) for pattern in ("sequential", "mmap"))]


WARM = Suite(("warm-sequential", "warm-random", "warm-mmap", "stat", "open"), 5, as_it_comes)
CACHED = Suite(
    ("cached-sequential", "cached-random", "cached-mmap", "past-sequential", "past-mmap"), 5, without_passthrough
)

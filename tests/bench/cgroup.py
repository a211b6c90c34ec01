"""A limit on what a process may hold in memory, by whichever version of control groups this machine has."""

import os
from contextlib import ExitStack
from pathlib import Path

from programs import BenchError, Unavailable, wait_until

ROOT = Path("/sys/fs/cgroup")
NAME = "weightfs-bench"


class MemoryLimit:
    """A group that ends with the stack; whoever is in it has to have ended by then."""

    def __init__(self, most_bytes: int, stack: ExitStack) -> None:
        self.is_second = "memory" in read_or_empty(ROOT / "cgroup.controllers").split()
        parent = ROOT if self.is_second else ROOT / "memory"
        self.folder = parent / NAME
        try:
            if self.is_second:
                (parent / "cgroup.subtree_control").write_text("+memory")
            self.folder.mkdir(exist_ok=True)
            stack.callback(self.remove)
            self.write_limit(most_bytes)
        except OSError as error:
            raise Unavailable(f"no memory control group can be made here ({error.strerror})") from None
        self.killed_before = self.count_killed()

    def write_limit(self, most_bytes: int) -> None:
        if not self.is_second:
            (self.folder / "memory.limit_in_bytes").write_text(str(most_bytes))
            return
        (self.folder / "memory.max").write_text(str(most_bytes))
        (self.folder / "memory.swap.max").write_text("0")

    def enter(self) -> None:
        """Called in the process that is to be limited, between fork and exec."""
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def killed(self) -> int:
        return self.count_killed() - self.killed_before

    def count_killed(self) -> int:
        name = "memory.events" if self.is_second else "memory.oom_control"
        fields = dict(line.split() for line in (self.folder / name).read_text().splitlines())
        return int(fields["oom_kill"])

    def remove(self) -> None:
        try:
            wait_until(lambda: not read_or_empty(self.folder / "cgroup.procs").strip(), "the group is empty", 10)
            self.folder.rmdir()
        except OSError as error:
            raise BenchError(f"{self.folder} cannot be removed: {error.strerror}") from None


def read_or_empty(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""

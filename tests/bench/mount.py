"""A mount of ours, what its daemon costs, and its end in every case."""

import json
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from model import Model
from origin import Origin, fresh
from places import WEIGHTFS, WORK, environment
from priority import raise_priority
from programs import BenchError, kill, run, wait_until

TICKS = os.sysconf("SC_CLK_TCK")
QUIET_SECONDS = 0.3
SETTLE_SECONDS = 30.0


class Mount:
    """A virtual HF_HOME with an empty cache; both are gone when the stack closes.

    `before` runs first in the process that becomes the command and the daemon.
    """

    def __init__(self, endpoint: str, stack: ExitStack, before: Callable[[], None] | None = None) -> None:
        self.folder = fresh(WORK / "mount")
        self.home, self.cache = self.folder / "home", self.folder / "cache"
        self.home.mkdir()
        self.endpoint, self.before = endpoint, before
        self.pid = 0
        stack.callback(self.remove)

    @classmethod
    def mounted(
        cls, origin: Origin, stack: ExitStack, *options: str, before: Callable[[], None] | None = None
    ) -> "Mount":
        mount = cls(origin.endpoint, stack, before)
        mount.mount(*options)
        return mount

    def environment(self) -> dict[str, str]:
        return environment() | {"WEIGHTFS_RUNTIME_DIRECTORY": str(self.folder / "run")}

    def weightfs(self, *arguments: str | Path, before: Callable[[], None] | None = None) -> str:
        return run([WEIGHTFS, *arguments], self.environment(), before=before)

    def mount(self, *options: str) -> float:
        """Returns how long the command took, which returns when the mount answers."""
        started = time.monotonic()
        place = ["--cache-directory", self.cache, "--hub-endpoint", self.endpoint]
        self.weightfs("mount", self.home, *place, *options, before=self.before)
        seconds = time.monotonic() - started
        (daemon,) = json.loads(self.weightfs("status", "--format", "json"))["daemons"]
        self.pid = daemon["pid"]
        raise_priority(self.pid)
        return seconds

    def umount(self) -> None:
        self.weightfs("umount", self.home)
        self.pid = 0

    def repo(self, model: Model) -> Path:
        return self.home / "hub" / model.cache_folder

    def snapshot(self, model: Model) -> Path:
        """Where the plain id leads; asks the Hub for the commit and the list of files."""
        repo = self.repo(model)
        # In a process of its own, as everything that touches the mount: one that hangs there can be given up.
        commit = run(["cat", repo / "refs" / "main"]).strip()
        return repo / "snapshots" / commit

    def weights(self, model: Model) -> list[Path]:
        """Known to the kernel after this, as to a loader that has looked for them."""
        folder = self.snapshot(model)
        run(["ls", "-lL", folder])
        return [folder / name for name in model.weights]

    def cpu_seconds(self) -> float:
        """User and system time of the daemon so far."""
        # The name may hold blanks; what follows its bracket does not.
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def peak_memory(self) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
        return 0

    def settle(self) -> None:
        """Returns when the daemon has nothing left to do: hashing and writing go on after the last read."""
        deadline = time.monotonic() + SETTLE_SECONDS
        used, since = self.cpu_seconds(), time.monotonic()
        while time.monotonic() - since < QUIET_SECONDS:
            if time.monotonic() > deadline:
                raise BenchError(f"the daemon is still busy after {SETTLE_SECONDS:g} s")
            time.sleep(QUIET_SECONDS / 6)
            now = self.cpu_seconds()
            if now > used + 1 / TICKS:
                used, since = now, time.monotonic()

    def remove(self) -> None:
        pid = self.pid
        try:
            if self.is_mounted():
                self.umount()
        except BenchError:
            self.weightfs("umount", "--lazy", self.home)
            raise
        finally:
            if pid:
                end(pid)
            # Dirty pages go with the files, so that the next measurement does not wait for the disk.
            fresh(self.folder)

    def is_mounted(self) -> bool:
        mounts = Path("/proc/mounts").read_text().splitlines()
        return any(line.split()[1] == str(self.home) for line in mounts)


def end(pid: int) -> None:
    """A daemon ends by itself with its last mount; one that does not is ended."""
    try:
        wait_until(lambda: not is_ours(pid), "the daemon ends with its last mount", 10)
    except BenchError:
        kill(pid)
        raise


def is_ours(pid: int) -> bool:
    """Whether it still runs; a number that was given out again is not ours."""
    try:
        return os.readlink(f"/proc/{pid}/exe").startswith(str(WEIGHTFS))
    except OSError:
        return False


def flag_named(word: str) -> str | None:
    """The flag of `weightfs mount` that has this word in its name, where this build has one."""
    for line in run([WEIGHTFS, "mount", "--help"]).splitlines():
        flag = line.strip().split("[")[0].split(" ")[0]
        if flag.startswith("--") and word in flag:
            return flag
    return None

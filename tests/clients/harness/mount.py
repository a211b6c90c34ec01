"""A mount of the daemon under test, from `weightfs mount` to `weightfs umount`."""

import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.paths import WEIGHTFS
from harness.process import MYSELF, Finished, User, run, run_well
from harness.waiting import wait_until

MOUNT_SECONDS = 30.0
UMOUNT_SECONDS = 30.0
LOG_TAIL_LINES = 60


@dataclass
class Mount:
    """A virtual HF_HOME at `home`; cache, control socket and log lie beside it, below `base`."""

    base: Path
    endpoint: str
    options: Sequence[str] = ()
    user: User = MYSELF
    pids: set[int] = field(default_factory=set)

    @property
    def home(self) -> Path:
        return self.base / "home"

    @property
    def cache(self) -> Path:
        return self.base / "cache"

    def environment(self) -> Mapping[str, str]:
        """Nothing of the runner's own environment but the path: neither a token nor a cache directory of theirs."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.base),
            "WEIGHTFS_RUNTIME_DIRECTORY": str(self.base / "run"),
            "WEIGHTFS_CACHE_DIRECTORY": str(self.cache),
        }

    def weightfs(self, *arguments: str | Path, seconds: float = 30.0) -> Finished:
        return run([WEIGHTFS, *arguments], self.environment(), user=self.user, seconds=seconds)

    def mount(self) -> None:
        """Returns when the mount answers, as the command promises."""
        self.home.mkdir(parents=True, exist_ok=True)
        finished = self.weightfs(
            "mount", self.home, "--cache-directory", self.cache, "--hub-endpoint", self.endpoint, *self.options,
            seconds=MOUNT_SECONDS,
        )
        assert finished.code == 0, f"weightfs mount: {finished}\n{self.log_tail()}"
        self.pids |= {daemon["pid"] for daemon in self.status()["daemons"]}

    def umount(self) -> None:
        finished = self.weightfs("umount", self.home, seconds=UMOUNT_SECONDS)
        assert finished.code == 0, f"weightfs umount: {finished}\n{self.log_tail()}"
        wait_until(lambda: not self.is_mounted(), f"{self.home} is unmounted")

    def remount(self) -> None:
        self.umount()
        self.mount()

    def status(self) -> dict:
        finished = self.weightfs("status", "--format", "json")
        assert finished.code == 0, f"weightfs status: {finished}"
        return json.loads(finished.out)

    def device(self) -> str | None:
        """What /proc/mounts names as the source of the mount."""
        for line in Path("/proc/mounts").read_text().splitlines():
            source, target, *_ = line.split()
            if target == str(self.home):
                return source
        return None

    def is_mounted(self) -> bool:
        return self.device() is not None

    def read_all(self, *paths: Path) -> dict[Path, str]:
        """The sha256 of each file, read through the mount."""
        out = run_well(["sha256sum", *paths], self.environment(), seconds=120)
        hashes = (line.split(maxsplit=1) for line in out.splitlines())
        return {Path(path): digest for digest, path in hashes}

    def log_tail(self) -> str:
        log = self.cache / "weightfs.log"
        if not log.exists():
            return "(the daemon wrote no log)"
        return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])

    def close(self) -> None:
        """Leaves nothing behind, whatever state the mount is in."""
        try:
            if self.is_mounted():
                self.umount()
        except (AssertionError, TimeoutError):
            self.weightfs("umount", "--lazy", self.home)
            raise
        finally:
            self.end_daemons()

    def end_daemons(self) -> None:
        """A daemon ends by itself with its last mount; one that does not is ended, and named as a failure."""
        try:
            wait_until(lambda: not any(map(is_running, self.pids)), "the daemon ends with its last mount")
        finally:
            for pid in filter(is_running, self.pids):
                os.kill(pid, signal.SIGKILL)


def is_running(pid: int) -> bool:
    """Whether it is still our daemon; a number that was given out again is not."""
    try:
        return b"weightfs" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False

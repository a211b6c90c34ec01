"""rclone's mount of plain URLs, as one would start it: its defaults, and a cache on the disk."""

import shutil
from contextlib import ExitStack
from pathlib import Path

from model import Model
from origin import fresh
from places import WORK
from programs import BenchError, Unavailable, run, serve, wait_until


class RcloneMount:
    """A mount with an empty cache; both are gone when the stack closes."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        program = shutil.which("rclone")
        if program is None:
            raise Unavailable("rclone is not installed")
        self.folder = fresh(WORK / "rclone")
        self.home = self.folder / "home"
        self.home.mkdir()
        stack.callback(fresh, self.folder)
        # Ended after the unmount, should that not have ended it.
        options = ["--read-only", "--vfs-cache-mode", "full", "--cache-dir", self.folder / "cache", "--config", ""]
        command = [program, "mount", ":http:", self.home, "--http-url", url, *options]
        self.process = serve(command, self.folder / "output.log", stack)
        stack.callback(self.umount)
        wait_until(lambda: self.is_mounted() or self.process.poll() is not None, "rclone mounts")
        if self.process.poll() is not None:
            raise BenchError(f"rclone ended: {(self.folder / 'output.log').read_text()}")

    def weights(self, model: Model) -> list[Path]:
        folder = self.home / model.name
        run(["ls", "-lL", folder])
        return [folder / name for name in model.weights]

    def is_mounted(self) -> bool:
        return any(line.split()[1] == str(self.home) for line in Path("/proc/mounts").read_text().splitlines())

    def umount(self) -> None:
        if self.is_mounted():
            run(["fusermount3", "-u", "-z", self.home])

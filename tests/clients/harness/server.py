"""A server of models for other machines: `weightfs serve`, from its start to SIGTERM."""

import os
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from harness.paths import WEIGHTFS
from harness.waiting import wait_until

STOP_SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Server:
    """Serves what the Hub at `endpoint` has; cache and log lie below `base`."""

    base: Path
    endpoint: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self.base.mkdir()
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.base),
            "WEIGHTFS_RUNTIME_DIRECTORY": str(self.base / "run"),
            "WEIGHTFS_CACHE_DIRECTORY": str(self.base / "cache"),
            "HF_ENDPOINT": self.endpoint,
        }
        command = [WEIGHTFS, "serve", "--host", "127.0.0.1", "--port", str(self.port)]
        with (self.base / "log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        wait_until(lambda: self.listens() or self.is_gone(), "the server listens")
        assert not self.is_gone(), self.log()

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def is_gone(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def log(self) -> str:
        return (self.base / "log").read_text(errors="replace")

    def stop(self) -> None:
        if self.is_gone():
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

"""A server of models for other machines: `weightfs serve`, from its start to SIGTERM."""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.image import Image
from harness.paths import WEIGHTFS
from harness.process import Background, Finished, run
from harness.waiting import wait_until

STOP_SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Server:
    """Serves what the Hub at `endpoint` has. Cache and log lie below `base`; the cache is in the image where it runs one.
    `variables` are more of its environment."""

    base: Path
    endpoint: str
    image: Image | None = None
    port: int = field(default_factory=free_port)
    variables: Mapping[str, str] = field(default_factory=dict)
    process: Background | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator["Server"]:
        """From its start to its end, whatever happens."""
        try:
            self.start()
            yield self
        finally:
            self.stop()

    def start(self) -> None:
        self.base.mkdir()
        variables = {
            "WEIGHTFS_SERVER_HOST": "127.0.0.1",
            "WEIGHTFS_SERVER_PORT": str(self.port),
            "HF_ENDPOINT": self.endpoint,
            **self.variables,
        }
        if self.image is None:
            command, environment = [WEIGHTFS, "serve"], self.own_environment()
        else:
            command, environment = self.image.command(), self.image.environment({})
        process = self.process = Background(command, self.base / "log", environment | variables)
        wait_until(lambda: self.listens() or process.is_gone(), "the server listens")
        assert not process.is_gone(), process.said()

    def weightfs(self, *words: str) -> Finished:
        """A command of the same program, about this server."""
        words = ("--endpoint", f"http://{self.address}", *words)
        if self.image is None:
            return run([WEIGHTFS, *words], self.own_environment())
        return run(self.image.command(words), self.image.environment({}))

    def own_environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.base),
            "WEIGHTFS_RUNTIME_DIRECTORY": str(self.base / "run"),
            "WEIGHTFS_CACHE_DIRECTORY": str(self.base / "cache"),
        }

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop(STOP_SECONDS)

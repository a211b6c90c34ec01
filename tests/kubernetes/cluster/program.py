"""One of the cluster's programs: it runs until the cluster ends, and its log says why it did not."""

from collections.abc import Callable, Sequence
from pathlib import Path

from cluster.places import ENVIRONMENT, LOGS, PROGRAMS
from harness.process import Background
from harness.waiting import wait_until

STOP_SECONDS = 30.0
TAIL_LINES = 15


class Program:
    """Starts it; `ready` is asked until it says yes."""

    def __init__(self, name: str, *options: str | Path, ready: Callable[[], bool], seconds: float = 120.0) -> None:
        self.name, self.options, self.ready, self.seconds = name, options, ready, seconds
        self.log = LOGS / f"{name}.log"
        self.start()

    def start(self) -> None:
        command: Sequence[str | Path] = [PROGRAMS / self.name, *self.options]
        self.process = Background(command, self.log, ENVIRONMENT)
        try:
            wait_until(lambda: self.process.is_gone() or self.ready(), f"{self.name} is ready", self.seconds)
        except TimeoutError as late:
            raise TimeoutError(f"{late}\n{self.tail()}") from None
        assert not self.process.is_gone(), self.tail()

    def stop(self) -> None:
        self.process.stop(STOP_SECONDS)

    def tail(self) -> str:
        return "\n".join([f"{self.log} ends with", *self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]])

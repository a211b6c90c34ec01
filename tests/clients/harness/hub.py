"""The Hub stand-in as a process, and its log of requests. What it can do is said in tests/hub/src/lib.rs."""

import json
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.paths import TEST_HUB
from harness.process import Background
from harness.repositories import repository
from harness.waiting import wait_until

START_SECONDS = 60.0  # it hashes what it serves
STOP_SECONDS = 10.0
DAEMON_AGENT = "weightfs/"


@dataclass(frozen=True)
class Request:
    """One request as the stand-in saw it; `host` is hub or cdn, `bytes` of body were sent."""

    host: str
    target: str
    method: str
    path: str
    range: str | None
    status: int | None
    bytes: int
    user_agent: str

    @property
    def of_daemon(self) -> bool:
        return self.user_agent.startswith(DAEMON_AGENT)

    @property
    def is_data(self) -> bool:
        """Content of a file, from whichever host."""
        return self.target in ("resolve", "cdn") and self.method == "GET" and self.status in (200, 206)


@dataclass(frozen=True)
class RequestLog:
    requests: Sequence[Request]

    def of_clients(self) -> list[Request]:
        return [request for request in self.requests if not request.of_daemon]

    def data_bytes(self, path_part: str = "") -> int:
        return sum(request.bytes for request in self.requests if request.is_data and path_part in request.path)


@dataclass
class Hub:
    """Serves acme/NAME for each of `names`; `options` are of its program."""

    root: Path
    names: Sequence[str]
    options: Sequence[str] = ()
    url: str = ""
    process: Background | None = None
    last_log: list[Request] = field(default_factory=list)

    def start(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        port_file = self.root / "ports"
        repos = [f"--repo=acme/{name}={repository(name)}" for name in self.names]
        command = [TEST_HUB, *repos, *self.options, "--print-json", "--port-file", port_file]
        process = self.process = Background(command, self.root / "hub.log")
        wait_until(lambda: port_file.exists() or process.is_gone(), "the stand-in answers", START_SECONDS)
        assert not process.is_gone(), process.said()
        self.url = json.loads(port_file.read_text())["endpoint"]

    def is_gone(self) -> bool:
        return self.process is None or self.process.is_gone()

    def stop(self) -> None:
        """From here on nobody answers; what was asked before can still be looked at."""
        if self.process is not None and not self.process.is_gone():
            self.last_log = self.requests()
            self.process.stop(STOP_SECONDS)

    def requests(self) -> list[Request]:
        if self.is_gone():
            return self.last_log
        return [as_request(record) for record in self.admin("GET", "log")]

    def mark(self) -> int:
        """A point in time, for `since`."""
        return len(self.requests())

    def since(self, mark: int) -> RequestLog:
        return RequestLog(self.requests()[mark:])

    def push(self, name: str, files: dict[str, str]) -> str:
        """A new commit on main of acme/NAME: all that its folder holds, with these texts added or replaced."""
        body = {"repo": f"acme/{name}", "from_dir": str(repository(name)), "files": files}
        return self.admin("POST", "commit", body)["commit"]

    def admin(self, method: str, what: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_hub/{what}", data, method=method)
        with urllib.request.urlopen(request, timeout=START_SECONDS) as answer:
            return json.load(answer)


def as_request(record: dict) -> Request:
    names = Request.__dataclass_fields__
    return Request(**{name: record[name] for name in names} | {"user_agent": record["user_agent"] or ""})

"""Where bytes come from: the Hub stand-in, and one of two CDNs that both sides of a comparison ask.

`unlimited`: nginx on loopback, the fastest server there is. `line`: the stand-in's own CDN, with the latency and the
bandwidth of a real one. The URLs the Hub signs lead to either; nginx takes no notice of the signature.
"""

import hashlib
import json
import os
import shutil
import socket
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from model import SHARDED, WHOLE, Model
from places import MODELS, TEST_HUB, WORK
from programs import Unavailable, serve, wait_until

LATENCY_MS = 20
CONNECTION_BYTES_PER_SECOND = 200_000_000
LINE_BYTES_PER_SECOND = 400_000_000
"""Of all together: what two cores can still serve, receive and hand on, so that the network is the limit."""

OUR_AGENT = "weightfs/"

NGINX = """
worker_processes 2;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
{user}
http {{
    log_format line escape=json
        '{{"agent":"$http_user_agent","bytes":$body_bytes_sent,"end":$msec,"seconds":$request_time}}';
    access_log {folder}/access.log line;
    client_body_temp_path {folder}/temporary; proxy_temp_path {folder}/temporary;
    fastcgi_temp_path {folder}/temporary; uwsgi_temp_path {folder}/temporary; scgi_temp_path {folder}/temporary;
    sendfile on; tcp_nodelay on; keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{port};
        location /repos/ {{ root {folder}; }}
        location /plain/ {{ alias {models}/; autoindex on; }}
    }}
}}
"""


@dataclass
class Nginx:
    """Serves LFS objects by their hash, as the Hub's CDN, and the models' plain folders."""

    folder: Path
    url: str

    @classmethod
    def start(cls, stack: ExitStack) -> "Nginx":
        program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            raise Unavailable("nginx is not installed")
        folder = fresh(WORK / "nginx")
        link_objects(folder)
        port = free_port()
        user = "user root;" if os.geteuid() == 0 else ""
        text = NGINX.format(folder=folder, port=port, user=user, models=MODELS / "models" / "bench")
        (folder / "nginx.conf").write_text(text)
        command = [program, "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf", "-g", "daemon off;"]
        serve(command, folder / "output.log", stack)
        wait_until(lambda: answers(port), "nginx answers")
        return cls(folder, f"http://127.0.0.1:{port}")

    def requests(self) -> list[dict]:
        return [json.loads(line) for line in (self.folder / "access.log").read_text().splitlines()]

    def forget(self) -> None:
        # nginx appends, so that it goes on at the new end.
        os.truncate(self.folder / "access.log", 0)


def link_objects(folder: Path) -> None:
    for model in (WHOLE, SHARDED):
        for path in model.local():
            with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
                digest = hashlib.sha256(content).hexdigest()
            target = folder / "repos" / digest[:2] / digest[2:4] / digest
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)


class Origin:
    """A Hub with its CDN."""

    def __init__(self, name: str, stack: ExitStack, nginx: Nginx | None = None) -> None:
        self.nginx = nginx
        folder = fresh(WORK / f"hub-{name}")
        port_file = folder / "ports"
        cdn = [] if nginx is None else ["--cdn-url", nginx.url]
        process = serve(
            [TEST_HUB, "--root", MODELS, "--print-json", "--port-file", port_file, *cdn], folder / "output.log", stack
        )
        wait_until(lambda: port_file.exists() or process.poll() is not None, "the Hub stand-in answers")
        self.endpoint = json.loads(port_file.read_text())["endpoint"]

    @classmethod
    def unlimited(cls, stack: ExitStack) -> "Origin":
        return cls("unlimited", stack, Nginx.start(stack))

    @classmethod
    def line(cls, stack: ExitStack) -> "Origin":
        """As a data centre sees the Hub: every request waits, a connection is slow, and the line has an end."""
        origin = cls("line", stack)
        shape = {"target": "cdn", "bandwidth": CONNECTION_BYTES_PER_SECOND}
        rules = [{"name": "latency", "latency_ms": LATENCY_MS}, {"name": "connection", **shape}]
        origin.admin("PUT", "faults", {"rules": rules})
        origin.admin("PUT", "options", {"link_bandwidth": LINE_BYTES_PER_SECOND})
        return origin

    def urls(self, model: Model) -> list[str]:
        return [f"{self.endpoint}/{model.id}/resolve/main/{name}" for name in model.weights]

    def plain_url(self) -> str:
        """A folder for each model, for programs that do not know the Hub."""
        if self.nginx is None:
            raise Unavailable("only nginx serves plain folders")
        return f"{self.nginx.url}/plain/"

    def forget(self) -> None:
        """From here on `fetched` counts."""
        self.admin("DELETE", "log")
        if self.nginx:
            self.nginx.forget()

    def fetched(self) -> int:
        """Bytes of files that weightfs was sent; what it asked for and dropped counts as far as it was sent."""
        data = [record for record in self.admin("GET", "log") if record["blob"] and record["status"] in (200, 206)]
        ours = [record["bytes"] for record in data if (record["user_agent"] or "").startswith(OUR_AGENT)]
        if self.nginx:
            ours += [record["bytes"] for record in self.nginx.requests() if record["agent"].startswith(OUR_AGENT)]
        return sum(ours)

    def connections(self) -> int | None:
        """The most requests of weightfs that nginx answered at once; the stand-in's log does not tell."""
        if self.nginx is None:
            return None
        steps = []
        for record in self.nginx.requests():
            if record["agent"].startswith(OUR_AGENT):
                steps += [(record["end"] - record["seconds"], 1), (record["end"], -1)]
        most = running = 0
        for _, step in sorted(steps):
            running += step
            most = max(most, running)
        return most

    def admin(self, method: str, what: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.endpoint}/_hub/{what}", data, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0

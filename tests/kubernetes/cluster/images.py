"""Images made of files, without a registry: archives as `docker save` writes them."""

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.paths import ROOT

PAUSE = "test/pause:1"
CLIENT = "test/client:1"


@dataclass
class Layer:
    """The one layer of an image."""

    buffer: io.BytesIO = field(default_factory=io.BytesIO)

    def __post_init__(self) -> None:
        self.tar = tarfile.open(fileobj=self.buffer, mode="w")

    def folder(self, path: str, mode: int = 0o755) -> None:
        self.add(path, tarfile.DIRTYPE, mode)

    def link(self, path: str, target: str) -> None:
        self.add(path, tarfile.SYMTYPE, 0o777, target)

    def program(self, path: str, content: bytes) -> None:
        self.add(path, tarfile.REGTYPE, 0o755, content=content)

    def add(self, path: str, kind: bytes, mode: int, target: str = "", content: bytes = b"") -> None:
        entry = tarfile.TarInfo(path)
        entry.type, entry.mode, entry.linkname, entry.size = kind, mode, target, len(content)
        self.tar.addfile(entry, io.BytesIO(content))


def write(archive: Path, name: str, layer: Layer, entrypoint: Sequence[str]) -> Path:
    layer.tar.close()
    content = layer.buffer.getvalue()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": list(entrypoint)},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]},
        }
    ).encode()
    members = {"layer.tar": content, "config.json": config}
    members["manifest.json"] = json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(archive, "w") as tar:
        for path, data in members.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return archive


def pause(folder: Path) -> Path:
    """What holds a pod's namespaces."""
    program = folder / "pause"
    subprocess.run(["cc", "-static", "-Os", "-o", program, ROOT / "tests" / "kubernetes" / "pause.c"], check=True)
    layer = Layer()
    layer.program("pause", program.read_bytes())
    return write(folder / "pause.tar", PAUSE, layer, ["/pause"])


def client(folder: Path) -> Path:
    """The places of a distribution, for this machine's /usr to be mounted in: its Python, and the clients of tests/clients."""
    layer = Layer()
    for path in ["usr", "proc", "sys", "dev", "etc"]:
        layer.folder(path)
    layer.folder("tmp", 0o1777)
    for path in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"]:
        layer.link(path, f"usr/{path}")
    return write(folder / "client.tar", CLIENT, layer, ["/usr/bin/env"])

"""The container image that `make image` wrote, unpacked and run as a container platform runs it, without one."""

import json
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.paths import TARGET

ARCHIVE = TARGET / "image" / "weightfs.tar"

# Mounts of its own, and all else is this machine's: who is told to end is the program itself. Root's rights go with its uid.
RUN = """
mount --rbind /proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot --userspec="$1" "$0" "${@:2}"
"""


@dataclass(frozen=True)
class Image:
    """Its files, and what its configuration says of running it."""

    root: Path
    config: Mapping

    @classmethod
    def unpack(cls, archive: Path, root: Path) -> "Image":
        root.mkdir()
        with tarfile.open(archive) as image:
            [manifest] = json.load(member(image, "manifest.json"))
            config = json.load(member(image, manifest["Config"]))["config"]
            for layer in manifest["Layers"]:
                # Modes as they are, which Python's own unpacking changes or keeps depending on its version.
                subprocess.run(["tar", "-xpC", root], input=member(image, layer).read(), check=True)
        return cls(root, config)

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        return dict(pair.split("=", 1) for pair in self.config["Env"]) | dict(variables)

    def command(self, words: Sequence[str] | None = None) -> list[str]:
        """`words` for its entry point, or its own; by its own user."""
        words = self.config["Cmd"] if words is None else words
        run = ["bash", "-c", RUN, str(self.root), self.config["User"], *self.config["Entrypoint"], *words]
        return ["unshare", "--mount", *run]


def member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    found = archive.extractfile(name)
    assert found is not None, f"the image's archive has no {name}"
    return found

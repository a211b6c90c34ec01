"""What the node has of ours, as its kernel tells: we are in its namespaces."""

from pathlib import Path

from cluster.places import KUBELET
from cluster.pods import DRIVER


def mounts() -> list[str]:
    """The places of FUSE mounts of weightfs, their bind mounts into pods included."""
    lines = [line.split(" ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [fields[4] for fields in lines if fields[fields.index("-") + 1].startswith("fuse")]


def mounts_of_pods() -> list[str]:
    return [place for place in mounts() if place.startswith(f"{KUBELET}/pods/")]


def mounts_of_daemon() -> list[str]:
    return [place for place in mounts() if place.startswith(f"{KUBELET}/plugins/{DRIVER}/")]


def processes(program: str) -> list[int]:
    """Of that command line; those in containers are seen too."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if words.startswith(program):
            found.append(int(folder.name))
    return found

"""What the node has of ours, as its kernel tells: we are in its namespaces."""

import os
import signal
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


def kill(*programs: str) -> None:
    """The one process of each, without a chance to tidy up; all before the first is missed."""
    found = [processes(program) for program in programs]
    assert all(len(each) == 1 for each in found), f"{programs}: {found}"
    for [process] in found:
        os.kill(process, signal.SIGKILL)


def processes(program: str) -> list[int]:
    """Whose command line begins with that; those in containers are seen too."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if words.startswith(program):
            found.append(int(folder.name))
    return found

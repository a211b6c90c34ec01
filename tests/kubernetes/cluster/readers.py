"""Pods that read without end, each in a way of its own, while something happens to what they read from."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.places import SIGNALS
from cluster.pods import Claim, Inline, NewPod, Pod
from harness.repositories import sha256_of_files

WAYS = ["sequential", "jumping", "mapped", "opening"]
Sums = dict[str, dict]


def sums(folder: Path) -> Sums:
    """What read.py compares with. An empty file cannot be mapped."""
    known = {path: {"sha256": sha256, "size": (folder / path).stat().st_size} for path, sha256 in sha256_of_files(folder).items()}
    return {path: file for path, file in known.items() if file["size"] > 0}


@dataclass(frozen=True)
class Model:
    """`folder` of `volume` is to have `known`."""

    name: str
    volume: Inline | Claim
    folder: str
    known: Sums

    def reader(self, pod: NewPod, way: str) -> Pod:
        return pod(f"{way}-{self.name}", self.volume, "read.py", way, self.folder, json.dumps(self.known), str(SIGNALS))


def files_read(reader: Pod) -> int:
    counted = SIGNALS / f"{reader.name}.files"
    return int(counted.read_text()) if counted.exists() else 0


def no_signals() -> None:
    """For pods that start from now on."""
    shutil.rmtree(SIGNALS)
    SIGNALS.mkdir()


class Readers:
    """Each of its models is read in each way."""

    def __init__(self) -> None:
        no_signals()
        self.pods: list[Pod] = []

    def add(self, pod: NewPod, model: Model, ways: Sequence[str] = WAYS) -> None:
        """Ends when each of them has read a file."""
        self.pods += [model.reader(pod, way) for way in ways]
        self.wait(lambda pod: files_read(pod) > 0, "has read a file")

    def read_on(self) -> None:
        """Each of them reads two more files: one may have been under way."""
        read = {pod.name: files_read(pod) for pod in self.pods}
        self.wait(lambda pod: files_read(pod) >= read[pod.name] + 2, "reads on")

    def wait(self, done: Callable[[Pod], bool], what: str) -> None:
        for pod in self.pods:
            pod.wait_until(lambda pod=pod: done(pod) or pod.has_ended(), what)
            assert done(pod), f"{pod.name} has ended:\n{pod.said()}"

    def end(self) -> dict[str, dict]:
        """What each of them has read; fails if any of them has seen an error."""
        (SIGNALS / "stop").touch()
        return {pod.name: pod.answer() for pod in self.pods}

"""A pod's program: reads files again and again in one way until it is told to end, and fails at the first error or wrong byte.

    read.py HOW FOLDER SUMS SIGNALS     SUMS: JSON, path below FOLDER to {"sha256", "size"}

How many files it has read is in SIGNALS/POD.files; SIGNALS/stop ends it. Before it reads a file, the kernel is told to forget its
pages, so that the daemon is asked again."""

import hashlib
import json
import mmap
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PIECE = 1 << 20


def sequential(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        forget(file)
        while piece := file.read(PIECE):
            yield piece


def jumping(path: Path, size: int) -> Iterator[bytes]:
    starts = range(0, size, PIECE)
    found = {}
    with path.open("rb") as file:
        forget(file)
        for start in random.sample(starts, len(starts)):
            file.seek(start)
            found[start] = file.read(PIECE)
    yield from (found[start] for start in starts)


def mapped(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        forget(file)
        with mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as memory:
            for start in range(0, size, PIECE):
                yield memory[start : start + PIECE]


def opening(path: Path, size: int) -> Iterator[bytes]:
    """Lists the folder and opens the file anew for each piece, as many small programs would."""
    for start in range(0, size, PIECE):
        assert path.name in os.listdir(path.parent), f"{path} is not listed"
        with path.open("rb") as file:
            forget(file)
            file.seek(start)
            yield file.read(PIECE)


def forget(file) -> None:
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


HOW = {"sequential": sequential, "jumping": jumping, "mapped": mapped, "opening": opening}


def compare(how: str, path: Path, size: int, sha256: str) -> None:
    digest = hashlib.sha256()
    for piece in HOW[how](path, size):
        digest.update(piece)
    assert digest.hexdigest() == sha256, f"{path} is {digest.hexdigest()}, not {sha256}"


def tell(counter: Path, files: int) -> None:
    """Whoever looks sees the old number or the new one."""
    unfinished = counter.with_suffix(".unfinished")
    unfinished.write_text(str(files))
    unfinished.rename(counter)


def main() -> None:
    how, folder, sums, signals = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]), Path(sys.argv[4])
    files, slowest = 0, 0.0
    while not (signals / "stop").exists():
        name, known = random.choice(list(sums.items()))
        began = time.monotonic()
        compare(how, folder / name, known["size"], known["sha256"])
        slowest = max(slowest, time.monotonic() - began)
        files += 1
        tell(signals / f"{os.environ['POD']}.files", files)
    print(json.dumps({"files": files, "slowest": round(slowest, 2)}))


main()

"""A pod's program: reads the files of a folder again and again in one way, and compares each byte with what it was told, until
it is told to end. Any error ends it as a failure. It prints how far it has come.

    read.py HOW FOLDER SUMS SIGNALS     SUMS: JSON, path to {"sha256", "size"}

SIGNALS/POD.ready is written after the first file, SIGNALS/stop ends it. Between two passes it has the kernel forget the file's pages,
so that the daemon is asked again."""

import hashlib
import json
import mmap
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PIECE = 1 << 20
RANDOM_PIECES = 64


def sequential(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while piece := file.read(PIECE):
            yield piece


def mapped(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if size == 0:
            return
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
            for start in range(0, size, PIECE):
                yield memory[start : start + PIECE]


def opening(path: Path, size: int) -> Iterator[bytes]:
    """Lists and opens anew for each piece, as many small programs do."""
    for start in range(0, size, PIECE):
        assert path.name in os.listdir(path.parent), f"{path} is not listed"
        with path.open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), start, PIECE, os.POSIX_FADV_DONTNEED)
            file.seek(start)
            yield whole(file, min(PIECE, size - start))


def whole(file, size: int) -> bytes:
    pieces = []
    while size > 0 and (piece := file.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def jumping(path: Path, size: int, sha256: str, remembered: dict) -> int:
    """Pieces in any order. The first time a file is read whole and compared; later each piece has to be the same."""
    if path not in remembered:
        pieces = list(sequential_pieces(path, size))
        digest = hashlib.sha256(b"".join(pieces)).hexdigest()
        assert digest == sha256, f"{path} is {digest}, not {sha256}"
        remembered[path] = [hashlib.sha256(piece).digest() for piece in pieces]
    sums = remembered[path]
    with path.open("rb", buffering=0) as file:
        for number in random.choices(range(len(sums)), k=min(RANDOM_PIECES, len(sums))) if sums else []:
            os.posix_fadvise(file.fileno(), number * PIECE, PIECE, os.POSIX_FADV_DONTNEED)
            file.seek(number * PIECE)
            piece = whole(file, PIECE)
            assert hashlib.sha256(piece).digest() == sums[number], f"{path}: piece {number} is another one"
    return size


def sequential_pieces(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        for start in range(0, size, PIECE):
            yield whole(file, min(PIECE, size - start))


def hashed(pieces: Callable[[Path, int], Iterator[bytes]], path: Path, size: int, sha256: str) -> int:
    digest, read = hashlib.sha256(), 0
    for piece in pieces(path, size):
        digest.update(piece)
        read += len(piece)
    assert read == size, f"{path} has {read} bytes, not {size}"
    assert digest.hexdigest() == sha256, f"{path} is {digest.hexdigest()}, not {sha256}"
    return read


HOW = {"sequential": sequential, "mapped": mapped, "opening": opening}


def main() -> None:
    how, folder, sums, signals = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]), Path(sys.argv[4])
    remembered: dict = {}
    files, read, slowest = 0, 0, 0.0
    while not (signals / "stop").exists():
        for name, known in sums.items():
            began = time.monotonic()
            path = folder / name
            if how == "random":
                read += jumping(path, known["size"], known["sha256"], remembered)
            else:
                read += hashed(HOW[how], path, known["size"], known["sha256"])
            files += 1
            slowest = max(slowest, time.monotonic() - began)
            (signals / f"{os.environ['POD']}.files").write_text(str(files))
            if (signals / "stop").exists():
                break
    print(json.dumps({"files": files, "bytes": read, "slowest": round(slowest, 2)}))


main()

"""Keeps other work on the machine out of the figures, as far as it lets us.

The scheduler shares the processor by session first, so that a nice value counts only inside one: without this the
figures of a busy machine show its other users. Root only; elsewhere the machine has to be quiet.
"""

from contextlib import contextmanager
from pathlib import Path

HIGHEST = "-20"


def raise_priority(pid: int) -> None:
    """Of the whole session of this process: a daemon has its own."""
    set_nice(pid, HIGHEST)


@contextmanager
def raised_session():
    """Our own session and the programs that we start in it; given back at the end, for it is the terminal's."""
    before = nice_of_session()
    if before is None:
        yield
        return
    set_nice("self", HIGHEST)
    try:
        yield
    finally:
        set_nice("self", before)


def nice_of_session() -> str | None:
    try:
        return Path("/proc/self/autogroup").read_text().split()[-1]
    except OSError:
        return None


def set_nice(pid: int | str, nice: str) -> None:
    try:
        Path(f"/proc/{pid}/autogroup").write_text(nice)
    except OSError:
        pass

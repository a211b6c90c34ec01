"""Running other programs, always with a deadline; servers end with the run, whatever ends it."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from places import PROBE, environment

COMMAND_SECONDS = 60.0
READ_SECONDS = 300.0
STOP_SECONDS = 10.0
PAUSE_SECONDS = 0.02


class BenchError(Exception):
    """What went wrong, for the person who reads it."""


class Unavailable(BenchError):
    """This machine lacks something; the rest can be measured all the same."""


@dataclass(frozen=True)
class Probed:
    """One line of the probe, see probe/src/main.rs."""

    seconds: float
    bytes: int
    cpu_seconds: float
    resident_bytes: int | None = None
    sha256: list[str] | None = None


def run(
    command: Sequence[str | Path],
    env: Mapping[str, str] | None = None,
    seconds: float = COMMAND_SECONDS,
    before: Callable[[], None] | None = None,
) -> str:
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            env=dict(env or environment()),
            timeout=seconds,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=before,
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"{' '.join(words)} did not end within {seconds:g} s") from None
    if done.returncode != 0:
        raise BenchError(f"{' '.join(words)} failed ({done.returncode}):\n{done.stderr.strip()}")
    return done.stdout


def probe(*arguments: str | Path | int) -> Probed:
    return Probed(**json.loads(run([PROBE, *map(str, arguments)], seconds=READ_SECONDS)))


def serve(command: Sequence[str | Path], log: Path, stack: ExitStack) -> subprocess.Popen:
    """Started here, ended with the stack. A Ctrl-C reaches only us: mounts need their servers until they are gone."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=os.setpgrp,
        )
    stack.callback(stop, process)
    return process


def stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def wait_until(is_so: Callable[[], bool], what: str, seconds: float = COMMAND_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise BenchError(f"not within {seconds:g} s: {what}")
        time.sleep(PAUSE_SECONDS)


def cool(*files: Path) -> None:
    """Nothing of these files stays in memory; said out loud where that cannot be had."""
    left = probe("cool", *files).resident_bytes
    if left:
        raise BenchError(f"{left} bytes of {', '.join(map(str, files))} stay in memory")


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass

"""Running other programs, as ourselves or as an ordinary user, always with a deadline.

Whatever touches the mount runs in a process of its own: one that hangs there can be given up, the runner could not.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

# `nobody`: fusermount3 mounts only for users that have a name.
ORDINARY_UID = 65534


@dataclass(frozen=True)
class User:
    """Who runs a program. `None` as uid: whoever runs the tests."""

    uid: int | None = None

    def command(self, command: Sequence[str]) -> list[str]:
        if self.uid is None:
            return list(command)
        # The shell executes after the capabilities are gone; setpriv itself would still have them.
        drop = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"]
        return [*drop, "sh", "-c", 'exec "$@"', "sh", *command]


MYSELF = User()
ORDINARY = User(ORDINARY_UID)


def is_root() -> bool:
    return os.geteuid() == 0


def require_ordinary_user(*programs: Path) -> None:
    """Skips where we cannot become another user, or where that one cannot reach the programs."""
    if not is_root():
        pytest.skip("only root can become another user")
    for program in programs:
        reach = ORDINARY.command(["test", "-x", str(program)])
        if subprocess.run(reach, check=False).returncode != 0:
            pytest.skip(f"an ordinary user cannot reach {program}; is the repository below a private folder?")


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


def run(
    command: Sequence[str | Path],
    env: Mapping[str, str],
    user: User = MYSELF,
    seconds: float = 120.0,
    cwd: Path = Path("/"),
    text: str | None = None,
) -> Finished:
    """`text` is what it reads from its standard input."""
    words = user.command([str(word) for word in command])
    process = subprocess.Popen(
        words,
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = process.communicate(text, timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        # Not awaited for ever: a process stuck in the kernel does not die before the mount does.
        raise TimeoutError(f"{words} did not end within {seconds:g} s") from None
    return Finished(process.returncode, out, err)


def run_well(command: Sequence[str | Path], env: Mapping[str, str], **options) -> str:
    finished = run(command, env, **options)
    assert finished.code == 0, f"{' '.join(map(str, command))}\n{finished}"
    return finished.out


class Background:
    """A program that runs beside the test until it is told to end; `log` gets what it prints."""

    def __init__(self, command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as output:
            words = [str(word) for word in command]
            self.process = subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def is_gone(self) -> bool:
        return self.process.poll() is not None

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self, seconds: float) -> None:
        """By SIGTERM; by force, and as a failure, where that does not help."""
        if self.is_gone():
            return
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

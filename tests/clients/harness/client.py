"""The clients: Python code in the environment of one version, or a program, with the environment of its user."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.paths import venv_bin
from harness.process import MYSELF, Finished, User, run, run_well


@dataclass(frozen=True)
class Client:
    """Someone who works with an HF_HOME against a Hub."""

    home: Path
    endpoint: str
    scratch: Path
    venv: str = "main"
    offline: bool = False
    user: User = MYSELF

    def environment(self) -> dict[str, str]:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.scratch),
            "TMPDIR": str(self.scratch),
            "HF_HOME": str(self.home),
            "HF_ENDPOINT": self.endpoint,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if self.offline:
            env["HF_HUB_OFFLINE"] = "1"
        return env

    def python(self, code: str, *arguments: str | Path, seconds: float = 120.0) -> Any:
        """Runs the code; what it prints last is its answer, as JSON."""
        command = [venv_bin(self.venv), "-c", code, *arguments]
        out = run_well(command, self.environment(), user=self.user, seconds=seconds)
        return json.loads(out.splitlines()[-1])

    def program(self, *command: str | Path, seconds: float = 120.0) -> Finished:
        return run(list(command), self.environment(), user=self.user, seconds=seconds)

    def hf(self, *arguments: str, seconds: float = 120.0) -> Finished:
        return self.program(venv_bin(self.venv, "hf"), *arguments, seconds=seconds)

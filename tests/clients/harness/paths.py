"""Where the programs under test and the built clients are."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TARGET = ROOT / "target"
CLIENTS = TARGET / "debug"

# To try another build, for instance a release.
WEIGHTFS = Path(os.environ.get("WEIGHTFS_BINARY", TARGET / "debug" / "weightfs"))
TEST_HUB = Path(os.environ.get("TEST_HUB_BINARY", TARGET / "debug" / "test-hub"))


def venv_bin(venv: str, program: str = "python") -> Path:
    return TARGET / "venv" / venv / "bin" / program

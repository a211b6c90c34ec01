"""Where things are: the programs that were built, and the folder that the benchmark works in."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "target" / "bench"
"""On the disk that is measured; a run leaves only the models here, for the next one."""

PROGRAMS = WORK / "bin"
WEIGHTFS = PROGRAMS / "weightfs"
TEST_HUB = PROGRAMS / "test-hub"
PROBE = PROGRAMS / "bench-probe"
PYTHON = ROOT / "target" / "venv" / "main" / "bin" / "python"

MODELS = WORK / "models"
"""As the Hub stand-in reads them: models/ORG/NAME below it."""
RESULTS = WORK / "results.json"


def environment() -> dict[str, str]:
    """Nothing of the caller's but the path: neither a token, a proxy nor settings of theirs."""
    return {"PATH": os.environ["PATH"], "HOME": str(WORK), "LC_ALL": "C.UTF-8"}

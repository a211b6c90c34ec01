"""A worker or a frontend of Dynamo, as far as it resolves its model: the runtime as it is published, in a pod's
environment."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.paths import venv_bin
from harness.process import MYSELF, Finished, User, run

# Longer than the runtime takes to give up a service that does not answer.
SECONDS = 120.0

# A backend asks for everything, a frontend for all but the weights.
FETCH = """
import asyncio, json, sys
from dynamo.llm import fetch_model

async def fetch():
    return await fetch_model(sys.argv[1], ignore_weights=sys.argv[2] == "frontend")

print(json.dumps(str(asyncio.run(fetch()))))
"""

ADAPTER = """
import asyncio, json, sys
from dynamo.llm import LoRADownloader

async def fetch():
    return await LoRADownloader(sys.argv[1]).download_if_needed(sys.argv[2])

print(json.dumps(str(asyncio.run(fetch()))))
"""

READ = """
import hashlib, json, sys
from pathlib import Path
folder = Path(sys.argv[1])
files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
print(json.dumps({name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}))
"""


@dataclass(frozen=True)
class Pod:
    """Its `home` is its own; `variables` are what a manifest sets."""

    home: Path
    endpoint: str
    variables: dict[str, str] = field(default_factory=dict)
    user: User = MYSELF

    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), "HF_ENDPOINT": self.endpoint, **self.variables}

    def python(self, code: str, *arguments: str | Path) -> Finished:
        self.home.mkdir(exist_ok=True)
        if self.user.uid is not None:
            shutil.chown(self.home, self.user.uid, self.user.uid)
        return run([venv_bin("dynamo"), "-c", code, *arguments], self.environment(), self.user, SECONDS)

    def answer(self, code: str, *arguments: str | Path) -> Any:
        """What the code prints last, as JSON."""
        finished = self.python(code, *arguments)
        assert finished.code == 0, finished
        return json.loads(finished.out.splitlines()[-1])

    def tries(self, model: str) -> Finished:
        return self.python(FETCH, model, "worker")

    def fetch(self, model: str, part: str = "worker") -> Path:
        """Where the runtime says that the model is."""
        return Path(self.answer(FETCH, model, part))

    def fetch_adapter(self, uri: str) -> Path:
        """Where the runtime says that a LoRA adapter is."""
        return Path(self.answer(ADAPTER, self.home / "adapters", uri))

    def read(self, folder: Path) -> dict[str, str]:
        """The sha256 of each file below it."""
        return self.answer(READ, folder)

    def load(self, model: str) -> dict[str, str]:
        return self.read(self.fetch(model))


def load_at_once(pods: list[Pod], model: str) -> list[dict[str, str]]:
    with ThreadPoolExecutor(len(pods)) as pool:
        return list(pool.map(lambda pod: pod.load(model), pods))

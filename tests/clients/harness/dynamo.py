"""A worker or a frontend of Dynamo, as far as it resolves its model: the runtime as it is published, in a pod's
environment."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from harness.paths import venv_bin
from harness.process import Finished, run, run_well

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

    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), "HF_ENDPOINT": self.endpoint, **self.variables}

    def tries(self, model: str, part: str = "worker") -> Finished:
        self.home.mkdir(exist_ok=True)
        return run([venv_bin("dynamo"), "-c", FETCH, model, part], self.environment(), seconds=SECONDS)

    def fetch(self, model: str, part: str = "worker") -> Path:
        """Where the runtime says that the model is."""
        finished = self.tries(model, part)
        assert finished.code == 0, finished
        return Path(json.loads(finished.out.splitlines()[-1]))

    def fetch_adapter(self, uri: str) -> Path:
        """Where the runtime says that a LoRA adapter is."""
        command = [venv_bin("dynamo"), "-c", ADAPTER, self.home / "adapters", uri]
        return Path(json.loads(run_well(command, self.environment(), seconds=SECONDS).splitlines()[-1]))

    def read(self, folder: Path) -> dict[str, str]:
        """The sha256 of each file below it."""
        return json.loads(run_well([venv_bin("dynamo"), "-c", READ, folder], self.environment(), seconds=SECONDS))

    def load(self, model: str) -> dict[str, str]:
        return self.read(self.fetch(model))


def load_at_once(pods: list[Pod], model: str) -> list[dict[str, str]]:
    with ThreadPoolExecutor(len(pods)) as pool:
        return list(pool.map(lambda pod: pod.load(model), pods))

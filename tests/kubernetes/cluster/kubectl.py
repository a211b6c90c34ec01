"""kubectl with a deadline."""

import json
from typing import Any

from cluster.places import ENVIRONMENT, KUBECTL
from harness.process import Finished, run, run_well

SECONDS = 60.0


def kubectl(*words: str, seconds: float = SECONDS) -> str:
    """What it prints; fails if it does."""
    return run_well([KUBECTL, *words], ENVIRONMENT, seconds=seconds)


def asked(*words: str) -> Finished:
    return run([KUBECTL, "--request-timeout=10s", *words], ENVIRONMENT, seconds=SECONDS)


def succeeds(*words: str) -> bool:
    return asked(*words).code == 0


def get(*words: str) -> Any:
    return json.loads(kubectl("get", *words, "--output=json"))


def apply(*objects: dict) -> None:
    everything = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    run_well([KUBECTL, "apply", "--filename=-"], ENVIRONMENT, seconds=SECONDS, text=everything)

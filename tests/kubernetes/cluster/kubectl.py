"""kubectl, with deadlines."""

import json
from collections.abc import Callable
from typing import Any

from cluster.places import ENVIRONMENT, KUBECTL
from harness.process import Finished, run, run_well
from harness.waiting import wait_until

SECONDS = 60.0
# How long what the cluster does may take, and how often it is asked: each question is a process.
PATIENCE = 120.0
STEP = 0.3


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


def wait_for(condition: Callable[[], bool], what: str) -> None:
    wait_until(condition, what, PATIENCE, STEP)

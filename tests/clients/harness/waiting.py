"""Waits end with what they wait for, or with a deadline; nothing sleeps for a fixed time and hopes."""

import time
from collections.abc import Callable

STEP = 0.02


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 10.0, step: float = STEP) -> None:
    """`step` is for conditions that cost something to look at."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(step)

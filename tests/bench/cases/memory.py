"""Eight shards read at once by a daemon that may have 256 MiB, what it keeps of its cache files in memory included."""

from contextlib import ExitStack

from cases.cold import PATTERNS, cold
from cgroup import MemoryLimit
from comparison import Case, Measurement, Side, Suite, speed_at_least
from model import SHARDED
from origin import Origin
from programs import BenchError

LIMIT_BYTES = 256 << 20


def limited(origin: Origin) -> Measurement:
    with ExitStack() as stack:
        limit = MemoryLimit(LIMIT_BYTES, stack)
        try:
            measured = cold(origin, SHARDED, PATTERNS["sequential"], before=limit.enter)
        finally:
            killed = limit.killed()
        if killed:
            raise BenchError(f"the kernel killed {killed} processes for want of memory")
        return measured


def memory(stack: ExitStack) -> list[Case]:
    origin = Origin.unlimited(stack)
    free = Side("memory: weightfs, free", lambda: cold(origin, SHARDED, PATTERNS["sequential"]))
    bound = Side("memory: weightfs, 256 MiB", lambda: limited(origin))
    return [Case("memory", "8 shards at once, 256 MiB / free", bound, free, speed_at_least(0.7))]


MEMORY = Suite(("memory",), 5, memory)

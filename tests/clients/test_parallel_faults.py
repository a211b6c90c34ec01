"""Scenario 5: many processes fault a cold, sharded model at once over a slow line, and every byte is fetched once."""

import zlib
from pathlib import Path

from safetensors import safe_open

from harness.repositories import repository

PROCESSES, THREADS, LATENCY_MS = 16, 8, 50

FAULT_EVERYTHING = """
import glob, json, os, sys, zlib
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from huggingface_hub import snapshot_download
from safetensors import safe_open

def tensor_sum(job):
    path, name = job
    with safe_open(path, "np") as file:
        return name, zlib.crc32(file.get_tensor(name).tobytes())

def load(turn):
    folder = snapshot_download("acme/big", local_files_only=True)
    jobs = []
    for path in sorted(glob.glob(os.path.join(folder, "*.safetensors"))):
        with safe_open(path, "np") as file:
            jobs += [(path, name) for name in file.keys()]
    # No two processes start at the same place.
    jobs = jobs[turn % len(jobs):] + jobs[:turn % len(jobs)]
    with ThreadPoolExecutor(int(sys.argv[2])) as threads:
        return dict(threads.map(tensor_sum, jobs))

if __name__ == "__main__":
    snapshot_download("acme/big")
    count = int(sys.argv[1])
    with get_context("fork").Pool(count) as pool:
        sums = pool.map(load, range(0, 2 * count, 2), chunksize=1)
    print(json.dumps(sums))
"""


def test_every_block_is_fetched_once_by_sixteen_processes_of_eight_threads(serve, mount, client) -> None:
    shards = sorted(repository("big").glob("*.safetensors"))
    expected = {}
    for shard in shards:
        with safe_open(shard, "np") as file:
            expected |= {name: zlib.crc32(file.get_tensor(name).tobytes()) for name in file.keys()}

    hub = serve("big")
    mounted = mount(hub)
    hub.admin("PUT", "faults", {"rules": [{"latency_ms": LATENCY_MS}]})
    before = hub.mark()
    answer = client(hub, mounted).python(FAULT_EVERYTHING, str(PROCESSES), str(THREADS))
    assert answer == [expected] * PROCESSES
    named = repository("big").glob("*.safetensors*")
    once = sum(file.stat().st_size for file in named if file in shards or was_read(hub, before, file))
    assert hub.since(before).data_bytes(".safetensors") == once


def was_read(hub, before: int, file: Path) -> bool:
    """The index is a small file that a client may or may not look into."""
    return hub.since(before).data_bytes(file.name) > 0

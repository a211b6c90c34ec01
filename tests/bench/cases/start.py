"""How soon a model can be used: from nothing, and when only its config is looked at."""

import json
import statistics
from contextlib import ExitStack

from cases.cold import PATTERNS, cold, download
from comparison import NO_GOAL, Case, Measurement, Side, Suite, more_at_most, time_at_most
from model import SHARDED, WHOLE, Model
from mount import Mount
from origin import Origin, fresh
from places import PYTHON, WORK, environment
from programs import READ_SECONDS, probe, run

LOAD = PATTERNS["mmap"]

# Without the time Python takes to start: a program that loads a model has it running anyway.
HF_DOWNLOAD = """
import json, sys, time
from huggingface_hub import snapshot_download
started = time.monotonic()
folder = snapshot_download(sys.argv[1])
print(json.dumps({"seconds": time.monotonic() - started, "folder": folder}))
"""


def hf_then_load(origin: Origin, model: Model) -> Measurement:
    """What `hf download` does, and then the load from the disk."""
    home = fresh(WORK / "hf")
    env = environment() | {"HF_HOME": str(home), "HF_ENDPOINT": origin.endpoint, "HF_HUB_DISABLE_TELEMETRY": "1"}
    env |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1"}
    done = json.loads(run([PYTHON, "-c", HF_DOWNLOAD, model.id], env, READ_SECONDS))
    loaded = probe("tensors", *(f"{done['folder']}/{name}" for name in model.weights))
    fresh(home)
    return Measurement(done["seconds"] + loaded.seconds, loaded.bytes)


def parallel_then_load(origin: Origin, model: Model) -> Measurement:
    """The fastest download there can be, and then the load from the disk."""
    downloaded = download(origin, model)
    loaded = probe("tensors", *model.local())
    return Measurement(downloaded.seconds + loaded.seconds, loaded.bytes)


def models(stack: ExitStack) -> list[Case]:
    origin = Origin.line(stack)
    cases = []
    for name, model in (("file", WHOLE), ("shards", SHARDED)):
        ours = Side(f"start: weightfs, {name}", lambda m=model: cold(origin, m, LOAD, lookup=True))
        hf = Side(f"start: hf download, load, {name}", lambda m=model: hf_then_load(origin, m))
        parallel = Side(f"start: download, load, {name}", lambda m=model: parallel_then_load(origin, m))
        cases += [
            Case(f"start-{name}", f"line, load / hf download, load, {name}", ours, hf, time_at_most(0.6), once=True),
            Case(f"start-{name}-parallel", f"line, load / best download, load, {name}", ours, parallel, NO_GOAL),
        ]
    return cases


def first_bytes_ours(origin: Origin) -> Measurement:
    with ExitStack() as stack:
        mount = Mount.mounted(origin, stack)
        times = [probe("first-byte", file).seconds for file in mount.weights(SHARDED)]
    return Measurement(statistics.median(times))


def first_bytes_by_get(origin: Origin) -> Measurement:
    return Measurement(statistics.median(probe("ranged-get", url).seconds for url in origin.urls(SHARDED)))


def config_ours(origin: Origin) -> Measurement:
    with ExitStack() as stack:
        mount = Mount(origin.endpoint, stack)
        return Measurement(mount.mount() + probe("config", mount.repo(WHOLE)).seconds)


def config_offline(mount: Mount) -> Measurement:
    mount.umount()
    return Measurement(mount.mount("--offline") + probe("config", mount.repo(WHOLE)).seconds)


def looks(stack: ExitStack) -> list[Case]:
    origin = Origin.line(stack)
    info = f"{origin.endpoint}/api/models/{WHOLE.id}"
    round_trip = Side("look: one question to the Hub", lambda: Measurement(probe("get", info).seconds))
    get = Side("look: ranged GET", lambda: first_bytes_by_get(origin))
    first = Side("look: weightfs, first byte", lambda: first_bytes_ours(origin))
    config = Side("look: weightfs, mount and config.json", lambda: config_ours(origin))
    return [
        Case("first-byte", "line, first byte / ranged GET", first, get, more_at_most(2)),
        Case("config", "line, mount to config.json / one question", config, round_trip, more_at_most(50)),
    ]


def offline(stack: ExitStack) -> list[Case]:
    mount = Mount.mounted(Origin.line(stack), stack)
    probe("config", mount.repo(WHOLE))
    ours = Side("offline: weightfs, mount and config.json", lambda: config_offline(mount))
    nothing = Side("offline: no time at all", lambda: Measurement(0))
    return [Case("config-offline", "mount to config.json, offline", ours, nothing, more_at_most(20))]


START = Suite(("start-file", "start-file-parallel", "start-shards", "start-shards-parallel"), 3, models)
LOOK = Suite(("first-byte", "config"), 5, looks)
OFFLINE = Suite(("config-offline",), 5, offline)

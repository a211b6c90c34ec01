"""The demo: a mount, a look at the model, a cold and a warm run of a real engine, and what each of them fetched."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WEIGHTFS = ROOT / "target" / "release" / "weightfs"
TEST_HUB = ROOT / "target" / "release" / "test-hub"
EMBED = ROOT / "target" / "debug" / "embed"

SERVED = ROOT / "target" / "models"
SERVED_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
REAL_HUB = "https://huggingface.co"

SENTENCES = ["A cat sits on the mat.", "A kitten rests on a rug.", "The stock market fell today."]
DEADLINE_SECONDS = 60
LOAD_SECONDS = 900  # a large model through a slow line

TOKENIZE = """
import sys
from transformers import AutoConfig, AutoTokenizer
config, tokenizer = AutoConfig.from_pretrained(sys.argv[1]), AutoTokenizer.from_pretrained(sys.argv[1])
print(f"{type(config).__name__} of {config.num_hidden_layers} layers, {len(tokenizer)} tokens")
"""


class DemoError(Exception):
    """What went wrong, for the person who watches."""


@dataclass
class Stage:
    """The mount and everybody around it."""

    base: Path
    model: str
    endpoint: str | None

    @property
    def home(self) -> Path:
        return self.base / "hf"

    def environment(self) -> dict[str, str]:
        """Ours, without what would point the clients or the daemon elsewhere."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "WEIGHTFS_"))}
        if "HF_TOKEN" in os.environ and self.endpoint is None:
            kept["HF_TOKEN"] = os.environ["HF_TOKEN"]
        kept["WEIGHTFS_RUNTIME_DIRECTORY"] = str(self.base / "run")
        kept["WEIGHTFS_CACHE_DIRECTORY"] = str(self.base / "cache")
        return kept

    def client_environment(self) -> dict[str, str]:
        env = self.environment() | {"HF_HOME": str(self.home), "HF_HUB_DISABLE_TELEMETRY": "1"}
        env |= {"TRANSFORMERS_VERBOSITY": "error"}
        return env if self.endpoint is None else env | {"HF_ENDPOINT": self.endpoint}

    def weightfs(self, *arguments: str | Path) -> str:
        return output([WEIGHTFS, *arguments], self.environment(), DEADLINE_SECONDS)

    def mount(self) -> None:
        self.home.mkdir()
        hub = [] if self.endpoint is None else ["--hub-endpoint", self.endpoint]
        self.weightfs("mount", self.home, *hub)

    def umount(self) -> None:
        try:
            self.weightfs("umount", self.home)
        except DemoError:
            self.weightfs("umount", "--lazy", self.home)

    def fetched_bytes(self) -> int:
        status = json.loads(self.weightfs("status", "--format", "json"))
        return sum(daemon["counters"]["fetched_bytes"] for daemon in status["daemons"])

    def snapshot(self) -> Path:
        """Where the plain id leads, found as a person with `cat` and `ls` would."""
        repo = self.home / "hub" / f"models--{self.model.replace('/', '--')}"
        try:
            return repo / "snapshots" / (repo / "refs" / "main").read_text()
        except OSError as error:
            raise DemoError(f"{self.model} is not there ({error.strerror}); see the log in {self.base / 'cache'}") from None


def output(command: list[str | Path], env: dict[str, str], seconds: float) -> str:
    try:
        done = subprocess.run(command, env=env, timeout=seconds, capture_output=True, text=True, check=False)
    except subprocess.TimeoutExpired:
        raise DemoError(f"{command[0]} did not end within {seconds:g} s") from None
    if done.returncode != 0:
        raise DemoError(f"{' '.join(map(str, command))} failed:\n{done.stderr.strip()}")
    return done.stdout


def start_hub(base: Path, stack: ExitStack) -> str:
    """The stand-in on loopback; returns its endpoint."""
    command = [TEST_HUB, "--root", SERVED, "--print-json"]
    with (base / "hub.log").open("wb") as log:
        hub = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    stack.callback(hub.wait, DEADLINE_SECONDS)
    stack.callback(hub.terminate)
    line = hub.stdout.readline()
    if not line:
        raise DemoError(f"the Hub stand-in did not start:\n{(base / 'hub.log').read_text()}")
    return json.loads(line)["endpoint"]


def check_real_hub(model: str) -> None:
    try:
        urllib.request.urlopen(f"{REAL_HUB}/api/models/{model}", timeout=15).close()
    except urllib.error.HTTPError as error:
        # Private and gated ones are refused here too; the mount will say more about them.
        if error.code == 404 or (error.code == 401 and "HF_TOKEN" not in os.environ):
            raise DemoError(f"the Hub knows no model {model}, or it is private: set HF_TOKEN then") from None
    except OSError as error:
        raise DemoError(
            f"{REAL_HUB} cannot be reached from here ({error}).\n"
            "`make demo` without MODEL needs no network: it serves a model from this machine."
        ) from None


def megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


def show(what: str, result: str, fetched: int, seconds: float) -> None:
    print(f"  {what:<22} {result:<44} {megabytes(fetched):>9} fetched {seconds:7.2f} s", flush=True)


class Steps:
    """Times each step and finds what it fetched."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.before = stage.fetched_bytes()

    def step(self, what: str, act) -> float:
        started = time.monotonic()
        result = act()
        seconds = time.monotonic() - started
        fetched = self.stage.fetched_bytes()
        show(what, result, fetched - self.before, seconds)
        self.before = fetched
        return seconds


def list_files(snapshot: Path) -> str:
    sizes = [path.stat().st_size for path in snapshot.rglob("*") if path.is_file()]
    return f"{len(sizes)} files, {megabytes(sum(sizes))}"


def read_config(snapshot: Path) -> str:
    config = json.loads((snapshot / "config.json").read_text())
    return f"a {config.get('model_type', 'nameless')} model"


def run_engine(stage: Stage) -> str:
    answer = json.loads(output([EMBED, "--model", stage.model, *SENTENCES], stage.client_environment(), LOAD_SECONDS))
    near, far = answer["similarities"]
    return f"cat ~ kitten {near:.3f}, cat ~ market {far:.3f}"


def run_transformers(stage: Stage) -> str:
    return output([sys.executable, "-c", TOKENIZE, stage.model], stage.client_environment(), LOAD_SECONDS).strip()


def play(stage: Stage) -> None:
    served_by = stage.endpoint or REAL_HUB
    print(f"\n  weightfs mount {stage.home}\n  HF_HOME={stage.home}   {stage.model} from {served_by}\n")
    steps = Steps(stage)
    snapshot = stage.snapshot()
    model_bytes = sum(path.stat().st_size for path in snapshot.rglob("*") if path.is_file())
    start = steps.before
    steps.step("ls -lL", lambda: list_files(snapshot))
    steps.step("cat config.json", lambda: read_config(snapshot))
    steps.step("transformers", lambda: run_transformers(stage))
    cold = steps.step("candle, cold", lambda: run_engine(stage))
    warm = steps.step("candle, warm", lambda: run_engine(stage))
    fetched = stage.fetched_bytes() - start
    print(
        f"\n  {megabytes(fetched)} of {megabytes(model_bytes)} fetched; cold {cold:.2f} s, warm {warm:.2f} s."
        "\n  Plain ids, no download step, no change in any client.\n"
    )


def main() -> None:
    model = os.environ.get("MODEL", "")
    if model:
        check_real_hub(model)
    base = Path(tempfile.mkdtemp(prefix="weightfs-demo-"))
    with ExitStack() as stack:
        endpoint = None if model else start_hub(base, stack)
        stage = Stage(base, model or SERVED_MODEL, endpoint)
        stage.mount()
        stack.callback(stage.umount)
        play(stage)
    # Only after an unmount that went well; otherwise the log is what one wants to read.
    shutil.rmtree(base)


if __name__ == "__main__":
    # As with ^C: the mount and the stand-in end with us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except DemoError as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit(130)

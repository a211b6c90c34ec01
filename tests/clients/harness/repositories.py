"""The repositories that the scenarios load: made once, kept below target/fixtures, never changed afterwards."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy
from safetensors.numpy import save_file

from harness.paths import ROOT, TARGET, venv_bin
from harness.process import run_well

# Part of the folder's name: raise it when a builder below changes.
GENERATION = 1
FIXTURES = TARGET / "fixtures" / str(GENERATION)
REAL_MODEL = TARGET / "models" / "models" / "sentence-transformers" / "all-MiniLM-L6-v2"

MIB = 1 << 20
TENSOR_SHAPE = (1024, 2048)  # of float32: 8 MiB


def repository(name: str) -> Path:
    """The folder with the files of acme/NAME."""
    if name == "minilm":
        return REAL_MODEL
    folder = FIXTURES / name
    if not folder.exists():
        unfinished = FIXTURES / f"{name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        BUILDERS[name](unfinished)
        unfinished.rename(folder)
    return folder


def build_tiny(folder: Path) -> None:
    """A bit of everything: git files, a nested folder, an empty file, one LFS file."""
    write_json(folder / "config.json", {"model_type": "bert", "hidden_size": 8})
    (folder / "README.md").write_text("# tiny\n")
    (folder / "empty.txt").write_text("")
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    random = numpy.random.default_rng(1)
    save_file({"weight": random.random((512, 512), dtype=numpy.float32)}, folder / "model.safetensors")


def build_big(folder: Path) -> None:
    """Four shards of 64 MiB and their index."""
    random = numpy.random.default_rng(2)
    shards = [f"model-{number:05}-of-00004.safetensors" for number in range(1, 5)]
    weight_map = {}
    for number, shard in enumerate(shards):
        tensors = {f"layers.{number * 8 + i}.weight": tensor(random) for i in range(8)}
        save_file(tensors, folder / shard, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, shard)
    index = {"metadata": {"total_size": 256 * MIB}, "weight_map": weight_map}
    write_json(folder / "model.safetensors.index.json", index)
    write_json(folder / "config.json", {"model_type": "llama"})


def build_wide(folder: Path) -> None:
    """One file of 256 MiB with 32 tensors."""
    random = numpy.random.default_rng(3)
    tensors = {f"layers.{number:02}.weight": tensor(random) for number in range(32)}
    save_file(tensors, folder / "model.safetensors")
    write_json(folder / "config.json", {"model_type": "llama"})


def build_formats(folder: Path) -> None:
    """A folder for each format: pickled, sharded, adapter and gguf."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "HF_HUB_OFFLINE": "1"}
    run_well([venv_bin("formats"), ROOT / "tests" / "clients" / "formats" / "make.py", folder], env, seconds=120)


def one_format(name: str) -> Callable[[Path], None]:
    return lambda folder: shutil.copytree(repository("formats") / name, folder, dirs_exist_ok=True)


BUILDERS: dict[str, Callable[[Path], None]] = {"tiny": build_tiny, "big": build_big, "wide": build_wide, "formats": build_formats}
BUILDERS |= {name: one_format(name) for name in ["pickled", "sharded", "adapter", "gguf"]}


def tensor(random: numpy.random.Generator) -> numpy.ndarray:
    return random.random(TENSOR_SHAPE, dtype=numpy.float32)


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(MIB):
            digest.update(piece)
    return digest.hexdigest()


def sha256_of_files(folder: Path) -> dict[str, str]:
    """Path below the folder to hash. For local folders only: a mount is read by processes that can be given up."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256_of(path) for path in files}

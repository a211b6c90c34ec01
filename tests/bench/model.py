"""The models that are read: random weights in safetensors files with the tensors of a small transformer."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

from places import MODELS

MIB = 1 << 20
FILE_BYTES = 512 * MIB
SHARD_BYTES = 64 * MIB
SHARDS = 8

# Bytes of the tensors of one layer, by the names that real models use.
LAYER = {
    "input_layernorm": 4 << 10,
    "mlp.down_proj": 12 * MIB,
    "mlp.gate_proj": 12 * MIB,
    "mlp.up_proj": 12 * MIB,
    "post_attention_layernorm": 4 << 10,
    "self_attn.k_proj": 1 * MIB,
    "self_attn.o_proj": 4 * MIB,
    "self_attn.q_proj": 4 * MIB,
    "self_attn.v_proj": 1 * MIB,
}
LAYER_BYTES = sum(LAYER.values())
PIECE_BYTES = 16 * MIB


@dataclass(frozen=True)
class Model:
    """One repository; `weights` are its files in the order in which a loader reads them."""

    name: str
    weights: tuple[str, ...]

    @property
    def id(self) -> str:
        return f"bench/{self.name}"

    @property
    def folder(self) -> Path:
        return MODELS / "models" / "bench" / self.name

    @property
    def cache_folder(self) -> str:
        """Below `hub` of an HF_HOME."""
        return f"models--{self.id.replace('/', '--')}"

    def local(self) -> list[Path]:
        """The files that the origin serves, on the local disk."""
        return [self.folder / name for name in self.weights]

    def bytes(self) -> int:
        return sum(path.stat().st_size for path in self.local())


WHOLE = Model("whole", ("model.safetensors",))
SHARDED = Model("sharded", tuple(f"model-{number:05}-of-{SHARDS:05}.safetensors" for number in range(1, SHARDS + 1)))


def make_models() -> None:
    """Kept between runs; the bytes are the same on every machine."""
    make(WHOLE, FILE_BYTES)
    make(SHARDED, SHARD_BYTES)


def make(model: Model, file_bytes: int) -> None:
    config = model.folder / "config.json"
    if config.exists():
        return
    model.folder.mkdir(parents=True, exist_ok=True)
    weights: dict[str, str] = {}
    for number, path in enumerate(model.local()):
        tensors = tensors_of(number, file_bytes)
        write(path, tensors, seed=f"{model.name} {number}")
        weights |= dict.fromkeys(tensors, path.name)
    if len(model.weights) > 1:
        index = {"metadata": {"total_size": model.bytes()}, "weight_map": weights}
        (model.folder / "model.safetensors.index.json").write_text(json.dumps(index))
    # Last, so that a run that was interrupted makes it again.
    config.write_text(json.dumps({"architectures": ["Bench"], "model_type": "bench"}))


def tensors_of(number: int, file_bytes: int) -> dict[str, int]:
    layers = (file_bytes - MIB) // LAYER_BYTES
    tensors = {f"lm_head.{number}.weight": file_bytes - layers * LAYER_BYTES}
    for layer in range(layers):
        tensors |= {f"model.layers.{number}{layer:02}.{name}.weight": size for name, size in LAYER.items()}
    return tensors


def write(path: Path, tensors: dict[str, int], seed: str) -> None:
    header, end = {}, 0
    for name, size in tensors.items():
        header[name] = {"dtype": "BF16", "shape": [size // 2], "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    source = random.Random(seed)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for start in range(0, end, PIECE_BYTES):
            file.write(source.randbytes(min(PIECE_BYTES, end - start)))

"""Scenario 4: one tensor of a large file costs that tensor."""

import hashlib
import json
import struct
from pathlib import Path

from safetensors import safe_open

from harness.repositories import MIB, repository

BLOCK = MIB

ONE_TENSOR = """
import hashlib, json, sys
from huggingface_hub import hf_hub_download
from safetensors import safe_open
with safe_open(hf_hub_download("acme/wide", "model.safetensors"), "np") as file:
    tensor = file.get_tensor(sys.argv[1])
print(json.dumps({"sha256": hashlib.sha256(tensor.tobytes()).hexdigest(), "bytes": tensor.nbytes}))
"""


def header_bytes(path: Path) -> int:
    with path.open("rb") as file:
        return 8 + struct.unpack("<Q", file.read(8))[0]


def tensor_at_the_end(path: Path) -> str:
    with path.open("rb") as file:
        header = json.loads(file.read(header_bytes(path))[8:])
    header.pop("__metadata__", None)
    return max(header, key=lambda name: header[name]["data_offsets"][1])


def test_the_last_tensor_is_fetched_alone_and_once(serve, mount, client) -> None:
    source = repository("wide") / "model.safetensors"
    name = tensor_at_the_end(source)
    with safe_open(source, "np") as file:
        expected = file.get_tensor(name)
    hub = serve("wide")
    mounted = mount(hub)

    before = hub.mark()
    answer = client(hub, mounted).python(ONE_TENSOR, name)
    assert answer == {"sha256": hashlib.sha256(expected.tobytes()).hexdigest(), "bytes": expected.nbytes}
    assert hub.since(before).data_bytes() <= header_bytes(source) + expected.nbytes + 2 * BLOCK

    before_second = hub.mark()
    assert client(hub, mounted).python(ONE_TENSOR, name) == answer
    assert hub.since(before_second).data_bytes() == 0

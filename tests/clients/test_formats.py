"""Weights in every format, each loaded by the program whose format it is, through the mount and from a plain folder."""

import pytest

from harness.repositories import repository

# What a model says to the same input, as one number that any wrong byte changes.
ANSWER = """
import json, sys, torch
def answer(model):
    tokens = torch.arange(1, 17).reshape(1, 16)
    with torch.no_grad():
        out = model(input_ids=tokens)
    first = out.logits if hasattr(out, "logits") else out.last_hidden_state
    print(json.dumps([float(value) for value in first.double().flatten()[:64]]))
"""

PICKLED = ANSWER + """
from transformers import AutoModel
answer(AutoModel.from_pretrained(sys.argv[1]))
"""

SHARDED = ANSWER + """
from transformers import AutoModelForCausalLM
answer(AutoModelForCausalLM.from_pretrained(sys.argv[1]))
"""

ADAPTER = ANSWER + """
from peft import PeftModel
from transformers import AutoModelForCausalLM
base = AutoModelForCausalLM.from_pretrained(sys.argv[2])
answer(PeftModel.from_pretrained(base, sys.argv[1]))
"""

GGUF_TENSORS = """
import hashlib, json, sys
from gguf import GGUFReader
reader = GGUFReader(sys.argv[1])
tensors = {tensor.name: hashlib.sha256(tensor.data.tobytes()).hexdigest() for tensor in reader.tensors}
print(json.dumps(tensors))
"""

# What `llama-cli -m PATH` does: map the file and run it.
LLAMA_CPP = """
import json, sys
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.warmup = sys.argv[1], 64, False
server = xllamacpp.Server(params)
said = server.handle_completions({"prompt": "hello", "max_tokens": 4, "temperature": 0})
print(json.dumps(said["choices"][0]["text"]))
"""


@pytest.mark.parametrize(("name", "code"), [("pickled", PICKLED), ("sharded", SHARDED)])
def test_transformers_loads_it_by_its_id_and_by_its_path(serve, mount, client, name: str, code: str) -> None:
    hub = serve(name)
    mounted = mount(hub)
    expected = client(hub, mounted, venv="formats", offline=True).python(code, repository(name))
    assert len(set(expected)) > 1
    assert client(hub, mounted, venv="formats").python(code, f"acme/{name}") == expected
    path = mounted.home / "models" / "acme" / name
    assert client(hub, mounted, venv="formats", offline=True).python(code, path) == expected


def test_peft_puts_an_adapter_onto_its_base(serve, mount, client) -> None:
    hub = serve("sharded", "adapter")
    mounted = mount(hub)
    local = client(hub, mounted, venv="formats", offline=True)
    base, adapter = repository("sharded"), repository("adapter")
    expected = local.python(ADAPTER, adapter, base)
    assert expected != local.python(SHARDED, base), "the adapter changes what the model says"
    assert client(hub, mounted, venv="formats").python(ADAPTER, "acme/adapter", "acme/sharded") == expected


def test_a_gguf_is_read_and_run_by_its_path(serve, mount, client) -> None:
    hub = serve("gguf")
    mounted = mount(hub)
    reader = client(hub, mounted, venv="formats")
    local, path = repository("gguf") / "model.gguf", mounted.home / "models" / "acme" / "gguf" / "model.gguf"
    assert reader.python(GGUF_TENSORS, path) == reader.python(GGUF_TENSORS, local)
    assert reader.python(LLAMA_CPP, path) == reader.python(LLAMA_CPP, local)

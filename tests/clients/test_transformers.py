"""Scenario 6: transformers loads a real model by its plain id."""

from harness.repositories import REAL_MODEL

LOAD = """
import hashlib, json, os, sys
from safetensors import safe_open
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import cached_file
model = sys.argv[1]
weights = hashlib.sha256()
with safe_open(cached_file(model, "model.safetensors"), "np") as file:
    for name in sorted(file.keys()):
        weights.update(name.encode() + file.get_tensor(name).tobytes())
print(json.dumps({
    "layers": AutoConfig.from_pretrained(model).num_hidden_layers,
    "tokens": AutoTokenizer.from_pretrained(model).encode("hello world"),
    "weights": weights.hexdigest(),
}))
"""


def test_a_real_model_is_the_same_as_from_a_local_folder(serve, mount, client) -> None:
    hub = serve("minilm")
    mounted = mount(hub)
    expected = client(hub, mounted, offline=True).python(LOAD, REAL_MODEL)
    assert expected["layers"] == 6

    before = hub.mark()
    assert client(hub, mounted).python(LOAD, "acme/minilm") == expected
    heads = (sent for sent in hub.since(before).of_clients() if sent.method == "HEAD")
    misses = [sent.path for sent in heads if sent.status == 404]
    assert misses == [], "the mount could have told the client that these are absent"

    before_offline = hub.mark()
    assert client(hub, mounted, offline=True).python(LOAD, "acme/minilm") == expected
    log = hub.since(before_offline)
    assert log.of_clients() == []
    assert log.data_bytes() == 0

"""The Hub's stand-in, on the address by which the node's pods reach it."""

from cluster.places import NODE_ADDRESS, RUN
from harness.hub import Hub

# A token that may see acme/tiny.
READER = "hf_reader"


def start_hub() -> Hub:
    """acme/minilm for everybody, and acme/tiny, which is private."""
    address = f"{NODE_ADDRESS}:0"
    hub = Hub(RUN / "hub", ["minilm", "tiny"], [f"--listen={address}", f"--cdn-listen={address}", f"--token=reader={READER}"])
    hub.start()
    hub.admin("POST", "repo", {"repo": "acme/tiny", "private": True, "readers": ["reader"]})
    return hub

"""A private model is there for pods whose token may see it, and for no other."""

import pytest

from cluster.hub import READER
from cluster.kubectl import apply, kubectl
from cluster.pods import VOLUME, Inline
from harness.repositories import repository, sha256_of_files

PRIVATE = {"view": "model", "repo": "acme/tiny"}


@pytest.fixture
def secret(installed):
    apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub-token"}, "stringData": {"token": READER}})
    yield "hub-token"
    kubectl("delete", "secret", "hub-token")


def test_a_private_model_is_there_with_its_token_and_not_without(pod, secret) -> None:
    files = sha256_of_files(repository("tiny"))
    assert pod("with-token", Inline(PRIVATE, secret), "hash.py", VOLUME).answer() == files
    # It is in the node's cache now.
    assert "NotFound" in pod("without-token", Inline(PRIVATE), "hash.py", VOLUME).failure_to_mount()
    assert pod("with-token-again", Inline(secret=secret), "hash.py", "acme/tiny").answer() == files

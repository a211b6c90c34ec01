"""The client of ModelExpress, as it is published, against `weightfs serve`."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.modelexpress import INSTALL, WITHOUT_TORCH, ask
from harness.process import run_well
from harness.repositories import repository, sha256_of_files
from harness.server import Server

OFFLINE = """
import json
from huggingface_hub import snapshot_download
print(json.dumps(snapshot_download("acme/big", local_files_only=True)))
"""

SOURCES = WITHOUT_TORCH + """
from modelexpress import p2p_pb2
from modelexpress.client import MxClient
from modelexpress.metadata.source_id import compute_mx_source_id
identities = [
    p2p_pb2.SourceIdentity(),
    p2p_pb2.SourceIdentity(mx_version="0.7.0", model_name="Acme/Tiny", dtype="BFloat16", tensor_parallel_size=8,
                           extra_parameters={"Zeta": "One", "alpha": "TWO", "Alpha": "Three"}, revision="ABC"),
    p2p_pb2.SourceIdentity(model_name="acme/tiny", mx_source_type=4, torch_version="2.6.0+CU124", gpu_arch="SM90"),
]
client = MxClient()
for number, identity in enumerate(identities):
    worker = p2p_pb2.WorkerMetadata(worker_rank=number, nixl_metadata=b"x" * 100, status=p2p_pb2.SOURCE_STATUS_READY)
    given = client.publish_metadata(identity, worker, f"worker-{number}")
    assert given == compute_mx_source_id(identity), (given, compute_mx_source_id(identity))
    [listed] = client.list_sources(identity, p2p_pb2.SOURCE_STATUS_READY).instances
    assert (listed.mx_source_id, listed.worker_rank) == (given, number)
    assert client.update_status(given, listed.worker_id, number, p2p_pb2.SOURCE_STATUS_STALE, 0.5)
    assert not client.list_sources(identity, p2p_pb2.SOURCE_STATUS_READY).instances
    found = client.get_metadata(given, listed.worker_id)
    assert found.found and found.identity == identity and found.worker.nixl_metadata == worker.nixl_metadata
print(json.dumps(len(client.list_sources().instances)))
"""

REFLECTION = """
import json, sys
import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
database = ProtoReflectionDescriptorDatabase(grpc.insecure_channel(sys.argv[1]))
pool = DescriptorPool(database)
services = {name: [method.name for method in pool.FindServiceByName(name).methods]
            for name in database.get_services() if name.startswith("model_express.")}
print(json.dumps(services))
"""


@pytest.fixture
def server(base: Path, serve) -> Iterator[Server]:
    with Server(base / "server", serve("big").url).running() as server:
        yield server


@pytest.mark.parametrize("revision", [None, "main"])
def test_its_snapshot_loads_offline(base: Path, server: Server, revision: str | None) -> None:
    home = base / "client"
    installed = ask(server, home, INSTALL, "acme/big", *([revision] if revision else []))
    snapshot = Path(installed["snapshot"])
    expected = sha256_of_files(repository("big"))
    assert not any(name.endswith(".safetensors") for name in installed["before"])
    assert installed["listed"] == {name: (repository("big") / name).stat().st_size for name in expected}
    assert ask(server, home, OFFLINE, HF_HUB_OFFLINE="1") == str(snapshot)
    out = run_well(["sha256sum", *(snapshot / name for name in expected)], {"PATH": os.environ["PATH"]})
    assert {line.split(maxsplit=1)[1]: line.split()[0] for line in out.splitlines()} == {
        str(snapshot / name): digest for name, digest in expected.items()
    }


def test_its_sources_are_told_and_have_the_ids_that_it_computes(base: Path, server: Server) -> None:
    assert ask(server, base / "client", SOURCES) == 3


def test_reflection_describes_every_service(base: Path, server: Server) -> None:
    services = ask(server, base / "client", REFLECTION, server.address)
    assert services == {
        "model_express.health.HealthService": ["GetHealth"],
        "model_express.api.ApiService": ["SendRequest"],
        "model_express.model.ModelService": [
            "EnsureModelDownloaded", "StreamModelFiles", "ListModelFiles", "DeleteModel",
        ],
        "model_express.p2p.P2pService": ["PublishMetadata", "ListSources", "GetMetadata", "UpdateStatus"],
    }

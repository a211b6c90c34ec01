"""The container image as `make image` wrote it: it serves, says that it is well, brings a model, and ends in order."""

import os
import stat
from pathlib import Path

import pytest

from harness.image import ARCHIVE, Image
from harness.process import is_root
from harness.repositories import repository, sha256_of_files
from harness.server import Server

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not is_root(), reason="only root can run an image without a container platform"),
]


@pytest.fixture
def image(base: Path) -> Image:
    assert ARCHIVE.exists(), f"{ARCHIVE} is not there: `make image` writes it"
    return Image.unpack(ARCHIVE, base / "image")


def test_it_serves_a_model_without_any_rights_and_ends_in_order(base: Path, serve, image: Image) -> None:
    hub = serve("tiny")
    with Server(base / "server", hub.url, image).running() as server:
        health = server.weightfs("health")
        assert health.code == 0 and ": ok, version " in health.out, health
        asked = server.weightfs("model", "download", "acme/tiny", "--strategy", "server-only")
        assert asked.code == 0, asked
        sizes = [(repository("tiny") / name).stat().st_size for name in sha256_of_files(repository("tiny"))]
        assert hub.since(0).data_bytes() == sum(sizes)
    assert server.process is not None and server.process.process.returncode == 0, server.process.said()
    cache = image.root / "var/cache/weightfs"
    assert (cache / "models.db").stat().st_uid == int(image.config["User"].split(":")[0])


def test_it_holds_the_programs_and_certificates_and_no_more(image: Image) -> None:
    files = {str(path.relative_to(image.root)) for path in image.root.rglob("*") if path.is_file()}
    assert files == {
        "usr/bin/weightfs",
        "usr/bin/weightfs-csi",
        "usr/sbin/mount.weightfs",
        "etc/ssl/certs/ca-certificates.crt",
        "etc/passwd",
        "etc/group",
    }
    for folder in ("tmp", "run", "var/cache/weightfs"):
        mode = stat.S_IMODE(os.stat(image.root / folder).st_mode)
        assert mode & 0o777 == 0o777, f"{folder}: {mode:o}; a platform may choose any user"

"""Scenario 7: the tools that inspect, check and clean a cache."""

from pathlib import Path

from harness.repositories import repository, sha256_of_files

DOWNLOAD = """
import json
from huggingface_hub import snapshot_download
print(json.dumps(snapshot_download("acme/tiny")))
"""

SCAN = """
import json
from huggingface_hub import scan_cache_dir
scan = scan_cache_dir()
(repo,) = [repo for repo in scan.repos if repo.repo_id == "acme/tiny"]
print(json.dumps({
    "warnings": [str(warning) for warning in scan.warnings],
    "refs": sorted(repo.refs),
    "files": {str(file.file_path): file.size_on_disk for revision in repo.revisions for file in revision.files},
}))
"""


def test_a_listing_shows_the_repository_and_reads_no_data(serve, mount, client) -> None:
    hub = serve("tiny")
    mounted = mount(hub)
    snapshot = Path(client(hub, mounted).python(DOWNLOAD))

    before = hub.mark()
    listing = client(hub, mounted).hf("cache", "ls")
    assert listing.code == 0, str(listing)
    assert "model/acme/tiny" in listing.out
    scan = client(hub, mounted).python(SCAN)
    assert hub.since(before).data_bytes() == 0

    files = [path for path in repository("tiny").rglob("*") if path.is_file()]
    sizes = {str(snapshot / path.relative_to(repository("tiny"))): path.stat().st_size for path in files}
    assert scan == {"warnings": [], "refs": ["main"], "files": sizes}


def test_verify_finds_every_checksum_right(serve, mount, client) -> None:
    hub = serve("tiny")
    mounted = mount(hub)
    client(hub, mounted).python(DOWNLOAD)
    verified = client(hub, mounted).hf("cache", "verify", "acme/tiny")
    assert verified.code == 0, str(verified)
    assert "All checksums match" in verified.out


def test_rm_is_refused_and_harms_nothing(serve, mount, client) -> None:
    hub = serve("tiny")
    mounted = mount(hub)
    snapshot = Path(client(hub, mounted).python(DOWNLOAD))

    removed = client(hub, mounted).hf("cache", "rm", "-y", "model/acme/tiny")
    assert "Read-only file system" not in removed.out + removed.err, str(removed)

    assert client(hub, mounted, offline=True).python(DOWNLOAD) == str(snapshot)
    expected = sha256_of_files(repository("tiny"))
    content = mounted.read_all(*(snapshot / name for name in expected))
    assert content == {snapshot / name: digest for name, digest in expected.items()}

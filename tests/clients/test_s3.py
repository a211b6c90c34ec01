"""A model that lies in a bucket loads by its plain id, with the real client and a store that others wrote."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.bucket import KEYS, Moto
from harness.mount import Mount
from harness.process import run, run_well
from harness.repositories import MIB, repository, sha256_of, sha256_of_files
from harness.waiting import wait_until

NOWHERE = "http://127.0.0.1:9"
LOAD = """
import hashlib, json, sys
from huggingface_hub import snapshot_download
from pathlib import Path
from safetensors import safe_open
from transformers import AutoConfig
model = sys.argv[1]
config = AutoConfig.from_pretrained(model)
folder = Path(snapshot_download(model))
with safe_open(folder / "model.safetensors", "np") as file:
    weights = hashlib.sha256(file.get_tensor("weight").tobytes()).hexdigest()
files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
print(json.dumps({"hidden": config.hidden_size, "weights": weights, "files": files}))
"""
PARTS = """
bucket, key, part_bytes, path = arguments
data, size = Path(path).read_bytes(), int(part_bytes)
upload = s3.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="CRC32")["UploadId"]
parts = []
for number, start in enumerate(range(0, len(data), size), 1):
    sent = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=data[start:start + size],
                          ChecksumAlgorithm="CRC32")
    parts.append({"PartNumber": number, "ETag": sent["ETag"]})
s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
"""


@pytest.fixture
def moto(base: Path):
    store = Moto(base / "moto")
    try:
        store.start()
        yield store
    finally:
        store.stop()


class BucketMount(Mount):
    """A mount without a Hub: acme/llama lies in a bucket."""

    store = ""
    variables = KEYS
    settings = ""

    def environment(self):
        config = self.base / "weightfs.yaml"
        s3 = f"endpoint_url: '{self.store}'{self.settings}"
        config.write_text(f"origin: {{models: {{acme/llama: 's3://models/llama'}}, s3: {{{s3}}}}}\n")
        return {**super().environment(), **self.variables, "WEIGHTFS_CONFIG": str(config)}

    def text(self, path: Path) -> str:
        return run_well(["cat", path], super().environment())

    def commit(self) -> Path:
        """The folder of the newest commit."""
        return Path(run_well(["readlink", "-f", self.model], super().environment()).strip())

    @property
    def model(self) -> Path:
        return self.home / "models/acme/llama"


@pytest.fixture
def mount_bucket(base: Path, moto: Moto):
    mounts = []

    def start(variables=KEYS, settings="") -> BucketMount:
        mounted = BucketMount(base, NOWHERE)
        mounted.store, mounted.variables, mounted.settings = moto.url, variables, settings
        mounts.append(mounted)
        mounted.mount()
        return mounted

    yield start
    for mounted in mounts:
        mounted.close()


class NoHub:
    url = NOWHERE


def fetched(mounted: Mount) -> int:
    figures = mounted.status()["daemons"][0]["counters"]
    return figures["fetched_bytes"]


def test_a_model_in_a_bucket_loads_by_its_plain_id(moto, mount_bucket, client) -> None:
    folder = repository("tiny")
    moto.fill("models", "llama", folder)
    mounted = mount_bucket()
    loaded = client(NoHub, mounted, offline=True).python(LOAD, "acme/llama")
    assert loaded["hidden"] == 8
    assert set(loaded["files"]) == set(sha256_of_files(folder))
    paths = {mounted.model / path: digest for path, digest in sha256_of_files(folder).items()}
    assert mounted.read_all(*paths) == paths


def test_parts_are_fetched_once_however_many_read(moto, mount_bucket, base) -> None:
    # Alone in its model: who loads one file is brought the next ones too.
    empty = base / "empty"
    empty.mkdir()
    moto.fill("models", "llama", empty)
    big = base / "big.bin"
    big.write_bytes(bytes((at * 7 + at // 4096) % 256 for at in range(16 * MIB)))
    moto.boto(PARTS, "models", "llama/big.bin", str(6 * MIB), big)
    mounted = mount_bucket()
    path = mounted.model / "big.bin"
    with ThreadPoolExecutor(4) as readers:
        hashes = list(readers.map(lambda _: mounted.read_all(path)[path], range(4)))
    assert set(hashes) == {sha256_of(big)}
    assert fetched(mounted) == 16 * MIB


def test_an_overwritten_object_is_a_new_commit_and_the_old_version_reads_on(moto, mount_bucket) -> None:
    moto.fill("models", "llama", repository("tiny"))
    mounted = mount_bucket()
    old = mounted.commit()
    put = "s3.put_object(Bucket='models', Key='llama/README.md', Body=b'another\\n')"
    moto.boto(put)
    # The bucket keeps versions: what was listed is there still.
    assert mounted.text(old / "README.md") == "# tiny\n"
    mounted.umount()
    mounted = mount_bucket(settings="", variables={**KEYS, "WEIGHTFS_HUB_REFRESH_SECONDS": "0"})
    wait_until(lambda: mounted.text(mounted.model / "README.md") == "another\n", "the new commit is seen")
    assert mounted.commit() != old


def test_a_public_object_needs_no_key_and_a_private_one_is_refused(moto, mount_bucket) -> None:
    moto.fill("models", "llama", repository("tiny"))
    moto.boto("s3.put_object_acl(Bucket='models', Key='llama/README.md', ACL='public-read')")
    mounted = mount_bucket(variables={}, settings=", anonymous: true")
    assert mounted.text(mounted.model / "README.md") == "# tiny\n"
    refused = run(["cat", mounted.model / "config.json"], mounted.environment())
    assert "Permission denied" in refused.err, str(refused)


def test_a_web_identity_is_changed_into_a_key(moto, mount_bucket, base) -> None:
    moto.fill("models", "llama", repository("tiny"))
    token = base / "identity"
    token.write_text("a token")
    variables = {
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/reader",
        "AWS_ENDPOINT_URL_STS": moto.url,
        "AWS_REGION": "us-east-1",
    }
    mounted = mount_bucket(variables=variables)
    assert mounted.text(mounted.model / "README.md") == "# tiny\n"
    assert "a token" not in mounted.log_tail()

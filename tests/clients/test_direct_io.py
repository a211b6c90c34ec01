"""Scenario 10 (iii): engines that read past the page cache."""

from harness.repositories import repository, sha256_of

# A file system may refuse such an open with EINVAL, and engines then read normally; wrong bytes are never an answer.
READ_DIRECTLY = """
import errno, hashlib, json, mmap, os
from huggingface_hub import hf_hub_download
MIB = 1 << 20
path = hf_hub_download("acme/big", "model-00003-of-00004.safetensors")
try:
    file = os.open(path, os.O_RDONLY | os.O_DIRECT)
except OSError as error:
    print(json.dumps({"refused": errno.errorcode[error.errno]}))
    raise SystemExit
buffer = mmap.mmap(-1, MIB)  # page-aligned, as O_DIRECT asks
digest, offset, size = hashlib.sha256(), 0, os.fstat(file).st_size
while offset < size:
    count = os.preadv(file, [buffer], offset)
    assert count == min(MIB, size - offset), (offset, count)
    digest.update(buffer[:count])
    offset += count
print(json.dumps({"sha256": digest.hexdigest()}))
"""


def test_direct_reads_give_the_same_bytes(serve, mount, client) -> None:
    hub = serve("big")
    mounted = mount(hub)
    expected = sha256_of(repository("big") / "model-00003-of-00004.safetensors")
    for turn in ("cold", "warm"):
        answer = client(hub, mounted).python(READ_DIRECTLY)
        assert answer in ({"sha256": expected}, {"refused": "EINVAL"}), turn

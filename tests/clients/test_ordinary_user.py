"""A user without privileges mounts with fusermount3, and works in the mount under the same uid."""

import shutil
from pathlib import Path

import pytest

from harness.client import Client
from harness.mount import Mount
from harness.paths import WEIGHTFS, venv_bin
from harness.process import ORDINARY, ORDINARY_UID, require_ordinary_user, run_well
from harness.repositories import repository, sha256_of_files

# /dev/fuse may be root's alone on a test machine. So the scene plays in a mount namespace of its own, where everybody
# may open it; what happens there also ends there.
SCENE = """
set -eu
base=$1 uid=$2
shift 2
mkdir "$base/device"
mount -t tmpfs -o mode=0755 weightfs-test "$base/device"
mknod -m 0666 "$base/device/fuse" c 10 229
mount --bind "$base/device/fuse" /dev/fuse
exec setpriv --reuid="$uid" --regid="$uid" --clear-groups sh -c "$@"
"""

# One shell, since the mount is seen in this namespace only.
STORY = """
set -eu
weightfs=$1 python=$2 home=$3
"$weightfs" mount "$home" --cache-directory "$WEIGHTFS_CACHE_DIRECTORY" --hub-endpoint "$HF_ENDPOINT"
trap '"$weightfs" umount "$home"' EXIT
"$python" -c "from huggingface_hub import snapshot_download; print(snapshot_download('acme/tiny'))" >"$HOME/snapshot"
grep " $home " /proc/self/mounts
(cd "$(cat "$HOME/snapshot")" && find -L . -type f -exec sha256sum {} +)
"""


@pytest.fixture
def owned(base: Path) -> Path:
    """A folder of the ordinary user, as their home directory would be."""
    folder = base / "user"
    for part in (folder, folder / "home", folder / "run"):
        part.mkdir()
        part.chmod(0o700)
        shutil.chown(part, ORDINARY_UID, ORDINARY_UID)
    return folder


def test_a_user_mounts_for_themselves(serve, base: Path, owned: Path) -> None:
    require_ordinary_user(WEIGHTFS, venv_bin("main"))
    hub = serve("tiny")
    mounted = Mount(owned, hub.url, user=ORDINARY)
    env = Client(mounted.home, hub.url, owned).environment() | dict(mounted.environment())

    play = ["unshare", "--mount", "--propagation", "private", "sh", "-c", SCENE, "sh", base, str(ORDINARY_UID)]
    out = run_well([*play, STORY, "sh", WEIGHTFS, venv_bin("main"), mounted.home], env)

    first, *lines = out.splitlines()
    assert first.split()[0] == "weightfs"
    hashes = {name.strip().removeprefix("./"): digest for digest, name in (line.split(maxsplit=1) for line in lines)}
    assert hashes == sha256_of_files(repository("tiny"))

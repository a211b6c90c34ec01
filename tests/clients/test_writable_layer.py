"""What clients write beside the virtual files, and what they may not write."""

import json
from pathlib import Path

import pytest

DOWNLOAD = """
import json
from huggingface_hub import hf_hub_download
print(json.dumps(hf_hub_download("acme/tiny", "config.json")))
"""

KEPT = {
    "token": "hf_secret",
    "modules/__init__.py": "",
    "modules/transformers_modules/acme/tiny/model.py": "answer = 42\n",
    "hub/.locks/models--acme--tiny/abc.lock": "",
    "xet/logs/today.log": "line\n",
    "assets/library/file": "asset",
    "datasets/words/0.arrow": "words",
}

WRITE = """
import json, os, sys
home, kept = os.environ["HF_HOME"], json.loads(sys.argv[1])
for name, text in kept.items():
    path = os.path.join(home, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
print(json.dumps(len(kept)))
"""

READ = """
import json, os, sys
home = os.environ["HF_HOME"]
print(json.dumps({name: open(os.path.join(home, name)).read() for name in json.loads(sys.argv[1])}))
"""

MODE = """
import json, os, stat
print(json.dumps(oct(stat.S_IMODE(os.stat(os.path.join(os.environ["HF_HOME"], "token")).st_mode))))
"""

FORBIDDEN = """
import errno, json, os, sys
path = sys.argv[1]
blob, snapshot = os.path.realpath(path), os.path.dirname(path)
def refusal(act, *arguments):
    try:
        act(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
print(json.dumps({
    "unlink a pointer": refusal(os.unlink, path),
    "unlink a blob": refusal(os.unlink, blob),
    "write to a file": refusal(os.open, path, os.O_WRONLY),
    "truncate a file": refusal(os.truncate, blob, 0),
    "rename a file": refusal(os.rename, path, path + ".old"),
    "create in a snapshot": refusal(os.open, os.path.join(snapshot, "new"), os.O_WRONLY | os.O_CREAT),
    "create a blob": refusal(os.open, os.path.join(os.path.dirname(blob), "0" * 40), os.O_WRONLY | os.O_CREAT),
    "mkdir in a snapshot": refusal(os.mkdir, os.path.join(snapshot, "folder")),
    "rmdir of a snapshot": refusal(os.rmdir, snapshot),
}))
"""


def test_what_clients_write_survives_a_remount(serve, mount, client) -> None:
    hub = serve("tiny")
    mounted = mount(hub)
    client(hub, mounted).python(WRITE, json.dumps(KEPT))
    assert client(hub, mounted).python(MODE) == "0o600"

    mounted.remount()
    assert client(hub, mounted).python(READ, json.dumps(list(KEPT))) == KEPT
    assert client(hub, mounted).python(MODE) == "0o600"


def test_virtual_files_refuse_changes_as_a_permission(serve, mount, client) -> None:
    """EACCES or EPERM, which clients handle; on EROFS they die."""
    hub = serve("tiny")
    mounted = mount(hub)
    path = Path(client(hub, mounted).python(DOWNLOAD))
    before = mounted.read_all(path)

    answers = client(hub, mounted).python(FORBIDDEN, path)
    wrong = {what: answer for what, answer in answers.items() if answer not in ("EACCES", "EPERM")}
    assert wrong == {}
    assert mounted.read_all(path) == before


@pytest.mark.parametrize("text", ["same", "other"])
def test_a_client_may_write_a_ref_and_the_truth_stays(serve, mount, client, text: str) -> None:
    code = """
import json, os, sys
ref = os.path.join(os.environ["HF_HOME"], "hub", "models--acme--tiny", "refs", "main")
before = open(ref).read()
with open(ref, "w") as file:
    file.write(before if sys.argv[1] == "same" else "f" * 40)
print(json.dumps({"before": before, "after": open(ref).read()}))
"""
    hub = serve("tiny")
    mounted = mount(hub)
    answer = client(hub, mounted).python(code, text)
    assert answer["after"] == answer["before"]
    assert len(answer["before"]) == 40


def test_the_mount_bears_our_own_name(serve, mount) -> None:
    """transformers gives up memory mapping for a mount whose device is hf-mount."""
    mounted = mount(serve("tiny"))
    assert mounted.device() == "weightfs"

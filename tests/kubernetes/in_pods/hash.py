"""A pod's program: the SHA-256 of every file of a snapshot, which huggingface_hub brings, or of the folder that it is given."""

import hashlib
import json
import sys
from pathlib import Path

from huggingface_hub import snapshot_download

named = sys.argv[1]
folder = Path(named if named.startswith("/") else snapshot_download(named))
found = {}
for path in sorted(path for path in folder.rglob("*") if path.is_file()):
    with path.open("rb") as file:
        found[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
print(json.dumps(found))

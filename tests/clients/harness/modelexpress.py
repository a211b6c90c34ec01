"""ModelExpress's Python client, as it is published, asking a server of ours."""

import json
import os
from pathlib import Path

from harness.paths import venv_bin
from harness.process import run_well
from harness.server import Server

# A small model of the real Hub over a slow line.
SECONDS = 1200.0

# The package's own start needs torch; the client itself does not.
WITHOUT_TORCH = """
import importlib.util, json, sys, types
from pathlib import Path
spec = importlib.util.find_spec("modelexpress")
package = types.ModuleType("modelexpress")
package.__path__ = list(spec.submodule_search_locations)
sys.modules["modelexpress"] = package
metadata = types.ModuleType("modelexpress.metadata")
metadata.__path__ = [str(Path(package.__path__[0]) / "metadata")]
sys.modules["modelexpress.metadata"] = metadata
"""

# The model's metadata, then its weights, as engines do it.
INSTALL = WITHOUT_TORCH + """
from modelexpress.model_client import ModelCacheClient
model, revision = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
with ModelCacheClient() as client:
    snapshot = client.install_metadata_snapshot(model, requested_revision=revision)
    before = sorted(path.name for path in snapshot.iterdir())
    client.install_weight_files(model, snapshot)
    listed = client.list_files(model)
print(json.dumps({"snapshot": str(snapshot), "before": before, "listed": listed}))
"""


def ask(server: Server, home: Path, code: str, *arguments: str, **variables: str):
    """Runs the client's code; what it prints last is its answer, as JSON."""
    home.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        # Whoever asks a Hub finds none.
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "MODEL_EXPRESS_URL": f"http://{server.address}",
        "MX_METRICS_ENABLED": "0",
        **variables,
    }
    out = run_well([venv_bin("modelexpress"), "-c", code, *arguments], environment, seconds=SECONDS)
    return json.loads(out.splitlines()[-1])

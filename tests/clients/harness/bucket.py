"""moto: an S3 store and an STS that others wrote, as a process. It and boto3 live in an environment of their own."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.paths import venv_bin
from harness.process import run_well
from harness.waiting import wait_until

START_SECONDS = 60.0
STOP_SECONDS = 10.0
KEYS = {"AWS_ACCESS_KEY_ID": "AKTEST", "AWS_SECRET_ACCESS_KEY": "secret"}

PREAMBLE = """
import json, sys, boto3
from pathlib import Path
s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1")
arguments = sys.argv[2:]
"""

FILL = """
bucket, prefix, folder = arguments
s3.create_bucket(Bucket=bucket)
s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
for path in sorted(Path(folder).rglob("*")):
    if path.is_file():
        key = f"{prefix}/{path.relative_to(folder)}"
        s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes(), ChecksumAlgorithm="CRC32")
"""


@dataclass
class Moto:
    folder: Path
    url: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "moto.log"

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        with self.log.open("wb") as log:
            command = [venv_bin("s3", "moto_server"), "-H", "127.0.0.1", "-p", "0"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(self.is_up, "moto serves", START_SECONDS)

    def is_up(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log.read_text()
        found = re.search(r"Running on (http://127\.0\.0\.1:\d+)", self.log.read_text())
        self.url = found.group(1) if found else ""
        return found is not None

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(STOP_SECONDS)

    def boto(self, code: str, *arguments: str | Path) -> Any:
        """Runs the code with `s3` and `arguments` at hand; what it prints last is its answer, as JSON."""
        command = [venv_bin("s3"), "-c", PREAMBLE + code, self.url, *arguments]
        out = run_well(command, {**KEYS, "HOME": str(self.folder)})
        return json.loads(out.splitlines()[-1]) if out else None

    def fill(self, bucket: str, prefix: str, folder: Path) -> None:
        """A bucket that keeps versions, with the files of a folder."""
        self.boto(FILL, bucket, prefix, folder)

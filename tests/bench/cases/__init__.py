"""What is compared, a module for each state that a file can be in."""

from cases.cold import LINE, UNLIMITED
from cases.warm import WARM

SUITES = [UNLIMITED, LINE, WARM]

"""The benchmark: bench.py [CASE ...] runs these cases, or all. See docs/BENCHMARKS.md."""

import shutil
import signal
import sys

import report
from cases import SUITES
from comparison import run_suite, say
from model import make_models
from places import MODELS, PROGRAMS, RESULTS, WORK
from priority import raised_session
from programs import BenchError


def main(wanted: list[str]) -> None:
    known = [case for suite in SUITES for case in suite.cases]
    for name in wanted:
        if not any(suite.chosen([name]) for suite in SUITES):
            raise BenchError(f"there is no case {name}; there are: {', '.join(known)}")
    machine = report.machine()
    say("making the models")
    make_models()
    rows = []
    with raised_session():
        try:
            for suite in SUITES:
                rows += run_suite(suite, wanted)
        finally:
            tidy()
    report.write(RESULTS, rows, machine)
    print(report.table(rows))
    say(f"every measurement is in {RESULTS}")


def tidy() -> None:
    """The models stay for the next run; all else was of this one."""
    for entry in WORK.iterdir():
        if entry not in (MODELS, PROGRAMS, RESULTS):
            shutil.rmtree(entry, ignore_errors=True)


if __name__ == "__main__":
    # As with ^C: mounts and servers end with us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main(sys.argv[1:])
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)

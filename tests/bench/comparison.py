"""Cases, their two sides and their goals; and the rounds in which sides take turns."""

import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from programs import BenchError, Unavailable


@dataclass(frozen=True)
class Measurement:
    seconds: float
    bytes: int = 0
    """Of files, where a case is about moving them."""
    reader_cpu_seconds: float = 0.0
    daemon_cpu_seconds: float | None = None
    daemon_peak_bytes: int | None = None
    fetched_bytes: int | None = None
    connections: int | None = None


@dataclass(frozen=True)
class Side:
    """One way to do the same work. A side that several cases name is measured once a round."""

    name: str
    measure: Callable[[], Measurement]


@dataclass(frozen=True)
class Goal:
    """What we work toward; a run says whether it was met and never fails for it."""

    text: str
    unit: str
    figure: Callable[[float, float], float]
    is_met: Callable[[float], bool]


def speed_at_least(least: float) -> Goal:
    """Of the reference's speed; both sides move the same bytes."""
    return Goal(f">= {least:g} x speed", "x", lambda ours, reference: reference / ours, lambda x: x >= least)


def time_at_most(most: float) -> Goal:
    return Goal(f"<= {most:g} x time", "x", lambda ours, reference: ours / reference, lambda x: x <= most)


def same_time() -> Goal:
    """As fast, but for what two measurements of one thing differ by."""
    return Goal("1.0 x time", "x", lambda ours, reference: ours / reference, lambda x: x <= 1.05)


def more_at_most(milliseconds: float) -> Goal:
    """Beyond the reference's time."""
    return Goal(
        f"<= + {milliseconds:g} ms",
        "ms",
        lambda ours, reference: (ours - reference) * 1e3,
        lambda more: more <= milliseconds,
    )


NO_GOAL = Goal("", "x", lambda ours, reference: reference / ours, lambda _: True)
"""For baselines: how much faster we are."""


@dataclass(frozen=True)
class Case:
    name: str
    what: str
    ours: Side
    reference: Side
    goal: Goal
    once: bool = False
    """Whether each byte must be fetched exactly once."""


@dataclass(frozen=True)
class Suite:
    """Cases that share servers and mounts. `build` starts these on the stack."""

    cases: Sequence[str]
    rounds: int
    build: Callable[[ExitStack], list[Case]]

    def chosen(self, wanted: Sequence[str]) -> list[str]:
        """A name, or what names begin with up to a dash; all without any."""
        return [case for case in self.cases if not wanted or any(f"{case}-".startswith(f"{name}-") for name in wanted)]


@dataclass
class Row:
    """What a case came to."""

    case: str
    what: str
    goal: Goal | None = None
    ours: list[Measurement] = field(default_factory=list)
    reference: list[Measurement] = field(default_factory=list)
    reference_name: str = ""
    once: bool = False
    problem: str | None = None

    def figures(self) -> list[float]:
        """A round each: neighbours in time, so that a change of the machine strikes both sides."""
        pairs = zip(self.ours, self.reference, strict=True)
        return [self.goal.figure(ours.seconds, reference.seconds) for ours, reference in pairs]

    def figure(self) -> float:
        return statistics.median(self.figures())

    def fetched_ratio(self) -> float | None:
        """Bytes that were fetched for each byte that was read."""
        known = [one.fetched_bytes / one.bytes for one in self.ours if one.fetched_bytes is not None and one.bytes]
        return statistics.median(known) if known else None

    def is_met(self) -> bool:
        fetched = self.fetched_ratio()
        once = not self.once or fetched is None or fetched <= MOST_FETCHED
        return self.goal.is_met(self.figure()) and once


MOST_FETCHED = 1.005
"""Every byte once, but for the small files that belong to the model."""


def run_suite(suite: Suite, wanted: Sequence[str]) -> list[Row]:
    names = suite.chosen(wanted)
    if not names:
        return []
    with ExitStack() as stack:
        try:
            cases = [case for case in suite.build(stack) if case.name in names]
        except Unavailable as problem:
            return [Row(name, "", problem=str(problem)) for name in names]
        return take_turns(cases, suite.rounds)


def take_turns(cases: Sequence[Case], rounds: int) -> list[Row]:
    sides = list({side.name: side for case in cases for side in (case.ours, case.reference)}.values())
    measured: dict[str, list[Measurement]] = {side.name: [] for side in sides}
    problems: dict[str, str] = {}
    for number in range(rounds):
        # There and back: neither side always comes first.
        for side in sides if number % 2 == 0 else reversed(sides):
            if side.name in problems:
                continue
            try:
                result = side.measure()
            except BenchError as problem:
                problems[side.name] = str(problem)
                say(f"{side.name}: {problem}")
                continue
            measured[side.name].append(result)
            say(f"round {number + 1}/{rounds}  {result.seconds:10.6f} s  {side.name}")
    return [row(case, measured, problems) for case in cases]


def row(case: Case, measured: dict[str, list[Measurement]], problems: dict[str, str]) -> Row:
    problem = problems.get(case.ours.name) or problems.get(case.reference.name)
    ours, reference = measured[case.ours.name], measured[case.reference.name]
    return Row(case.name, case.what, case.goal, ours, reference, case.reference.name, case.once, problem)


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)

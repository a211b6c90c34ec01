"""The table for people, and the same as JSON."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from comparison import Measurement, Row

HEADER = ["CASE", "WHAT", "OURS", "REFERENCE", "RATIO", "(ROUNDS)", "GOAL", "MET", "CPU S/GB", "RSS", "FETCHED"]
RIGHT = {2, 3, 4, 8, 9, 10}


def table(rows: Sequence[Row]) -> str:
    lines = [HEADER, *map(cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    texts = []
    for line in lines:
        padded = [
            text.rjust(width) if column in RIGHT else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        texts.append("  ".join(padded).rstrip())
    return "\n".join(texts)


def cells(row: Row) -> list[str]:
    if row.problem:
        return [row.case, row.problem.splitlines()[0], *[""] * (len(HEADER) - 2)]
    figures = row.figures()
    unit = row.goal.unit
    met = "" if not row.goal.text else "yes" if row.is_met() else "no"
    fetched = row.fetched_ratio()
    return [
        row.case,
        row.what,
        amount(row.ours),
        amount(row.reference),
        figure(row.figure(), unit),
        span(figures, unit),
        row.goal.text + (", once" if row.once else ""),
        met,
        cpu(row.ours),
        peak(row.ours),
        "" if fetched is None else f"{fetched:.2f} x",
    ]


def amount(measurements: Sequence[Measurement]) -> str:
    """Speed where bytes were moved, else time."""
    seconds = statistics.median(one.seconds for one in measurements)
    moved = measurements[0].bytes
    if moved > 1:
        return f"{moved / seconds / 1e9:.2f} GB/s"
    return f"{seconds * 1e6:.1f} us" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"


def figure(value: float, unit: str) -> str:
    if unit == "x":
        return f"{plain(value)} x"
    return f"{value:+.1f} ms" if abs(value) >= 1 else f"{value * 1e3:+.1f} us"


def span(values: Sequence[float], unit: str) -> str:
    least, most = min(values), max(values)
    if unit == "ms" and abs(most) < 1:
        return f"{least * 1e3:.1f}..{most * 1e3:.1f}"
    return f"{plain(least)}..{plain(most)}"


def plain(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def cpu(measurements: Sequence[Measurement]) -> str:
    """Of the daemon, for each GB that was read."""
    counted = [one for one in measurements if one.daemon_cpu_seconds is not None and one.bytes > 1]
    known = [one.daemon_cpu_seconds / one.bytes * 1e9 for one in counted]
    return f"{statistics.median(known):.2f}" if known else ""


def peak(measurements: Sequence[Measurement]) -> str:
    known = [one.daemon_peak_bytes for one in measurements if one.daemon_peak_bytes]
    return f"{max(known) / 2**20:.0f} MiB" if known else ""


def machine() -> dict:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "cpu": model[0] if model else platform.machine(),
        "memory_bytes": memory,
        "kernel": platform.release(),
        "load": list(os.getloadavg()),
    }


def write(path: Path, rows: Sequence[Row], before: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": before, "cases": [described(row) for row in rows]}, indent=2) + "\n")


def described(row: Row) -> dict:
    if row.problem:
        return {"case": row.case, "problem": row.problem}
    return {
        "case": row.case,
        "what": row.what,
        "reference_is": row.reference_name,
        "goal": row.goal.text or None,
        "met": row.is_met() if row.goal.text else None,
        "figure": row.figure(),
        "unit": row.goal.unit,
        "figures": row.figures(),
        "fetched_ratio": row.fetched_ratio(),
        "ours": [asdict(one) for one in row.ours],
        "reference": [asdict(one) for one in row.reference],
    }

"""What a benchmark leaves: its tables, its targets, and the conditions they were measured under.

In: rows of numbers and targets. Out: the same text on standard output and in ``<results>/<name>.md``. Laws: no
figure without its conditions; a target is judged at full size only; no path and no name of the machine is written.
"""

from __future__ import annotations

import os
import platform
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

__all__ = ["RESULTS", "Result", "add_results_option", "middle"]

RESULTS = Path(__file__).parent / "results"
_LIBRARIES = ("polars", "numpy", "onnxruntime", "scikit-learn", "lightgbm", "pyarrow")


def add_results_option(parser: ArgumentParser) -> None:
    """``--results``, the folder that the table is written to."""
    parser.add_argument("--results", type=Path, default=RESULTS, help="where <name>.md is written")


def middle(values: Iterable[float], digits: int = 2) -> str:
    """Median and range, as a person reads them.

    >>> middle([3.0, 1.0, 2.0])
    '2.00 (1.00–3.00)'
    """
    seen = sorted(values)
    return f"{median(seen):.{digits}f} ({seen[0]:.{digits}f}–{seen[-1]:.{digits}f})"


@dataclass
class Result:
    """One benchmark's text in the making. ``full`` is false for small sizes, at which no target is judged."""

    name: str
    title: str
    full: bool
    lines: list[str] = field(default_factory=list)
    targets: list[tuple[str, str, str, bool]] = field(default_factory=list)
    load: tuple[float, float, float] = field(default_factory=os.getloadavg)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    def say(self, *lines: str) -> None:
        """Add lines, and show them at once."""
        self.lines.extend(lines)
        print("\n".join(lines), flush=True)

    def table(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Add a table."""
        self.say("", *_table(header, rows))

    def target(self, what: str, wanted: str, found: str, *, met: bool) -> None:
        """Note a target and what was found."""
        self.targets.append((what, wanted, found, met))

    def finish(self, folder: Path) -> int:
        """Judge, write ``<name>.md``, and give the exit code: 1 where a target is missed at full size."""
        verdicts = [(what, wanted, found, self._word(met=met)) for what, wanted, found, met in self.targets]
        closing = ["## Targets", "", *_table(("what", "target", "found", ""), verdicts), ""] if verdicts else []
        print("\n".join(closing), flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        text = "\n".join([f"# {self.title}", "", *self.conditions(), "", *closing, *self.lines]).rstrip() + "\n"
        (folder / f"{self.name}.md").write_text(text, encoding="utf-8")
        return int(self.full and not all(met for *_, met in self.targets))

    def conditions(self) -> list[str]:
        """Date, machine, versions, load; neither paths nor names."""
        libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
        sizes = "full sizes" if self.full else "small sizes: says whether it runs, not how fast"
        return [
            f"- {self.started:%Y-%m-%d %H:%M} UTC, {sizes}",
            f"- {_usable_cores()} cores ({platform.machine()}), {_memory_gib():.0f} GiB of memory, {platform.system()}",
            f"- Python {platform.python_version()}, {libraries}",
            f"- load average at the start {' '.join(f'{load:.2f}' for load in self.load)}{self._busy()}",
            f"- written by `benchmarks/{Path(sys.argv[0]).name}`",
        ]

    def _busy(self) -> str:
        return " (**busy: other work slowed this down**)" if self.load[0] > 0.5 * _usable_cores() else ""

    def _word(self, *, met: bool) -> str:
        if not self.full:
            return "not judged"
        return "met" if met else "**missed**"


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    return [*lines, *(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows)]


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0))


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30

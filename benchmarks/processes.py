"""Work done in a fresh process, with what it cost.

In: a command. Out: ``Spent``: wall and CPU time, and what the process printed. A process also measures its own
memory here, from ``VmHWM``: the ``ru_maxrss`` that a parent reads may be the parent's own, from before the ``exec``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Spent", "asked", "forget_peak", "peak_mib", "spent"]


@dataclass(frozen=True, slots=True)
class Spent:
    """What a process cost: seconds of wall and of CPU (its own children's too), and its standard output."""

    wall_s: float
    cpu_s: float
    output: str


def spent(
    command: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    codes: Collection[int] = (0,),
) -> Spent:
    """Run a command to its end. Raises CalledProcessError, its output shown, for an exit code not in ``codes``."""
    before = os.times()
    started = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - started
    after = os.times()
    if done.returncode not in codes:
        sys.stderr.write(done.stdout + done.stderr)
        raise subprocess.CalledProcessError(done.returncode, list(command))
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Spent(wall, cpu, done.stdout)


def asked(
    script: str, arguments: Sequence[str], *, environment: Mapping[str, str] | None = None
) -> tuple[Spent, dict[str, Any]]:
    """Run a benchmark's own child part, whose last line of output is JSON."""
    cost = spent([sys.executable, script, *arguments], environment=environment)
    answer: dict[str, Any] = json.loads(cost.output.splitlines()[-1])
    return cost, answer


def forget_peak() -> None:
    """Let ``peak_mib`` start anew from what is resident now (Linux: 5 into ``clear_refs``)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mib(process: int | str = "self") -> float:
    """The most memory, in MiB, that was resident in a process, this one by default, since it forgot its peak."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024

"""Whether ``[monitor]`` says how traffic is cut into windows.

In: a typed ``ProjectSpec``. Out: ``Fault`` per value that cuts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from roadworthy.formats.project.typing_rules import Fault
from roadworthy.records.project import ProjectSpec
from roadworthy.records.window import Cut

__all__ = ["monitor_faults"]

_LONGEST_S = 3600.0


def monitor_faults(spec: ProjectSpec) -> Iterator[Fault]:
    """The faults of both keys."""
    try:
        Cut.parse(spec.monitor.window)
    except ValueError as error:
        found, _, expected = str(error).removeprefix("found ").partition(", expected ")
        yield Fault("monitor.window", found, expected)
    if not 0 <= spec.monitor.settle_s <= _LONGEST_S:
        yield Fault("monitor.settle_s", f"{spec.monitor.settle_s} seconds", f"0 to {_LONGEST_S:.0f} seconds")

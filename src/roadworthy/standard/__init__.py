"""The standard: what is required, declared once, and the one function that judges.

In: the ``[standard]`` table and evidence. Out: a ``Verdict``. Pure: no file, no clock, no random number.

- ``metric``: what an entry says: direction, unit, tasks, phases;
- ``catalogue``: every metric by name;
- ``units``: "50 ms", "5 MB", "80 %" into base units and back;
- ``requirement``: ``Requirement`` and ``Standard``;
- ``presets``: "prototype", "service", "critical";
- ``parse``: the table of the project file, all problems at once;
- ``judge``: ``judge(requirements, evidence) -> Verdict``.
"""

from roadworthy.standard.catalogue import CATALOGUE, metric_named
from roadworthy.standard.judge import judge
from roadworthy.standard.metric import Direction, Metric
from roadworthy.standard.parse import parse_standard
from roadworthy.standard.presets import PRESETS
from roadworthy.standard.requirement import Requirement, Standard, Trigger
from roadworthy.standard.units import exact_quantity, format_quantity, parse_quantity

__all__ = [
    "CATALOGUE",
    "PRESETS",
    "Direction",
    "Metric",
    "Requirement",
    "Standard",
    "Trigger",
    "exact_quantity",
    "format_quantity",
    "judge",
    "metric_named",
    "parse_quantity",
    "parse_standard",
]

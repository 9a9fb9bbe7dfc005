"""``Requirement``: one thing that is required. ``Standard``: all of them, with the alarm budget."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from roadworthy.records.digests import Digest, canonical_json, digest_data
from roadworthy.records.evidence import Phase
from roadworthy.standard.catalogue import CATALOGUE
from roadworthy.standard.units import exact_quantity

__all__ = ["Requirement", "Standard", "Trigger"]


class Trigger(StrEnum):
    """What decides."""

    PROVEN = "proven"  # the interval's near end
    OBSERVED = "observed"  # the plain value


class Requirement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A bound on one metric, in base units, for the phases where it holds: ``at_least`` or ``at_most``, never both.

    ``slice`` is a column: the bound holds for every value of it. ``origin`` says where it was declared
    ("preset service", "roadworthy.toml:41").
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    slice: str = ""
    phases: tuple[Phase, ...] = tuple(Phase)
    trigger: Trigger = Trigger.PROVEN
    confidence: float = 0.95
    origin: str = ""

    def __post_init__(self) -> None:
        """Refuse what could only be judged in part (ValueError)."""
        if (self.at_least is None) == (self.at_most is None):
            found = "no bound" if self.at_least is None else "both at_least and at_most"
            raise ValueError(f"a requirement on {self.metric} has {found}, expected one of at_least and at_most")

    @property
    def bound(self) -> float:
        """The one bound, in base units."""
        return self.at_most if self.at_least is None else self.at_least  # type: ignore[return-value]  # one is there

    def line(self) -> str:
        """The one-line form that people read and waivers name.

        >>> Requirement(metric="latency_p99", at_most=50.0).line()
        'latency_p99 <= 50 ms'
        """
        sign = "<=" if self.at_least is None else ">="
        by = f" for every {self.slice}" if self.slice else ""
        return f"{self.metric} {sign} {exact_quantity(self.bound, CATALOGUE[self.metric].unit)}{by}"


class Standard(msgspec.Struct, frozen=True, kw_only=True):
    """All requirements of a project, presets resolved, and the budget of false alarms over all that is watched."""

    preset: str
    requirements: tuple[Requirement, ...]
    alarm_budget: str = "1 per 30 days"

    def digest(self) -> Digest:
        """Identity by content: where a requirement was written does not count."""
        bare = [msgspec.structs.replace(requirement, origin="") for requirement in self.requirements]
        return digest_data([sorted(map(canonical_json, bare)), self.alarm_budget])

    def of_phase(self, phase: Phase) -> tuple[Requirement, ...]:
        """The requirements that hold in a phase."""
        return tuple(requirement for requirement in self.requirements if phase in requirement.phases)

    def to_toml(self) -> str:
        """The resolved standard as a ``[standard]`` table, the form that travels in a bundle."""
        lines = ["[standard]", 'extends = "none"', f'alarm_budget = "{self.alarm_budget}"']
        by_metric: dict[str, list[Requirement]] = {}
        for requirement in self.requirements:
            by_metric.setdefault(requirement.metric, []).append(requirement)
        for metric, group in by_metric.items():
            tables = [_inline(requirement) for requirement in group]
            lines.append(f"{metric} = {tables[0]}" if len(tables) == 1 else f"{metric} = [{', '.join(tables)}]")
        return "\n".join(lines) + "\n"


def _inline(requirement: Requirement) -> str:
    unit = CATALOGUE[requirement.metric].unit
    suffix = unit if unit in {"ms", "bytes"} else ""
    parts = []
    for key, bound in (("at_least", requirement.at_least), ("at_most", requirement.at_most)):
        if bound is not None:
            parts.append(f'{key} = "{bound!r} {suffix}"' if suffix else f"{key} = {bound!r}")
    if requirement.slice:
        parts.append(f"slice = {msgspec.json.encode(requirement.slice).decode()}")
    phases = ", ".join(f'"{phase}"' for phase in requirement.phases)
    parts.append(f"phases = [{phases}]")
    if requirement.trigger is not Trigger.PROVEN:
        parts.append(f'trigger = "{requirement.trigger}"')
    parts.append(f"confidence = {requirement.confidence!r}")
    return "{ " + ", ".join(parts) + " }"

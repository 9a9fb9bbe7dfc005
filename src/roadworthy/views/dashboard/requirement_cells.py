"""Requirements in three phases: what each is held to, and what came of it at release, in a rollout and live.

In: a version, its bundle's standard, windows. Out: ``Cell``s, one for each requirement and phase. Laws: what a version
is held to is what stands in its own bundle; a cell without a value says in words why; a waiver that has ended excuses
nothing.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from roadworthy.errors import BundleError
from roadworthy.formats.report import RequirementRow
from roadworthy.measures.alarms.thresholds import rule_of
from roadworthy.records.evidence import Phase
from roadworthy.records.verdict import Outcome, RequirementVerdict, Verdict
from roadworthy.records.version import Version
from roadworthy.records.window import Judged, Window, WindowSummary
from roadworthy.standard import CATALOGUE, Requirement, Standard, parse_quantity, parse_standard
from roadworthy.standard.judge import judge_requirement
from roadworthy.views.dashboard.site import Site
from roadworthy.views.dashboard.spans import Span

__all__ = [
    "ESTIMATED",
    "URGENCY",
    "Cell",
    "Known",
    "bound_in",
    "is_estimate",
    "is_same",
    "live_cell",
    "release_cell",
    "rollout_cell",
    "row_of",
    "rows_link",
    "rules_of",
    "sign_of",
    "standard_of",
]

_SECOND_US = 1_000_000
ESTIMATED = "estimated"
"""How the rule of an estimate begins, and the method of one."""
URGENCY = (Outcome.ERROR, Outcome.FAIL, Outcome.INSUFFICIENT, Outcome.WAIVED, Outcome.PASS)
"""Worst first."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What an earlier window showed: value, interval, outcome; which one, and when it ended."""

    number: int
    end_us: int
    value: float
    lower: float | None
    upper: float | None
    outcome: str
    estimated: bool


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One requirement in one phase.

    ``asked``: it holds in this phase. Without ``row`` nothing was judged, and ``words`` say why. ``alert`` is the
    number of an open alert of its rule, 0 for none. ``known`` is what was known last, where the newest window knows
    nothing.
    """

    phase: Phase
    asked: bool = True
    row: RequirementRow | None = None
    words: str = ""
    estimated: bool = False
    alert: int = 0
    known: Known | None = None

    @property
    def outcome(self) -> Outcome | None:
        """What came of it; None where nothing was judged."""
        return None if self.row is None else self.row.verdict.outcome


def standard_of(site: Site, version: Version) -> tuple[Standard, str]:
    """What a version is held to, and why that cannot be told of its own bundle (then the project's is given)."""
    try:
        parts = site.bundle(version).parts
    except BundleError as error:
        return site.standard, error.message
    return parse_standard(tomllib.loads(parts.standard_toml)["standard"], parts.contract.task), ""


def sign_of(requirement: Requirement) -> str:
    """The sign of a requirement's line."""
    return ">=" if requirement.at_least is not None else "<="


def is_same(line: str, requirement: Requirement) -> bool:
    """Whether a requirement's line asks for the same, be its bound another.

    >>> is_same("accuracy >= 0.9", Requirement(metric="accuracy", at_least=0.8))
    True
    """
    head, _, by = line.partition(" for every ")
    return head.startswith(f"{requirement.metric} {sign_of(requirement)} ") and by == requirement.slice


def bound_in(line: str, metric: str) -> float:
    """The bound that a requirement's line names, in the metric's base unit.

    >>> bound_in("latency_p99 <= 0.05 s", "latency_p99")
    50.0
    """
    words = line.partition(" for every ")[0].removeprefix(metric).strip()
    return parse_quantity(words[2:].strip(), CATALOGUE[metric].unit)


def row_of(verdict: RequirementVerdict, requirement: Requirement) -> RequirementRow:
    """A verdict with the bound that its line names."""
    bound = bound_in(verdict.requirement, requirement.metric)
    low = requirement.at_least is not None
    return RequirementRow(verdict=verdict, at_least=bound if low else None, at_most=None if low else bound)


def is_estimate(verdict: RequirementVerdict) -> bool:
    """Whether what decided was estimated before labels came."""
    return verdict.measurement is not None and verdict.measurement.method.startswith(ESTIMATED)


def release_cell(requirement: Requirement, version: Version, now_us: int) -> Cell:
    """A requirement as its version's release was judged by it."""
    if Phase.RELEASE not in requirement.phases:
        return Cell(phase=Phase.RELEASE, asked=False, words="not asked at release")
    found = _verdict_on(requirement, version.verdict)
    if found is None:
        return Cell(phase=Phase.RELEASE, words="not judged at release")
    today = datetime.fromtimestamp(now_us / 1e6, UTC).date().isoformat()
    if found.waiver is not None and found.waiver.expires < today:
        words = f"its waiver by {found.waiver.person} ended on {found.waiver.expires}"
        again = judge_requirement(requirement, version.evidence.measurements)
        return Cell(phase=Phase.RELEASE, row=row_of(again, requirement), words=words)
    return Cell(phase=Phase.RELEASE, row=row_of(found, requirement))


def rollout_cell(requirement: Requirement) -> Cell:
    """A requirement in a rollout; there is none yet."""
    asked = Phase.ROLLOUT in requirement.phases
    return Cell(phase=Phase.ROLLOUT, asked=asked, words="no rollout" if asked else "not asked in a rollout")


def live_cell(
    requirement: Requirement, window: Judged | None, before: Sequence[WindowSummary], alert: int, *, why: str = ""
) -> Cell:
    """A requirement in the newest window with rows.

    ``before`` are windows of the same version, oldest first; ``why`` says why there is no window.
    """
    if Phase.LIVE not in requirement.phases:
        return Cell(phase=Phase.LIVE, asked=False, words="not asked of live traffic")
    found = None if window is None else _verdict_on(requirement, window.verdict)
    if found is None:
        words = why or "not judged in the newest window"
        return Cell(phase=Phase.LIVE, words=words, alert=alert, known=_last_known(requirement, before))
    valued = found.measurement is not None and found.measurement.value is not None
    return Cell(
        phase=Phase.LIVE,
        row=row_of(found, requirement),
        estimated=is_estimate(found),
        alert=alert,
        known=None if valued else _last_known(requirement, before),
    )


def rules_of(requirement: Requirement) -> tuple[str, str]:
    """The rules that a requirement raises: on labels or operations, and on estimates."""
    rule = rule_of(requirement)
    return rule, f"{ESTIMATED}:{rule}"


def rows_link(window: Window) -> str:
    """The words of a link that lead to a window's rows, in whole seconds around it."""
    since_us = window.after.at_us // _SECOND_US * _SECOND_US
    until_us = -(-window.until.at_us // _SECOND_US) * _SECOND_US
    return Span(since_us=since_us, until_us=max(until_us, since_us + _SECOND_US)).link


def _verdict_on(requirement: Requirement, verdict: Verdict) -> RequirementVerdict | None:
    return next((one for one in verdict.requirements if one.requirement == requirement.line()), None)


def _last_known(requirement: Requirement, before: Sequence[WindowSummary]) -> Known | None:
    line = requirement.line()
    for one in reversed(before):
        value, lower, upper = one.values.get(line, (None, None, None))
        if value is not None:
            return Known(
                number=one.number,
                end_us=one.end_us,
                value=value,
                lower=lower,
                upper=upper,
                outcome=one.outcomes[line],
                estimated=line in one.estimated,
            )
    return None

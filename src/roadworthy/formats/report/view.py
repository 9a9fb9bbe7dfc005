"""The report as plain data: everything the page and the terminal show, nothing alive.

In: facts that ``views`` gathered from records. Out: the same facts, to ``render_report`` and to the terminal.
Law: rendering reads nothing but this, so equal views give equal pages.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from roadworthy.records.data import FeatureInfo
from roadworthy.records.evidence import Finding, Measurement
from roadworthy.records.model import Candidate, Choice, GraphCost
from roadworthy.records.verdict import Outcome, Readiness, RequirementVerdict

__all__ = [
    "ChapterState",
    "ChapterView",
    "ChartView",
    "CostView",
    "DataView",
    "MeasureRow",
    "MonitoringView",
    "ProvenanceView",
    "ReportView",
    "RequirementRow",
    "StageRow",
    "WatchRow",
]


class StageRow(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of the run. ``before`` and ``after`` are shapes in words ("9,800 × 12"), empty where none fits.

    ``seconds`` is the time of this run; where ``reused`` it is what the reuse took.
    """

    stage: str
    did: str
    before: str = ""
    after: str = ""
    seconds: float = 0.0
    reused: bool = False


class RequirementRow(msgspec.Struct, frozen=True, kw_only=True):
    """One requirement's verdict with the bounds that it was judged against, in the measurement's unit.

    ``key`` puts it among the figures on top of the page; without any, the page picks them itself.
    """

    verdict: RequirementVerdict
    at_least: float | None = None
    at_most: float | None = None
    key: bool = False


class ChartView(msgspec.Struct, frozen=True, kw_only=True):
    """One picture, drawn, with the table behind it. Without ``svg`` only the table is shown.

    ``alt`` says in words what the picture shows; ``columns`` are named lists of equal length.
    """

    name: str
    title: str
    svg: str = ""
    note: str = ""
    alt: str = ""
    columns: dict[str, list[Any]] = {}


class ChapterState(StrEnum):
    """What a chapter amounts to. Each comment says what is true in it."""

    FAILS = "fails"  # a requirement on it fails or its check broke, or a finding proves a fault
    OPEN = "open"  # nothing fails; a requirement is not proven, or a finding asks a person
    PASSES = "passes"  # a requirement on it holds, and nothing fails or is open
    NOTED = "noted"  # it was looked at; nothing is required of it


class MeasureRow(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement; where a requirement asks for it, what came of that and its bound in the measurement's unit."""

    measurement: Measurement
    outcome: Outcome | None = None
    bound: float | None = None


class ChapterView(msgspec.Struct, frozen=True, kw_only=True):
    """What one check of the inspection gave: ``question`` says what was asked, ``summary`` what came out."""

    check: str
    title: str
    question: str = ""
    summary: str = ""
    state: ChapterState = ChapterState.NOTED
    findings: tuple[Finding, ...] = ()
    measurements: tuple[MeasureRow, ...] = ()
    charts: tuple[ChartView, ...] = ()


class CostView(msgspec.Struct, frozen=True, kw_only=True):
    """What the packaged graph costs, and how it was proven to be the trained one.

    ``parity`` is the greatest difference to the training framework over the holdout; ``flips`` the share of
    decisions that optimisation changed there.
    """

    before: GraphCost
    after: GraphCost
    variant: str
    parity: float
    flips: float
    notes: tuple[str, ...] = ()


class DataView(msgspec.Struct, frozen=True, kw_only=True):
    """Where the rows came from and what became of them. ``reasons`` and ``repairs`` are counts."""

    source: str
    snapshot: str
    rows: int
    columns: int
    quarantined: int = 0
    reasons: dict[str, int] = {}
    repairs: dict[str, int] = {}
    hashed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    split: str = ""
    holdout: str = ""
    holdout_looks: int = 1


class WatchRow(msgspec.Struct, frozen=True, kw_only=True):
    """One requirement watched on live traffic: how it is measured there, and the rule that raises an alert."""

    requirement: str
    measured: str
    alert: str


class MonitoringView(msgspec.Struct, frozen=True, kw_only=True):
    """What is watched once the version serves."""

    watched: tuple[WatchRow, ...] = ()
    rules: tuple[str, ...] = ()
    reference: str = ""
    alarm_budget: str = ""
    notify: tuple[str, ...] = ()


class ProvenanceView(msgspec.Struct, frozen=True, kw_only=True):
    """What this version was made from. ``digests`` maps a thing to its digest; ``standard`` is its text."""

    digests: dict[str, str] = {}
    standard: str = ""
    seed: int | None = None
    versions: dict[str, str] = {}
    signature: str = ""


class ReportView(msgspec.Struct, frozen=True, kw_only=True):
    """One version's whole report, or one inspection's.

    ``when`` is a time for people, in UTC; ``sentence`` the verdict in one plain sentence; ``next_steps`` what
    to do now, most important first. ``chapters`` holds what each check of the inspection gave, in the order of reading;
    ``not_asked`` maps a check that could not be asked to the reason; ``notes`` are what else a person should know.
    ``excluded`` maps a column that is no model input to the
    reason. Of an inspection ``project`` is the model's name, and ``rows_from`` says which rows it was judged on; what
    only a run has (stages, candidates, package) is empty there.
    """

    project: str
    version: str
    when: str
    task: str
    target: str
    readiness: Readiness
    sentence: str
    next_steps: tuple[str, ...] = ()
    stages: tuple[StageRow, ...] = ()
    requirements: tuple[RequirementRow, ...] = ()
    findings: tuple[Finding, ...] = ()
    chapters: tuple[ChapterView, ...] = ()
    not_asked: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    rows_from: str = ""
    choice: Choice | None = None
    training: tuple[Candidate, ...] = ()
    training_failures: dict[str, str] = {}
    cost: CostView | None = None
    data: DataView | None = None
    features: tuple[FeatureInfo, ...] = ()
    excluded: dict[str, str] = {}
    monitoring: MonitoringView = MonitoringView()
    provenance: ProvenanceView = ProvenanceView()
    charts: tuple[ChartView, ...] = ()

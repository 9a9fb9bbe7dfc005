"""The whole inspection of one model: score, check, measure, judge.

In: what ``inspect`` is called with. Out: an ``Inspection``. Laws: a check that cannot be asked is named with the
reason; what rows cannot tell of a bundle is taken from its signed evidence and said to be.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from roadworthy import assembly
from roadworthy.adapters.keys import Hasher
from roadworthy.adapters.sources.row_digest import digest_rows
from roadworthy.api.inspection.required import asked_standard
from roadworthy.api.inspection.roles import Roles, require_time, roles_of, time_column, with_times
from roadworthy.api.inspection.rows import (
    Given,
    clusters_of,
    given_rows,
    nothing_left,
    outcomes,
    sample_of,
    typed_alike,
)
from roadworthy.api.subjects import Scored, Subject, subject_of
from roadworthy.api.subjects.reading import numbers_read, refuse_lacking
from roadworthy.errors import DataError, Problem
from roadworthy.graphs.fresh_process import costs
from roadworthy.measures.curves import exhibits_for
from roadworthy.measures.examined import Brief, Examined
from roadworthy.measures.quality import METRICS
from roadworthy.measures.samples import Sample
from roadworthy.measures.test_score import TestScoreFacts
from roadworthy.protocols import Reporter
from roadworthy.records.digests import Digest
from roadworthy.records.evidence import Evidence, Found, Measurement, Phase
from roadworthy.records.project import Task
from roadworthy.records.verdict import Verdict, Waiver
from roadworthy.stages.inspection import (
    CHECKS,
    RETRAINED,
    RETRAININGS,
    Check,
    concluded,
    counted,
    inspect_all,
)
from roadworthy.stages.measuring import measurements
from roadworthy.standard import CATALOGUE, Standard, judge
from roadworthy.standard.metric import MetricKind

__all__ = ["Asking", "Inspection", "inspect", "inspect_subject", "refuse_tampered"]

_SEED = 7
_KEPT = {"leaks"}  # of rows that trained it a bundle's own evidence knows more than any other rows can tell


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, and what it means under the standard.

    ``notes`` are what a person should know of rows left out and of roles that were inferred; ``not_asked`` maps the
    title of a check that could not be asked to the reason.
    """

    model: str
    data: str
    task: Task
    target: str
    standard: Standard
    evidence: Evidence
    verdict: Verdict
    notes: tuple[str, ...] = ()
    not_asked: dict[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What a call asks for beside model and rows, in the words of ``inspect``; ``train`` are rows with labels."""

    standard: Mapping[str, Any] | Path | str | None = None
    project: Path | str = assembly.PROJECT_FILE
    positive: str = ""
    threshold: float | None = None
    train: Given | None = None
    time: str = ""
    entity: str = ""
    protected: Sequence[str] = ()
    quick: bool = False
    retrain: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """The rows that can be judged: with a score and a label; ``digest`` names them as they came."""

    rows: pl.DataFrame
    labels: pl.Series
    scored: Scored
    digest: Digest


def inspect(
    model: Any,
    data: Any,
    y: Sequence[Any] | None = None,
    *,
    target: str = "",
    standard: Mapping[str, Any] | Path | str | None = None,
    project: Path | str = assembly.PROJECT_FILE,
    positive: str = "",
    threshold: float | None = None,
    train: Any = None,
    train_y: Sequence[Any] | None = None,
    time: str = "",
    entity: str = "",
    protected: Sequence[str] = (),
    quick: bool = False,
    retrain: int = 0,
    reporter: Reporter | None = None,
) -> Inspection:
    """Measure a model on labelled rows and judge it.

    ``model``: ``latest``, ``champion`` or a number (of ``project``), a bundle's folder, an ONNX, LightGBM or XGBoost
    file, the URL of a model behind the Open Inference Protocol, an estimator with ``predict_proba`` or ``predict``, or
    a callable from a frame to scores. ``data``: a path, a frame, or the feature columns with the labels as ``y``.
    ``standard``: a table, a TOML file, or None: the bundle's own, otherwise the preset "service", as far as rows can
    tell. What rows cannot tell of a bundle (parity, leaks) is taken from its signed evidence.

    ``train`` (and ``train_y``): rows that the model learned from, without which leaks across the split and overfitting
    cannot be seen. ``time``, ``entity``, ``protected``: columns of the rows; those of a bundle's contract, or such as
    their names and values suggest, where none are named. ``quick`` looks at fewer rows; ``retrain`` is how many
    trainings stability may take (0: none). ``reporter`` shows the work.

    A bundle's slices, entities and labels are read as its contract reads them, personal values hashed.

    Raises UsageError, DataError or ModelError for what cannot be inspected, RegistryError where a signed word of the
    project is not as it was signed. A pickle is never loaded.
    """
    given = given_rows(data, y, target)
    refuse_tampered(project)
    subject = subject_of(model, given.rows, given.target, project)
    asked = Asking(
        standard=standard,
        project=project,
        positive=positive,
        threshold=threshold,
        train=None if train is None else given_rows(train, train_y, given.target),
        time=time,
        entity=entity,
        protected=protected,
        quick=quick,
        retrain=retrain,
    )
    return inspect_subject(subject, given, asked, reporter)[0]


def inspect_subject(
    subject: Subject,
    given: Given,
    asking: Asking,
    reporter: Reporter | None,
    beside: tuple[Measurement, ...] = (),
) -> tuple[Inspection, Evidence]:
    """Measure a subject on labelled rows and judge it; beside the inspection the evidence before signed words count.

    ``beside`` are measurements that the caller has made of the same model.
    """
    named = roles_of(given, subject, time=asking.time, entity=asking.entity, protected=asking.protected)
    known = _timed(_hidden(_known(subject, given), subject, named), subject, named.time)
    roles = msgspec.structs.replace(named, time=time_column(known.rows, named.time))
    sample = _sample(known, subject, roles, asking.positive, asking.threshold)
    learned = None if asking.train is None else _learned(subject, asking.train, named, known, sample)
    examined = _examined(subject, known, roles, sample, learned)
    asked = asked_standard(asking.standard, roles.task, subject.standard, known.rows.columns, given.target)
    _refuse_persons(subject, roles, asked.standard)
    brief = _brief(asked.standard, quick=asking.quick, retrain=asking.retrain)
    checks = (*CHECKS, _cost_check(subject, known.rows))
    found = inspect_all(examined, brief, reporter, checks)
    required, elsewhere = asked.measurable(_measured(found, subject) | {one.metric for one in beside})
    measured = _evidence(subject, known, sample, brief, found, beside)
    evidence, waivers, today = _signed_for(subject, required, measured, asking.project)
    inspection = Inspection(
        model=subject.name,
        data=given.shown,
        task=roles.task,
        target=given.target,
        standard=required,
        evidence=evidence,
        verdict=judge(required, evidence, waivers=waivers, today=today),
        notes=(*roles.notes, *_notes(known, subject, elsewhere, measured)),
        not_asked={check.title: reason for check in checks if (reason := check.lacks(examined, brief))},
    )
    return inspection, measured


def refuse_tampered(project: Path | str) -> None:
    """RegistryError where a signed word is not as it was signed: before the work, whose verdict would rest on it."""
    if assembly.is_project(project):
        opened = assembly.open_project(project)
        with assembly.opened_registry(opened) as registry:
            registry.signed(opened.spec.name)


def _brief(standard: Standard, *, quick: bool, retrain: int) -> Brief:
    """What is asked of the checks; models are trained anew where the caller, or the standard, asks for that."""
    brief = Brief(required=standard.of_phase(Phase.RELEASE), quick=quick, seed=_SEED)
    return replace(brief, retrainings=max(retrain, 0) or (RETRAININGS if brief.asks(*RETRAINED) else 0))


def _known(subject: Subject, given: Given, like: pl.DataFrame | None = None) -> _Known:
    scored = subject.scored(given.rows, given.target)
    answered = scored.sound & scored.labels.is_not_null().to_numpy()
    if not answered.any():
        raise nothing_left(scored, given)
    rows, labels = scored.rows.filter(answered), scored.labels.filter(answered)
    if not subject.contract:  # text files hold only text; a contract has read them already
        free = rows.drop(labels.name)
        typed = numbers_read(free.drop(subject.kept, strict=False)) if like is None else typed_alike(free, like)
        rows = rows.with_columns(typed.iter_columns()).with_columns(labels)
    return _Known(rows=rows, labels=labels, scored=scored, digest=digest_rows(rows.lazy()))


def _sample(known: _Known, subject: Subject, roles: Roles, positive: str, threshold: float | None) -> Sample:
    scored = known.scored
    answered = scored.sound & scored.labels.is_not_null().to_numpy()
    clusters = clusters_of(known.rows, roles.entity)
    return sample_of(known.labels, scored.scores[answered], roles.task, subject, positive, threshold, clusters)


@cache
def _hasher() -> Hasher:
    """With a key that no one keeps: what it hides is told from other values, in this process, and no more."""
    return Hasher(secrets.token_bytes(32))


def _hidden(known: _Known, subject: Subject, roles: Roles) -> _Known:
    """The same with the columns that look personal hashed, unless the model itself reads them."""
    own = [name for name in roles.personal if name in known.rows.columns and name not in subject.columns]
    return replace(known, rows=known.rows.with_columns(_hasher().hash(known.rows.get_column(name)) for name in own))


def _refuse_persons(subject: Subject, roles: Roles, standard: Standard) -> None:
    """DataError where groups would be told by values that look personal and cannot be hidden from the model."""
    sliced = {one.slice for one in standard.requirements}
    shown = [name for name in roles.personal if name in subject.columns and (name in roles.protected or name in sliced)]
    if shown:
        raise DataError(
            "groups of persons would be named by their own values",
            problems=[
                Problem("it looks personal, and the model reads it", where=f"column {name}", expected="groups of many")
                for name in shown
            ],
            next_step="compare groups by another column",
        )


def _timed(known: _Known, subject: Subject, time: str) -> _Known:
    """The same with its time read: in place, or beside it where the model itself reads that column as it stands."""
    if not subject.contract and time in known.rows.columns:
        known = replace(known, rows=with_times(known.rows, time, beside=time in subject.columns))
    require_time(known.rows, time_column(known.rows, time))
    return known


def _learned(
    subject: Subject, given: Given, roles: Roles, inspected: _Known, sample: Sample
) -> tuple[pl.DataFrame, Any]:
    """Training rows with their outcomes, read as the ``inspected`` ones are."""
    refuse_lacking(subject.columns, given.rows.columns, "the model (training rows)")
    known = _timed(_hidden(_known(subject, given, inspected.rows), subject, roles), subject, roles.time)
    return known.rows, outcomes(known.labels, sample.task, sample.classes)


def _examined(
    subject: Subject, known: _Known, roles: Roles, sample: Sample, learned: tuple[pl.DataFrame, Any] | None
) -> Examined:
    rows = known.rows.drop(known.labels.name, strict=False)
    there = set(rows.columns)
    columns = subject.columns or tuple(rows.columns)
    return Examined(
        sample=sample,
        rows=rows,
        columns=tuple(name for name in columns if name in there),
        answer=subject.answer,
        target=known.labels.name,
        time=roles.time if roles.time in there else "",
        entity=roles.entity if roles.entity in there else "",
        protected=tuple(name for name in roles.protected if name in there),
        train=None if learned is None else learned[0].drop(known.labels.name, strict=False),
        train_y=None if learned is None else learned[1],
        refit=subject.refit,
        contract=subject.contract,
    )


_COST_METRICS = tuple(name for name, metric in CATALOGUE.items() if metric.kind is MetricKind.COST)


def _cost_check(subject: Subject, rows: pl.DataFrame) -> Check:
    """What a prediction costs, measured in a fresh process where the model can go there."""

    def run(_examined: Examined, brief: Brief) -> Found:
        if subject.cost is None:
            return Found()
        measured = subject.cost(rows, quick=brief.quick, required=brief.required)
        return Found(measurements=costs(measured, brief.required))

    def lacks(_examined: Examined, _brief: Brief) -> str:
        return "" if subject.cost is not None else "nothing tells how to measure this model by itself"

    return Check(name="cost", title="cost of a prediction", run=run, metrics=_COST_METRICS, lacks=lacks)


def _evidence(  # noqa: PLR0917 - everything that evidence is made of
    subject: Subject, known: _Known, sample: Sample, brief: Brief, found: Found, beside: tuple[Measurement, ...]
) -> Evidence:
    own = (*beside, *measurements(sample, known.rows, brief.required), *_quarantined(known.scored))
    here = (*own, *found.measurements, *counted(found.findings))
    made = {one.metric for one in here}
    signed = tuple(one for one in subject.signed if one.metric not in made - _KEPT)
    return Evidence(
        subject=subject.digest,
        holdout=known.digest,
        measurements=(*here, *signed),
        findings=found.findings,
        exhibits=(*exhibits_for(sample), *found.exhibits),
    )


def _signed_for(
    subject: Subject, required: Standard, evidence: Evidence, project: Path | str
) -> tuple[Evidence, tuple[Waiver, ...], date]:
    """The evidence with what people signed for in the project, if there is one, and the waivers that count."""
    facts = TestScoreFacts(
        columns=subject.columns, required=tuple(dict.fromkeys(one.metric for one in required.of_phase(Phase.RELEASE)))
    )
    today = assembly.SystemClock().now().date()
    if not assembly.is_project(project):
        return concluded(evidence, facts, (), today), (), today
    opened = assembly.open_project(project)
    with assembly.opened_registry(opened) as registry:
        name = opened.spec.name
        looks = registry.look(evidence.holdout, evidence.subject)
        evidence = msgspec.structs.replace(evidence, looks=looks)
        concluding = concluded(evidence, facts, registry.attestations(name), today)
        return concluding, registry.waivers(name), today


def _measured(found: Found, subject: Subject) -> set[str]:
    """Metrics that this inspection can judge."""
    checked = {one.metric for one in (*found.measurements, *subject.signed)}
    quarantined = {"quarantined_share"} if subject.contract else set()
    return {*METRICS, "pitfalls", "questions", *checked, *quarantined}


def _notes(known: _Known, subject: Subject, elsewhere: Sequence[str], evidence: Evidence) -> Iterator[str]:
    """What a person should know of rows that were left out, and of requirements that rows do not tell."""
    yield from subject.notes
    rows = known.scored.rows.height
    if known.rows.height < rows:
        yield f"{rows - known.rows.height:,} of {rows:,} rows have no score or no label and were left out"
    for reason, count in known.scored.misread.items():
        yield f"{count:,} labels do not meet the contract: {reason}"
    carried = [one.metric for one in subject.signed if one in evidence.measurements]
    if carried:
        named = ", ".join(dict.fromkeys(carried))
        yield f"{named}: from the bundle's signed evidence, since rows like these cannot tell"
    if elsewhere:
        yield f"{', '.join(elsewhere)}: judged where the model is trained and packaged, not on rows like these"


def _quarantined(scored: Scored) -> tuple[Measurement, ...]:
    n = scored.rows.height
    share = float(1 - scored.meets.mean()) if n else 0.0
    return (Measurement(metric="quarantined_share", value=share, lower=share, upper=share, n=n, method="counted"),)

"""A model that others serve, watched from its prediction log.

In: a log, a reference log from a time when all was well, which of their columns is what, a project file with the
standard. Out: traffic, and what it is held to. Laws: nothing is known of the model itself, so nothing is scored again;
the reference alone says what is usual, and estimates are made from its labels where it has some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy import assembly
from roadworthy.adapters.foreign_log import ForeignColumns, ForeignLog, foreign_log
from roadworthy.adapters.prediction_log import FeedbackRead, with_labels
from roadworthy.adapters.prediction_log.labels import SCHEMA
from roadworthy.api.watching.traffic import by_hour, counts_between, moment, observed, place_of
from roadworthy.api.watching.versions import waivers_of
from roadworthy.errors import DataError, Problem
from roadworthy.formats.bundle.parts import ServingContract
from roadworthy.measures.drift import with_dispersion
from roadworthy.measures.estimation import MIN_REFERENCE_ROWS, EstimatorState, fit_estimator
from roadworthy.measures.samples import Sample
from roadworthy.measures.sketches import Reference, sketch, sketch_scores
from roadworthy.records.digests import digest_data
from roadworthy.records.project import Task
from roadworthy.records.verdict import Waiver
from roadworthy.records.window import Place
from roadworthy.stages.monitor import MonitorPlan, monitor_plan
from roadworthy.stages.package_reference import hidden_columns
from roadworthy.stages.watching.observed import beyond, labelled, sample_of, score_matrix
from roadworthy.stages.watching.watched import Watched

__all__ = ["ForeignTraffic", "ForeignVersions", "foreign"]


@dataclass(frozen=True, slots=True)
class ForeignTraffic:
    """Implements ``traffic.Traffic`` over a log that stands in memory."""

    frame: pl.DataFrame
    labels: FeedbackRead

    def places(self, after: Place, until_us: int, most: int) -> Sequence[Place]:
        """See Traffic."""
        rows = self.frame.filter(beyond(after), pl.col("_at").dt.epoch("us") < until_us).head(most)
        return [place_of(key) for key in rows.select(pl.col("_at").dt.epoch("us"), "_id", "_row").iter_rows()]

    def rows(self, after: Place, until: Place, known_by_us: int) -> pl.DataFrame:
        """See Traffic."""
        return _labelled(self.frame.filter(beyond(after), ~beyond(until)), self._known(0, known_by_us))

    def labelled_since(self, since_us: int, until_us: int) -> pl.DataFrame:
        """See Traffic."""
        fresh = self._known(since_us, until_us)
        rows = self.frame if fresh.received else self.frame.head(0)
        found = _labelled(rows, fresh).filter(pl.col("_labelled_at").is_not_null())
        return found.sort("_labelled_at", "_at", "_id", "_row", maintain_order=True)

    def hours(self, after_us: int, until_us: int) -> pl.DataFrame:
        """See Traffic."""
        at = pl.col("_at").dt.epoch("us")
        return by_hour(self.frame.lazy().filter(at >= after_us, at < until_us), "_at", "_decision").collect()

    def counts(self, after: Sequence[Place], until: Sequence[Place]) -> Sequence[int]:
        """See Traffic."""
        return counts_between(self.frame, after, until, own="_")

    def told_until(self, now_us: int) -> int:
        """See Traffic: that a file ends says nothing of whether anybody asks."""
        return min(now_us, int(self.frame.get_column("_at").dt.epoch("us")[-1])) if self.frame.height else 0

    def _known(self, since_us: int, until_us: int) -> FeedbackRead:
        at, latest = pl.col("at"), self.labels.latest
        known = latest.filter(at >= moment(since_us).replace(tzinfo=None), at < moment(until_us).replace(tzinfo=None))
        return FeedbackRead(known, known.height, 0, 0)


@dataclass(frozen=True, slots=True)
class ForeignVersions:
    """Whatever answered is held to one reference."""

    project: assembly.Project
    watched: Watched

    def titled(self, title: str) -> Watched | None:
        """The one that there is."""
        return self.watched if title == self.watched.title else None

    def in_service(self) -> Watched:
        """The one that there is."""
        return self.watched

    def waivers(self) -> tuple[Waiver, ...]:
        """What a named person has signed for, and holds today."""
        return waivers_of(self.project)


def foreign(
    opened: assembly.Project,
    log: object,
    reference: object,
    columns: ForeignColumns,
    *,
    threshold: float | None = None,
) -> tuple[ForeignTraffic, ForeignVersions]:
    """Traffic of ``log``, held to ``reference`` and the project's standard.

    ``columns`` names the columns of both. Raises DataError with every problem: columns that are not there, a reference
    without labels whose classes nothing tells, decisions that no threshold explains.
    """
    title = f"{opened.spec.name} (log)"
    task = opened.spec.task
    past = foreign_log(assembly.source_of(reference), columns, task=task, version=title)
    classes = _classes(opened, past)
    known = _frame(past, title)
    cut = threshold if threshold is not None or task is not Task.BINARY else _threshold(known, classes)
    now = foreign_log(assembly.source_of(log), columns, task=task, version=title)
    nothing = FeedbackRead(_no_labels(past), 0, 0, 0)
    watched = _watched(opened, title, known, past.labels or nothing, classes=classes, threshold=cut)
    return ForeignTraffic(_frame(now, title), now.labels or nothing), ForeignVersions(opened, watched)


def _frame(log: ForeignLog, title: str) -> pl.DataFrame:
    rows = log.rows.collect().with_columns(pl.lit(title).alias("version"))
    texts = [name for name, kind in rows.schema.items() if isinstance(kind, pl.Categorical | pl.Enum)]
    return observed(rows.with_columns(pl.col(texts).cast(pl.String)))


def _no_labels(log: ForeignLog) -> pl.DataFrame:
    schema = {name: kind for name, kind in SCHEMA.items() if name not in {"key", "place"}}
    return pl.DataFrame(schema=schema) if log.labels is None else log.labels.latest.clear()


def _labelled(rows: pl.DataFrame, read: FeedbackRead) -> pl.DataFrame:
    own = rows.rename({"_id": "id", "_row": "row"}).drop("_label", "_value", "_comment", "_labelled_at", strict=False)
    found = with_labels(own, read)
    return found.rename({name: f"_{name}" for name in ("id", "row", "label", "value", "comment", "labelled_at")})


def _classes(opened: assembly.Project, past: ForeignLog) -> tuple[str, ...]:
    """The classes, the negative one first; from the contract, else from the reference's labels and decisions."""
    spec = opened.spec
    if spec.task is Task.REGRESSION:
        return ()
    declared = spec.contract.columns[spec.target].allowed
    seen = set(past.rows.select("decision").collect().get_column("decision").drop_nulls().to_list())
    if past.labels is not None:
        seen |= set(past.labels.latest.get_column("label").to_list())
    names = sorted(declared or seen)
    if spec.task is Task.BINARY:
        if len(names) != 2:
            raise DataError(
                "the log's classes cannot be told",
                problems=[Problem(f"{', '.join(names) or 'none'} in the reference", expected="two classes")],
                next_step=f'declare them: [contract.columns.{spec.target}] allowed = ["0", "1"]',
            )
        positive = spec.positive or names[-1]
        names = [*(name for name in names if name != positive), positive]
    return tuple(names)


def _threshold(rows: pl.DataFrame, classes: Sequence[str]) -> float:
    """The score from which on the decision was the positive class; DataError where no threshold explains it."""
    decided = rows.filter(pl.col("_decision").is_not_null(), pl.col("_score").is_not_null())
    scores = decided.get_column("_score").cast(pl.Float64).to_numpy()
    positive = (decided.get_column("_decision") == classes[1]).to_numpy()
    low, high = scores[positive].min(initial=np.inf), scores[~positive].max(initial=-np.inf)
    if not np.isfinite(low) or high >= low:
        raise DataError(
            "no threshold explains the decisions of the reference",
            problems=[Problem(f"a score of {high:.6g} was decided {classes[0]}, one of {low:.6g} {classes[1]}")],
            next_step="name the score that was decided by, or say the threshold",
        )
    return float(low)


def _watched(
    opened: assembly.Project,
    title: str,
    rows: pl.DataFrame,
    labels: FeedbackRead,
    *,
    classes: tuple[str, ...],
    threshold: float | None,
) -> Watched:
    spec = opened.spec
    own = [name for name in spec.contract.columns if name in rows.columns and name not in spec.data.exclude]
    contract = ServingContract(
        name=spec.name,
        task=spec.task,
        target=spec.target,
        classes=classes,
        positive=classes[1] if spec.task is Task.BINARY else "",
        threshold=threshold,
        time=spec.data.time,
        entity=spec.data.entity,
        protected=spec.data.protected,
        contract=spec.contract,
        inputs=tuple(own),
    )
    scores = score_matrix(rows, spec.task)
    joined = _labelled(rows, labels)
    known, outcome, _ = labelled(joined, contract)
    apart = {spec.target, spec.data.time, spec.data.entity}
    together = [name for name in own if name not in apart]
    columns = sketch(rows, own, hidden=hidden_columns(spec), together=together)
    columns = with_dispersion(columns, rows, entity=spec.data.entity, scores=scores.reshape(rows.height, -1))
    read = [name for name in together if name not in hidden_columns(spec)]
    return Watched(
        title=title,
        digest=digest_data([title, columns, opened.standard.digest()]),
        subject=digest_data(title),
        model=b"",
        contract=contract,
        plan=msgspec.convert(monitor_plan(spec, opened.standard), MonitorPlan),
        columns=columns,
        scores=Reference(rows=rows.height, scores=sketch_scores(scores)),
        groups=_groups(opened, rows),
        estimator=_estimator(known, outcome, contract, columns, read),
        made_us=int(rows.get_column("_at").dt.epoch("us")[-1]),
    )


def _estimator(
    known: pl.DataFrame, outcome: NDArray[np.float64], contract: ServingContract, columns: Reference, read: list[str]
) -> EstimatorState | None:
    if len(outcome) < MIN_REFERENCE_ROWS:
        return None
    sample: Sample = sample_of(known, outcome, contract, columns)
    return fit_estimator(sample, known, read)


def _groups(opened: assembly.Project, rows: pl.DataFrame) -> dict[str, tuple[str, ...]]:
    """The groups of each column that a requirement is sliced by, where they are values."""
    sliced = {item.slice for item in opened.standard.requirements if item.slice in rows.columns}
    return {
        name: tuple(sorted(rows.get_column(name).drop_nulls().cast(pl.String).unique().to_list()))
        for name in sliced
        if not rows.schema[name].is_float()
    }

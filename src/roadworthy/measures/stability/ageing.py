"""The model over time: how its quality moves, and how much a model loses that is not renewed.

In: an ``Examined`` with a ``time``. Out: exhibits and findings of quality by quarter of the rows, and ``staleness``,
for which models are trained anew. Law: a model is only asked about rows that are later than all that it learned from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.measures.examined import Brief, Examined
from roadworthy.measures.intervals import NotEnough, skewed_t
from roadworthy.measures.losses import base_loss, row_losses
from roadworthy.measures.quality import measure_safely
from roadworthy.measures.samples import Sample, entity_codes
from roadworthy.records.evidence import Exhibit, Finding, Found, Measurement
from roadworthy.records.project import Task

__all__ = ["AGEING_TRAININGS", "ageing", "over_time"]

_QUARTERS = 4
_PERIODS = 5
AGEING_TRAININGS = _PERIODS
"""How many trainings ``ageing`` takes: one old model, and a fresh one for each later period."""

_MOST_TRAINED = 30_000
_FEWEST_ROWS = 200


def over_time(examined: Examined, _brief: Brief) -> Found:
    """Quality in each quarter of the rows by time; a suspicion where the last is provably worse than the first.

    Quarters hold equal numbers of rows; rows without a time are left out. The two ends are compared by bounds that
    together hold at 95 %.
    """
    sample = examined.sample
    order = _ordered(examined.rows[examined.time])
    parts = np.array_split(order, _QUARTERS)
    if min(len(part) for part in parts) < _FEWEST_ROWS // _QUARTERS:
        note = f"{len(order)} rows have a time: too few to tell quarters apart"
        return Found(exhibits=(_over_time_table([], note),))
    metric, plain = ("r2", "mae") if sample.task is Task.REGRESSION else ("skill", "accuracy")
    lines = []
    for place, part in enumerate(parts, start=1):
        piece = sample.take(np.sort(part))
        rating = measure_safely(metric, piece, confidence=0.975)
        figure = measure_safely(plain, piece, confidence=0.975)
        lines.append((place, len(part), rating, figure))
    note = f"{'Skill is r2. ' if metric == 'r2' else ''}Each bound holds with 97.5 % confidence."
    return Found(findings=_fallen(lines), exhibits=(_over_time_table(lines, note),))


def _over_time_table(lines: list[tuple[int, int, Measurement, Measurement]], note: str) -> Exhibit:
    columns: dict[str, list[Any]] = {
        "quarter": [f"{place} of {_QUARTERS}" for place, *_ in lines],
        "rows": [rows for _, rows, _, _ in lines],
        "skill": [rating.value for *_, rating, _ in lines],
        "lower": [rating.lower for *_, rating, _ in lines],
        "upper": [rating.upper for *_, rating, _ in lines],
    }
    if lines:
        plain = lines[0][3].metric
        columns[plain] = [figure.value for *_, figure in lines]
        columns[f"{plain}_lower"] = [figure.lower for *_, figure in lines]
        columns[f"{plain}_upper"] = [figure.upper for *_, figure in lines]
    return Exhibit(name="over_time", title="Quality over the time that the rows span", columns=columns, note=note)


def _fallen(lines: list[tuple[int, int, Measurement, Measurement]]) -> tuple[Finding, ...]:
    first, last = lines[0][2], lines[-1][2]
    if first.lower is None or last.upper is None or last.upper >= first.lower:
        return ()
    sentence = (
        f"Quality falls over the rows' own time: {first.metric} is {first.value:.3f} in the first quarter (at least "
        f"{first.lower:.3f}) and {last.value:.3f} in the last (at most {last.upper:.3f}). The world moves away from "
        "the model: plan to renew it, and watch it."
    )
    details = {"first": first.value, "last": last.value}
    return (Finding(kind="falling_quality", subject="time", grade="suspects", sentence=sentence, details=details),)


def ageing(examined: Examined, brief: Brief) -> Found:
    """How much skill a model loses that is trained once, against one that is renewed before every period.

    All rows (those that the model learned from too, where they are known) are cut into six periods of equal size. One
    model learns from the first; for each later period a fresh one learns from the period just before it; both answer
    the period's rows, and their losses are compared row by row. ``staleness`` is the difference in the last period.
    """
    if examined.refit is None:
        return Found()
    frame, y, clusters = _history(examined)
    order = _ordered(frame[examined.time])
    parts = [np.sort(part) for part in np.array_split(order, _PERIODS + 1)]
    confidence = brief.confidence("staleness")
    facts: dict[str, Any] = {"metric": "staleness", "confidence": confidence}
    if min(len(part) for part in parts) < _FEWEST_ROWS:
        reason = f"staleness needs {_FEWEST_ROWS * (_PERIODS + 1):,} rows with a time, has {len(order):,}"
        return Found(measurements=(Measurement(**facts, n=len(order), insufficient=reason),))
    inputs, rng = frame.select(examined.columns), brief.rng("ageing")
    old = None
    lines: list[dict[str, Any]] = []
    for place, part in enumerate(parts[1:], start=1):
        before = np.sort(rng.permutation(parts[place - 1])[:_MOST_TRAINED])
        fresh = examined.refit(inputs[before], y[before], brief.seed)
        old = fresh if old is None else old
        asked = np.sort(rng.permutation(part)[:_MOST_TRAINED])
        template = _sample(examined.sample, y[asked], None if clusters is None else clusters[asked])
        rows = inputs[asked]
        lines.append(_compared(place, template, old(rows).score, fresh(rows).score, confidence))
        brief.advance(1)
    return _aged(lines, facts)


def _history(examined: Examined) -> tuple[pl.DataFrame, NDArray[Any], NDArray[np.int64] | None]:
    """All rows that there are, with outcome and cluster."""
    needed = list(dict.fromkeys([*examined.columns, examined.time]))
    rows, y = examined.rows.select(needed), examined.sample.y
    train = examined.train
    if train is None or examined.train_y is None or any(name not in train.columns for name in needed):
        return rows, y, examined.sample.clusters
    both = pl.concat([train.select(needed), rows], how="vertical_relaxed")
    outcome = np.concatenate([examined.train_y, y])
    entity = examined.entity
    if entity and entity in train.columns and entity in examined.rows.columns:
        return both, outcome, entity_codes(pl.concat([train[entity], examined.rows[entity]]))
    return both, outcome, None


def _ordered(time: pl.Series) -> NDArray[np.int64]:
    """Positions of the rows that have a time, earliest first."""
    known = np.flatnonzero(time.is_not_null().to_numpy())
    values = time.filter(time.is_not_null()).to_physical().to_numpy()
    return np.asarray(known[np.argsort(values, kind="stable")], dtype=np.int64)


def _sample(like: Sample, y: NDArray[Any], clusters: NDArray[np.int64] | None) -> Sample:
    """A sample of other rows, whose scores are still to come."""
    shape = (len(y), like.class_count) if like.task is Task.MULTICLASS else (len(y),)
    blank = np.full(shape, 1.0 / max(like.class_count, 1))
    return Sample(
        task=like.task,
        y=y,
        score=blank,
        threshold=like.threshold,
        classes=like.classes,
        clusters=clusters,
        seed=like.seed,
    )


def _compared(
    period: int, sample: Sample, old: NDArray[np.float64], fresh: NDArray[np.float64], confidence: float
) -> dict[str, Any]:
    """One period: both models' skill, and the difference of their losses as a share of the base loss."""
    base = base_loss(sample) or 1.0
    losses = [row_losses(sample.scored(score)) for score in (old, fresh)]
    worse = (losses[0] - losses[1]) / base
    value = float(worse.mean())
    line: dict[str, Any] = {
        "period": period,
        "rows": sample.n,
        "old": 1.0 - float(losses[0].mean()) / base,
        "fresh": 1.0 - float(losses[1].mean()) / base,
        "difference": value,
        "lower": value if period == 1 else None,
        "upper": value if period == 1 else None,
    }
    try:
        bounds = skewed_t(value, (worse - value) / sample.n, sample.clusters, confidence)
        line |= {"lower": bounds.lower, "upper": bounds.upper, "clusters": bounds.clusters, "method": bounds.method}
    except NotEnough as reason:
        line["insufficient"] = "" if period == 1 else str(reason)
    return line


def _aged(lines: list[dict[str, Any]], facts: dict[str, Any]) -> Found:
    last = lines[-1]
    short = last.get("insufficient", "")
    measured = Measurement(
        **facts,
        n=last["rows"],
        value=None if short else last["difference"],
        lower=last["lower"],
        upper=last["upper"],
        clusters=last.get("clusters", 0),
        method=last.get("method", ""),
        insufficient=f"staleness {short}" if short else "",
    )
    names = ("period", "rows", "old", "fresh", "difference", "lower", "upper")
    exhibit = Exhibit(
        name="ageing",
        title="A model that is never renewed beside one that is",
        columns={name: [line[name] for line in lines] for name in names},
        note="Skill in each later sixth of the rows by time; both models learn from one sixth.",
    )
    findings: tuple[Finding, ...] = ()
    if last["lower"] is not None and last["lower"] > 0:
        sentence = (
            f"A model that is not renewed loses {last['difference']:.1%} of the base loss to a fresh one by the end of "
            f"the rows (provably at least {last['lower']:.1%}): plan how often to retrain."
        )
        findings = (Finding(kind="staleness", subject="time", grade="notes", sentence=sentence),)
    return Found(measurements=(measured,), findings=findings, exhibits=(exhibit,))

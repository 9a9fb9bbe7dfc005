"""What other purposes would make of this model: where they would put the threshold, and what they would get.

In: an ``Examined`` binary model. Out: the trade-off over all thresholds; a table of purposes (a spam filter, which must
not lose a letter; a fraud detector, which must not miss a fraud; one for whom a miss costs fifty false alarms); a note
for each. Laws: a threshold is chosen on one half of the rows and its figures come from the other, so that they do not
flatter; entities are never on both sides; a constraint counts as met where its lower bound says so on the half that
chose.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.measures.examined import Brief, Examined
from roadworthy.measures.intervals import NotEnough
from roadworthy.measures.losses import mean_bounds
from roadworthy.measures.quality import measure
from roadworthy.measures.samples import Sample, folds_of
from roadworthy.measures.thresholds import choose_threshold, tradeoff_exhibit
from roadworthy.records.evidence import Exhibit, Finding, Found
from roadworthy.records.project import DecisionSpec

__all__ = ["FALSE_ALARM_COST", "MISS_COST", "PURPOSES", "Purpose", "threshold"]

FALSE_ALARM_COST, MISS_COST = 1.0, 50.0
_FEWEST = 40
_MOST_ROWS, _QUICK_ROWS = 100_000, 20_000


class Purpose(NamedTuple):
    """Somebody who would use the model: who, and what they declare under ``[decision] threshold``."""

    who: str
    rule: str
    declared: dict[str, Any]


PURPOSES = (
    Purpose(
        "a spam filter",
        "precision >= 0.99 first, then recall",
        {"maximize": "recall", "subject_to": "precision >= 0.99"},
    ),
    Purpose(
        "a fraud detector",
        "recall >= 0.9 first, then precision",
        {"maximize": "precision", "subject_to": "recall >= 0.9"},
    ),
    Purpose(
        "a fraud detector that counts costs",
        "a missed event costs as much as 50 false alarms",
        {"minimize": "cost", "false_positive": FALSE_ALARM_COST, "false_negative": MISS_COST},
    ),
    Purpose("one for whom recall counts twice", "the greatest F2", {"maximize": "f2"}),
)


class _Point(NamedTuple):
    """A threshold and what it gives on rows that did not choose it; ``met`` is None where nothing was to be proven."""

    who: str
    rule: str
    threshold: float
    met: bool | None
    figures: dict[str, float | None]


def threshold(examined: Examined, brief: Brief) -> Found:
    """What each purpose would choose and get, beside the threshold that the model has now.

    Rows are halved at random (by entity where there is one); too few events or non-events leave a note that says so.
    At most 100,000 rows are looked at (20,000 in a quick inspection).
    """
    sample = _some(examined.sample, brief)
    drawn = tradeoff_exhibit(sample, title="What each threshold would give, on the rows inspected")
    choosing, judging = _halves(sample, brief.rng("threshold halves"))
    fewest = min(int(part.class_counts().min()) for part in (choosing, judging))
    if fewest < _FEWEST:
        sentence = (
            f"What a spam filter or a fraud detector would choose is not said: of {_FEWEST} events and {_FEWEST} "
            f"non-events needed in each half of the rows, one half has {fewest}."
        )
        return Found(exhibits=(drawn,), findings=(_note("too few rows", sentence),))
    points = [_chosen(purpose, choosing, judging) for purpose in PURPOSES]
    now = [] if sample.threshold is None else [_point("as it is now", "", sample.threshold, None, judging)]
    notes = tuple(_note(point.who, _sentence(point, now, judging), point) for point in points)
    return Found(exhibits=(drawn, _table([*now, *points], choosing.n, judging.n)), findings=notes)


def _some(sample: Sample, brief: Brief) -> Sample:
    most = brief.most(_MOST_ROWS, _QUICK_ROWS)
    if sample.n <= most:
        return sample
    return sample.take(np.sort(brief.rng("threshold rows").permutation(sample.n)[:most]))


def _halves(sample: Sample, rng: np.random.Generator) -> tuple[Sample, Sample]:
    """Two halves at random: of the entities where there are any, otherwise of each class."""
    first: NDArray[np.bool_] = np.zeros(sample.n, dtype=np.bool_)
    if sample.clusters is not None:
        first = folds_of(sample.n, 2, rng, sample.clusters) == 0
    else:
        for label in (0, 1):
            rows = np.flatnonzero(sample.y == label)
            first[rng.permutation(rows)[: len(rows) // 2]] = True
    return sample.take(first), sample.take(~first)


def _chosen(purpose: Purpose, choosing: Sample, judging: Sample) -> _Point:
    choice = choose_threshold(DecisionSpec(threshold=purpose.declared), choosing)
    met = choice.constraint_met if "subject_to" in purpose.declared else None
    return _point(purpose.who, purpose.rule, choice.threshold, met, judging)


def _point(who: str, rule: str, cut: float, met: bool | None, judging: Sample) -> _Point:  # noqa: FBT001 - a cell of the table
    sample = judging.at(cut)
    figures: dict[str, float | None] = {}
    for metric in ("precision", "recall"):
        found = measure(metric, sample)
        figures |= {metric: found.value, f"{metric}_lower": found.lower, f"{metric}_upper": found.upper}
    said = sample.decision == 1
    figures["alarms_per_1000"] = 1000 * float(said.mean())
    figures["missed_per_1000"] = 1000 * float(((sample.y == 1) & ~said).mean())
    figures |= _costs(sample)
    return _Point(who, rule, float(cut), met, figures)


def _costs(sample: Sample) -> dict[str, float | None]:
    """Cost per row at 1 for a false alarm and 50 for a miss, with one-sided 95 % bounds."""
    said, event = sample.decision == 1, sample.y == 1
    paid = FALSE_ALARM_COST * (said & ~event) + MISS_COST * (~said & event)
    value = float(paid.mean())
    try:
        bounds = mean_bounds(paid.astype(np.float64), sample, 0.95, limits=(0.0, max(FALSE_ALARM_COST, MISS_COST)))
    except NotEnough:
        return {"cost": value, "cost_lower": None, "cost_upper": None}
    return {"cost": value, "cost_lower": bounds.lower, "cost_upper": bounds.upper}


def _table(points: list[_Point], chosen_on: int, judged_on: int) -> Exhibit:
    columns: dict[str, list[Any]] = {
        "purpose": [point.who for point in points],
        "rule": [point.rule for point in points],
        "threshold": [point.threshold for point in points],
        "proven": [point.met for point in points],
    }
    for name in points[0].figures:
        columns[name] = [point.figures[name] for point in points]
    note = (
        f"Each threshold is chosen on {chosen_on:,} of the rows inspected and measured on the other {judged_on:,}; "
        f"bounds hold with 95 % confidence each. cost is per row, {FALSE_ALARM_COST:g} for a false alarm and "
        f"{MISS_COST:g} for a missed event."
    )
    title = "What other purposes would choose, and what they would get"
    return Exhibit(name="operating_points", title=title, columns=columns, note=note)


def _sentence(point: _Point, now: list[_Point], judging: Sample) -> str:
    figures = point.figures
    if point.met is False:
        opening = f"Not proven fit for {point.who} ({point.rule}): no threshold proves that; the nearest, "
        opening += f"{point.threshold:.4f}, gives"
    else:
        opening = f"For {point.who} ({point.rule}) the threshold would be {point.threshold:.4f}, which gives"
    parts = [_share(figures, name) for name in ("precision", "recall")]
    paid = f" and costs {figures['cost']:.3g} per row" if "cost" in point.rule else ""
    if paid and now:
        paid += f" instead of {now[0].figures['cost']:.3g} at the present threshold,"
    return f"{opening} {parts[0]} and {parts[1]}{paid} on {judging.n:,} rows that did not choose it."


def _share(figures: dict[str, float | None], name: str) -> str:
    value, lower = figures[name], figures[f"{name}_lower"]
    if value is None:
        return f"no {name} (no row is called an event)"
    return f"{name} {value:.3f}" + (f" (at least {lower:.3f})" if lower is not None else "")


def _note(subject: str, sentence: str, point: _Point | None = None) -> Finding:
    details: dict[str, Any] = {}
    if point is not None:
        details = {"threshold": point.threshold, "proven": point.met, **point.figures}
    return Finding(kind="operating_point", subject=subject, grade="notes", sentence=sentence, details=details)

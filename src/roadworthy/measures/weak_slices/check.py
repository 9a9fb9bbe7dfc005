"""The check: what is said of the groups that hold.

In: ``Examined`` and ``Brief``. Out: ``Found`` with the metric ``weak_slices``, a finding per group, the exhibit.
"""

from __future__ import annotations

import math

from roadworthy.measures.examined import Brief, Examined
from roadworthy.measures.intervals import cluster_count, cluster_sums
from roadworthy.measures.weak_slices.groups import FALSE_DISCOVERIES, Cut, WeakGroup, weak_groups
from roadworthy.measures.weak_slices.search import MOST_PAIRED
from roadworthy.records.evidence import Exhibit, Finding, Found, Measurement

__all__ = ["weak_slices"]

_LEAST_ROWS = 1_000
_TYPICAL_SHARE = 0.05
_REACH = 4.2
_ERRORS = {"share": "share of wrong decisions", "squared": "mean squared error", "absolute": "mean absolute error"}


def weak_slices(examined: Examined, brief: Brief) -> Found:
    """Groups of rows, by the values of one to three columns, on which the model is provably worse than elsewhere.

    Each part of the rows (of the entities, where there are some) proves the groups that the others find, all tests
    together at a false discovery rate of 5 %. A group has at least 1 % of the rows (60 at least) and at most half of
    them; its error is above that elsewhere by a quarter of the overall error or more (by a point at least). The error
    is the share of wrong decisions; the squared error of the probability where no decision is taken; the absolute
    error in regression. ``weak_slices`` counts the groups, exactly; below 1,000 rows (entities) none is no evidence.
    """
    cut = weak_groups(examined, brief)
    confidence = brief.confidence("weak_slices")
    return Found(
        measurements=(_measured(cut, confidence),),
        findings=tuple(_finding(item, cut, confidence) for item in cut.groups),
        exhibits=(_exhibit(cut),),
    )


def _measured(cut: Cut, confidence: float) -> Measurement:
    sample, count = cut.sample, float(len(cut.groups))
    lacking = "" if cut.groups else _lacking(cut)
    counted = None if lacking else count
    return Measurement(
        metric="weak_slices",
        unit="count",
        n=sample.n,
        clusters=cluster_count(sample.clusters),
        confidence=confidence,
        value=counted,
        lower=counted,
        upper=counted,
        method=f"counted; proven on rows that did not find them, false discovery rate {FALSE_DISCOVERIES:.0%}",
        reason="" if lacking else _reason(cut),
        insufficient=lacking,
    )


def _lacking(cut: Cut) -> str:
    sample = cut.sample
    independent, noun = (
        (cluster_count(sample.clusters), "entities") if sample.clusters is not None else (sample.n, "rows")
    )
    if not cut.axes:
        return "no column has two values or more to cut by"
    if independent < _LEAST_ROWS:
        return (
            f"needs at least {_LEAST_ROWS:,} {noun}, has {independent:,}: half of them find groups and the other half "
            f"proves them; about {_LEAST_ROWS - independent:,} more {noun} would do"
        )
    return ""


def _reason(cut: Cut) -> str:
    if cut.groups:
        named = "; ".join(f"{item.words} ({_said(item.inside.value, cut.unit)})" for item in cut.groups)
        return f"Provably worse than elsewhere: {named}."
    least = _detectable(cut)
    said = f"{100 * least:.1f} points" if cut.unit == "share" else f"{least:.4g}"
    return (
        f"A group of {_TYPICAL_SHARE:.0%} of the rows would be found about nine times in ten if its error were {said} "
        "above that elsewhere."
    )


def _detectable(cut: Cut) -> float:
    """How much worse a group of 5 % must be to be proven in nine of ten inspections, by the normal approximation."""
    loss = cut.loss
    n, centred = len(loss), loss - loss.mean()
    sums = cluster_sums(cut.sample.clusters, centred)
    effect = max(float(sums @ sums) / max(float(centred @ centred), 1e-300), 1.0)
    rows = _TYPICAL_SHARE * n / 2 / effect
    if cut.unit != "share":
        return _REACH * float(loss.std()) / math.sqrt(rows)
    base, worse = float(loss.mean()), 0.0
    for _ in range(20):  # the spread depends on how much worse the group is
        share = min(base + worse, 0.5)
        worse = _REACH * math.sqrt(max(share * (1 - share), 1 / rows) / rows)
    return worse


def _finding(item: WeakGroup, cut: Cut, confidence: float) -> Finding:
    rows = int(item.rows.sum())
    inside = [_said(bound, cut.unit) for bound in item.inside[:3]]
    sentence = (
        f"On {item.words} ({rows:,} rows, {rows / cut.sample.n:.1%}) the model's {_ERRORS[cut.unit]} is {inside[0]} "
        f"({inside[1]} to {inside[2]}), and {_said(item.elsewhere, cut.unit)} elsewhere. Rows that did not find the "
        f"group prove it (p = {item.p:.1g})."
    )
    details = {
        "rows": rows,
        "error": item.inside.value,
        "lower": item.inside.lower,
        "upper": item.inside.upper,
        "elsewhere": item.elsewhere,
        "p": item.p,
        "tests": item.tests,
        "confidence": confidence,
    }
    return Finding(kind="weak_slice", subject=item.words, grade="suspects", sentence=sentence, details=details)


def _said(value: float, unit: str) -> str:
    return f"{value:.1%}" if unit == "share" else f"{value:.4g}"


def _left_out(cut: Cut) -> str:
    if cut.axes <= MOST_PAIRED:
        return ""
    return f" In pairs, the {MOST_PAIRED} of {cut.axes} columns that tell most by themselves in each search."


def _exhibit(cut: Cut) -> Exhibit:
    return Exhibit(
        name="weak_slices",
        title="Groups on which the model is provably worse",
        columns={
            "slice": [item.words for item in cut.groups],
            "rows": [int(item.rows.sum()) for item in cut.groups],
            "error": [item.inside.value for item in cut.groups],
            "lower": [item.inside.lower for item in cut.groups],
            "upper": [item.inside.upper for item in cut.groups],
            "elsewhere": [item.elsewhere for item in cut.groups],
            "p": [item.p for item in cut.groups],
        },
        note=f"Error: {_ERRORS[cut.unit]}, on rows that did not find the group.{_left_out(cut)}",
    )

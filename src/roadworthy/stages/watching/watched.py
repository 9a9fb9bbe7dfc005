"""What a version is held to while it is watched: all of it from the version's own bundle.

In: a verified bundle. Out: a frozen ``Watched``. Law: nothing here depends on the project file of today, so that a
past window is judged again by what held when its version was released.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import msgspec
import polars as pl

from roadworthy.errors import BundleError
from roadworthy.formats.bundle.parts import BundleParts, ServingContract
from roadworthy.measures.estimation import EstimatorState, read_estimator
from roadworthy.measures.sketches import Reference, sketch_like, sketch_scores
from roadworthy.records.contract import ColumnType
from roadworthy.records.digests import Digest, digest_bytes
from roadworthy.records.evidence import Phase
from roadworthy.records.version import Version
from roadworthy.stages.monitor import MonitorPlan, plan_of
from roadworthy.stages.package_estimator import ESTIMATOR
from roadworthy.stages.package_reference import COLUMNS, SCORES
from roadworthy.stages.watching.observed import answered_by, score_matrix
from roadworthy.standard import Requirement

__all__ = ["Watched", "watched"]


@dataclass(frozen=True)
class Watched:
    """A version, its contract, the requirements that hold live, and what windows are compared with.

    ``model`` is the graph, empty where others serve it; ``made_us`` when the version was made.
    """

    title: str
    digest: Digest
    subject: Digest
    model: bytes
    contract: ServingContract
    plan: MonitorPlan
    columns: Reference
    scores: Reference
    groups: dict[str, tuple[str, ...]]
    estimator: EstimatorState | None
    made_us: int

    @property
    def required(self) -> tuple[Requirement, ...]:
        """The requirements with a live phase."""
        return self.plan.requirements

    @cached_property
    def reference(self) -> Reference:
        """Columns and scores in one.

        The target is no column that traffic has, the time of a row is never that of a row of training, and entities
        come and go.
        """
        no_columns = {self.contract.target, self.contract.time, self.contract.entity}
        everything = {*self.columns.numbers, *self.columns.categories}
        return _only(msgspec.structs.replace(self.columns, scores=self.scores.scores), everything - no_columns)

    def like(self, current: Reference) -> Reference:
        """The reference, of what a sketch has."""
        return _only(self.reference, {*current.numbers, *current.categories})

    def own(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows that this version answered; numbers are numbers again where another version read them as text."""
        texts = [name for name in self.columns.numbers if rows.schema.get(name) == pl.String]
        times = [name for name in texts if self._is_time(name)]
        numbers = [name for name in texts if name not in times]
        return answered_by(rows, self.title).with_columns(
            pl.col(numbers).cast(pl.Float64, strict=False), pl.col(times).str.to_datetime(time_unit="us", strict=False)
        )

    def _is_time(self, name: str) -> bool:
        column = self.contract.contract.columns.get(name)
        return column is not None and column.type is ColumnType.TIME

    def sketch(self, rows: pl.DataFrame) -> Reference:
        """Rows that this version answered, counted on its reference's own frame."""
        reference = _only(self.reference, set(rows.columns))
        counted = sketch_like(reference, rows)
        scores = sketch_scores(score_matrix(rows, self.contract.task), like=reference.scores)
        return msgspec.structs.replace(counted, scores=scores)


def watched(version: Version, parts: BundleParts) -> Watched:
    """What a version's bundle says of how it is to be watched; BundleError where a part does not parse."""
    plan = plan_of(parts)
    groups: dict[str, list[str]] = {}
    for one in parts.evidence.measurements:
        column, sign, group = one.slice.partition("=")
        if sign and one.phase is Phase.RELEASE and group not in groups.setdefault(column, []):
            groups[column].append(group)
    return Watched(
        title=version.title,
        digest=version.manifest,
        subject=digest_bytes(parts.model),
        model=parts.model,
        contract=parts.contract,
        plan=plan,
        columns=_reference(parts, COLUMNS),
        scores=_reference(parts, SCORES),
        groups={column: tuple(names) for column, names in groups.items()},
        estimator=read_estimator(parts.reference[ESTIMATOR]) if ESTIMATOR in parts.reference else None,
        made_us=int(datetime.fromisoformat(version.created_at).timestamp() * 1e6),
    )


def _only(reference: Reference, columns: Set[str]) -> Reference:
    return msgspec.structs.replace(
        reference,
        numbers={name: one for name, one in reference.numbers.items() if name in columns},
        categories={name: one for name, one in reference.categories.items() if name in columns},
    )


def _reference(parts: BundleParts, name: str) -> Reference:
    try:
        return msgspec.json.decode(parts.reference[name], type=Reference)
    except msgspec.MsgspecError as error:
        raise BundleError(f"reference/{name} does not parse: {error}") from error

"""Which columns tell time, entity and protected groups: named by the caller, by the model's contract, or inferred.

In: a call's words, a subject, rows. Out: ``Roles``, with a sentence for whatever was inferred. Law: what is named must
be there; what is inferred is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import polars as pl

from roadworthy.api.inspection.rows import Given
from roadworthy.api.subjects import Subject
from roadworthy.errors import DataError, Problem, TargetError, UnknownName
from roadworthy.records.project import Task
from roadworthy.transforms.cleaning.times import text_to_time
from roadworthy.transforms.inference import Inference, infer

__all__ = ["Roles", "require_time", "roles_of", "time_column", "with_times"]

_LOOKED_AT = 20_000


class Roles(msgspec.Struct, frozen=True, kw_only=True):
    """The task and the columns that play a part; ``notes`` say what was inferred.

    ``personal`` columns look as if they named persons; a contract has hidden its own already.
    """

    task: Task
    time: str = ""
    entity: str = ""
    protected: tuple[str, ...] = ()
    personal: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def roles_of(given: Given, subject: Subject, *, time: str, entity: str, protected: Sequence[str]) -> Roles:
    """What the caller names, else what the subject's contract declares, else what the rows suggest.

    A subject with a contract is not guessed at. UnknownName for a column that is not there.
    """
    for name in (*filter(None, (time, entity)), *protected):
        if name not in given.rows.columns:
            raise UnknownName("column", name, given.rows.columns)
    _require_plain(given, {"time": [time], "entity": [entity], "protected": protected})
    if subject.contract and subject.task is not None:
        return Roles(
            task=subject.task,
            time=time or subject.time,
            entity=entity or subject.entity,
            protected=tuple(protected) or subject.protected,
        )
    found = _inferred(given, subject)
    if found is None:
        return Roles(task=subject.task or Task.REGRESSION, time=time, entity=entity, protected=tuple(protected))
    roles = Roles(
        task=subject.task or found.task,
        time=time or (found.time if _usable_time(given.rows, found.time) else ""),
        entity=entity or found.entity,
        protected=tuple(protected) or found.protected,
        personal=found.personal,
    )
    asked = {"time": time, "entity": entity, "protected": protected}
    return msgspec.structs.replace(roles, notes=tuple(_said(roles, asked)))


def _require_plain(given: Given, asked: dict[str, Sequence[str]]) -> None:
    """DataError naming every column that can play no part: the labels, lists, structs, bytes."""
    problems = []
    for part, names in asked.items():
        for name in filter(None, names):
            kind = given.rows.schema[name]
            if kind.is_nested() or kind in {pl.Binary, pl.Object}:
                problems.append(Problem(f"type {kind}", where=f"column {name}", expected="numbers, texts or times"))
            if name == given.target:
                problems.append(Problem(f"the labels as {part}", where=f"column {name}", expected="another column"))
    if problems:
        raise DataError("some columns cannot play the part that they are named for", problems=problems)


def _inferred(given: Given, subject: Subject) -> Inference | None:
    """What the first rows suggest; None where the labels do not vary and the model itself says what it predicts.

    Leaks are left to the check of that name.
    """
    try:
        return infer(given.rows.head(_LOOKED_AT), target=given.target, source_name=given.shown, leaks=False)
    except TargetError as error:
        if subject.task is None:
            raise TargetError(
                str(error).splitlines()[0],
                problems=error.problems,
                next_step="pass rows with every label, or an estimator, which names its own",
            ) from error
        return None


def _usable_time(rows: pl.DataFrame, name: str) -> bool:
    """Whether rows can be ordered by a column that looks like a time."""
    if not name:
        return False
    read = with_times(rows.select(name), name).get_column(name)
    return read.dtype.is_temporal() and read.null_count() <= rows.get_column(name).null_count()


def _said(roles: Roles, asked: dict[str, str | Sequence[str]]) -> Iterator[str]:
    if roles.time and not asked["time"]:
        yield f"{roles.time} is taken for the time of the rows (--time names another)"
    if roles.entity and not asked["entity"]:
        yield f"intervals are clustered by {roles.entity}, which looks like an entity (--entity names another)"
    if roles.protected and not asked["protected"]:
        shown = ", ".join(roles.protected)
        yield f"{shown}: looks protected by its name, so its groups are compared (--protected names others)"


def time_column(rows: pl.DataFrame, name: str) -> str:
    """The column that holds a time as it was read."""
    return _beside(name) if _beside(name) in rows.columns else name


def _beside(name: str) -> str:
    return f"{name} as a time"


def with_times(rows: pl.DataFrame, name: str, *, beside: bool = False) -> pl.DataFrame:
    """The rows with a time that is written as ISO 8601 read as one; what cannot be read so is missing.

    ``beside``: in a column of its own, for a model that takes the text.
    """
    if name not in rows.columns or rows.schema[name] != pl.String:
        return rows
    return rows.with_columns(text_to_time(pl.col(name).str.strip_chars(), "").alias(_beside(name) if beside else name))


def require_time(rows: pl.DataFrame, name: str) -> None:
    """DataError where a column that is named as time holds none."""
    if not name or name not in rows.columns:
        return
    kind = rows.schema[name]
    if not (kind.is_temporal() or kind.is_numeric()) or rows.get_column(name).null_count() == rows.height:
        raise DataError(
            f"column {name} holds no times",
            problems=[Problem(f"type {kind}", where=f"column {name}", expected="dates, ISO 8601 texts or numbers")],
            next_step="write times as 2026-11-20 10:30:00, or leave --time out",
        )

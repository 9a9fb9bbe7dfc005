"""Estimators and functions from Python, under inspection.

In: a scikit-learn-compatible estimator, or a callable from rows to scores. Out: a ``Subject``. Laws: the model gets
the kind of table that it was fitted on; it is never written to disk and never unpickled; it is trained anew only as a
clone.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.api.subjects.costing import batch_of
from roadworthy.api.subjects.exporting import estimator_export
from roadworthy.api.subjects.identity import model_digest
from roadworthy.api.subjects.plain import Plain, all_answered, plain_subject
from roadworthy.api.subjects.reading import numbers_read, refuse_lacking
from roadworthy.api.subjects.subject import Subject
from roadworthy.api.subjects.threads import Threads
from roadworthy.errors import ModelError, Problem
from roadworthy.graphs.foreign import Export
from roadworthy.graphs.fresh_process import FreshCost, timed_here
from roadworthy.measures.examined import Answer, Answered, Refit
from roadworthy.records.project import Task
from roadworthy.standard.requirement import Requirement
from roadworthy.transforms.splits import label_text

__all__ = ["estimator_subject"]

Form = Callable[[pl.DataFrame], Any]
"""Makes of a frame the table that a model takes."""


def estimator_subject(model: Any, rows: pl.DataFrame, target: str) -> Subject:
    """The subject of an estimator or callable; labels come from ``classes_`` where there are any.

    One that was fitted on named columns gets a frame of those, any other the matrix of all columns in their order; what
    takes neither gets a frame. Raises ModelError for what can neither predict nor be called, gives labels without
    probabilities, or fails on the rows.
    """
    name, digest = type(model).__name__, model_digest(model)  # before it is asked: some models keep what they answered
    predict = _prediction(model, name)
    known = np.asarray(getattr(model, "classes_", ())).tolist()
    classes = tuple(label_text(pl.Series(known)).to_list()) if known else ()
    given = rows.drop(target)
    named = [str(column) for column in getattr(model, "feature_names_in_", ())]
    refuse_lacking(named, given.columns, f"the {name}")
    columns = tuple(named or given.columns)
    found = _form(predict, given.select(columns), name, frames=bool(named))
    form = found.table

    threads = Threads()

    def raw(frame: pl.DataFrame) -> Answered:
        with threads.for_rows(frame.height):
            return all_answered(_asked(predict, form(frame.select(columns)), frame.height, name))

    plain = Plain(
        name=name,
        digest=digest,
        raw=raw,
        columns=columns,
        known=classes,
        cost=_Cost(predict, form, columns),
        as_given=True,
        task=Task.REGRESSION if not classes and hasattr(model, "predict") else None,
    )
    subject = plain_subject(plain, rows, target)
    return replace(
        subject,
        answer=_own_errors(subject.answer),
        refit=_refit(model, form, columns, len(classes), known),
        kept=frozenset(columns) - found.read,
        export=_export(model, given, columns, found.read, lambda frame: raw(frame).score),
    )


def _export(
    model: Any,
    rows: pl.DataFrame,
    columns: Sequence[str],
    read: frozenset[str],
    answer: Callable[[pl.DataFrame], NDArray[np.float64]],
) -> Callable[[], Export] | None:
    """How an estimator leaves as a graph; None for what is plain code. ``read`` are text columns of numbers."""
    if not hasattr(model, "get_params"):
        return None
    typed = rows.with_columns(numbers_read(rows.select(read)).iter_columns()) if read else rows
    return lambda: estimator_export(model, typed, columns, answer)


def _prediction(model: Any, name: str) -> Callable[[Any], Any]:
    proba = getattr(model, "predict_proba", None)
    predict = proba or getattr(model, "predict", None) or (model if callable(model) else None)
    if predict is None:
        raise ModelError(f"a {name} can neither predict nor be called", next_step="pass an estimator or a function")
    if proba is None and len(getattr(model, "classes_", ())):
        raise ModelError(
            f"{name} gives labels without probabilities, which cannot be measured honestly",
            next_step="calibrate it (CalibratedClassifierCV) or pass one with predict_proba",
        )
    found: Callable[[Any], Any] = predict
    return found


@dataclass(frozen=True, slots=True)
class _Taken:
    """The kind of table that a model takes; ``read`` are text columns that it gets as numbers."""

    table: Form
    read: frozenset[str] = frozenset()


def _form(predict: Callable[[Any], Any], given: pl.DataFrame, name: str, *, frames: bool) -> _Taken:
    """The first kind of table that the model answers for on the first rows; ModelError with what it said of each.

    Rows that are text throughout come from a text file: what are numbers in it is read as such, unless the model
    wants the text. Which columns those are is settled once, on all rows.
    """
    text_file = given.width > 0 and all(kind == pl.String for kind in given.dtypes)
    typed = numbers_read(given) if text_file else given
    read = frozenset(column for column, kind in typed.schema.items() if kind != given.schema[column])
    problems = []
    for columns in dict.fromkeys((read, frozenset[str]())):
        for kind, form in _kinds(columns, frames=frames).items():
            try:
                predict(form(given.head(3)))
            except Exception as error:  # noqa: BLE001 - whatever the user's model raises
                problems.append(Problem(_said(error), where=f"{kind} of text" if read and not columns else kind))
            else:
                return _Taken(form, columns)
    raise ModelError(
        f"the {name} fails on the rows, whatever it gets them as",
        problems=problems,
        next_step="pass the rows as the model was trained on them",
    )


def _kinds(read: frozenset[str], *, frames: bool) -> dict[str, Form]:
    """Kinds of tables, those first that such a model most likely takes."""

    def typed(frame: pl.DataFrame) -> pl.DataFrame:
        texts = [pl.col(name) for name in frame.columns if name in read and frame.schema[name] == pl.String]
        return frame.with_columns(text.str.strip_chars().replace("", None).cast(pl.Float64) for text in texts)

    kinds: dict[str, Form] = {
        "a matrix": lambda frame: typed(frame).to_numpy(writable=True),
        "a Polars frame": typed,
    }
    if importlib.util.find_spec("pandas") is not None:
        kinds["a pandas frame"] = lambda frame: typed(frame).to_pandas()
    order = ["a Polars frame", "a pandas frame", "a matrix"] if frames else list(kinds)
    return {kind: kinds[kind] for kind in order if kind in kinds}


def _own_errors(answer: Answer) -> Answer:
    """The same, raising what the model itself raised: it crashed, and refused nothing."""

    def asked(frame: pl.DataFrame) -> Answered:
        try:
            return answer(frame)
        except ModelError as failure:
            if failure.__cause__ is None:
                raise
            raise failure.__cause__ from None

    return asked


def _asked(predict: Callable[[Any], Any], table: Any, rows: int, name: str) -> NDArray[np.float64]:
    """The model's scores [N] or [N, K]; ModelError where it fails, or answers something else."""
    try:
        answer = predict(table)
    except Exception as error:
        raise ModelError(f"the {name} failed on these rows: {_said(error)}") from error
    try:
        scores = np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"the {name} answers what is no number: {_said(error)}",
            next_step="pass something that answers probabilities or estimates, not labels",
        ) from error
    if scores.ndim == 0 or len(scores) != rows:
        found = f"an array of shape {scores.shape}"
        raise ModelError(
            f"the {name} does not answer row by row", problems=[Problem(found, expected=f"{rows} scores")]
        ) from ValueError(found)
    if scores.ndim == 2 and scores.shape[1] == 1:
        return scores[:, 0]
    return scores


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


class _Cost:
    """The model in this process: it lives nowhere else."""

    def __init__(self, predict: Callable[[Any], Any], form: Form, columns: Sequence[str]) -> None:
        self._predict, self._form, self._columns = predict, form, columns

    def __call__(
        self, rows: pl.DataFrame, /, *, quick: bool = False, required: Sequence[Requirement] = ()
    ) -> FreshCost:
        many = batch_of(rows.select(self._columns))
        tables = {1: self._form(many.head(1)), many.height: self._form(many)}
        return timed_here(
            lambda size: self._predict(tables[size]),
            where="the model in the process that inspects it, with the threads that it takes",
            batch=many.height,
            quick=quick,
            required=required,
        )


def _refit(model: Any, form: Form, columns: Sequence[str], classes: int, known: Sequence[Any]) -> Refit | None:
    """How a scikit-learn estimator is trained anew; None for anything that scikit-learn cannot clone."""
    if not (hasattr(model, "fit") and hasattr(model, "get_params")):
        return None
    from sklearn.base import clone  # noqa: PLC0415 - only where there is an estimator, which has loaded it already

    def refit(rows: pl.DataFrame, y: NDArray[Any], seed: int) -> Answer:
        fresh = clone(model)
        seeds = [key for key in fresh.get_params(deep=True) if key.rpartition("__")[2] == "random_state"]
        fresh.set_params(**dict.fromkeys(seeds, seed))
        labels = np.asarray(known)[y] if len(known) else y
        fresh.fit(form(rows.select(columns)), labels)
        return lambda frame: Answered(_scores(fresh, form(frame.select(columns)), classes, known), _none(frame))

    return refit


def _scores(fresh: Any, table: Any, classes: int, known: Sequence[Any]) -> NDArray[np.float64]:
    """Scores as the subject gives them; a class that the training rows lack has none."""
    if not classes:
        return np.asarray(fresh.predict(table), dtype=np.float64).reshape(-1)
    found = np.asarray(fresh.predict_proba(table), dtype=np.float64)
    whole = np.zeros((len(found), classes))
    whole[:, [list(known).index(label) for label in np.asarray(fresh.classes_).tolist()]] = found
    return whole[:, 1] if classes == 2 else whole


def _none(frame: pl.DataFrame) -> NDArray[np.bool_]:
    return np.zeros(frame.height, dtype=np.bool_)

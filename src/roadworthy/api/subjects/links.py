"""What a model's raw outputs mean: probabilities, logits, shares that lack a sum, or estimates.

In: the outputs [N] or [N, K] of a model that others trained, and the labels beside them. Out: the task, and the
function that makes probabilities of such outputs. Law: it is chosen once, from the rows that are inspected, and said;
every later answer is read the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import special

from roadworthy.errors import ModelError, Problem
from roadworthy.graphs.readings import Reading
from roadworthy.records.project import Task
from roadworthy.transforms.splits import label_text

__all__ = ["Link", "link_of"]

_SLACK = 1e-4
"""Probabilities in single precision may leave [0, 1], and their sum 1, by this much."""


@dataclass(frozen=True, slots=True)
class Link:
    """How outputs are read. ``task`` None: the labels alone cannot tell; ``classes`` empty: likewise.

    ``apply`` computes what ``reading`` names.
    """

    task: Task | None
    apply: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    reading: Reading
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def link_of(
    outputs: NDArray[np.float64],
    labels: pl.Series,
    *,
    known: Sequence[str] = (),
    model: str,
    task: Task | None = None,
) -> Link:
    """How the outputs of ``model`` on these rows are to be read.

    ``known`` are the labels that the model itself names, in the order of its outputs. Two or more outputs are scores
    of classes: probabilities where every row lies in [0, 1] and adds up to 1, shares of a sum where it only lies in
    [0, 1], logits (or log-probabilities) otherwise. One output beside two labels is the event's probability, or its
    logit where it leaves [0, 1]; beside more labels it is an estimate. ``task`` is what the model says that it
    predicts, if it does.
    Raises ModelError where outputs and labels cannot belong together.
    """
    if outputs.ndim > 2:
        found = Problem(f"an array of {outputs.ndim} dimensions", expected="one score a row, or one for each class")
        raise ModelError(f"{model} does not answer with scores", problems=[found])
    names = sorted(label_text(labels.drop_nulls()).unique().to_list())
    width = 1 if outputs.ndim == 1 else outputs.shape[1]
    finite = outputs[np.isfinite(outputs if outputs.ndim == 2 else outputs[:, None]).all(axis=1)]
    _refuse_other_task(task, width, names, model)
    if width == 1 and task is Task.REGRESSION:
        return Link(Task.REGRESSION, _flat, Reading.ESTIMATE)
    if width == 1:
        return _single(finite.reshape(-1), labels, names, known, model)
    classes, said = _classes(width, names, known, model)
    apply, reading, note = _several(finite, model)
    several = Task.BINARY if width == 2 else Task.MULTICLASS
    return Link(several, apply, reading, classes, tuple(filter(None, (note, said))))


def _refuse_other_task(task: Task | None, width: int, names: list[str], model: str) -> None:
    """ModelError where a model's own task cannot be what outputs and labels say."""
    if task is Task.REGRESSION and width > 1:
        raise ModelError(f"{model} estimates {width} numbers per row, expected one")
    if task is Task.BINARY and len(names) > 2:
        raise ModelError(
            f"{model} tells two classes apart, but the rows hold {len(names)} labels",
            problems=[Problem(f"labels {', '.join(names[:5])}…", expected="two")],
            next_step="see that --target names the column with the model's labels",
        )


def _single(
    outputs: NDArray[np.float64], labels: pl.Series, names: list[str], known: Sequence[str], model: str
) -> Link:
    if len(names) > 2:
        if labels.cast(pl.Float64, strict=False).null_count() > labels.null_count():
            raise ModelError(
                f"{model} gives one number per row, but column {labels.name} holds {len(names)} labels",
                problems=[Problem(f"labels {', '.join(names[:5])}…", expected="numbers, or a score for each label")],
            )
        return Link(Task.REGRESSION, _flat, Reading.ESTIMATE)
    task = Task.BINARY if len(names) == 2 else None
    if not _within(outputs):
        if task is None:
            return Link(None, _flat, Reading.ESTIMATE)
        low, high = float(outputs.min()), float(outputs.max())
        note = (
            f"the scores of {model} are no probabilities (from {low:.3g} to {high:.3g}): read as logits, "
            "through the logistic function"
        )
        return Link(task, lambda raw: special.expit(_flat(raw)), Reading.LOGIT, tuple(known), (note,))
    return Link(task, lambda raw: _clipped(_flat(raw)), Reading.PROBABILITY, tuple(known))


def _several(
    outputs: NDArray[np.float64], model: str
) -> tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], Reading, str]:
    if _within(outputs):
        if bool((np.abs(outputs.sum(axis=1) - 1) <= _SLACK * 10).all()):
            return _normalised, Reading.SHARES, ""
        said = f"the scores of {model} do not add up to 1 over the classes: each is divided by their sum"
        return _normalised, Reading.SHARES, said
    low, high = (float(outputs.min()), float(outputs.max())) if outputs.size else (0.0, 0.0)
    note = f"the scores of {model} are no probabilities (from {low:.3g} to {high:.3g}): read as logits, through softmax"
    return _softmax, Reading.LOGITS, note


def _classes(width: int, names: list[str], known: Sequence[str], model: str) -> tuple[tuple[str, ...], str]:
    """The labels in the order of the outputs, and what was assumed."""
    if len(known) == width:
        return tuple(known), ""
    counted = [str(place) for place in range(width)]
    if set(names) <= set(counted):
        return tuple(counted), ""
    if len(names) != width:
        problem = Problem(f"{len(names)} labels: {', '.join(names[:8])}", expected=f"{width}, one for each output")
        raise ModelError(
            f"{model} gives {width} scores per row, but the rows hold {len(names)} labels",
            problems=[problem],
            next_step="pass rows with every label, or write the labels as the numbers of the outputs, from 0",
        )
    if width == 2:
        return (), f"the second output of {model} is taken to be the event's"
    said = f"the outputs of {model} are taken to be the labels in the order of their text: {', '.join(names[:12])}"
    return tuple(names), said


def _within(values: NDArray[np.float64]) -> bool:
    return bool(((values >= -_SLACK) & (values <= 1 + _SLACK)).all())


def _flat(raw: NDArray[np.float64]) -> NDArray[np.float64]:
    return raw.reshape(len(raw))


def _clipped(raw: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rounding taken back; what is not finite stays so."""
    return np.clip(raw, 0.0, 1.0)


def _normalised(raw: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = _clipped(raw)
    total = inside.sum(axis=1, keepdims=True)
    even = np.full_like(inside, 1 / inside.shape[1])
    return _of_the_event(np.divide(inside, total, out=even, where=total != 0))


def _softmax(raw: NDArray[np.float64]) -> NDArray[np.float64]:
    return _of_the_event(np.asarray(special.softmax(raw, axis=1), dtype=np.float64))


def _of_the_event(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N] where there are two columns, the last being the positive class's; [N, classes] otherwise."""
    return scores[:, -1] if scores.shape[1] == 2 else scores

"""What ``[serving]`` of the project adds to a bundle: the constant answer, and the plan that refers rows to people.

In: the declaration, scored rows that the model was not trained on, rows that it was trained on. Out: files of
``reference/``. Laws: nothing is fitted where nothing is declared; what cannot be fitted as declared is refused, never
weakened; no row of the data and no value of a personal, entity or free-text column is in a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import DataError, Problem
from roadworthy.formats.bundle import FALLBACK, REFER, constant_of
from roadworthy.measures.intervals import NotEnough
from roadworthy.measures.refer_plan import ReferPlan
from roadworthy.measures.samples import Sample
from roadworthy.measures.uncertainty.refer import fit_refer
from roadworthy.records.digests import canonical_json
from roadworthy.records.project import ProjectSpec, Task
from roadworthy.stages.package_reference import hidden_columns

__all__ = ["refer_note", "serving_files"]

_STREAM = 37  # of the seed's random numbers, so that no other step's change with it


def serving_files(
    spec: ProjectSpec,
    train: pl.DataFrame,
    inputs: Sequence[str],
    out_of_fold: Sample,
    *,
    classes: Sequence[str],
    threshold: float | None,
) -> dict[str, bytes]:
    """The files that ``[serving]`` asks for: ``fallback.json``, ``refer.json``; none where nothing is declared.

    ``inputs`` are the graph's columns, ``out_of_fold`` scored rows that the model was not trained on. Raises
    ProjectFileError for a class that there is not, DataError where there are too few rows for what is declared.
    """
    files: dict[str, bytes] = {}
    constant = constant_of(spec.serving.fallback, spec.task, classes, threshold)
    if constant is not None:
        files[FALLBACK] = canonical_json(constant)
    if spec.serving.refer is None:
        return files
    decided = _decided(spec.task, out_of_fold.score, threshold)
    rng = np.random.default_rng([spec.training.seed, _STREAM])
    try:
        looked_at = _looked_at(spec, train, inputs)
        plan = fit_refer(spec.serving.refer, out_of_fold, decided, rows=train, columns=looked_at, rng=rng)
    except NotEnough as reason:
        raise DataError(
            "[serving] refer cannot be fitted on these rows",
            problems=[Problem(str(reason), where="[serving] refer")],
            next_step="bring more rows, or take `refer` out of [serving]",
        ) from reason
    files[REFER] = canonical_json(plan)
    return files


def refer_note(files: Mapping[str, bytes]) -> tuple[str, ...]:
    """What the refer plan among a bundle's reference files does, in a sentence; nothing without one."""
    return (msgspec.json.decode(files[REFER], type=ReferPlan).note(),) if REFER in files else ()


def _decided(task: Task, scores: NDArray[np.float64], threshold: float | None) -> NDArray[np.intp] | None:
    """The class index of each decision; None for regression."""
    if task is Task.REGRESSION:
        return None
    if task is Task.MULTICLASS:
        return np.asarray(scores.argmax(axis=1), dtype=np.intp)
    return np.asarray(scores >= (0.5 if threshold is None else threshold), dtype=np.intp)


def _looked_at(spec: ProjectSpec, train: pl.DataFrame, inputs: Sequence[str]) -> list[str]:
    """The inputs whose likeness to training counts: no time, which goes on by itself, and nothing that is hidden."""
    aside = hidden_columns(spec)
    return [name for name in inputs if name not in aside and not train.schema[name].is_temporal()]

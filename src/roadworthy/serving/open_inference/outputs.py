"""From a run to the tensors of one answer.

In: the part of a ``Run`` that is one request's, and which outputs it asks for. Out: ``score`` (FP64, [N], for several
classes [N, classes]) and, for classification, ``decision`` (BYTES, [N]). Law: they hold what ``/predict`` answers for
the same rows, in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from roadworthy.errors import Problem, nearest
from roadworthy.serving.calls import Failure
from roadworthy.serving.engine import Engine
from roadworthy.serving.open_inference.datatypes import packed_texts
from roadworthy.serving.open_inference.tensors import path, short
from roadworthy.serving.predicting import Given

__all__ = ["Output", "Outputs", "notes"]

Note = str | bool | int | float

_MOST_PROBLEMS = 100


class Output(NamedTuple):
    """One output tensor: its elements flat, row by row, doubles or texts."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[Any]

    def as_bytes(self) -> bytes:
        """The elements in binary form."""
        return packed_texts(self.data) if self.datatype == "BYTES" else np.array(self.data, dtype="<f8").tobytes()


class Outputs:
    """The outputs of one version. ``declared`` are name, datatype and shape, -1 for the rows."""

    def __init__(self, engine: Engine) -> None:
        self._classes = len(engine.classes) if engine.multiclass else 0
        score = ("score", "FP64", (-1, self._classes) if self._classes else (-1,))
        self.declared = (score, ("decision", "BYTES", (-1,))) if engine.classes else (score,)
        self._names = tuple(name for name, _, _ in self.declared)

    def wanted(self, asked: Sequence[str]) -> tuple[str, ...]:
        """The outputs to give, in the order in which they are asked for; all for none. Raises Failure 400."""
        if not asked:
            return self._names
        problems: list[Problem] = []
        seen: set[str] = set()
        for name in asked:
            where = path(name, "outputs")
            if name not in self._names:
                close = nearest(short(name), self._names)
                hint = f"; did you mean {close!r}?" if close else ""
                problems.append(Problem(f"unknown output{hint}", expected=", ".join(self._names), where=where))
            elif name in seen:
                problems.append(Problem("comes twice", expected="each output once", where=where))
            if len(problems) >= _MOST_PROBLEMS:
                break
            seen.add(name)
        if problems:
            raise Failure(400, "the model has no such outputs", problems=problems)
        return tuple(asked)

    def tensors(self, given: Given, wanted: Sequence[str]) -> list[Output]:
        """The tensors of an answer."""
        run, start, end = given.run, given.start, given.end
        made: list[Output] = []
        for name in wanted:
            if name == "decision":
                made.append(Output("decision", "BYTES", (end - start,), list((run.decisions or [])[start:end])))
                continue
            scores = run.scores[start:end]
            if self._classes:
                flat = list(chain.from_iterable(scores))
                made.append(Output("score", "FP64", (end - start, self._classes), flat))
            else:
                made.append(Output("score", "FP64", (end - start,), scores))
        return made


def notes(given: Given) -> dict[str, Note]:
    """The parameters of an answer: its identity, and which rows another than ``model_version`` answered."""
    found: dict[str, Note] = {"prediction_id": given.id}
    if given.run.others:
        others = [
            f"{place - given.start}={title}"
            for place, title in sorted(given.run.others.items())
            if given.start <= place < given.end
        ]
        if others:
            found["answered_by"] = ", ".join(others)
    return found

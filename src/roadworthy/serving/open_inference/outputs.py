"""From a run to the tensors of one answer.

In: the part of a ``Run`` that is one request's, and which outputs it asks for. Out: ``score`` (FP64, [N], for several
classes [N, classes]) and, for classification, ``decision`` (BYTES, [N]); where some rows are left to people, ``refer``
(BYTES, [N], the reasons, empty for a row that is answered), and where estimates have one, ``interval`` (FP64, [N, 2]).
Laws: they hold what ``/predict`` answers for the same rows, in the same order; the decision of a row that a person is
to decide is the empty text, which is no class.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from roadworthy.errors import Problem, nearest
from roadworthy.serving.batching import Given
from roadworthy.serving.calls import Failure
from roadworthy.serving.engine import Engine
from roadworthy.serving.open_inference.datatypes import packed_texts
from roadworthy.serving.open_inference.tensors import path, short

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
        declared: list[tuple[str, str, tuple[int, ...]]] = [score]
        declared += [("decision", "BYTES", (-1,))] if engine.classes else []
        declared += [("interval", "FP64", (-1, 2))] if engine.intervals else []
        declared += [("refer", "BYTES", (-1,))] if engine.refers else []
        self.declared = tuple(declared)
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
        return [_MAKERS[name](given) if name != "score" else self._score(given) for name in wanted]

    def _score(self, given: Given) -> Output:
        scores, rows = given.run.scores[given.start : given.end], given.end - given.start
        if self._classes:
            return Output("score", "FP64", (rows, self._classes), list(chain.from_iterable(scores)))
        return Output("score", "FP64", (rows,), scores)


def _decision(given: Given) -> Output:
    found = (given.run.decisions or [])[given.start : given.end]
    return Output("decision", "BYTES", (given.end - given.start,), found)


def _interval(given: Given) -> Output:
    """The intervals; of a row that has none (the constant, say) the widest that there is."""
    doubts = given.run.doubts
    found = [] if doubts is None or doubts.intervals is None else doubts.intervals[given.start : given.end]
    flat = [end for pair in found for end in (pair or _ANYTHING)]
    return Output("interval", "FP64", (given.end - given.start, 2), flat)


def _refer(given: Given) -> Output:
    doubts = given.run.doubts
    referred = {} if doubts is None else doubts.referred
    found = ["; ".join(referred.get(place, ())) for place in range(given.start, given.end)]
    return Output("refer", "BYTES", (given.end - given.start,), found)


_ANYTHING = (-sys.float_info.max, sys.float_info.max)
_MAKERS: dict[str, Callable[[Given], Output]] = {"decision": _decision, "interval": _interval, "refer": _refer}


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

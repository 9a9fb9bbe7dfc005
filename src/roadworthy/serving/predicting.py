"""``/predict``: named fields in, a prediction for each row out; and what any protocol asks of the service.

In: clean rows, a service. Out: the part of a run that belongs to one request. Laws: a request of which any row has no
answer is refused whole, each reason at its row; nobody learns of other requests in the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from roadworthy.errors import Problem
from roadworthy.serving.batching import Run
from roadworthy.serving.calls import Call, Failure, Reply, encode, json_body
from roadworthy.serving.rows import Row, RowsRefused
from roadworthy.serving.service import Line, Service

__all__ = ["Given", "answered", "predict"]


class Given(NamedTuple):
    """One request's part of a run: rows ``start`` to ``end``. ``id`` is its identity in the log and for feedback."""

    id: str
    run: Run
    start: int
    end: int


async def answered(service: Service, line: Line, rows: Sequence[Row], until: float) -> Given:
    """What the model says of the rows of one request; raises a RoadworthyError where a row has no answer."""
    id_ = service.new_id()
    given = Given(id_, *await service.submit(line, id_, rows, until))
    if given.run.broken or given.run.failures:
        _refuse(given)
    return given


async def predict(service: Service, call: Call) -> Reply:
    """``POST /predict``: ``{"row": {…}}`` or ``{"rows": [{…}, …]}`` → a prediction for each row, in order."""
    line = service.line
    rows = line.reader.read(json_body(call))
    given = await answered(service, line, rows, call.until)
    return Reply(200, encode(_prediction(service.name, line, given)))


class BinaryAnswer(msgspec.Struct, gc=False):
    """One row's answer: the probability of the positive class, and what is decided."""

    score: float
    decision: str


class ClassAnswer(msgspec.Struct, gc=False):
    """One row's answer: a probability for each class, and the likeliest."""

    scores: dict[str, float]
    decision: str


class NumberAnswer(msgspec.Struct, gc=False):
    """One row's estimate."""

    score: float


class Answer(msgspec.Struct, gc=False, omit_defaults=True):
    """What ``/predict`` answers.

    ``id`` names this request in the prediction log and for feedback; row k is ``(id, k)``. ``version`` gave the
    predictions, but for the rows in ``answered_by``, which another version gave, or the declared constant.
    """

    id: str
    model: str
    version: str
    predictions: list[Any]
    answered_by: dict[int, str] = {}


def _prediction(name: str, line: Line, given: Given) -> Answer:
    id_, run, start, end = given
    scores = run.scores[start:end]
    predictions: list[Any]
    if run.decisions is None:
        predictions = [NumberAnswer(score) for score in scores]
    elif line.chain.first.multiclass:
        classes = line.chain.first.classes
        predictions = [
            ClassAnswer(dict(zip(classes, score, strict=True)), decision)
            for score, decision in zip(scores, run.decisions[start:end], strict=True)
        ]
    else:
        predictions = list(map(BinaryAnswer, scores, run.decisions[start:end]))
    if not run.others:
        return Answer(id_, name, run.title, predictions)
    others = {place - start: title for place, title in run.others.items() if start <= place < end}
    return Answer(id_, name, run.title, predictions, others)


def _refuse(given: Given) -> None:
    """Failure for the rows of one request that have no answer; those of others are none of its business."""
    _, run, start, end = given
    broken = {place - start: rules for place, rules in run.broken.items() if start <= place < end}
    if broken:
        raise RowsRefused(
            "the row does not meet the contract" if end - start == 1 else "rows do not meet the contract",
            [
                Problem(f"rule: {rule} is false", where="row" if end - start == 1 else f"rows[{place}]")
                for place, rules in broken.items()
                for rule in rules
            ],
        )
    failed = {place - start: why for place, why in run.failures.items() if start <= place < end}
    if failed:
        problems = [Problem(why, where=f"rows[{place}]") for place, why in failed.items()]
        raise Failure(503, "the model gave no answer", problems=problems, next_step="look at /readyz")

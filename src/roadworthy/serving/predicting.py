"""``/predict``: named fields in, a prediction for each row out; and what any protocol asks of the service.

In: clean rows, a service. Out: the part of a run that belongs to one request. Laws: a request of which any row has no
answer is refused whole, each reason at its row; nobody learns of other requests in the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from roadworthy.errors import Problem, RoadworthyError
from roadworthy.serving.batching import Given
from roadworthy.serving.calls import Call, Failure, Later, Reply, encode, json_body, replied
from roadworthy.serving.deciding import Doubts
from roadworthy.serving.rows import Row, RowsRefused
from roadworthy.serving.service import Line, Service

__all__ = ["answered", "checked", "predict"]


async def answered(service: Service, line: Line, rows: Sequence[Row], until: float) -> Given:
    """What the model says of the rows of one request; raises a RoadworthyError where a row has no answer."""
    done: asyncio.Future[Given] = asyncio.get_running_loop().create_future()

    def tell(found: Given | RoadworthyError) -> None:
        if done.cancelled():
            return
        if isinstance(found, RoadworthyError):
            done.set_exception(found)
        else:
            done.set_result(found)

    service.ask(line, rows, until, tell)
    return checked(await done)


def predict(service: Service, call: Call) -> Later:
    """``POST /predict``: ``{"row": {…}}`` or ``{"rows": [{…}, …]}`` → a prediction for each row, in order."""
    line = service.line
    line.batcher.refuse_crowd()
    try:
        rows = line.reader.read(json_body(call))
    except RowsRefused as refused:
        service.refused(refused.broken)
        raise
    later = Later()

    def tell(found: Given | RoadworthyError) -> None:
        later.give(replied(_reply, service.name, line, found))

    service.ask(line, rows, call.until, tell)
    return later


def _reply(name: str, line: Line, found: Given | RoadworthyError) -> Reply:
    if isinstance(found, RoadworthyError):
        raise found
    return Reply(200, encode(_prediction(name, line, checked(found))))


def checked(given: Given) -> Given:
    """The same, where every row of the request has an answer; raises a RoadworthyError where one has none."""
    if given.run.broken or given.run.failures:
        _refuse(given)
    return given


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


class ReferredAnswer(msgspec.Struct, gc=False, omit_defaults=True):
    """One row that a person is to decide: what the model says, why that does not do, and no decision."""

    refer: tuple[str, ...]
    score: float | msgspec.UnsetType = msgspec.UNSET
    scores: dict[str, float] | msgspec.UnsetType = msgspec.UNSET


class IntervalAnswer(msgspec.Struct, gc=False, omit_defaults=True):
    """One row's estimate with its interval, and why a person is to look at it, if one is."""

    score: float
    interval: tuple[float, float] | msgspec.UnsetType = msgspec.UNSET
    refer: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


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
    if run.doubts is not None:
        predictions = _with_doubts(predictions, run.doubts, start)
    if not run.others:
        return Answer(id_, name, run.title, predictions)
    others = {place - start: title for place, title in run.others.items() if start <= place < end}
    return Answer(id_, name, run.title, predictions, others)


def _with_doubts(predictions: list[Any], doubts: Doubts, start: int) -> list[Any]:
    """The predictions of a request whose first row is the run's row ``start``; those that are referred decide nothing.

    Whoever does not know the member ``refer`` misses ``decision``, and cannot take the row for a decided one.
    """
    referred, unset = doubts.referred, msgspec.UNSET
    if predictions and isinstance(predictions[0], NumberAnswer):
        intervals = doubts.intervals or [None] * (start + len(predictions))
        return [
            IntervalAnswer(one.score, intervals[place] or unset, referred.get(place, unset))
            for place, one in enumerate(predictions, start)
        ]
    if not referred:
        return predictions
    return [
        one
        if place not in referred
        else ReferredAnswer(referred[place], getattr(one, "score", unset), getattr(one, "scores", unset))
        for place, one in enumerate(predictions, start)
    ]


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

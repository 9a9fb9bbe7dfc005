"""``POST /feedback``: what was later known of a prediction.

In: labels by prediction (``id`` and ``row``) or by entity and time. Out: 202 when all labels of the request are on the
disk, or every problem that they have, and then none is stored. Laws: a label is one that the model in service could
have predicted; a personal value leaves this module only as its keyed hash, and is in no message; a request that is sent
again under the same ``Idempotency-Key`` is stored once.

An id that nobody knows is taken: the prediction may stand in another replica's log. Reading the two together counts it.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import msgspec
import polars as pl

from roadworthy.errors import Problem, StorageError, nearest
from roadworthy.formats.bundle.parts import ServingContract
from roadworthy.records.contract import ColumnContract, ColumnType
from roadworthy.records.feedback import Feedback
from roadworthy.records.project import Task
from roadworthy.serving.calls import Call, Failure, Handler, Reply, json_body, json_reply
from roadworthy.serving.keys import Holder
from roadworthy.serving.service import Service
from roadworthy.transforms.kept import HashOne, cleaned, hidden, key_text, plain_text

__all__ = [
    "LONGEST_COMMENT",
    "LONGEST_ENTITY",
    "LONGEST_ID",
    "LONGEST_KEY",
    "MOST_LABELS",
    "FeedbackSink",
    "LabelReader",
    "feedback_handler",
]

MOST_LABELS = 10_000
"""Labels that one request may hold."""

LONGEST_COMMENT = 2_000
"""Characters of a comment."""

LONGEST_ID, LONGEST_ENTITY, LONGEST_KEY = 200, 1_000, 255
"""Characters of a prediction's id and of an entity, bytes of an ``Idempotency-Key``."""

_MOST_PROBLEMS = 100
_SHOWN = 40
_SHOWN_CLASSES = 12
_MICROS = pl.Datetime("us")
_KEYS = 10_000
_KEYS_S = 86_400.0
_MEMBERS = ("id", "row", "entity", "time", "label", "comment")
_FORM = '{"id": …, "label": …}, {"entity": …, "time": …, "label": …} or {"feedback": [{…}, …]}'


class FeedbackSink(Protocol):
    """Where labels go."""

    async def add(self, labels: Sequence[Feedback]) -> None:
        """Returns when all of them are on the disk; raises StorageError when they are not."""
        ...


def feedback_handler(
    store: FeedbackSink, *, hash_personal: HashOne | None = None, holder: Holder | None = None
) -> Handler:
    """The handler of ``/feedback``. ``hash_personal`` is the project's keyed hash, ``holder`` names who sent headers.

    Without the hash, labels by entity are refused where the entity is personal; without a holder nobody is named.
    """
    keys = _Keys()

    async def feedback(service: Service, call: Call) -> Reply:
        given, key = _labels(json_body(call)), _key(call)
        reader = LabelReader(service.line.reader.contract, hash_personal)
        who = (holder(call.headers) if holder is not None else None) or ""
        labels = reader.read(given.labels, given.where, "" if key is None else key.hex(), who=who)
        if key is None:
            await _stored(store, labels)
        else:
            await keys.once(key, call.body, store, labels)
        return json_reply({"accepted": len(labels)}, 202)

    return feedback


async def _stored(store: FeedbackSink, labels: Sequence[Feedback]) -> None:
    try:
        await store.add(labels)
    except StorageError as error:
        raise Failure(
            503,
            "the labels are not on the disk",
            problems=[Problem(error.message)],
            next_step="send them again, best under the same Idempotency-Key",
            headers=((b"retry-after", b"5"),),
        ) from error


# --- what was sent --------------------------------------------------------------------------------------------------


class _Given(NamedTuple):
    labels: list[Any]
    where: str


def _labels(body: bytes) -> _Given:
    """The labels of a body as plain JSON, and what to call them."""
    try:
        plain = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        found = "not JSON" if body.strip() else "empty"
        raise Failure(400, f"the body is {found}", problems=[Problem(found, expected=_FORM, where="body")]) from error
    if not isinstance(plain, dict):
        raise Failure(400, "the body has another form", problems=[Problem(_kind(plain), expected=_FORM, where="body")])
    if "feedback" not in plain:
        return _Given([plain], "feedback")
    many, others = plain["feedback"], [name for name in plain if name != "feedback"]
    if not isinstance(many, list) or others:
        found = f"{_short(others[0])} beside feedback" if others else f"feedback is {_kind(many)}"
        raise Failure(400, "the body has another form", problems=[Problem(found, expected=_FORM, where="body")])
    if not 0 < len(many) <= MOST_LABELS:
        wanted = Problem(f"{len(many):,} labels", expected=f"1 to {MOST_LABELS:,} labels", where="feedback")
        raise Failure(422, "the request has no label" if not many else "too many labels", problems=[wanted])
    return _Given(many, "feedback[{}]")


class LabelReader:
    """Reads labels for one contract; all problems at once."""

    def __init__(self, contract: ServingContract, hash_one: HashOne | None) -> None:
        self._contract, self._hash_one = contract, hash_one
        self._classes = _classes(contract)
        self._problems: list[Problem] = []

    def read(self, given: Sequence[Any], where: str, key: str, *, who: str = "") -> list[Feedback]:
        """The labels that ``who`` tells, ready to be stored. Failure 422 has every problem, and then none is taken."""
        now = datetime.now(UTC)
        at_us = int(now.timestamp() * 1e6)
        rows = [(place, where.format(place), one) for place, one in enumerate(given)]
        made = {place: self._one(one, at, at_us, key, place) for place, at, one in rows}
        named = [row for row in rows if isinstance(row[2], dict) and "id" not in row[2] and _by_entity(row[2])]
        for place, (entity, time_us) in self._entities(named).items():
            label = made[place]
            if label is not None:
                made[place] = msgspec.structs.replace(label, entity=entity, time_us=time_us)
        if self._problems:
            shown = self._problems[:_MOST_PROBLEMS]
            if len(self._problems) > len(shown):
                shown.append(Problem(f"{len(self._problems) - len(shown)} more problems"))
            message = "the label cannot be taken" if len(given) == 1 else "labels cannot be taken; none was"
            raise Failure(422, message, problems=shown)
        labels = [label for label in made.values() if label is not None]
        return [msgspec.structs.replace(label, who=who) for label in labels] if who else labels

    def _one(self, given: Any, where: str, at_us: int, key: str, place: int) -> Feedback | None:
        """A label without its entity; None where it is no object."""
        if not isinstance(given, dict):
            self._found(_kind(given), where, "an object with a label")
            return None
        for name in given:
            if name not in _MEMBERS:
                close = nearest(name, _MEMBERS) if len(self._problems) < _MOST_PROBLEMS else None
                hint = f"; did you mean {close!r}?" if close else ""
                self._found(f"unknown member{hint}", f"{where}.{_short(name)}", "")
        id_, row = self._about(given, where)
        label, value = self._label(given, where)
        comment = self._comment(given.get("comment"), where)
        return Feedback(at_us=at_us, id=id_, row=row, label=label, value=value, comment=comment, key=key, place=place)

    def _about(self, given: Mapping[str, Any], where: str) -> tuple[str, int]:
        """Which prediction is meant; ``("", 0)`` where an entity is, or where nothing is."""
        by_entity = _by_entity(given)
        if ("id" in given) is by_entity:
            found = "both id and entity or time" if by_entity else "neither id nor entity"
            self._found(found, where, "id (and row), or entity and time")
            return "", 0
        if by_entity:
            if "row" in given:
                self._found("a row without an id", f"{where}.row", "id and row, or entity and time")
            return "", 0
        id_, row = given["id"], given.get("row", 0)
        if not isinstance(id_, str) or not 0 < len(id_) <= LONGEST_ID:
            found = _kind(id_) if not isinstance(id_, str) else f"{len(id_):,} characters"
            self._found(found, f"{where}.id", "the id of an answer, a text")
            id_ = ""
        if isinstance(row, float) and row.is_integer():  # to JSON 1.0 is 1
            row = int(row)
        if isinstance(row, bool) or not isinstance(row, int) or not 0 <= row < 2**31:
            self._found(_kind(row), f"{where}.row", "the place of the row in its request, from 0")
            row = 0
        return id_, row

    def _label(self, given: Mapping[str, Any], where: str) -> tuple[str, float | None]:
        """The class, or the number."""
        where = f"{where}.label"
        if self._contract.task is Task.REGRESSION:
            return "", self._number(given, where)
        expected = f"one of {', '.join(self._contract.classes[:_SHOWN_CLASSES])}"
        if len(self._contract.classes) > _SHOWN_CLASSES:
            expected += f" and {len(self._contract.classes) - _SHOWN_CLASSES} more"
        if given.get("label") is None:
            self._found("no label", where, expected)
            return "", None
        found = self._classes.get(plain_text(given["label"]) or "")
        if found is None:
            self._found("no class of this model", where, expected)
            return "", None
        return found, None

    def _number(self, given: Mapping[str, Any], where: str) -> float | None:
        column = self._contract.contract.columns.get(self._contract.target)
        expected = _expected_number(column)
        value = given.get("label")
        if value is None:
            self._found("no label", where, expected)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            self._found(_kind(value), where, expected)
        elif not abs(value) <= 2.0**1023 or not math.isfinite(value) or not _within(float(value), column):
            self._found("a number that the contract does not allow", where, expected)
        else:
            return float(value)
        return None

    def _comment(self, comment: Any, where: str) -> str:
        if comment is None:
            return ""
        if not isinstance(comment, str):
            self._found(_kind(comment), f"{where}.comment", "a text")
            return ""
        if len(comment) > LONGEST_COMMENT:
            found = f"{len(comment):,} characters"
            self._found(found, f"{where}.comment", f"at most {LONGEST_COMMENT:,} characters")
        return comment

    def _entities(self, rows: Sequence[tuple[int, str, Mapping[str, Any]]]) -> dict[int, tuple[str, int]]:
        """Who and when of the labels that name these, in the form in which the log has them."""
        contract = self._contract
        if not rows:
            return {}
        if not contract.entity or not contract.time:
            for _, where, _ in rows:
                self._found("this model has no entity with a time", where, "id and row")
            return {}
        columns = contract.contract.columns
        texts = [self._text(given.get("entity"), f"{where}.entity") for _, where, given in rows]
        times = cleaned([plain_text(given.get("time")) for *_, given in rows], contract.time, columns[contract.time])
        instants = times.cast(dtype=_MICROS).to_physical().to_list()
        for (_, where, _), instant in zip(rows, instants, strict=True):
            if instant is None:
                self._found("no time", f"{where}.time", "a time, such as 2026-01-31T12:00:00Z")
        names = self._names(texts, columns[contract.entity])
        for (_, where, _), text, name in zip(rows, texts, names, strict=True):
            if text is not None and name is None:
                self._found("nobody, by the contract", f"{where}.entity", "an entity")
        return {
            place: (name, instant)
            for (place, *_), name, instant in zip(rows, names, instants, strict=True)
            if name is not None and instant is not None
        }

    def _names(self, texts: Sequence[str | None], column: ColumnContract) -> list[str | None]:
        """Entities as the log names them: hashed where personal, else as their column types them."""
        entity = self._contract.entity
        if entity not in self._contract.personal:
            typed = cleaned(texts, entity, column)
            return typed.to_frame().select(key_text(entity, typed.dtype)).to_series().to_list()
        if self._hash_one is None:
            raise Failure(
                422,
                "labels by entity cannot be taken here: the entity is personal, and this server has no key to hide it",
                next_step="send id and row",
            )
        return hidden(texts, column, self._hash_one)

    def _text(self, value: Any, where: str) -> str | None:
        text = plain_text(value)
        if text is None:
            self._found(_kind(value) if not isinstance(value, str) else "blank", where, "a text or a number")
        elif len(text) > LONGEST_ENTITY:
            self._found(f"{len(text):,} characters", where, f"at most {LONGEST_ENTITY:,} characters")
            return None
        return text

    def _found(self, found: str, where: str, expected: str) -> None:
        self._problems.append(Problem(found, expected=expected, where=where))


# --- requests that come again ---------------------------------------------------------------------------------------


class _Once(NamedTuple):
    """A request under a key: what it said, when it came, and the work that stores it."""

    body: bytes
    since: float
    work: asyncio.Task[None]


class _Keys:
    """The idempotency keys of the last day, at most ten thousand."""

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, _Once] = OrderedDict()

    async def once(self, key: bytes, body: bytes, store: FeedbackSink, labels: Sequence[Feedback]) -> None:
        """Stores the labels, or waits for the request that came before under this key.

        A caller who goes does not end the work, since another may wait for it. Failure 422 where the key was used for
        another body.
        """
        digest = hashlib.blake2b(body, digest_size=16).digest()
        now = time.monotonic()
        while self._seen and (len(self._seen) >= _KEYS or next(iter(self._seen.values())).since < now - _KEYS_S):
            self._seen.popitem(last=False)
        known = self._seen.get(key)
        if known is not None and known.body != digest:
            raise Failure(
                422,
                "this Idempotency-Key came before, with another body",
                problems=[
                    Problem("a key that is in use", where="idempotency-key", expected="a new key for new labels")
                ],
            )
        if known is None:
            work = asyncio.get_running_loop().create_task(_stored(store, labels))
            known = self._seen[key] = _Once(digest, now, work)
            work.add_done_callback(lambda done: self._forget_failed(key, done))
        await asyncio.shield(known.work)

    def _forget_failed(self, key: bytes, done: asyncio.Task[None]) -> None:
        """What was not stored may be sent again under its key."""
        if done.cancelled() or done.exception() is not None:
            known = self._seen.get(key)
            if known is not None and known.work is done:
                del self._seen[key]


def _key(call: Call) -> bytes | None:
    value = call.headers.get(b"idempotency-key")
    if value is None:
        return None
    if not 0 < len(value.strip()) <= LONGEST_KEY:
        wanted = Problem(f"{len(value):,} bytes", where="idempotency-key", expected=f"1 to {LONGEST_KEY} bytes")
        raise Failure(400, "the Idempotency-Key is no key", problems=[wanted])
    return hashlib.blake2b(value.strip(), digest_size=16).digest()


# --- words ----------------------------------------------------------------------------------------------------------


def _classes(contract: ServingContract) -> dict[str, str]:
    """The classes by every text that means them: 1 and 1.0 are the class "1"."""
    found: dict[str, str] = {}
    for label in contract.classes:
        try:
            found[plain_text(float(label)) or label] = label
        except ValueError:
            found[label.lower() if label.lower() in {"true", "false"} else label] = label
    return found | {label: label for label in contract.classes}


def _within(value: float, column: ColumnContract | None) -> bool:
    if column is None:
        return True
    if column.type is ColumnType.INTEGER and not value.is_integer():
        return False
    return (column.min is None or value >= column.min) and (column.max is None or value <= column.max)


def _expected_number(column: ColumnContract | None) -> str:
    words = "a whole number" if column is not None and column.type is ColumnType.INTEGER else "a finite number"
    if column is not None and column.min is not None:
        words += f", at least {column.min:.15g}"
    return words if column is None or column.max is None else f"{words}, at most {column.max:.15g}"


def _by_entity(given: Mapping[str, Any]) -> bool:
    return "entity" in given or "time" in given


def _kind(value: Any) -> str:
    """What a JSON value is, without its content."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    kinds = {int: "a whole number", float: "a number", str: "a text", list: "a list", dict: "an object"}
    return kinds.get(type(value), f"a {type(value).__name__}")


def _short(name: str) -> str:
    return name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…"

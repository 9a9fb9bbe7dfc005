"""Predictions as records, and the records as tables.

In: runs as the service hands them over. Out: records that need nothing but themselves to be read, and tables. Laws: a
table holds every row that a caller was answered, with its clean values, and no other; a personal value stands there
only as the keyed hash of its text, or not at all.

What a row holds stands in ``tables``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import msgspec
import numpy as np
import polars as pl

from roadworthy.adapters.prediction_log.segments import Table, by_day
from roadworthy.adapters.prediction_log.spool import Payload
from roadworthy.adapters.prediction_log.tables import Schema, Slice, table, typed
from roadworthy.formats.bundle.parts import ServingContract
from roadworthy.records.contract import ColumnType
from roadworthy.transforms.kept import HashOne, hidden, plain_text

__all__ = ["LoggedRun", "PredictionCodec"]

_SLICE = 256
_MOST = 512
_TOGETHER = 4


class _Field(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def part(self) -> str: ...


class _Reader(Protocol):
    @property
    def contract(self) -> ServingContract: ...
    @property
    def fields(self) -> Sequence[_Field]: ...
    @property
    def kept(self) -> Sequence[str]: ...


class _Doubts(Protocol):
    @property
    def referred(self) -> Mapping[int, Sequence[str]]: ...


class _Run(Protocol):
    @property
    def title(self) -> str: ...
    @property
    def scores(self) -> list[Any]: ...
    @property
    def decisions(self) -> list[str] | None: ...
    @property
    def others(self) -> Mapping[int, str]: ...
    @property
    def broken(self) -> Mapping[int, Any]: ...
    @property
    def failures(self) -> Mapping[int, Any]: ...
    @property
    def doubts(self) -> _Doubts | None: ...


class LoggedRun(Protocol):
    """One run as the service hands it over: ``serving.service.Logged``, which this floor may not import."""

    @property
    def at(self) -> float:
        """Seconds since 1970."""
        ...

    @property
    def reader(self) -> _Reader:
        """Who knows what stands where in a row: its ``contract``, ``fields`` and ``kept``."""
        ...

    @property
    def requests(self) -> Sequence[tuple[str, int]]:
        """The identity of each request, and how many of the rows are its own."""
        ...

    @property
    def rows(self) -> Sequence[tuple[Any, ...]]:
        """Clean rows."""
        ...

    @property
    def run(self) -> _Run:
        """What the model said of them."""
        ...


class _Layout(NamedTuple):
    """A reader's schema, and where its values stand in a row. ``hidden``: the entity stands there as its hash."""

    raw: msgspec.Raw
    schema: Schema
    numbers: int
    texts: tuple[int, ...]
    times: tuple[int, ...]
    entity: int | None
    time: int | None
    hidden: bool


class _Piece(NamedTuple):
    """Rows of one run that become part of a slice. ``first``: the place of the first row in its request."""

    layout: _Layout
    title: str
    at: float
    rows: Sequence[tuple[Any, ...]]
    requests: Sequence[tuple[str, int]]
    first: int
    scores: list[Any]
    decisions: list[str] | None
    others: Mapping[int, str]
    referred: Mapping[int, str]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Slice).decode
_schema = msgspec.msgpack.Decoder(Schema).decode


class PredictionCodec:
    """``hash_one`` hides the entity where it is personal; without it such values are dropped."""

    def __init__(self, hash_one: HashOne | None = None) -> None:
        self._hash_one = hash_one
        self._layouts: WeakKeyDictionary[_Reader, _Layout] = WeakKeyDictionary()

    def payloads(self, items: Iterable[LoggedRun]) -> Iterator[Payload]:
        """Records of some hundred rows each."""
        gathered: list[_Piece] = []
        rows = 0
        for piece in chain.from_iterable(map(self._pieces, items)):
            if gathered and (
                rows + len(piece.rows) > _MOST
                or rows >= _SLICE
                or piece.layout is not gathered[0].layout
                or piece.title != gathered[0].title
            ):
                yield from self._payload(gathered)
                gathered, rows = [], 0
            gathered.append(piece)
            rows += len(piece.rows)
        if gathered:
            yield from self._payload(gathered)

    def tables(self, payloads: Iterable[memoryview]) -> Iterator[Table]:
        """The rows by schema, in the order in which schemas came, and by day; a few records are read at a time."""
        waiting: dict[bytes, list[Slice]] = {}
        frames: dict[bytes, list[pl.DataFrame]] = {}
        for payload in payloads:
            made = _decode(payload)
            raw = bytes(made.schema)
            slices = waiting.setdefault(raw, [])
            slices.append(made)
            if len(slices) == _TOGETHER:
                frames.setdefault(raw, []).append(table(_schema(raw), slices))
                slices.clear()
        for raw, slices in waiting.items():
            rest = [table(_schema(raw), slices)] if slices else []
            rows = pl.concat([*frames.pop(raw, []), *rest], rechunk=True)
            yield from by_day(typed(_schema(raw), rows))

    # --- runs to records ----------------------------------------------------------------------------------------

    def _pieces(self, logged: LoggedRun) -> Iterator[_Piece]:
        """A run in pieces that are quick to encode, without the requests that got no answer."""
        layout, run = self._layout(logged.reader), logged.run
        if run.broken or run.failures:
            yield from _answered(layout, logged)
            return
        asked, referred = logged.requests, _referred(run, 0, len(logged.rows))
        said = (run.scores, run.decisions, run.others, referred)
        piece = _Piece(layout, run.title, logged.at, logged.rows, asked, 0, *said)
        yield from [piece] if len(logged.rows) <= _MOST else _cut(piece)

    def _payload(self, pieces: Sequence[_Piece]) -> Iterator[Payload]:
        """One record; where a value cannot be written, one for each piece, and those that fail are left empty."""
        try:
            yield Payload(self._encoded(pieces), sum(len(piece.rows) for piece in pieces))
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, struct.error, IndexError):
            if len(pieces) == 1:
                yield Payload(b"", len(pieces[0].rows))
                return
            for piece in pieces:
                yield from self._payload([piece])

    def _encoded(self, pieces: Sequence[_Piece]) -> bytes:
        first = pieces[0]
        layout = first.layout
        if len(pieces) == 1:
            rows, scores, decisions = first.rows, first.scores, first.decisions
        else:
            rows = list(chain.from_iterable([piece.rows for piece in pieces]))
            scores = list(chain.from_iterable([piece.scores for piece in pieces]))
            decisions = None
            if first.decisions is not None:
                decisions = list(chain.from_iterable([piece.decisions or () for piece in pieces]))
        columns = list(zip(*rows, strict=True))
        ids, counts = zip(*chain.from_iterable(piece.requests for piece in pieces), strict=True)
        made = Slice(
            layout.raw,
            first.title,
            len(rows),
            memoryview(_doubles(columns[: layout.numbers], len(rows))),
            [columns[at] for at in layout.texts],
            [columns[at] for at in layout.times],
            self._entities(layout, columns),
            () if layout.time is None else list(map(plain_text, columns[layout.time])),
            ids,
            () if len(ids) == len(rows) else counts,
            _firsts(pieces),
            [(piece.at, len(piece.rows)) for piece in pieces],
            scores,
            decisions,
            _by_place(pieces, _OTHERS),
            _by_place(pieces, _REFERRED),
        )
        return _encode(made)

    def _entities(self, layout: _Layout, columns: Sequence[Sequence[Any]]) -> Sequence[str | None]:
        if layout.entity is None:
            return ()
        texts = list(map(plain_text, columns[layout.entity]))
        if not layout.schema.hashed or layout.hidden or self._hash_one is None:
            return texts
        return hidden(texts, layout.schema.columns[layout.schema.entity], self._hash_one)

    def _layout(self, reader: _Reader) -> _Layout:
        """The layout of a reader, made once while it is in use."""
        layout = self._layouts.get(reader)
        if layout is None:
            layout = self._layouts[reader] = _layout(reader, hashes=self._hash_one is not None)
        return layout


def _layout(reader: _Reader, *, hashes: bool) -> _Layout:
    contract = reader.contract
    columns, personal = contract.contract.columns, set(contract.personal)
    names = [field.name for field in reader.fields]
    number_names = [field.name for field in reader.fields if field.part == "number"]
    fields = {
        part: tuple(at for at, field in enumerate(reader.fields) if field.part == part and field.name not in personal)
        for part in ("text", "time")
    }
    beside = {name: len(names) + at for at, name in enumerate(reader.kept)}
    entity, time = contract.entity, contract.time
    hashed = entity in personal
    entity_at = beside.get(entity, names.index(entity) if hashed and entity in names else None)
    if (hashed and not hashes) or (not hashed and entity in names):
        entity_at = None
    time_at = beside.get(time) if time not in names else None
    schema = Schema(
        task=contract.task,
        numbers=tuple(
            ("" if name in personal else name, columns[name].type if name in columns else ColumnType.NUMBER)
            for name in number_names
        ),
        texts=tuple(names[at] for at in fields["text"]),
        times=tuple(names[at] for at in fields["time"]),
        entity=entity if entity_at is not None else "",
        hashed=hashed,
        time=time if time_at is not None else "",
        columns={name: columns[name] for name, at in ((entity, entity_at), (time, time_at)) if at is not None},
    )
    raw = msgspec.Raw(_encode(schema))
    hidden_ = entity_at is not None and entity_at < len(names)
    return _Layout(raw, schema, len(number_names), fields["text"], fields["time"], entity_at, time_at, hidden_)


def _answered(layout: _Layout, logged: LoggedRun) -> Iterator[_Piece]:
    """The requests of a run whose rows all have an answer: one that was refused got none for any of its rows."""
    run, begin = logged.run, 0
    for id_, count in logged.requests:
        end = begin + count
        if not any(place in run.broken or place in run.failures for place in range(begin, end)):
            others = {place - begin: title for place, title in run.others.items() if begin <= place < end}
            decisions = None if run.decisions is None else run.decisions[begin:end]
            scores = run.scores[begin:end]
            rows = logged.rows[begin:end]
            said = (scores, decisions, others, _referred(run, begin, end))
            yield from _cut(_Piece(layout, run.title, logged.at, rows, [(id_, count)], 0, *said))
        begin = end


def _cut(piece: _Piece) -> Iterator[_Piece]:
    """A long run in pieces, each with the requests, or the parts of requests, that lie in it."""
    spans: list[tuple[int, str, int]] = []  # where each request begins and ends among the rows
    begin = 0
    for id_, count in piece.requests:
        spans.append((begin, id_, begin + count))
        begin += count
    for start in range(0, len(piece.rows), _MOST):
        end = min(start + _MOST, len(piece.rows))
        within = [span for span in spans if span[0] < end and span[2] > start]
        yield piece._replace(
            rows=piece.rows[start:end],
            requests=[(id_, min(end, last) - max(start, first)) for first, id_, last in within],
            first=max(start - within[0][0], 0),
            scores=piece.scores[start:end],
            decisions=None if piece.decisions is None else piece.decisions[start:end],
            others={place - start: title for place, title in piece.others.items() if start <= place < end},
            referred={place - start: why for place, why in piece.referred.items() if start <= place < end},
        )


def _firsts(pieces: Sequence[_Piece]) -> dict[int, int]:
    found: dict[int, int] = {}
    begin = 0
    for piece in pieces:
        if piece.first:
            found[begin] = piece.first
        begin += len(piece.requests)
    return found


def _doubles(columns: Sequence[Sequence[float | None]], rows: int) -> bytes:
    try:
        return struct.pack(f"{len(columns) * rows}d", *chain.from_iterable(columns))
    except struct.error:  # a missing value is among them
        return np.array(columns, dtype=np.float64).tobytes()


def _referred(run: _Run, begin: int, end: int) -> dict[int, str]:
    """Why a person is to decide, for the rows of a part of a run that are left to one."""
    if run.doubts is None or not run.doubts.referred:
        return {}
    return {place - begin: "; ".join(why) for place, why in run.doubts.referred.items() if begin <= place < end}


_OTHERS: Callable[[_Piece], Mapping[int, str]] = attrgetter("others")
_REFERRED: Callable[[_Piece], Mapping[int, str]] = attrgetter("referred")


def _by_place(pieces: Sequence[_Piece], told: Callable[[_Piece], Mapping[int, str]]) -> dict[int, str]:
    """What is told of single rows of pieces, by their places among all rows."""
    if not any(map(told, pieces)):
        return {}
    found: dict[int, str] = {}
    begin = 0
    for piece in pieces:
        found |= {begin + place: text for place, text in told(piece).items()}
        begin += len(piece.rows)
    return found

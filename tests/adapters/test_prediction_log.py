"""The prediction log and the feedback stream: what is kept, once, whatever happens to process and disk."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy.adapters.keys import Hasher
from roadworthy.adapters.prediction_log import (
    FeedbackStore,
    Limits,
    PredictionLog,
    column_name,
    joined,
    read_feedback,
    read_log,
)
from roadworthy.adapters.prediction_log.predictions import PredictionCodec
from roadworthy.adapters.prediction_log.segments import publish
from roadworthy.adapters.prediction_log.spool import Payload, Spool, left_behind, read_spool, spools_in
from roadworthy.errors import DataError, StorageError, UsageError
from roadworthy.formats.bundle.parts import ServingContract
from roadworthy.records.contract import ColumnContract, ColumnType, Contract
from roadworthy.records.feedback import Feedback
from roadworthy.records.project import Task

START = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)
COLUMNS = {
    "age": ColumnType.INTEGER,
    "score": ColumnType.NUMBER,  # the log has a column of that name
    "member": ColumnType.BOOLEAN,
    "city": ColumnType.CATEGORY,
    "since": ColumnType.TIME,
    "who": ColumnType.TEXT,
    "when": ColumnType.TIME,
}
PARTS = {"age": "number", "score": "number", "member": "number", "city": "text", "since": "time"}


class Named(NamedTuple):
    name: str
    part: str


@dataclass(eq=False)
class Reader:
    """What the log needs to know of ``serving.rows.RowReader``; the real one is met in ``test_feedback``."""

    contract: ServingContract
    fields: tuple[Named, ...]
    kept: tuple[str, ...] = ("who", "when")


class Doubts(NamedTuple):
    referred: dict[int, tuple[str, ...]]


class Run(NamedTuple):
    title: str
    scores: list[Any]
    decisions: list[str] | None
    others: dict[int, str]
    broken: dict[int, tuple[str, ...]]
    failures: dict[int, str]
    doubts: Doubts | None = None


class Logged(NamedTuple):
    at: float
    reader: Reader
    requests: Sequence[tuple[str, int]]
    rows: Sequence[tuple[Any, ...]]
    run: Run


@dataclass
class Counts:
    """The worker's metrics."""

    values: Counter[str] = field(default_factory=Counter)

    def count(self, name: str, by: float = 1) -> None:
        self.values[name] += int(by)


def reader_of(
    task: Task = Task.BINARY, personal: tuple[str, ...] = (), types: Mapping[str, ColumnType] = COLUMNS
) -> Reader:
    columns = {name: ColumnContract(type=kind) for name, kind in types.items()}
    contract = ServingContract(
        name="shop",
        task=task,
        target="bought",
        classes=() if task is Task.REGRESSION else ("no", "yes"),
        time="when",
        entity="who",
        personal=personal,
        contract=Contract(columns={**columns, "bought": ColumnContract(type=ColumnType.CATEGORY)}),
        inputs=tuple(PARTS),
    )
    return Reader(contract, tuple(Named(name, part) for name, part in PARTS.items()))


READER = reader_of()
ROW = (41, 0.5, True, "Ulm", "2026-01-01T00:00:00Z", "ann", "2026-01-31T12:00:00+01:00", None)


def logged(
    id_: str, rows: Sequence[tuple[Any, ...]] = (ROW,), *, at: datetime = START, reader: Reader = READER
) -> Logged:
    """One request in a run of its own."""
    run = Run("shop-1", [0.25] * len(rows), ["no"] * len(rows), {}, {}, {})
    return Logged(at.timestamp(), reader, [(id_, len(rows))], rows, run)


def label(id_: str = "a", row: int = 0, label: str = "yes", **more: Any) -> Feedback:
    return Feedback(**{"at_us": time.time_ns() // 1000, "id": id_, "row": row, "label": label, **more})


@contextmanager
def log_in(lake: Path, **more: Any) -> Iterator[PredictionLog]:
    log = PredictionLog(lake, **more)
    try:
        yield log
    finally:
        log.close()


def until(met: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def ids(rows: pl.DataFrame) -> list[tuple[str, int]]:
    return list(zip(rows["id"].to_list(), rows["row"].to_list(), strict=True))


# --- what was added is what is read ---------------------------------------------------------------------------------

integers = st.integers(-(2**53), 2**53)
doubles = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(codec="utf-8"), max_size=12)
instants = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))  # noqa: DTZ001 - hypothesis takes bounds without zone
times = instants.map(lambda moment: moment.isoformat() + "Z")


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


BROKEN: st.SearchStrategy[tuple[str, ...]] = st.just(("rule",))
rows_of = st.tuples(
    maybe(integers),
    maybe(doubles),
    maybe(st.booleans()),
    maybe(words),
    maybe(times),
    maybe(words),
    maybe(times),
    st.none(),
)


@st.composite
def runs(draw: st.DrawFn) -> Logged:
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=5))
    total = sum(sizes)
    rows = draw(st.lists(rows_of, min_size=total, max_size=total))
    places = st.integers(0, total - 1)
    broken = draw(st.dictionaries(places, BROKEN, max_size=1))
    failures = draw(st.dictionaries(places, st.just("no answer"), max_size=1))
    scores: list[Any] = draw(st.lists(doubles, min_size=total, max_size=total))
    for place in failures:
        scores[place] = None
    decisions = draw(st.lists(st.sampled_from(["no", "yes"]), min_size=total, max_size=total))
    reasons = st.lists(st.sampled_from(["two labels", "age is outside"]), min_size=1, max_size=2).map(tuple)
    doubts = draw(st.none() | st.dictionaries(places, reasons, max_size=3).map(Doubts))
    for place in doubts.referred if doubts else ():
        decisions[place] = ""
    run = Run(
        draw(st.sampled_from(["shop-1", "shop-2"])),
        scores,
        decisions,
        draw(st.dictionaries(places, st.just("constant"), max_size=2)),
        broken,
        failures,
        doubts,
    )
    at = START.timestamp() + draw(st.integers(0, 3_000)) / 1000
    return Logged(at, READER, [("", size) for size in sizes], rows, run)


def numbered(made: list[Logged]) -> list[Logged]:
    """The same runs, each request with an identity of its own."""
    numbers = iter(range(10_000))
    return [one._replace(requests=[(f"{next(numbers):08x}", count) for _, count in one.requests]) for one in made]


def _why(run: Run, place: int) -> str | None:
    return None if run.doubts is None else "; ".join(run.doubts.referred.get(place, ())) or None


def expected(made: Sequence[Logged]) -> list[dict[str, Any]]:
    """The rows that the log must hold, by the plain meaning of its docstrings."""
    found = []
    for one in made:
        begin = 0
        for id_, count in one.requests:
            span = range(begin, begin + count)
            begin += count
            if any(place in one.run.broken or place in one.run.failures for place in span):
                continue
            for row, place in enumerate(span):
                age, score, member, city, since, who, when, _ = one.rows[place]
                found.append(
                    {
                        "id": id_,
                        "row": row,
                        "at": datetime.fromtimestamp(round(one.at * 1e6) / 1e6, UTC).replace(tzinfo=None),
                        "version": one.run.others.get(place, one.run.title),
                        "score": one.run.scores[place],
                        "decision": (one.run.decisions[place] if one.run.decisions else None) or None,
                        "referred": _why(one.run, place),
                        "age": age,
                        "input.score": score,
                        "member": member,
                        "city": city,
                        "since": since and datetime.fromisoformat(since).replace(tzinfo=None),
                        "who": (who or "").strip() or None,
                        "when": when and datetime.fromisoformat(when).replace(tzinfo=None),
                    }
                )
    return sorted(found, key=lambda row: (row["at"], row["id"], row["row"]))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(runs(), min_size=1, max_size=6).map(numbered))
def test_what_was_added_is_what_is_read(made: list[Logged]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake, counts = Path(folder), Counts()
        wanted = expected(made)
        with log_in(lake, metrics=counts, durable=True) as log:

            async def add() -> None:
                for one in made:
                    log.add(one)
                await log.flushed()

            asyncio.run(add())
            assert read_log(lake).collect().to_dicts() == wanted  # from the spool
        assert not spools_in(lake / "predictions" / "spool")
        assert read_log(lake).collect().to_dicts() == wanted  # from Parquet
        assert counts.values == ({"roadworthy_log_rows_total": len(wanted)} if wanted else {})


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 1_500), min_size=1, max_size=5))
def test_requests_of_any_length_keep_the_place_of_each_row(sizes: list[int]) -> None:
    rows = [ROW] * sum(sizes)
    run = Run("v", list(map(float, range(len(rows)))), None, {len(rows) - 1: "constant"}, {}, {})
    one = Logged(START.timestamp(), READER, [(f"r{at}", size) for at, size in enumerate(sizes)], rows, run)
    codec = PredictionCodec()
    payloads = list(codec.payloads([one]))
    assert max(payload.rows for payload in payloads) <= 512
    found = pl.concat([table.rows for table in codec.tables([memoryview(payload.data) for payload in payloads])])
    assert ids(found) == [(f"r{at}", row) for at, size in enumerate(sizes) for row in range(size)]
    assert found["score"].to_list() == run.scores
    assert found["version"].to_list() == ["v"] * (len(rows) - 1) + ["constant"]
    assert found["decision"].null_count() == len(rows)


def test_records_of_servers_that_knew_no_referred_rows_are_read() -> None:
    (payload,) = PredictionCodec().payloads([logged("a", [ROW, ROW])])
    older = msgspec.msgpack.encode(msgspec.msgpack.decode(payload.data)[:-1])
    (found,) = PredictionCodec().tables([memoryview(older)])
    assert found.rows["decision"].to_list() == ["no", "no"]
    assert found.rows["referred"].null_count() == 2


def test_columns_have_the_types_of_clean_columns(tmp_path: Path) -> None:
    with log_in(tmp_path) as log:
        log.add(logged("a"))
    assert dict(read_log(tmp_path).collect_schema()) == {
        "id": pl.String,
        "row": pl.Int64,
        "at": pl.Datetime("us"),
        "version": pl.String,
        "score": pl.Float64,
        "decision": pl.String,
        "referred": pl.String,
        "age": pl.Int64,
        "input.score": pl.Float64,
        "member": pl.Boolean,
        "city": pl.String,
        "since": pl.Datetime("us"),
        "who": pl.String,
        "when": pl.Datetime("us"),
    }
    assert read_log(tmp_path).collect()["when"].item() == datetime(2026, 1, 31, 11)  # noqa: DTZ001 - UTC by definition
    assert column_name("input.score") == "input.input.score"


def test_scores_of_several_classes_are_lists(tmp_path: Path) -> None:
    reader = reader_of(Task.MULTICLASS)
    run = Run("v", [[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]], ["a", "c"], {}, {}, {})
    with log_in(tmp_path) as log:
        log.add(Logged(START.timestamp(), reader, [("a", 2)], [ROW, ROW], run))
    assert read_log(tmp_path).collect()["score"].to_list() == run.scores


def test_versions_with_other_columns_stand_in_one_table(tmp_path: Path) -> None:
    wider = reader_of(types={**COLUMNS, "height": ColumnType.NUMBER})
    wider.fields = (Named("height", "number"), *wider.fields)
    with log_in(tmp_path) as log:
        log.add(logged("a"))
        log.add(logged("b", [(1.8, *ROW)], reader=wider))
    rows = read_log(tmp_path).collect()
    assert ids(rows) == [("a", 0), ("b", 0)]
    assert rows["height"].to_list() == [None, 1.8]
    assert rows["age"].to_list() == [41, 41]


def test_versions_that_read_a_column_otherwise_stand_in_one_table(tmp_path: Path) -> None:
    many = reader_of(Task.MULTICLASS, types={**COLUMNS, "age": ColumnType.NUMBER, "member": ColumnType.INTEGER})
    times = reader_of(types={**COLUMNS, "city": ColumnType.TIME})
    times.fields = tuple(Named(name, "time" if name == "city" else part) for name, part in PARTS.items())
    with log_in(tmp_path) as log:
        log.add(logged("a"))
        log.add(logged("b", [(1.5, 0.5, 7, *ROW[3:])], reader=many))
        log.add(logged("c", [(*ROW[:3], "2026-01-01T00:00:00Z", *ROW[4:])], reader=times))
        until(lambda: read_log(tmp_path).collect().height == 3)
    rows = read_log(tmp_path).collect()
    assert rows["age"].to_list() == [41.0, 1.5, 41.0]
    assert rows["score"].to_list() == [[0.25]] * 3
    assert rows["member"].to_list() == ["true", "7", "true"]
    assert rows["city"].to_list() == ["Ulm", "Ulm", "2026-01-01 00:00:00.000000"]


def test_a_span_is_read_by_day_and_by_moment(tmp_path: Path) -> None:
    moments = [START + timedelta(hours=12 * at) for at in range(6)]
    with log_in(tmp_path) as log:
        for at, moment in reversed(list(enumerate(moments))):
            log.add(logged(f"{at}", at=moment))
    days = sorted(path.name for path in (tmp_path / "predictions").iterdir())
    assert days == ["2026-01-31", "2026-02-01", "2026-02-02", "2026-02-03", "spool"]
    assert [id_ for id_, _ in ids(read_log(tmp_path).collect())] == list("012345")
    span = read_log(tmp_path, since=moments[1], until=moments[4].astimezone())
    assert [id_ for id_, _ in ids(span.collect())] == list("123")
    (tmp_path / "predictions" / "2026-02-03").rename(tmp_path / "elsewhere")
    assert span.collect().height == 3


def test_an_empty_lake_is_an_empty_log(tmp_path: Path) -> None:
    assert read_log(tmp_path).collect().is_empty()
    assert read_feedback(tmp_path).latest.is_empty()
    found = joined(tmp_path, entity="who", time="when")
    assert (found.labelled, found.unlabelled, found.unknown, found.rows.height) == (0, 0, 0, 0)


# --- personal values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [True, False], ids=["hashed", "no-key"])
def test_a_personal_entity_is_in_no_byte_of_any_file(tmp_path: Path, key: bool) -> None:
    hasher = Hasher(b"k" * 32)
    reader = reader_of(personal=("who", "city"))
    clear = "Ann-Katrin.Clear@example.org"
    row = (*ROW[:3], "Schwäbisch-Hall-Clear", ROW[4], f" {clear} ", ROW[6], None)
    spooled = b""
    with log_in(tmp_path, hash_personal=hasher.hash_one if key else None) as log:
        log.add(logged("a", [row], reader=reader))
        until(lambda: read_log(tmp_path).collect().height)
        spooled = spools_in(tmp_path / "predictions" / "spool")[0].read_bytes()
    rows = read_log(tmp_path).collect()
    everything = [spooled] + [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    everything.append(rows.write_csv().encode())
    for name in (clear, "Ann-Katrin", "Hall-Clear"):
        assert not any(name.encode() in data for data in everything)
    assert "city" not in rows.columns  # a personal column that is not the entity is of no use to anyone
    assert rows.columns.count("who") == int(key)
    if key:
        assert rows["who"].item() == hasher.hash_one(clear) == hasher.hash(pl.Series([clear])).item()


def test_entity_and_time_that_the_model_reads_are_kept_once(tmp_path: Path) -> None:
    hasher = Hasher(b"k" * 32)
    for at, personal in enumerate(((), ("who",))):
        reader = reader_of(personal=personal)
        names = ("age", "score", "member", "city", "who", "since", "when")
        parts = {**PARTS, "who": "text", "when": "time"}
        reader.fields, reader.kept = tuple(Named(name, parts[name]) for name in names), ()
        who = hasher.hash_one("ann") if personal else "ann"  # a field of the reader is hidden before it gets here
        row = (*ROW[:4], who, ROW[4], ROW[6])
        with log_in(tmp_path / str(at), hash_personal=hasher.hash_one) as log:
            log.add(logged("a", [row], reader=reader))
        found = read_log(tmp_path / str(at)).collect().to_dicts()[0]
        assert found["who"] == who
        assert (found["when"], found["city"]) == (datetime(2026, 1, 31, 11), "Ulm")  # noqa: DTZ001 - UTC by definition


# --- kills ----------------------------------------------------------------------------------------------------------

KILLED = '''
"""Forks writers and kills each at a random moment; what a writer was told to be on the disk, it notes first."""
import asyncio, os, random, signal, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import test_prediction_log as own
from roadworthy.adapters.prediction_log import FeedbackStore, Limits, PredictionLog

lake, rounds = Path(sys.argv[1]), int(sys.argv[2])
notes = os.open(lake / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
limits = Limits(segment_bytes=2_000, segment_s=0.0)

async def write(number):
    log = PredictionLog(lake, worker=f"p{number}", durable=number % 2 == 0, limits=limits)
    store = FeedbackStore(lake, worker=f"f{number}", limits=limits)
    async def label(at):
        await store.add([own.label(f"{number}-{at}")])
        os.write(notes, f"label {number}-{at}\\n".encode())
    async def predict(at):
        log.add(own.logged(f"{number}-{at}", [own.ROW, own.ROW]))
        await log.flushed()
        os.write(notes, f"row {number}-{at}\\n".encode())
    at = 0
    while True:
        await asyncio.gather(*(work(at + k) for k in range(8) for work in (label, predict)))
        at += 8

rng = random.Random(5)
for number in range(rounds):
    child = os.fork()
    if child == 0:
        asyncio.run(write(number))
    time.sleep(rng.uniform(0.02, 0.35))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
'''


def python(script: str, *words: str | Path, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def test_sigkill_at_any_moment_loses_nothing_that_was_acknowledged_and_doubles_nothing(tmp_path: Path) -> None:
    done = python(KILLED, tmp_path, "20", Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    notes = (tmp_path / "acknowledged").read_text().split("\n")[:-1]
    labels = {line.split()[1] for line in notes if line.startswith("label")}
    rows = {line.split()[1] for line in notes if line.startswith("row")}
    assert len(labels) > 100
    assert len(rows) > 100

    def check() -> None:
        found = ids(read_log(tmp_path).collect())
        assert len(found) == len(set(found))
        assert {(id_, row) for id_ in rows for row in (0, 1)} <= set(found)
        feedback = read_feedback(tmp_path)
        assert feedback.received == feedback.latest.height
        assert labels <= set(feedback.latest["id"].to_list())

    check()
    before = set(ids(read_log(tmp_path).collect()))
    with log_in(tmp_path):
        FeedbackStore(tmp_path).close()
    assert not list(tmp_path.glob("*/spool/*.spool"))
    check()
    assert set(ids(read_log(tmp_path).collect())) == before
    assert not list(tmp_path.glob("*/20*/.*"))


def spool_of(lake: Path, *names: str, stream: str = "predictions") -> Path:
    """A spool that a dead writer left, with one record for each name."""
    folder = lake / stream / "spool"
    folder.mkdir(parents=True, exist_ok=True)
    spool = Spool.create(folder, "dead")
    for name in names:
        spool.append(list(PredictionCodec().payloads([logged(name)])))
    spool.close()
    return spool.path


def test_a_tail_torn_at_any_byte_costs_only_its_own_record(tmp_path: Path) -> None:
    path = spool_of(tmp_path, "a", "b", "c")
    whole = path.read_bytes()
    two = len(spool_of(tmp_path / "two", "a", "b").read_bytes())
    assert two < len(whole)
    for end in range(two, len(whole)):
        path.write_bytes(whole[:end])
        content = read_spool(path)
        assert len(content.payloads) == 2, end
        assert content.torn is (end > two)
        assert not content.damaged
    for end in range(two, len(whole)):
        path.write_bytes(whole[:end] + bytes([whole[end] ^ 0x40]) + whole[end + 1 :])
        content = read_spool(path)
        assert len(content.payloads) == 2, end
        assert content.torn


@pytest.mark.parametrize("cut", [0.0, 0.001, 0.3, 0.999])
def test_a_restart_repairs_a_torn_tail_and_counts_it(tmp_path: Path, cut: float) -> None:
    path = spool_of(tmp_path, "a", "b", "c")
    two = len(spool_of(tmp_path / "two", "a", "b").read_bytes())
    whole = path.read_bytes()
    path.write_bytes(whole[: two + int(cut * (len(whole) - two))])
    assert ids(read_log(tmp_path).collect()) == [("a", 0), ("b", 0)]
    counts = Counts()
    with log_in(tmp_path, metrics=counts) as log:
        log.add(logged("d"))
    assert ids(read_log(tmp_path).collect()) == [("a", 0), ("b", 0), ("d", 0)]
    assert not path.exists()
    assert counts.values["roadworthy_log_lost_rows_total"] == (1 if cut >= 0.3 else 0)


def test_a_spool_damaged_inside_is_set_aside_and_told(tmp_path: Path) -> None:
    path = spool_of(tmp_path, "a", "b", "c")
    data = bytearray(path.read_bytes())
    data[len(spool_of(tmp_path / "one", "a").read_bytes()) + 40] ^= 1
    path.write_bytes(data)
    log = PredictionLog(tmp_path)
    until(log.trouble)
    assert "is damaged and was set aside" in log.trouble()
    log.close()
    assert ids(read_log(tmp_path).collect()) == [("a", 0)]
    assert path.with_suffix(".damaged").read_bytes() == bytes(data)


def test_a_kill_between_segment_and_spool_doubles_nothing(tmp_path: Path) -> None:
    path = spool_of(tmp_path, "a", "b")
    tables = list(PredictionCodec().tables(read_spool(path).payloads))
    publish(tmp_path / "predictions", path.stem, tables)
    assert ids(read_log(tmp_path).collect()) == [("a", 0), ("b", 0)]
    PredictionLog(tmp_path).close()
    assert not path.exists()
    assert ids(read_log(tmp_path).collect()) == [("a", 0), ("b", 0)]


def test_nobody_takes_the_spool_of_a_living_writer(tmp_path: Path) -> None:
    with log_in(tmp_path, worker="w0") as first:
        first.add(logged("a"))
        until(lambda: read_log(tmp_path).collect().height)
        assert not list(left_behind(tmp_path / "predictions" / "spool"))
        with log_in(tmp_path, worker="w1") as second:
            second.add(logged("b"))
        first.add(logged("c"))
    assert ids(read_log(tmp_path).collect()) == [("a", 0), ("b", 0), ("c", 0)]


def test_a_reader_sees_each_row_once_while_writers_write(tmp_path: Path) -> None:
    limits = Limits(segment_bytes=1_500, segment_s=0.0)
    with log_in(tmp_path, durable=True, limits=limits) as log:

        async def write() -> None:
            for at in range(60):
                log.add(logged(f"{at:03d}"))
                await log.flushed()
                found = await asyncio.to_thread(lambda: ids(read_log(tmp_path).collect()))
                assert found == [(f"{one:03d}", 0) for one in range(at + 1)]

        asyncio.run(write())


# --- disks ----------------------------------------------------------------------------------------------------------

FULL = '''
"""A disk that is full for a while: no file may grow beyond a limit, then it may again."""
import asyncio, resource, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_prediction_log as own
from roadworthy.adapters.prediction_log import FeedbackStore, Limits, PredictionLog
from roadworthy.errors import StorageError

lake, counts = Path(sys.argv[1]), own.Counts()
log = PredictionLog(lake, metrics=counts, limits=Limits(rows=50))
store = FeedbackStore(lake)

def room(most):
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

async def main():
    log.add(own.logged("before"))
    await log.flushed()
    await store.add([own.label("before")])
    room(700)
    for at in range(80):
        log.add(own.logged(f"full-{at:02d}"))
        if at == 10:
            await asyncio.to_thread(own.until, lambda: "File too large" in log.trouble())
    await asyncio.to_thread(own.until, lambda: counts.values["roadworthy_log_lost_rows_total"])
    assert "rows wait for it" in log.trouble() and "30 were lost so far" in log.trouble(), log.trouble()
    for at in range(20):
        try:
            await store.add([own.label(f"refused-{at}", comment="c" * 700)])
        except StorageError as error:
            assert "File too large" in str(error)
        else:
            raise AssertionError("it was not on the disk")
    assert "File too large" in store.trouble()
    room(resource.RLIM_INFINITY)
    await asyncio.to_thread(own.until, lambda: not log.trouble())
    await asyncio.to_thread(own.until, lambda: not store.trouble())
    log.add(own.logged("z-after"))
    await log.flushed()
    await store.add([own.label("z-after")])

asyncio.run(main())
log.close()
store.close()
assert counts.values == {"roadworthy_log_rows_total": 52, "roadworthy_log_lost_rows_total": 30}, counts
'''


def test_a_full_disk_is_told_counted_and_forgotten_when_there_is_room(tmp_path: Path) -> None:
    done = python(FULL, tmp_path, Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    wanted = ["before", *(f"full-{at:02d}" for at in range(50)), "z-after"]
    assert [id_ for id_, _ in ids(read_log(tmp_path).collect())] == wanted
    assert read_feedback(tmp_path).latest["id"].to_list() == ["before", "z-after"]


def test_what_a_failed_append_left_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    spool = Spool.create(tmp_path, "w")
    spool.append([Payload(b"first", 1)])

    def full(handle: int, data: memoryview, at: int) -> int:
        if len(data) < 1_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle, data[: len(data) - 500], at)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space left"):
            spool.append([Payload(b"l" * 1_400, 7)])
    assert (read_spool(spool.path).torn, read_spool(spool.path).torn_rows) == (True, 7)
    spool.append([Payload(b"second", 1)])
    content = read_spool(spool.path)
    assert [bytes(payload) for payload in content.payloads] == [b"first", b"second"]
    assert not content.torn
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space left"):
            spool.append([Payload(b"l" * 1_400, 7)])
    spool.settle()
    assert not read_spool(spool.path).torn
    spool.remove()
    assert not list(tmp_path.iterdir())


NO_PARQUET = '''
"""A disk that has no room for Parquet, then has."""
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_prediction_log as own
from roadworthy.adapters.prediction_log import PredictionLog, journal, read_log

lake = Path(sys.argv[1])
journal._AGAIN_S = 0.1
own.spool_of(lake, *"abc")
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
log = PredictionLog(lake)
own.until(log.trouble)
assert log.trouble() == "the prediction log stays in its spool: File too large", log.trouble()
assert not [path for path in lake.rglob("*parquet*")]
assert read_log(lake).collect().height == 3
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
own.until(lambda: not log.trouble())
log.close()
'''


def test_a_disk_without_room_for_parquet_keeps_the_spool(tmp_path: Path) -> None:
    done = python(NO_PARQUET, tmp_path, Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    assert ids(read_log(tmp_path).collect()) == [("a", 0), ("b", 0), ("c", 0)]
    assert not spools_in(tmp_path / "predictions" / "spool")


@contextmanager
def gone(folder: Path) -> Iterator[None]:
    """The folder is not there for a while."""
    elsewhere = folder.with_name("elsewhere")
    folder.rename(elsewhere)
    try:
        yield
    finally:
        elsewhere.rename(folder)


def test_a_lake_that_is_gone_for_a_while_costs_nothing_and_is_not_made_anew(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    with log_in(lake) as log:
        log.add(logged("a"))
        until(lambda: read_log(lake).collect().height)
        with gone(lake):
            log.add(logged("b"))
            until(log.trouble)
            assert "No such file" in log.trouble()
            assert not lake.exists()
        until(lambda: not log.trouble())
        log.add(logged("c"))
    assert ids(read_log(lake).collect()) == [("a", 0), ("b", 0), ("c", 0)]


def test_segments_that_cannot_be_written_stay_in_the_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    day = tmp_path / "predictions" / "2026-01-31"
    (tmp_path / "predictions").mkdir()
    day.write_text("a file where the folder should be")
    log = PredictionLog(tmp_path, limits=Limits(segment_s=0.0))
    monkeypatch.setattr("roadworthy.adapters.prediction_log.journal._AGAIN_S", 0.1)
    log.add(logged("a"))
    until(log.trouble)
    assert "stays in its spool" in log.trouble()
    assert ids(read_log(tmp_path).collect()) == [("a", 0)]
    day.unlink()
    until(lambda: not log.trouble())
    log.close()
    assert ids(read_log(tmp_path).collect()) == [("a", 0)]
    assert len(list(day.glob("*.parquet"))) == 1


def test_what_waits_is_bounded_and_the_rest_is_counted(tmp_path: Path) -> None:
    counts, limits = Counts(), Limits(rows=1_000, bytes=20_000)
    with log_in(tmp_path / "lake", metrics=counts, limits=limits) as log:
        journal = log._journal
        with gone(tmp_path / "lake"):
            for at in range(3_000):
                log.add(logged(f"{at}", [ROW] * 3))
                assert journal._rows_in - journal._rows_out <= limits.rows
                if at % 500 == 0:
                    time.sleep(0.25)
                    assert journal._held_bytes <= limits.bytes
            until(lambda: journal._held and not journal._queue)
            assert "were lost so far" in log.trouble()
    rows = read_log(tmp_path / "lake").collect()
    assert rows.height == counts.values["roadworthy_log_rows_total"] > 0
    assert counts.values["roadworthy_log_lost_rows_total"] + rows.height == 9_000


def test_what_a_slow_disk_leaves_standing_is_bounded_in_bytes_also_where_rows_are_wide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, limits, stands, real = Counts(), Limits(items=40_000), threading.Event(), os.fsync

    def slow(handle: int) -> None:
        stands.wait(20)
        real(handle)

    with log_in(tmp_path, metrics=counts, limits=limits) as log:
        journal = log._journal
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", slow)
            log.add(logged("first"))
            until(lambda: not journal._queue)
            for at in range(100):
                log.add(logged(f"{at}", [ROW] * 5))
                assert journal._size_in - journal._size_out <= limits.items
            assert 0 < journal._refused < 500 == 5 * 100
            assert "falls behind" in log.trouble()
            stands.set()
        until(lambda: not journal._queue)
        log.add(logged("large", [ROW] * 500))  # beyond the bound by itself: taken where nothing else waits
        until(lambda: not journal._queue)
    assert journal._size_in == journal._size_out
    rows = read_log(tmp_path).collect()
    assert rows.height == counts.values["roadworthy_log_rows_total"] > 500
    assert counts.values["roadworthy_log_lost_rows_total"] + rows.height == 1_001


def test_a_row_that_cannot_be_written_costs_no_other(tmp_path: Path) -> None:
    counts = Counts()
    with log_in(tmp_path, metrics=counts) as log:
        log.add(logged("a"))
        log.add(logged("b", [("no number", *ROW[1:])]))
        log.add(logged("c"))
    assert ids(read_log(tmp_path).collect()) == [("a", 0), ("c", 0)]
    assert counts.values == {"roadworthy_log_rows_total": 2, "roadworthy_log_lost_rows_total": 1}


def test_a_folder_that_cannot_be_made_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "predictions").write_text("a file")
    with pytest.raises(StorageError, match="the prediction log cannot be kept"):
        PredictionLog(tmp_path)
    with pytest.raises(UsageError, match="a worker's name"):
        PredictionLog(tmp_path / "other", worker="../w")


def test_a_disk_that_hangs_keeps_no_process_from_ending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, real = threading.Event(), os.fsync

    def hanging(handle: int) -> None:
        hangs.wait(20)
        real(handle)

    monkeypatch.setattr("roadworthy.adapters.prediction_log.journal._CLOSE_S", 0.2)
    log = PredictionLog(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", hanging)
        log.add(logged("a"))
        begun = time.monotonic()
        log.close()
        assert time.monotonic() - begun < 5
        hangs.set()
        log._journal._thread.join()
    assert ids(read_log(tmp_path).collect()) == [("a", 0)]


# --- durable --------------------------------------------------------------------------------------------------------


def test_durable_waits_for_the_disk_and_many_runs_share_one_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs, real = Counter[str](), os.fsync

    def counted(handle: int) -> None:
        syncs["fsync"] += 1
        real(handle)

    with log_in(tmp_path, durable=True) as log:

        async def one(number: int) -> None:
            log.add(logged(f"{number:04d}"))
            await log.flushed()

        async def many() -> None:
            await one(0)
            monkeypatch.setattr(os, "fsync", counted)
            begun = time.perf_counter()
            await asyncio.gather(*(one(number) for number in range(1, 401)))
            assert time.perf_counter() - begun < 5
            assert read_log(tmp_path).collect().height == 401

        asyncio.run(many())
        assert 1 <= syncs["fsync"] < 100


def test_durable_tells_each_caller_whose_row_is_not_on_the_disk(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    with log_in(lake, durable=True, limits=Limits(rows=4)) as log:

        async def add(name: str, rows: int = 1) -> None:
            one = logged(name, [ROW] * rows)
            log.add(one)
            await log.flushed(one.run)

        async def main() -> None:
            await add("a")
            with gone(lake):
                lost = logged("b")
                log.add(lost)
                told = await asyncio.gather(log.flushed(lost.run), add("c"), return_exceptions=True)
                assert [type(one) for one in told] == [StorageError, StorageError]
                assert "No such file" in str(told[0])
            with pytest.raises(StorageError, match="more waits for the disk"):
                await add("d", rows=5)
            await add("e")
            with pytest.raises(StorageError):
                await log.flushed(lost.run)  # it is not there, though all that came later is
            with pytest.raises(StorageError):
                await log.flushed(logged("never added").run)

        asyncio.run(main())
    assert ids(read_log(lake).collect()) == [("a", 0), ("e", 0)]


# --- labels ---------------------------------------------------------------------------------------------------------


def stored(lake: Path, *requests: Sequence[Feedback]) -> None:
    async def add() -> None:
        store = FeedbackStore(lake)
        for labels in requests:
            await store.add(labels)
        await asyncio.to_thread(store.close)

    asyncio.run(add())


def test_the_latest_label_counts_and_changed_minds_are_counted(tmp_path: Path) -> None:
    stored(
        tmp_path,
        [label("a", label="yes"), label("a", row=1, label="no"), label("b", label="no", comment="späť")],
        [label("a", label="no"), label("b", label="no")],
        [label("a", label="yes")],
    )
    found = read_feedback(tmp_path)
    assert (found.received, found.repeated, found.changed) == (6, 0, 2)
    latest = {(row["id"], row["row"]): row["label"] for row in found.latest.to_dicts()}
    assert latest == {("a", 0): "yes", ("a", 1): "no", ("b", 0): "no"}


def test_a_key_that_came_twice_counts_once_also_over_restarts(tmp_path: Path) -> None:
    many = [label("a", key="k", place=0), label("b", key="k", place=1)]
    stored(tmp_path, many)
    stored(tmp_path, many, [label("a", label="no")])
    found = read_feedback(tmp_path)
    assert (found.received, found.repeated, found.changed) == (5, 2, 1)


def test_labels_are_joined_by_id_or_by_entity_and_time_and_the_rest_is_counted(tmp_path: Path) -> None:
    noon = int(datetime(2026, 1, 31, 11, tzinfo=UTC).timestamp() * 1e6)
    with log_in(tmp_path) as log:
        log.add(logged("a", [ROW, (*ROW[:5], "ben", *ROW[6:])]))
        log.add(logged("b", [(*ROW[:5], "cay", *ROW[6:])]))
    stored(
        tmp_path,
        [label("a", label="no"), label("zzz")],
        [label("", entity="ben", time_us=noon), label("", entity="nobody", time_us=noon)],
        [label("", entity="ann", time_us=noon, comment="later, and so it counts")],
    )
    found = joined(tmp_path, entity="who", time="when")
    labels = [(row["id"], row["row"], row["label"]) for row in found.rows.to_dicts()]
    assert labels == [("a", 0, "yes"), ("a", 1, "yes"), ("b", 0, None)]
    assert (found.labelled, found.unlabelled, found.unknown, found.unknown_entities) == (2, 1, 1, 1)
    by_id = joined(tmp_path)
    assert (by_id.labelled, by_id.unknown_entities) == (1, 3)
    with pytest.raises(DataError, match="did you mean 'who'"):
        joined(tmp_path, entity="whom", time="when")


def test_joining_a_span_does_not_call_what_lies_outside_unknown(tmp_path: Path) -> None:
    with log_in(tmp_path) as log:
        log.add(logged("a", at=START))
        log.add(logged("b", at=START + timedelta(days=2)))
    stored(tmp_path, [label("a"), label("b")])
    found = joined(tmp_path, since=START + timedelta(days=1))
    assert (ids(found.rows), found.labelled, found.unknown) == ([("b", 0)], 1, 0)


def test_the_machinery_leaves_no_thread_and_no_handle(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0
    for at in range(5):
        with log_in(tmp_path, limits=Limits(segment_s=0.0)) as log:
            log.add(logged(f"{at}"))
            until(lambda: read_log(tmp_path).collect().height)
    if before:
        assert len(list(Path("/proc/self/fd").iterdir())) <= before
    shutil.rmtree(tmp_path)


def test_a_record_without_rows_is_never_taken_for_one(tmp_path: Path) -> None:
    path = spool_of(tmp_path, "a")
    path.write_bytes(path.read_bytes() + bytes(4_096))  # what some file systems leave after a power cut
    content = read_spool(path)
    assert (len(content.payloads), content.torn, content.damaged) == (1, True, False)
    spool = next(iter(left_behind(path.parent)))
    assert len(spool.read().payloads) == 1
    spool.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        spool.append([Payload(b"x", 1)])

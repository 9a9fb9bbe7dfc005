"""``POST /feedback`` over the ASGI application, with a real bundle, log and store."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest

from roadworthy import assembly
from roadworthy.adapters.keys import load_keys
from roadworthy.adapters.prediction_log import FeedbackStore, PredictionLog, joined, read_feedback, read_log
from roadworthy.errors import StorageError
from roadworthy.formats.bundle.parts import ServingContract
from roadworthy.records.contract import ColumnContract, ColumnType, Contract
from roadworthy.records.feedback import Feedback
from roadworthy.records.project import Task
from roadworthy.serving.calls import Call, Failure, Handler, Reply, Route
from roadworthy.serving.chain import Chain
from roadworthy.serving.engine import Engine
from roadworthy.serving.feedback import FeedbackSink, feedback_handler
from roadworthy.serving.metrics import Metrics
from roadworthy.serving.service import Service, State
from roadworthy.serving.web import Web
from roadworthy.transforms.kept import HashOne

CLEAR = "visitor-Clear-4711"

JSON = (b"content-type", b"application/json")


def contract_of(task: Task = Task.BINARY, **more: Any) -> ServingContract:
    target = {
        Task.BINARY: ColumnContract(type=ColumnType.INTEGER),
        Task.MULTICLASS: ColumnContract(type=ColumnType.CATEGORY),
        Task.REGRESSION: ColumnContract(type=ColumnType.NUMBER, min=0, max=1e6),
    }[task]
    classes = {Task.BINARY: ("0", "1"), Task.MULTICLASS: ("red", "green", "true"), Task.REGRESSION: ()}[task]
    columns = {
        "who": ColumnContract(type=ColumnType.TEXT, sentinels=("unknown",)),
        "when": ColumnContract(type=ColumnType.TIME),
        "x": ColumnContract(type=ColumnType.NUMBER),
        "y": target,
    }
    given = {"entity": "who", "time": "when", "personal": ("who",), **more}
    return ServingContract(
        name="m", task=task, target="y", classes=classes, contract=Contract(columns=columns), inputs=("x",), **given
    )


class _Line:
    def __init__(self, contract: ServingContract) -> None:
        self.line = self.reader = self
        self.contract = contract


class Kept:
    """A store in memory; ``refuse`` makes the disk full, ``wait`` makes it slow."""

    def __init__(self) -> None:
        self.labels: list[Feedback] = []
        self.refuse = False
        self.wait = 0.0

    async def add(self, labels: Sequence[Feedback]) -> None:
        await asyncio.sleep(self.wait)
        if self.refuse:
            raise StorageError("feedback was not written: No space left on device")
        self.labels += labels


def hash_one(text: str) -> str:
    return f"hash of {len(text)}"


@dataclass
class Edge:
    """The handler before a contract, without the rest of the server."""

    contract: ServingContract
    store: Kept
    handler: Handler

    async def post(self, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"content-type": "application/json"} | dict(headers or {})
        fields = {name.lower().encode(): value.encode() for name, value in given.items()}
        service = cast("Service", _Line(self.contract))
        try:
            call = Call("POST", "/feedback", fields, data, time.perf_counter() + 5)
            reply: Reply = await cast("Any", self.handler(service, call))
        except Failure as failure:
            return failure.reply()
        return reply

    def one(self, body: Any, **headers: str) -> tuple[int, Any]:
        reply = asyncio.run(self.post(body, {name.replace("_", "-"): value for name, value in headers.items()}))
        return reply.status, json.loads(reply.body)


def edge(task: Task = Task.BINARY, *, hashes: HashOne | None = hash_one, **more: Any) -> Edge:
    store = Kept()
    return Edge(contract_of(task, **more), store, feedback_handler(store, hash_personal=hashes))


def problems(body: Any) -> list[tuple[str, str]]:
    return [(one["where"], one["found"]) for one in body["problems"]]


# --- what is taken --------------------------------------------------------------------------------------------------


def test_the_three_forms() -> None:
    at = edge()
    assert at.one({"id": "a", "label": "1", "comment": "seen"}) == (202, {"accepted": 1})
    assert at.one({"entity": 42, "time": "2026-01-31T12:00:00+01:00", "label": 0}) == (202, {"accepted": 1})
    assert at.one({"feedback": [{"id": "b", "row": 2, "label": 1.0}, {"id": "b", "row": 3, "label": "0"}]}) == (
        202,
        {"accepted": 2},
    )
    first, second, third, fourth = at.store.labels
    assert (first.id, first.row, first.label, first.comment) == ("a", 0, "1", "seen")
    assert (second.id, second.entity, second.label) == ("", "hash of 2", "0")
    assert second.time_us == 1_769_857_200_000_000
    assert [(one.id, one.row, one.label, one.place) for one in (third, fourth)] == [("b", 2, "1", 0), ("b", 3, "0", 1)]
    assert abs(first.at_us / 1e6 - time.time()) < 5


@pytest.mark.parametrize(
    ("task", "label", "kept"),
    [
        (Task.MULTICLASS, "green", ("green", None)),
        (Task.MULTICLASS, True, ("true", None)),
        (Task.REGRESSION, 0, ("", 0.0)),
        (Task.REGRESSION, 1e6, ("", 1e6)),
    ],
    ids=["class", "boolean", "zero", "largest"],
)
def test_labels_that_the_contract_allows(task: Task, label: Any, kept: tuple[str, float | None]) -> None:
    at = edge(task)
    assert at.one({"id": "a", "label": label})[0] == 202
    assert (at.store.labels[0].label, at.store.labels[0].value) == kept


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "label"),
    [
        (Task.BINARY, "2"),
        (Task.BINARY, None),
        (Task.BINARY, True),
        (Task.BINARY, ["1"]),
        (Task.MULTICLASS, "Red"),
        (Task.REGRESSION, "3"),
        (Task.REGRESSION, True),
        (Task.REGRESSION, -1),
        (Task.REGRESSION, 10**400),
        (Task.REGRESSION, None),
    ],
    ids=["class", "null", "boolean", "list", "case", "text", "true", "below", "huge", "none"],
)
def test_labels_that_the_contract_does_not_allow(task: Task, label: Any) -> None:
    at = edge(task)
    status, body = at.one({"id": "a", "label": label})
    assert status in {400, 422}
    if label != 10**400:  # which the decoder may refuse before
        assert body["problems"][0]["where"] == "feedback.label"
    assert not at.store.labels


def test_all_problems_are_told_at_once_and_nothing_is_stored() -> None:
    at = edge()
    status, body = at.one(
        {
            "feedback": [
                {"id": "fine", "label": "1"},
                {"id": "", "row": -1, "label": "3", "comment": "c" * 2_001, "lable": "1"},
                {"id": "a", "entity": CLEAR, "time": "2026-01-01T00:00:00Z", "label": "1"},
                {"entity": CLEAR, "time": "yesterday", "label": "1"},
                {"entity": "unknown", "time": "2026-01-01T00:00:00Z", "label": "1"},
                {"row": 1, "label": "1"},
                "a",
            ]
        }
    )
    assert status == 422
    assert problems(body) == [
        ("feedback[1].lable", "unknown member; did you mean 'label'?"),
        ("feedback[1].id", "0 characters"),
        ("feedback[1].row", "a whole number"),
        ("feedback[1].label", "no class of this model"),
        ("feedback[1].comment", "2,001 characters"),
        ("feedback[2]", "both id and entity or time"),
        ("feedback[5]", "neither id nor entity"),
        ("feedback[6]", "a text"),
        ("feedback[3].time", "no time"),
        ("feedback[4].entity", "nobody, by the contract"),
    ]
    assert CLEAR not in json.dumps(body)
    assert not at.store.labels


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[1]", 400),
        (b'{"feedback": 1}', 400),
        (b'{"feedback": [], "id": "a"}', 400),
        (b"\xff\xfe", 400),
        (b'{"id": "a", "label": NaN}', 400),
        (b"[" * 100_000, 400),
        (b'{"feedback": []}', 422),
        (json.dumps({"feedback": [{"id": "a", "label": "1"}] * 10_001}).encode(), 422),
        (b"{}", 422),
        (b'{"id": 1, "label": "1"}', 422),
        (b'{"id": "a", "row": 1.5, "label": "1"}', 422),
        (b'{"entity": {"a": 1}, "time": 1, "label": "1"}', 422),
        (b'{"entity": "a", "label": "1"}', 422),
        (b'{"time": "2026-01-01T00:00:00Z", "label": "1"}', 422),
    ],
    ids=range(16),
)
def test_bodies_of_other_forms(body: bytes, status: int) -> None:
    at = edge()
    found, told = at.one(body)
    assert found == status, told
    assert told["error"]
    assert not at.store.labels


def test_another_content_type_is_refused() -> None:
    assert edge().one({"id": "a", "label": "1"}, content_type="text/csv")[0] == 415
    assert edge().one({"id": "a", "label": "1"}, content_type="application/json; charset=utf-8")[0] == 202


def test_without_a_key_a_personal_entity_is_refused_and_without_an_entity_any() -> None:
    by_entity = {"entity": CLEAR, "time": "2026-01-01T00:00:00Z", "label": "1"}
    status, body = edge(hashes=None).one(by_entity)
    assert (status, body["next"]) == (422, "send id and row")
    assert CLEAR not in json.dumps(body)
    status, body = edge(entity="").one(by_entity)
    assert (status, problems(body)) == (422, [("feedback", "this model has no entity with a time")])
    open_ = edge(hashes=None, personal=())
    assert open_.one(by_entity)[0] == 202
    assert open_.store.labels[0].entity == CLEAR


def test_a_disk_that_refuses_is_a_503_that_says_to_come_again() -> None:
    at = edge()
    at.store.refuse = True
    status, body = at.one({"id": "a", "label": "1"})
    assert status == 503
    assert "No space left on device" in body["error"]


# --- requests that come again ---------------------------------------------------------------------------------------


def test_the_same_key_twice_is_stored_once() -> None:
    at = edge()

    async def many() -> list[int]:
        at.store.wait = 0.05
        body, headers = {"id": "a", "label": "1"}, {"Idempotency-Key": "k-1"}
        together = await asyncio.gather(*(at.post(body, headers) for _ in range(5)))
        again = await at.post(body, headers)
        other = await at.post({"id": "a", "label": "0"}, headers)
        fresh = await at.post(body, {"Idempotency-Key": "k-2"})
        bad = await at.post(body, {"Idempotency-Key": "k" * 256})
        return [reply.status for reply in (*together, again, other, fresh, bad)]

    assert asyncio.run(many()) == [202] * 6 + [422, 202, 400]
    assert len(at.store.labels) == 2
    assert len({one.key for one in at.store.labels}) == 2
    assert "k-1" not in {one.key for one in at.store.labels}


def test_a_caller_who_goes_or_a_disk_that_refuses_does_not_use_up_the_key() -> None:
    at = edge()
    body, headers = {"id": "a", "label": "1"}, {"Idempotency-Key": "k"}

    async def main() -> list[int]:
        at.store.refuse, at.store.wait = True, 0.01
        refused = await at.post(body, headers)
        at.store.refuse = False
        gone = asyncio.create_task(at.post(body, headers))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waits = asyncio.create_task(at.post(body, headers))
        gone.cancel()
        return [refused.status, (await waits).status]

    assert asyncio.run(main()) == [503, 202]
    assert len(at.store.labels) == 1


def test_the_keys_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadworthy.serving.feedback._KEYS", 3)
    at = edge()

    async def main() -> None:
        for number in (0, 1, 2, 3, 3, 0):
            reply = await at.post({"id": "a", "label": "1"}, {"Idempotency-Key": f"k{number}"})
            assert reply.status == 202

    asyncio.run(main())
    assert len(at.store.labels) == 5  # k3 was remembered, k0 no more: whoever reads the stream still counts it once


# --- the whole way --------------------------------------------------------------------------------------------------


async def ask(web: Web, path: str, body: Any, method: str = "POST") -> tuple[int, Any]:
    """One request as the HTTP server hands it over."""
    done: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    data = json.dumps(body).encode() if body is not None else b""
    web.take(method, path, dict([JSON]), data, time.perf_counter(), done.set_result)
    reply = await done
    text = reply.body.decode()
    return reply.status, json.loads(text) if text[:1] in "{[" else text


def test_predictions_and_their_labels_meet_in_the_lake_without_a_clear_name(
    finished: Path, clicks: pl.DataFrame, tmp_path: Path
) -> None:
    project = assembly.open_project(finished)
    hasher = load_keys(project.folder).hasher
    with assembly.opened_bundle(project, "latest") as (version, bundle):
        engine = Engine(bundle, version.title, hash_personal=hasher.hash, hashing_key=hasher.fingerprint)
    columns = [name for name in clicks.columns if name != "converted"]
    rows = clicks.drop_nulls().select(columns).head(3).with_columns(pl.col("timestamp").cast(pl.String)).to_dicts()
    for at, row in enumerate(rows):
        row["user_id"] = f"{CLEAR}-{at}"

    async def main() -> tuple[str, dict[str, Any], str]:
        metrics = Metrics()
        log = PredictionLog(tmp_path, metrics=metrics, hash_personal=hasher.hash_one)
        store = FeedbackStore(tmp_path, metrics=metrics)
        sink: FeedbackSink = store
        handler = feedback_handler(sink, hash_personal=hasher.hash_one)
        web = Web(routes={"/feedback": Route("feedback", ("POST",), handler)})
        web.service = Service("clicks", Chain([engine]), log=log, metrics=metrics)
        web.service.state = State.READY
        status, answer = await ask(web, "/predict", {"rows": rows})
        assert status == 200, answer
        broken = {**rows[0], "clicks": 10**6}
        assert (await ask(web, "/predict", {"row": broken}))[0] == 422
        by_entity = {"entity": rows[2]["user_id"], "time": rows[2]["timestamp"], "label": 1}
        assert (await ask(web, "/feedback", {"id": answer["id"], "row": 1, "label": 0}))[0] == 202
        assert (await ask(web, "/feedback", by_entity))[0] == 202
        assert (await ask(web, "/feedback", {**by_entity, "label": 2}))[0] == 422
        assert (await ask(web, "/feedback", {"id": "of another replica", "label": 0}))[0] == 202
        assert (await ask(web, "/feedback", {"id": "a"}, method="GET"))[0] == 405
        await log.flushed()
        assert (await ask(web, "/readyz", None, method="GET"))[1].get("warnings") is None
        await asyncio.to_thread(log.close)
        await asyncio.to_thread(store.close)
        text = (await ask(web, "/metrics", None, method="GET"))[1]
        return answer["id"], answer, text

    id_, answer, text = asyncio.run(main())
    found = joined(tmp_path, entity="user_id", time="timestamp")
    assert found.rows.select("id", "row", "label").rows() == [(id_, 0, None), (id_, 1, "0"), (id_, 2, "1")]
    assert (found.labelled, found.unlabelled, found.unknown, found.unknown_entities) == (2, 1, 1, 0)
    assert found.rows["score"].to_list() == [one["score"] for one in answer["predictions"]]
    assert found.rows["version"].unique().to_list() == [answer["version"]]
    assert found.rows["impressions"].to_list() == [row["impressions"] for row in rows]
    assert found.rows["user_id"].to_list() == [hasher.hash_one(row["user_id"]) for row in rows]
    assert read_log(tmp_path).collect_schema()["timestamp"] == pl.Datetime("us")
    assert read_feedback(tmp_path).received == 3
    assert "roadworthy_log_rows_total 3\n" in text
    assert "roadworthy_log_lost_rows_total 0\n" in text
    assert "roadworthy_feedback_total 3\n" in text
    assert not any(CLEAR.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_closest_name_is_looked_for_only_for_what_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("roadworthy.serving.feedback.nearest", lambda name, _known: asked.append(name))
    body = json.dumps({"id": "a", "label": "1", **{f"labl{at}": 1 for at in range(5_000)}}).encode()
    handler = feedback_handler(cast("Any", None))
    with pytest.raises(Failure) as refused:
        asyncio.run(
            cast("Any", handler(cast("Any", _Line(contract_of())), Call("POST", "/feedback", dict([JSON]), body, 0.0)))
        )
    assert refused.value.status == 422
    assert len(asked) == 100

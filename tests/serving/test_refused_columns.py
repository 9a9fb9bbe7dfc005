"""Rows that break the contract are counted by column: exactly, over all workers and protocols, and in bounded space."""

from __future__ import annotations

import http.client
import json
import math
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from roadworthy.adapters.scraping import parsed_metrics
from roadworthy.measures.operations.traffic import newly_refused
from roadworthy.records.contract import Breach
from roadworthy.records.reading import Reading
from roadworthy.serving.metrics import Metrics
from roadworthy.serving.refusals import MOST_BYTES

WEIRD = "weight{\u2028roadworthy_rows_total 99"
HOSTILE = 'é"} 9\n\\n\r\u2028roadworthy_rows_total 99'
PROJECT = """
[project]
name = "parcels"
task = "regression"
target = "cost"
[data]
source = "parcels.parquet"
[contract]
rules = ["size <= 2 * age"]
[contract.columns]
age = { type = "integer", min = 0, max = 120, missing = "reject" }
kind = { type = "category", allowed = ["first", "again"], missing = "reject" }
size = { type = "number", min = 0, missing = "reject" }
WEIRD = { type = "number", max = 9 }
cost = { type = "number" }
[training]
candidates = ["logistic"]
folds = 2
seed = 7
[standard]
extends = "prototype"
"""
CAME_TO_THE_MODEL = 3
"""Rows of the test: one sound, two against the rule."""

ROW: dict[str, Any] = {"age": 30, "kind": "again", "size": 12.5, WEIRD: 1.0}


@pytest.fixture(scope="module")
def parcels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished project with a rule, and with a column whose name is no name."""
    from roadworthy import api  # noqa: PLC0415 - heavy, and only these tests need it

    folder = tmp_path_factory.mktemp("parcels")
    random = np.random.default_rng(5)
    age = random.integers(18, 90, 300)
    size = random.normal(20, 5, 300).clip(1, 30)
    made = {"age": age, "kind": random.choice(["first", "again"], 300), "size": size, WEIRD: random.normal(size=300)}
    pl.DataFrame({**made, "cost": size * 2 + age}).write_parquet(folder / "parcels.parquet")
    (folder / "roadworthy.toml").write_text(PROJECT.replace("WEIRD", json.dumps(WEIRD)))
    api.run(folder)
    return folder


def post(port: int, path: str, body: Any, binary: bytes = b"") -> int:
    """Over a connection of its own, so that every worker gets some."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        head = json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        if binary:
            headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
        connection.request("POST", path, head + binary, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def asked(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def read(text: str) -> Reading:
    return parsed_metrics(text, at_us=1, address="here")


def counted(port: int) -> Reading:
    """What was counted once the last run was: a row is counted just after its answer has gone."""
    end = time.monotonic() + 10
    while (found := read(asked(port))).counters["rows"] < CAME_TO_THE_MODEL and time.monotonic() < end:
        time.sleep(0.02)
    return found


def tensors(columns: dict[str, list[Any]]) -> dict[str, Any]:
    kinds = {"age": "INT64", "kind": "BYTES"}
    return {
        "inputs": [
            {"name": name, "datatype": kinds.get(name, "FP64"), "shape": [len(data), 1], "data": data}
            for name, data in columns.items()
        ]
    }


def test_two_workers_count_each_refused_row_once_in_each_column_that_it_breaks(
    parcels: Path, serving: Callable[..., Any]
) -> None:
    server = serving(parcels, "--workers", "2", "--log", "off", "--version", "latest")
    without_age = {name: value for name, value in ROW.items() if name != "age"}
    bad = [
        {"row": {**ROW, "age": 500}},
        {"row": {**without_age, "kind": "never"}},  # its form is wrong: nobody asks what the rest means
        # with such an age the size is against the rule, too
        {"rows": [ROW, {**ROW, "kind": "never", "age": -1}, ROW, {**ROW, "kind": "gone"}]},
        {"row": {**ROW, "size": "large", "sise": 1, "more": 2}},
        {"row": {**ROW, "kind": None}},
        {"row": {**ROW, "size": 99.0}},  # against the rule, in two columns
        {"row": {**ROW, WEIRD: 10}},
        {"rows": [7]},
    ]
    for body in (*bad, *bad):
        assert post(server.port, "/predict", body) == 422
    columns: dict[str, list[Any]] = {"age": [500, 30, 30], "kind": ["again", "never", "again"], "size": [1.0] * 3}
    columns[WEIRD] = [1.0, 1.0, None]
    assert post(server.port, "/v2/models/parcels/infer", tensors(columns)) == 422
    assert post(server.port, "/predict", {"row": ROW}) == 200
    assert post(server.port, "/predict", b"".hex()) == 400  # no row at all: there is nothing to count
    found = counted(server.port)
    assert found.refused == {
        "age": {"range": 2 * 2 + 1, "missing": 2, "rule": 2},
        "kind": {"not_allowed": 2 * 2 + 1, "missing": 2},
        "size": {"type": 2, "rule": 2 + 2},
        WEIRD: {"range": 2},
        "": {"unknown": 2, "form": 2},
    }
    assert found.counters["refused_rows"] == 2 * 9 + 2
    assert found.counters["rows"] == CAME_TO_THE_MODEL, "a column's name makes no series"
    columns |= {"age": [30, 500, 30], "kind": ["again"] * 3}
    no_number = tensors(columns)
    no_number["inputs"][2] |= {"parameters": {"binary_data_size": 24}}
    del no_number["inputs"][2]["data"]
    assert post(server.port, "/v2/models/parcels/infer", no_number, struct.pack("3d", math.nan, math.inf, 1.0)) == 422
    later = read(asked(server.port))
    assert newly_refused(found, later) == {"age": {"range": 1}, "size": {"type": 2}}
    assert later.counters["refused_rows"] - found.counters["refused_rows"] == 2


def test_a_worker_that_comes_back_counts_on_and_all_are_asked_by_one(tmp_path: Path) -> None:
    ones, others = (Metrics(tmp_path / "metrics", worker=worker, workers=2) for worker in range(2))
    ones.refused(2, {("a", Breach.RANGE): 2, ("b", Breach.TYPE): 1})
    others.refused(1, {("b", Breach.TYPE): 1, (HOSTILE, Breach.RULE): 1})
    assert ones.text() == others.text()
    again = Metrics(tmp_path / "metrics", worker=1, workers=2)
    again.refused(3, {("new", Breach.MISSING): 3, ("b", Breach.TYPE): 3})
    expected = {"a": {"range": 2}, "b": {"type": 5}, HOSTILE: {"rule": 1}, "new": {"missing": 3}}
    assert read(ones.text().decode()).refused == read(again.text().decode()).refused == expected


def test_names_without_end_are_counted_without_their_column() -> None:
    metrics = Metrics()
    for at in range(9_000):
        metrics.refused(1, {(f"a column with a rather long name {at}", Breach.TYPE): 1})
    metrics.refused(1, {("x" * MOST_BYTES, Breach.RANGE): 1})
    text = metrics.text().decode()
    assert len(text) < MOST_BYTES + 20_000
    found = read(text).refused
    assert sum(one.get("type", 0) for one in found.values()) == 9_000
    assert found[""]["type"] > 0
    assert found[""]["range"] == 1


def test_a_server_of_another_kind_makes_no_reason() -> None:
    text = Metrics().text().decode()
    told = 'roadworthy_refused_columns_total{column="a",reason="%s"} 3\n'
    assert read(text + told % "range" + told % "whatever").refused == {"a": {"range": 3}}
    with pytest.raises(ValueError, match="no label"):
        read(f"{text}roadworthy_refused_columns_total 3\n")

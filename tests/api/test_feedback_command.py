"""``feedback`` and scraping against a real server: counts from outside, labels from files, frames, SQL and by hand."""

from __future__ import annotations

import getpass
import importlib
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from typer.testing import CliRunner

from roadworthy import api, assembly
from roadworthy.adapters.client import Client
from roadworthy.adapters.prediction_log import joined, read_feedback, read_log
from roadworthy.adapters.scraping import scrape, target
from roadworthy.adapters.sources import frame_source
from roadworthy.api.feeding_back import FeedbackView, _from_source, _read, feedback
from roadworthy.cli.app import app
from roadworthy.errors import DataError, UsageError
from roadworthy.measures.operations import Live, measured, traffic_of
from roadworthy.records.evidence import Phase
from roadworthy.records.project import Task
from roadworthy.serving.feedback import LabelReader
from roadworthy.standard.requirement import Requirement


@contextmanager
def served(folder: Path, *words: str) -> Iterator[dict[str, Any]]:
    """A server of the newest version; ended by its own process id."""
    command = [sys.executable, "-m", "roadworthy", "serve", "-v", "latest", "--json", "--grace", "0", *words]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield json.loads(server.stdout.readline())
        finally:
            server.terminate()


def a_row(user: str, clicks: int = 1) -> dict[str, Any]:
    return {
        "timestamp": "2026-03-01T12:00:00Z", "user_id": user, "device": "phone", "age_band": "18-29", "campaign": "a",
        "position": 1, "impressions": 9, "clicks": clicks, "dwell_seconds": 3.5,
    }  # fmt: skip


def test_a_server_is_read_from_outside_and_its_predictions_get_labels(copied: Path, tmp_path: Path) -> None:
    socket = tmp_path / "s"
    with served(copied, "--port", "0", "--workers", "2") as said:
        asked = [target(said["address"]), target("http://127.0.0.1:9"), target(f"unix:{socket}")]
        first = scrape(asked, timeout_s=3)
        with Client(said["address"]) as client:
            answers = [client.predict([a_row(f"u{k}"), a_row(f"v{k}")]) for k in range(6)]
            for _ in range(2):
                with pytest.raises(Exception, match="422"):
                    client.predict({**a_row("x"), "clicks": -1})
        second = scrape(asked, timeout_s=3)
    assert [bool(one.error) for one in second] == [False, True, True]
    assert "no connection" in second[1].error
    assert len(second[0].workers) == 2
    assert all(worker.resident_bytes > 1e7 and worker.started_s > 1.7e9 for worker in second[0].workers)
    traffic = traffic_of([first[0], second[0]], after_us=first[0].at_us, until_us=second[0].at_us)
    assert traffic.coded([200]) == 6
    assert traffic.count("rows") == 12
    required = [
        Requirement(metric=name, at_most=1.0, phases=(Phase.LIVE,))
        for name in ("latency_p99", "error_rate", "quarantined_share")
    ]
    now_us = second[0].at_us
    found = {one.metric: one for one in measured(required, Live(now_us=now_us, traffic=traffic))}
    assert found["error_rate"].value == 0
    assert found["quarantined_share"].value == pytest.approx(2 / 8)
    assert 0 < found["latency_p99"].value < 10_000  # type: ignore[operator]  # it is there
    ids = [answer.id for answer in answers]
    by_every_way(copied, tmp_path, ids)


def by_every_way(folder: Path, tmp_path: Path, ids: list[str]) -> None:
    lake = folder / ".roadworthy" / "lake"
    decided = {
        (id_, row): decision
        for id_, row, decision in read_log(lake).select("id", "row", "decision").collect().iter_rows()
    }
    assert len(decided) == 12
    other = {"0": "1", "1": "0"}

    def given(data: Any = None, **words: Any) -> FeedbackView:
        return feedback(data, project=folder, version="latest", **words)

    # a file, twice, with one id that nobody knows, one wrong, one without a label
    labels = [decided[ids[0], 0], other[decided[ids[0], 1]], "1", None]
    table = {"prediction": [ids[0], ids[0], "nobody", ids[1]], "place": [0, 1, 0, 0], "outcome": labels}
    pl.DataFrame(table).write_csv(tmp_path / "labels.csv")
    words = {"id": "prediction", "row": "place", "label": "outcome"}
    found = given(tmp_path / "labels.csv", **words)
    assert (found.received, found.blank, found.accepted, found.repeated) == (4, 1, 3, 0)
    assert (found.changed, found.wrong, found.unknown) == (0, 1, 1)
    again = given(tmp_path / "labels.csv", **words)
    assert (again.accepted, again.repeated) == (0, 3)

    # by hand: another mind, which the old file does not change back
    by_hand = given(id=ids[0], row="0", label=other[decided[ids[0], 0]], comment="the visitor came back", by="ann")
    assert (by_hand.accepted, by_hand.changed, by_hand.wrong, by_hand.unknown) == (1, 1, 1, 0)
    assert given(tmp_path / "labels.csv", **words).accepted == 0
    assert read_feedback(lake).latest.filter(id=ids[0], row=0).item(0, "label") == other[decided[ids[0], 0]]
    told = read_feedback(lake).latest.filter(id=ids[0]).sort("row")["who"].to_list()
    assert told == ["ann", getpass.getuser()], "whoever is named, and else the login name"

    # SQL, with whole numbers as labels
    with sqlite3.connect(tmp_path / "crm.db") as database:
        database.execute("create table sold (id text, won integer)")
        database.executemany("insert into sold values (?, ?)", [(ids[2], 1), (ids[3], 0)])
    database.close()
    sold = given(query="select id, won from sold", url=f"sqlite:///{tmp_path / 'crm.db'}", id="id", label="won")
    assert (sold.accepted, sold.unknown) == (2, 0)

    # a frame, by entity and time: hashed where it is personal, and met
    frame = pl.DataFrame({"who": ["v4", "stranger"], "when": [datetime(2026, 3, 1, 12, tzinfo=UTC)] * 2, "y": [1, 1]})
    by_entity = given(frame, entity="who", time="when", label="y")
    assert (by_entity.accepted, by_entity.unknown) == (2, 1)
    stored = read_feedback(lake).latest
    assert not {"v4", "stranger"} & set(stored.get_column("entity"))
    rows = joined(lake, entity="user_id", time="timestamp")
    assert rows.labelled == 2 + 2 + 1
    assert rows.unknown == 1

    # every problem at once, under its row and column, and nothing stored
    bad = pl.DataFrame({"prediction": [ids[4], "", ids[5]], "outcome": ["maybe", "1", "2"]})
    with pytest.raises(DataError, match="none was") as caught:
        given(bad, id="prediction", label="outcome")
    assert [problem.where.partition(", ")[2] for problem in caught.value.problems] == [
        "row 1, column outcome", "row 2", "row 3, column outcome",
    ]  # fmt: skip
    assert read_feedback(lake).latest.height == stored.height


def test_words_that_do_not_fit_and_columns_that_are_not_there(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        feedback(query="select 1", row="r", entity="e", project=finished)
    assert len(caught.value.problems) == 4
    pl.DataFrame({"prediction_id": ["a"], "outcome": ["1"]}).write_parquet(tmp_path / "l.parquet")
    with pytest.raises(DataError) as lacking:
        feedback(tmp_path / "l.parquet", id="prediction", label="outcom", project=finished, version="latest")
    assert [problem.found for problem in lacking.value.problems] == [
        "no column 'prediction'; did you mean 'prediction_id'?", "no column 'outcom'; did you mean 'outcome'?",
    ]  # fmt: skip


def test_numbers_from_text_for_regression(finished: Path) -> None:
    with assembly.opened_bundle(assembly.open_project(finished), "latest") as (_, bundle):
        contract = bundle.parts.contract
    seconds = msgspec.structs.replace(contract, task=Task.REGRESSION, target="dwell_seconds")
    given = pl.DataFrame({"k": ["a", "b", "c"], "seconds": ["3.5", " 4 ", None]})
    named = {"id": "k", "label": "seconds"}
    read = _read(_from_source(frame_source(given), named, seconds), lambda: LabelReader(seconds, None), named, "ann")
    assert [(one.id, one.value, one.label) for one in read] == [("a", 3.5, ""), ("b", 4.0, "")]
    bad = given.with_columns(seconds=pl.Series(["soon", "-1", None]))  # the contract has a least value of 0
    with pytest.raises(DataError) as caught:
        _read(_from_source(frame_source(bad), named, seconds), lambda: LabelReader(seconds, None), named, "ann")
    assert [problem.found for problem in caught.value.problems] == [
        "a text",
        "a number that the contract does not allow",
    ]


def test_the_command_says_what_became_of_the_labels(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("roadworthy.cli.feedback")  # it joins the commands
    monkeypatch.chdir(copied)
    monkeypatch.setattr(api, "feedback", feedback, raising=False)
    words = ["feedback", "--id", "a", "--label", "1", "--version", "latest"]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.exception
    assert shown.stdout.splitlines() == [
        "1 of 1 labels from by hand are on the disk", "1 are for predictions that are not in the log",
    ]  # fmt: skip
    assert json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)["repeated"] == 1


def test_a_server_that_drips_does_not_hold_the_monitor() -> None:
    code = (
        "import socket, time\n"
        "s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"
        "c, _ = s.accept(); c.send(b'HTTP/1.1 200 OK\\r\\ncontent-length: 10000\\r\\n\\r\\n')\n"
        "for _ in range(300): c.send(b'#'); time.sleep(0.1)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as dripping:
        assert dripping.stdout is not None
        port = dripping.stdout.readline().strip()
        begun = time.monotonic()
        (found,) = scrape([target(f"http://127.0.0.1:{port}")], timeout_s=0.5)
        took = time.monotonic() - begun
        dripping.kill()
    assert found.error == "no answer within 0.5 s"
    assert took < 3

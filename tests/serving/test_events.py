"""Events: what is acknowledged is seen by every worker at once, survives a kill, and gives the features of history."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from roadworthy import assembly
from roadworthy.adapters.client import Client, ServerRefused
from roadworthy.adapters.prediction_log import read_events, read_log

Row = dict[str, Any]
NAMES = ("past_clicks", "past_rate", "visits", "campaign_dwell", "since_click")
FEATURES = """[features]
click_rate = "clicks / nullif(impressions, 0)"
past_clicks = { sum = "clicks", window = "7 days" }
past_rate = { ratio = [{ mean = "click_rate" }, { max = "impressions" }] }
visits = { count = "*", window = "2 days" }
campaign_dwell = { mean = "dwell_seconds", by = "campaign", window = "1 day" }
since_click = { seconds_since_last = "timestamp", where = "clicks > 0" }
"""


@pytest.fixture(scope="session")
def looking_back(tmp_path_factory: pytest.TempPathFactory, clicks: pl.DataFrame) -> Path:
    """A finished clicks project with five features of the past; treat it as read-only."""
    from roadworthy import api  # noqa: PLC0415 - heavy, and only these tests need it

    folder = tmp_path_factory.mktemp("past") / "clicks"
    (folder / "data").mkdir(parents=True)
    clicks.write_parquet(folder / "data" / "clicks.parquet")
    text = (Path(__file__).parents[2] / "examples" / "clicks" / "roadworthy.toml").read_text()
    begin, end = text.index("[features]"), text.index("[training]")
    text = text[:begin] + FEATURES + "\n" + text[end:]
    (folder / "roadworthy.toml").write_text(text.replace('["logistic", "mlp", "gbdt"]', '["logistic"]\nfolds = 2'))
    api.run(folder)
    return folder


@pytest.fixture
def project(looking_back: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    target = tmp_path / "past"
    shutil.copytree(looking_back, target)
    return target


def plain(frame: pl.DataFrame) -> list[Row]:
    """Rows as JSON has them."""
    rows: list[Row] = json.loads(frame.with_columns(pl.col("timestamp").dt.to_string("iso:strict")).write_json())
    return rows


def asked(rows: pl.DataFrame, now: str = "2026-03-01T00:00:00Z") -> Row:
    return {**plain(rows.drop("converted").tail(1))[0], "timestamp": now}


def logged(project: Path, address: str, rows: list[Row]) -> list[tuple[Any, ...]]:
    """The features that each row was scored with, asked one by one, from the log."""
    with Client(address) as client:
        ids = [client.predict(row).id for row in rows]
    lake = assembly.open_project(project).settings.lake
    found = {row["id"]: tuple(row[name] for name in NAMES) for row in read_log(lake).collect().rows(named=True)}
    return [found[id_] for id_ in ids]


def test_replaying_a_project_gives_the_bits_of_its_history(
    project: Path, clicks: pl.DataFrame, serving: Callable[..., Any]
) -> None:
    lake = assembly.open_project(project).settings.lake
    table = pl.concat([pl.read_parquet(path) for path in lake.glob("features/*/rows.parquet")]).sort(
        "timestamp", "_row"
    )
    for path in lake.glob("clean/*/rows.parquet"):  # a lake whose clean rows are gone: the state begins with nothing
        shutil.rmtree(path.parent)
    raw = clicks.with_row_index("_row").filter(pl.col("_row").is_in(table["_row"].implode()))
    raw = raw.sort("timestamp", "_row").drop("_row", "converted").head(250)
    server = serving(project, "--version", "latest", "--log", "durable")
    assert "began without history" in str(httpx.get(f"{server.address}/readyz").json()["warnings"])
    rows = plain(raw)
    ids = []
    with Client(server.address) as client:
        for row in rows:
            ids.append(client.predict(row).id)
            assert client.event(row) == {"accepted": 1, "repeated": 0}
    assert server.end() == 0
    log = {row["id"]: tuple(row[name] for name in NAMES) for row in read_log(lake).collect().rows(named=True)}
    wanted = table.select(NAMES).head(250).rows()
    assert [log[id_] for id_ in ids] == wanted
    assert any(None not in row for row in wanted)
    kept = read_events(lake)
    assert kept.height == 250
    assert set(kept["user_id"]).isdisjoint(clicks["user_id"])


def test_history_is_there_from_the_start_and_any_worker_sees_an_event(
    project: Path, clicks: pl.DataFrame, serving: Callable[..., Any]
) -> None:
    server = serving(project, "--version", "latest", "--workers", "2", "--log", "durable")
    row = asked(clicks)
    scores = []
    for count in range(4):
        answers = [httpx.post(f"{server.address}/predict", json={"row": row}).json() for _ in range(8)]
        assert len({one["id"][:16] for one in answers}) == 2  # both workers answer
        assert len({json.dumps(one["predictions"]) for one in answers}) == 1
        scores.append(answers[0]["predictions"][0]["score"])
        event = {**row, "timestamp": f"2026-02-28T{count:02}:00:00Z"}
        assert httpx.post(f"{server.address}/events", json={"row": event}).status_code == 200
    assert len(set(scores)) == 4
    assert server.end() == 0
    lake = assembly.open_project(project).settings.lake
    assert sorted(set(read_log(lake).collect()["visits"])) == [0.0, 1.0, 2.0, 3.0]


def test_an_acknowledged_event_survives_a_kill_also_without_its_state(
    project: Path, clicks: pl.DataFrame, serving: Callable[..., Any]
) -> None:
    server = serving(project, "--version", "latest")
    row = asked(clicks)
    events = [{**row, "timestamp": f"2026-02-28T{hour:02}:00:00Z"} for hour in range(20)]
    with Client(server.address) as client:
        for number, event in enumerate(events):
            client.event(event, id=f"e{number}")
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait(10)
    again = serving(project, "--version", "latest", "--log", "durable")
    kept = logged(project, again.address, [row])
    assert kept[0][NAMES.index("visits")] == 20
    with Client(again.address) as client:
        assert client.events(events, ids=[f"e{at}" for at in range(20)]) == {"accepted": 0, "repeated": 20}
    assert again.end() == 0
    shutil.rmtree(project / ".roadworthy" / "state")
    anew = serving(project, "--version", "latest", "--log", "durable")
    assert logged(project, anew.address, [row]) == kept


def test_what_cannot_be_taken(project: Path, clicks: pl.DataFrame, serving: Callable[..., Any]) -> None:
    server = serving(project, "--version", "latest")
    row = asked(clicks)
    with Client(server.address) as client:
        with pytest.raises(ServerRefused) as refused:
            client.events([row, {**row, "clicks": -1, "user_id": None}, {**row, "dwel": 1}, {**row, "timestamp": "x"}])
        assert refused.value.status == 422
        places = {problem.where for problem in refused.value.problems}
        assert places == {"rows[1].clicks", "rows[1].user_id", "rows[2].dwel", "rows[3].timestamp"}
        assert row["user_id"] not in str(refused.value)
        with pytest.raises(ServerRefused, match="not JSON"):
            client._called(client._look("/events")._replace(method="POST", body=b"{"), None)
        assert client.event(row, id="a") == {"accepted": 1, "repeated": 0}
        assert client.event(row, id="a") == {"accepted": 0, "repeated": 1}
        with pytest.raises(ServerRefused, match="two events"):
            client.event({**row, "clicks": 0}, id="a")
    assert server.end() == 0
    assert read_events(assembly.open_project(project).settings.lake).height == 1


def test_a_version_without_features_of_the_past_takes_none(pair: Path, serving: Callable[..., Any]) -> None:
    server = serving(pair)
    answer = httpx.post(f"{server.address}/events", json={"row": {"a": 1}})
    assert answer.status_code == 409
    assert not (pair / ".roadworthy" / "state").exists()

"""``alerts``: what fires comes first, what people do is named, exit code 1 while something fires."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types
from typer.testing import CliRunner

import roadworthy as rw
from roadworthy import assembly
from roadworthy.api import alert_channels
from roadworthy.cli.app import app
from roadworthy.errors import UnknownName, UsageError
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.records.alert import AlertState, Severity, Signal, Word
from roadworthy.testing import FixedClock

HOUR = 3_600_000_000
PROJECT = """\
[project]
name = "clicks"
task = "binary"
target = "y"
[data]
source = "a.csv"
[contract.columns]
y = { type = "integer" }
x = { type = "number" }
[alerts]
repeat = "1 h"
"""
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "roadworthy.toml").write_text(PROJECT)
    return tmp_path


def told_to(folder: Path, *signals: Signal) -> None:
    """What the monitor does with signals."""
    opened = assembly.open_project(folder)
    transactions = Transactions(opened.settings.registry)
    with transactions.changing() as connection:
        store, policy = alert_channels.alert_store(opened), alert_channels.alert_policy(opened)
        store.apply(connection, signals, policy, time.time_ns() // 1000)
    transactions.close()


def signal(place: int, rule: str, **more: object) -> Signal:
    given: dict[str, object] = {"sentence": f"{rule} was found", "group": "quality"} | more
    at_us = time.time_ns() // 1000 + place
    return Signal(rule=rule, word=Word.ALARM, at_us=at_us, source=f"1h/{place}", **given)  # type: ignore[arg-type]


@pytest.fixture
def firing(folder: Path) -> Path:
    evidence = {"value": 0.71, "bound": 0.8, "interval": [0.68, 0.74], "rows": 900}
    told_to(folder, signal(1, "accuracy_low", evidence=evidence), signal(1, "drift:score", severity=Severity.PAGE))
    return folder


@pytest.fixture
def run(firing: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[int, str]]]:
    monkeypatch.chdir(firing)

    def call(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["alerts", *words])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout

    yield call  # noqa: PT022 - as monkeypatch must outlive it


def test_from_firing_to_resolved(run: Callable[..., tuple[int, str]]) -> None:
    code, text = run()
    assert code == 1
    lines = text.splitlines()
    assert lines[0] == "clicks: 2 firing"
    assert "nobody is told: [alerts] notify is empty in the project file" in lines
    assert run("ack", "1", "--by", "ann") == (0, "alert 1 is acknowledged by ann\n")
    code, text = run()
    assert (code, text.splitlines()[0]) == (1, "clicks: 1 firing, 1 acknowledged")
    assert text.index("drift:score") < text.index("accuracy_low"), "what fires comes first"
    code, text = run("silence", "drift:*", "--for", "2 h", "--reason", "a reload", "--by", "bob")
    assert code == 0
    assert text.startswith("silence 1: drift:* is silenced by bob, until ")
    assert run()[0] == 0, "nothing fires that nobody has taken or silenced"
    assert "silenced until" in run()[1]
    assert run("unsilence", "1")[0] == 0
    assert run("resolve", "2", "--reason", "the  reload is\nover") == (0, f"alert 2 is resolved by {_login()}\n")
    assert run("resolve", "1", "--reason", "labels were wrong")[0] == 0
    assert run() == (0, "clicks: no open alert\nnobody is told: [alerts] notify is empty in the project file\n")
    code, text = run("--all")
    assert (code, text.splitlines()[0]) == (0, "clicks: 2 resolved")


def _login() -> str:
    import getpass  # noqa: PLC0415 - as the command does

    return getpass.getuser()


def test_one_alert_is_shown_with_its_evidence_and_its_history(run: Callable[..., tuple[int, str]]) -> None:
    run("ack", "1", "--by", "ann", "--reason", "looking at the labels")
    code, text = run("show", "1")
    assert code == 0
    for words in ("alert 1: accuracy_low (ticket, quality), acknowledged", "value      0.71", "bound      0.8",
                  "taken      ann: looking at the labels", "look at    whether the labels", "acknowledged by ann",
                  "runbook    docs/monitoring.md#quality-fell"):  # fmt: skip
        assert words in text


def test_as_json_and_from_python_it_is_the_same(run: Callable[..., tuple[int, str]], firing: Path) -> None:
    listed = json.loads(run("--json")[1])
    assert [one["alert"]["rule"] for one in listed["alerts"]] == ["drift:score", "accuracy_low"]
    view = rw.alerts(project=firing)
    assert [one.alert.state for one in view.alerts] == [AlertState.FIRING] * 2
    assert view.exit_code == 1
    assert rw.alerts("show", "1", project=firing).exit_code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["mend"], "unknown action 'mend'"),
        (["ack"], "alerts ack needs the alert's number"),
        (["list", "3"], "alerts list takes nothing more"),
        (["ack", "one"], "'one' is no number"),
        (["ack", "7"], "unknown alert '7'"),
        (["resolve", "1"], "--reason: nothing"),
        (["silence", "drift:*", "--reason", "a"], "a silence needs an end"),
        (["silence", "drift:*", "--for", "long", "--reason", "a"], "--for"),
        (["silence", "drift:*", "--for", "2 h"], "--reason: nothing"),
        (["silence", "*", "--for", "91 days", "--reason", "a"], "up to 90 days"),
        (["unsilence", "1"], "unknown silence '1'"),
        (["test"], "the project names no channel"),
    ],
)
def test_what_cannot_be_done_is_told(run: Callable[..., tuple[int, str]], words: list[str], told: str) -> None:
    with pytest.raises((UsageError, UnknownName)) as caught:
        run(*words)
    assert told in str(caught.value)


def test_rules_go_to_standard_output_or_to_a_file(run: Callable[..., tuple[int, str]], firing: Path) -> None:
    code, text = run("rules")
    assert code == 0
    assert yaml.safe_load(text)["groups"][0]["name"] == "roadworthy-clicks"
    assert "availability >= 0.999" in text, "the standard is the preset service"
    code, said = run("rules", "--out", "rules.yml")
    assert (code, (firing / "rules.yml").read_text().strip()) == (0, text.strip())
    assert "promtool check rules rules.yml" in said


def test_a_test_says_of_every_channel_what_came_of_it(firing: Path, command: Command) -> None:
    address = "json://ann:hunter2@127.0.0.1:9/hunter2"
    (firing / "roadworthy.toml").write_text(PROJECT + f'notify = ["{address}", "${{NOT_SET}}"]\n')
    done = command("alerts", "test", cwd=firing)
    assert done.returncode == 1
    first, second = done.stdout.splitlines()
    assert first.startswith("json ")
    assert first.endswith(": json could not be reached, or refused")
    assert second.startswith("NOT_SET ")
    assert "${NOT_SET} is not set" in second
    assert "hunter2" not in done.stdout + done.stderr


def test_a_test_that_reaches_everybody_ends_well(firing: Path) -> None:
    came: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            """Nothing on standard error."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        (firing / "roadworthy.toml").write_text(PROJECT + f'notify = ["json://127.0.0.1:{server.server_port}/"]\n')
        view = rw.alerts("test", project=firing)
        server.shutdown()
    assert (view.exit_code, [one.problem for one in view.channels]) == (0, [""])
    assert [one["title"] for one in came] == ["[test] clicks: alerts reach you here"]


def test_what_waits_is_sent_with_reminders_and_what_cannot_be_sent_is_seen(firing: Path) -> None:
    (firing / "roadworthy.toml").write_text(PROJECT + 'notify = ["json://ann:hunter2@127.0.0.1:9/"]\n')
    told_to(firing, signal(2, "errors"))
    opened = assembly.open_project(firing)
    transactions = Transactions(opened.settings.registry)
    clock = FixedClock(datetime.now(UTC) + timedelta(hours=2))
    done = alert_channels.deliver_due(opened, transactions, clock)
    transactions.close()
    assert (done.sent, done.failed) == (0, 1)
    (channel,) = rw.alerts(project=firing).channels
    assert channel.waiting == 2, "the new alert, and one reminder of the three of a group that fire"
    assert channel.problem == "json could not be reached, or refused"
    kept = b"".join(file.read_bytes() for file in (firing / ".roadworthy").glob("registry.db*"))
    assert b"hunter2" not in kept
    assert b"127.0.0.1" not in kept

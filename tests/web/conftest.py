"""A project with a past, its dashboard, and a browser in front of it.

``dash`` is a clicks project with two versions, 36 hourly windows, late labels, a change that alarms, and readings of a
server; it is made once for all processes of a test run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from roadworthy import api, assembly
from roadworthy.lifecycle import cursors
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.records.reading import Reading, WorkerReading
from roadworthy.views.dashboard import Site

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOURS = 36
MADE_S = 120
OK = 200
A_DAY = 24
ROWS_AN_HOUR = 60
STANDARD = """[standard]
extends = "prototype"
accuracy = ">= 0.60"
recall = { at_least = 0.30, slice = "device" }
latency_p99 = "<= 500 ms"
availability = { at_least = 0.99, phases = ["live"] }
alarm_budget = "1 per 30 days"
"""
OVERFLOWING = """() => [...document.querySelectorAll('body *')]
  .filter(e => !e.closest('.scroll') && !e.closest('.visually-hidden') && !e.closest('.skip') && !e.closest('svg')
    && !e.closest('nav.rail') && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map(e => e.tagName + '.' + e.className)"""


@dataclass
class Dash:
    """A project's folder, its views' site, and where its dashboard answers."""

    folder: Path
    url: str
    site: Site
    now_us: int


@dataclass
class Opened:
    """A page in the browser, and what it said and asked for meanwhile."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    status: int = 200

    def faults(self) -> list[str]:
        """Serious and critical faults that axe-core finds."""
        from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - only these tests need it

        found = Axe().run(self.page).response["violations"]
        grave = [one for one in found if one["impact"] in {"serious", "critical"}]
        return [f"{one['id']}: {[node['html'][:160] for node in one['nodes'][:3]]}" for one in grave]

    def overflowing(self) -> list[str]:
        """What stands beyond the right edge."""
        found: list[str] = self.page.evaluate(OVERFLOWING)
        width = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return [*found, *([f"the page scrolls sideways by {width}"] if width > 0 else [])]


@pytest.fixture(scope="session")
def past(finished: Path, tmp_path_factory: pytest.TempPathFactory, made_up_traffic: Callable[[Path], Any]) -> Path:
    """The project with its past; read-only, shared by all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "dashboard"
    folder, told = root / "clicks", root / "made"
    try:
        root.mkdir()
    except FileExistsError:
        end = time.monotonic() + MADE_S
        while not told.exists() and time.monotonic() < end:
            time.sleep(0.2)
        assert told.read_text() == "made", "another process of this run could not make the project's past"
        return folder
    try:
        shutil.copytree(finished, folder)
        _second_version(folder)
        _traffic(made_up_traffic(folder))
        api.watch(folder, once=True)
        _readings(folder)
    except BaseException:
        told.write_text("failed")
        raise
    told.write_text("made")
    return folder


@pytest.fixture(scope="session")
def dash(past: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dash]:
    """A copy of the past with a running dashboard; what tests change here, other tests of the session see."""
    folder = tmp_path_factory.mktemp("dash") / "clicks"
    shutil.copytree(past, folder)
    with served(folder) as (url, site):
        yield Dash(folder, url, site, site.now_us())


class served:  # noqa: N801 - used as a with statement
    """``with served(folder) as (url, site)``: the dashboard of a project, in a process of its own."""

    def __init__(self, folder: Path, *words: str) -> None:
        self._folder, self._words = folder, words

    def __enter__(self) -> tuple[str, Site]:
        environment = {**os.environ, "PYTHONWARNINGS": "error", "NO_COLOR": "1"}
        command = [sys.executable, "-m", "roadworthy", "dashboard", "--port", "0", "--json", *self._words]
        self._process = subprocess.Popen(
            command, cwd=self._folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._process.communicate()[1]
        self.errors: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        opened = assembly.open_project(self._folder)
        self._site = Site(opened.file, opened.spec, opened.standard, opened.settings, assembly.SystemClock())
        return json.loads(line)["address"], self._site

    def _read(self) -> None:
        assert self._process.stderr is not None
        self.errors.extend(self._process.stderr)

    def __exit__(self, *_: object) -> None:
        self._site.close()
        self._process.terminate()
        ended = self._process.wait(20)
        self._reader.join()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()
        assert self.errors == []
        assert ended == 0


@pytest.fixture(scope="module")
def chromium(past: Path) -> Iterator[Any]:
    """Debian's Chromium, without a window.

    While it is open its event loop runs in this thread, and ``asyncio.run`` does not; so the past is made before it.
    """
    assert past.exists()
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}: apt-get install chromium")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        yield launched
        launched.close()


@pytest.fixture
def opened(chromium: Any, dash: Dash) -> Iterator[Callable[..., Opened]]:
    """``opened(path, width=1440, scheme="light", status=200)``: a page; at the end it must not have complained."""
    pages: list[Opened] = []

    def call(
        path: str, *, width: int = 1440, scheme: str = "light", base: str = "", status: int = 200, **more: Any
    ) -> Opened:
        page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, **more)
        one = Opened(page)
        page.on("console", lambda message: one.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: one.said.append(str(error)))
        page.on("request", lambda request: one.asked.append(request.url))
        pages.append(one)
        answered = page.goto((base or dash.url) + path)
        assert answered.status == status, page.locator("main").inner_text()[:2_000]
        one.status = status
        return one

    yield call
    for one in pages:
        one.page.close()
        told = f"error: Failed to load resource: the server responded with a status of {one.status} "
        assert [words for words in one.said if one.status == OK or not words.startswith(told)] == []
        assert [url for url in one.asked if not url.startswith("http://127.0.0.1:")] == []


def _second_version(folder: Path) -> None:
    """Another candidate on the same rows, by a standard that so few rows can prove; in service."""
    file = folder / "roadworthy.toml"
    before, _, standard = file.read_text().replace('["mlp"]', '["logistic"]').partition("[standard]")
    after = standard[standard.index("\n[") :] if "\n[" in standard else ""
    file.write_text(f"{before}{STANDARD}{after}")
    api.run(folder)
    api.promote(2, folder)


def _traffic(traffic: Any) -> None:
    """A day and a half of traffic that ends with this hour; its last half day differs, and its first day has labels."""
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS)
    every_s = 3_600 / ROWS_AN_HOUR
    rows = traffic.predict(traffic.draw(A_DAY * ROWS_AN_HOUR), start, every_s=every_s)
    known = 18 * ROWS_AN_HOUR
    ids, outcomes = rows["id"].to_list(), rows["outcome"].to_list()
    traffic.label(ids[:known], outcomes[:known], start + timedelta(hours=20))
    other = pl.when(pl.col("device") == "phone").then(pl.lit("tablet")).otherwise(pl.col("device")).alias("device")
    changed = traffic.draw((HOURS - A_DAY) * ROWS_AN_HOUR, seed=5, change=lambda frame: frame.with_columns(other))
    traffic.predict(changed, start + timedelta(hours=A_DAY), every_s=every_s)


def _readings(folder: Path) -> None:
    """Half an hour of a server's word, one every 15 seconds."""
    opened = assembly.open_project(folder)
    transactions = Transactions(opened.settings.registry)
    now_us = int(datetime.now(UTC).timestamp() * 1e6)
    readings = [_reading(now_us - (120 - turn) * 15_000_000, turn) for turn in range(121)]
    with transactions.changing() as connection:
        cursors.add_readings(connection, opened.spec.name, readings)
    transactions.close()


def _reading(at_us: int, turn: int) -> Reading:
    asked = 600.0 * turn
    return Reading(
        at_us=at_us,
        address="127.0.0.1:8080",
        took_ms=1.5,
        counters={"rows": asked, "refused_rows": 2.0 * turn, "log_lost_rows": 0.0},
        requests={"predict": {200: asked, 422: 2.0 * turn, 429: 1.0 * turn}},
        ends_s=(0.001, 0.005, 0.01, 0.05),
        buckets={"predict": (asked * 0.5, asked * 0.45, asked * 0.04, asked * 0.009, asked * 0.001)},
        workers=(
            WorkerReading(
                number=0,
                resident_bytes=1.5e8,
                in_flight=1,
                started_s=at_us // 1_000_000 - 15 * turn - 7_200,
                processor_s=2.0 * turn,
            ),
        ),
        breakers={"clicks-2": 0.0},
    )

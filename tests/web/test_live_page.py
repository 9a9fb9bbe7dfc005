"""Live: what is said of servers is what their readings say, however long the span; the page looks again by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import altair as alt
import msgspec
import pytest

from roadworthy import assembly
from roadworthy.errors import UnknownName
from roadworthy.lifecycle import cursors, schema
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.measures.charts.live import Line, timeline, timeline_columns
from roadworthy.measures.operations.traffic import traffic_of
from roadworthy.records.reading import Reading, WorkerReading
from roadworthy.settings import Settings
from roadworthy.standard import Requirement, Standard
from roadworthy.views.dashboard import Site, Span
from roadworthy.views.dashboard.live import Live, live
from roadworthy.views.dashboard.live.over_time import steps_of
from roadworthy.views.dashboard.live.servers import State
from roadworthy.web.desk import Asked, Desk, Page
from roadworthy.web.pages.live import DOORS
from roadworthy.web.rendering import render

US = 1_000_000
NOW_US = 1_780_000_000 * US
HERE, THERE = "http://10.0.0.4:8080", "http://10.0.0.5:8080"
ENDS = (0.001, 0.01, 0.1)


class Held:
    """A clock that stands still."""

    def __init__(self, at_us: int) -> None:
        self.at_us = at_us

    def now(self) -> Any:
        from datetime import UTC, datetime  # noqa: PLC0415 - beside its only use

        return datetime.fromtimestamp(self.at_us / 1e6, UTC)


class Server:
    """A server that counts as real ones do, and is read every half minute."""

    def __init__(self, address: str, started_us: int) -> None:
        self.address, self.started_us = address, started_us
        self.codes: dict[int, float] = dict.fromkeys((200, 422, 429, 503), 0.0)
        self.buckets = [0.0] * (len(ENDS) + 1)
        self.rows = 0.0

    def asked(self, n: int, code: int = 200, bucket: int = 0) -> None:
        """So many requests, as fast as that."""
        self.codes[code] += n
        self.buckets[bucket] += n
        self.rows += n if code == 200 else 0

    def reading(self, at_us: int, **more: Any) -> Reading:
        return Reading(
            at_us=at_us,
            address=self.address,
            took_ms=1.0,
            counters={"rows": self.rows, "fallback_rows": self.rows / 4, "refused_rows": self.codes[422]},
            requests={"predict": dict(self.codes), "other": {200: 7.0}},
            ends_s=ENDS,
            buckets={"predict": tuple(self.buckets), "other": (7.0, 0.0, 0.0, 0.0)},
            workers=(
                WorkerReading(number=0, resident_bytes=1e8, in_flight=2, started_s=self.started_us / 1e6),
                WorkerReading(number=1, resident_bytes=2e8, in_flight=3, started_s=self.started_us / 1e6),
            ),
            breakers={"clicks-2": 0.0},
            **more,
        )


def steady(
    address: str, minutes: float, *, per_reading: int = 300, until_us: int = NOW_US, every_s: int = 30
) -> list[Reading]:
    """Readings every half minute up to ``until_us``, with as many requests between two of them."""
    turns = int(minutes * 60 / every_s)
    server = Server(address, until_us - (turns + 10) * every_s * US)
    found = []
    for turn in range(turns + 1):
        found.append(server.reading(until_us - (turns - turn) * every_s * US))
        server.asked(per_reading - 3, bucket=1)
        server.asked(2, 503, bucket=2)
        server.asked(1, 429)
    return found


def keep(registry: str, project: str, readings: Sequence[Reading]) -> None:
    """All readings at once, as ``cursors.add_readings`` keeps them one by one."""
    transactions = Transactions(registry)
    rows = [
        {"project": project, "worker": one.address, "at_us": one.at_us, "counters": msgspec.json.encode(one).decode()}
        for one in readings
    ]
    with transactions.changing() as connection:
        if rows:
            connection.execute(schema.operations.insert(), rows)
    transactions.close()


@contextmanager
def watched(folder: Path, readings: Sequence[Reading], standard: Standard | None = None) -> Iterator[Site]:
    """A site without a version, whose servers said that."""
    settings_ = Settings(
        lake=folder / "lake", registry=f"sqlite:///{folder}/registry.db", state=folder, hashing_key=folder / "key"
    )
    keep(settings_.registry, "clicks", readings)
    spec: Any = msgspec.convert({"name": "clicks"}, type=_Named)
    site = Site(folder / "roadworthy.toml", spec, standard or bounds(), settings_, Held(NOW_US + 5 * US))
    try:
        yield site
    finally:
        site.close()


class _Named(msgspec.Struct):
    """All of a project that the page asks for."""

    name: str


def bounds(p99: float = 500.0, availability: float = 0.9) -> Standard:
    return Standard(
        preset="none",
        requirements=(
            Requirement(metric="latency_p99", at_most=p99),
            Requirement(metric="availability", at_least=availability),
            Requirement(metric="accuracy", at_least=0.9),
        ),
    )


def seen(site: Site, span: str = "1h", server: str = "") -> Live:
    found = live(site, Span.parse({"span": span}, site.now_us()), server)
    assert found is not None
    return found


def test_a_project_that_nobody_watches_has_nothing_to_show(tmp_path: Path) -> None:
    with watched(tmp_path, []) as site:
        assert live(site, Span.parse({"span": "1h"}, NOW_US)) is None


def test_figures_are_those_of_the_counters(tmp_path: Path) -> None:
    with watched(tmp_path, steady(HERE, 70)) as site:
        found = seen(site)
    now = found.now
    assert found.badge[2] == "Up"
    assert found.since_us == NOW_US - 150 * 30 * US
    assert found.heard_us == NOW_US
    assert now.rate == pytest.approx(300 / 30)
    assert now.requests == 10 * 300
    assert now.faults == pytest.approx(2 / 300)
    assert now.shed == pytest.approx(1 / 300)
    assert now.unmet == pytest.approx(3 / 300)
    assert now.fallback == pytest.approx(1 / 4)
    assert (now.memory, now.most_memory, now.in_flight, now.workers) == (3e8, 2e8, 5, 2)
    assert now.p50 is not None
    assert 1 < now.p50 <= 10  # 297 of 299 that were read lie between 1 and 10 ms
    assert now.p99 is not None
    assert 1 < now.p99 <= 10
    assert now.processor is None  # nobody told it
    assert {row.verdict.metric for row in found.judged} == {"latency_p99", "availability"}


def test_it_is_judged_as_the_standard_says(tmp_path: Path) -> None:
    with watched(tmp_path, steady(HERE, 70), bounds(p99=0.5)) as site:
        strict = seen(site)
    with watched(tmp_path, [], bounds()) as site:
        kind = seen(site)
    assert strict.badge[2] == "Outside the standard"
    assert strict.judged[0].verdict.metric == "latency_p99"  # worst first
    assert "latency_p99" in strict.sentence
    assert [row.verdict.outcome.value for row in strict.judged] == ["fail", "pass"]
    assert kind.badge[2] == "Up"
    assert "within the standard" in kind.sentence


@pytest.mark.parametrize(
    ("there_minutes_ago", "there_silent", "now_later_s", "badge", "states"),
    [
        (0, False, 5, "Up", {HERE: State.UP, THERE: State.UP}),
        (0, True, 5, "Partly down", {HERE: State.UP, THERE: State.SILENT}),
        (20, False, 5, "Up", {HERE: State.UP, THERE: State.GONE}),
        (0, False, 900, "Not known", {HERE: State.UNKNOWN, THERE: State.UNKNOWN}),
        (0, True, 900, "Not known", {HERE: State.UNKNOWN, THERE: State.UNKNOWN}),
    ],
    ids=["both-up", "one-silent", "one-gone", "nobody-asks", "silent-and-nobody-asks"],
)
def test_how_servers_are(
    tmp_path: Path,
    there_minutes_ago: int,
    there_silent: bool,
    now_later_s: int,
    badge: str,
    states: dict[str, State],
) -> None:
    until_us = NOW_US - there_minutes_ago * 60 * US
    there = steady(THERE, 30, until_us=until_us)
    if there_silent:
        there = [*there[:-4], *(Reading(at_us=one.at_us, address=THERE, error="no connection") for one in there[-4:])]
    with watched(tmp_path, [*steady(HERE, 70), *there]) as site:
        site._clock = Held(NOW_US + now_later_s * US)
        found = seen(site)
    assert found.badge[2] == badge
    assert {one.address: one.state for one in (*found.servers, *found.gone)} == states
    if there_silent and badge == "Partly down":
        assert found.since_us == NOW_US - 3 * 30 * US
        assert found.sentence == "1 of 2 servers answer."
        assert "no connection" in found.look_first


def test_one_server_is_looked_at_by_itself(tmp_path: Path) -> None:
    readings = [*steady(HERE, 70), *steady(THERE, 70, per_reading=30)]
    with watched(tmp_path, readings) as site:
        both, one = seen(site), seen(site, server=THERE)
        with pytest.raises(UnknownName, match=r"unknown server 'http://10.0.0.9'"):
            seen(site, server="http://10.0.0.9")
    assert both.now.rate == pytest.approx(330 / 30)
    assert one.now.rate == pytest.approx(30 / 30)
    assert [row.verdict.measurement.n for row in one.judged if row.verdict.measurement] == [3600, 3600]


def eventful(restarts: set[int], silent: set[int]) -> list[Reading]:
    """Six hours of a server that is started again now and then, and does not always answer."""
    server, found = Server(HERE, NOW_US - 7 * 3_600 * US), []
    for turn in range(721):
        at_us = NOW_US - (720 - turn) * 30 * US
        if turn in restarts:
            server = Server(HERE, at_us - 5 * US)
            server.asked(1)
        if turn in silent:
            found.append(Reading(at_us=at_us, address=HERE, error="no connection"))
            continue
        found.append(server.reading(at_us))
        server.asked(turn % 7, 503, bucket=2)
        server.asked(1 + turn % 11)
    return found


@pytest.mark.parametrize(
    ("restarts", "silent"),
    [
        ((), ()),
        ((5,), ()),
        ((), (1,)),
        ((700,), (700,)),
        ((100, 101, 300), (99, 150)),
        ((10, 200, 399, 400, 650), tuple(range(380, 420))),
    ],
    ids=["quiet", "early", "silent", "late", "several", "outage"],
)
def test_thinned_readings_count_as_all_of_them_do(
    tmp_path: Path, restarts: tuple[int, ...], silent: tuple[int, ...]
) -> None:
    """The law behind long spans: whatever happened between, each request is in one step, and no step is negative."""
    history = eventful(set(restarts), set(silent))
    since_us = NOW_US - 6 * 3_600 * US
    every = traffic_of(history, after_us=since_us // (300 * US) * 300 * US - 1, until_us=NOW_US)
    with watched(tmp_path, history) as site, site.reading() as connection:
        steps = steps_of(site, connection, since_us, NOW_US, cursors.known_servers(connection, "clicks"))
        thinned = cursors.thinned_readings(connection, "clicks", since_us, NOW_US, 300 * US)
    assert steps.size_s == 300
    assert len(thinned.readings) <= 73
    assert sum(n for n, _ in thinned.asked.values()) == len([one for one in history if one.at_us > since_us])
    assert sum(vain for _, vain in thinned.asked.values()) == sum(bool(one.error) for one in history)
    assert sum(step.vain for step in steps.steps) == sum(bool(one.error) for one in history)
    by_step: dict[int, float] = {}
    for block in every.blocks:
        by_step[block.until_us // (300 * US)] = by_step.get(block.until_us // (300 * US), 0.0) + block.requests
    assert sum(step.figures.requests for step in steps.steps) == sum(by_step.values())
    for step in steps.steps:
        number = step.until_us // (300 * US) - 1
        assert step.figures.requests == by_step.get(number, 0.0)


def test_one_server_by_itself_is_told_by_itself(tmp_path: Path) -> None:
    up, silent = steady(HERE, 70), steady(THERE, 40, until_us=NOW_US - 20 * 60 * US)
    gone = [Reading(at_us=NOW_US - turn * 30 * US, address=THERE, error="refused") for turn in range(30)]
    with watched(tmp_path, [*up, *silent, *gone]) as site:
        one, other = (seen(site, "1h", server) for server in (HERE, THERE))
    assert "answer" in one.sentence
    assert one.badge != other.badge
    assert "2 servers" not in one.sentence + other.sentence


def test_a_link_that_ends_in_the_future_leaves_no_hole_behind(tmp_path: Path) -> None:
    with watched(tmp_path / "a", _made(tmp_path / "a", steady(HERE, 26 * 60))) as site:
        ahead = Span(since_us=NOW_US - 23 * 3_600 * US, until_us=NOW_US + 2 * 3_600 * US)
        assert live(site, ahead) is not None
        keep(site.settings.registry, "clicks", steady(HERE, 90, until_us=NOW_US + 90 * 60 * US)[1:])
        site._clock.at_us = NOW_US + 90 * 60 * US  # type: ignore[attr-defined]  # the test's own clock
        later = seen(site, "24h")
    with watched(tmp_path / "b", _made(tmp_path / "b", steady(HERE, 26 * 60))) as site:
        keep(site.settings.registry, "clicks", steady(HERE, 90, until_us=NOW_US + 90 * 60 * US)[1:])
        site._clock.at_us = NOW_US + 90 * 60 * US  # type: ignore[attr-defined]  # as above
        fresh = seen(site, "24h")
    assert later.pictures[0].columns == fresh.pictures[0].columns


def test_postgresql_thins_as_sqlite_does(tmp_path: Path, postgres: str) -> None:
    history = eventful({300}, {99, 100, 150})
    found = []
    for registry in (f"sqlite:///{tmp_path}/registry.db", postgres):
        keep(registry, "clicks", history)
        transactions = Transactions(registry)
        with transactions.reading() as connection:
            thinned = cursors.thinned_readings(connection, "clicks", 0, NOW_US, 3_600 * US)
            found.append((thinned, cursors.known_servers(connection, "clicks")))
        transactions.close()
    assert found[0] == found[1]
    assert sum(vain for _, vain in found[1][0].asked.values()) == 3


def test_steps_that_are_over_are_remembered_and_stay_right(tmp_path: Path) -> None:
    """A page that looks again reads what is new, and says what a page opened now would say."""
    history = steady(HERE, 600)
    old, new = history[:-50], history[-50:]
    since_us = NOW_US - 9 * 3_600 * US
    with watched(tmp_path / "a", _made(tmp_path / "a", old)) as site:
        with site.reading() as connection:
            first = steps_of(site, connection, since_us, old[-1].at_us, {})
        keep(site.settings.registry, "clicks", new)
        with site.reading() as connection:
            again = steps_of(site, connection, since_us, NOW_US, {})
    with watched(tmp_path / "b", _made(tmp_path / "b", history)) as site, site.reading() as connection:
        fresh = steps_of(site, connection, since_us, NOW_US, {})
    assert again == fresh
    assert len(first.steps) < len(again.steps)


def _made(folder: Path, readings: list[Reading]) -> list[Reading]:
    folder.mkdir()
    return readings


def test_a_month_is_at_most_a_hundred_steps(tmp_path: Path) -> None:
    readings = steady(HERE, 28 * 1_440, every_s=600)
    with watched(tmp_path, readings) as site:
        for span, size_s in (("24h", 900), ("30d", 28_800), ("1y", 28_800)):
            found = live(site, Span.parse({"span": span}, site.now_us()))
            assert found is not None
            assert 60 <= len(found.pictures[0].columns["until (UTC)"]) <= 100, span
            with site.reading() as connection:
                since_us = max(NOW_US + 5 * US - _seconds(span) * US, readings[0].at_us)
                steps = steps_of(site, connection, since_us, NOW_US, {})
            assert steps.size_s == size_s
            rates = [step.figures.rate for step in steps.steps if step.figures.rate is not None]
            assert rates[1:-1] == pytest.approx([0.5] * (len(rates) - 2), rel=0.05)


def _seconds(span: str) -> int:
    return {"24h": 86_400, "30d": 30 * 86_400, "1y": 366 * 86_400}[span]


def test_a_picture_has_a_gap_where_nothing_is_known() -> None:
    at_us = [NOW_US + turn * 60 * US for turn in range(6)]
    lines = [Line(name="p50", values=(1.0, 2.0, None, 4.0, None, 6.0)), Line(name="p99", values=(None,) * 6)]
    chart = timeline(at_us, lines, "milliseconds", logarithmic=True)
    assert chart is not None
    with alt.data_transformers.enable(consolidate_datasets=False):
        drawn = [layer["data"]["values"] for layer in chart.to_dict(validate=False)["layer"] if "data" in layer]
    every, alone = drawn[0], drawn[1]
    assert [row["at"] for row in every] == [at_us[place] / 1e3 for place in (0, 1, 3, 5)]
    assert len({row["run"] for row in every}) == 3
    assert [row["at"] for row in alone] == [at_us[3] / 1e3, at_us[5] / 1e3]  # a line of one point is a dot
    assert timeline_columns(at_us, lines)["p50"] == [6.0, 4.0, 2.0, 1.0]
    assert timeline(at_us, lines[1:], "milliseconds") is None


# --- the page -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def busy(dash: Any) -> str:
    """The dashboard of the session, whose server was heard just now."""
    opened = assembly.open_project(dash.folder)
    now_us = time.time_ns() // 1000
    hostile = "http://10.1.1.2:80/<script>alert(1)</script>\u202etxt"
    for address, minutes in (("http://10.1.1.1:80", 40), (hostile, 3)):
        keep(opened.settings.registry, opened.spec.name, steady(address, minutes, until_us=now_us))
    url: str = dash.url
    return url


@pytest.mark.parametrize("width", [1440, 390])
def test_the_first_thing_on_the_page_is_whether_it_is_up(busy: str, opened: Callable[..., Any], width: int) -> None:
    one = opened("/live", width=width)
    first = one.page.locator("#main section").first
    assert "answer" in first.inner_text()
    assert one.page.locator(".live-tiles .figure").first.inner_text().endswith("/s")
    assert one.page.locator(".live-pictures figure").count() >= 5
    assert one.page.locator("script:not([src])").count() == 0
    assert one.faults() == []
    assert busy


def test_looking_again_moves_nothing(busy: str, opened: Callable[..., Any]) -> None:
    """Where the page stood, what was open and what had the focus stay, and the figures are new."""
    one = opened("/live")
    page = one.page
    page.locator("#figures-1 summary").click()
    page.locator("#figures-1 summary").focus()
    page.evaluate(
        "window.scrollTo({top: 500, behavior: 'instant'}); document.querySelector('.foot p').dataset.old = '1'"
    )
    before = page.evaluate("window.scrollY")
    page.wait_for_selector(".foot p:not([data-old])", timeout=60_000, state="attached")
    assert page.evaluate("document.getElementById('figures-1').open")
    assert page.evaluate("document.activeElement.id") == "figures-1-shown"
    assert abs(page.evaluate("window.scrollY") - before) < 40
    assert busy


def test_a_span_and_a_server_are_a_link(busy: str, opened: Callable[..., Any]) -> None:
    page = opened("/live").page
    page.get_by_role("link", name="6h").click()
    page.locator(".live-which").get_by_role("link", name="10.1.1.1").click()
    assert "span=6h" in page.url
    assert "server=http%3A//10.1.1.1%3A80" in page.url
    assert page.locator(".live-which [aria-current]").inner_text() == "http://10.1.1.1:80"
    assert busy


def test_an_unknown_server_is_told(busy: str, opened: Callable[..., Any]) -> None:
    one = opened("/live?server=nobody", status=404)
    assert "unknown server 'nobody'" in one.page.locator("#main").inner_text()
    assert busy


def test_a_place_without_servers_says_how_to_get_them(tmp_path: Path) -> None:
    with watched(tmp_path, []) as site:
        page = DOORS[0].handler(Desk(site, tmp_path / "roadworthy.toml"), Asked("/live", {}, {}))
    assert isinstance(page, Page)
    text = render(
        page.template,
        **page.shown,
        page=page,
        section="live",
        person="",
        project="clicks",
        banner=None,
        now_us=NOW_US,
        path="/live",
        said="",
    )
    assert "roadworthy up" in text
    assert "No server has been asked yet" in text

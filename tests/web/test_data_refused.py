"""What servers refused stands at its column: in the list, on the column's page, in the tile, and before all quiet."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import msgspec
import pytest

from roadworthy import assembly
from roadworthy.lifecycle import cursors
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.records.reading import Reading
from roadworthy.views.dashboard import Site, Span
from roadworthy.views.dashboard.data import SHOWS, Choice, DataList, column_page, data_list, facts
from roadworthy.views.dashboard.data.looking import Looked, look
from roadworthy.views.dashboard.data.refused import Refused, Tally
from roadworthy.views.dashboard.data.standing import Standing
from roadworthy.web.app import dashboard
from roadworthy.web.desk import Desk, Page
from roadworthy.web.guards import Guards
from roadworthy.web.rendering import render

WEEK_US, S = 7 * 86_400_000_000, 1_000_000
SCRIPT = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def site(past: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The project with its past, and with what a server told in its newest window, before it and since."""
    folder = tmp_path_factory.mktemp("refused") / "clicks"
    shutil.copytree(past, folder)
    opened = assembly.open_project(folder)
    made = Site(opened.file, opened.spec, opened.standard, opened.settings, assembly.SystemClock())
    newest = looked_at(made).window
    told = [
        (newest.after.at_us, {"clicks": {"missing": 99.0}}),  # counted before the window
        (newest.after.at_us + 30 * S, {"dwell_seconds": {"range": 5.0}, "device": {"missing": 1.0}}),
        (newest.until.at_us, {"dwell_seconds": {"range": 6.0, "type": 1.0}, "": {"unknown": 3.0}}),
        (newest.until.at_us + 1, {"impressions": {"rule": 1.0}, "gone": {"missing": 2.0}, "user_id": {"missing": 1.0}}),
    ]
    transactions = Transactions(opened.settings.registry)
    with transactions.changing() as connection:
        readings = [Reading(at_us=at, address="b", counters={"rows": 1.0}, newly_refused=new) for at, new in told]
        cursors.add_readings(connection, made.name, readings)
    transactions.close()
    yield made
    made.close()


def looked_at(site: Site, window: str = "") -> Looked:
    with site.reading() as connection:
        found = look(site, connection, window)
    assert found is not None
    return found


def span_of(site: Site) -> Span:
    return Span(since_us=site.now_us() - WEEK_US, until_us=site.now_us())


@pytest.fixture(scope="module")
def listed(site: Site) -> DataList:
    return data_list(site, span_of(site), Choice())


def test_refused_rows_stand_at_their_column_and_before_what_is_quiet(site: Site, listed: DataList) -> None:
    rows = {row.facts.name: row for row in listed.rows}
    dwell = Tally(rows=12, ways=(("out of range", 11), ("not of its type", 1)))
    assert (rows["dwell_seconds"].refused, rows["dwell_seconds"].refused_since) == (dwell, Tally())
    assert rows["device"].refused == Tally(rows=1, ways=(("missing", 1),))
    assert rows["impressions"].refused_since == Tally(rows=1, ways=(("against a rule", 1),))
    assert rows["clicks"].refused == Tally()
    names = [row.facts.name for row in listed.rows]
    assert rows["device"].standing is Standing.ALARM
    assert names[0] == "device", "an alarm comes before refused rows"
    changed = listed.counts["changed"]
    assert names[changed] == "dwell_seconds"
    assert set(names[changed + 1 : changed + 3]) == {"impressions", "user_id"}
    assert (rows["user_id"].standing, rows[names[changed + 3]].standing) == (Standing.APART, Standing.QUIET)
    assert listed.breakers == ("dwell_seconds", "device", "impressions")
    assert "In this window rows were refused for `dwell_seconds` (12) and `device` (1)." in listed.lead
    assert "Since then rows were refused for `impressions` (1) and `user_id` (1)." in listed.lead
    shown = data_list(site, span_of(site), Choice(show="refused"))
    assert [row.facts.name for row in shown.rows] == [*names[:1], *names[changed : changed + 3]]


def test_a_past_window_has_its_own_refusals_and_none_since(site: Site) -> None:
    newest = looked_at(site)
    before = data_list(site, span_of(site), Choice(window=f"{newest.window.series}/{newest.before}"))
    assert before.broken is not None
    assert before.broken.during == {"clicks": Tally(rows=99, ways=(("missing", 99),))}
    assert (before.broken.since, before.broken.asked) == ({}, True)
    assert before.breakers == ("clicks",)


def test_rows_that_a_rule_set_aside_stand_at_every_column_that_it_reads(site: Site) -> None:
    held = looked_at(site).held
    assert held is not None
    rule = "rule: clicks <= impressions is false"
    found = facts._by_column({rule: 3, "clicks: missing": 2}, held.watched.contract)
    assert found == {"clicks": {rule: 3, "missing": 2}, "impressions": {rule: 3}}


def test_the_pages_tell_it_in_words(site: Site) -> None:
    app = dashboard(Desk(site, site.file), Guards(site, open_to_others=False))
    links = ["/data", "/data/dwell_seconds", "/data/impressions", "/data/clicks"]

    async def ask() -> list[str]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return [" ".join((await client.get(link)).text.split()) for link in links]

    with ThreadPoolExecutor(1) as aside:  # a browser's loop may run in this thread
        page, dwell, impressions, clicks = aside.submit(lambda: asyncio.run(ask())).result()
    assert '<strong>12 rows</strong><span class="about">refused: out of range and more</span>' in page
    assert '<strong>1 row</strong><span class="about">refused since: against a rule</span>' in page
    assert 'most for <a href="/data/dwell_seconds"><bdi>dwell_seconds</bdi></a> (12 rows)' in page
    assert "and 2 more" in page, "a column that this version does not have has no page"
    assert "3 rows in no one column: 3 fields that the contract does not name" in page
    assert "Refused in this window: 12 rows (11 out of range, 1 not of its type)." in dwell
    assert "1 row (1 against a rule)" in impressions
    assert "no row for its sake in this window" in impressions
    assert "no row for its sake in this window" in clicks
    assert "Refused in this window" not in clicks


def test_without_a_reading_nothing_is_called_nought(site: Site) -> None:
    newest = looked_at(site)
    series, number = newest.window.series, newest.window.number
    page = column_page(site, "dwell_seconds", span_of(site), window=f"{series}/{number - 20}")
    assert page.broken is not None
    assert not page.broken.asked
    shown = {"c": page, "span": span_of(site), "rows": "window", "keep": "", "kept_span": "", "back": ""}
    assert "not known: no metrics of a server were read in this window" in rendered(site, "data_column.html.j2", shown)


def test_a_hostile_name_is_text(site: Site, listed: DataList) -> None:
    row = listed.rows[0]
    name = f"{SCRIPT}`{SCRIPT}"
    broken = Refused(
        asked=True, during={name: Tally(rows=3, ways=((SCRIPT, 3),)), "": Tally(rows=1, ways=((SCRIPT, 1),))}
    )
    hostile = msgspec.structs.replace(
        listed,
        breakers=(name,),
        broken=broken,
        rows=(msgspec.structs.replace(row, refused=Tally(rows=3, ways=((SCRIPT, 3),))),),
    )
    shown = {"d": hostile, "choice": Choice(), "shows": SHOWS, "span": span_of(site), "keep": "", "on": ""}
    text = rendered(site, "data.html.j2", shown)
    assert "&lt;script&gt;alert" in text
    assert SCRIPT not in text


def rendered(site: Site, template: str, shown: dict[str, object]) -> str:
    frame = {
        "page": Page(template, "Data", {}),
        "section": "data",
        "person": "",
        "project": site.name,
        "banner": None,
        "path": "/",
        "said": "",
    }
    return render(template, **{**frame, **shown}, now_us=site.now_us())

"""The pages on predictions: what they find and open up against the log itself, and a label given in a browser."""

from __future__ import annotations

import asyncio
import getpass
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import numpy as np
import polars as pl
import pytest

from roadworthy import assembly
from roadworthy.adapters.keys import load_hasher
from roadworthy.adapters.prediction_log import joined, read_log
from roadworthy.adapters.prediction_log.segments import by_day, publish
from roadworthy.errors import UnknownName, UsageError
from roadworthy.graphs.runner import GraphModel
from roadworthy.lifecycle import watching
from roadworthy.records.window import Place
from roadworthy.views.dashboard import Site
from roadworthy.views.dashboard.predictions import Predictions, hidden_entity, prediction, predictions
from roadworthy.web.app import dashboard
from roadworthy.web.desk import Asked, Desk, Moved
from roadworthy.web.guards import Guards
from roadworthy.web.pages import DOORS

NEWEST = ["at", "id", "row"]
CLEAR = "u-31415 <b>"


def site_of(folder: Path) -> Site:
    opened = assembly.open_project(folder)
    return Site(opened.file, opened.spec, opened.standard, opened.settings, assembly.SystemClock())


@pytest.fixture(scope="module")
def odd(past: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A project whose log also holds rows that something is wrong with, each under its own id."""
    folder = tmp_path_factory.mktemp("odd") / "clicks"
    shutil.copytree(past, folder)
    site = site_of(folder)
    newest = read_log(site.settings.lake).tail(1).collect()
    now = datetime.now(UTC).replace(tzinfo=None)
    text = pl.String()
    changes: dict[str, dict[str, pl.Expr]] = {
        "unusual": {
            "device": pl.lit("fridge"),
            "position": pl.lit(None, pl.Int64),
            "dwell_seconds": pl.lit(1e6),
            "clicks": pl.col("impressions") + 1,
        },
        "gone": {"version": pl.lit("clicks-99")},
        "constant": {"version": pl.lit("constant")},
        "person": {"decision": pl.lit(None, text), "referred": pl.lit("outside what training saw; not sure")},
        "foreign": {"version": pl.lit("their-model"), "campaign": pl.lit("<script>x</script>" + "y" * 10_000)},
        "again": {"score": pl.lit(0.123)},
        "/../?#%41 é": {},
    }
    rows = [
        newest.with_columns(id=pl.lit(id_), at=pl.lit(now + timedelta(seconds=place)), **change)
        for place, (id_, change) in enumerate(changes.items())
    ]
    lacking = newest.with_columns(id=pl.lit("lacking")).drop("campaign")
    publish(
        site.settings.lake / "predictions",
        "odd",
        by_day(pl.concat(rows).with_columns(pl.col("at").cast(pl.Datetime("us")))),
    )
    publish(site.settings.lake / "predictions", "odder", by_day(lacking))
    yield site
    site.close()


# --- the list -------------------------------------------------------------------------------------------------------


def ids(found: Predictions) -> list[str]:
    return [line.id for line in found.lines]


def test_the_list_is_the_newest_of_the_log_and_turns_without_a_gap(dash: Any) -> None:
    log = read_log(dash.site.settings.lake).sort(NEWEST, descending=True).collect()["id"].to_list()
    first = predictions(dash.site, {})
    second = predictions(dash.site, _query(first.older))
    assert ids(first) + ids(second) == log[:100]
    assert ids(predictions(dash.site, _query(second.newer))) == ids(first)
    assert (first.newer, first.newest, first.further) == ("", "", "")


@pytest.mark.parametrize(
    ("query", "keep"),
    [
        ({"known": "wrong"}, pl.col("label") != pl.col("decision")),
        ({"known": "yes", "decision": "1"}, pl.col("label").is_not_null() & (pl.col("decision") == "1")),
        (
            {"known": "no", "least": "0.4", "most": "0.6"},
            pl.col("label").is_null() & pl.col("score").is_between(0.4, 0.6),
        ),
        ({"version": "clicks-1"}, pl.col("version") == "clicks-1"),
        ({"id": "000001000000000"}, pl.col("id").str.starts_with("000001000000000")),
    ],
    ids=["wrong", "labelled", "unlabelled", "version", "id"],
)
def test_what_is_asked_for_is_what_the_log_has(dash: Any, query: dict[str, str], keep: pl.Expr) -> None:
    rows = joined(dash.site.settings.lake).rows.filter(keep).sort(NEWEST, descending=True)
    found = predictions(dash.site, query)
    assert ids(found) == rows["id"].to_list()[:50]
    assert [line.wrong for line in found.lines] == (rows["label"] != rows["decision"]).fill_null(value=False).to_list()[
        :50
    ]
    assert bool(found.older) == (rows.height > 50)


def test_words_that_mean_nothing_are_refused(dash: Any) -> None:
    for query in ({"least": "much"}, {"known": "perhaps"}, {"before": "yesterday"}, {"id": "a" * 5_000}, {"span": "x"}):
        with pytest.raises(UsageError):
            predictions(dash.site, query)


def test_a_personal_entity_is_looked_for_by_its_hash(odd: Site) -> None:
    hashed = load_hasher(odd.settings.hashing_key).hash_one(CLEAR)
    assert hidden_entity(odd, f" {CLEAR} ") == hashed
    assert hidden_entity(odd, f"#{hashed}") == hashed
    one = predictions(odd, {}).lines[0]
    found = predictions(odd, _query(one.entity_link))
    assert one.id in ids(found)
    assert {line.entity for line in found.lines} == {one.entity}


def test_a_project_without_a_log_says_what_would_be_here(copied: Path) -> None:
    site = site_of(copied)
    shutil.rmtree(site.settings.lake / "predictions", ignore_errors=True)
    found = predictions(site, {})
    assert (found.lines, found.command) == ((), "roadworthy up")
    assert "logged" in found.empty
    assert "like this" in predictions(site, {"id": "a"}).empty
    site.close()


def _query(link: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(link).query))


# --- one prediction -------------------------------------------------------------------------------------------------


def test_one_prediction_is_what_was_logged_and_what_its_graph_says(dash: Any) -> None:
    row = joined(dash.site.settings.lake).rows.filter(pl.col("label").is_not_null()).row(7, named=True)
    one = prediction(dash.site, row["id"], row["row"])
    assert (one.version, one.decision, one.told[0].label) == (row["version"], row["decision"], row["label"])
    assert one.told[0].wrong == (row["label"] != row["decision"])
    values = {given.name: given.value for given in one.inputs}
    assert values["device"] == row["device"]
    assert values["impressions"] == str(row["impressions"])
    assert values["user_id"] == f"#{row['user_id']}"
    assert one.layers is not None
    assert one.layers.agrees
    kinds = [layer.kind for layer in one.layers.layers]
    assert (kinds[0], kinds[-1]) == ("input", "decision")
    assert float(one.layers.layers[-2].values[0][1]) == pytest.approx(row["score"], abs=1e-3)
    assert one.layers.layers[-1].values == (("", row["decision"]),)


def test_what_drove_a_score_adds_up_and_is_the_same_again(dash: Any) -> None:
    row = read_log(dash.site.settings.lake).tail(1).collect().row(0, named=True)
    one = prediction(dash.site, row["id"], row["row"]).drivers
    assert one is not None
    assert one.score == pytest.approx(row["score"], abs=1e-3)
    assert sum(driver.effect for driver in one.drivers) == pytest.approx(one.score - one.base, abs=1e-6)
    assert [abs(driver.effect) for driver in one.drivers] == sorted((abs(d.effect) for d in one.drivers), reverse=True)
    again = prediction(dash.site, row["id"], row["row"]).drivers
    assert again == one
    assert one.picture is not None
    for driver in one.drivers:
        assert f"{driver.name[:10]}" in one.picture.svg


def test_drivers_follow_the_model(dash: Any) -> None:
    """The column that moves the score most when it is exchanged is among those that are named."""
    site = dash.site
    row = read_log(site.settings.lake).tail(1).collect()
    one = prediction(site, row["id"][0], 0)
    assert one.drivers is not None
    graph = GraphModel(site.bundle(site.version(one.number or 0)).parts.model)
    others = read_log(site.settings.lake).head(200).collect()
    moved = {}
    for name in graph.columns:
        mixed = row.select(graph.columns).select(pl.all().exclude(name)).join(others.select(name), how="cross")
        moved[name] = abs(float(np.mean(graph.score(mixed.select(graph.columns)))) - float(row["score"][0]))
    assert max(moved, key=lambda name: moved[name]) in [driver.name for driver in one.drivers.drivers[:3]]


def test_the_window_is_the_one_that_counted_it(dash: Any) -> None:
    site = dash.site
    row = read_log(site.settings.lake).collect().row(90, named=True)
    at_us = int(row["at"].replace(tzinfo=UTC).timestamp() * 1e6)
    place = Place(at_us, row["id"], row["row"])
    with site.reading() as connection:
        series = site.series(connection)
        number = next(
            one.number
            for one in watching.summaries(connection, site.name, series)
            if one.start_us <= at_us and place <= one.until
        )
        window = watching.judged(connection, site.name, series, number).window
    assert window.after < place <= window.until
    found = prediction(site, row["id"], row["row"]).within
    assert (found.title, found.link) == (f"{series}/{number}", f"/windows/{series.replace(' ', '%20')}/{number}")
    assert found.start_us <= at_us < found.end_us


def test_unusual_values_and_broken_rules_are_named(odd: Site) -> None:
    one = prediction(odd, "unusual", 0)
    said = {given.name: given.remark for given in one.inputs if given.remark}
    assert said["device"] == "a label that training never saw"
    assert said["dwell_seconds"] == "higher than any value in training"
    assert said["position"].startswith("missing")
    assert one.remarks == len(said)
    assert any("clicks <= impressions" in objection for objection in one.objections or ())
    assert any(objection.startswith("device") for objection in one.objections or ())
    assert prediction(odd, "again", 0).objections == ()


def test_a_version_that_is_gone_takes_nothing_else_with_it(odd: Site) -> None:
    for id_, why in (
        ("gone", "no version 'clicks-99'"),
        ("foreign", "no version 'their-model'"),
        ("constant", "constant"),
    ):
        one = prediction(odd, id_, 0)
        assert why in one.why_no_layers
        assert why in one.why_no_drivers
        assert (one.layers, one.drivers, one.objections, one.number) == (None, None, None, None)
        assert {"device", "user_id"} <= {given.name for given in one.inputs}
        assert one.form.classes == ("0", "1")
        assert "clicks-" in predictions(odd, {"id": id_}).lines[0].version or id_ != "gone"
    assert "declared constant" in prediction(odd, "constant", 0).sentence
    person = prediction(odd, "person", 0)
    assert person.referred == ("outside what training saw", "not sure")
    assert "person" in person.sentence
    assert ids(predictions(odd, {"known": "referred"})) == ["person"]


def test_what_was_not_logged_is_named(odd: Site) -> None:
    one = prediction(odd, "lacking", 0)
    assert one.layers is None
    assert "campaign" in one.why_no_layers
    assert next(given for given in one.inputs if given.name == "campaign").value == "not in the log"


def test_another_score_than_the_logged_one_is_said(odd: Site) -> None:
    layers = prediction(odd, "again", 0).layers
    assert layers is not None
    assert not layers.agrees
    assert "0.123" in layers.sentence


def test_a_prediction_that_is_not_there_is_an_unknown_name(odd: Site) -> None:
    for id_, row in (("nobody", 0), ("again", 7)):
        with pytest.raises(UnknownName):
            prediction(odd, id_, row)


def test_a_label_by_hand_keeps_who_told_it(past: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clicks"
    shutil.copytree(past, folder)
    site = site_of(folder)
    row = read_log(site.settings.lake).collect().row(-1, named=True)
    asked = Asked(path="", place={"id": row["id"], "row": "0"}, query={}, form={"label": "1"}, person="anna")
    tell = next(door for door in DOORS if door.path.endswith("/{row}") and door.method == "POST")
    with ThreadPoolExecutor() as thread:  # a browser of this module may hold this thread's event loop
        assert isinstance(thread.submit(tell.handler, Desk(site, folder / "roadworthy.toml"), asked).result(), Moved)
    assert [one.who for one in prediction(site, row["id"], 0).told] == ["anna"]
    site.close()


# --- in a browser ---------------------------------------------------------------------------------------------------


def test_one_is_found_opened_and_labelled_by_keyboard(dash: Any, opened: Callable[..., Any]) -> None:
    log = read_log(dash.site.settings.lake).collect()
    row = log.row(-5, named=True)
    shown = opened("/predictions")
    page = shown.page
    page.get_by_label("Id begins with").focus()
    page.keyboard.type(row["id"])
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/predictions\?id="))
    link = page.locator("table.found tbody th a")
    assert link.count() == 1
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/predictions/{row['id']}/0")
    assert page.locator("ol.layers > li").count() >= 4
    other = "0" if row["decision"] == "1" else "1"
    comment = "<img src=x onerror=window.hacked=1> שלום"
    page.get_by_role("radio", name=other, exact=True).focus()
    page.keyboard.press("Space")
    page.get_by_label("Comment, if any").fill(comment)
    page.get_by_role("button", name="Tell it").press("Enter")
    page.wait_for_selector("p.said")
    assert "Noted" in page.locator("p.said").inner_text()
    assert "will" in page.locator("p.said").inner_text()
    assert page.locator(".told-list .comment").inner_text() == comment
    assert f"told by {getpass.getuser()}" in page.locator(".told-list li").inner_text()
    assert page.evaluate("window.hacked") is None
    assert shown.faults() == []
    known = joined(dash.site.settings.lake).rows.filter(id=row["id"])
    assert known.select("label", "comment").rows() == [(other, comment)]
    page.get_by_role("radio", name=other, exact=True).check()
    page.get_by_label("Comment, if any").fill(comment)
    page.get_by_role("button", name="Tell it anew").click()
    page.wait_for_selector("p.said:has-text('told before')")
    assert page.locator(".told-list li").count() == 1
    page.goto(f"{dash.url}/predictions?known=wrong&id={row['id']}")
    assert page.locator("table.found tbody tr").count() == 1


def test_a_label_that_is_none_is_refused_in_words(dash: Any, opened: Callable[..., Any]) -> None:
    id_ = read_log(dash.site.settings.lake).collect()["id"][-9]
    page = opened(f"/predictions/{id_}/0").page
    headers = {"Sec-Fetch-Site": "same-origin"}
    url = f"{dash.url}/predictions/{id_}/0"
    answer = page.request.post(url, form={"label": "maybe", "comment": "kept"}, headers=headers)
    assert answer.status == 422
    text = answer.text()
    assert "No class of this model; expected one of 0, 1." in text
    assert ">kept</textarea>" in text
    assert page.request.post(url, form={"comment": "x"}, headers=headers).status == 422
    assert page.request.post(url, form={"label": "1"}, headers={"Sec-Fetch-Site": "cross-site"}).status == 403
    assert joined(dash.site.settings.lake).rows.filter(id=id_)["label"].to_list() == [None]


def test_a_personal_value_stands_in_no_link(opened: Callable[..., Any]) -> None:
    shown = opened("/predictions", width=390)
    page = shown.page
    page.get_by_label("user_id is").fill(CLEAR)
    page.get_by_role("button", name="Find").click()
    page.wait_for_url(re.compile(r"entity=[0-9a-f]{32}$"))
    assert CLEAR not in page.content()
    assert "like this" in page.locator("main").inner_text()
    assert all("31415" not in url for url in shown.asked)
    assert shown.overflowing() == []


def test_ids_of_any_signs_have_a_page(odd: Site) -> None:
    app = dashboard(Desk(odd, odd.file), Guards(odd, open_to_others=False))
    (line,) = predictions(odd, {"id": "/../"}).lines
    links = [line.link, *(prediction(odd, id_, 0).link for id_ in ("gone", "constant", "person", "foreign"))]
    wrong = {"/predictions/nobody/0": 404, "/predictions/nobody/first": 404, "/predictions?least=x": 400}

    async def ask() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            for link in links:
                answer = await client.get(link)
                assert answer.status_code == 200, link
                assert "<script>x" not in answer.text
                assert len(answer.text) < 200_000
            assert {link: (await client.get(link)).status_code for link in wrong} == wrong

    with ThreadPoolExecutor(1) as aside:  # the browser's loop may run in this thread
        aside.submit(lambda: asyncio.run(ask())).result()

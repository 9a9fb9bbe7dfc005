"""Predictions found among many: a page is what sorting and filtering the whole log gives, wherever its rows lie."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy.adapters.prediction_log import FeedbackStore, PredictionLog, joined, read_feedback
from roadworthy.adapters.prediction_log.finding import Found, Wanted, find, find_one, labels_of
from roadworthy.adapters.prediction_log.segments import by_day, publish
from roadworthy.formats.bundle.parts import ServingContract
from roadworthy.records.contract import ColumnContract, ColumnType, Contract
from roadworthy.records.feedback import Feedback
from roadworthy.records.project import Task
from roadworthy.records.window import Place

START = datetime(2026, 3, 1, 22)  # noqa: DTZ001 - columns are UTC without a zone
WHO, WHEN = "who", "when"
KEY = ["at", "id", "row"]


def logged(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as a server logs them, with what a test does not name."""
    made = [
        {
            "id": "a",
            "row": 0,
            "at": START,
            "version": "shop-1",
            "score": 0.5,
            "decision": "no",
            "referred": None,
            "age": 41,
            "who": "ann",
            "when": START,
            **row,
        }
        for row in rows
    ]
    schema: dict[str, Any] = {
        "row": pl.Int64,
        "at": pl.Datetime("us"),
        "referred": pl.String,
        "decision": pl.String,
        "when": pl.Datetime("us"),
        "score": pl.Float64 if not any(isinstance(one["score"], list) for one in made) else pl.List(pl.Float64),
    }
    return pl.DataFrame(made, schema_overrides=schema)


def kept(lake: Path, rows: pl.DataFrame, name: str = "w0") -> None:
    root = lake / "predictions"
    root.mkdir(parents=True, exist_ok=True)
    publish(root, name, by_day(rows))


def tell(lake: Path, labels: Sequence[Feedback]) -> None:
    async def add() -> None:
        store = FeedbackStore(lake)
        for label in labels:
            await store.add([label])
        store.close()

    asyncio.run(add())


def label(id_: str = "a", row: int = 0, said: str = "yes", hours: float = 1.0, **more: Any) -> Feedback:
    at = START.replace(tzinfo=UTC) + timedelta(hours=hours)
    return Feedback(at_us=int(at.timestamp() * 1e6), id=id_, row=row, label=said, **more)


def keys(found: Found) -> list[tuple[str, int]]:
    return list(zip(found.rows["id"].to_list(), found.rows["row"].to_list(), strict=True))


def place_of(found: Found, at: int) -> Place:
    when, id_, row = found.rows.select(pl.col("at").to_physical(), "id", "row").row(at)
    return Place(when, id_, row)


# --- a page is what the whole log would give ------------------------------------------------------------------------

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from(["a", "ab", "abc", "b", "ba", "ü", "ab\U0010fffe"]),
            "at": st.integers(0, 400).map(lambda steps: START + timedelta(minutes=15 * (steps // 4))),
            "version": st.sampled_from(["shop-1", "shop-2"]),
            "score": st.sampled_from([0.0, 0.25, 0.5, 1.0]),
            "decision": st.sampled_from(["no", "yes", None]),
            "referred": st.sampled_from([None, None, "not sure"]),
            "who": st.sampled_from(["ann", "bob", None]),
            "when": st.integers(0, 3).map(lambda hours: START + timedelta(hours=hours)),
            "file": st.integers(0, 3),
        }
    ),
    max_size=40,
)
TOLD = st.lists(
    st.fixed_dictionaries(
        {
            "place": st.integers(0, 39),
            "said": st.sampled_from(["no", "yes"]),
            "hours": st.integers(0, 60),
            "key": st.sampled_from(["", "k"]),
            "by_entity": st.booleans(),
        }
    ),
    max_size=12,
)
WANTED = st.builds(
    Wanted,
    id=st.sampled_from(["", "a", "ab", "x", "ü"]),
    entities=st.sampled_from([(), ("ann",), ("bob", "nobody")]),
    since_us=st.sampled_from([None, 1_772_409_600_000_000]),
    until_us=st.sampled_from([None, 1_772_496_000_000_000]),
    decision=st.sampled_from(["", "yes"]),
    version=st.sampled_from(["", "shop-2"]),
    least=st.sampled_from([None, 0.25]),
    most=st.sampled_from([None, 0.5]),
    labelled=st.sampled_from([None, True, False]),
    wrong=st.booleans(),
    referred=st.booleans(),
)


def plainly(rows: pl.DataFrame, wanted: Wanted) -> list[tuple[str, int]]:
    """The same, by a loop over everything."""
    found = []
    for row in rows.sort(KEY, descending=True).iter_rows(named=True):
        at_us = int(row["at"].replace(tzinfo=UTC).timestamp() * 1e6)
        told = row["labelled_at"] is not None
        off = told and row["decision"] is not None and row["label"] != row["decision"]
        if all(
            (
                row["id"].startswith(wanted.id),
                not wanted.entities or row["who"] in wanted.entities,
                wanted.since_us is None or at_us >= wanted.since_us,
                wanted.until_us is None or at_us < wanted.until_us,
                wanted.decision in {"", row["decision"]},
                wanted.version in {"", row["version"]},
                wanted.least is None or row["score"] >= wanted.least,
                wanted.most is None or row["score"] <= wanted.most,
                wanted.labelled in {None, told},
                not wanted.wrong or off,
                not wanted.referred or row["referred"] is not None,
            )
        ):
            found.append((row["id"], row["row"]))
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, told=TOLD, wanted=WANTED, count=st.integers(1, 7))
def test_pages_are_what_the_whole_log_would_give(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[dict[str, Any]],
    told: list[dict[str, Any]],
    wanted: Wanted,
    count: int,
) -> None:
    lake = tmp_path_factory.mktemp("lake")
    numbered = [{**row, "row": place} for place, row in enumerate(rows)]
    for file in range(4):
        mine = [
            {name: value for name, value in row.items() if name != "file"} for row in numbered if row["file"] == file
        ]
        if mine:
            frame = logged(mine)
            kept(lake, frame.drop("age") if file == 3 else frame, f"w{file}")
    tell(lake, [_about(numbered[one["place"]], one) for one in told if one["place"] < len(numbered)])
    expected = plainly(joined(lake, entity=WHO, time=WHEN).rows, wanted) if rows else []
    pages: list[Found] = []
    while not pages or pages[-1].more:
        before = place_of(pages[-1], -1) if pages else None
        pages.append(find(lake, wanted, before=before, count=count, entity=WHO, time=WHEN))
    assert [key for page in pages for key in keys(page)] == expected
    assert all(page.reached is None for page in pages)
    for older, newer in zip(pages[1:], pages, strict=False):
        if older.rows.height:
            again = find(lake, wanted, after=place_of(older, 0), count=count, entity=WHO, time=WHEN)
            assert keys(again) == keys(newer)


def _about(row: Mapping[str, Any], one: Mapping[str, Any]) -> Feedback:
    named: dict[str, Any] = {"id_": row["id"], "row": row["row"]}
    if one["by_entity"] and row["who"] is not None:
        when = int(row["when"].replace(tzinfo=UTC).timestamp() * 1e6)
        named = {"id_": "", "entity": row["who"], "time_us": when}
    # feedback comes after its prediction, or on the same day
    hours = max(one["hours"], (row["at"] - START).total_seconds() / 3600)
    return label(said=one["said"], hours=hours, key=one["key"] and f"{one['key']}{one['place']}", **named)


def test_an_empty_lake_has_nothing(tmp_path: Path) -> None:
    assert find(tmp_path, Wanted()).rows.height == 0
    assert find(tmp_path, Wanted(wrong=True), entity=WHO, time=WHEN).rows.height == 0
    assert find_one(tmp_path, "a", 0).height == 0


# --- what a log may be ----------------------------------------------------------------------------------------------


class Field(NamedTuple):
    name: str
    part: str


@dataclass(eq=False)
class Reader:
    contract: ServingContract
    fields: tuple[Field, ...]
    kept: tuple[str, ...]


class Run(NamedTuple):
    title: str
    scores: list[Any]
    decisions: list[str] | None
    others: dict[int, str]
    broken: dict[int, Any]
    failures: dict[int, Any]
    doubts: Any = None


class Logged(NamedTuple):
    at: float
    reader: Reader
    requests: Sequence[tuple[str, int]]
    rows: Sequence[tuple[Any, ...]]
    run: Run


@pytest.fixture
def spooled(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Writes one prediction through a server's own log, whose spool stays open."""
    columns = {"age": ColumnContract(type=ColumnType.INTEGER), "who": ColumnContract(type=ColumnType.TEXT)}
    contract = ServingContract(
        name="shop",
        task=Task.BINARY,
        target="bought",
        classes=("no", "yes"),
        entity="who",
        contract=Contract(columns=columns),
        inputs=("age",),
    )
    reader = Reader(contract, (Field("age", "number"),), ("who",))
    log = PredictionLog(tmp_path)

    def write(id_: str) -> None:
        at = (START.replace(tzinfo=UTC) + timedelta(days=2)).timestamp()
        log.add(Logged(at, reader, [(id_, 1)], [(7, "cid", None)], Run("shop-2", [0.75], ["yes"], {}, {}, {})))
        asyncio.run(log.flushed())

    yield write
    log.close()


def test_what_is_still_in_a_spool_is_found_and_once(tmp_path: Path, spooled: Callable[[str], None]) -> None:
    kept(tmp_path, logged([{"id": "old"}]))
    spooled("fresh")
    assert keys(find(tmp_path, Wanted(), entity=WHO)) == [("fresh", 0), ("old", 0)]
    assert keys(find(tmp_path, Wanted(entities=("cid",)), entity=WHO)) == [("fresh", 0)]
    assert find_one(tmp_path, "fresh", 0).row(0, named=True)["age"] == 7
    (spool,) = (tmp_path / "predictions" / "spool").glob("*.spool")
    kept(
        tmp_path, logged([{"id": "fresh", "at": START + timedelta(days=2)}]), spool.stem
    )  # killed before it was removed
    assert keys(find(tmp_path, Wanted(), entity=WHO)) == [("fresh", 0), ("old", 0)]
    assert find_one(tmp_path, "fresh", 0).height == 1


def test_of_several_scores_the_highest_is_shown_and_all_are_kept(tmp_path: Path) -> None:
    kept(tmp_path, logged([{"id": "one", "score": 0.4}]), "w0")
    kept(tmp_path, logged([{"id": "many", "score": [0.1, 0.7, 0.2]}]), "w1")
    assert dict(zip(*find(tmp_path, Wanted()).rows.select("id", "score"), strict=True)) == {"one": 0.4, "many": 0.7}
    assert keys(find(tmp_path, Wanted(least=0.6))) == [("many", 0)]
    assert find_one(tmp_path, "many", 0)["score"].to_list() == [[0.1, 0.7, 0.2]]


def test_one_prediction_comes_with_all_that_its_version_logged(tmp_path: Path) -> None:
    kept(tmp_path, logged([{"id": "a", "row": place, "age": place} for place in range(3)]), "w0")
    kept(tmp_path, logged([{"id": "a", "row": 9}]).with_columns(more=pl.lit("x")), "w1")
    assert find_one(tmp_path, "a", 2).row(0, named=True)["age"] == 2
    assert find_one(tmp_path, "a", 9).row(0, named=True)["more"] == "x"
    assert "more" not in find_one(tmp_path, "a", 1).columns
    assert find_one(tmp_path, "a", 3).height == 0


def test_every_label_that_was_told_is_listed_repeated_ones_once(tmp_path: Path) -> None:
    kept(tmp_path, logged([{}, {"id": "b"}]))
    when = int(START.replace(tzinfo=UTC).timestamp() * 1e6)
    tell(
        tmp_path,
        [
            label(said="yes", hours=1, key="k", comment="first"),
            label(said="yes", hours=2, key="k", comment="first"),
            label(id_="b", said="no", hours=2),
            label(id_="", said="no", hours=3, who="ben", entity="ann", time_us=when),
            label(id_="", said="no", hours=3, entity="bob", time_us=when),
            label(said="yes", hours=-30),
        ],
    )
    found = labels_of(tmp_path, find_one(tmp_path, "a", 0), entity=WHO, time=WHEN)
    assert found.select("label", "comment", "who", "by").rows() == [
        ("yes", "", "", "id"),
        ("yes", "first", "", "id"),
        ("no", "", "ben", "entity"),
    ]
    last = find(tmp_path, Wanted(id="a"), entity=WHO, time=WHEN).rows["label"].to_list()
    assert last == ["no"] == joined(tmp_path, entity=WHO, time=WHEN).rows.filter(id="a")["label"].to_list()


def test_labels_of_before_names_were_kept_are_nobodys(tmp_path: Path) -> None:
    kept(tmp_path, logged([{}]))
    tell(tmp_path, [label(said="yes", who="ann")])
    (file,) = (tmp_path / "feedback").rglob("*.parquet")
    pl.read_parquet(file).drop("who").write_parquet(file)
    assert labels_of(tmp_path, find_one(tmp_path, "a", 0), entity=WHO, time=WHEN)["who"].to_list() == [""]
    tell(tmp_path, [label(said="no", hours=2, who="ben")])
    assert labels_of(tmp_path, find_one(tmp_path, "a", 0), entity=WHO, time=WHEN)["who"].to_list() == ["", "ben"]


# --- searches that would take too long ------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [Wanted(id="00"), Wanted(id="00", labelled=False)], ids=["by_id", "by_label"])
def test_a_search_that_runs_out_of_time_says_how_far_it_came_and_goes_on(tmp_path: Path, wanted: Wanted) -> None:
    days = [START + timedelta(days=day) for day in range(12)]
    kept(tmp_path, logged([{"id": f"{place:02}", "at": at} for place, at in enumerate(days)]))
    reached, found, came = None, None, []
    while found is None or found.reached is not None:
        found = find(tmp_path, wanted, before=reached, budget_s=-1.0)
        reached = found.reached
        came.append(reached)
        assert found.rows.height == (reached is None)
    assert keys(found) == [("00", 0)]
    ends = [place.at_us for place in came if place is not None]
    assert ends
    assert ends == sorted(set(ends), reverse=True)


def test_newer_rows_do_not_move_a_page(tmp_path: Path) -> None:
    kept(tmp_path, logged([{"id": f"{place:03}", "at": START + timedelta(minutes=place)} for place in range(90)]), "w0")
    first = find(tmp_path, Wanted(), count=30)
    second = find(tmp_path, Wanted(), before=place_of(first, -1), count=30)
    kept(tmp_path, logged([{"id": "new", "at": START + timedelta(days=3)}]), "w1")
    assert keys(find(tmp_path, Wanted(), before=place_of(first, -1), count=30)) == keys(second)
    assert keys(find(tmp_path, Wanted(), count=30))[0] == ("new", 0)
    assert read_feedback(tmp_path).received == 0


def test_the_rows_of_one_request_turn_without_a_gap(tmp_path: Path) -> None:
    kept(tmp_path, logged([{"id": "many", "row": place} for place in range(7)]))
    pages = [find(tmp_path, Wanted(), count=3)]
    while pages[-1].more:
        pages.append(find(tmp_path, Wanted(), before=place_of(pages[-1], -1), count=3))
    assert [row for page in pages for _, row in keys(page)] == [6, 5, 4, 3, 2, 1, 0]
    assert keys(find(tmp_path, Wanted(), after=place_of(pages[1], 0), count=3)) == keys(pages[0])

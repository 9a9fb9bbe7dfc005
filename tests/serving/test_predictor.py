"""A bundle at work: batches of any make-up, what rows may lack, whose past a row is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy import assembly
from roadworthy.errors import DataError
from roadworthy.formats.bundle import OpenBundle
from roadworthy.serving.predictor import BundlePredictor

CELLS = {
    "device": st.sampled_from(["phone", "desktop", "toaster", None]),
    "clicks": st.sampled_from([0, 3, 50, None]),
    "impressions": st.sampled_from([1, 10, 0]),
    "position": st.sampled_from([1, 5, 9, None]),
    "dwell_seconds": st.sampled_from([0.0, 31.5, -1.0, None]),
}


@pytest.fixture(scope="module")
def bundle(finished: Path) -> Iterator[OpenBundle]:
    with assembly.opened_bundle(assembly.open_project(finished), "latest") as (_, found):
        yield found


@pytest.fixture(scope="module")
def model(finished: Path, bundle: OpenBundle) -> BundlePredictor:
    return assembly.predictor(assembly.open_project(finished), bundle)


def frame(rows: Sequence[dict[str, Any]], **more: object) -> pl.DataFrame:
    types = {"device": pl.String, "clicks": pl.Int64, "impressions": pl.Int64, "position": pl.Int64}
    read = pl.DataFrame(rows, schema={**types, "dwell_seconds": pl.Float64})
    return read.with_columns(age_band=pl.lit("30-44"), campaign=pl.lit("brand"), **more)  # type: ignore[arg-type]  # literals


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=12))
def test_a_score_does_not_depend_on_which_rows_came_with_it(model: BundlePredictor, rows: list[dict[str, Any]]) -> None:
    whole = model.answer(frame(rows))
    assert whole.decisions is not None
    for place, row in enumerate(rows):
        alone = model.answer(frame([row]))
        assert alone.decisions is not None
        assert alone.problems.to_list() == whole.problems[place : place + 1].to_list()
        np.testing.assert_allclose(alone.scores, whole.scores[place : place + 1], rtol=1e-6)
        assert alone.decisions.to_list() == whole.decisions[place : place + 1].to_list()
        bad = row["clicks"] is None or row["impressions"] == 0 or row["device"] == "toaster"
        bad = bad or row["position"] == 9 or row["dwell_seconds"] == -1.0 or (row["clicks"] or 0) > row["impressions"]
        assert (whole.problems[place] is not None) == bad
        assert bool(np.isnan(whole.scores[place])) == bad
        assert (whole.decisions[place] is None) == bad


def test_without_a_key_personal_columns_are_dropped(bundle: OpenBundle, model: BundlePredictor) -> None:
    rows = frame([{"device": "phone", "clicks": 3, "impressions": 10}], user_id=pl.lit("u1"))
    table, problems = BundlePredictor(bundle).prepare(rows)
    assert (table["user_id"].to_list(), problems.to_list()) == ([None], [None])
    hidden = model.prepare(rows)[0]["user_id"].item()
    assert hidden not in {None, "u1"}


def test_columns_that_no_answer_depends_on_are_not_read(model: BundlePredictor) -> None:
    taken = ["device", "age_band", "campaign", "position", "impressions", "clicks", "dwell_seconds"]
    past = ["timestamp", "user_id", "converted"]
    assert model.read_columns(["more", *taken, *past]) == [*taken, *past]
    assert model.read_columns(["more", *taken[1:]]) == ["more", *taken[1:]], "for the refusal to name what may be meant"
    assert model.optional == {*past}
    assert model.whose_past == {"timestamp", "user_id"}


def test_aggregates_are_given_whole_or_not_at_all(model: BundlePredictor) -> None:
    rows = frame([{"device": "phone", "clicks": 3, "impressions": 10}] * 3, timestamp=pl.lit(None))
    given = rows.with_columns(time_since_last_click=pl.Series(["60", None, "x"]))
    table, problems = model.prepare(given)
    assert table["time_since_last_click"].to_list() == [60.0, None, None]
    assert problems.to_list() == [None, None, ["time_since_last_click: not a number"]]


def test_problems_of_row_and_aggregate_stand_together(model: BundlePredictor) -> None:
    rows = frame([{"device": "phone", "clicks": None, "impressions": 10}, {"clicks": 1, "impressions": 1}])
    table, problems = model.prepare(rows.with_columns(time_since_last_click=pl.lit("soon")))
    assert table.height == 2
    assert problems.to_list() == [
        ["clicks: missing", "time_since_last_click: not a number"],
        ["time_since_last_click: not a number"],
    ]


def test_only_rows_that_training_would_have_kept_are_anybodys_past(model: BundlePredictor) -> None:
    """The second row clicks, but it breaks a rule; the third has a target that is none; the fourth sees the first."""
    rows = frame(
        [{"device": "phone", "clicks": clicks, "impressions": 10} for clicks in (3, 99, 4, 5)],
        user_id=pl.lit("u1"),
        timestamp=pl.Series(
            ["2026-01-01T10:00:00", "2026-01-01T10:01:00", "2026-01-01T10:02:00", "2026-01-01T11:00:00"]
        ),
        converted=pl.Series([1, 0, 7, 0]),
    )
    table, problems = model.prepare(rows)
    assert [found is None for found in problems.to_list()] == [True, False, True, True], (
        "a target is no live row's fault"
    )
    assert table["time_since_last_click"].to_list() == [None, 60.0, 120.0, 3600.0]
    past = model.past(rows)
    assert past["clicks"].to_list() == [3, 5]
    later = model.prepare(rows[3:].with_columns(timestamp=pl.lit("2026-01-01T12:00:00")), past)[0]
    assert later["time_since_last_click"].to_list() == [3600.0]


def test_a_history_must_have_what_the_features_read(model: BundlePredictor) -> None:
    with pytest.raises(DataError, match="'timestamp' is not in the data"):
        model.past(frame([{"clicks": 1, "impressions": 1}], user_id=pl.lit("u1")))


def test_no_rows_have_no_answers(model: BundlePredictor) -> None:
    answers = model.answer(frame([]))
    assert (len(answers.scores), len(answers.problems)) == (0, 0)
    assert answers.decisions is not None
    assert answers.decisions.is_empty()

"""``predict``: what a row may lack, what it may bring, and what is never said."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from roadworthy import api, assembly
from roadworthy.errors import DataError, RegistryError, RoadworthyError, UnknownName

ROW: dict[str, Any] = {
    "timestamp": "2026-01-20T18:30:00",
    "user_id": "u0000017",
    "device": "phone",
    "age_band": "30-44",
    "campaign": "retarget",
    "position": 1,
    "impressions": 10,
    "clicks": 6,
    "dwell_seconds": 31.5,
}


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in ROW.items() if name not in names}


def past_notes(answer: api.Prediction) -> list[str]:
    """What was said about the past; that the version is not proven is said each time."""
    assert answer.notes[0].startswith("clicks-1 is not proven: ")
    return list(answer.notes[1:])


@pytest.fixture
def history(clicks: pl.DataFrame) -> pl.DataFrame:
    """The rows of one user, the last of them an hour before the row."""
    mine = clicks.filter(pl.col("clicks") > 0).head(3)
    times = [datetime(2026, 1, 19, 12), datetime(2026, 1, 20, 17, 30), datetime(2026, 1, 20, 17, 30)]  # noqa: DTZ001 - as the log has them
    return mine.with_columns(user_id=pl.lit("u0000017"), timestamp=pl.Series(times).cast(pl.Datetime("us")))


def test_the_answer_adds_up(finished: Path) -> None:
    answer = api.predict(ROW, finished)
    assert answer.version == "clicks-1"
    assert answer.score is not None
    assert answer.threshold is not None
    assert answer.scores == {"0": 1 - answer.score, "1": answer.score}
    assert answer.decision == ("1" if answer.score >= answer.threshold else "0")
    assert past_notes(answer) == [
        "no past was given, so time_since_last_click is taken as that of a first row (--history gives one)"
    ]


def test_the_past_may_be_a_path_a_frame_or_the_value_itself(finished: Path, tmp_path: Path, history: Any) -> None:
    history.write_parquet(tmp_path / "past.parquet")
    first = api.predict(ROW, finished)
    answers = [
        api.predict(ROW, finished, history=history),
        api.predict(ROW, finished, history=history.to_pandas()),
        api.predict(ROW, finished, history=tmp_path / "past.parquet"),
        api.predict(ROW, finished, history=str(tmp_path / "past.parquet")),
        api.predict({**ROW, "time_since_last_click": 3600}, finished),
        api.predict({**without("user_id", "timestamp"), "time_since_last_click": "3600.0"}, finished),
    ]
    assert all(answer == answers[0] for answer in answers[1:])
    assert past_notes(answers[0]) == []
    assert answers[0].score != first.score


def test_a_history_starts_at_the_working_directory(
    finished: Path, tmp_path: Path, history: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.write_csv(tmp_path / "past.csv")
    monkeypatch.chdir(tmp_path)
    assert past_notes(api.predict(ROW, finished, history="past.csv")) == []


def test_a_history_may_lack_what_no_feature_reads_but_not_what_one_does(finished: Path, history: Any) -> None:
    few = history.select("timestamp", "user_id", "clicks")
    assert api.predict(ROW, finished, history=few) == api.predict(ROW, finished, history=history)
    with pytest.raises(DataError, match="column 'user_id' is not in the data"):
        api.predict(ROW, finished, history=few.drop("user_id"))


def test_rows_of_the_past_that_training_would_not_keep_are_left_out(finished: Path, history: Any) -> None:
    odd = history[:1].with_columns(timestamp=pl.lit("2026-01-20T18:29:00").str.to_datetime("%FT%T"), clicks=pl.lit(99))
    more = pl.concat([history, odd], how="vertical_relaxed")
    assert (more["clicks"] > more["impressions"]).any()
    assert api.predict(ROW, finished, history=more) == api.predict(ROW, finished, history=history)


def test_what_the_model_does_not_take_may_lack(finished: Path, history: Any) -> None:
    """Time and entity only serve the past; without them it is missing, and a note says so."""
    answer = api.predict(without("user_id"), finished, history=history)
    assert past_notes(answer) == ["the row has no user_id, so time_since_last_click is missing"]
    assert answer.score == api.predict(without("user_id", "timestamp"), finished).score
    missing = api.predict({**ROW, "time_since_last_click": None}, finished)
    assert missing.score == answer.score
    assert past_notes(missing) == []


def test_every_problem_of_a_row_comes_at_once(finished: Path) -> None:
    with pytest.raises(DataError) as caught:
        api.predict({**ROW, "device": "toaster", "clicks": "many", "position": 9}, finished)
    assert sorted(problem.found for problem in caught.value.problems) == [
        "clicks: not a number",
        "device: not an allowed category",
        "position: above 5",
    ]
    with pytest.raises(DataError) as caught:
        api.predict(without("device", "clicks"), finished)
    assert [problem.where for problem in caught.value.problems] == ["device", "clicks"]
    with pytest.raises(DataError, match="unknown field 'devise'"):
        api.predict({**ROW, "devise": "phone"}, finished)


@pytest.mark.parametrize("given", ["soon", float("inf"), "1e999"])
def test_an_aggregate_that_is_no_number_is_a_problem_of_the_row(finished: Path, given: object) -> None:
    with pytest.raises(DataError) as caught:
        api.predict({**ROW, "clicks": None, "time_since_last_click": given}, finished)
    found = [problem.found for problem in caught.value.problems]
    assert found[0] == "clicks: missing"
    assert found[1].startswith("time_since_last_click: ")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (10**40, "a whole number of 133 bits"),
        (-(2**127), "a whole number of 128 bits"),
        (Decimal("1" * 39), "a decimal number of more than 38 digits"),
        ([1], "a list"),
        ({"a": 1}, "an object"),
        (b"private", "a bytes"),
        ("\ud800", "a text with half a surrogate pair"),
    ],
)
def test_a_value_that_is_no_cell_is_named_by_its_field_and_not_shown(finished: Path, given: object, found: str) -> None:
    for field in ("clicks", "user_id", "time_since_last_click"):
        with pytest.raises(DataError, match="cannot be read") as caught:
            api.predict({**ROW, field: given, "device": []}, finished)
        said = {problem.where: problem.found for problem in caught.value.problems}
        assert said == {field: found, "device": "a list"}
        assert "private" not in str(caught.value)


@pytest.mark.parametrize("given", [31, Decimal("31.5"), np.int8(31), np.float32(31.5), True])
def test_numbers_of_every_kind_are_answered(finished: Path, given: object) -> None:
    assert api.predict({**ROW, "dwell_seconds": given}, finished).score is not None


def test_part_of_the_aggregates_is_not_enough(visits: Any) -> None:
    with pytest.raises(DataError, match="give all features that look at the past, or none"):
        api.predict({**ROW, "visits": 3}, visits.folder)


def test_a_personal_value_is_hashed_and_never_said(finished: Path, history: Any) -> None:
    secret = "u-very-private"  # noqa: S105 - a made-up name
    for row in ({**ROW, "user_id": secret}, {**ROW, "user_id": secret, "clicks": "x"}, {**ROW, "user_id": [secret]}):
        try:
            said = str(api.predict(row, finished, history=history))
        except RoadworthyError as error:
            said = str(error)
        assert secret not in said
    opened = assembly.open_project(finished)
    with assembly.opened_bundle(opened, "latest") as (_, bundle):
        model = assembly.predictor(opened, bundle)
        table, _ = model.prepare(pl.DataFrame([{**ROW, "user_id": secret}]))
    assert table["user_id"].item() not in {secret, None}


def test_versions_are_named(finished: Path) -> None:
    assert api.predict(ROW, finished, version="1").version == "clicks-1"
    with pytest.raises(RegistryError, match="no champion yet"):
        api.predict(ROW, finished, version="champion")
    with pytest.raises(RegistryError, match="no version 7; there are: 1"):
        api.predict(ROW, finished, version="7")
    with pytest.raises(UnknownName, match="unknown version 'newest'"):
        api.predict(ROW, finished, version="newest")


def test_any_onnx_file_is_traced(wine: Any) -> None:
    row = wine.raw.drop("kind").row(0, named=True)
    own = api.trace(row, wine.folder)
    labels = next(layer.labels for layer in own.layers if layer.kind == "decision")
    assert set(wine.classes) <= set(labels) or labels == ()
    with pytest.raises(RoadworthyError):
        api.trace({"alcohol": 1.0}, model=wine.model)

"""``rw.estimate``: quality of new rows before their labels come, on plain tables."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from roadworthy.api.estimating import Estimate, estimate
from roadworthy.errors import DataError, UnknownName, UsageError
from roadworthy.measures.charts.estimated import estimated as drawn
from roadworthy.records.evidence import Exhibit


def table(seed: int, rows: int, shift: float = 0.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(shift, 1, rows)
    bought = rng.random(rows) < 1 / (1 + np.exp(-1.5 * x))
    return pl.DataFrame(
        {
            "at": np.arange(rows)[::-1],
            "x": x,
            "device": rng.choice(["ios", "web"], rows),
            "chance": 1 / (1 + np.exp(-2 * x)),
            "bought": np.where(bought, "yes", "no"),
        }
    )


def ask(current: pl.DataFrame, **options: Any) -> Estimate:
    given: dict[str, Any] = {
        "target": "bought",
        "score": "chance",
        "metrics": ["accuracy", "recall"],
        "weighted": False,
    } | options
    return estimate(table(1, 1_500), current, **given)


@cache
def found() -> Estimate:
    return ask(table(2, 1_200, 0.3), time="at", rows_per_window=300)


def test_a_table_a_text_and_a_picture() -> None:
    frame = found().to_frame()
    assert frame.height == 8
    assert frame["window"].to_list() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert frame["rows"].unique().to_list() == [300]
    held = frame.filter(pl.col("realised").is_between("lower", "upper")).height
    assert held >= 6
    assert frame["method"].str.starts_with("estimated: ").all()
    text = str(found())
    assert text.startswith(
        "1,200 rows in 4 windows, from 1,500 labelled rows; each band holds the realised value in 95%"
    )
    assert "window 0 (300 rows): accuracy 0." in text
    assert ", realised 0." in text
    assert "missed least on the reference" in text
    page = found()._repr_html_()
    assert page.count("<svg ") == 1
    assert "estimated" in page
    assert "realised" in page


def test_labels_of_new_rows_never_move_an_estimate() -> None:
    current = table(2, 1_200, 0.3)
    without = ask(current.drop("bought"), time="at", rows_per_window=300).to_frame()
    other = ask(current.with_columns(bought=pl.lit("no")), time="at", rows_per_window=300).to_frame()
    for column in ("estimate", "lower", "upper"):
        assert without[column].equals(found().to_frame()[column])
        assert other[column].equals(without[column])
    assert without["realised"].null_count() == 8


def test_some_labels_are_joined() -> None:
    current = table(3, 600).with_columns(
        bought=pl.when(pl.int_range(pl.len()) % 5 == 0).then("bought").otherwise(pl.lit(None))
    )
    frame = ask(current, rows_per_window=600).to_frame()
    assert frame["labels"].to_list() == [120, 120]
    assert frame["method"].unique().to_list() == ["estimated: prediction-powered inference"]


def test_frames_of_pandas_and_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "now.parquet"
    table(2, 1_200, 0.3).write_parquet(path)
    frame = table(1, 1_500).to_pandas()
    options: dict[str, Any] = {
        "target": "bought",
        "score": "chance",
        "metrics": ["accuracy", "recall"],
        "weighted": False,
    }
    again = estimate(frame, path, **options, time="at", rows_per_window=300)
    assert again.to_frame()["estimate"].to_list() == found().to_frame()["estimate"].to_list()


def test_numbers_and_classes() -> None:
    rng = np.random.default_rng(4)

    def amounts(rows: int) -> pl.DataFrame:
        x = rng.normal(size=rows)
        return pl.DataFrame({"x": x, "guess": 2 * x, "price": 2 * x + rng.normal(size=rows) * np.exp(x / 2)})

    numbers = estimate(amounts(1_000), amounts(400), target="price", score="guess", metrics=["mae"], weighted=False)
    assert numbers.to_frame()["method"].unique().to_list() == ["estimated: DLE"]

    def kinds(rows: int) -> pl.DataFrame:
        chance: NDArray[np.float64] = rng.dirichlet([1, 1, 1], rows)
        y = ["abc"[rng.choice(3, p=row)] for row in chance]
        return pl.DataFrame({"p_a": chance[:, 0], "p_b": chance[:, 1], "p_c": chance[:, 2], "kind": y})

    many = estimate(
        kinds(800), kinds(400), target="kind", score={"a": "p_a", "b": "p_b", "c": "p_c"}, metrics=["accuracy"],
        rows_per_window=400, weighted=False,
    )  # fmt: skip
    row = many.rows_as_dicts()[0]
    assert row["lower"] <= row["realised"] <= row["upper"]


def test_what_cannot_be_used_says_so() -> None:
    current = table(2, 400)
    with pytest.raises(UnknownName, match="score"):
        ask(current, score="score")
    with pytest.raises(UnknownName, match="when"):
        ask(current, time="when")
    with pytest.raises(UnknownName):
        ask(current, metrics=["acuracy"])
    with pytest.raises(UsageError, match="band 2 is out of range"):
        ask(current, band=2)
    with pytest.raises(DataError, match="at least 200 labelled rows, found 100"):
        estimate(table(1, 100), current, target="bought", score="chance")
    holes = table(1, 500).with_columns(bought=pl.when(pl.int_range(pl.len()) > 3).then("bought"))
    with pytest.raises(DataError, match="4 rows of the reference have no bought"):
        estimate(holes, current, target="bought", score="chance")


def test_a_window_that_cannot_be_told_is_a_gap() -> None:
    alien = table(2, 300).with_columns(device=pl.lit("fridge"))
    shown = ask(pl.concat([table(5, 300), alien, table(6, 300)]), rows_per_window=300)
    rows = [row for row in shown.rows_as_dicts() if row["metric"] == "recall"]
    assert [row["estimate"] is None for row in rows] == [False, True, False]
    assert "cannot be told: cannot estimate: 100% of the rows have a device" in str(shown)
    chart = drawn(shown.exhibits()[0])
    assert chart is not None
    areas = [layer for layer in chart.to_dict()["layer"] if layer["mark"]["type"] == "area"]
    assert len(areas) == 2
    assert drawn(Exhibit(name="estimated:recall", title="", columns={"window": [], "estimate": []})) is None

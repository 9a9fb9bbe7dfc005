"""``rw.compare``: two tables, sentences, a table, a picture; whatever they hold."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import polars as pl
import pytest

from roadworthy.api.comparing import Comparison, compare
from roadworthy.errors import UnknownName
from roadworthy.measures.charts import to_svg
from roadworthy.measures.drift.telling_apart import told_apart
from roadworthy.records.shift import ShiftKind

START = datetime(2024, 1, 1, tzinfo=UTC)


def people(rows: int, seed: int, *, older: float = 0.0, ios: float = 0.31, together: float = 0.6) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x, noise = rng.normal(size=(2, rows))
    return pl.DataFrame(
        {
            "age": np.round(40 + 12 * (x + older)),
            "income": np.exp(10 + together * x + np.sqrt(1 - together**2) * noise),
            "device": rng.choice(["ios", "web", "<b>tv</b>"], rows, p=[ios, 0.8 - ios, 0.2]),
            "member": rng.random(rows) < 0.3,
            "user": [f"user {number}" for number in rng.integers(0, 10**9, rows)],
        }
    )


def subjects(found: Comparison) -> set[str]:
    return {one.subject for one in found.changed}


def test_what_changed_comes_first_and_what_did_not_is_quiet() -> None:
    found = compare(people(5_000, 0), people(2_000, 1, older=0.6, ios=0.04, together=0.0))
    assert subjects(found) == {"age", "device", "age × income"}
    assert found.shifts[: len(found.changed)] == found.changed
    said = str(found)
    assert said.startswith("2,000 rows beside 5,000 of the reference: 3 changed, ")
    assert re.search(r"\n- device = ios fell from 29 % to 4 % \(p < 1e-99, effect 0.3\d\)", said)
    same = compare(people(5_000, 0), people(2_000, 2))
    assert not [one for one in same.shifts if same.word(one) in {"changed", "changed a little"}]


def test_table_and_picture() -> None:
    found = compare(people(5_000, 0), people(2_000, 1, older=0.6, ios=0.04))
    table = found.to_frame()
    assert table.columns == ["subject", "kind", "word", "p", "effect", "n", "reference_n", "sentence"]
    assert table.height == len(found.shifts)
    chart = found.chart()
    assert chart is not None
    drawing = to_svg(chart)
    ET.fromstring(drawing)  # noqa: S314 - our own drawing
    assert ">web<" in drawing
    shown = found._repr_html_()
    assert "<svg" in shown
    assert "<b>tv" not in shown


def test_pandas_and_files_give_the_same(tmp_path: Path) -> None:
    old, new = people(2_000, 0), people(500, 1, older=0.6)
    old.write_parquet(tmp_path / "old.parquet")
    new.write_parquet(tmp_path / "new.parquet")
    expected = compare(old, new).shifts
    assert compare(tmp_path / "old.parquet", str(tmp_path / "new.parquet")).shifts == expected
    assert compare(old.to_pandas(), new.to_pandas()).shifts == expected


def awkward(rows: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "infinite": np.where(rng.random(rows) < 0.02, np.inf, rng.normal(size=rows)),
            "nan": np.where(rng.random(rows) < 0.02, np.nan, rng.normal(size=rows)),
            "constant": np.ones(rows),
            "none": pl.Series([None] * rows, dtype=pl.Null),
            "huge": np.full(rows, 1e308) * rng.choice([-1, 1], rows),
            "when": [START + timedelta(minutes=int(minute)) for minute in rng.integers(0, 10**6, rows)],
            "day": [START.date() + timedelta(days=int(day)) for day in rng.integers(0, 900, rows)],
            "long": [timedelta(seconds=int(second)) for second in rng.integers(0, 900, rows)],
            "kind": pl.Series(rng.choice(["a", "b"], rows)).cast(pl.Categorical),
            "empty text": rng.choice(["", " ", "x"], rows),
            "nested": pl.Series([[1, 2]] * rows, dtype=pl.List(pl.Int64)),
            "whole": pl.Series(rng.integers(0, 5, rows), dtype=pl.Int8),
        }
    )


def test_awkward_columns_are_compared_or_named() -> None:
    found = compare(awkward(3_000, 0), awkward(1_000, 1))
    assert {one.subject for one in found.shifts if one.error} == {"nested"}
    assert not found.changed
    broken = awkward(1_000, 1).with_columns(
        pl.lit(-np.inf).alias("infinite"), pl.lit("text").alias("whole"), pl.lit(2.0).alias("constant")
    )
    found = compare(awkward(3_000, 0), broken.drop("nan").with_columns(more=1))
    errors = {one.subject: one.error for one in found.shifts if one.error}
    assert errors["whole"] == "the reference holds numbers, the current rows labels"
    assert errors["nan"] == "the current rows have no such column"
    assert errors["more"] == "the reference rows have no such column"
    assert {"infinite", "constant"} <= subjects(found)


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_next_to_no_rows(rows: int) -> None:
    for pair in ((awkward(1_000, 0), awkward(rows, 1)), (awkward(rows, 1), awkward(1_000, 0))):
        found = compare(*pair)
        assert not found.changed
        assert str(found)
        found._repr_html_()
    assert compare(people(100, 0).to_pandas(), people(3, 1).to_pandas().head(rows)).rows == rows


def test_five_hundred_columns() -> None:
    rng = np.random.default_rng(0)
    wide = pl.DataFrame(rng.normal(size=(1_500, 500)), schema=[f"c{index}" for index in range(500)])
    found = compare(wide.head(1_000), wide.tail(500).with_columns(pl.col("c7") + 2))
    assert subjects(found) == {"c7"}


def test_columns_hidden_ones_and_rows_that_are_not_independent() -> None:
    old, new = people(3_000, 0), people(1_000, 1, older=0.6, ios=0.04)
    found = compare(old, new, columns=["age", "device"], hidden=["device"])
    assert [one.kind for one in found.shifts if one.subject == "device"] == [ShiftKind.MISSING]
    with pytest.raises(UnknownName, match="did you mean 'age'"):
        compare(old, new, columns=["aeg"])
    rng = np.random.default_rng(3)
    days = pl.DataFrame({"day": np.repeat(np.arange(100), 200)})
    days = days.with_columns(x=pl.Series(np.repeat(rng.normal(size=100), 200) + rng.normal(size=20_000)))
    today = pl.DataFrame({"day": [100] * 200, "x": rng.normal(size=200) + 0.8})
    assert subjects(compare(days, today, columns=["x"])) == {"x"}
    assert not compare(days, today, columns=["x"], time="day").changed


def parity(rows: int, seed: int, *, odd: bool) -> pl.DataFrame:
    """Three fair coins; with ``odd``, the third is fixed by the other two, and still no two go together."""
    coins = np.random.default_rng(seed).integers(0, 2, (rows, 3))
    if odd:
        coins[:, 2] = coins[:, 0] ^ coins[:, 1]
    return pl.DataFrame(coins, schema=["a", "b", "c"]).cast(pl.String)


def test_a_model_tells_apart_what_no_column_and_no_pair_shows() -> None:
    before, after = parity(4_000, 0, odd=False), parity(2_000, 1, odd=True)
    assert not compare(before, after).changed
    (found,) = compare(before, after, classifier=True).changed
    assert found.subject == "all columns"
    assert found.details["auc"] == pytest.approx(0.75, abs=0.03)
    assert "a model tells the current rows from the reference (AUC 0.7" in found.sentence
    few = compare(before.head(150), after, classifier=True)
    assert "150 rows; it takes 200" in {one.insufficient for one in few.shifts}


def test_a_model_does_not_tell_apart_what_is_alike() -> None:
    values = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        frame = pl.DataFrame(rng.normal(size=(900, 12)), schema=[f"c{index}" for index in range(12)])
        frame = frame.with_columns(label=pl.Series([f"l{value}" for value in rng.integers(0, 200, 900)]))
        values.append(told_apart(frame.head(600), frame.tail(300), seed=seed).p or 0.0)
    assert np.sum(np.array(values) <= 0.1) <= 10
    assert min(values) > 1e-4

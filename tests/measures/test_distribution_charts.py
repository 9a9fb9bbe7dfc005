"""Two sides of a column: shares that add up, quantiles as the rows have them, charts that draw what the table says."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.errors import DataError
from roadworthy.measures.charts.distributions import distribution, distribution_columns, distribution_words
from roadworthy.measures.charts.probabilities import ChancePoint, chance_columns, probabilities
from roadworthy.measures.charts.render import to_svg
from roadworthy.measures.sketched import histograms, label_shares, missing_share, quantile, spread
from roadworthy.measures.sketches import CategorySketch, NumberSketch, sketch, sketch_like

VALUES = st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(-5, 5).map(float)), min_size=1, max_size=60)
WORDS = st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "c", "(missing)", "", "<b>x</b>"])), max_size=60)


def numbers(old: Sequence[float | None], new: Sequence[float | None]) -> tuple[NumberSketch, NumberSketch]:
    before = pl.DataFrame({"x": pl.Series(old, dtype=pl.Float64)})
    reference = sketch(before, ["x"])
    now = sketch_like(reference, pl.DataFrame({"x": pl.Series(new, dtype=pl.Float64)}))
    return reference.numbers["x"], now.numbers["x"]


def labels(old: Sequence[str | None], new: Sequence[str | None]) -> tuple[CategorySketch, CategorySketch]:
    reference = sketch(pl.DataFrame({"x": pl.Series(old, dtype=pl.String)}), ["x"])
    now = sketch_like(reference, pl.DataFrame({"x": pl.Series(new, dtype=pl.String)}))
    return reference.categories["x"], now.categories["x"]


@settings(max_examples=60, deadline=None)
@given(VALUES, VALUES)
def test_shares_of_numbers_add_up_on_either_side(old: list[float | None], new: list[float | None]) -> None:
    found = histograms(*numbers(old, new))
    if found is None:
        assert not any(value is not None for value in (*old, *new))
        return
    for place, (side, values) in enumerate(zip((found.old, found.new), (old, new), strict=True)):
        total = sum(side) + found.below[place] + found.above[place] + found.missing[place]
        assert total == pytest.approx(1.0, abs=1e-9)
        assert found.missing[place] == pytest.approx(values.count(None) / len(values))
        assert min(side) >= -1e-12
    assert list(found.bounds) == sorted(found.bounds)


@settings(max_examples=40, deadline=None)
@given(WORDS, WORDS)
def test_shares_of_labels_add_up_on_either_side(old: list[str | None], new: list[str | None]) -> None:
    found = label_shares(*labels(old, new), most=2)
    for place, (side, values) in enumerate(zip((found.old, found.new), (old, new), strict=True)):
        total = sum(side) + found.rest[place] + found.unlisted[place] + found.missing[place]
        assert total == pytest.approx(1.0 if values else 0.0)


def test_small_whole_numbers_have_a_bin_each_with_their_own_share() -> None:
    old, new = numbers([1.0] * 10 + [2.0] * 30 + [3.0] * 60, [2.0] * 50 + [7.0] * 50)
    found = histograms(old, new)
    assert found is not None
    assert found.whole
    at = {value: place for place, value in enumerate(found.bounds[:-1])}
    assert [found.old[at[value]] for value in (1.0, 2.0, 3.0)] == pytest.approx([0.1, 0.3, 0.6])
    assert found.new[at[2.0]] == pytest.approx(0.5)
    assert found.above == pytest.approx((0.0, 0.5))  # 7 is beyond the frame of the reference


def test_a_far_tail_does_not_take_the_room() -> None:
    values = np.random.default_rng(3).normal(size=4000).tolist()
    found = histograms(*numbers([*values, 1e9], values))
    assert found is not None
    assert found.bounds[-1] < 1e8
    assert found.above[0] > 0


def test_quantiles_and_moments_are_those_of_the_rows() -> None:
    values = np.random.default_rng(5).normal(10, 3, 5000)
    side, _ = numbers(values.tolist(), [None])
    for level in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert quantile(side, level) == pytest.approx(float(np.quantile(values, level)), abs=0.15)
    assert (quantile(side, 0.0), quantile(side, 1.0)) == (values.min(), values.max())
    assert spread(side) == pytest.approx(float(values.std(ddof=1)))
    nothing = numbers([1.0], [None])[1]
    assert (quantile(nothing, 0.5), spread(nothing), missing_share(nothing)) == (None, None, 1.0)


def test_other_frames_do_not_stand_beside_each_other() -> None:
    with pytest.raises(DataError):
        histograms(numbers([1.0, 2.0], [1.0])[0], numbers([3.0, 4.0], [1.0])[0])
    with pytest.raises(DataError):
        label_shares(labels(["a"] * 9, ["a"])[0], labels(["b"] * 9, ["a"])[0])


def test_the_chart_draws_every_label_and_what_is_new_and_missing() -> None:
    old, new = labels(["phone"] * 60 + ["tablet"] * 40, ["tablet"] * 50 + ["watch"] * 30 + [None] * 20)
    for width in (640, 300):
        svg = to_svg(distribution(old, new, "device", width=width))  # type: ignore[arg-type]
        told = re.sub(r"<[^>]+>", " ", svg)
        for word in (
            "phone",
            "tablet",
            "(not in the reference)",
            "(missing)",
            "60 %",
            "30 %",
            "20 %",
            "reference",
            "now",
        ):
            assert word in told
    columns = distribution_columns(old, new)
    assert columns["value"] == ["phone", "tablet", "(not in the reference)", "(missing)"]
    assert columns["share in the reference"] == [0.6, 0.4, 0.0, 0.0]
    assert columns["share now"] == [0.0, 0.5, 0.3, 0.2]
    assert "phone: 60 % in the reference, 0 % now" in distribution_words(old, new, "device")


def test_a_label_is_never_taken_for_one_of_ours() -> None:
    old, new = labels(["(missing)"] * 9 + [""] * 9, [None] * 9)
    assert distribution_columns(old, new)["value"] == ['"(missing)"', '""', "(missing)"]


def test_a_hidden_column_has_no_value_in_chart_or_table() -> None:
    rows = pl.DataFrame({"who": ["ann@example.org"] * 20 + [None] * 5})
    reference = sketch(rows, ["who"], hidden=["who"])
    now = sketch_like(reference, rows)
    old, new = reference.categories["who"], now.categories["who"]
    assert distribution_columns(old, new)["value"] == ["(there, never shown by value)", "(missing)"]
    assert "ann" not in to_svg(distribution(old, new, "who", width=300))  # type: ignore[arg-type]


def test_times_are_drawn_as_dates() -> None:
    hours = pl.Series("at", [1_767_225_600_000_000 + hour * 3_600_000_000 for hour in range(24 * 60)])
    days = hours.cast(pl.Datetime("us"))  # from 2026-01-01 on
    reference = sketch(days.to_frame(), ["at"])
    old = reference.numbers["at"]
    assert "Feb" in to_svg(distribution(old, old, "at", width=640, time=True))  # type: ignore[arg-type]
    assert str(distribution_columns(old, old, time=True)["value"][0]).startswith("2026-01-01")


def test_nothing_is_drawn_where_there_is_no_value() -> None:
    old, new = numbers([None], [None])
    assert distribution(old, new, "x", width=300) is None
    assert distribution_columns(old, new) == {}
    assert distribution_words(old, new, "x") == "x: nothing to draw"
    assert probabilities([], width=300) is None


def test_probabilities_are_drawn_with_their_level_and_told_apart_by_shape() -> None:
    hour = 3_600_000_000
    points = [
        ChancePoint(start_us=place * hour, end_us=(place + 1) * hour, p=p, level=1e-6, beyond=p < 1e-6)
        for place, p in enumerate([1.0, 0.3, 1e-12, 1e-300])
    ]
    svg = to_svg(probabilities(points, width=330))  # type: ignore[arg-type]
    assert "proven" in svg
    assert "within chance" in svg
    assert "NaN" not in svg
    assert chance_columns(points)["p"] == ["1", "0.3", "1e-12", "< 1e-99"]
    assert chance_columns(points)["proven"] == [False, False, True, True]

from __future__ import annotations

from datetime import datetime

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.errors import DataError
from roadworthy.measures.calibrators import fit_calibrators
from roadworthy.measures.joint import restricted
from roadworthy.measures.sketches import (
    BINS,
    LABELS,
    Reference,
    merge,
    sketch,
    sketch_batches,
    sketch_like,
    sketch_scores,
)

NUMBERS = st.one_of(st.none(), st.floats(-1e9, 1e9), st.sampled_from([0.0, 1.0, 2.0]))
LABEL = st.one_of(st.none(), st.sampled_from(["a", "b", "c", "new"]))
ROWS = st.lists(st.tuples(NUMBERS, LABEL, st.one_of(st.none(), st.booleans())), max_size=40)


def table(rows: list[tuple[float | None, str | None, bool | None]]) -> pl.DataFrame:
    return pl.DataFrame(
        {"x": [row[0] for row in rows], "c": [row[1] for row in rows], "b": [row[2] for row in rows]},
        schema={"x": pl.Float64, "c": pl.String, "b": pl.Boolean},
    )


BASE = sketch(
    pl.DataFrame(
        {
            "x": np.linspace(-100, 100, 400).tolist(),
            "c": ["a", "b", "c", "a"] * 100,
            "b": [True, False] * 200,
        }
    ),
    ["x", "c", "b"],
    together=["x", "c", "b"],
)


def assert_equal(left: Reference, right: Reference) -> None:
    assert left.rows == right.rows
    assert left.joint == right.joint
    assert left.categories == right.categories
    assert list(left.numbers) == list(right.numbers)
    for name, one in left.numbers.items():
        other = right.numbers[name]
        assert (one.edges, one.counts, one.count, one.missing) == (
            other.edges,
            other.counts,
            other.count,
            other.missing,
        )
        assert (one.lowest, one.highest) == (other.lowest, other.highest)
        scale = max(abs(one.lowest or 0), abs(one.highest or 0), 1e-9)
        assert one.mean == pytest.approx(other.mean, rel=1e-9, abs=1e-9 * scale)
        assert one.m2 == pytest.approx(other.m2, rel=1e-7, abs=1e-7 * scale**2)


@settings(max_examples=60, deadline=None)
@given(ROWS, ROWS, ROWS)
def test_merging_is_the_sketch_of_the_union_in_any_order(
    first: list[tuple[float | None, str | None, bool | None]],
    second: list[tuple[float | None, str | None, bool | None]],
    third: list[tuple[float | None, str | None, bool | None]],
) -> None:
    a, b, c = (sketch_like(BASE, table(part)) for part in (first, second, third))
    union = sketch_like(BASE, table(first + second + third))
    assert_equal(merge(merge(a, b), c), union)
    assert_equal(merge(a, merge(b, c)), union)
    assert_equal(merge(merge(c, b), a), union)


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_every_row_is_counted_once(rows: list[tuple[float | None, str | None, bool | None]]) -> None:
    found = sketch(table(rows), ["x", "c", "b"])
    assert found.rows == len(rows)
    for number in found.numbers.values():
        assert sum(number.counts) == number.count
        assert number.count + number.missing == len(rows)
        assert number.counts[0] == number.counts[-1] == 0  # on its own rows, nothing is outside
        assert all(low < high for low, high in zip(number.edges, number.edges[1:], strict=False))
    for category in found.categories.values():
        assert sum(category.counts) + category.other + category.missing == len(rows)


def test_bins_hold_about_as_many_rows_each_and_outside_is_seen() -> None:
    values = np.random.default_rng(0).lognormal(size=6400)
    number = sketch(pl.DataFrame({"x": values}), ["x"]).numbers["x"]
    assert len(number.edges) == BINS + 1
    inside = np.array(number.counts[1:-1])
    assert inside.min() >= 180
    assert inside.max() <= 220
    other = sketch_like(
        sketch(pl.DataFrame({"x": values}), ["x"]), pl.DataFrame({"x": [-1.0, float(values.max()) * 2, 1.0]})
    ).numbers["x"]
    assert other.counts[0] == 1
    assert other.counts[-1] == 1
    assert number.mean == pytest.approx(values.mean())
    assert number.m2 / number.count == pytest.approx(values.var())


def test_size_is_bounded_and_rare_labels_are_not_listed() -> None:
    labels = [f"l{index}" for index in range(500) for _ in range(6)] + ["secret"] * 4
    found = sketch(pl.DataFrame({"c": labels, "x": range(len(labels))}), ["c", "x"])
    assert len(found.categories["c"].labels) == LABELS
    assert found.categories["c"].other == 3004 - LABELS * 6
    text = msgspec.json.encode(found)
    assert b"secret" not in text
    assert len(text) < 10_000
    assert msgspec.json.decode(text, type=Reference) == found


def test_hidden_columns_are_counted_but_never_shown() -> None:
    frame = pl.DataFrame({"user": ["ann@example.org"] * 9 + [None], "age": [44_321] * 10})
    found = sketch(frame, ["user", "age"], hidden=["user", "age"])
    text = msgspec.json.encode(found)
    assert b"ann" not in text
    assert b"44321" not in text
    assert found.categories["user"].missing == 1
    assert found.categories["user"].other == 9
    assert not found.numbers


def test_times_are_sketched_in_seconds() -> None:
    frame = pl.DataFrame({"at": [datetime(1970, 1, 1, 0, 0, second) for second in range(10)]})  # noqa: DTZ001 - clean times carry no zone
    number = sketch(frame, ["at"]).numbers["at"]
    assert (number.lowest, number.highest) == (0.0, 9.0)


def test_frames_that_differ_do_not_merge() -> None:
    one = sketch(pl.DataFrame({"x": [1.0, 2.0]}), ["x"])
    with pytest.raises(DataError, match="different edges"):
        merge(one, sketch(pl.DataFrame({"x": [1.0, 3.0]}), ["x"]))
    with pytest.raises(DataError, match="different columns"):
        merge(one, sketch(pl.DataFrame({"y": [1.0, 2.0]}), ["y"]))
    with pytest.raises(DataError, match="lack columns of the reference: x"):
        sketch_like(one, pl.DataFrame({"y": [1.0]}))


def test_scores_are_sketched_by_column() -> None:
    scores = np.random.default_rng(2).dirichlet([1, 1, 1], 300)
    found = sketch_scores(scores)
    assert len(found) == 3
    again = sketch_scores(scores[:100], like=found)
    assert [sketch.edges for sketch in again] == [sketch.edges for sketch in found]
    assert [sketch.count for sketch in again] == [100, 100, 100]
    with pytest.raises(DataError, match="3 score columns"):
        sketch_scores(scores[:, 0], like=found)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=80))
def test_a_calibrator_is_monotone_bounded_and_keeps_the_mean(pairs: list[tuple[float, bool]]) -> None:
    scores = np.round(np.array([pair[0] for pair in pairs]), 6)
    outcomes = np.array([int(pair[1]) for pair in pairs])
    (calibrator,) = fit_calibrators(scores, outcomes)
    fitted = calibrator.apply(scores)
    assert fitted.mean() == pytest.approx(outcomes.mean(), abs=1e-6)
    grid = calibrator.apply(np.linspace(-1, 2, 50))
    assert np.all(np.diff(grid) >= -1e-12)
    assert grid.min() >= 0
    assert grid.max() <= 1


def test_a_calibrator_finds_the_true_frequency() -> None:
    rng = np.random.default_rng(4)
    scores = rng.random(50_000)
    happened = (rng.random(50_000) < scores**2).astype(np.int64)
    (calibrator,) = fit_calibrators(scores, happened)
    grid = np.linspace(0.05, 0.95, 10)
    np.testing.assert_allclose(calibrator.apply(grid), grid**2, atol=0.05)
    assert len(calibrator.x) <= 1000


def test_each_class_has_its_own_calibrator() -> None:
    rng = np.random.default_rng(4)
    scores = rng.dirichlet([1, 1, 1], 500)
    assert len(fit_calibrators(scores, rng.integers(0, 3, 500))) == 3
    with pytest.raises(DataError, match="500 scores and 2 outcomes"):
        fit_calibrators(scores, np.array([0, 1]))


def test_a_label_of_four_rows_is_only_counted() -> None:
    found = sketch(pl.DataFrame({"c": ["common"] * 5 + ["secret"] * 4}), ["c"]).categories["c"]
    assert (found.labels, found.counts, found.other) == (("common",), (5,), 4)


def test_joint_sums_are_those_of_positions_and_restrict_to_columns() -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "x": rng.normal(size=3_000),
            "c": rng.choice(["a", "b", "c"], 3_000),
            "y": np.where(rng.random(3_000) < 0.1, np.nan, rng.lognormal(size=3_000)),
            "constant": [1.0] * 3_000,
        }
    ).with_columns(pl.col("y").fill_nan(None))
    joint = sketch(frame, frame.columns, together=frame.columns).joint
    assert joint is not None
    assert [one.column for one in joint.columns] == ["x", "c", "y", "c"]
    positions = np.zeros((3_000, 4))
    whole = sketch(frame, frame.columns)
    for index, one in enumerate(joint.columns):
        column = frame.get_column(one.column)
        if one.label >= 0:
            positions[:, index] = (column == whole.categories[one.column].labels[one.label]).to_numpy()
        else:
            cells = np.searchsorted(np.array(whole.numbers[one.column].edges), column.to_numpy(), side="right")
            positions[:, index] = np.where(column.is_null().to_numpy(), 0, np.array([*one.positions, 0])[cells])
    assert positions[:, 0].min() >= -16
    assert np.corrcoef(positions[:, 0], frame.get_column("x").rank().to_numpy())[0, 1] > 0.99
    assert joint.uv == tuple((positions.T @ positions)[np.triu_indices(4)].astype(int))
    assert joint.u3v == tuple(((positions**3).T @ positions).ravel().astype(int))
    part = restricted(joint, {"x", "y"})
    other = sketch(frame.select("x", "y"), ["x", "y"], together=["x", "y"]).joint
    assert part == other


def test_labels_of_a_long_list_are_chosen_by_other_rows_than_those_compared() -> None:
    labels = np.array([f"l{index}" for index in range(300)])
    column = pl.DataFrame({"c": labels[np.random.default_rng(1).integers(0, 300, 6_000)]})
    found = sketch(column, ["c"]).categories["c"]
    first = len(found.judged) - 1
    assert len(found.labels) == LABELS
    assert sum(found.judged) == 3_000
    compared = column.gather_every(2, 1).get_column("c")
    assert found.judged[:3] == tuple(int((compared == label).sum()) for label in found.labels[:3])
    assert sum(found.judged[:-1]) == pytest.approx(3_000 * first / 300, rel=0.15)  # not the luckiest of them
    settled = sketch(pl.DataFrame({"c": ["a", "b"] * 40}), ["c"]).categories["c"]
    assert settled.judged == ()


def test_a_merged_reference_keeps_its_judged_counts() -> None:
    rng = np.random.default_rng(2)
    frame = pl.DataFrame({"c": [f"l{index}" for index in rng.integers(0, 100, 2_000)]})
    base = sketch(frame, ["c"])
    more = sketch_like(base, frame)
    first = len(base.categories["c"].judged) - 1
    both = merge(base, more).categories["c"].judged
    assert sum(both) == 1_000 + 2_000
    assert both[:first] == tuple(
        a + b for a, b in zip(base.categories["c"].judged[:first], more.categories["c"].counts[:first], strict=True)
    )
    assert merge(more, base).categories == merge(base, more).categories


def test_rows_in_batches_are_the_sketch_of_all() -> None:
    rng = np.random.default_rng(3)
    frame = pl.DataFrame({"x": rng.normal(size=4_000), "c": rng.choice(["a", "b"], 4_000)})
    base = sketch(frame, ["x", "c"], together=["x", "c"])
    assert_equal(sketch_batches(base, frame.iter_slices(700)), sketch_like(base, frame))
    assert sketch_batches(base, []).rows == 0

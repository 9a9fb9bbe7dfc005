"""Rows, labels and models that nobody would hand over on purpose: one clear error, or a whole inspection."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from roadworthy import api
from roadworthy.api.inspection import Inspection
from roadworthy.errors import DataError, RoadworthyError, TargetError, UnknownName, UsageError

N = 300


def _rows(seed: int = 0) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, 3))
    y = (rng.random(N) < 1 / (1 + np.exp(-2 * x[:, 0]))).astype(np.int64)
    return pl.DataFrame(x, schema=["a", "b", "c"]), y


def _scored(frame: pl.DataFrame) -> NDArray[np.float64]:
    """A model that reads the first column of a Polars frame only."""
    return np.asarray(1 / (1 + np.exp(-2 * frame["a"].to_numpy())), dtype=np.float64)


def _inspect(model: Any, rows: Any, y: Any = None, **more: Any) -> Inspection:
    found = api.inspect(model, rows, y, quick=True, project="no-project.toml", **more)
    broken = [one.sentence for one in found.evidence.findings if one.kind == "broken_check"]
    assert not broken, broken
    return found


def _exhibit(found: Inspection, name: str) -> dict[str, list[Any]]:
    return next(one.columns for one in found.evidence.exhibits if one.name == name)


def test_a_column_of_any_name_and_a_category_of_any_words_is_inspected() -> None:
    rows, y = _rows()
    words = np.array(["a", "<b>x</b>", "[red]", "p=q", "", "עברית", "\x1b[31m", "a\nb"])
    names = ["count", "level", "rows", "code", "_rows", "score", "target", "[red]", "device=ios", "x" * 200]
    more = [pl.Series(name, words[np.random.default_rng(at).integers(0, 8, N)]) for at, name in enumerate(names)]
    found = _inspect(_scored, rows.with_columns(more), y, target="label", protected=["count"])
    assert found.evidence.findings


def test_text_that_looks_like_numbers_stays_text_for_a_model_that_was_fitted_on_it() -> None:
    pandas = pytest.importorskip("pandas")
    rows, y = _rows()
    zone = np.where(y == 1, "01", "02")
    zone[::7] = "03"
    frame = pandas.DataFrame({"zone": zone, "a": rows["a"].to_numpy()})
    encoder = ColumnTransformer([("zone", OneHotEncoder(), ["zone"])], remainder="passthrough")
    found = _inspect(make_pipeline(encoder, LogisticRegression()).fit(frame, y), frame, y)
    drops = dict(zip(*(_exhibit(found, "importance")[part] for part in ("column", "drop")), strict=True))
    assert (drops["zone"] or 0.0) > 0.1


def test_what_a_model_raises_is_a_crash_and_its_words_stay_out() -> None:
    rows, y = _rows()

    def fragile(frame: pl.DataFrame) -> NDArray[np.float64]:
        if frame["a"].abs().max() > 5:  # type: ignore[operator]  # numbers, as the rows say
            raise ValueError("cannot read ann@example.com")
        return _scored(frame)

    found = _inspect(fragile, rows, y)
    crashes = next(one for one in found.evidence.measurements if one.metric == "crashes")
    assert (crashes.value or 0) >= 1
    assert "ann@example.com" not in str(found.evidence)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda y: y.reshape(-1, 1), None, id="a column"),
        pytest.param(lambda y: y.tolist(), None, id="a list"),
        pytest.param(lambda y: pl.Series("other", y), None, id="a series"),
        pytest.param(lambda y: np.where(np.arange(N) % 7 == 0, np.nan, y), None, id="some NaN"),
        pytest.param(lambda y: [f" {value} " if value else "0" for value in y], None, id="blanks around"),
        pytest.param(lambda _: np.ones(N, dtype=int), None, id="one class"),
        pytest.param(lambda y: y[:10], UsageError, id="too few"),
        pytest.param(lambda y: np.stack([y, y], axis=1), UsageError, id="two columns"),
        pytest.param(lambda y: [[value] for value in y.tolist()], None, id="lists of one"),
        pytest.param(lambda y: ["yes" if value else "no" for value in y], TargetError, id="other labels"),
    ],
)
def test_labels_in_any_form_are_read_or_refused(change: Callable[[Any], Any], expected: type | None) -> None:
    rows, y = _rows()
    model = LogisticRegression().fit(rows.to_numpy(), y)
    if expected is None:
        assert _inspect(model, rows.to_numpy(), change(y)).target == "target"
    else:
        with pytest.raises(expected):
            _inspect(model, rows.to_numpy(), change(y))


def test_labels_beside_a_column_of_their_name_are_refused() -> None:
    rows, y = _rows()
    with pytest.raises(UsageError, match="have a column 'target'"):
        _inspect(_scored, rows.with_columns(target=pl.lit(1)), y)


@pytest.mark.parametrize("matrix", [np.zeros(N), np.zeros((N, 2, 2))], ids=["one dimension", "three"])
def test_rows_that_are_no_table_are_refused(matrix: NDArray[np.float64]) -> None:
    with pytest.raises(UsageError, match="no table"):
        _inspect(_scored, matrix, [0, 1] * (N // 2))


def test_an_event_that_the_model_does_not_have_is_never_passed_over() -> None:
    rows, y = _rows()
    named = np.where(y == 1, "yes", "no")
    model = LogisticRegression().fit(rows.to_numpy(), named)
    with pytest.raises(UnknownName, match="--positive"):
        _inspect(model, rows, named, positive="maybe")
    with pytest.raises(UsageError, match="own event is 'yes'"):
        _inspect(model, rows, named, positive="no")
    with pytest.raises(UsageError, match="no event"):
        _inspect(LinearRegression().fit(rows.to_numpy(), rows["a"]), rows, rows["a"] * 2, positive="1", target="t")
    assert _inspect(_scored, rows, y.astype(float), positive="1.0").target


@pytest.mark.parametrize("part", ["time", "entity", "protected"])
def test_lists_bytes_and_the_labels_themselves_play_no_part(part: str) -> None:
    rows, y = _rows()
    rows = rows.with_columns(pl.Series("nested", [[1]] * N), pl.Series("bytes", [b"\xff"] * N), pl.Series("t", y))
    for name in ("nested", "bytes", "t"):
        with pytest.raises(DataError, match="cannot play the part"):
            _inspect(_scored, rows, target="t", **{part: [name] if part == "protected" else name})


def test_rows_of_one_entity_and_numbers_of_128_bits_are_inspected() -> None:
    rows, y = _rows()
    wide = rows.with_columns(
        pl.lit("one").alias("who"),
        pl.Series("vast", [2**70 + at for at in range(N)], dtype=pl.Int128),
        pl.Series("exact", range(N)).cast(pl.Decimal(10, 2)),
    )
    assert _inspect(_scored, wide, y, entity="who", time="exact").target


def test_a_time_that_the_model_takes_as_text_still_orders_the_rows() -> None:
    rows, y = _rows()
    days = pl.datetime_range(pl.datetime(2026, 1, 1), pl.datetime(2026, 12, 31), "1d", eager=True)[:N]
    found = _inspect(_scored, rows.with_columns(day=days.dt.strftime("%Y-%m-%d")), y, time="day")
    assert "quality over time" not in found.not_asked
    files = [rows.with_columns(day=days.dt.strftime("%Y-%m-%d"), t=pl.Series(y)).cast(pl.String) for _ in range(2)]
    model = LogisticRegression().fit(rows.to_pandas(), y)
    found = _inspect(model, files[0], target="t", train=files[1], time="day")
    assert "quality over time" not in found.not_asked


def test_training_rows_of_another_kind_or_without_a_column_are_refused() -> None:
    rows, y = _rows()
    other, other_y = _rows(1)
    with pytest.raises(DataError, match="lack columns"):
        _inspect(_scored, rows, y, train=other.drop("c"), train_y=other_y)
    with pytest.raises(RoadworthyError, match="same kinds"):
        _inspect(_scored, rows, y, train=other.with_columns(c=pl.lit("word")), train_y=other_y)


def test_vast_labels_and_estimates_are_refused_and_vast_ones_alike_are_drawn() -> None:
    rows, _ = _rows()
    y = rows["a"] * 3
    model = LinearRegression().fit(rows.to_numpy(), y)
    with pytest.raises(DataError, match="too great to be measured"):
        _inspect(lambda frame: np.full(len(frame), 1e200), rows, y, target="t")
    assert len(_exhibit(_inspect(lambda frame: np.full(len(frame), 1e60), rows, y, target="t"), "residuals")["count"])
    assert _inspect(model, rows, y, target="t").target


def _vast_rows(seed: int) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """Rows with columns near the ends of what a double holds, infinite ones, and ones next to nothing."""
    rows, y = _rows(seed)
    rng = np.random.default_rng([seed, 1])
    far = rng.normal(size=N)
    far[:2] = 1.79e308, -1.79e308
    small = rng.normal(size=N) * 1e-160
    small[:1] = 1e308 if seed == 0 else 1e-160
    powers = 10.0 ** rng.integers(-307, 307, N)
    made = {
        "vast": rng.choice([1e308, -1e308, 1.7e308, 1.0], N),
        "infinite": rng.choice([np.inf, -np.inf, 0.5, -0.5], N),
        "endless": np.where(rng.random(N) < 0.5, np.inf, -np.inf),
        "tiny": rng.choice([5e-324, 1e-310, -5e-324, 0.0], N),
        "mixed": rng.normal(size=N) * powers,
        "far": far,
        "small": small,
        "whole": np.linspace(-1.0, 1.0, N) * 1.7e308,
        "single": rng.choice([3.4e38, -3.4e38, 1e-45], N).astype(np.float32),
        "count": rng.integers(-(2**63), 2**63 - 1, N),
    }
    return rows.with_columns(pl.Series(name, values) for name, values in made.items()), y


def _labels_of(task: str, rows: pl.DataFrame, y: NDArray[np.int64]) -> Any:
    if task == "number":
        return (3 * rows["a"] + rows["b"]).to_numpy()
    return np.array(["no", "yes", "later"])[y + (rows["b"].to_numpy() > 0)] if task == "classes" else y


def _model_of(task: str) -> Callable[[pl.DataFrame], NDArray[np.float64]]:
    def asked(frame: pl.DataFrame) -> NDArray[np.float64]:
        a = np.clip(frame["a"].to_numpy(), -50, 50)
        chance = 1 / (1 + np.exp(-2 * a))
        split = np.column_stack([chance / 2, 1 - chance, chance / 2])
        told: dict[str, NDArray[np.float64]] = {"number": 3 * a, "classes": split, "yes or no": chance}
        return told[task]

    return asked


@pytest.mark.parametrize("beside", ["nothing", "training rows", "roles"])
@pytest.mark.parametrize("task", ["yes or no", "classes", "number"])
def test_numbers_that_hardly_fit_a_double_break_no_check_and_warn_of_nothing(task: str, beside: str) -> None:
    rows, y = _vast_rows(0)
    train, train_y = _vast_rows(1)
    more: dict[str, dict[str, Any]] = {
        "nothing": {},
        "training rows": {"train": train, "train_y": _labels_of(task, train, train_y)},
        "roles": {"protected": ["vast"], "time": "whole", "entity": "tiny"},
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = _inspect(_model_of(task), rows, _labels_of(task, rows, y), target="label", **more[beside])
    assert {one.check for one in found.evidence.exhibits} >= {"robustness", "slices", "explanation"}

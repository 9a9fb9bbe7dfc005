"""The encoding: both forms give the same bits, and X is always a matrix that a model can take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto

from roadworthy.errors import TrainingError
from roadworthy.records.contract import ColumnType
from roadworthy.transforms.encoding import BOUND, Encoder
from roadworthy.transforms.expressions import Kind
from roadworthy.transforms.onnx_builder import OnnxBuilder

TYPES: dict[str, Any] = {
    "age": ColumnType.INTEGER,
    "score": ColumnType.NUMBER,
    "rate": "aggregate",
    "new": ColumnType.BOOLEAN,
    "paid": ColumnType.BOOLEAN,
    "device": ColumnType.CATEGORY,
    "city": ColumnType.CATEGORY,
}
KINDS = {
    "age": Kind.NUMBER,
    "score": Kind.NUMBER,
    "rate": Kind.NUMBER,
    "new": Kind.BOOLEAN,
    "paid": Kind.BOOLEAN,
    "device": Kind.TEXT,
    "city": Kind.TEXT,
}
DTYPES: dict[str, Any] = {
    "age": pl.Int64,
    "score": pl.Float64,
    "rate": pl.Float64,
    "new": pl.Boolean,
    "paid": pl.Boolean,
    "device": pl.String,
    "city": pl.String,
}
FINITE = st.floats(allow_nan=False, allow_infinity=False)
CELLS: dict[str, st.SearchStrategy[Any]] = {
    "age": st.none() | st.integers(-(2**53), 2**53) | st.integers(0, 99),
    "score": st.none() | FINITE | st.floats(-10, 10),
    "rate": st.none() | FINITE | st.sampled_from([0.0, 1e308, -1e308]),
    "new": st.sampled_from([True, False, None]),
    "paid": st.booleans(),
    "device": st.sampled_from(["mobile", "tv", "", None]),
    "city": st.text(max_size=3),
}


def frames(least: int) -> st.SearchStrategy[pl.DataFrame]:
    rows = st.lists(st.fixed_dictionaries(CELLS), min_size=least, max_size=12)
    return rows.map(
        lambda cells: pl.DataFrame(
            {name: pl.Series([row[name] for row in cells], dtype=dtype) for name, dtype in DTYPES.items()}
        )
    )


def graph_of(encoder: Encoder, columns: Mapping[str, Kind]) -> onnxruntime.InferenceSession:
    builder = OnnxBuilder()
    pairs = {name: builder.input_column(name, TYPES[name]) for name in columns}
    builder.output("X", encoder.to_onnx(builder, pairs), TensorProto.FLOAT, width=len(encoder.names))
    return onnxruntime.InferenceSession(builder.model().SerializeToString())


def feeds(frame: pl.DataFrame, session: onnxruntime.InferenceSession) -> dict[str, NDArray[Any]]:
    """Inputs as the architecture gives them; under a mask stands whatever a careless caller leaves there."""
    under = {pl.Int64: 77, pl.Float64: 7.5, pl.Boolean: True, pl.String: "tv"}
    wanted = {node.name for node in session.get_inputs()}
    fed: dict[str, NDArray[Any]] = {}
    for column in frame:
        filled = column.fill_null(under[type(column.dtype)]).to_numpy()
        fed[column.name] = (filled.astype(object) if column.dtype == pl.String else filled)[:, None]
        fed[f"{column.name}.missing"] = column.is_null().to_numpy()[:, None]
    return {name: value for name, value in fed.items() if name in wanted}


@settings(max_examples=60, deadline=None)
@given(train=frames(1), live=frames(1), chosen=st.sets(st.sampled_from(list(KINDS)), min_size=1), few=st.integers(0, 3))
def test_both_forms_give_the_same_bits(train: pl.DataFrame, live: pl.DataFrame, chosen: set[str], few: int) -> None:
    columns = {name: kind for name, kind in KINDS.items() if name in chosen}
    encoder = Encoder.fit(train, columns, max_categories=few, min_count=1)
    session = graph_of(encoder, columns)
    for frame in (train, live):
        matrix = encoder.encode(frame)
        (inside,) = session.run(["X"], feeds(frame.select(*columns), session))
        assert matrix.dtype == inside.dtype == np.float32
        assert matrix.shape == inside.shape == (frame.height, len(encoder.names))
        assert (matrix == inside).all()
        assert matrix.flags.c_contiguous
        assert np.isfinite(matrix).all()
        assert np.abs(matrix).max() <= BOUND


@settings(max_examples=40, deadline=None)
@given(train=frames(1), live=frames(1))
def test_every_row_sets_one_input_per_text(train: pl.DataFrame, live: pl.DataFrame) -> None:
    encoder = Encoder.fit(train, KINDS, min_count=2)
    matrix = encoder.encode(live)
    for text in ("device", "city"):
        own = [place for place, source in enumerate(encoder.sources) if source == text]
        assert (matrix[:, own].sum(axis=1) == 1).all()


@given(train=frames(1))
@settings(max_examples=30, deadline=None)
def test_json_holds_all_of_it(train: pl.DataFrame) -> None:
    encoder = Encoder.fit(train, KINDS)
    assert Encoder.decoded(encoder.encoded()) == encoder


def test_names_and_sources() -> None:
    frame = pl.DataFrame(
        {
            "age": [1, None, 3, 4],
            "new": [True, None, False, True],
            "device": ["tv", "tv", None, "pc"],
            "city": ["a", "a", "a", "a"],
        }
    )
    columns = {name: KINDS[name] for name in ("device", "age", "new", "city")}
    encoder = Encoder.fit(frame, columns, min_count=2)
    assert encoder.names == (
        *("age", "new", "age missing", "new missing"),
        *("device=tv", "device=(other)", "device missing", "city=a", "city=(other)"),
    )
    assert encoder.sources == ("age", "new", "age", "new", "device", "device", "device", "city", "city")
    assert encoder.encode(frame)[:, 1:].tolist() == [
        [1, 0, 0, 1, 0, 0, 1, 0],
        [0, 1, 1, 1, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1, 1, 0],
        [1, 0, 0, 0, 1, 0, 1, 0],
    ]


def test_names_are_unique_even_when_a_category_is_called_other() -> None:
    frame = pl.DataFrame({"device": ["(other)", "(other)", "tv"]})
    names = Encoder.fit(frame, {"device": Kind.TEXT}, min_count=1).names
    assert len(set(names)) == len(names) == 3


def test_numbers_are_standardised_over_what_is_there() -> None:
    frame = pl.DataFrame({"score": [1.0, 3.0, None, 8.0]})
    encoder = Encoder.fit(frame, {"score": Kind.NUMBER})
    number = encoder.numbers[0]
    assert (number.median, number.mean) == (3.0, 4.0)
    assert encoder.encode(frame)[2].tolist() == [np.float32((3.0 - 4.0) / number.scale), 1.0]


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e308, -5.0])
def test_constant_columns_become_zero(constant: float) -> None:
    frame = pl.DataFrame({"score": [constant] * 3})
    encoder = Encoder.fit(frame, {"score": Kind.NUMBER})
    assert encoder.numbers[0].scale == 1.0
    assert encoder.encode(frame).tolist() == [[0.0]] * 3


def test_vast_and_missing_numbers_stay_finite() -> None:
    frame = pl.DataFrame({"score": [1e308, -1e308, None, 1.0], "rate": pl.Series([None] * 4, dtype=pl.Float64)})
    encoder = Encoder.fit(frame, {"score": Kind.NUMBER, "rate": Kind.NUMBER})
    assert np.isfinite(encoder.encode(frame)).all()
    assert np.isfinite(encoder.encode(pl.DataFrame({"score": [float("nan"), float("inf")], "rate": [1.0, 2.0]}))).all()


def test_most_frequent_categories_win_and_ties_go_by_the_alphabet() -> None:
    frame = pl.DataFrame({"city": ["b", "b", "a", "a", "d", "c", "c", "c"]})
    assert Encoder.fit(frame, {"city": Kind.TEXT}, max_categories=2, min_count=1).texts[0].categories == ("c", "a")
    assert Encoder.fit(frame, {"city": Kind.TEXT}, min_count=2).texts[0].categories == ("c", "a", "b")


def test_nodes_hardly_grow_with_columns() -> None:
    rng = np.random.default_rng(0)
    names = [f"n{k}" for k in range(40)]
    frame = pl.DataFrame({name: rng.normal(size=10) for name in names})
    encoder = Encoder.fit(frame, dict.fromkeys(names, Kind.NUMBER))
    builder = OnnxBuilder()
    pairs = {name: builder.input_column(name, ColumnType.NUMBER) for name in names}
    builder.output("X", encoder.to_onnx(builder, pairs), TensorProto.FLOAT, width=40)
    assert len(builder.model().graph.node) <= 8


def test_refuses_times_and_nothing() -> None:
    frame = pl.DataFrame({"t": [1]})
    with pytest.raises(TrainingError, match="a time cannot be a model input: t"):
        Encoder.fit(frame, {"t": Kind.TIME})
    with pytest.raises(TrainingError, match="nothing to learn from"):
        Encoder.fit(frame, {})

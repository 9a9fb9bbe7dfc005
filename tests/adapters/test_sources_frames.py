"""Frames from Python as sources, and the digest of rows that have no bytes."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.adapters.sources import frame_source
from roadworthy.adapters.sources.row_digest import RowDigest
from roadworthy.errors import SourceError
from roadworthy.testing import check_source

FRAME = pl.DataFrame(
    {"a": [1, None, 3], "b": ["x", "", None], "c": [0.5, float("nan"), None], "d": [True, None, False]}
)


def test_every_kind_of_frame_is_a_source() -> None:
    plain = FRAME.with_columns(pl.col("c").fill_nan(None))
    for frame in (FRAME, FRAME.lazy(), FRAME.to_arrow(), plain.to_pandas()):
        check_source(lambda frame=frame: frame_source(frame))  # type: ignore[misc]
    assert frame_source(FRAME).fingerprint() == frame_source(FRAME.to_arrow()).fingerprint()
    assert frame_source(FRAME).fingerprint() == frame_source(FRAME.lazy()).fingerprint()


def test_pandas_gaps_are_null_and_a_named_index_is_mentioned() -> None:
    frame = pd.DataFrame({"a": [1.0, float("nan")], "b": ["x", None]})
    assert frame_source(frame).scan().collect().rows() == [(1.0, "x"), (None, None)]
    assert any("index" in note for note in frame_source(frame.set_index("b")).notes())


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "stands 2 times"),
        (pd.DataFrame([[1, 2]]), "column name 0"),
        (pd.DataFrame({"a": []}), "no rows"),
        (pd.DataFrame({"a": [1, "x", object()]}), "column a"),
        (pa.table([[1], [2]], names=["a", "a"]), "stands 2 times"),
        (pl.DataFrame({"a": []}), "no rows"),
        (pl.DataFrame({"a": [1]}).lazy().filter(pl.col("a") > 1), "no rows"),
        ([[1, 2]], "builtins.list"),
    ],
)
def test_what_is_no_table_is_refused(frame: Any, expected: str) -> None:
    with pytest.raises(SourceError, match=r"next: ") as caught:
        frame_source(frame)
    assert expected in str(caught.value)


columns = st.fixed_dictionaries(
    {
        "i": st.lists(st.none() | st.integers(-5, 5), min_size=6, max_size=6),
        "t": st.lists(st.none() | st.text(max_size=3), min_size=6, max_size=6),
        "f": st.lists(st.none() | st.floats(width=32), min_size=6, max_size=6),
        "b": st.lists(st.none() | st.booleans(), min_size=6, max_size=6),
        "d": st.lists(st.none() | st.dates(date(1970, 1, 1), date(2030, 1, 1)), min_size=6, max_size=6),
        "n": st.lists(st.none() | st.lists(st.integers(0, 2), max_size=2), min_size=6, max_size=6),
    }
)
SCHEMA: dict[str, Any] = {
    "i": pl.Int64,
    "t": pl.String,
    "f": pl.Float64,
    "b": pl.Boolean,
    "d": pl.Date,
    "n": pl.List(pl.Int64),
}


def _digest(*pieces: pl.DataFrame) -> str:
    state = RowDigest()
    for piece in pieces:
        state.update(piece)
    return state.digest()


@settings(max_examples=60, deadline=None)
@given(values=columns, cut=st.integers(0, 6))
def test_law_the_digest_depends_on_rows_and_not_on_pieces(values: dict[str, list[Any]], cut: int) -> None:
    frame = pl.DataFrame(values, schema=SCHEMA)
    assert _digest(frame) == _digest(frame[:cut], frame[cut:])
    assert _digest(frame) == _digest(pl.concat([frame[:cut], frame[cut:]], rechunk=False))


@settings(max_examples=60, deadline=None)
@given(values=columns, other=columns)
def test_law_other_rows_have_another_digest(values: dict[str, list[Any]], other: dict[str, list[Any]]) -> None:
    left, right = pl.DataFrame(values, schema=SCHEMA), pl.DataFrame(other, schema=SCHEMA)
    signs = [str(frame.rows()) for frame in (left, right)]
    assert (_digest(left) == _digest(right)) == (signs[0] == signs[1])


def test_text_that_moves_between_cells_changes_the_digest() -> None:
    assert _digest(pl.DataFrame({"a": ["ab", "c"]})) != _digest(pl.DataFrame({"a": ["a", "bc"]}))
    assert _digest(pl.DataFrame({"a": [None, "c"]})) != _digest(pl.DataFrame({"a": ["", "c"]}))
    assert _digest(pl.DataFrame({"a": [1]})) != _digest(pl.DataFrame({"a": [1.0]}))
    moment = datetime(2024, 1, 1)  # noqa: DTZ001 - a column without a zone
    assert _digest(pl.DataFrame({"a": [moment]})) != _digest(pl.DataFrame({"a": [moment.date()]}))

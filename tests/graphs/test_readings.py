"""Raw outputs are read in the graph as ``inspect`` reads them outside it."""

from __future__ import annotations

import numpy as np
import onnx
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper

from roadworthy.api.subjects.links import link_of
from roadworthy.graphs.readings import Reading, read_as
from roadworthy.graphs.runner import open_session

LABELS = pl.Series("y", ["0", "1"] * 3)


def through(reading: Reading, raw: np.ndarray) -> np.ndarray:
    """``score`` of raw outputs [N] or [N, K]."""
    width = 1 if raw.ndim == 1 else raw.shape[1]
    shape = ["N"] if raw.ndim == 1 else ["N", width]
    given = helper.make_tensor_value_info("X", TensorProto.DOUBLE, shape)
    made = helper.make_tensor_value_info("raw", TensorProto.DOUBLE, shape)
    graph = helper.make_graph([helper.make_node("Identity", ["X"], ["raw"])], "model", [given], [made])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    read_as(model, "raw", reading, width)
    onnx.checker.check_model(model)
    return np.asarray(open_session(model.SerializeToString()).run(None, {"X": raw})[0])


@settings(max_examples=60, deadline=None)
@given(
    width=st.sampled_from([1, 2, 3]),
    kind=st.sampled_from(["shares", "any"]),
    data=st.data(),
)
def test_a_reading_computes_what_the_link_computes(width: int, kind: str, data: st.DataObject) -> None:
    inside = st.floats(0, 1, width=32) if kind == "shares" else st.floats(-30, 30, width=32)
    shape = (6,) if width == 1 else (6, width)
    raw = data.draw(arrays.arrays(np.float64, shape, elements=inside))
    labels = LABELS if width < 3 else pl.Series("y", ["0", "1", "2"] * 2)
    link = link_of(raw, labels, model="it")
    found = through(link.reading, raw)
    own = link.apply(raw)
    assert found.dtype == np.float32
    assert found.shape == (6, 1 if own.ndim == 1 else width)
    assert np.abs(found.reshape(own.shape) - own).max() < 1e-6


@pytest.mark.parametrize("reading", [Reading.SHARES, Reading.LOGITS])
def test_a_row_without_any_share_is_even(reading: Reading) -> None:
    assert through(reading, np.zeros((2, 3))).tolist() == [[np.float32(1 / 3)] * 3] * 2


def test_an_estimate_stays_as_it_is() -> None:
    assert through(Reading.ESTIMATE, np.array([-3.5, 1e6])).tolist() == [[-3.5], [1e6]]

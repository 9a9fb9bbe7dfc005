"""The two models that overload is measured with: one of some microseconds, and one of five milliseconds a row.

In: a folder. Out: a project with a champion, ready to be served, and rows to ask it with. The cheap model is an MLP as
``roadworthy run`` makes it. The dear one is a graph that really computes for so long: every row goes by itself through
a loop of matrix products, so that a batch of n rows takes n times as long; how many products that is, is measured on
the machine at hand. It becomes a version as every model that others trained does, with ``package``.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import polars as pl
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession, SessionOptions

import roadworthy as rw
from roadworthy import assembly

__all__ = ["DEAR", "HANGS", "NAN", "RAISES", "dear_graph", "dear_project", "mlp_project", "moody_project", "request_of"]

DEAR, HANGS, NAN, RAISES = 1_000_003.0, 1_000_033.0, 1_000_037.0, 1_000_039.0
"""What a row's ``mood`` makes the model of ``moody_project`` do: take 5 ms, take half a minute, say NaN, raise."""


_WIDTH = 128
_ROWS = 3_000
_MLP = """
[project]
name = "cheap"
task = "binary"
target = "y"
positive = "1"
[data]
source = "rows.parquet"
[contract.columns]
{columns}
y = {{ type = "integer" }}
[training]
candidates = ["mlp"]
folds = 2
seed = 1
[standard]
extends = "prototype"
accuracy = ">= 0.6"
"""
_DEAR = """
[project]
name = "dear"
task = "binary"
target = "y"
positive = "1"
[data]
source = "rows.parquet"
[contract.columns]
a = { type = "number" }
b = { type = "number" }
c = { type = "number" }
y = { type = "integer" }
[standard]
extends = "none"
accuracy = ">= 0.6"
"""


def request_of(row: dict[str, Any], *, headers: str = "") -> bytes:
    """``POST /predict`` of one row, as it goes over the wire."""
    body = json.dumps({"row": row}).encode()
    head = f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{headers}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def mlp_project(folder: Path, *, columns: int = 12) -> list[dict[str, Any]]:
    """A project whose champion is an MLP over numbers; some of its rows."""
    names = [f"x{at}" for at in range(columns)]
    rows = _rows(names, _ROWS)
    folder.mkdir(parents=True)
    rows.write_parquet(folder / "rows.parquet")
    contract = "\n".join(f'{name} = {{ type = "number" }}' for name in names)
    file = folder / "roadworthy.toml"
    file.write_text(_MLP.format(columns=contract), encoding="utf-8")
    assembly.project_keys(assembly.open_project(file))
    rw.run(file)
    rw.promote(1, file)
    return rows.drop("y").head(50).to_dicts()


def dear_project(folder: Path, *, row_s: float = 0.005, rows: int = 120) -> list[dict[str, Any]]:
    """A project whose champion takes ``row_s`` seconds for every row; some of its rows."""
    frame = _rows(["a", "b", "c"], rows)
    folder.mkdir(parents=True)
    frame.write_parquet(folder / "rows.parquet")
    file = folder / "roadworthy.toml"
    file.write_text(_DEAR, encoding="utf-8")
    assembly.project_keys(assembly.open_project(file))
    model = folder / "dear.onnx"
    model.write_bytes(dear_graph(row_s).SerializeToString())
    rw.package(model, folder / "rows.parquet", target="y", project=file, quick=True)
    rw.promote(1, file)
    return frame.drop("y").head(50).to_dicts()


def moody_project(folder: Path) -> list[dict[str, Any]]:
    """A project with two versions of one model over ``a``, ``b``, ``c`` and ``mood``, of which the second is champion.

    Both are small and quick on the rows that judge them. The second one does on rows of some moods what models do when
    they break; the first one stands by. Rows of no particular mood.
    """
    frame = _rows(["a", "b", "c"], 120).with_columns(mood=pl.int_range(120).mod(3).cast(pl.Float64))
    folder.mkdir(parents=True)
    frame.write_parquet(folder / "rows.parquet")
    file = folder / "roadworthy.toml"
    moods = 'c = { type = "number" }\nmood = { type = "number", min = 0, max = 2000000 }'
    text = _DEAR.replace('name = "dear"', 'name = "moody"').replace('c = { type = "number" }', moods)
    file.write_text(text, encoding="utf-8")
    assembly.project_keys(assembly.open_project(file))
    row_turns = max(int(200 * 0.005 / _row_seconds(_moody(200, 200), 4)), 1)
    for number, turns in ((1, 1), (2, row_turns)):
        model = folder / f"moody-{number}.onnx"
        model.write_bytes(_moody(1, turns, sane=number == 1).SerializeToString())
        rw.package(model, folder / "rows.parquet", target="y", project=file, quick=True)
        rw.promote(number, file)
    return frame.drop("y").head(30).to_dicts()


def _rows(names: list[str], count: int) -> pl.DataFrame:
    random = np.random.default_rng(5)
    x = random.normal(size=(count, len(names)))
    weights = np.resize([1.5, -1.0, 0.5], len(names))
    y = (x @ weights + random.logistic(size=count) * 0.3 > 0).astype(int)
    return pl.DataFrame({**{name: x[:, at] for at, name in enumerate(names)}, "y": y})


def dear_graph(row_s: float) -> onnx.ModelProto:
    """A graph over three numbers whose run of n rows takes ``row_s`` times n seconds on this machine, on one core."""
    probe = 50
    seconds = _row_seconds(_graph(probe))
    turns = max(int(probe * row_s / seconds), 1)
    seconds = _row_seconds(_graph(turns))  # closer: what does not depend on the number of turns is in it by now
    return _graph(max(int(turns * row_s / seconds), 1))


def _row_seconds(model: onnx.ModelProto, width: int = 3) -> float:
    options = SessionOptions()
    options.intra_op_num_threads = 1
    session = InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = np.zeros((1, width), np.float32)
    times = []
    for _ in range(30):
        begun = time.perf_counter()
        session.run(None, {"x": x})
        times.append(time.perf_counter() - begun)
    return median(times)


def _loop() -> onnx.GraphProto:
    """One turn: a product with a matrix of its own."""
    random = np.random.default_rng(1)
    node, value = helper.make_node, helper.make_tensor_value_info
    again = (random.normal(size=(_WIDTH, _WIDTH)) / np.sqrt(_WIDTH)).astype(np.float32)
    return helper.make_graph(
        [
            node("MatMul", ["h", "again"], ["product"]),
            node("Tanh", ["product"], ["next"]),
            node("Identity", ["on"], ["still"]),
        ],
        "turn",
        [value("turn", TensorProto.INT64, []), value("on", TensorProto.BOOL, []), value("h", TensorProto.FLOAT, None)],
        [value("still", TensorProto.BOOL, []), value("next", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(again, "again")],
    )


def _moody(usual: int, dear: int, *, sane: bool = False) -> onnx.ModelProto:
    """The graph of ``moody_project``: ``usual`` turns for a row, ``dear`` for one that takes 5 ms; sane: for all."""
    random = np.random.default_rng(1)
    node, value = helper.make_node, helper.make_tensor_value_info
    sizes = {"usual": usual, "dear": dear, "endless": dear * 6_000}
    constants: dict[str, NDArray[Any]] = {
        **{name: np.array(1 if sane else size, np.int64) for name, size in sizes.items()},
        **{f"mood{at}": np.array([mood], np.float32) for at, mood in enumerate((DEAR, HANGS, NAN, RAISES))},
        "first": random.normal(size=(4, _WIDTH)).astype(np.float32),
        "last": np.full((_WIDTH, 1), 1e-9, np.float32),
        "linear": np.array([[5.0], [-3.3], [1.7], [0.0]], np.float32),
        "axis": np.array([0], np.int64),
        "three": np.array([3], np.int64),
        "yes": np.array([True]).reshape(()),
        "nan": np.array([0.0 if sane else np.nan], np.float32),
        "zero": np.array([0.0], np.float32),
        "here": np.array([0], np.int64),
        "nowhere": np.array([0 if sane else 5], np.int64),
    }
    body = helper.make_graph(
        [
            node("Gather", ["row", "three"], ["mood"]),
            *(node("Equal", ["mood", f"mood{at}"], [f"is{at}"]) for at in range(4)),
            node("Where", ["is0", "dear", "usual"], ["some"]),
            node("Where", ["is1", "endless", "some"], ["many"]),
            node("Squeeze", ["many", "axis"], ["turns"]),
            node("Unsqueeze", ["row", "axis"], ["line"]),
            node("MatMul", ["line", "first"], ["start"]),
            node("Loop", ["turns", "yes", "start"], ["end"], body=_loop()),
            node("MatMul", ["end", "last"], ["tail"]),
            node("MatMul", ["line", "linear"], ["head"]),
            node("Add", ["head", "tail"], ["both"]),
            node("Where", ["is2", "nan", "zero"], ["perhaps"]),
            node("Where", ["is3", "nowhere", "here"], ["place"]),
            node("Gather", ["zero", "place"], ["found"]),
            node("Sum", ["both", "perhaps", "found"], ["logit"]),
            node("Sigmoid", ["logit"], ["chance"]),
            node("Squeeze", ["chance", "axis"], ["scored"]),
        ],
        "row",
        [value("row", TensorProto.FLOAT, [4])],
        [value("scored", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return _scanning(body, 4)


def _scanning(body: onnx.GraphProto, width: int) -> onnx.ModelProto:
    """The body for each row of a matrix."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Scan", ["x"], ["score"], body=body, num_scan_inputs=1)],
        "rows",
        [value("x", TensorProto.FLOAT, ["rows", width])],
        [value("score", TensorProto.FLOAT, ["rows", 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def _graph(turns: int) -> onnx.ModelProto:
    """Scan over rows; for each a loop of ``turns`` products with one matrix, whose end hardly shows in the score.

    Each body brings its own constants: what a body takes from around it does not survive when graphs are joined.
    """
    random = np.random.default_rng(1)
    node, value, tensor = helper.make_node, helper.make_tensor_value_info, numpy_helper.from_array
    loop = _loop()
    constants: dict[str, NDArray[Any]] = {
        "first": random.normal(size=(3, _WIDTH)).astype(np.float32),
        "last": np.full((_WIDTH, 1), 1e-6, np.float32),
        "linear": np.array([[5.0], [-3.3], [1.7]], np.float32),
        "axis": np.array([0], np.int64),
        "turns": np.array(turns, np.int64),
        "yes": np.array([True]).reshape(()),
    }
    body = helper.make_graph(
        [
            node("Unsqueeze", ["row", "axis"], ["line"]),
            node("MatMul", ["line", "first"], ["start"]),
            node("Loop", ["turns", "yes", "start"], ["end"], body=loop),
            node("MatMul", ["end", "last"], ["tail"]),
            node("MatMul", ["line", "linear"], ["head"]),
            node("Add", ["head", "tail"], ["logit"]),
            node("Sigmoid", ["logit"], ["chance"]),
            node("Squeeze", ["chance", "axis"], ["scored"]),
        ],
        "row",
        [value("row", TensorProto.FLOAT, [3])],
        [value("scored", TensorProto.FLOAT, [1])],
        [tensor(array, name) for name, array in constants.items()],
    )
    return _scanning(body, 3)

"""What ``inspect`` takes as MODEL: read as it is meant, asked again the same way, refused with one clear error."""

from __future__ import annotations

import bz2
import pickle
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import convert_model_to_external_data
from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]  # ships no types

from roadworthy import api, cli
from roadworthy.api.subjects import subject_of
from roadworthy.errors import DataError, ModelError, RoadworthyError
from roadworthy.graphs.fresh_process import costs
from roadworthy.records.project import Task

RNG = np.random.default_rng(5)
X = RNG.normal(size=(300, 4)).astype(np.float32)
W = RNG.normal(size=(4, 3)).astype(np.float32)
LOGITS = X @ W
NAMES = ["a", "b", "c", "d"]


def shares(logits: NDArray[Any]) -> NDArray[Any]:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def exported(*last: str, width: int = 3, outputs: tuple[str, ...] = ("out",), fixed: int | None = None) -> bytes:
    """A dense layer as a framework exports it, ``last`` after it; ``outputs`` may name ``label`` too."""
    weights = [numpy_helper.from_array(W[:, :width].copy(), "W")]
    names = ["z", *(f"h{place}" for place in range(len(last)))]
    names[-1] = outputs[-1]
    nodes = [helper.make_node("MatMul", ["input", "W"], [names[0]])]
    for kind, source, result in zip(last, names, names[1:], strict=False):
        axis: dict[str, Any] = {"axis": 1} if kind in {"Softmax", "LogSoftmax"} else {}
        nodes.append(helper.make_node(kind, [source], [result], **axis))
    listed = []
    for name in outputs:
        if name == "label":
            nodes.append(helper.make_node("ArgMax", [outputs[-1]], ["label"], axis=1, keepdims=0))
            listed.append(helper.make_tensor_value_info("label", TensorProto.INT64, [fixed or "N"]))
        else:
            listed.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [fixed or "N", width]))
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, [fixed or "N", 4])]
    graph = helper.make_graph(nodes, "g", inputs, listed, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def table(y: Any, x: NDArray[Any] = X) -> pl.DataFrame:
    return pl.DataFrame(x, schema=NAMES).with_columns(y=pl.Series(y))


@pytest.mark.parametrize(
    ("last", "wanted", "said"),
    [
        (("Softmax",), shares(LOGITS), ""),
        ((), shares(LOGITS), "logits"),
        (("LogSoftmax",), shares(LOGITS), "logits"),
        (("Sigmoid",), (s := 1 / (1 + np.exp(-LOGITS))) / s.sum(axis=1, keepdims=True), "divided by their sum"),
    ],
    ids=["softmax", "logits", "log-softmax", "one against the rest"],
)
@pytest.mark.parametrize("fixed", [None, 1, 7], ids=["any rows", "one row", "seven rows"])
def test_outputs_are_read_as_what_they_are(
    tmp_path: Path, last: tuple[str, ...], wanted: NDArray[Any], said: str, fixed: int | None
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(exported(*last, fixed=fixed))
    rows = table(LOGITS.argmax(axis=1))
    subject = subject_of(path, rows, "y", "none.toml")
    scored = subject.scored(rows, "y")
    np.testing.assert_allclose(scored.scores, wanted, atol=1e-5)
    assert (subject.task, subject.classes) == (Task.MULTICLASS, ("0", "1", "2"))
    assert "in the order of the rows: " in subject.notes[0]
    assert any(said in note for note in subject.notes[1:]) if said else len(subject.notes) == 1
    np.testing.assert_array_equal(subject.answer(rows.select(NAMES)).score, scored.scores)


def test_one_column_of_logits_beside_two_labels(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(exported(width=1))
    rows = table(np.where(LOGITS[:, 0] > 0, "yes", "no"))
    subject = subject_of(tmp_path / "m.onnx", rows, "y", "none.toml")
    np.testing.assert_allclose(subject.scored(rows, "y").scores, 1 / (1 + np.exp(-LOGITS[:, 0])), atol=1e-6)
    assert subject.task is Task.BINARY
    assert "logistic" in subject.notes[1]
    number = table(LOGITS[:, 0])
    assert subject_of(tmp_path / "m.onnx", number, "y", "none.toml").task is Task.REGRESSION
    with pytest.raises(ModelError, match="holds 3 labels"):
        subject_of(tmp_path / "m.onnx", table(np.array(["x", "y", "z"] * 100)), "y", "none.toml")


def test_labels_beside_probabilities_do_not_get_in_the_way(tmp_path: Path) -> None:
    for outputs in (("label", "out"), ("label", "probabilities")):
        (tmp_path / "m.onnx").write_bytes(exported("Softmax", outputs=outputs))
        rows = table(LOGITS.argmax(axis=1))
        scored = subject_of(tmp_path / "m.onnx", rows, "y", "none.toml").scored(rows, "y")
        np.testing.assert_allclose(scored.scores, shares(LOGITS), atol=1e-6)


@pytest.mark.parametrize("zipmap", [True, False])
def test_labels_come_from_the_graph_where_rows_lack_one(tmp_path: Path, zipmap: bool) -> None:
    from skl2onnx import to_onnx  # noqa: PLC0415 - half a second
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - as above

    labels = np.array(["low", "mid", "high"])[LOGITS.argmax(axis=1)]
    model = LogisticRegression().fit(X, labels)
    (tmp_path / "m.onnx").write_bytes(to_onnx(model, X[:1], options={"zipmap": zipmap}).SerializeToString())
    rows = table(labels).filter(pl.col("y") != "mid")
    subject = subject_of(tmp_path / "m.onnx", rows, "y", "none.toml")
    assert subject.classes == ("high", "low", "mid")
    expected = model.predict_proba(rows.select(NAMES).to_numpy())
    np.testing.assert_allclose(subject.scored(rows, "y").scores, expected, atol=1e-5)


def test_a_column_that_numbers_the_rows_is_left_out_and_said(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(exported("Softmax"))
    rows = table(LOGITS.argmax(axis=1)).select(
        pl.int_range(1, pl.len() + 1).alias("Id"), pl.lit("x").alias("name"), "*"
    )
    text = rows.cast(pl.String)
    for given in (rows, text):
        subject = subject_of(tmp_path / "m.onnx", given, "y", "none.toml")
        assert subject.columns == tuple(NAMES)
        assert "Id, name" in subject.notes[0]
    with pytest.raises(ModelError, match="takes 4 numbers per row, the rows have 5"):
        subject_of(tmp_path / "m.onnx", rows.select("y", *NAMES, extra=pl.col("a") * 2), "y", "none.toml")


def test_scores_that_are_not_finite_are_told_not_raised(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(exported("Softmax"))
    rows = table(LOGITS.argmax(axis=1))
    subject = subject_of(tmp_path / "m.onnx", rows, "y", "none.toml")
    odd = pl.DataFrame({"a": ["1", None, "1e39", "dear"], "b": [1.0] * 4, "c": [1.0] * 4, "d": [1.0] * 4})
    found = subject.answer(odd)
    assert found.sound.tolist() == [True, False, False, False]
    assert found.refused.tolist() == [False, False, False, True]
    with pytest.raises(ModelError, match="not a number, first of row 0"):
        subject.scored(rows.with_columns(a=None), "y")


def broken(content: bytes) -> dict[str, bytes]:
    model = onnx.load_from_string(content)
    unknown = onnx.load_from_string(content)
    unknown.graph.input[0].type.tensor_type.elem_type = TensorProto.COMPLEX64
    newer = onnx.load_from_string(content)
    newer.opset_import[0].version = 999
    dangling = onnx.load_from_string(content)
    dangling.graph.node[0].input[0] = "nowhere"
    outside = onnx.load_from_string(exported("Softmax"))
    convert_model_to_external_data(outside, location="weights.bin", size_threshold=0)
    sequence = onnx.load_from_string(content)
    sequence.graph.input[0].type.CopyFrom(helper.make_sequence_type_proto(model.graph.input[0].type))
    return {
        "truncated": content[: len(content) // 2],
        "one byte": content[:1],
        "empty": b"",
        "noise": bytes(range(256)) * 4,
        "unknown input type": unknown.SerializeToString(),
        "sequence input": sequence.SerializeToString(),
        "opset too new": newer.SerializeToString(),
        "invalid graph": dangling.SerializeToString(),
        "weights elsewhere": outside.SerializeToString(),
    }


BROKEN = ["truncated", "one byte", "empty", "noise", "unknown input type", "sequence input", "opset too new",
          "invalid graph", "weights elsewhere"]  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_onnx_file_is_one_clear_error_and_exit_2(
    tmp_path: Path, fault: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(broken(exported("Softmax"))[fault])
    rows = table(LOGITS.argmax(axis=1))
    rows.write_csv(tmp_path / "rows.csv")
    with pytest.raises(RoadworthyError):
        subject_of(path, rows, "y", "none.toml")
    monkeypatch.setattr("sys.argv", ["roadworthy", "inspect", str(path), str(tmp_path / "rows.csv"), "--target", "y"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capfd.readouterr()
    assert ended.value.code == 2
    assert told.err.startswith("error: ")
    assert "Traceback" not in told.out + told.err
    assert told.out == ""


class Boom:
    """Would leave a file behind if anyone unpickled it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


PICKLES: dict[str, Callable[[Any], bytes]] = {
    **{f"protocol {number}": partial(pickle.dumps, protocol=number) for number in range(6)},
    "large, protocol 0": lambda thing: pickle.dumps([thing, *map(str, range(9_000))], 0),
    "large, protocol 4": lambda thing: pickle.dumps([thing, *map(str, range(9_000))], 4),
    "zlib": lambda thing: zlib.compress(pickle.dumps(thing)),
    "bzip2": lambda thing: bz2.compress(pickle.dumps(thing)),
}


@pytest.mark.parametrize("kind", list(PICKLES))
@pytest.mark.parametrize("name", ["model.pkl", "model.onnx", "model.txt"])
def test_a_pickle_is_refused_by_its_bytes_and_never_followed(tmp_path: Path, kind: str, name: str) -> None:
    mark = tmp_path / "opened"
    (tmp_path / name).write_bytes(PICKLES[kind](Boom(mark)))
    with pytest.raises(ModelError, match="pickle") as caught:
        subject_of(tmp_path / name, table(X[:, 0]), "y", "none.toml")
    assert "skl2onnx" in str(caught.value)
    assert "rw.inspect(estimator, X, y)" in str(caught.value)
    assert not mark.exists()


def test_a_pickle_is_not_read_beyond_its_first_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(list(range(100_000))))
    monkeypatch.setattr(Path, "read_bytes", lambda _self: pytest.fail("the whole file was read"))
    with pytest.raises(ModelError, match="never loaded"):
        subject_of(path, table(X[:, 0]), "y", "none.toml")


def test_a_folder_that_is_no_bundle_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(ModelError, match="is a folder, but no bundle") as caught:
        subject_of(tmp_path, table(X[:, 0]), "y", "none.toml")
    assert "saved_model.pb" in str(caught.value)


def test_a_bundle_says_the_same_of_its_own_clean_rows(finished: Path, clicks: pl.DataFrame) -> None:
    """What robustness and explanation ask again and again is what was scored."""
    folder = api.status(finished).versions[0].bundle
    subject = subject_of(folder, clicks, "converted", finished)
    scored = subject.scored(clicks, "converted")
    assert subject.contract
    assert set(subject.columns) <= set(scored.rows.columns)
    assert subject.time in scored.rows.columns
    rows = scored.rows.filter(pl.Series(scored.sound))
    found = subject.answer(rows.select(subject.columns))
    assert not found.refused.any()
    np.testing.assert_array_equal(found.score, scored.scores[scored.sound])
    typo = rows.select(subject.columns).with_columns(impressions=pl.lit("many"))
    assert subject.answer(typo).refused.all()


def test_a_bundle_costs_what_its_graph_costs(finished: Path, clicks: pl.DataFrame) -> None:
    folder = Path(api.status(finished).versions[0].bundle)
    subject = subject_of(folder, clicks, "converted", finished)
    assert subject.cost is not None
    measured = {one.metric: one for one in costs(subject.cost(clicks, quick=True))}
    assert measured["size"].value == (folder / "model.onnx").stat().st_size
    assert "graph alone" in measured["latency_p50"].method


def test_estimators_get_the_table_that_they_were_fitted_on() -> None:
    from sklearn.compose import ColumnTransformer  # noqa: PLC0415 - half a second
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - as above
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415 - as above
    from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: PLC0415 - as above

    kind = np.array(["red", "green", "blue"])[LOGITS.argmax(axis=1)]
    rows = pl.DataFrame({"a": X[:, 0], "kind": kind, "y": (X[:, 0] > 0).astype(int)})
    for frame in (rows.select("a", "kind"), rows.select("a", "kind").to_pandas()):
        columns = ColumnTransformer([("n", StandardScaler(), ["a"]), ("k", OneHotEncoder(), ["kind"])])
        model = make_pipeline(columns, LogisticRegression()).fit(frame, rows["y"].to_numpy())
        subject = subject_of(model, rows, "y", "none.toml")
        np.testing.assert_allclose(subject.scored(rows, "y").scores, model.predict_proba(frame)[:, 1], rtol=1e-5)
        with pytest.raises(DataError, match="no column 'kind'"):
            subject_of(model, rows.drop("kind"), "y", "none.toml")


def test_few_rows_are_answered_by_one_thread_and_many_by_as_many_as_ever() -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 - slow to import

    def threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"}

    seen: list[tuple[int, set[int]]] = []

    class Watched(HistGradientBoostingClassifier):  # type: ignore[misc]  # scikit-learn has no types
        def predict_proba(self, X: Any) -> NDArray[Any]:  # noqa: N803 - scikit-learn's own name
            seen.append((len(X), threads()))
            return np.asarray(super().predict_proba(X))

    many = np.repeat(X, 20, axis=0)
    rows = pl.DataFrame(many, schema=NAMES).with_columns(y=(many[:, 0] > 0).astype(np.int64))
    with threadpool_limits(limits=2, user_api="openmp"):
        model = Watched(max_iter=5, random_state=1).fit(many, rows["y"].to_numpy())
        subject = subject_of(model, rows, "y", "nowhere.toml")
        seen.clear()
        whole = subject.answer(rows).score
        few = [subject.answer(rows.slice(start, 200)).score for start in range(0, rows.height, 200)]
        assert threads() == {2}
    assert seen[0] == (6_000, {2})
    assert seen[1:] == [(200, {1})] * 30
    np.testing.assert_array_equal(np.concatenate(few), whole)


def test_an_estimator_is_trained_anew_as_a_clone() -> None:
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415 - half a second

    labels = np.array(["low", "mid", "high"])[LOGITS.argmax(axis=1)]
    model = RandomForestClassifier(n_estimators=5, random_state=1).fit(X, labels)
    rows = table(labels)
    subject = subject_of(model, rows, "y", "none.toml")
    assert subject.refit is not None
    y = np.array([subject.classes.index(label) for label in labels])
    again, other = (subject.refit(rows.select(NAMES), y, seed)(rows.select(NAMES)) for seed in (1, 2))
    np.testing.assert_array_equal(again.score, subject.scored(rows, "y").scores)
    assert (other.score != again.score).any()
    assert model.random_state == 1
    lacking = subject.refit(rows.select(NAMES).filter(pl.Series(y) != 1), y[y != 1], 1)(rows.select(NAMES))
    assert lacking.score.shape == (300, 3)
    assert (lacking.score[:, 1] == 0).all()


def test_regressors_and_functions_and_what_they_may_not_answer() -> None:
    from sklearn.linear_model import Ridge  # noqa: PLC0415 - half a second

    rows = table(X[:, 0] * 2.0)
    subject = subject_of(Ridge().fit(X, X[:, 0] * 2), rows, "y", "none.toml")
    assert subject.task is Task.REGRESSION
    assert subject.refit is not None
    assert subject.cost is not None
    made = subject.cost(rows, quick=True)
    assert {one.metric for one in costs(made)}.isdisjoint({"cold_start", "memory", "size"})
    assert "in the process that inspects it" in costs(made)[0].method
    for function, match in (
        (lambda _x: "high", "does not answer|no number"),
        (lambda x: x[:3, 0], "row by row"),
        (lambda _x: 1 / 0, "fails on the rows"),
    ):
        with pytest.raises(ModelError, match=match):
            subject_of(function, rows, "y", "none.toml")


def test_a_function_may_take_a_frame() -> None:
    rows = table((X[:, 0] > 0).astype(int))
    subject = subject_of(lambda frame: frame["a"].to_numpy() > 0, rows, "y", "none.toml")
    assert subject.scored(rows, "y").scores.tolist() == (X[:, 0] > 0).tolist()

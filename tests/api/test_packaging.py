"""``package``: what becomes a version, what its contract says, and what is refused with nothing written."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest
from onnx import TensorProto, helper, numpy_helper

import roadworthy as rw
from roadworthy import assembly
from roadworthy.api.inspection.rows import given_rows
from roadworthy.api.packaging.declaring import Words
from roadworthy.api.packaging.packaging import Work, prepared
from roadworthy.errors import DataError, ModelError, RoadworthyError, TargetError, UsageError
from roadworthy.formats.bundle import read_bundle
from roadworthy.graphs.runner import GraphModel
from roadworthy.records.contract import ColumnType, MissingPolicy
from roadworthy.stages.monitor import plan_of, self_test

ROWS = 300


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    """Two numbers, a whole number, a category, and a label that follows from them."""
    random = np.random.default_rng(5)
    a, b, city = random.normal(size=ROWS), random.normal(size=ROWS), random.choice(["Bonn", "Kiel", "Ulm"], ROWS)
    years = random.integers(18, 80, ROWS)
    y = (2 * a - b + (city == "Ulm") + random.logistic(size=ROWS) * 0.3 > 0).astype(int)
    return pl.DataFrame({"a": a, "b": b, "years": years, "city": city, "y": y})


@pytest.fixture(scope="module")
def linear(rows: pl.DataFrame) -> Any:
    """A logistic regression on a, b and years, which knows no missing value."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - half a second
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415 - as above
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415 - as above

    x, y = rows.select("a", "b", "years").to_numpy(), rows.get_column("y").to_numpy()
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)


@pytest.fixture(scope="module")
def trees(rows: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A booster on a, b and years in LightGBM's own file."""
    import lightgbm  # noqa: PLC0415 - as above

    names = ["a", "b", "years"]
    data = lightgbm.Dataset(rows.select(names).to_numpy(), rows.get_column("y").to_numpy(), feature_name=names)
    setting = {"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": 7}
    file = tmp_path_factory.mktemp("trees") / "trees.txt"
    lightgbm.train(setting, data, 10).save_model(file)
    return file


def converted(model: Any, rows: pl.DataFrame, folder: Path, target: str = "y", **words: Any) -> Work:
    """All that ``package`` does before it inspects."""
    return prepared(model, given_rows(rows, None, target), Words(project=folder, data="rows.parquet", **words))


def columns(work: Work) -> dict[str, tuple[ColumnType, MissingPolicy]]:
    return {name: (one.type, one.missing) for name, one in work.spec.contract.columns.items()}


# --- the whole of it -----------------------------------------------------------------------------------------------


def test_an_estimator_becomes_a_version_with_all_that_our_own_have(
    linear: Any, rows: pl.DataFrame, tmp_path: Path
) -> None:
    found = rw.package(
        linear, rows.select("a", "b", "years"), rows.get_column("y").to_list(), target="y",
        project=tmp_path, name="others",
        standard={"extends": "none", "accuracy": ">= 0.7", "parity": "<= 1e-5", "availability": ">= 0.99"}, quick=True,
    )  # fmt: skip
    assert found.version.title == "others-1"
    assert found.wrote
    assert set(found.version.lineage) == {"model", "rows", "package"}
    assert "no way to take a missing value of a, b, years" in " ".join(found.notes)

    opened = assembly.open_project(tmp_path)
    bundle = read_bundle(found.bundle, [assembly.project_keys(opened).public_pem])
    parts = bundle.parts
    assert bundle.digest == found.version.manifest
    assert parts.parents == {"model": found.version.lineage["model"], "holdout": found.version.evidence.holdout}
    assert set(parts.reference) == {"columns.json", "scores.json", "calibrator.json", "golden.json", "estimator.json"}
    assert self_test(parts) == 16
    assert {rule.metric for rule in plan_of(parts).rules} == {"accuracy", "availability"}
    assert "was trained elsewhere" in parts.card_md
    measured = {one.metric for one in parts.evidence.measurements}
    assert {"parity", "decision_flips", "accuracy", "quarantined_share", "latency_p99", "size"} <= measured

    row = rows.row(7, named=True)
    own = linear.predict_proba(rows.select("a", "b", "years").to_numpy())[:, 1]
    said = rw.predict({name: row[name] for name in ("a", "b", "years")}, tmp_path)
    assert said.score == pytest.approx(own[7], abs=1e-6)
    with pytest.raises(DataError, match="does not meet the contract"):
        rw.predict({"a": None, "b": 0.1, "years": 30}, tmp_path)
    shown = rw.status(tmp_path).versions[0]
    assert Path(shown.report).exists()
    assert (tmp_path / "report.html").exists()


# --- the graph and its contract ------------------------------------------------------------------------------------


def test_what_a_model_cannot_be_told_its_contract_refuses(linear: Any, rows: pl.DataFrame, tmp_path: Path) -> None:
    work = converted(linear, rows.select("a", "b", "years", "y"), tmp_path)
    reject = MissingPolicy.REJECT
    assert columns(work) == {
        "a": (ColumnType.NUMBER, reject), "b": (ColumnType.NUMBER, reject), "years": (ColumnType.INTEGER, reject),
        "y": (ColumnType.INTEGER, MissingPolicy.ALLOW),
    }  # fmt: skip
    assert work.declared.first
    assert not list(tmp_path.iterdir())


def test_trees_keep_their_missing_values(trees: Path, rows: pl.DataFrame, tmp_path: Path) -> None:
    holes = rows.with_columns(pl.when(pl.int_range(ROWS) % 7 > 0).then("a")).drop("city")
    work = converted(trees, holes, tmp_path)
    assert {policy for _, policy in columns(work).values()} == {MissingPolicy.ALLOW}
    assert work.made.notes == ()
    graph = GraphModel(work.made.content)
    assert graph.columns == ("a", "b", "years")
    assert [node.type for node in graph.inputs if node.name in graph.columns] == [
        "tensor(double)", "tensor(double)", "tensor(int64)",
    ]  # fmt: skip
    assert work.made.parity.value is not None
    assert work.made.parity.value < 1e-6


def test_a_first_contract_changes_no_value_of_the_models(trees: Path, rows: pl.DataFrame, tmp_path: Path) -> None:
    """-999 looks like a sentinel, and the model was asked about -999."""
    odd = rows.with_columns(pl.when(pl.int_range(ROWS) % 5 > 0).then("a").otherwise(-999.0)).drop("city")
    work = converted(trees, odd, tmp_path)
    assert work.spec.contract.columns["a"].sentinels == ()
    assert work.spec.contract.columns["a"].min is None


def test_categories_fail_as_the_model_does(rows: pl.DataFrame, tmp_path: Path) -> None:
    """One-hot encoding that raises for what it has not seen: the contract says which labels there are."""
    from sklearn.compose import ColumnTransformer  # noqa: PLC0415 - as above
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - as above
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415 - as above
    from sklearn.preprocessing import OneHotEncoder  # noqa: PLC0415 - as above

    taken = rows.select("a", "city", "y")
    rare = taken.with_columns(pl.when(pl.int_range(ROWS) < 2).then(pl.lit("Köln")).otherwise("city").alias("city"))
    steps = ColumnTransformer([("c", OneHotEncoder(), ["city"])], remainder="passthrough")
    model = make_pipeline(steps, LogisticRegression()).fit(rare.drop("y").to_pandas(), rare.get_column("y").to_list())
    work = converted(model, rare, tmp_path)
    city = work.spec.contract.columns["city"]
    assert (city.type, city.missing) == (ColumnType.CATEGORY, MissingPolicy.REJECT)
    assert city.allowed == ("Bonn", "Kiel", "Köln", "Ulm")
    assert "fails on labels of city" in " ".join(work.made.notes)


def test_a_graph_that_answers_where_its_estimator_refuses_is_not_asked(rows: pl.DataFrame, tmp_path: Path) -> None:
    """Trees in ONNX send NaN somewhere; scikit-learn's gradient boosting raises for it, so the contract refuses it."""
    from sklearn.ensemble import GradientBoostingClassifier  # noqa: PLC0415 - as above

    taken = rows.select("a", "b", "y")
    model = GradientBoostingClassifier(n_estimators=5).fit(taken.drop("y").to_numpy(), taken.get_column("y").to_numpy())
    work = converted(model, taken, tmp_path)
    assert [one.missing for one in work.spec.contract.columns.values()][:2] == [MissingPolicy.REJECT] * 2
    answered = GraphModel(work.made.content).score(taken.with_columns(a=pl.lit(None, dtype=pl.Float64)), finite=False)
    assert np.isfinite(answered).all()  # which is why it had to be asked of the estimator


@pytest.mark.parametrize("classes", [2, 3])
def test_xgboost_estimators(classes: int, rows: pl.DataFrame, tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost")
    taken = rows.select("a", "years")
    labels = rows.get_column("y") + (rows.get_column("b") > 0.5).cast(pl.Int64) * (classes - 2)
    model = xgboost.XGBClassifier(n_estimators=5, max_depth=2, n_jobs=1).fit(taken.to_numpy(), labels.to_numpy())
    work = converted(model, taken.with_columns(labels.alias("y")), tmp_path)
    own = model.predict_proba(taken.to_numpy())
    assert np.abs(GraphModel(work.made.content).score(taken) - (own if classes == 3 else own[:, 1])).max() < 1e-6


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_the_other_tasks(task: str, rows: pl.DataFrame, tmp_path: Path) -> None:
    import lightgbm  # noqa: PLC0415 - as above

    x = rows.select("a", "b")
    small: dict[str, Any] = {"n_estimators": 5, "num_leaves": 7, "verbose": -1, "n_jobs": 1}
    if task == "multiclass":
        labelled = x.with_columns(rows.get_column("city").alias("y"))
        model = lightgbm.LGBMClassifier(**small).fit(x.to_numpy(), labelled.get_column("y").to_numpy())
    else:
        labelled = x.with_columns(y=1e5 + 40 * pl.col("a") - pl.col("b"))
        model = lightgbm.LGBMRegressor(**small).fit(x.to_numpy(), labelled.get_column("y").to_numpy())
    work = converted(model, labelled, tmp_path)
    assert work.spec.task == task
    assert work.classes == (("Bonn", "Kiel", "Ulm") if task == "multiclass" else ())
    own = model.predict_proba(x.to_numpy()) if task == "multiclass" else model.predict(x.to_numpy())
    found = GraphModel(work.made.content).score(labelled)
    assert np.abs(found - own).max() <= 1e-6 * max(1, np.abs(own).max())


def graph_of(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: list[Any], opset: int = 17) -> bytes:
    graph = helper.make_graph(nodes, "others", inputs, outputs, initializer=weights)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 1)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


WEIGHTS = numpy_helper.from_array(np.array([[2.0], [-1.0]], dtype=np.float32), "w")


@pytest.mark.parametrize("opset", [11, 17])
def test_inputs_of_one_dimension_by_name_and_older_operator_sets(
    opset: int, rows: pl.DataFrame, tmp_path: Path
) -> None:
    """Inputs are called as the columns; their tensors are inside the graph, too."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in ("b", "a")]
    nodes = [
        helper.make_node("Mul", ["a", "two"], ["/Concat_1"]),
        helper.make_node("Sub", ["/Concat_1", "b"], ["score.missing"]),
        helper.make_node("Sigmoid", ["score.missing"], ["out"]),
    ]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N"])]
    two = numpy_helper.from_array(np.array(2, dtype=np.float32), "two")
    file = tmp_path / "m.onnx"
    file.write_bytes(graph_of(nodes, inputs, outputs, [two], opset))
    work = converted(file, rows.select("a", "b", "y"), tmp_path)
    own = 1 / (1 + np.exp(-(2 * rows.get_column("a") - rows.get_column("b")).to_numpy()))
    assert np.abs(GraphModel(work.made.content).score(rows) - own).max() < 1e-6


def test_maps_from_label_to_probability_are_read_in_the_order_of_labels(rows: pl.DataFrame, tmp_path: Path) -> None:
    """A ZipMap whose labels stand the other way round: the first column is the event's."""
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", 2])]
    nodes = [
        helper.make_node("MatMul", ["X", "w"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["p"]),
        helper.make_node("Sub", ["one", "p"], ["q"]),
        helper.make_node("Concat", ["p", "q"], ["both"], axis=1),
        helper.make_node("ZipMap", ["both"], ["out"], domain="ai.onnx.ml", classlabels_int64s=[1, 0]),
    ]
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    outputs = [helper.make_value_info("out", helper.make_sequence_type_proto(kind))]
    one = numpy_helper.from_array(np.array(1, dtype=np.float32), "one")
    file = tmp_path / "m.onnx"
    file.write_bytes(graph_of(nodes, inputs, outputs, [WEIGHTS, one]))
    work = converted(file, rows.select("a", "b", "y"), tmp_path)
    assert work.classes == ("0", "1")
    own = 1 / (1 + np.exp(-(2 * rows.get_column("a") - rows.get_column("b")).to_numpy()))
    assert np.abs(GraphModel(work.made.content).score(rows) - own).max() < 1e-6
    assert "ZipMap" not in {node.op_type for node in onnx.load_from_string(work.made.content).graph.node}


def test_a_fixed_number_of_rows_is_refused(rows: pl.DataFrame, tmp_path: Path) -> None:
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, [1, 2])]
    nodes = [helper.make_node("MatMul", ["X", "w"], ["z"]), helper.make_node("Sigmoid", ["z"], ["out"])]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 1])]
    file = tmp_path / "m.onnx"
    file.write_bytes(graph_of(nodes, inputs, outputs, [WEIGHTS]))
    with pytest.raises(ModelError, match="a fixed number of rows"):
        converted(file, rows.select("a", "b", "y"), tmp_path)


# --- a project that is there ---------------------------------------------------------------------------------------


def project(folder: Path, rows: pl.DataFrame) -> Path:
    """A project that ``init`` wrote for these rows."""
    rows.write_parquet(folder / "rows.parquet")
    return rw.init(folder / "rows.parquet", target="y", folder=folder, name="ours").file


def test_a_project_keeps_its_contract_and_is_not_written(trees: Path, rows: pl.DataFrame, tmp_path: Path) -> None:
    file = project(tmp_path, rows)
    before = file.read_text()
    work = converted(trees, rows, file)
    assert not work.declared.first
    assert work.spec.name == "ours"
    assert set(work.spec.contract.columns) == set(rows.columns)
    assert file.read_text() == before


def test_words_that_contradict_a_project_are_told_all_at_once(trees: Path, rows: pl.DataFrame, tmp_path: Path) -> None:
    file = project(tmp_path, rows)
    with pytest.raises(UsageError, match="does not belong to the project ours") as refused:
        converted(trees, rows, file, name="theirs", time="a", standard={"accuracy": ">= 0.1"})
    said = str(refused.value)
    assert all(word in said for word in ("--name theirs", "--time a", "--standard another standard"))


def test_a_contract_without_the_models_columns_is_refused(trees: Path, rows: pl.DataFrame, tmp_path: Path) -> None:
    columns_there = rows.with_columns(b=pl.lit("low"))
    file = project(tmp_path, columns_there.drop("a"))
    with pytest.raises(DataError, match="contract does not fit") as refused:
        converted(trees, rows, file)
    assert "column a: not in the contract" in str(refused.value)
    assert "column b: type category; expected integer or number" in str(refused.value)


def test_a_contract_that_changes_the_models_values_is_found_out(
    trees: Path, rows: pl.DataFrame, tmp_path: Path
) -> None:
    odd = rows.with_columns(pl.when(pl.int_range(ROWS) % 5 > 0).then("a").otherwise(9.0))
    file = project(tmp_path, odd)
    assert 'sentinels = ["9"]' in file.read_text()  # as `init` reads such a column
    with pytest.raises(ModelError, match=r"answers otherwise than trees.txt") as refused:
        converted(trees, odd, file)
    assert "0 of the rows: score" in str(refused.value) or "5 of the rows: score" in str(refused.value)


# --- what is refused -----------------------------------------------------------------------------------------------


def refused_kinds(folder: Path, trees: Path) -> dict[str, tuple[Any, type[RoadworthyError], str]]:
    import lightgbm  # noqa: PLC0415 - as above

    (folder / "model.pkl").write_bytes(pickle.dumps({"weights": [1.0]}))
    return {
        "pickle": (folder / "model.pkl", ModelError, "is a pickle.*never loaded"),
        "nothing": (folder / "absent.onnx", ModelError, "there is no model"),
        "endpoint": ("http://127.0.0.1:9/v2/models/m", ModelError, "an address.*cannot be taken from there"),
        "booster": (lightgbm.Booster(model_file=trees), ModelError, "save it with save_model"),
        "function": (lambda x: x[:, 0] * 0 + 0.5, ModelError, "Python code, and a bundle holds none"),
        "columns": (trees, DataError, "lack columns that trees.txt was fitted on"),
    }


@pytest.mark.parametrize("kind", ["pickle", "nothing", "endpoint", "booster", "function", "columns"])
def test_refused_with_the_way_out_and_nothing_written(
    kind: str, trees: Path, rows: pl.DataFrame, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model, error, words = refused_kinds(tmp_path_factory.mktemp("models"), trees)[kind]
    taken = rows.select("b", "years", "y") if kind == "columns" else rows.drop("city")
    with pytest.raises(error, match=f"(?s){words}") as refused:
        rw.package(model, taken, target="y", project=tmp_path)
    assert "next:" in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_labels_that_do_not_fit_the_outputs(trees: Path, linear: Any, rows: pl.DataFrame, tmp_path: Path) -> None:
    names = ["a", "b", "years"]
    three = rows.select(*names, pl.col("city").alias("y"))
    with pytest.raises(ModelError, match="tells two classes apart, but the rows hold 3 labels"):
        rw.package(trees, three, target="y", project=tmp_path)
    other = rows.select(*names, pl.when(pl.col("y") == 1).then(pl.lit("yes")).otherwise(pl.lit("no")).alias("y"))
    with pytest.raises(TargetError, match="does not know the labels 'no', 'yes'"):
        rw.package(linear, other, target="y", project=tmp_path)
    assert not list(tmp_path.iterdir())


def test_xgboost_files(rows: pl.DataFrame, tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost")
    names = ["years", "b", "a"]
    data = xgboost.DMatrix(rows.select(names).to_numpy(), rows.get_column("y").to_numpy(), feature_names=names)
    file = tmp_path / "trees.json"
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1, "max_depth": 2}, data, 5)
    booster.save_model(file)
    work = converted(file, rows, tmp_path)
    assert np.abs(GraphModel(work.made.content).score(rows) - booster.predict(data)).max() < 1e-6
    assert work.spec.name == "trees"


def test_words_that_cannot_be_meant(trees: Path, rows: pl.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--threshold 7 is no probability"):
        converted(trees, rows, tmp_path, threshold=7.0)
    with pytest.raises(UsageError, match="there is no folder"):
        converted(trees, rows, tmp_path / "absent")
    assert converted(trees, rows, tmp_path, threshold=0.3).spec.decision.threshold == 0.3

"""The user's own trainer: found from the project's folder, three kinds of result, and errors that say what to do."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from roadworthy.adapters.trainers import custom_code, trainer_named
from roadworthy.adapters.trainers.custom import CustomTrainer
from roadworthy.errors import TrainingError
from roadworthy.protocols import FittedModel, TrainingData
from roadworthy.records.model import ProgressLine
from roadworthy.records.project import Task


def made_data(task: Task = Task.BINARY) -> TrainingData:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)).astype(np.float32)
    classes = {Task.BINARY: 2, Task.MULTICLASS: 4, Task.REGRESSION: 0}[task]
    y = x[:, 0].astype(np.float64) if task is Task.REGRESSION else (x[:, 0] > 0).astype(np.int64)
    return TrainingData(
        task=task,
        x=x[:150],
        y=y[:150],
        weights=np.ones(150),
        valid_x=x[150:],
        valid_y=y[150:],
        classes=classes,
        names=("a", "b", "c"),
        seed=1,
    )


def fit(
    folder: Path, source: str, *, task: Task = Task.BINARY, name: str = "own:fit"
) -> tuple[FittedModel, list[ProgressLine]]:
    (folder / "own.py").write_text(source)
    lines: list[ProgressLine] = []
    return trainer_named(name, folder).fit(made_data(task), {"depth": 2}, lines.append), lines


TREE = """
from sklearn.tree import DecisionTree{kind}

def fit(data, parameters):
    return DecisionTree{kind}(max_depth=parameters["depth"], random_state=data.seed).fit(data.x, data.y)
"""

GRAPH = """
import numpy as np
from onnx import TensorProto, helper, numpy_helper

def fit(data, parameters):
    weights = numpy_helper.from_array(np.array([[1.0], [0.0], [0.0]], dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["X", "w"], ["m"]), helper.make_node("Sigmoid", ["m"], ["score"])],
        "own",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", 1])],
        [weights],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10
    ).SerializeToString()
"""

OWN = (
    GRAPH.replace("def fit(", "def graph(")
    + """
class Mine:
    best_step = 3
    def predict(self, x):
        return 1 / (1 + np.exp(-x[:, 0].astype(float)))
    def to_onnx(self):
        return graph(None, None)

def fit(data, parameters):
    return Mine()
"""
)


@pytest.mark.parametrize(
    ("source", "task"),
    [
        (TREE.format(kind="Classifier"), Task.BINARY),
        (TREE.format(kind="Classifier"), Task.MULTICLASS),
        (TREE.format(kind="Regressor"), Task.REGRESSION),
        (GRAPH, Task.BINARY),
        (OWN, Task.BINARY),
    ],
    ids=["binary tree", "tree that saw two of four classes", "regression tree", "graph", "own model"],
)
def test_an_estimator_a_graph_or_an_own_model_becomes_a_candidate(
    tmp_path: Path, source: str, task: Task, capfd: pytest.CaptureFixture[str]
) -> None:
    model, lines = fit(tmp_path, source, task=task)
    x = made_data(task).valid_x
    own = model.predict(x)
    session = onnxruntime.InferenceSession(model.to_onnx(), providers=["CPUExecutionProvider"])
    scores = session.run(["score"], {"X": x})[0]
    assert scores.shape == (50, 4 if task is Task.MULTICLASS else 1)
    np.testing.assert_allclose(scores.reshape(own.shape), own, atol=1e-5)
    assert len(lines) == 1
    assert lines[0].valid_quality > 0.8
    assert lines[0].step == model.best_step
    assert len(session.get_outputs()) == 1
    assert capfd.readouterr().err == ""


def test_two_projects_may_each_have_a_module_of_one_name(tmp_path: Path) -> None:
    for folder, step in (("first", 3), ("second", 5), ("first", 3)):
        (tmp_path / folder).mkdir(exist_ok=True)
        model, _ = fit(tmp_path / folder, OWN.replace("best_step = 3", f"best_step = {step}"))
        assert model.best_step == step
    assert "own" not in sys.modules
    assert str(tmp_path / "first") not in sys.path


def test_an_edit_of_any_file_that_the_function_may_import_changes_its_digest(tmp_path: Path) -> None:
    (tmp_path / "deep" / "own").mkdir(parents=True)
    for name in ("models.py", "layers.py", "deep/own/blocks.py"):
        (tmp_path / name).write_text("x = 1\n")
    for passed_over in (".git/hook.py", "env/lib/thing.py", "site-packages/other.py"):
        (tmp_path / passed_over).parent.mkdir(parents=True)
        (tmp_path / passed_over).write_text("x = 1\n")
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    (tmp_path / "deep" / "again").symlink_to(tmp_path, target_is_directory=True)

    def digest() -> str:
        return CustomTrainer("models:fit", tmp_path).source_digest

    first = digest()
    for name in ("models.py", "layers.py", "deep/own/blocks.py"):
        (tmp_path / name).write_text("x = 2\n")
        assert digest() != first
        (tmp_path / name).write_text("x = 1\n")
        assert digest() == first
    (tmp_path / "layers.py").rename(tmp_path / "layer.py")
    assert digest() != first
    (tmp_path / "layer.py").rename(tmp_path / "layers.py")
    for name in (".git/hook.py", "env/lib/thing.py", "site-packages/other.py", "rows.csv", "deep/notes.txt"):
        (tmp_path / name).write_text("x = 2\n")
    assert digest() == first


def test_two_folders_of_one_content_have_one_digest(tmp_path: Path) -> None:
    digests = set()
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "own.py").write_text("x = 1\n")
        digests.add(CustomTrainer("own:fit", tmp_path / name).source_digest)
    assert len(digests) == 1


def test_too_many_files_are_refused_rather_than_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custom_code, "MOST_FILES", 3)
    for name in "abc":
        (tmp_path / f"{name}.py").write_text("")
    assert CustomTrainer("a:fit", tmp_path).source_digest.startswith("sha256:")
    (tmp_path / "d.py").write_text("")
    with pytest.raises(TrainingError, match=r"more than 3; expected fewer(?s:.*)next: move roadworthy.toml"):
        _ = CustomTrainer("a:fit", tmp_path).source_digest


def test_an_installed_package_is_told_apart_by_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, site = tmp_path / "project", tmp_path / "site-packages"
    project.mkdir()
    (site / "brought").mkdir(parents=True)
    (site / "brought" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(site))

    def digest(version: str) -> str:
        info = site / f"brought_by-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: brought-by\nVersion: {version}\n")
        (info / "top_level.txt").write_text("brought\n")
        (info / "RECORD").write_text("brought/__init__.py,,\n")
        importlib.invalidate_caches()
        found = CustomTrainer("brought.models:fit", project).source_digest
        shutil.rmtree(info)
        importlib.invalidate_caches()
        return found

    first = digest("1.0")
    (project / "prepare.py").write_text("x = 1\n")  # the project's own files are not what this trainer runs
    assert digest("1.0") == first
    assert digest("1.1") != first
    editable = CustomTrainer("brought.models:fit", project).source_digest  # on the path, of no distribution
    (site / "brought" / "models.py").write_text("x = 1\n")
    assert CustomTrainer("brought.models:fit", project).source_digest != editable
    assert CustomTrainer("nowhere.models:fit", project).source_digest == ""
    assert "brought" not in sys.modules


@pytest.mark.parametrize(
    ("source", "name", "said"),
    [
        ("", "missing_module:fit", "module 'missing_module' of candidate .* was not found"),
        ("import missing_library\n", "own:fit", "module 'missing_library' of candidate"),
        ("def train(data, parameters): ...\n", "own:fit", "no function 'fit'; it has: train"),
        ("def fit(data): ...\n", "own:fit", r"cannot be called as function\(data, parameters\)"),
        ("def fit(data, parameters): return 3\n", "own:fit", "returned int"),
        ("def fit(data, parameters): return b'nothing'\n", "own:fit", "ONNX graph is invalid"),
        ("def fit(data, parameters:\n", "own:fit", "own.py, line 1"),
        (
            "from sklearn.svm import LinearSVC\ndef fit(d, p): return LinearSVC().fit(d.x, d.y)\n",
            "own:fit",
            "LinearSVC, which has no predict_proba",
        ),
        (
            "from sklearn.dummy import DummyClassifier\ndef fit(d, p): return DummyClassifier().fit(d.x, d.y + 5)\n",
            "own:fit",
            r"classes \[5, 6\]",
        ),
        (GRAPH.replace('["N", 3]', '["N", 4]'), "own:fit", r"input X float \[N, 4\]; expected X float32 \[N, 3\]"),
        ("def fit(data, parameters): ...\n", "own:fit me", "not of the form package.module:function"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(tmp_path: Path, source: str, name: str, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        fit(tmp_path, source, name=name)

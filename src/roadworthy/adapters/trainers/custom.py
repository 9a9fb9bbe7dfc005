"""The user's own candidate: ``package.module:function``, found from the project's folder.

In: the function's name, ``TrainingData`` and a mapping of parameters. The function returns one of three things: a
``FittedModel`` (``predict``, ``to_onnx``, ``best_step``), a fitted scikit-learn estimator or pipeline, or the bytes
of an ONNX graph (``X`` float32 [N, inputs] → ``score`` float32 [N, 1 or classes]). Out: a ``FittedModel``.

Law: the user's code runs while training and never again; the bundle holds the graph alone.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from roadworthy.adapters.trainers.custom_code import code_digest
from roadworthy.adapters.trainers.onnx_export import check_graph, estimator_graph, outputs_of
from roadworthy.adapters.trainers.progress import Progress, Report
from roadworthy.errors import Problem, TrainingError
from roadworthy.graphs.join import MATRIX
from roadworthy.protocols import FittedModel, TrainingData
from roadworthy.records.digests import Digest
from roadworthy.records.project import Task

__all__ = ["CustomTrainer"]


class _Checked:
    """A model of the user's own class; its graph is checked when it is made."""

    def __init__(self, model: Any, inputs: int, outputs: int) -> None:
        self._model = model
        self._inputs = inputs
        self._outputs = outputs
        self.best_step = int(model.best_step)

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """The user's own prediction."""
        return _shaped(np.asarray(self._model.predict(x), dtype=np.float64), self._outputs, len(x))

    def to_onnx(self) -> bytes:
        """The user's own graph, checked."""
        content: bytes = self._model.to_onnx()
        check_graph(content, inputs=self._inputs, outputs=self._outputs)
        return content


class _Estimator:
    """A scikit-learn estimator fitted by the user."""

    best_step = 1

    def __init__(self, estimator: Any, data: TrainingData) -> None:
        self._estimator = estimator
        self._task = data.task
        self._classes = data.classes
        self._inputs = data.x.shape[1]

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities, spread over all classes where training rows lacked one; or estimates."""
        if self._task is Task.REGRESSION:
            return np.asarray(self._estimator.predict(x), dtype=np.float64).reshape(-1)
        chances = np.zeros((len(x), self._classes))
        chances[:, np.asarray(self._estimator.classes_, dtype=np.int64)] = self._estimator.predict_proba(x)
        return chances[:, 1] if self._task is Task.BINARY else chances

    def to_onnx(self) -> bytes:
        """By way of skl2onnx."""
        return estimator_graph(self._estimator, self._task, inputs=self._inputs, classes=self._classes)


class _Graph:
    """An ONNX graph made by the user."""

    best_step = 1

    def __init__(self, content: bytes, data: TrainingData) -> None:
        self._outputs = outputs_of(data.task, data.classes)
        check_graph(content, inputs=data.x.shape[1], outputs=self._outputs)
        self._content = content
        try:
            self._session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's own errors share no public parent
            raise TrainingError(f"ONNX Runtime cannot load the graph: {str(error).strip()[:200]}") from error

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """What ONNX Runtime answers."""
        return _shaped(np.asarray(self._session.run(None, {MATRIX: x})[0], np.float64), self._outputs, len(x))

    def to_onnx(self) -> bytes:
        """The graph as it was given."""
        return self._content


class CustomTrainer:
    """A candidate trained by a function of the user's: ``function(data: TrainingData, parameters: Mapping)``.

    ``name`` is ``package.module:function``; ``folder`` the project's folder, searched before everything else. There
    are no defaults and nothing is tuned: parameters come from ``[training.parameters]`` as they are written.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._folder = folder.resolve()

    @property
    def source_digest(self) -> Digest:
        """Digest of the Python files in the project's folder, or of the installed package's version."""
        return code_digest(self.name, self._folder)

    def defaults(self, task: Task, rows: int) -> Mapping[str, Any]:  # noqa: ARG002  # the protocol's signature
        """None: the function knows its own."""
        return {}

    def space(self, task: Task) -> Mapping[str, tuple[Any, ...]]:  # noqa: ARG002  # the protocol's signature
        """Nothing is tuned."""
        return {}

    def fit(self, data: TrainingData, parameters: Mapping[str, Any], report: Report) -> FittedModel:
        """Call the function and take what it returns; one line of loss and quality is left.

        Raises TrainingError when the module or the function is not there, cannot be called so, or returns
        something else than the three kinds of model.
        """
        with _on_path(self._folder):
            function = self._function()
            made = function(data, parameters)
        model = self._model(made, data)
        scores = model.predict(data.x[:1])
        if not np.isfinite(scores).all():
            raise TrainingError(f"the model that {self.name} returned answers {scores} for the first training row")
        Progress(self.name, data, report).step(model.best_step, model.predict)
        return model

    def _function(self) -> Callable[[TrainingData, Mapping[str, Any]], Any]:
        module_name, _, function_name = self.name.partition(":")
        if not module_name or not function_name.isidentifier():
            raise TrainingError(f"candidate {self.name!r} is not of the form package.module:function")
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            raise TrainingError(
                f"module {error.name!r} of candidate {self.name!r} was not found",
                problems=[Problem("searched the project's folder and the installed packages", where=str(self._folder))],
                next_step=f"create {module_name.replace('.', '/')}.py beside roadworthy.toml, or install it",
            ) from error
        except SyntaxError as error:
            place = f"{error.filename}, line {error.lineno}"
            raise TrainingError(
                f"module {module_name!r} cannot be read", problems=[Problem(str(error.msg), where=place)]
            ) from error
        function = getattr(module, function_name, None)
        if not callable(function):
            known = ", ".join(sorted(name for name, value in vars(module).items() if inspect.isfunction(value)))
            raise TrainingError(f"module {module_name!r} has no function {function_name!r}; it has: {known or 'none'}")
        self._check_signature(function)
        checked: Callable[[TrainingData, Mapping[str, Any]], Any] = function
        return checked

    def _check_signature(self, function: Callable[..., Any]) -> None:
        signature = inspect.signature(function)
        try:
            signature.bind(None, {})
        except TypeError as error:
            raise TrainingError(
                f"{self.name} cannot be called as function(data, parameters): {error}",
                problems=[Problem(f"its signature is {signature}", expected="(data, parameters)", where=self.name)],
            ) from error

    def _model(self, made: Any, data: TrainingData) -> FittedModel:
        outputs = outputs_of(data.task, data.classes)
        if isinstance(made, bytes):
            return _Graph(made, data)
        if all(hasattr(made, part) for part in ("predict", "to_onnx", "best_step")):
            return _Checked(made, data.x.shape[1], outputs)
        if isinstance(made, BaseEstimator):
            self._check_estimator(made, data)
            return _Estimator(made, data)
        raise TrainingError(
            f"{self.name} returned {type(made).__name__}",
            problems=[
                Problem(
                    type(made).__name__,
                    expected="an object with predict, to_onnx and best_step; a fitted scikit-learn estimator; or the "
                    "bytes of an ONNX graph",
                )
            ],
        )

    def _check_estimator(self, estimator: Any, data: TrainingData) -> None:
        if data.task is Task.REGRESSION:
            return
        if not hasattr(estimator, "predict_proba"):
            raise TrainingError(f"{self.name} returned {type(estimator).__name__}, which has no predict_proba")
        seen = np.asarray(estimator.classes_)
        if not np.isin(seen, np.arange(data.classes)).all():
            raise TrainingError(
                f"{self.name} returned an estimator of the classes {seen.tolist()}; expected the codes of data.y, "
                f"0 to {data.classes - 1}"
            )


def _shaped(scores: NDArray[np.float64], outputs: int, rows: int) -> NDArray[np.float64]:
    """[rows] where there is one output; raises TrainingError on any other shape than was declared."""
    flat = scores.reshape(-1) if outputs == 1 and scores.size == rows else scores
    wanted = (rows,) if outputs == 1 else (rows, outputs)
    if flat.shape != wanted:
        raise TrainingError(f"the model's predict gave the shape {scores.shape} for {rows} rows; expected {wanted}")
    return flat


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    """``folder`` first on the module path; modules from it are forgotten afterwards.

    So the next training reads the files anew, and two projects may each have a ``models.py``.
    """
    before = set(sys.modules)
    hidden = {name: sys.modules.pop(name) for name in _shadowed(folder)}
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - (before - set(hidden)):
            if _lies_in(sys.modules[name], folder):
                del sys.modules[name]
        sys.modules.update(hidden)


def _shadowed(folder: Path) -> list[str]:
    """Loaded modules from elsewhere whose name the project's folder also has."""
    own = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    standard = set(sys.stdlib_module_names) | {"roadworthy"}
    return [
        name
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in own - standard and not _lies_in(module, folder)
    ]


def _lies_in(module: object, folder: Path) -> bool:
    place = getattr(module, "__file__", None)
    return bool(place) and Path(str(place)).resolve().is_relative_to(folder)

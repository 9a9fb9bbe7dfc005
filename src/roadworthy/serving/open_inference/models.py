"""Which model a request means, and what the protocol tells of it.

In: a model name and perhaps a version, as a client writes them. Out: the ``Model`` in service, made once for each
version that comes into service; metadata. Laws: another name or version is refused with what there is; a request is
read and answered by one version.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version as library_version
from typing import Any

import msgspec

from roadworthy.errors import Problem
from roadworthy.serving.batching import Given
from roadworthy.serving.calls import Failure
from roadworthy.serving.open_inference.inputs import Inputs
from roadworthy.serving.open_inference.outputs import Outputs
from roadworthy.serving.open_inference.tensors import Tensor, short
from roadworthy.serving.predicting import answered
from roadworthy.serving.rows import RowsRefused
from roadworthy.serving.service import Line, Service, State

__all__ = ["Model", "Models", "TensorMetadata", "is_ready", "server_metadata"]

_SERVER = "roadworthy"
_EXTENSIONS = ("binary_tensor_data",)


class TensorMetadata(msgspec.Struct, frozen=True):
    """What metadata tell of a tensor; -1 is a size that is left open."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Model:
    """A version in service as the protocol sees it. ``platform`` is what runs it."""

    platform = "onnx"

    def __init__(self, name: str, line: Line) -> None:
        engine = line.chain.first
        self.name, self.line, self.version = name, line, engine.title
        self.number = engine.title.removeprefix(f"{name}-")
        self.inputs, self.outputs = Inputs(engine), Outputs(engine)
        self.classes = engine.classes

    def input_metadata(self) -> list[TensorMetadata]:
        """The inputs that a request must have."""
        return [TensorMetadata(one.name, one.datatype, (-1, 1)) for one in self.inputs.required]

    def output_metadata(self) -> list[TensorMetadata]:
        """The outputs that there are."""
        return [TensorMetadata(*declared) for declared in self.outputs.declared]

    def properties(self) -> dict[str, str]:
        """What the other members have no place for, as text."""
        found: dict[str, str] = {}
        if self.inputs.matrix:
            found["single_tensor"] = f"FP64 [-1, {self.inputs.matrix}] of any other name: all inputs, in this order"
        if self.inputs.optional:
            found["optional_inputs"] = _as_text([one.name for one in self.inputs.optional])
        if self.classes:
            found["classes"] = _as_text(list(self.classes))
        return found

    async def answer(self, service: Service, tensors: Sequence[Tensor], until: float) -> Given:
        """What the model says of these tensors; raises a RoadworthyError where it says nothing."""
        try:
            rows = self.inputs.rows(tensors)
        except RowsRefused as refused:
            service.refused(refused.broken)
            raise
        return await answered(service, self.line, rows, until)


class Models:
    """Finds the model that a request means."""

    def __init__(self) -> None:
        self._model: Model | None = None

    def find(self, service: Service, name: str, version: str = "") -> Model:
        """The model in service; Failure 404 for another name or version."""
        line = service.line
        model = self._model
        if model is None or model.line is not line:
            model = self._model = Model(service.name, line)
        if name != service.name:
            wanted = Problem(short(name), expected=service.name, where="model")
            raise Failure(404, "there is no such model", problems=[wanted])
        if version not in {"", model.version, model.number}:
            wanted = Problem(short(version), expected=f"{model.version} or {model.number}", where="version")
            raise Failure(404, "this version is not in service", problems=[wanted], next_step="leave the version out")
        return model


def is_ready(service: Service | None) -> bool:
    """Whether requests should be sent here."""
    return service is not None and service.state is State.READY


def server_metadata() -> dict[str, Any]:
    """What the protocol tells of the server."""
    return {"name": _SERVER, "version": _own_version(), "extensions": list(_EXTENSIONS)}


@cache
def _own_version() -> str:
    return library_version(_SERVER)


def _as_text(names: list[str]) -> str:
    return msgspec.json.encode(names).decode()

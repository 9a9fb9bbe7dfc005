"""Builds one ONNX graph, node by node, from cleaned columns to named outputs.

Owns: the opset constants that every graph of the project shares, the two graph inputs per column, fresh names,
and the reuse of equal nodes. What flows in: column names with their types, operators, constants. What flows out:
a checked ``onnx.ModelProto``.

Laws: asking twice for the same column, constant or node gives the same name; an input, a node's result and an
output never share a name; ``model`` returns only what ``onnx.checker`` accepts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from roadworthy.errors import ModelError
from roadworthy.records.contract import ColumnType

__all__ = ["IR_VERSION", "ML_OPSET", "OPSET", "OnnxBuilder", "Pair", "input_dtype"]

OPSET: Final = 21
"""Version of the standard operators: new enough for strings in ``Equal`` (19), known to skl2onnx (up to 22)."""

ML_OPSET: Final = 3
"""Version of ``ai.onnx.ml``: the one that skl2onnx and onnxmltools emit tree ensembles for."""

IR_VERSION: Final = 10
"""File format version that belongs to opset 21; ONNX Runtime 1.18 and later load it."""

_INPUT_DTYPES: Final = {
    ColumnType.INTEGER: TensorProto.INT64,
    ColumnType.NUMBER: TensorProto.DOUBLE,
    ColumnType.BOOLEAN: TensorProto.BOOL,
    ColumnType.CATEGORY: TensorProto.STRING,
    ColumnType.TEXT: TensorProto.STRING,
    ColumnType.TIME: TensorProto.INT64,
}

Attribute = int | float | str | Sequence[int] | Sequence[float] | Sequence[str] | onnx.TensorProto
Constant = float | int | bool | str | NDArray[np.generic] | Sequence[str]


class Pair(NamedTuple):
    """Names of two tensors of shape [N, 1]: a value and its missing mask (bool)."""

    value: str
    missing: str


def input_dtype(column_type: ColumnType | Literal["aggregate"]) -> int:
    """The ``TensorProto`` type that a column of this type enters the graph with; aggregates enter as double."""
    return TensorProto.DOUBLE if column_type == "aggregate" else _INPUT_DTYPES[ColumnType(column_type)]


def _is_text(value: Constant) -> bool:
    return isinstance(value, str) or (isinstance(value, list | tuple) and all(isinstance(v, str) for v in value))


def _attribute_key(value: Attribute) -> object:
    if isinstance(value, TensorProto):
        return value.SerializeToString(deterministic=True)
    if isinstance(value, str | int | float):
        return (type(value).__name__, repr(value))
    return tuple((type(item).__name__, repr(item)) for item in value)


class OnnxBuilder:
    """Collects inputs, constants, nodes and outputs of one graph.

    The batch dimension is called ``N``. Names made here start with ``/``; a column whose name collides with
    another name of the graph raises ModelError. Nodes that no output needs are left out of the model.
    """

    def __init__(self, name: str = "roadworthy") -> None:
        self._name = name
        self._inputs: dict[str, onnx.ValueInfoProto] = {}
        self._input_dtypes: dict[str, int] = {}
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._outputs: dict[str, onnx.ValueInfoProto] = {}
        self._known: dict[object, str] = {}
        self._taken: dict[str, str] = {}
        self._rowless: set[str] = set()

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the graph inputs so far, in the order of their first use."""
        return tuple(self._inputs)

    def dtype_of_input(self, name: str) -> int | None:
        """The ``TensorProto`` type of a graph input; None for a name that is not an input."""
        return self._input_dtypes.get(name)

    def is_constant(self, name: str) -> bool:
        """Whether the tensor depends on no graph input, so that it has no batch dimension."""
        return name in self._rowless

    def input_column(self, name: str, column_type: ColumnType | Literal["aggregate"]) -> Pair:
        """The two graph inputs of a column, ``<name>`` and ``<name>.missing``, both [N, 1]; made once.

        ``"aggregate"`` is a feature over an entity's past, which enters as a double. Raises ModelError when the
        column was asked for with another type before, or when a name is taken.
        """
        dtype = input_dtype(column_type)
        pair = Pair(name, f"{name}.missing")
        if self._taken.get(pair.value) == f"input {name}" and self._taken.get(pair.missing) == f"input {name}":
            if self._input_dtypes[pair.value] != dtype:
                raise ModelError(f"column {name!r} enters the graph with two types; the second is {column_type}")
            return pair
        for tensor, tensor_dtype in ((pair.value, dtype), (pair.missing, TensorProto.BOOL)):
            self._take(tensor, f"input {name}")
            self._inputs[tensor] = helper.make_tensor_value_info(tensor, tensor_dtype, ["N", 1])
            self._input_dtypes[tensor] = tensor_dtype
        return pair

    def constant(self, value: Constant, *, dtype: int | None = None) -> str:
        """A constant tensor; scalars have no dimensions and broadcast.

        Python floats become double, integers int64, booleans bool, texts string; arrays keep their type.
        ``dtype`` (a ``TensorProto`` type) overrides that for numbers.
        """
        array: NDArray[np.generic]
        if _is_text(value):
            array = np.array(value, dtype=object)
        elif dtype is not None:
            array = np.asarray(value, dtype=helper.tensor_dtype_to_np_dtype(dtype))
        else:
            array = np.asarray(value)
        tensor = numpy_helper.from_array(array)
        key = ("constant", tensor.SerializeToString(deterministic=True))
        if key not in self._known:
            tensor.name = self._fresh("constant")
            self._initializers[tensor.name] = tensor
            self._rowless.add(tensor.name)
            self._known[key] = tensor.name
        return self._known[key]

    def node(self, op: str, inputs: Iterable[str], *, domain: str = "", **attributes: Attribute) -> str:
        """The single result of an operator; an equal node that stands already is used again.

        ``domain`` is "" for the standard operators or ``"ai.onnx.ml"``.
        """
        names = tuple(inputs)
        settings = tuple((key, _attribute_key(value)) for key, value in sorted(attributes.items()))
        key = ("node", domain, op, names, settings)
        if key not in self._known:
            result = self._fresh(op)
            made = helper.make_node(op, names, [result], name=result, domain=domain)
            made.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
            self._nodes.append(made)
            if all(name in self._rowless for name in names):
                self._rowless.add(result)
            self._known[key] = result
        return self._known[key]

    def output(self, name: str, value: str, dtype: int, *, width: int = 1) -> None:
        """Declares a graph output [N, ``width``] that carries the tensor ``value`` of type ``dtype``.

        Raises ModelError when the name is taken, for example by a column.
        """
        self._take(name, "output")
        self._nodes.append(helper.make_node("Identity", [value], [name], name=f"/output/{name}"))
        self._outputs[name] = helper.make_tensor_value_info(name, dtype, ["N", width])

    def model(self) -> onnx.ModelProto:
        """The graph so far as a checked model; raises ModelError when ONNX finds it invalid."""
        nodes, initializers = self._needed()
        graph = helper.make_graph(
            nodes, self._name, list(self._inputs.values()), list(self._outputs.values()), initializer=initializers
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="roadworthy", producer_version=""
        )
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ModelError(f"the graph {self._name!r} is not valid ONNX: {error}") from error
        return model

    def _needed(self) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
        """The nodes and constants that some output depends on, in order."""
        needed = set(self._outputs)
        nodes: list[onnx.NodeProto] = []
        for node in reversed(self._nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                nodes.append(node)
        return nodes[::-1], [tensor for name, tensor in self._initializers.items() if name in needed]

    def _fresh(self, op: str) -> str:
        name = f"/{op}_{len(self._taken)}"
        self._take(name, f"node {name}")
        return name

    def _take(self, name: str, owner: str) -> None:
        if name in self._taken:
            raise ModelError(
                f"two tensors of the graph would be called {name!r}: {self._taken[name]} and {owner}",
                next_step="rename the column",
            )
        self._taken[name] = owner

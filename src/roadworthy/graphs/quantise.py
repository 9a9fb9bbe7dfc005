"""Dynamic int8 quantisation: a graph whose matrix weights are 8-bit integers, as a candidate of its own.

In: a graph as bytes. Out: another graph, never a replacement: whoever takes it must show that it decides the
same. Law: the same input gives the same bytes.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from roadworthy.errors import ModelError
from roadworthy.graphs.loading import load_graph
from roadworthy.graphs.optimise import stripped

__all__ = ["quantisable", "quantise"]

_MATRIX_OPERATORS = ("MatMul", "Gemm")


def quantisable(content: bytes) -> bool:
    """Whether the graph multiplies by weights that can be stored as 8-bit integers.

    Trees have none, so int8 says nothing about them.
    """
    graph = load_graph(content).graph
    weights = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    return any(node.op_type in _MATRIX_OPERATORS and weights & set(node.input[1:2]) for node in graph.node)


def quantise(content: bytes) -> bytes:
    """Weights of MatMul and Gemm to int8 per tensor, activations to uint8 at run time by their range.

    Weights use 7 of the 8 bits, so that no processor's 16-bit sums saturate and all give the same result.

    Source: Jacob et al. (2018), "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", arXiv:1712.05877, as onnxruntime.quantization implements it. Raises
    ModelError when the graph cannot be quantised.
    """
    if not quantisable(content):
        raise ModelError("the graph multiplies by no weight matrix, so there is nothing to quantise")
    root, silent = logging.getLogger(), logging.NullHandler()
    level = root.level
    root.setLevel(logging.ERROR)  # the library writes advice to the root logger…
    root.addHandler(silent)  # …and would give it a handler of its own
    try:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
            source.write_bytes(content)
            quantize_dynamic(
                source,
                target,
                op_types_to_quantize=list(_MATRIX_OPERATORS),
                weight_type=QuantType.QInt8,
                reduce_range=True,
            )
            result: bytes = stripped(onnx.load_from_string(target.read_bytes())).SerializeToString(deterministic=True)
    except (ValueError, RuntimeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"the graph cannot be quantised: {error}") from error
    finally:
        root.setLevel(level)
        root.removeHandler(silent)
    load_graph(result, where="the quantised graph")
    return result

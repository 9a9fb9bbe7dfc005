"""Graphs that others made, cut down to the numbers that they score with.

In: a checked ONNX model, and which of its outputs holds the scores. Out: ``Export``: the model with that one tensor as
its output, and how rows are fed to it. Law: the tensor holds the very numbers that ``GraphModel.score`` reads, column
by column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

from roadworthy.errors import ModelError, Problem
from roadworthy.graphs.readings import Reading

__all__ = ["Export", "scores_only"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A model as a graph whose one output holds raw numbers, ``width`` a row, before they are read as scores.

    ``columns`` are those of the rows, in the model's order. Where ``named``, each is an input of that name; otherwise
    the one input takes them all as a matrix. ``levels`` are text columns that enter the matrix as codes: the place of
    the value in the list, NaN for any other. ``reading`` says what the numbers are where the model itself, asked in its
    own way, answers in another form. A mask ``<column>.missing`` beside an input is told what is missing.
    """

    model: onnx.ModelProto
    columns: tuple[str, ...]
    width: int
    named: bool = False
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reading: Reading | None = None

    @property
    def output(self) -> str:
        """The name of its output."""
        return str(self.model.graph.output[0].name)


def scores_only(model: onnx.ModelProto, output: str) -> onnx.ModelProto:
    """A copy whose only output is ``output``, without what nothing needs any more.

    Maps from label to probability (``ZipMap``) become the matrix that they were made of, its columns in the order of
    the labels. Raises ModelError for maps of another making.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    value = next(one for one in graph.output if one.name == output)
    if value.type.HasField("sequence_type"):
        value = helper.make_tensor_value_info(_matrix_of_maps(graph, output), onnx.TensorProto.FLOAT, [None, None])
    kept = onnx.ValueInfoProto.FromString(value.SerializeToString())
    del graph.output[:]
    graph.output.append(kept)
    _drop_unneeded(graph)
    return copy


def _matrix_of_maps(graph: onnx.GraphProto, output: str) -> str:
    """The name of the probabilities behind maps, their columns as the runtime's maps are sorted."""
    maker = next((node for node in graph.node if output in node.output), None)
    if maker is None or maker.op_type != "ZipMap":
        raise ModelError(
            f"the scores are maps from label to probability that no ZipMap made ({output})",
            problems=[Problem("a sequence of maps", where=f"output {output}", expected="a tensor of probabilities")],
            next_step="export the model again with its probabilities as a tensor (skl2onnx: options={'zipmap': False})",
        )
    labels: list[int] | list[bytes] = next(
        list(one.ints) or list(one.strings) for one in maker.attribute if one.name.startswith("classlabels_")
    )
    order = sorted(range(len(labels)), key=lambda place: labels[place])
    if order == list(range(len(labels))):
        return str(maker.input[0])
    graph.initializer.append(numpy_helper.from_array(np.array(order, dtype=np.int64), f"{output}/order"))
    graph.node.append(helper.make_node("Gather", [maker.input[0], f"{output}/order"], [f"{output}/matrix"], axis=1))
    return f"{output}/matrix"


def _drop_unneeded(graph: onnx.GraphProto) -> None:
    """Nodes and weights that the outputs do not depend on go; graphs inside nodes keep what they read."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed |= _read_by(node)
            kept.append(node)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(kept)]
    weights = [one for one in graph.initializer if one.name in needed]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)


def _read_by(node: onnx.NodeProto) -> set[str]:
    names = set(node.input)
    for attribute in node.attribute:
        for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            names |= {value.name for value in inner.output}
            for one in inner.node:
                names |= _read_by(one)
    return names

"""The labels that a classifier's graph names itself, in the order of its scores.

In: a parsed ONNX model. Out: labels as text, or none where the graph does not say. Source: the operators of
``ai.onnx.ml`` that carry class labels (ONNX ML operator schemas).
"""

from __future__ import annotations

import onnx

__all__ = ["graph_labels"]

_INTEGERS = ("classlabels_int64s", "classlabels_ints")
_TEXTS = ("classlabels_strings",)
_CARRIERS = ("ZipMap", "TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier")


def graph_labels(model: onnx.ModelProto) -> tuple[str, ...]:
    """Labels by the last operator that carries some; a ZipMap, which names the output itself, comes before others.

    The runtime gives a ZipMap's labels in their sorted order.
    """
    found: dict[str, tuple[str, ...]] = {}
    for node in model.graph.node:
        if node.op_type in _CARRIERS:
            integers, texts = _labels(node)
            labels = [*integers, *texts]
            if node.op_type == "ZipMap":
                labels = [*sorted(integers), *sorted(texts)]
            if labels:
                found[node.op_type] = tuple(str(label) for label in labels)
    if "ZipMap" in found:
        return found["ZipMap"]
    return next(reversed(found.values()), ())


def _labels(node: onnx.NodeProto) -> tuple[list[int], list[str]]:
    integers = [number for one in node.attribute if one.name in _INTEGERS for number in one.ints]
    texts = [text.decode("utf-8", "replace") for one in node.attribute if one.name in _TEXTS for text in one.strings]
    return integers, texts

"""Whether the time that a graph takes depends on what it is asked.

In: a graph. Out: yes or no. Law: a graph without a loop does the same work for every row.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx

__all__ = ["has_loop"]

_LOOPS = frozenset({"Loop", "Scan"})


def has_loop(content: bytes) -> bool:
    """Whether anything in the graph is repeated as often as its inputs say, so that a row may keep it busy for ever."""
    model = onnx.load_from_string(content)
    return _repeats(model.graph.node) or any(_repeats(function.node) for function in model.functions)


def _repeats(nodes: Iterable[onnx.NodeProto]) -> bool:
    return any(
        node.op_type in _LOOPS
        or any(_repeats(attribute.g.node) for attribute in node.attribute if attribute.HasField("g"))
        for node in nodes
    )

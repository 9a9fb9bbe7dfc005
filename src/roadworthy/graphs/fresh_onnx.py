"""How a fresh process loads an ONNX graph: with ONNX Runtime alone, on one thread. Read by ``fresh_child``.

In: a file's path. Out: a function from a feed to the outputs. A graph whose first size is fixed is run that many rows
at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnxruntime as ort


def load(path: str) -> Callable[[dict[str, Any]], Any]:
    """The graph, ready to predict: set up as ``graphs.runner`` does."""
    options = ort.SessionOptions()
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    sizes = [node.shape[0] for node in session.get_inputs() if node.shape]
    fixed = next((size for size in sizes if isinstance(size, int) and size > 0), 0)

    def predict(feed: dict[str, Any]) -> Any:
        rows = len(next(iter(feed.values())))
        if not fixed or rows == fixed:
            return session.run(None, feed)
        pieces = range(0, rows, fixed)
        return [session.run(None, {name: array[at : at + fixed] for name, array in feed.items()}) for at in pieces]

    return predict

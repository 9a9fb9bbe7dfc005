"""Nothing that Roadworthy rests on tells anybody what it is used for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MODEL = """
import roadworthy
from onnx import TensorProto, helper
from roadworthy.graphs.runner import open_session

numbers = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "secret", numbers[:1], numbers[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
print(open_session(model.SerializeToString()).get_outputs()[0].name)
"""


def test_the_runtime_of_models_keeps_no_account_of_them(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    said = subprocess.run(
        [sys.executable, "-c", MODEL],
        env=environment | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert said.stdout.strip() == "y"
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name.lower()]

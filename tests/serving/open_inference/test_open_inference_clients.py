"""Stock clients of the protocol, unchanged, against a server in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from open_inference.openapi.client import InferenceRequest, OpenInferenceClient
from open_inference.openapi.core import ApiError
from open_inference.openapi.errors import BadRequestError
from tritonclient.utils import InferenceServerException

ROWS = [[0.1, -0.2, 0.3], [1.5, 2.5, -0.5], [-1.0, 0.0, 4.0]]
NAMES = ("width", "a height", "b")
ROOT = Path(__file__).parents[3]
X = np.array(ROWS, dtype=np.float32)


@pytest.fixture(scope="module")
def plain(shapes_server: Any) -> tuple[np.ndarray[Any, Any], list[str]]:
    """Scores and decisions of the rows by named fields."""
    rows = [dict(zip(NAMES, row, strict=True)) for row in X.astype(float).tolist()]
    reply = httpx.post(f"http://127.0.0.1:{shapes_server.port}/predict", json={"rows": rows})
    answers = json.loads(reply.content)["predictions"]
    return np.array([list(one["scores"].values()) for one in answers]), [one["decision"] for one in answers]


def texts(array: Any) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else value for value in array.tolist()]


# --- tritonclient, HTTP and gRPC ------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["http", "grpc"])
def triton(request: pytest.FixtureRequest, shapes_server: Any) -> Iterator[tuple[Any, Any]]:
    """The module of a client, and the client."""
    module = triton_http if request.param == "http" else triton_grpc
    port = shapes_server.port if request.param == "http" else shapes_server.grpc_port
    with module.InferenceServerClient(f"127.0.0.1:{port}") as client:
        yield module, client


def tensor(module: Any, x: np.ndarray[Any, Any] = X, name: str = "x", datatype: str = "FP32", **more: Any) -> Any:
    made = module.InferInput(name, list(x.shape), datatype)
    return made.set_data_from_numpy(x, **more)


def test_triton_health_and_metadata(triton: tuple[Any, Any]) -> None:
    module, client = triton
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("shapes")
    assert client.is_model_ready("shapes", "1")
    more = {"as_json": True} if module is triton_grpc else {}
    assert client.get_server_metadata(**more)["extensions"] == ["binary_tensor_data"]
    found = client.get_model_metadata("shapes", "shapes-1", **more)
    assert [one["name"] for one in found["inputs"]] == list(NAMES)
    assert [one["datatype"] for one in found["outputs"]] == ["FP64", "BYTES"]


def test_triton_infers_in_its_default_binary_mode(triton: tuple[Any, Any], plain: Any) -> None:
    module, client = triton
    found = client.infer("shapes", [tensor(module)], request_id="mine")
    np.testing.assert_array_equal(found.as_numpy("score"), plain[0])
    assert texts(found.as_numpy("decision")) == plain[1]
    response = found.get_response()
    assert (response["id"] if module is triton_http else response.id) == "mine"


def test_triton_infers_by_column_and_takes_single_outputs(triton: tuple[Any, Any], plain: Any) -> None:
    module, client = triton
    inputs = [tensor(module, X[:, [at]], name) for at, name in enumerate(NAMES)]
    found = client.infer("shapes", inputs, outputs=[module.InferRequestedOutput("decision")])
    assert texts(found.as_numpy("decision")) == plain[1]
    assert found.as_numpy("score") is None


def test_triton_gets_several_answers_at_once(shapes_server: Any, plain: Any) -> None:
    with triton_http.InferenceServerClient(f"127.0.0.1:{shapes_server.port}", concurrency=4) as client:
        running = [client.async_infer("shapes", [tensor(triton_http)]) for _ in range(12)]
        for one in running:
            np.testing.assert_array_equal(one.get_result().as_numpy("score"), plain[0])


@pytest.mark.parametrize(("into", "out"), [(False, False), (False, True), (True, False)])
def test_triton_infers_in_json(shapes_server: Any, plain: Any, into: bool, out: bool) -> None:
    with triton_http.InferenceServerClient(f"127.0.0.1:{shapes_server.port}") as client:
        wanted = [triton_http.InferRequestedOutput(name, binary_data=out) for name in ("score", "decision")]
        found = client.infer("shapes", [tensor(triton_http, binary_data=into)], outputs=wanted)
        np.testing.assert_array_equal(found.as_numpy("score"), plain[0])
        assert texts(found.as_numpy("decision")) == plain[1]


def test_triton_shows_what_is_wrong(triton: tuple[Any, Any]) -> None:
    module, client = triton
    wrong = X.copy()
    wrong[1, 2] = np.nan
    with pytest.raises(InferenceServerException, match=r"rows\[1\]\.b: NaN"):
        client.infer("shapes", [tensor(module, wrong)])
    with pytest.raises(InferenceServerException, match="expected shapes"):
        client.infer("other", [tensor(module)])
    with pytest.raises(InferenceServerException, match="missing input"):
        client.infer("shapes", [tensor(module, X[:, [0]], "width")])


def test_triton_sends_half_precision_and_texts(triton: tuple[Any, Any], clicks_server: Any) -> None:
    module, client = triton
    half = client.infer("shapes", [tensor(module, X.astype(np.float16), datatype="FP16")])
    assert half.as_numpy("score").shape == (3, 3)
    port = clicks_server.port if module is triton_http else clicks_server.grpc_port
    columns: dict[str, tuple[str, Any]] = {
        "device": ("BYTES", ["phone"]),
        "age_band": ("BYTES", ["30-44"]),
        "campaign": ("BYTES", ["brand"]),
        "position": ("INT64", [2]),
        "impressions": ("INT64", [9]),
        "clicks": ("INT64", [3]),
        "dwell_seconds": ("FP64", [2.5]),
    }
    kinds = {"BYTES": np.object_, "INT64": np.int64, "FP64": np.float64}
    with module.InferenceServerClient(f"127.0.0.1:{port}") as other:
        inputs = [
            tensor(module, np.array(data, dtype=kinds[kind]).reshape(-1, 1), name, kind)
            for name, (kind, data) in columns.items()
        ]
        assert 0 < other.infer("clicks", inputs).as_numpy("score")[0] < 1


WHOLE = np.array([[1, 2, 3], [4, 0, 6]])
DATATYPES: dict[str, Any] = {
    **{f"INT{bits}": f"i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": f"u{bits // 8}" for bits in (8, 16, 32, 64)},
    "FP16": "f2",
    "BF16": ml_dtypes.bfloat16,
    "FP32": "f4",
    "FP64": "f8",
}


@pytest.mark.parametrize("datatype", DATATYPES)
def test_triton_sends_numbers_of_every_datatype(triton: tuple[Any, Any], shapes_server: Any, datatype: str) -> None:
    module, client = triton
    wanted = client.infer("shapes", [tensor(module, WHOLE.astype("f8"), datatype="FP64")]).as_numpy("score")
    x = WHOLE.astype(DATATYPES[datatype])
    found = client.infer("shapes", [tensor(module, x, datatype=datatype)])
    np.testing.assert_array_equal(found.as_numpy("score"), wanted)
    if module is triton_http and datatype not in {"FP16", "BF16"}:
        found = client.infer("shapes", [tensor(module, x, datatype=datatype, binary_data=False)])
        np.testing.assert_array_equal(found.as_numpy("score"), wanted)
    if module is triton_http and datatype in {"FP16", "BF16"}:
        body = {"inputs": [{"name": "x", "shape": [2, 3], "datatype": datatype, "data": WHOLE.ravel().tolist()}]}
        reply = httpx.post(f"http://127.0.0.1:{shapes_server.port}/v2/models/shapes/infer", json=body)
        assert (reply.status_code, "binary form" in reply.json()["error"]) == (400, True)


@pytest.mark.parametrize(("datatype", "x"), [("BOOL", WHOLE > 1), ("BYTES", np.full((2, 3), b"1", dtype=np.object_))])
def test_triton_is_told_which_datatypes_a_model_takes(triton: tuple[Any, Any], datatype: str, x: Any) -> None:
    module, client = triton
    with pytest.raises(InferenceServerException, match=f"inputs.x: datatype {datatype}; expected .*FP64") as caught:
        client.infer("shapes", [tensor(module, x, datatype=datatype)])
    assert caught.value.status() in {"400", "StatusCode.INVALID_ARGUMENT"}


def test_triton_gets_the_id_of_each_request_though_others_use_the_same(triton: tuple[Any, Any], plain: Any) -> None:
    module, client = triton
    for name, at in (("one", 0), ("one", 1), ("two", 2), ("", 0)):
        wanted = [module.InferRequestedOutput("decision"), module.InferRequestedOutput("score")]
        given = tensor(module, X[[at]])
        found = client.infer("shapes", [given], request_id=name, outputs=wanted)
        response = found.get_response()
        id_ = response["id"] if module is triton_http else response.id
        assert id_ == name if name else len(id_) > 10
        np.testing.assert_array_equal(found.as_numpy("score")[0], plain[0][at])
        assert texts(found.as_numpy("decision")) == [plain[1][at]]


def test_triton_is_told_of_outputs_that_there_are_not(triton: tuple[Any, Any]) -> None:
    module, client = triton
    with pytest.raises(
        InferenceServerException, match=r"unknown output; did you mean 'score'.*expected score, decision"
    ):
        client.infer("shapes", [tensor(module)], outputs=[module.InferRequestedOutput("scores")])
    with pytest.raises(InferenceServerException, match="expected shapes-1 or 1"):
        client.infer("shapes", [tensor(module)], model_version="7")


# --- open-inference-openapi -----------------------------------------------------------------------------------------


def test_open_inference_openapi(shapes_server: Any, plain: Any) -> None:
    with httpx.Client() as http:
        client = OpenInferenceClient(base_url=f"http://127.0.0.1:{shapes_server.port}", httpx_client=http)
        client.check_server_liveness()
        client.check_server_readiness()
        client.check_model_readiness("shapes")
        client.check_model_version_readiness("shapes", "1")
        assert client.read_server_metadata().name == "roadworthy"
        assert [one.name for one in client.read_model_metadata("shapes").inputs] == list(NAMES)
        data = X.astype(float).ravel().tolist()
        inputs: Any = [{"name": "x", "shape": [3, 3], "datatype": "FP64", "data": data}]
        found = client.model_infer("shapes", request=InferenceRequest(id="mine", inputs=inputs))
        assert found.id == "mine"
        assert list(found.outputs[0].data.__root__) == plain[0].ravel().tolist()
        assert client.model_version_infer("shapes", "1", request=InferenceRequest(inputs=inputs)).model_name == "shapes"
        wrong: Any = [{**inputs[0], "datatype": "FP16"}]
        with pytest.raises(BadRequestError, match="binary form"):
            client.model_infer("shapes", request=InferenceRequest(inputs=wrong))
        with pytest.raises(ApiError, match="expected shapes"):
            client.model_infer("other", request=InferenceRequest(inputs=inputs))


# --- kserve ---------------------------------------------------------------------------------------------------------


def test_kserve_inference_rest_client(shapes_server: Any, plain: Any) -> None:
    python = os.environ.get("KSERVE_PYTHON", str(ROOT / ".venv-kserve" / "bin" / "python"))
    if not Path(python).exists():
        pytest.skip("kserve needs an environment of its own: make clients, or KSERVE_PYTHON")
    words = [python, str(Path(__file__).parent / "kserve_calls.py")]
    words += [str(shapes_server.port), str(shapes_server.grpc_port), "shapes"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        words, input=json.dumps(ROWS), capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found.pop("live"), found.pop("ready"), found.pop("model"), found.pop("grpc ready")) == (
        True,
        True,
        True,
        [True, True],
    )
    for fault, refusal in {"NaN": "rows[1].b: NaN", "other model": "expected shapes"}.items():
        for way in ("", "grpc "):
            assert refusal in found.pop(f"{way}{fault}")
    for name, scores in found.items():
        np.testing.assert_array_equal(np.reshape(scores, (3, 3)), plain[0], err_msg=name)

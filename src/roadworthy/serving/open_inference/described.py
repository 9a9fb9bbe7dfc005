"""The protocol's part of the OpenAPI document: its paths for the model in service, and the schemas that they name.

In: a model. Out: plain data. Law: what the schemas forbid is refused; what they allow may still be refused for its
sizes, since no schema can say that ``data`` has as many elements as ``shape``, or that all inputs have as many rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from roadworthy.serving.open_inference.datatypes import DATATYPES
from roadworthy.serving.open_inference.models import Model
from roadworthy.serving.rows import MOST_ROWS

__all__ = ["INFER_HEADER", "inference_paths", "inference_schemas"]

INFER_HEADER = "Inference-Header-Content-Length"

_TEXT: dict[str, Any] = {"type": "string"}
_FLAG: dict[str, Any] = {"type": "boolean"}
_OPEN = {"type": "object", "additionalProperties": True}
_PARAMETERS = {"type": ["object", "null"], "additionalProperties": True}
_BOTH_HEALTHS = {
    "type": "object",
    "properties": {"live": _FLAG, "ready": _FLAG},
    "required": ["live", "ready"],
    "additionalProperties": False,
}
_LEAF: dict[str, Any] = {"type": ["number", "string", "boolean", "null"]}
_GET = ("401", "503")
_INFER = ("400", "401", "404", "408", "413", "415", "422", "429", "503", "504")


def inference_paths(model: Model, refusals: dict[str, dict[str, Any]], deadline: dict[str, Any]) -> dict[str, Any]:
    """The paths of one model. ``refusals`` are the error responses by status, ``deadline`` the header of that name."""
    base = f"/v2/models/{quote(model.name, safe='')}"
    found: dict[str, Any] = {
        "/v2/health/live": _health("Whether the server lives", ready="200"),
        "/v2/health/ready": _health("Whether the server is ready", ready="503"),
        "/v2": _get("serverMetadata", "The server: name, version, extensions", "InferenceServer", refusals),
    }
    for path, suffix, more in ((base, "", []), (f"{base}/versions/{{version}}", "OfVersion", [_version(model)])):
        named: dict[str, Any] = {"parameters": more, "also": ("404",) if more else ()}
        found[path] = _get(f"modelMetadata{suffix}", "The model's tensors", "InferenceModel", refusals, **named)
        ready = _get(f"modelReady{suffix}", "Whether the model is ready", "InferenceReady", refusals, **named)
        ready["get"]["responses"]["503"] = _reply("InferenceUnready", "the model, or the server, is not ready")
        found[f"{path}/ready"] = ready
        found[f"{path}/infer"] = _infer(f"infer{suffix}", refusals, [*more, deadline])
    return found


def inference_schemas(model: Model, row: Mapping[str, Any]) -> dict[str, Any]:
    """The schemas by name; ``row`` is one that is answered, or empty."""
    inputs = [one.name for one in (*model.inputs.required, *model.inputs.optional)]
    tensor = {
        "type": "object",
        "properties": {"name": _TEXT, "datatype": _TEXT, "shape": {"type": "array", "items": {"type": "integer"}}},
        "required": ["name", "datatype", "shape"],
        "additionalProperties": False,
    }
    tensors = {"type": "array", "items": tensor}
    ready = {"type": "object", "properties": {"name": {"const": model.name}, "ready": _FLAG}}
    unready = {"anyOf": [{"$ref": "#/components/schemas/InferenceReady"}, {"$ref": "#/components/schemas/Error"}]}
    return {
        "InferenceHealth": _BOTH_HEALTHS,
        "InferenceServer": _object({"name": _TEXT, "version": _TEXT, "extensions": {"type": "array", "items": _TEXT}}),
        "InferenceModel": _object(
            {
                "name": {"const": model.name},
                "versions": {"type": "array", "items": _TEXT},
                "platform": _TEXT,
                "inputs": tensors,
                "outputs": tensors,
                "properties": {"type": "object", "additionalProperties": _TEXT},
            }
        ),
        "InferenceReady": {**ready, "required": ["name", "ready"], "additionalProperties": False},
        "InferenceUnready": unready,
        "InferenceRequest": {**_request(inputs, model), **_example(model, row)},
        "InferenceResponse": _response(model),
    }


def _example(model: Model, row: Mapping[str, Any]) -> dict[str, Any]:
    """A request of one row, column by column."""
    if not row:
        return {}
    given = [one for one in (*model.inputs.required, *model.inputs.optional) if row.get(one.name) is not None]
    lacking = [one for one in model.inputs.required if row.get(one.name) is None]
    inputs = [
        {"name": one.name, "datatype": one.datatype, "shape": [1, 1], "data": [row.get(one.name)]}
        for one in (*given, *lacking)
    ]
    return {"examples": [{"id": "mine", "inputs": inputs}]}


def _request(inputs: list[str], model: Model) -> dict[str, Any]:
    """A request as JSON; inputs have the names of columns unless one tensor may hold all of them."""
    names = _TEXT if model.inputs.matrix else {"enum": inputs}
    size = {"type": "integer", "minimum": 0, "maximum": MOST_ROWS if not model.inputs.matrix else 1 << 32}
    many = {"type": "array", "items": {"anyOf": [_LEAF, {"type": "array", "items": _LEAF}]}}
    one = {
        "type": "object",
        "properties": {
            "name": names,
            "datatype": {"enum": [name for name, one in DATATYPES.items() if one.flat]},
            "shape": {"type": "array", "items": size, "minItems": 1, "maxItems": 2},
            "parameters": _PARAMETERS,
            "data": {**many, "description": "row by row, flat or nested; null is missing"},
        },
        "required": ["name", "datatype", "shape", "data"],
    }
    output = {
        "type": "object",
        "properties": {"name": {"enum": [name for name, _, _ in model.outputs.declared]}, "parameters": _PARAMETERS},
        "required": ["name"],
    }
    request: dict[str, Any] = {
        "type": "object",
        "properties": {
            "id": {"type": ["string", "null"], "description": "the caller's own; it comes back"},
            "parameters": _PARAMETERS,
            "inputs": {"type": "array", "items": one, "minItems": 1},
            "outputs": {"type": ["array", "null"], "items": output, "uniqueItems": True},
        },
        "required": ["inputs"],
    }
    return request


def _response(model: Model) -> dict[str, Any]:
    element = {"type": ["number", "string"]}
    output = {
        "type": "object",
        "properties": {
            "name": {"enum": [name for name, _, _ in model.outputs.declared]},
            "datatype": {"enum": ["FP64", "BYTES"]},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "data": {"type": "array", "items": element},
            "parameters": {"type": "object", "additionalProperties": {"type": "integer"}},
        },
        "required": ["name", "datatype", "shape"],
        "additionalProperties": False,
    }
    answer = {
        "model_name": {"const": model.name},
        "model_version": _TEXT,
        "id": _TEXT,
        "parameters": _OPEN,
        "outputs": {"type": "array", "items": output},
    }
    return _object(answer)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    """An object that has all of these, and nothing else."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _health(summary: str, *, ready: str) -> dict[str, Any]:
    """Both paths tell both words; ``ready`` is the status of a server that is not ready."""
    responses = {"200": _reply("InferenceHealth", summary)}
    if ready != "200":
        responses[ready] = _reply("InferenceHealth", "it is not ready")
    return {"get": {"summary": summary, "tags": ["open inference"], "security": [], "responses": responses}}


def _get(
    name: str,
    summary: str,
    schema: str,
    refusals: dict[str, dict[str, Any]],
    *,
    parameters: list[dict[str, Any]] | None = None,
    also: tuple[str, ...] = (),
) -> dict[str, Any]:
    responses = {"200": _reply(schema, summary), **{code: refusals[code] for code in (*_GET, *also)}}
    operation = {"operationId": name, "summary": summary, "tags": ["open inference"], "responses": responses}
    return {"get": {**operation, "parameters": parameters} if parameters else operation}


def _infer(name: str, refusals: dict[str, dict[str, Any]], parameters: list[dict[str, Any]]) -> dict[str, Any]:
    header = {
        "name": INFER_HEADER,
        "in": "header",
        "required": False,
        "description": "bytes of JSON before the binary tensors; 0 is one row of FP64 and nothing else",
        "schema": {"type": "integer", "minimum": 0},
    }
    octets = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    answer = _reply("InferenceResponse", "the outputs; those that were asked for as bytes follow the JSON")
    answer["content"] |= octets
    answer["headers"] = {INFER_HEADER: {"description": "bytes of JSON, where tensors follow", "schema": _INTEGER}}
    body = {"application/json": {"schema": {"$ref": "#/components/schemas/InferenceRequest"}}, **octets}
    return {
        "post": {
            "operationId": name,
            "summary": "Predictions by the Open Inference Protocol",
            "tags": ["open inference"],
            "parameters": [*parameters, header],
            "requestBody": {"required": True, "content": body},
            "responses": {"200": answer, **{code: refusals[code] for code in _INFER}},
        }
    }


_INTEGER = {"type": "integer", "minimum": 0}


def _version(model: Model) -> dict[str, Any]:
    return {
        "name": "version",
        "in": "path",
        "required": True,
        "description": "the version in service",
        "schema": {"enum": list(dict.fromkeys([model.version, model.number]))},
    }


def _reply(schema: str, words: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": words, "content": content}

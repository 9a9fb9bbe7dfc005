"""The description of a server that machines read: OpenAPI 3.1 of the model's own fields, with an example that works.

In: a version in service, the name of its model. Out: a document as plain data. Laws: a request that the document
allows by its types is refused only for what types cannot say (a rule across columns, a tensor's number of elements, a
time that is over); one that it forbids is refused; every status and header that a path answers with is in it.
"""

from __future__ import annotations

from typing import Any

from roadworthy.records.contract import ColumnContract, ColumnType, MissingPolicy
from roadworthy.serving.calls import Call, Reply, json_reply
from roadworthy.serving.engine import Engine
from roadworthy.serving.events_described import event_path
from roadworthy.serving.fields import Field, field_of
from roadworthy.serving.labels_described import label_path, label_schemas
from roadworthy.serving.open_inference.described import inference_paths, inference_schemas
from roadworthy.serving.open_inference.models import Model
from roadworthy.serving.rows import MOST_ROWS
from roadworthy.serving.service import Line, Service

__all__ = ["describe", "openapi"]

_EXACT = 2**53
_KINDS: dict[ColumnType, str] = {
    ColumnType.INTEGER: "integer",
    ColumnType.NUMBER: "number",
    ColumnType.BOOLEAN: "boolean",
    ColumnType.CATEGORY: "string",
    ColumnType.TEXT: "string",
    ColumnType.TIME: "string",
}
_ERRORS = {
    "400": "the body is not what the path takes",
    "401": "no key, or one that is not known",
    "403": "the host is none of this server's, which has no keys",
    "404": "this model or version is not in service",
    "408": "the body was not there in time",
    "413": "the body is too large",
    "415": "the body is not said to be JSON",
    "422": "rows that do not meet the contract, each problem at its field",
    "429": "more than can be done in time; Retry-After says when to come again",
    "503": "the server starts or ends, or nothing could answer",
    "504": "the caller's time was over",
}


_KEYED: list[dict[str, list[str]]] = [{"bearer": []}, {"key": []}]
_HEADERS = {
    "401": {"WWW-Authenticate": {"description": "Bearer", "schema": {"type": "string"}}},
    "429": {"Retry-After": {"description": "whole seconds", "schema": {"type": "integer", "minimum": 1}}},
}


def openapi(service: Service, call: Call) -> Reply:
    """``GET /openapi.json``: of the version that is in service now, and with keys for whoever has to have one."""
    keyed = b"authorization" in call.headers or b"x-api-key" in call.headers
    return json_reply(describe(service.line, service.name, keyed=keyed))


def describe(line: Line, name: str, *, keyed: bool = False) -> dict[str, Any]:
    """The document of one model; ``keyed``: nobody is answered without a key."""
    engine, model = line.chain.first, Model(name, line)
    example = _example(engine)
    row = {"type": "object", "additionalProperties": False, **_properties(engine)}
    row |= {"examples": [example]} if example else {}
    refusals = _refusals(*_ERRORS)
    return {
        "openapi": "3.1.0",
        "info": {"title": name, "version": engine.title, "summary": f"Predictions of {engine.contract.target}"},
        "paths": {
            "/predict": {"post": _predict()},
            "/feedback": label_path(refusals),
            **event_path(engine, _columns(engine), refusals),
            "/livez": {"get": _looked("live", "Whether the process lives", "Liveness", open_=True)},
            "/readyz": {"get": _readyz()},
            "/metrics": {"get": _metrics()},
            "/version": {"get": _looked("version", "Which version answers", "Version", "401", "503")},
            "/openapi.json": {"get": _looked("openapi", "This document", "Document", "401", "503")},
            **inference_paths(model, refusals, _DEADLINE),
        },
        "components": {
            "schemas": {
                "Row": row,
                "Rows": {"oneOf": [_one_row(), _many_rows()]},
                "Predictions": _answer(engine),
                "Error": _error(),
                **label_schemas(engine.contract),
                **_about_the_server(),
                **inference_schemas(model, example),
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": _KEYED if keyed else [{}, *_KEYED],
    }


def _example(engine: Engine) -> dict[str, Any]:
    """A row that is answered, if a made-up one meets the contract and its rules; empty where none does."""
    row = engine.example()
    return {} if not row or engine.score(engine.reader.take([row])).broken else row


def _properties(engine: Engine) -> dict[str, Any]:
    columns = engine.contract.contract.columns
    found = {field.name: _field(field, columns.get(field.name)) for field in engine.reader.fields}
    found |= {name: {"description": "who or when; not read by the model"} for name in engine.reader.kept}
    found |= {name: {"description": "not read by the model"} for name in engine.reader.ignored}
    return {"properties": found, "required": list(engine.reader.required)}


def _columns(engine: Engine) -> dict[str, Any]:
    """Every column of the contract as an event has it: null only where the contract lets it lack."""
    columns = engine.contract.contract.columns
    return {name: _field(field_of(name, column, required=True), column) for name, column in columns.items()}


def _field(field: Field, column: ColumnContract | None) -> dict[str, Any]:
    """One field; a feature of the past, which has no column, is a number that may be left out."""
    if column is None:
        return {"type": ["number", "null"], "description": "a feature of the past: give all of them, or none"}
    kind: Any = _KINDS[column.type]
    nullable = not field.required or column.missing is MissingPolicy.ALLOW
    schema: dict[str, Any] = {"type": [kind, "null"] if nullable else kind, "description": field.expected}
    if column.type is ColumnType.INTEGER:
        schema["minimum"] = -_EXACT if column.min is None else max(column.min, -_EXACT)
        schema["maximum"] = _EXACT if column.max is None else min(column.max, _EXACT)
    if column.type is ColumnType.NUMBER:
        schema |= {} if column.min is None else {"minimum": column.min}
        schema |= {} if column.max is None else {"maximum": column.max}
    if column.allowed:
        schema["enum"] = [*column.allowed, *([None] if nullable else [])]
    if column.type is ColumnType.TIME:
        schema["format"] = "date-time"
    if not nullable and kind == "string" and not column.allowed:
        schema |= {"minLength": 1, "pattern": r"\S"}  # a blank text is a missing one
    if column.pattern:
        schema["pattern"] = f"^(?:{column.pattern})$"
    return schema


def _one_row() -> dict[str, Any]:
    row = {"$ref": "#/components/schemas/Row"}
    return {"type": "object", "properties": {"row": row}, "required": ["row"], "additionalProperties": False}


def _many_rows() -> dict[str, Any]:
    rows = {"type": "array", "items": {"$ref": "#/components/schemas/Row"}, "minItems": 1, "maxItems": MOST_ROWS}
    return {"type": "object", "properties": {"rows": rows}, "required": ["rows"], "additionalProperties": False}


_DEADLINE: dict[str, Any] = {
    "name": "X-Deadline-Ms",
    "in": "header",
    "required": False,
    "description": "how long the caller waits; what comes later is not computed",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}
_PREDICT = ("400", "401", "408", "413", "415", "422", "429", "503", "504")


def _predict() -> dict[str, Any]:
    return {
        "operationId": "predict",
        "summary": "A prediction for each row, in their order",
        "parameters": [_DEADLINE],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Rows"}}},
        },
        "responses": {"200": _answered("#/components/schemas/Predictions", "predictions"), **_refusals(*_PREDICT)},
    }


def _looked(name: str, summary: str, schema: str, *codes: str, open_: bool = False) -> dict[str, Any]:
    """Something to look at; ``open_``: by everybody."""
    responses = {"200": _answered(f"#/components/schemas/{schema}", summary), **_refusals(*codes)}
    found: dict[str, Any] = {"operationId": name, "summary": summary, "responses": responses}
    return found | {"security": []} if open_ else found


def _readyz() -> dict[str, Any]:
    found = _looked("ready", "Whether requests should be sent here", "Readiness", open_=True)
    either: dict[str, Any] = {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Readiness", "Error")]}
    found["responses"]["503"] = {"description": "not now", "content": {"application/json": {"schema": either}}}
    return found


def _metrics() -> dict[str, Any]:
    found = _looked("metrics", "The counts of all workers, in Prometheus' text form", "Error", open_=True)
    found["responses"] = {
        "200": {"description": "series", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **_refusals("503"),
    }
    return found


def _about_the_server() -> dict[str, Any]:
    text, flag = {"type": "string"}, {"type": "boolean"}
    texts, named = {"type": "array", "items": text}, {"type": "object", "additionalProperties": text}
    ready = {"live": flag, "ready": flag, "state": text, "model": text, "version": text, "breakers": named}
    version = {"model": text, "version": text, "bundle": text, "task": text, "fallback": texts}
    return {
        "Liveness": {"type": "object", "properties": {"live": {"const": True}}, "required": ["live"]},
        "Readiness": {
            "type": "object",
            "properties": {**ready, "fallback": texts, "workers": {"type": "array"}, "warnings": texts},
            "required": list(ready),
        },
        "Version": {"type": "object", "properties": version, "required": list(version)},
        "Document": {"type": "object", "required": ["openapi", "info", "paths"]},
    }


def _answered(schema: str, words: str) -> dict[str, Any]:
    return {"description": words, "content": {"application/json": {"schema": {"$ref": schema}}}}


def _refusals(*codes: str) -> dict[str, Any]:
    found = {code: _answered("#/components/schemas/Error", _ERRORS[code]) for code in codes}
    for code, headers in _HEADERS.items():
        if code in found:
            found[code]["headers"] = headers
    return found


def _answer(engine: Engine) -> dict[str, Any]:
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    labels = {"type": "string", "enum": list(engine.classes)} if engine.classes else None
    one: dict[str, Any] = {"score": probability if labels else {"type": "number"}}
    if engine.multiclass:
        one = {"scores": {"type": "object", "additionalProperties": probability}}
    if labels:
        one["decision"] = labels
    if engine.intervals:
        ends = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
        one["interval"] = {**ends, "description": "lowest and highest; not there where the constant answered"}
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "names the request in the log and for feedback"},
            "model": {"type": "string"},
            "version": {"type": "string", "description": "which version answered"},
            "predictions": {
                "type": "array",
                "items": _prediction(one, refers=engine.refers),
            },
            "answered_by": {
                "type": "object",
                "description": "rows that another version, or the declared constant, answered",
                "additionalProperties": {"type": "string"},
            },
        },
        "required": ["id", "model", "version", "predictions"],
        "additionalProperties": False,
    }


def _prediction(one: dict[str, Any], *, refers: bool) -> dict[str, Any]:
    """One row's answer; where rows may be left to people, either with a decision or with the reasons why not."""
    sure = [name for name in one if name != "interval"]
    closed = {"type": "object", "additionalProperties": False}
    if not refers:
        return {**closed, "properties": one, "required": sure}
    reasons: dict[str, Any] = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    referred = {name: schema for name, schema in one.items() if name != "decision"}
    referred["refer"] = {**reasons, "description": "why a person is to decide; the row has no decision"}
    decided = {**closed, "properties": one, "required": sure, "title": "answered"}
    left = {name: referred[name] for name in referred if name != "interval"}
    return {"oneOf": [decided, {**closed, "properties": referred, "required": list(left), "title": "referred"}]}


def _error() -> dict[str, Any]:
    text = {"type": "string"}
    problem = {"type": "object", "properties": {"where": text, "found": text, "expected": text}}
    return {
        "type": "object",
        "properties": {"error": text, "problems": {"type": "array", "items": problem}, "next": text},
        "required": ["error"],
    }

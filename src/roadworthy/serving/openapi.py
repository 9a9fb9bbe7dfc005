"""The description of a server that machines read: OpenAPI 3.1 of the model's own fields, with an example that works.

In: an engine, the name of its model. Out: a document as plain data. Law: a request that the document allows by its
types is refused only for what types cannot say (a rule across columns, a pattern); one that it forbids is refused.
"""

from __future__ import annotations

from typing import Any

from roadworthy.records.contract import ColumnContract, ColumnType, MissingPolicy
from roadworthy.serving.calls import Call, Reply, json_reply
from roadworthy.serving.engine import Engine
from roadworthy.serving.fields import Field
from roadworthy.serving.rows import MOST_ROWS
from roadworthy.serving.service import Service

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
    "408": "the body was not there in time",
    "413": "the body is too large",
    "415": "the body is not said to be JSON",
    "422": "rows that do not meet the contract, each problem at its field",
    "429": "more than can be done in time; Retry-After says when to come again",
    "503": "the server starts or ends, or nothing could answer",
    "504": "the caller's time was over",
}


async def openapi(service: Service, _call: Call) -> Reply:
    """``GET /openapi.json``: of the version that is in service now."""
    return json_reply(describe(service.line.chain.first, service.name))


def describe(engine: Engine, name: str) -> dict[str, Any]:
    """The document of one model."""
    row = {"type": "object", "additionalProperties": False, **_properties(engine), "examples": [engine.example()]}
    return {
        "openapi": "3.1.0",
        "info": {"title": name, "version": engine.title, "summary": f"Predictions of {engine.contract.target}"},
        "paths": {
            "/predict": {"post": _predict()},
            "/livez": {"get": _simple("Whether the process lives")},
            "/readyz": {"get": _simple("Whether requests should be sent here", also=("503",))},
            "/version": {"get": _simple("Which version answers", also=("401", "503"))},
            "/openapi.json": {"get": _simple("This document", also=("401", "503"))},
        },
        "components": {
            "schemas": {
                "Row": row,
                "Rows": {"oneOf": [_one_row(), _many_rows()]},
                "Predictions": _answer(engine),
                "Error": _error(),
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": [{}, {"bearer": []}, {"key": []}],
    }


def _properties(engine: Engine) -> dict[str, Any]:
    columns = engine.contract.contract.columns
    found = {field.name: _field(field, columns.get(field.name)) for field in engine.reader.fields}
    found |= {name: {"description": "who or when; not read by the model"} for name in engine.reader.kept}
    found |= {name: {"description": "not read by the model"} for name in engine.reader.ignored}
    return {"properties": found, "required": list(engine.reader.required)}


def _field(field: Field, column: ColumnContract | None) -> dict[str, Any]:
    """One field; a feature of the past, which has no column, is a number that may be left out."""
    if column is None:
        return {"type": ["number", "null"], "description": "a feature of the past: give all of them, or none"}
    kind: Any = _KINDS[column.type]
    nullable = not field.required or column.missing is MissingPolicy.ALLOW
    schema: dict[str, Any] = {"type": [kind, "null"] if nullable else kind, "description": field.expected}
    if column.type in {ColumnType.INTEGER, ColumnType.NUMBER}:
        schema["minimum"] = max(column.min, -_EXACT) if column.min is not None else -_EXACT
        schema["maximum"] = min(column.max, _EXACT) if column.max is not None else _EXACT
    if column.allowed:
        schema["enum"] = [*column.allowed, *([None] if nullable else [])]
    if column.type is ColumnType.TIME:
        schema["format"] = "date-time"
    if column.pattern:
        schema["pattern"] = f"^(?:{column.pattern})$"
    return schema


def _one_row() -> dict[str, Any]:
    row = {"$ref": "#/components/schemas/Row"}
    return {"type": "object", "properties": {"row": row}, "required": ["row"], "additionalProperties": False}


def _many_rows() -> dict[str, Any]:
    rows = {"type": "array", "items": {"$ref": "#/components/schemas/Row"}, "minItems": 1, "maxItems": MOST_ROWS}
    return {"type": "object", "properties": {"rows": rows}, "required": ["rows"], "additionalProperties": False}


def _predict() -> dict[str, Any]:
    return {
        "operationId": "predict",
        "summary": "A prediction for each row, in their order",
        "parameters": [
            {
                "name": "X-Deadline-Ms",
                "in": "header",
                "required": False,
                "description": "how long the caller waits; what comes later is not computed",
                "schema": {"type": "number", "exclusiveMinimum": 0},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Rows"}}},
        },
        "responses": {"200": _answered("#/components/schemas/Predictions", "predictions"), **_refusals(*_ERRORS)},
    }


def _simple(summary: str, *, also: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "summary": summary,
        "responses": {
            "200": {"description": summary, "content": {"application/json": {"schema": {"type": "object"}}}},
            **_refusals(*also),
        },
    }


def _answered(schema: str, words: str) -> dict[str, Any]:
    return {"description": words, "content": {"application/json": {"schema": {"$ref": schema}}}}


def _refusals(*codes: str) -> dict[str, Any]:
    return {code: _answered("#/components/schemas/Error", _ERRORS[code]) for code in codes}


def _answer(engine: Engine) -> dict[str, Any]:
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    labels = {"type": "string", "enum": list(engine.classes)} if engine.classes else None
    one: dict[str, Any] = {"score": probability if labels else {"type": "number"}}
    if engine.multiclass:
        one = {"scores": {"type": "object", "additionalProperties": probability}}
    if labels:
        one["decision"] = labels
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "names the request in the log and for feedback"},
            "model": {"type": "string"},
            "version": {"type": "string", "description": "which version answered"},
            "predictions": {
                "type": "array",
                "items": {"type": "object", "properties": one, "required": list(one), "additionalProperties": False},
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


def _error() -> dict[str, Any]:
    text = {"type": "string"}
    problem = {"type": "object", "properties": {"where": text, "found": text, "expected": text}}
    return {
        "type": "object",
        "properties": {"error": text, "problems": {"type": "array", "items": problem}, "next": text},
        "required": ["error"],
    }

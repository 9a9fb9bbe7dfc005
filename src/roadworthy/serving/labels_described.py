"""The part of the OpenAPI document that describes ``/feedback``: which labels the model in service takes.

In: the contract of a version. Out: plain data. Law: what the schemas forbid is refused, what they allow is taken, but
for a time or an entity that the contract reads as none, and an ``Idempotency-Key`` that came before with another body.
"""

from __future__ import annotations

from typing import Any

from roadworthy.formats.bundle.parts import ServingContract
from roadworthy.records.contract import ColumnContract, ColumnType
from roadworthy.records.project import Task
from roadworthy.serving.feedback import LONGEST_COMMENT, LONGEST_ENTITY, LONGEST_ID, LONGEST_KEY, MOST_LABELS

__all__ = ["label_path", "label_schemas"]

_CODES = ("400", "401", "408", "413", "415", "422", "503")


def label_path(refusals: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The path item. ``refusals`` are the error responses by status."""
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "the same key with the same body is stored once",
        "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
    }
    accepted = {"schema": {"$ref": "#/components/schemas/Accepted"}}
    return {
        "post": {
            "operationId": "feedback",
            "summary": "What was later known of predictions; answered when it is on the disk",
            "parameters": [key],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Feedback"}}},
            },
            "responses": {
                "202": {"description": "all labels are on the disk", "content": {"application/json": accepted}},
                **{code: refusals[code] for code in _CODES},
            },
        }
    }


def label_schemas(contract: ServingContract) -> dict[str, Any]:
    """The schemas by name."""
    more = {"label": _label(contract), "comment": {"type": ["string", "null"], "maxLength": LONGEST_COMMENT}}
    by_id = {
        "id": {"type": "string", "minLength": 1, "maxLength": LONGEST_ID, "description": "the id of an answer"},
        "row": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1, "description": "0 where it is not given"},
    }
    forms = [_closed({**by_id, **more}, "id", "label")]
    if contract.entity and contract.time:
        column = contract.contract.columns[contract.time]
        who = {"type": ["string", "number", "boolean"], "minLength": 1, "maxLength": LONGEST_ENTITY}
        forms.append(_closed({"entity": who, "time": _time(column), **more}, "entity", "time", "label"))
    one = {"anyOf": forms}
    many = {"type": "array", "items": {"$ref": "#/components/schemas/Label"}, "minItems": 1, "maxItems": MOST_LABELS}
    example = {"id": "5f2c9a10b7e344d80000000007", "row": 0, "label": (contract.classes or (_within(contract),))[-1]}
    return {
        "Label": one,
        "Feedback": {"anyOf": [*forms, _closed({"feedback": many}, "feedback")], "examples": [example]},
        "Accepted": _closed({"accepted": {"type": "integer", "minimum": 1}}, "accepted"),
    }


def _closed(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _label(contract: ServingContract) -> dict[str, Any]:
    """A class, as text or as the number or truth value that it is the text of; a number for regression."""
    if contract.task is not Task.REGRESSION:
        return {"enum": [form for label in contract.classes for form in _forms(label)]}
    column = contract.contract.columns.get(contract.target)
    whole = column is not None and column.type is ColumnType.INTEGER
    schema: dict[str, Any] = {"type": "integer" if whole else "number"}
    if column is not None and column.min is not None:
        schema["minimum"] = column.min
    schema["maximum"] = column.max if column is not None and column.max is not None else 2.0**1023
    schema.setdefault("minimum", -(2.0**1023))
    return schema


def _forms(label: str) -> list[Any]:
    if label in {"true", "false"}:
        return [label, label == "true"]
    try:
        number = float(label)
    except ValueError:
        return [label]
    return [label, int(number) if number.is_integer() else number]


def _time(column: ColumnContract) -> dict[str, Any]:
    if column.time_format:
        return {"type": ["string", "number"], "description": f"a time, written as {column.time_format}"}
    return {"type": "string", "format": "date-time"}


def _within(contract: ServingContract) -> float:
    """A number that the target's contract allows."""
    column = contract.contract.columns.get(contract.target)
    low, high = (None, None) if column is None else (column.min, column.max)
    return low if low is not None else min(0.0, high) if high is not None else 0.0

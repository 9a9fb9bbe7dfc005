"""The part of the OpenAPI document that describes ``/events``.

In: whether the version in service keeps a past. Out: plain data; nothing where it keeps none.
"""

from __future__ import annotations

from typing import Any

from roadworthy.serving.engine import Engine
from roadworthy.serving.events import LONGEST_ID
from roadworthy.serving.rows import MOST_ROWS

__all__ = ["event_path"]

_CODES = ("400", "401", "408", "413", "415", "422", "429", "503", "504")


def event_path(engine: Engine, columns: dict[str, Any], refusals: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The path item by its path. ``columns`` are their schemas, ``refusals`` the error responses by status."""
    if engine.reader.past is None:
        return {}
    needed = sorted(engine.reader.past.layout.columns)
    row = {"type": "object", "additionalProperties": False, "properties": columns}
    row["required"] = needed
    name = {"type": ["string", "null"], "minLength": 1, "maxLength": LONGEST_ID}
    rows = {"type": "array", "items": row, "minItems": 1, "maxItems": MOST_ROWS}
    forms = [
        {"type": "object", "properties": {"row": row, "id": name}, "required": ["row"], "additionalProperties": False},
        {
            "type": "object",
            "properties": {"rows": rows, "ids": {"type": ["array", "null"], "items": name}},
            "required": ["rows"],
            "additionalProperties": False,
        },
    ]
    count = {"type": "integer", "minimum": 0}
    answer = {
        "type": "object",
        "properties": {"accepted": count, "repeated": count},
        "required": ["accepted", "repeated"],
    }
    return {
        "/events": {
            "post": {
                "operationId": "events",
                "summary": "What happened, for features of the past; answered when it is on the disk and seen by all",
                "requestBody": {"required": True, "content": {"application/json": {"schema": {"oneOf": forms}}}},
                "responses": {
                    "200": {"description": "taken", "content": {"application/json": {"schema": answer}}},
                    **{code: refusals[code] for code in _CODES},
                },
            }
        }
    }

"""The body of a request as plain JSON: its form, and the kinds of its values, before anybody asks what they mean.

In: bytes. Out: rows as plain objects, or ``RowsRefused`` in words. Laws: nothing nests deeper than a row could need;
NaN and what is beyond a double come through as such, so that their fields can be named.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from roadworthy.errors import DataError, Problem
from roadworthy.records.contract import Breach
from roadworthy.serving.fields import Field

__all__ = [
    "MOST_DEEP",
    "MOST_PROBLEMS",
    "MOST_ROWS",
    "NOTHING",
    "SHOWN",
    "Broken",
    "RowsRefused",
    "kind_fault",
    "kind_of_json",
    "plain_rows",
    "short",
]

MOST_ROWS = 10_000
"""Rows that one request may hold; ``roadworthy score`` takes files of any size."""

MOST_DEEP = 64
"""Brackets inside each other that a body may have; what a row needs is three."""

MOST_PROBLEMS = 100
"""Problems that one answer lists."""

SHOWN = 40
"""Characters of a foreign name that an answer repeats."""


class Broken(NamedTuple):
    """How many rows of a request break the contract, and in which columns.

    ``columns`` counts rows by column and by how they break it there, first things first: a row is counted once for a
    column, and in each column that it breaks. What belongs to no column of the contract stands under the empty name.
    """

    rows: int
    columns: Mapping[tuple[str, Breach], int]


NOTHING = Broken(0, {})


class RowsRefused(DataError):
    """Rows that do not meet the contract: ``broken`` counts them, if any was read.

    ``syntax``: the body is no JSON of the expected form at all.
    """

    def __init__(
        self, message: str, problems: Sequence[Problem] = (), *, syntax: bool = False, broken: Broken = NOTHING
    ) -> None:
        shown = list(problems[:MOST_PROBLEMS])
        if len(problems) > len(shown):
            shown.append(Problem(f"{len(problems) - len(shown)} more problems"))
        super().__init__(message, problems=shown)
        self.syntax = syntax
        self.broken = broken


def plain_rows(body: bytes) -> tuple[list[Any], str]:
    """The rows of a body as plain JSON, and what to call them; raises RowsRefused for one of another form."""
    if _depth(body) > MOST_DEEP:
        raise RowsRefused(f"the body nests more than {MOST_DEEP} deep", syntax=True)
    plain = _plain_json(body)
    form = '{"row": {…}} or {"rows": [{…}, …]}'
    if not isinstance(plain, dict) or len(plain) != 1 or not {"row", "rows"} & set(plain):
        found = (
            f"an object with {', '.join(map(short, plain)) or 'nothing'}"
            if isinstance(plain, dict)
            else kind_of_json(plain)
        )
        raise RowsRefused("the body has another form", [Problem(found, expected=form, where="body")], syntax=True)
    if "row" in plain:
        return [plain["row"]], "row"
    rows = plain["rows"]
    if not isinstance(rows, list):
        raise RowsRefused(
            "the body has another form", [Problem(kind_of_json(rows), expected=form, where="rows")], syntax=True
        )
    if not 0 < len(rows) <= MOST_ROWS:
        wanted = Problem(f"{len(rows):,} rows", expected=f"1 to {MOST_ROWS:,} rows", where="rows")
        raise RowsRefused("the request has no row" if not rows else "the request has too many rows", [wanted])
    return rows, "rows"


def _plain_json(body: bytes) -> Any:
    """The body decoded; NaN, Infinity and numbers beyond a double come as such, for their fields to be named."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        try:
            found = json.loads(body)
            json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair is no text, and fails here
        except (ValueError, RecursionError):
            what = "empty" if not body.strip() else f"not JSON: {error}"
            raise RowsRefused(f"the body is {what}", syntax=True) from error
        return found


def _depth(body: bytes) -> int:
    """An upper bound of how deep a body nests: brackets in texts count too."""
    opened = body.count(b"[") + body.count(b"{")
    if opened <= MOST_DEEP:
        return opened
    depth = deepest = 0
    for sign in re.findall(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', body):
        if sign in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif sign in b"]}":
            depth -= 1
    return deepest


def kind_fault(value: Any, field: Field) -> str:
    """What is wrong with the kind of a value; its content is the plan's to judge."""
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return kind_of_json(value)
    if field.part != "number":
        wanted = isinstance(value, str) or (field.part == "time" and not isinstance(value, bool))
        return _too_long(value) if wanted else kind_of_json(value)
    boolean = field.expected.startswith("true")
    if isinstance(value, bool) is not boolean or isinstance(value, str):
        return kind_of_json(value)
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value}, which is no number in JSON"
    return _too_long(value)


def _too_long(value: Any) -> str:
    return "a whole number of too many digits" if isinstance(value, int) and abs(value) > 2**63 - 1 else ""


def kind_of_json(value: Any) -> str:
    """What a JSON value is, without its content."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    kinds: dict[type, str] = {
        int: "a whole number",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "an object",
    }
    return kinds.get(type(value), f"a {type(value).__name__}")


def short(name: str) -> str:
    """A foreign name, cut where it is long."""
    return name if len(name) <= SHOWN else f"{name[:SHOWN]}…"

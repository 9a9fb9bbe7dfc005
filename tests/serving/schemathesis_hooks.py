"""What Schemathesis may report, because no schema can say it; whatever else it finds fails the test.

Loaded by Schemathesis in a process of its own (``SCHEMATHESIS_HOOKS``).
"""

from __future__ import annotations

import json
from typing import Any

import schemathesis
from schemathesis.core.failures import Failure, ServerError
from schemathesis.openapi.checks import RejectedPositiveData

BEYOND = ("beyond ±2^53", "a whole number of too many digits")
"""JSON has one kind of number: 1e16 is one for a double, 10000000000000001 is a whole number that a double loses."""


@schemathesis.hook
def filter_failure(_context: Any, failure: Failure, case: Any, response: Any) -> bool:
    """Keeps what is a fault."""
    if isinstance(failure, ServerError):
        return not _too_short_a_deadline(case, response)
    if not isinstance(failure, RejectedPositiveData):
        return True
    problems = json.loads(response.content).get("problems", [])
    return not problems or not all(_beyond_schemas(case, problem) for problem in problems)


def _too_short_a_deadline(case: Any, response: Any) -> bool:
    """504 to a caller that waits for a moment only."""
    deadline = case.headers.get("X-Deadline-Ms")
    return bool(response.status_code == 504 and deadline is not None and float(deadline) < 1_000)


def _beyond_schemas(case: Any, problem: dict[str, str]) -> bool:
    path: str = case.operation.path
    found, where = problem["found"], problem["where"]
    if found in BEYOND:
        return True
    if path in {"/predict", "/events"} and found.startswith("rule: "):  # across columns
        return True
    if path == "/feedback":  # the same key came before with another body; an instant that its zone leads out of years
        edge = where.endswith(".time") and any(f'"{year}-' in json.dumps(case.body) for year in ("0001", "9999"))
        return where == "idempotency-key" or edge
    if path == "/events":  # as many ids as rows, each for one event; a text that is a column's sign for a missing one
        return where.startswith(("id", "ids")) or found == "missing" or "came before" in found
    return path.endswith("/infer")  # how many elements, rows and inputs belong together, and what a row may hold

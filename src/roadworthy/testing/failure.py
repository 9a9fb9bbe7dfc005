"""The failure that a conformance check raises, and the one way to raise it."""

from __future__ import annotations

__all__ = ["ConformanceError", "require"]


class ConformanceError(AssertionError):
    """An implementation breaks a law of its protocol; the message is the law and what was seen."""


def require(holds: bool, law: str) -> None:  # noqa: FBT001 - reads as an assertion, which optimised Python would drop
    """Raise ConformanceError with the law unless it holds."""
    if not holds:
        raise ConformanceError(law)

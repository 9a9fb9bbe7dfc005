"""Spans of time as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.errors import UsageError
from roadworthy.transforms.durations import microseconds, written


@given(st.integers(1, 2**60))
def test_reads_what_it_writes(span: int) -> None:
    assert microseconds(written(span)) == span


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7 days", 604800), ("90 s", 90), ("250ms", 0.25), ("1.5 h", 5400), ("2 Weeks", 1209600), ("1 min", 60)],
)
def test_units(text: str, seconds: float) -> None:
    assert microseconds(text) == seconds * 1_000_000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not a span"),
        ("7", "is not a span"),
        ("-7 days", "is not a span"),
        ("0 s", "positive"),
        ("1 dais", "did you mean 'days'"),
        ("1 month", "unknown unit 'month'"),
        ("0.0001 ms", "whole"),
        ("9999999999 weeks", "whole, positive"),
    ],
)
def test_refuses(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        microseconds(text, where="feature f")

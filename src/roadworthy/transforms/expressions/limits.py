"""How large an expression may be, so that both compilations end."""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_DEPTH", "MAX_LENGTH", "MAX_NESTING", "MAX_NODES"]

MAX_LENGTH: Final = 4_000
"""Characters of one expression."""

MAX_NESTING: Final = 20
"""Brackets and cases inside each other."""

MAX_DEPTH: Final = 100
"""Operations on the longest way from the result to a value."""

MAX_NODES: Final = 1_000
"""Operations and values of the whole tree, each counted as often as it is used."""

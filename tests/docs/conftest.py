"""Reading the project's pages: headings, tables, code blocks."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Page:
    """One page: ``section`` by heading, ``table`` as rows of cells, ``blocks`` of code by language."""

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path = path
        self.text = path.read_text(encoding="utf-8") if text is None else text

    def section(self, heading: str) -> Page:
        """From a heading to the next one of its level or above; KeyError when there is none."""
        level = re.search(rf"^(#+) {re.escape(heading)}$", self.text, re.MULTILINE)
        if level is None:
            raise KeyError(f"{self.path.name} has no heading {heading!r}")
        rest = self.text[level.end() :]
        end = re.search(rf"^#{{1,{len(level[1])}}} ", _FENCE.sub(lambda m: " " * len(m[0]), rest), re.MULTILINE)
        return Page(self.path, rest[: end.start()] if end else rest)

    def table(self, first: str) -> list[list[str]]:
        """The cells, row by row, of the first table whose first column is headed ``first``."""
        lines = iter(self.text.splitlines())
        for line in lines:
            if line.startswith(f"| {first} |"):
                next(lines)
                rows = []
                for row in lines:
                    if not row.startswith("|"):
                        break
                    rows.append([cell.strip() for cell in row.strip("|").split("|")])
                return rows
        raise KeyError(f"{self.path.name} has no table that begins with {first!r}")

    def blocks(self, language: str) -> list[str]:
        """The code blocks of a language."""
        return [body for name, body in _FENCE.findall(self.text) if name == language]


@pytest.fixture(scope="session")
def page() -> Callable[[str], Page]:
    """A page by its path from the project's root."""
    return lambda name: Page(ROOT / name)

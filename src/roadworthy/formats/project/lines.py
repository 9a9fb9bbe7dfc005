"""On which line each key of a TOML document stands.

In: the text of a document that ``tomllib`` has accepted. Out: ``{"data.source": 6, …}``, keys dotted, elements
of arrays by number. Law: every key of the parsed document has its line. The grammar is TOML 1.0's, of which a
valid document needs only the outer shape.
"""

from __future__ import annotations

import re

__all__ = ["key_lines"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"(?:[^"\\]|\\.)*"')
_LITERAL = re.compile(r"'[^']*'")
_LONG_BASIC = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}(?!")', re.DOTALL)
_LONG_LITERAL = re.compile(r"'''.*?'{3,5}(?!')", re.DOTALL)
_SCALAR = re.compile(r"[^,\]\}\n#]+")
_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_ESCAPE = re.compile(r'\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[btnfre"\\])')
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b", '"': '"', "\\": "\\"}


class _Scanner:
    """Walks a valid document once, noting keys."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[str, int] = {}
        self._tables: dict[str, int] = {}

    def document(self) -> dict[str, int]:
        table: list[str] = []
        self.skip(_BLANK)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)
            self.skip(_BLANK)
        return self.lines

    def header(self) -> list[str]:
        """``[a.b]`` or ``[[a.b]]``: the path that the pairs below start with."""
        many = self.text.startswith("[[", self.at)
        line = self.line()
        self.at += 2 if many else 1
        keys = self.key()
        self.at += 2 if many else 1
        path: list[str] = []
        for place, key in enumerate(keys, start=1):
            path.append(key)
            self.note(path, line)
            name = ".".join(path)
            if many and place == len(keys):
                self._tables[name] = self._tables.get(name, -1) + 1
            if name in self._tables:
                path.append(str(self._tables[name]))
                self.note(path, line)
        return path

    def pair(self, table: list[str]) -> None:
        line = self.line()
        path = list(table)
        for piece in self.key():
            path.append(piece)
            self.note(path, line)
        self.at += 1  # the equals sign
        self.skip(_SPACE)
        self.value(path)

    def key(self) -> list[str]:
        pieces = []
        while True:
            self.skip(_SPACE)
            start = self.text[self.at]
            if start == '"':
                pieces.append(_ESCAPE.sub(_unescaped, self.take(_BASIC)[1:-1]))
            elif start == "'":
                pieces.append(self.take(_LITERAL)[1:-1])
            else:
                pieces.append(self.take(_BARE))
            self.skip(_SPACE)
            if self.text[self.at] != ".":
                return pieces
            self.at += 1

    def value(self, path: list[str]) -> None:
        start = self.text[self.at]
        if start == "[":
            self.array(path)
        elif start == "{":
            self.inline_table(path)
        elif start == '"':
            self.take(_LONG_BASIC if self.text.startswith('"""', self.at) else _BASIC)
        elif start == "'":
            self.take(_LONG_LITERAL if self.text.startswith("'''", self.at) else _LITERAL)
        else:
            self.take(_SCALAR)

    def array(self, path: list[str]) -> None:
        self.at += 1
        place = 0
        self.skip(_BLANK)
        while self.text[self.at] != "]":
            element = [*path, str(place)]
            self.note(element, self.line())
            self.value(element)
            place += 1
            self.skip(_BLANK)
            if self.text[self.at] == ",":
                self.at += 1
                self.skip(_BLANK)
        self.at += 1

    def inline_table(self, path: list[str]) -> None:
        self.at += 1
        self.skip(_BLANK)
        while self.text[self.at] != "}":
            self.pair(path)
            self.skip(_BLANK)
            if self.text[self.at] == ",":
                self.at += 1
                self.skip(_BLANK)
        self.at += 1

    def note(self, path: list[str], line: int) -> None:
        self.lines.setdefault(".".join(path), line)

    def line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1

    def skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise ValueError(f"line {self.line()}: not TOML as tomllib accepts it")
        self.at = match.end()
        return match[0]


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if code[0] in "uU" else _ESCAPES[code]


def key_lines(text: str) -> dict[str, int]:
    r"""The line of every key.

    >>> key_lines('[data]\nsource = "a.csv"\n[features]\nf = { sum = "x", by = "u" }\n')["features.f.by"]
    4
    """
    return _Scanner(text).document()

"""How sqlglot's reading of a text becomes a typed tree: the part of ``parse`` that needs sqlglot.

In: an expression and the kinds of the columns. Out: an ``Expression``, or every problem at once. Its laws stand in
``parse``, which imports this module when the first expression is read: many a project has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

import sqlglot
from sqlglot import Token, TokenType
from sqlglot.errors import ParseError, TokenError

from roadworthy.errors import ExpressionError, Problem
from roadworthy.transforms.expressions.functions import SUPPORTED
from roadworthy.transforms.expressions.limits import MAX_DEPTH, MAX_LENGTH, MAX_NESTING, MAX_NODES
from roadworthy.transforms.expressions.reader import Reader
from roadworthy.transforms.expressions.syntax import Column, Expression, Kind, Node, operands

__all__ = ["read"]

_SPLIT: Final = "split it: a later feature may use an earlier one by its name"
_CALLS: Final = frozenset(name for name in SUPPORTED if name.isalpha()) | {"extract"}
_BEFORE_BRACKET: Final = _CALLS | {"when", "then", "else"}
_WORDS: Final = frozenset(
    ["and", "or", "not", "is", "null", "in", "between", "case", "when", "then", "else", "end", "true", "false"]
)


def read(text: str, columns: Mapping[str, Kind], *, where: str) -> Expression:
    """What ``parse`` says."""
    tokens = _tokens(text, where)
    unknown = _unknown_calls(tokens)
    reader = Reader(columns, unknown)
    try:
        tree = reader.root(_syntax(tokens, columns, text, where))
    except RecursionError as error:
        raise _too_large(text, where, "operations inside each other") from error
    refusals = [(at, Problem(f"unknown function {word!r}", expected="a supported one")) for at, word in unknown.items()]
    problems = sorted([*refusals, *reader.problems], key=lambda item: item[0])
    if problems or tree is None:
        placed = [Problem(p.found, expected=p.expected, where=f"position {at + 1}") for at, p in problems]
        refused = bool(unknown) or reader.refused
        raise _error(text, where, placed, f"use what is supported: {_listed()}" if refused else "")
    _check_size(tree, text, where)
    return Expression(text=text, tree=tree, columns=frozenset(_names(tree)))


def _listed() -> str:
    return ", ".join(SUPPORTED)


def _error(text: str, where: str, problems: list[Problem], next_step: str = "") -> ExpressionError:
    shown = text if len(text) <= 200 else f"{text[:200]}…"
    return ExpressionError(f"{where}: {shown!r} cannot be used", problems=problems, next_step=next_step)


def _too_large(text: str, where: str, what: str) -> ExpressionError:
    problem = Problem(
        f"too large: {what}",
        expected=f"at most {MAX_LENGTH} characters, {MAX_NESTING} nested brackets or cases, {MAX_DEPTH} operations "
        f"inside each other and {MAX_NODES} in all",
    )
    return _error(text, where, [problem], _SPLIT)


def _tokens(text: str, where: str) -> list[Token]:
    """The words of the text, bounded, without anything that ends or comments a statement."""
    if len(text) > MAX_LENGTH:
        raise _too_large(text, where, f"{len(text)} characters")
    try:
        tokens = list(sqlglot.tokenize(text))
    except TokenError as error:
        problem = Problem("a quotation mark is opened and never closed", expected="'text' or \"column name\"")
        raise _error(text, where, [problem]) from error
    if not tokens:
        raise _error(text, where, [Problem("nothing stands here", expected="an expression")])
    depth = deepest = 0
    for token in tokens:
        if token.token_type == TokenType.SEMICOLON:
            problem = Problem("a ';'", expected="one expression", where=f"position {token.start + 1}")
            raise _error(text, where, [problem])
        opens = token.token_type in {TokenType.L_PAREN, TokenType.CASE}
        closes = token.token_type in {TokenType.R_PAREN, TokenType.END}
        depth = max(0, depth + opens - closes)
        deepest = max(deepest, depth)
    if deepest > MAX_NESTING:
        raise _too_large(text, where, f"{deepest} nested brackets or cases")
    return tokens


def _unknown_calls(tokens: list[Token]) -> dict[int, str]:
    """Every ``name(`` that is not of the language, by its position."""
    unknown: dict[int, str] = {}
    for token, following in pairwise(tokens):
        word = token.text
        named = token.token_type == TokenType.IDENTIFIER or word[:1].isalpha() or word[:1] == "_"
        if token.token_type == TokenType.STRING or following.token_type != TokenType.L_PAREN or not named:
            continue
        if token.token_type == TokenType.IDENTIFIER or word.lower() not in _BEFORE_BRACKET:
            unknown[token.start] = word.lower()
    return unknown


def _syntax(tokens: list[Token], columns: Mapping[str, Kind], text: str, where: str) -> Any:
    """The tree of sqlglot, with bare words that are column names taken as such (``interval``, ``order``)."""
    words: list[Token] = []
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        called = following is not None and following.token_type == TokenType.L_PAREN
        is_word = token.token_type not in {TokenType.STRING, TokenType.NUMBER} and token.text.lower() not in _WORDS
        if is_word and not called and token.text in columns:
            kind = TokenType.IDENTIFIER
            words.append(Token(kind, token.text, token.line, token.col, token.start, token.end))
        else:
            words.append(token)
    try:
        trees = sqlglot.Parser().parse(words, text)
    except ParseError as error:
        raise _error(text, where, [_not_understood(error, text)]) from error
    tree = trees[0]
    if len(trees) != 1 or tree is None:
        raise _error(text, where, [Problem("no expression", expected="one expression")])
    return tree


def _not_understood(error: ParseError, text: str) -> Problem:
    detail = error.errors[0] if error.errors else {}
    told, highlight = str(detail.get("description") or ""), str(detail.get("highlight") or "")
    before = str(detail.get("start_context") or "") + highlight
    at = text.find(before) + len(before) - len(highlight) if before and before in text else None
    found = f"not understood at {highlight!r}" if highlight else "not understood"
    if told.startswith("The number of provided arguments"):
        found = f"too many operands before {highlight!r}"
    elif told.startswith("Required"):
        found = f"an operand is missing at {highlight!r}"
    return Problem(
        found,
        expected="an expression; unusual column names stand in double quotes",
        where="" if at is None else f"position {at + 1}",
    )


def _check_size(tree: Node, text: str, where: str) -> None:
    """Refuses what would take too long to compile; shared parts count as often as they are used."""
    known: dict[int, tuple[int, int]] = {}

    def measure(node: Node) -> tuple[int, int]:
        if id(node) not in known:
            below = [measure(child) for child in operands(node)]
            known[id(node)] = (1 + max((d for d, _ in below), default=0), 1 + sum(n for _, n in below))
        return known[id(node)]

    depth, nodes = measure(tree)
    if depth > MAX_DEPTH:
        raise _too_large(text, where, f"{depth} operations inside each other")
    if nodes > MAX_NODES:
        raise _too_large(text, where, f"{nodes} operations in all")


def _names(tree: Node) -> Iterator[str]:
    seen: set[int] = set()
    waiting: list[Node] = [tree]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Column):
            yield node.name
        waiting.extend(operands(node))

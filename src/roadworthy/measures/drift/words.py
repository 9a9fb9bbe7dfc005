"""A change in words, with figures that a person can check.

In: counts by cell. Out: one sentence. Law: no value of a hidden column, and none but edges and listed labels.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

import numpy as np

from roadworthy.measures.drift.cells import Cells, Floats

__all__ = ["cell_names", "distribution", "figure", "missing", "new", "nothing", "p_words", "share", "with_p"]

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - clean times carry no zone
_LONGEST = 60


def share(value: float) -> str:
    """A share in per cent.

    >>> share(0.3141), share(0.0012), share(0.0), share(0.9996), share(1.0), share(0.00001)
    ('31 %', '0.12 %', '0 %', '99.96 %', '100 %', '0.001 %')
    """
    per_cent = 100 * value
    near = min(per_cent, 100 - per_cent)
    if near < 1e-7:
        return f"{per_cent:.0f} %"
    places = 0 if near >= 9.95 else max(0, 1 - int(np.floor(np.log10(near))) - (per_cent < 50 and near >= 1))
    text = f"{per_cent:.{places}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def p_words(p: float) -> str:
    """A probability for people.

    >>> p_words(0.2345), p_words(2.3e-9), p_words(1e-300), p_words(1.0)
    ('p = 0.23', 'p = 2e-9', 'p < 1e-99', 'p = 1')
    """
    if p < 1e-99:
        return "p < 1e-99"
    if p < 0.001:
        digits, power = f"{p:.0e}".split("e")
        return f"p = {digits}e{int(power)}"
    return f"p = {float(f'{p:.2g}'):g}"


def figure(value: float, *, time: bool = False) -> str:
    """A value of a column; times as dates.

    >>> figure(47.0), figure(0.123456), figure(1234567.0), figure(86400.0, time=True), figure(-3.5)
    ('47', '0.123', '1,234,567', '1970-01-02', '−3.5')
    """
    if time and abs(value) < 2e11:
        at = _EPOCH + timedelta(seconds=value)
        return at.strftime("%Y-%m-%d" if value % 86400 == 0 else "%Y-%m-%d %H:%M")
    sign, size = "−" if value < 0 else "", abs(value)
    if size >= 1e15 or 0 < size < 1e-4:
        return sign + f"{size:.2e}"
    if size == round(size) or size >= 1000:
        return sign + f"{size:,.0f}"
    return sign + f"{size:.3g}"


def with_p(text: str, p: float, effect: float) -> str:
    """The sentence, then what it rests on.

    >>> with_p("x moved", 2.3e-9, 0.2712), with_p("x moved", 0.01, 0.001)
    ('x moved (p = 2e-9, effect 0.27)', 'x moved (p = 0.01, effect below 0.01)')
    """
    size = f"effect {effect:.2f}" if effect >= 0.005 else "effect below 0.01"
    return f"{text} ({p_words(p)}, {size})"


def nothing(cells: Cells, what: str) -> str:
    """What is said where nothing speaks of a change."""
    return f"{what} of {cells.subject} shows no change"


def cell_names(cells: Cells, groups: list[list[int]], times: Collection[str]) -> list[str]:
    """A name for each group of cells."""
    if cells.ordered:
        return [_between(cells, group[0], group[-1], times) for group in groups]
    last = len(cells.labels)
    return ["all others" if last in group else _label(cells.labels[group[0]]) for group in groups]


def distribution(cells: Cells, times: Collection[str]) -> str:
    """What moved most: a label, or the middle half of the numbers and the cut where most changed sides."""
    old, new = cells.old / cells.old.sum(), cells.new / cells.new.sum()
    if cells.ordered:
        return _numbers_moved(cells, old, new, times)
    gaps = np.round(np.abs(new - old), 9)
    place = int(np.lexsort((old + new, -gaps))[0])  # of two labels, the rarer one
    before, after = float(old[place]), float(new[place])
    name = f"{cells.subject} = {_label(cells.labels[place])}" if place < len(cells.labels) else _others(cells)
    return f"{name} {_went(before, after)}"


def _numbers_moved(cells: Cells, old: Floats, new: Floats, times: Collection[str]) -> str:
    time = cells.subject in times
    gaps = np.cumsum(new)[:-1] - np.cumsum(old)[:-1]
    at = int(np.argmax(np.abs(gaps)))
    before, after = float(np.cumsum(old)[at]), float(np.cumsum(new)[at])
    if before > 0.5:
        side, before, after = "at or above", 1 - before, 1 - after
    else:
        side = "below"
    cut = f"{cells.subject} {side} {figure(cells.edges[at], time=time)} {_went(max(0.0, before), max(0.0, after))}"
    middles = [" to ".join(figure(_quantile(cells, side_, q), time=time) for q in (0.25, 0.75)) for side_ in (old, new)]
    if middles[0] == middles[1]:
        return cut
    return f"the middle half of {cells.subject} was {middles[0]} and is {middles[1]}; {cut}"


def _quantile(cells: Cells, shares: Floats, level: float) -> float:
    """A quantile as well as the bins tell: between two edges by proportion, whole where all edges are."""
    below = np.cumsum(shares)
    place = int(np.searchsorted(below, level - 1e-12))
    place = min(max(place, 0), len(shares) - 1)
    low = cells.edges[max(place - 1, 0)]
    high = cells.edges[min(place, len(cells.edges) - 1)]
    start = below[place] - shares[place]
    within = (level - start) / shares[place] if shares[place] > 0 else 0.0
    whole = all(edge == np.floor(edge) for edge in cells.edges[:-1])
    value = low + (high - low) * min(1.0, max(0.0, within))
    return float(np.floor(value)) if whole and value < high else float(value)


def missing(cells: Cells) -> str:
    """How the missing share went."""
    before, after = cells.old_missing / max(cells.old_rows, 1), cells.new_missing / max(cells.new_rows, 1)
    return f"missing values of {cells.subject} {_went(before, after)}"


def new(cells: Cells, before: float, after: float, side: str, times: Collection[str]) -> str:
    """What the reference does not know: ``side`` is ``above``, ``below`` or, for labels, empty."""
    was = f" (it was {share(before)})" if before else ""
    if not side:
        return f"{share(after)} of {cells.subject} are labels that the reference does not list{was}"
    edge = float(np.nextafter(cells.edges[-1], -np.inf)) if side == "above" else cells.edges[0]
    extreme = "highest" if side == "above" else "lowest"
    known = figure(edge, time=cells.subject in times)
    return f"{share(after)} of {cells.subject} lie {side} the {extreme} value of the reference ({known}){was}"


def _went(before: float, after: float) -> str:
    words = share(before), share(after)
    if words[0] == words[1]:
        return f"stayed at {words[0]}"
    return f"{'rose' if after > before else 'fell'} from {words[0]} to {words[1]}"


def _others(cells: Cells) -> str:
    return f"the rarer and new labels of {cells.subject}" if cells.labels else f"all labels of {cells.subject}"


def _label(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in text[: _LONGEST + 1])
    shown = shown if len(text) <= _LONGEST else shown[: _LONGEST - 1] + "…"
    return shown if shown.strip() else f'"{shown}"'


def _between(cells: Cells, first: int, last: int, times: Collection[str]) -> str:
    time = cells.subject in times
    if first == 0 and last == len(cells.edges):
        return "all"
    if first == 0:
        return f"below {figure(cells.edges[last], time=time)}"
    low = figure(cells.edges[first - 1], time=time)
    if last >= len(cells.edges) - 1:
        return f"{low} and above"
    high = figure(cells.edges[last], time=time)
    return low if low == high else f"{low} to {high}"

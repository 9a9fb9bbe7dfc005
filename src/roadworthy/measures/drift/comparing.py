"""Comparing some rows with the reference, column by column: exact tails of counts, all of them at once.

In: two references on one frame. Out: ``Shift``s, scores first. Laws: where both sides are samples of one law, P(p <= x)
is at most x for every x, whatever the number of rows (exactly so in counts; up to the chi-square law of the G test,
which is asked only where cells expect 25 rows, and the normal one of mean ranks); the order is the reference's.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import gammaincc, log_ndtr

from roadworthy.measures.drift import words
from roadworthy.measures.drift.cells import Cells, Floats, cells_by_subject
from roadworthy.measures.drift.effects import excess, grouped, moved
from roadworthy.measures.drift.tails import log_more, log_p_two_sided, widened
from roadworthy.measures.drift.together import together
from roadworthy.measures.sketches import Reference
from roadworthy.records.shift import Shift, ShiftKind

__all__ = ["compared"]

_LEAST = 1e-300
_EXPECTED = 25.0  # rows that a cell of the G test expects
_AS_INDEPENDENT = 1.1  # a dispersion beyond which the sum over all cells follows no chi-square law
_RANKED = 50
_TELLING = 0.05  # above this a sentence says that nothing shows a change


class _Asked(NamedTuple):
    """One question to the hypergeometric law for each entry [t]: marked rows drawn, rows drawn, marked rows, rows."""

    drawn_hits: Floats
    drawn: Floats
    hits: Floats
    rows: Floats


def compared(
    reference: Reference, current: Reference, *, classes: Sequence[str] = (), times: Collection[str] = ()
) -> tuple[Shift, ...]:
    """What differs between ``current`` (counted with ``sketch_like``) and ``reference``: p, effect and words each.

    Numbers: at every edge the count below it, given both margins, is hypergeometric where nothing changed, at any n;
    the smallest two-sided tail, times the number of edges (Bonferroni), is p: the statistic of Berk and Jones (1979),
    "Goodness-of-fit test statistics that dominate the Kolmogorov statistics", in exact form. Labels: the same for each
    label. Half of what may be wrong goes there; the other half to a G test of all cells, where these expect 25 rows on
    both sides, and to the mean rank of numbers. Missing values: the same tail of one count. New values (outside the
    reference's range, unlisted labels): its upper tail. Where the reference has a dispersion, normal scores shrink by
    its root.

    ``classes`` name the score columns of several classes, ``times`` the columns whose numbers are times. A column that
    the current rows lack gives a Shift with ``error``; sketches of other frames raise DataError.
    """
    found = list(cells_by_subject(reference, current, classes))
    columns = [one for one in found if isinstance(one, Cells)]
    asked = [[_cuts(one), _missing(one), *_new(one)] for one in columns]
    every = [question for group in asked for question in group]
    if every:
        joined = [np.concatenate(part) for part in zip(*every, strict=True)]
        ends = np.cumsum([len(question.rows) for question in every])[:-1]
        two_sided = np.split(log_p_two_sided(*joined), ends)
        more = np.split(log_more(*joined), ends)
    shifts: list[Shift] = []
    place = 0
    for cells, group in zip(columns, asked, strict=True):
        own = slice(place, place + len(group))
        place = own.stop
        shifts += _shifts(cells, two_sided[own], more[own], times)
    shifts += [_absent(name) for name in found if isinstance(name, str)]
    return (*shifts, *together(reference, current))


def _shifts(cells: Cells, two_sided: list[Floats], more: list[Floats], times: Collection[str]) -> list[Shift]:
    """The three comparisons of one column; the list of tails is that of ``_cuts``, ``_missing``, ``_new``."""
    shifts = [] if cells.hidden else [_distribution(cells, two_sided[0], times)]
    shifts.append(_of_missing(cells, float(widened(two_sided[1], cells.wider_missing, cells.degrees)[0])))
    if not cells.hidden:
        shifts.append(_of_new(cells, [float(widened(one, cells.wider, cells.degrees)[0]) for one in more[2:]], times))
    return shifts


def _absent(name: str) -> Shift:
    return Shift(
        subject=name,
        kind=ShiftKind.DISTRIBUTION,
        error="the current rows lack this column",
        sentence=f"{name} is missing from the current rows: nothing can be said of it",
    )


def _cuts(cells: Cells) -> _Asked:
    """Every place where the pooled rows can be cut in two that differ.

    Numbers beyond the reference's range count with the outermost ones that it has: they are what `_new` asks for.
    """
    old, new = cells.old, cells.new
    if cells.ordered:
        old, new = np.cumsum(old)[1:-2], np.cumsum(new)[1:-2]
    hits, rows = old + new, float(cells.old.sum() + cells.new.sum())
    telling = (hits > 0) & (hits < rows)
    if cells.ordered:  # cuts without a row between them are one
        telling &= np.diff(hits, prepend=-1.0) > 0
    elif telling.sum() == 2:  # two labels are one cut
        telling[int(np.argmax(telling))] = False
    size = int(telling.sum())
    return _Asked(new[telling], np.full(size, cells.new.sum()), hits[telling], np.full(size, rows))


def _missing(cells: Cells) -> _Asked:
    hits = cells.old_missing + cells.new_missing
    return _one(cells.new_missing, cells.new_rows, hits, cells.old_rows + cells.new_rows)


def _new(cells: Cells) -> list[_Asked]:
    """Of numbers, what lies below and above the range; of labels, those that are not listed."""
    drawn, rows = float(cells.new.sum()), float(cells.old.sum() + cells.new.sum())
    places = (0, -1) if cells.ordered else (-1,)
    return [_one(cells.new[at], drawn, cells.old[at] + cells.new[at], rows) for at in places]


def _one(drawn_hits: float, drawn: float, hits: float, rows: float) -> _Asked:
    return _Asked(*(np.array([value], np.float64) for value in (drawn_hits, drawn, hits, rows)))


def _lacks(cells: Cells) -> str:
    """Why the values themselves cannot be compared."""
    if not cells.new_rows:
        return "there are no rows"
    if not cells.new.sum():
        return "every value is missing"
    return "" if cells.old.sum() else "the reference has no value of it"


def _distribution(cells: Cells, tails: Floats, times: Collection[str]) -> Shift:
    n, m = int(cells.new.sum()), int(cells.old.sum())
    lacks = _lacks(cells)
    if lacks:
        return _insufficient(cells, ShiftKind.DISTRIBUTION, n, m, lacks)
    tails = widened(tails, cells.wider, cells.degrees)
    log_p = min(0.0, float(tails.min()) + np.log(len(tails))) if len(tails) else 0.0
    log_p = _joined(log_p, _log_g(cells) if cells.wider < _AS_INDEPENDENT else None, _log_rank(cells))
    old, new, groups = grouped(cells)
    p, effect = _p(log_p), moved(old, new, cells.wider)
    text = words.nothing(cells, "the distribution") if p > _TELLING else words.distribution(cells, times)
    details = {
        "cells": words.cell_names(cells, groups, times),
        "reference": [round(float(share), 5) for share in old / m],
        "current": [round(float(share), 5) for share in new / n],
    }
    return Shift(
        subject=cells.subject,
        kind=ShiftKind.DISTRIBUTION,
        p=p,
        effect=effect,
        n=n,
        reference_n=m,
        sentence=words.with_p(text, p, effect),
        details=details | _dispersed(cells.wider),
    )


def _joined(log_p: float, *others: float | None) -> float:
    """Half of what may be wrong goes to the first test, the other half in equal parts to the others that were asked."""
    asked = [one for one in others if one is not None]
    if not asked:
        return log_p
    return min(0.0, log_p + float(np.log(2)), min(asked) + float(np.log(2 * len(asked))))


def _log_rank(cells: Cells) -> float | None:
    """Log p of the mean rank, sharpest where all numbers moved one way; None for labels and fewer than 50 rows.

    Wilcoxon's sum with its variance given the ties (Lehmann 1975); its normal tail is widened as Bernstein's inequality
    widens that of a bounded mean, which holds for draws without replacement as well (Hoeffding 1963).
    """
    n, m = float(cells.new.sum()), float(cells.old.sum())
    pooled = cells.old + cells.new
    if not cells.ordered or min(n, m) < _RANKED:
        return None
    rank = (np.cumsum(pooled) - pooled / 2) / (n + m) - 0.5
    variance = float(pooled @ rank**2) / (n + m - 1)
    if variance < 1e-12:
        return None
    fewer = min(n, m)
    z = abs(float(cells.new @ rank) / n - float(cells.old @ rank) / m) / np.sqrt(variance * (1 / n + 1 / m))
    reach = float(np.abs(rank[pooled > 0]).max()) / np.sqrt(variance * fewer)
    log_p = float(log_ndtr(-z / np.sqrt(1 + reach * z / 3)) + np.log(2))
    return float(widened(min(0.0, log_p), cells.wider, cells.degrees))


def _log_g(cells: Cells) -> float | None:
    """Log p of the likelihood-ratio test of all cells; None where fewer than three cells expect enough rows.

    The likelihood ratio keeps its law further out than Pearson's sum: it grows with the exponent of the probability.
    """
    n, m = cells.old.sum(), cells.new.sum()
    pooled = cells.old + cells.new
    order = np.arange(len(pooled)) if cells.ordered else np.argsort(pooled, kind="stable")
    need = _EXPECTED * (n + m) / min(n, m)
    ends, room = [], 0.0
    for place, index in enumerate(order):
        room += pooled[index]
        if room >= need:
            ends.append(place + 1)
            room = 0.0
    if len(ends) < 3:
        return None
    starts = [0, *ends[:-1]]  # what is left over belongs to the last cell
    table = np.stack([np.add.reduceat(side[order], starts) for side in (cells.old, cells.new)])
    expected = table.sum(axis=0) * np.array([[n], [m]]) / (n + m)
    g = 2 * float(np.sum(np.where(table > 0, table * np.log(np.maximum(table, 1) / expected), 0.0)))
    inverse = ((n + m) / n + (n + m) / m - 1) * (float(((n + m) / table.sum(axis=0)).sum()) - 1)
    corrected = g / (1 + inverse / (6 * (n + m) * (len(ends) - 1)))
    tail = float(gammaincc((len(ends) - 1) / 2, max(0.0, corrected / cells.wider) / 2))
    return float(np.log(max(tail, _LEAST)))


def _of_missing(cells: Cells, log_p: float) -> Shift:
    n, m = cells.new_rows, cells.old_rows
    if not n or not m:
        lacks = "there are no rows" if not n else "the reference has no rows"
        return _insufficient(cells, ShiftKind.MISSING, n, m, lacks)
    p = _p(log_p)
    effect = excess(cells.old_missing, m, cells.new_missing, n, cells.wider_missing)
    text = words.nothing(cells, "the share of missing values") if p > _TELLING else words.missing(cells)
    return Shift(
        subject=cells.subject,
        kind=ShiftKind.MISSING,
        p=p,
        effect=effect,
        n=n,
        reference_n=m,
        sentence=words.with_p(text, p, effect),
        details={"reference": cells.old_missing / m, "current": cells.new_missing / n}
        | _dispersed(cells.wider_missing),
    )


def _of_new(cells: Cells, log_ps: list[float], times: Collection[str]) -> Shift:
    n, m = int(cells.new.sum()), int(cells.old.sum())
    lacks = _lacks(cells)
    if lacks:
        return _insufficient(cells, ShiftKind.NEW, n, m, lacks)
    at = int(np.argmin(log_ps))
    place = (0, -1)[at] if cells.ordered else -1
    side = ("below", "above")[at] if cells.ordered else ""
    p = _p(min(0.0, log_ps[at] + float(np.log(len(log_ps)))))
    before, after = float(cells.old[place]) / m, float(cells.new[place]) / n
    effect = excess(cells.old[place], m, cells.new[place], n, cells.wider) if after > before else 0.0
    text = f"nothing new in {cells.subject}" if p > _TELLING else words.new(cells, before, after, side, times)
    return Shift(
        subject=cells.subject,
        kind=ShiftKind.NEW,
        p=p,
        effect=effect,
        n=n,
        reference_n=m,
        sentence=words.with_p(text, p, effect),
        details={"reference": before, "current": after, "side": side} | _dispersed(cells.wider),
    )


def _insufficient(cells: Cells, kind: ShiftKind, n: int, m: int, lacks: str) -> Shift:
    text = f"nothing can be said of {cells.subject}: {lacks}"
    return Shift(subject=cells.subject, kind=kind, n=n, reference_n=m, insufficient=lacks, sentence=text)


def _p(log_p: float) -> float:
    return max(_LEAST, float(np.exp(log_p)))


def _dispersed(wider: float) -> dict[str, float]:
    return {"dispersion": round(wider, 3)} if wider > 1 else {}

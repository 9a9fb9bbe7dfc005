"""The one sentence above the list: what changed, worst first.

In: how the columns, the score and the columns together stand. Out: a sentence and its tone. Law: it never says that all
is well where something could not be looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from roadworthy.formats.wording import clipped, count
from roadworthy.views.dashboard.data.looking import Looked
from roadworthy.views.dashboard.data.standing import Change, ColumnRow, Standing
from roadworthy.views.dashboard.data.windows import Shown, no_comparison

__all__ = ["lead"]

_NAMED = 3
_NAME = 40


def lead(
    window: Shown, rows: Sequence[ColumnRow], scores: Sequence[Change], together: Sequence[Change], looked: Looked
) -> tuple[str, str]:
    """The sentence, and ``bad``, ``open``, ``quiet`` or ``ready``."""
    refused = _refused(rows)
    lacks = no_comparison(looked.judged, looked.judged.shifts)
    if lacks:
        return " ".join([f"Nothing can be said of the data: {lacks}.", *refused]), "open"
    by_standing: dict[Standing, list[str]] = {}
    for row in rows:
        by_standing.setdefault(row.standing, []).append(row.facts.name)
    compared = sum(len(names) for standing, names in by_standing.items() if standing is not Standing.APART)
    told = [*_silence(window), *_broken(by_standing), *_of_columns(by_standing, compared, scores)]
    told += [f"Columns no longer go together as they did: {one.words}." for one in together if _alarms(one)]
    if by_standing.get(Standing.OPEN):
        names = _names(by_standing[Standing.OPEN])
        told.append(f"An alert of an earlier window is still open on {names}.")
    told += refused
    bad = by_standing.get(Standing.ALARM) or by_standing.get(Standing.BROKEN) or any(map(_alarms, scores))
    if bad or any(map(_alarms, together)):
        tone = "bad"
    elif window.silent or by_standing.get(Standing.OPEN) or by_standing.get(Standing.CHANGED):
        tone = "open"
    else:
        tone = "ready"
    return " ".join(told), tone


def _refused(rows: Sequence[ColumnRow]) -> list[str]:
    """For which columns live rows were refused, most first."""
    told = []
    for when, of_row in (("In this window", _during), ("Since then", _since)):
        counts = sorted(((of_row(row), row.facts.name) for row in rows if of_row(row)), key=lambda one: -one[0])
        if counts:
            figures = [f" ({count(number)})" for number, _ in counts]
            told.append(f"{when} rows were refused for {_names([name for _, name in counts], figures)}.")
    return told


def _during(row: ColumnRow) -> int:
    return row.refused.rows


def _since(row: ColumnRow) -> int:
    return row.refused_since.rows


def _alarms(change: Change) -> bool:
    return change.standing is Standing.ALARM


def _silence(window: Shown) -> Iterable[str]:
    if window.silent:
        windows = "window" if window.silent == 1 else f"{count(window.silent)} windows"
        yield f"No row has come in the last {windows}; what follows is of the newest rows before."


def _broken(by_standing: dict[Standing, list[str]]) -> Iterable[str]:
    names = by_standing.get(Standing.BROKEN)
    if names:
        yield f"The check of {_names(names)} broke: nothing is known of {'it' if len(names) == 1 else 'them'}."


def _of_columns(by_standing: dict[Standing, list[str]], compared: int, scores: Sequence[Change]) -> Iterable[str]:
    alarmed, little = by_standing.get(Standing.ALARM, []), by_standing.get(Standing.CHANGED, [])
    columns = f"{count(compared)} columns"
    if alarmed:
        have = "has" if len(alarmed) == 1 else "have"
        text = f"{count(len(alarmed))} of {columns} {have} changed since the release: {_names(alarmed)}"
    elif little:
        text = f"No column has changed enough to call anybody; {count(len(little))} of {columns} changed a little: "
        text += _names(little)
    else:
        text = f"None of the {columns} shows a change since the release"
    yield f"{text}{_of_score(scores, changed=bool(alarmed))}."
    if alarmed and little:
        yield f"{count(len(little))} more changed a little."


def _of_score(scores: Sequence[Change], *, changed: bool) -> str:
    """How the score goes with that."""
    if not scores:
        return ""
    if any(map(_alarms, scores)):
        return "; the score has moved too" if changed else ", but the score has moved"
    if any(one.standing is Standing.CHANGED for one in scores):
        return "; the score has moved a little"
    if all(one.standing is Standing.UNKNOWN for one in scores):
        return "; of the score nothing can be said"
    return "; the score has not moved" if changed else ", nor does the score"


def _names(names: Sequence[str], figures: Sequence[str] = ("",) * _NAMED) -> str:
    """At most three names as code, each with its figure, and how many more."""
    shown = [
        f"`{clipped(name.replace('`', ' '), _NAME)}`{figure}"
        for name, figure in zip(names[:_NAMED], figures, strict=False)
    ]
    more = len(names) - len(shown)
    if more:
        return f"{', '.join(shown)} and {count(more)} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"

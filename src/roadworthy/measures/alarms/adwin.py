"""ADWIN on a stream of errors: whether the model has begun to err more often, and since when.

In: one 0 or 1 per row with a label, in the order in which the labels came. Out: the changes. After Bifet and Gavaldà
(2007), "Learning from Time-Varying Data with Adaptive Windowing": the window of the past is cut wherever its older and
its newer part differ, and the older part is forgotten. Kept in an exponential histogram, so that a million rows are
about eighty counts.

What differs from the paper: a cut is decided by the exact probability (hypergeometric, Fisher 1922) of so many errors
in the newer part, given all of them, in place of a bound on it. It holds at any number of rows and any rate of errors,
and it is sharper, so a change is found sooner at the same rate of false alarms. That rate is a setting: alarms per row,
divided over the cuts of each look.

Laws: pure and restartable (``Adwin`` is all that is kept); rows one by one or all at once give the same changes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from roadworthy.errors import DataError
from roadworthy.records.alert import Signal, Word

__all__ = ["CLOCK", "Adwin", "Change", "errors_signal", "updated"]

CLOCK = 32
"""Rows between two looks."""
_BUCKETS = 5
_LEAST_ROWS = 16
_MORE, _HALF_AS_MANY = 0.02, 1.5
_WORTH_A_TEST = 3.0  # standard deviations; below, no level of a budget is in reach


class Adwin(msgspec.Struct, frozen=True, kw_only=True):
    """The window's errors in buckets of 1, 2, 4, … rows: ``buckets[i]`` counts those of 2**i rows, oldest first.

    ``seen`` counts all rows ever, ``per_row`` is the rate of false alarms.
    """

    per_row: float
    seen: int = 0
    buckets: tuple[tuple[int, ...], ...] = ()

    @property
    def rows(self) -> int:
        """In the window."""
        return sum(len(row) << size for size, row in enumerate(self.buckets))

    @property
    def errors(self) -> int:
        """In the window."""
        return sum(map(sum, self.buckets))


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """At row ``at`` (from 1 on) the rate of errors was seen to have changed about ``since`` rows into the stream.

    ``before`` and ``after`` are the rates of the parts, ``p`` the probability of such a cut without a change, already
    multiplied by the cuts that were tried; ``level`` what it was within.
    """

    at: int
    since: int
    before: float
    after: float
    rows_before: int
    rows_after: int
    p: float
    level: float

    @property
    def worse(self) -> bool:
        """Whether there are more errors now; fewer are no alarm."""
        return self.after > self.before

    @property
    def matters(self) -> bool:
        """Whether they are so many more that somebody is called: two in a hundred, or half as many again."""
        return (
            self.after - self.before >= _MORE
            or self.after >= _HALF_AS_MANY * self.before > 0
            or (self.before == 0 and self.worse)
        )


def updated(state: Adwin, errors: Sequence[int] | NDArray[np.int64]) -> tuple[Adwin, tuple[Change, ...]]:
    """Take in errors (0 or 1) [N]. Raises DataError for anything else, and for a rate that is none."""
    values = np.asarray(errors)
    if values.ndim != 1 or not np.isin(values, (0, 1)).all():
        raise DataError("errors are a list of 0 and 1, one per row with a label")
    if not 0 < state.per_row < 1:
        raise DataError(f"{state.per_row} false alarms per row; expected more than 0 and less than 1")
    buckets = [list(row) for row in state.buckets]
    seen, changes = state.seen, []
    for error in values.astype(int).tolist():
        _insert(buckets, error)
        seen += 1
        if seen % CLOCK == 0:
            change = _look(buckets, seen, state.per_row * CLOCK)
            changes.extend([change] if change else [])
    kept = tuple(map(tuple, buckets))
    return Adwin(per_row=state.per_row, seen=seen, buckets=kept), tuple(changes)


def errors_signal(
    changes: Sequence[Change], state: Adwin, rows: int, *, rule: str, at_us: int, source: str, group: str = "quality"
) -> Signal:
    """The word on ``rows`` labels that came in, given the changes among them.

    Unknown without labels; without a change it is clear, since the window of the past holds one rate only.
    """
    found = [change for change in changes if change.worse]
    last = next((change for change in reversed(found) if change.matters), None)
    if last is not None:
        word = Word.ALARM
        sentence = (
            f"The model errs more often: {100 * last.before:.3g} % of {last.rows_before:,} labelled rows before, "
            f"{100 * last.after:.3g} % of the last {last.rows_after:,}."
        )
    elif not rows:
        word, sentence = Word.UNKNOWN, "No labels came in: nothing is known of errors."
    else:
        word = Word.CLEAR
        share = f"{100 * state.errors / state.rows:.3g} % of the last {state.rows:,} labelled rows"
        sentence = f"The model errs as often as before, in {share}."
        if found:
            sentence = f"The model errs more often than before, by too little to call anybody: in {share}."
    shown = last or (found[-1] if found else None)
    return Signal(
        rule=rule, word=word, at_us=at_us, source=source, group=group, sentence=sentence, chart=rule,
        evidence={} if shown is None else msgspec.to_builtins(shown),
        look_first="The wrongly answered rows since then, by slice; and whether the labels themselves changed.",
    )  # fmt: skip


def _insert(buckets: list[list[int]], error: int) -> None:
    carried: int | None = error
    for row in buckets:
        row.append(carried or 0)
        if len(row) <= _BUCKETS:
            return
        carried = row.pop(0) + row.pop(0)
    buckets.append([carried or 0])


def _look(buckets: list[list[int]], seen: int, level: float) -> Change | None:
    """Cut as long as there is a cut; the first one found is the change."""
    found = None
    while (cut := _best_cut(buckets, seen, level)) is not None:
        found = found or cut
        older = cut.rows_before
        while older > 0:
            size = len(buckets) - 1
            older -= 1 << size
            buckets[size].pop(0)
            while buckets and not buckets[-1]:
                buckets.pop()
    return found


def _best_cut(buckets: list[list[int]], seen: int, level: float) -> Change | None:
    """The cut whose parts differ most, if it is beyond its part of the level."""
    rows = sum(len(row) << size for size, row in enumerate(buckets))
    errors = sum(map(sum, buckets))
    share = errors / rows if rows else 0.0
    spread = share * (1 - share)
    if rows < 2 * _LEAST_ROWS or spread == 0:
        return None
    best, best_z, cuts = (0, 0), _WORTH_A_TEST, 0
    for older, older_errors in _cuts(buckets):
        newer = rows - older
        if older < _LEAST_ROWS or newer < _LEAST_ROWS:
            continue
        cuts += 1
        z = abs(older_errors / older - share) * math.sqrt(older * rows / newer / spread)
        if z > best_z:
            best, best_z = (older, older_errors), z
    if not best[0]:
        return None
    older, older_errors = best
    newer, newer_errors = rows - older, errors - older_errors
    worse = newer_errors * older > older_errors * newer
    law = (rows, errors, newer)
    tail = stats.hypergeom.sf(newer_errors - 1, *law) if worse else stats.hypergeom.cdf(newer_errors, *law)
    p = float(tail) * cuts
    if p > level:
        return None
    return Change(
        at=seen, since=seen - newer, before=older_errors / older, after=newer_errors / newer,
        rows_before=older, rows_after=newer, p=p, level=level,
    )  # fmt: skip


def _cuts(buckets: list[list[int]]) -> Iterator[tuple[int, int]]:
    """Rows and errors of the older part, for every border between two buckets."""
    rows = errors = 0
    for size in range(len(buckets) - 1, -1, -1):
        for count in buckets[size]:
            rows += 1 << size
            errors += count
            yield rows, errors

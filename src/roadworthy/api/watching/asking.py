"""Everything that a window is judged by, gathered: its rows and labels, its version, readings, looks back, the budget.

In: a window, the instant by which labels count. Out: ``Asked``. Laws: what is kept of a window depends on its rows, the
labels known by that instant, the readings of its span and the version's own bundle alone; waivers are read once a look.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import msgspec
import polars as pl

from roadworthy.adapters.sources.row_digest import RowDigest
from roadworthy.api.watching.servers import readings_of, spanned
from roadworthy.api.watching.traffic import Traffic
from roadworthy.api.watching.versions import Answerers
from roadworthy.errors import RegistryError
from roadworthy.lifecycle import cursors
from roadworthy.lifecycle import watching as kept_windows
from roadworthy.lifecycle.alerts.rows import open_alerts
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.measures.alarms.budget import Allotment
from roadworthy.measures.alarms.scales import MOST_SCALES, blocks_ending_at
from roadworthy.measures.operations.measuring import Live, measured
from roadworthy.measures.operations.traffic import traffic_of
from roadworthy.measures.sketches import Reference
from roadworthy.records.alert import Alert, Policy
from roadworthy.records.digests import Digest, digest_bytes, digest_data
from roadworthy.records.evidence import Measurement
from roadworthy.records.reading import Reading
from roadworthy.records.verdict import Waiver
from roadworthy.records.window import Cut, Window, WindowKind
from roadworthy.stages.watching.abreast import part_of
from roadworthy.stages.watching.besides import FEWEST_ROWS
from roadworthy.stages.watching.estimates import Estimates
from roadworthy.stages.watching.judging import Back, Sight, guarded, told_of
from roadworthy.stages.watching.observed import scored, within
from roadworthy.stages.watching.watched import Watched
from roadworthy.stages.watching.whole import Asked, allotment_for
from roadworthy.standard import Requirement

__all__ = ["Asking", "Watch", "scale_of", "sketched"]

_US, _DAY_US = 1_000_000, 86_400_000_000
_MOST_BACK_ROWS = 500_000
_FAR_MORE = 2


@dataclass(frozen=True, slots=True)
class Watch:
    """How a project is watched: cut into which windows, with which policy for alerts.

    ``settle_s`` is how long a row may take from its answer to the log, and a label from its acknowledgement.
    """

    project: str
    cut: Cut
    policy: Policy
    settle_s: float = 5.0


class _Known(NamedTuple):
    """What the registry knows: open alerts by rule, readings, the newest row before, the newest window with labels."""

    standing: Mapping[str, int]
    readings: Sequence[Reading]
    newest_us: int | None
    labelled: int


class Asking:
    """Gathers what windows of one series are judged by."""

    def __init__(self, watch: Watch, traffic: Traffic, versions: Answerers, transactions: Transactions) -> None:
        self._project, self._cut = watch.project, watch.cut
        self._traffic, self._versions, self._transactions = traffic, versions, transactions
        self._waivers: tuple[Waiver, ...] | None = None

    def anew(self) -> None:
        """Another look begins: what people have signed since then counts."""
        self._waivers = None

    def asked(
        self, window: Window, now_us: int, known_by_us: int, *, version: str = "", watched_before: str = ""
    ) -> Asked:
        """What a window is judged by.

        ``version`` holds it to that version; else it is the one that ``watched_before`` names, unless another answered
        far more of its rows.
        """
        rows = self._traffic.rows(window.after, window.until, known_by_us)
        watched = (self._versions.titled(version) if version else None) or self._answerer(rows, watched_before)
        own = scored(watched.own(rows), watched.contract.task)
        digest = _digest(rows)
        return self._asked(
            window, rows, own, digest, watched, self._known(window, window, watched), now_us, known_by_us
        )

    def empties(
        self, windows: Sequence[Window], now_us: int, known_by_us: int, *, watched_before: str
    ) -> Iterator[Asked]:
        """The same for windows that follow each other and have no row; what they share is read once."""
        # cleared: a row that has come since is late, as it is for a window that was judged alone
        rows = self._traffic.rows(windows[0].after, windows[0].until, known_by_us).clear()
        watched = self._versions.titled(watched_before) or self._versions.in_service()
        known = self._known(windows[0], windows[-1], watched)
        own, digest = watched.own(rows), _digest(rows)
        for window in windows:
            yield self._asked(window, rows, own, digest, watched, known, now_us, known_by_us)

    def _asked(  # noqa: PLR0917 - a window, and what is known of it
        self,
        window: Window,
        rows: pl.DataFrame,
        own: pl.DataFrame,
        digest: Digest,
        watched: Watched,
        known: _Known,
        now_us: int,
        known_by_us: int,
    ) -> Asked:
        seconds = self.seconds(window)
        allotment = allotment_for(watched, seconds[0], MOST_SCALES if self._cut.kind is WindowKind.COUNT else None)
        live = _live(window, watched, rows, known)
        back = Back(0, seconds[0], own)
        backs = (back, *self._backs(window, watched, back, seconds, known, known_by_us, allotment))
        sight = Sight(
            title=window.title,
            at_us=window.until.at_us,
            backs=backs,
            operations=guarded(partial(_operations, window, live, known.readings), "reading operations"),
            estimate=guarded(Estimates(watched, own), "estimating quality"),
        )
        readings = digest_bytes(msgspec.json.encode(live.traffic.readings if live.traffic else ()))
        parts = {"rows": digest, "bundle": watched.digest, "readings": readings}
        others, unread = self._others(rows, watched)
        return Asked(
            watched=watched,
            window=window,
            revision=0,
            judged_at_us=now_us,
            known_by_us=known_by_us,
            inputs=digest_data([parts["rows"], parts["bundle"], live.newest_us, parts["readings"]]),
            rows=rows,
            sight=sight,
            allotment=_shared(allotment, rows, watched, others),
            looks=None,
            seconds=seconds,
            standing=known.standing,
            waivers=self.waivers(),
            others=others,
            unread=unread,
            parts=parts,
        )

    def _known(self, first: Window, last: Window, watched: Watched) -> _Known:
        """What the registry knows of windows that follow each other."""
        growing = any(item.metric == "memory_growth" for item in watched.required)
        after_us = first.after.at_us
        since_us = min(after_us, last.until.at_us - _DAY_US, first.until.at_us - _DAY_US) if growing else after_us
        with self._transactions.reading() as connection:
            waiting = cursors.waiting(connection, self._project, self._cut.series)
            return _Known(
                standing={one.rule: scale_of(one) for one in open_alerts(connection, self._project)},
                readings=readings_of(connection, self._project, since_us, last.until.at_us),
                newest_us=kept_windows.newest_end(connection, first),
                labelled=max(
                    (kept_windows.newest_labelled(connection, last), *(one for one in waiting if one <= last.number))
                ),
            )

    def _others(self, rows: pl.DataFrame, watched: Watched) -> tuple[tuple[Watched, ...], tuple[str, ...]]:
        """Other versions that answered rows enough to be looked at, and which of them cannot be read, and why.

        That a bundle is gone stops the watch over its own version, and over no other.
        """
        if not rows.height:
            return (), ()
        counts = rows.get_column("_version").value_counts(name="rows").sort(["rows", "_version"], descending=True)
        titles = [title for title, count in counts.iter_rows() if count >= FEWEST_ROWS and title != watched.title]
        found, unread = list[Watched](), list[str]()
        for title in titles:
            try:
                one = self._versions.titled(title)
            except RegistryError:  # whoever keeps versions is gone
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told
                unread.append(f"{title}: {told_of(error)}")
            else:
                found += [] if one is None else [one]
        return tuple(found), tuple(unread)

    def waivers(self) -> tuple[Waiver, ...]:
        """What a named person has signed for, as it was when this look began."""
        if self._waivers is None:
            self._waivers = self._versions.waivers()
        return self._waivers

    def _answerer(self, rows: pl.DataFrame, before: str) -> Watched:
        """The version that is watched already, unless another answered far more rows; then the one with the most.

        Two that share traffic evenly do not take turns: looks back would begin anew with each.
        """
        counts = rows.get_column("_version").value_counts(name="rows").sort(["rows", "_version"], descending=True)
        answered = dict(counts.iter_rows())
        ranked = list(answered)
        if before in answered and answered[ranked[0]] <= _FAR_MORE * answered[before]:
            ranked.insert(0, before)
        for title in (*ranked, before):
            found = self._versions.titled(title)
            if found is not None:
                return found
        return self._versions.in_service()

    def seconds(self, window: Window) -> dict[int, float]:
        """The time that the windows of each look back cover."""
        if self._cut.kind is WindowKind.TIME:
            return {scale: float(self._cut.size * 2**scale) for scale in range(MOST_SCALES)}
        begins = {scale: window.number - 2**scale + 1 for scale in range(1, MOST_SCALES)}
        with self._transactions.reading() as connection:
            starts = kept_windows.starts(connection, self._project, self._cut.series, list(begins.values()))
        found = {0: window.after.at_us or window.until.at_us}
        found |= {scale: starts[number] for scale, number in begins.items() if number in starts}
        return {scale: max((window.until.at_us - start) / _US, 1.0) for scale, start in found.items()}

    def _backs(  # noqa: PLR0917 - one window, and what its looks back rest on
        self,
        window: Window,
        watched: Watched,
        own: Back,
        seconds: Mapping[int, float],
        known: _Known,
        known_by_us: int,
        allotment: Allotment,
    ) -> Iterator[Back]:
        """The looks back at quality that end now; none where no row of them has a label."""
        newest = window.number if own.rows.get_column("_labelled_at").count() else known.labelled
        ending = blocks_ending_at(window.number, allotment.scales)
        blocks = [one for one in ending if 0 < one.scale in seconds and one.first <= newest]
        if not blocks:
            return
        with self._transactions.reading() as connection:
            begun = kept_windows.begins(connection, window, [one.first for one in blocks], _MOST_BACK_ROWS)
        if not begun:
            return
        rows = watched.own(self._traffic.rows(min(begun.values()), window.until, known_by_us))
        rows = scored(rows, watched.contract.task)
        for block in blocks:
            if block.first in begun:
                spanned = within(rows, msgspec.structs.replace(window, after=begun[block.first]))
                if spanned.get_column("_labelled_at").count():
                    yield Back(block.scale, seconds[block.scale], spanned)


def sketched(asked: Asked) -> tuple[Reference | None, str]:
    """The window's own rows, counted; none, and why, where that breaks."""
    own = asked.watched.own(asked.rows)
    try:
        return (asked.watched.sketch(own) if own.height else None), ""
    except Exception as error:  # noqa: BLE001 - it is told as a check that broke, and stops no other
        return None, f"the rows could not be counted: {told_of(error)}"


def _shared(allotment: Allotment, rows: pl.DataFrame, watched: Watched, others: Sequence[Watched]) -> Allotment:
    """The part of the alarm budget that is left where other versions alarm too: by the rows that each answered."""
    if not others:
        return allotment
    titles = rows.get_column("_version")
    own, theirs = int((titles == watched.title).sum()), int(titles.is_in([one.title for one in others]).sum())
    return part_of(allotment, own / (own + theirs)) if own else allotment


def scale_of(alert: Alert) -> int:
    """The scale of looks back that an alert was last proven at."""
    return int(alert.last.evidence.get("scale", 0))


def _operations(
    window: Window, live: Live, readings: Sequence[Reading], required: Sequence[Requirement]
) -> tuple[Measurement, ...]:
    """What operations showed; whether memory grows is seen over the day that ends with the window."""
    growing = [item for item in required if item.metric == "memory_growth"]
    found = measured([item for item in required if item.metric != "memory_growth"], live)
    if not growing:
        return found
    until_us = window.until.at_us
    day = replace(live, traffic=traffic_of(readings, after_us=until_us - _DAY_US, until_us=until_us))
    return (*found, *measured(growing, day))


def _live(window: Window, watched: Watched, rows: pl.DataFrame, known: _Known) -> Live:
    """What is known of operations in a window; nothing in it depends on when it is asked."""
    after_us, until_us = window.after.at_us, window.until.at_us
    readings = spanned(known.readings, after_us, until_us)
    newest_us = int(rows.get_column("_at").dt.epoch("us")[-1]) if rows.height else known.newest_us
    return Live(
        now_us=until_us,
        traffic=traffic_of(readings, after_us=after_us, until_us=until_us) if readings else None,
        rows=rows,
        newest_us=newest_us,
        trained_us=watched.made_us,
        columns=tuple(name for name in watched.contract.contract.columns if name in rows.columns),
    )


def _digest(rows: pl.DataFrame) -> Digest:
    state = RowDigest()
    state.update(rows)
    return state.digest()

"""The monitor: windows that are over are judged, once each; labels that come late give past windows a new revision.

In: traffic, versions, the registry's database, the time. Out: windows, alerts and messages to be sent, in one
transaction a window. Laws: no window is skipped and none is judged twice, whoever is killed when; what is judged
depends on the log, the labels known by an instant, and the version's own bundle; a registry or a log that is gone for
a while delays a window and loses none.
"""

from __future__ import annotations

import base64
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import msgspec
import polars as pl
from sqlalchemy import Connection

from roadworthy.adapters.sources.row_digest import RowDigest
from roadworthy.api.watching.late import by_window, oldest, stream, worth_a_look
from roadworthy.api.watching.servers import readings_of
from roadworthy.api.watching.traffic import Traffic, moment
from roadworthy.api.watching.versions import Answerers
from roadworthy.errors import RegistryError, UsageError
from roadworthy.lifecycle import cursors
from roadworthy.lifecycle import watching as kept_windows
from roadworthy.lifecycle.alerts.rows import open_alerts
from roadworthy.lifecycle.alerts.store import AlertStore
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.measures.alarms.adwin import Adwin, errors_signal, updated
from roadworthy.measures.alarms.budget import Allotment
from roadworthy.measures.alarms.scales import MOST_SCALES, Kept, Look, advanced, blocks_ending_at
from roadworthy.measures.operations.measuring import Live, measured
from roadworthy.measures.operations.traffic import traffic_of
from roadworthy.measures.sketches import Reference
from roadworthy.records.alert import Policy, Severity, Signal, Word
from roadworthy.records.digests import Digest, digest_bytes, digest_data
from roadworthy.records.evidence import Measurement
from roadworthy.records.project import Task
from roadworthy.records.window import Cut, Judged, Place, Window, WindowKind, WindowSummary
from roadworthy.stages.watching.cutting import next_windows
from roadworthy.stages.watching.estimates import Estimates
from roadworthy.stages.watching.judging import Back, Sight, guarded, told_of
from roadworthy.stages.watching.observed import within
from roadworthy.stages.watching.watched import Watched
from roadworthy.stages.watching.whole import Asked, allotment_for, judged_window
from roadworthy.standard import Requirement

__all__ = ["Monitor", "Ticked", "Watch"]

_US, _DAY_US = 1_000_000, 86_400_000_000
_MOST_PLACES, _MOST_BACK_ROWS = 200_000, 500_000
_WINDOWS, _LATE = "monitor:windows", "monitor:late labels"


class Ticked(NamedTuple):
    """What one look at the log came to. ``behind``: more windows are over than were judged."""

    judged: tuple[Judged, ...]
    revised: tuple[Judged, ...]
    behind: bool


class _Memory(msgspec.Struct, frozen=True):
    """What is remembered of a series between windows: the looks back of one version."""

    version: str = ""
    kept: Kept = Kept()


@dataclass(frozen=True, slots=True)
class Watch:
    """How a project is watched: cut into which windows, with which policy for alerts.

    ``settle_s`` is how long a row may take from its answer to the log, and a label from its acknowledgement.
    """

    project: str
    cut: Cut
    policy: Policy
    settle_s: float = 5.0


class Monitor:
    """Watches one project's traffic."""

    def __init__(
        self, watch: Watch, traffic: Traffic, versions: Answerers, transactions: Transactions, alerts: AlertStore
    ) -> None:
        self._project, self._cut, self._policy = watch.project, watch.cut, watch.policy
        self._settle_us = int(watch.settle_s * _US)
        self._traffic, self._versions = traffic, versions
        self._transactions, self._alerts = transactions, alerts

    def tick(self, now_us: int, *, most: int = 64) -> Ticked:
        """Judge the windows that are over, at most so many, then what labels have changed."""
        watermark_us = now_us - self._settle_us
        windows, behind = self._due(watermark_us, most)
        judged = tuple(self._judged(window, now_us, watermark_us) for window in windows)
        revised = () if behind else self._revised(now_us, watermark_us)
        return Ticked(judged, revised, behind)

    def again(self, number: int, revision: int | None = None) -> tuple[Judged, Judged]:
        """A past window as it was judged, and as it comes out now from the same rows and labels."""
        with self._transactions.reading() as connection:
            before = kept_windows.judged(connection, self._project, self._cut.series, number, revision)
        if self._versions.titled(before.version) is None:
            raise UsageError(
                f"window {before.window.title} was judged for {before.version}, which is not registered here",
                next_step="only windows of registered versions are judged again: roadworthy windows   # lists them",
            )
        asked = self._asked(before.window, before.version, before.judged_at_us, before.known_by_us)
        sketch, uncounted = self._sketch(asked)
        look = Look(block=blocks_ending_at(number, 1)[0], sketch=sketch)
        sight = replace(asked.sight, turn=before.turn)
        asked = replace(asked, revision=before.revision, looks=(look,), sight=sight, uncounted=uncounted)
        return before, judged_window(asked).judged

    # windows that are over

    def _due(self, watermark_us: int, most: int) -> tuple[tuple[Window, ...], bool]:
        """The windows to judge now, and whether more may be over."""
        with self._transactions.reading() as connection:
            last = kept_windows.last(connection, self._project, self._cut.series)
            before = last or kept_windows.last(connection, self._project)
        after = before.until if before is not None else Place(0)
        places: Sequence[Place] = ()
        at_once = max(self._cut.size, _MOST_PLACES)
        if self._cut.kind is WindowKind.COUNT:
            places = self._traffic.places(after, watermark_us, at_once)
        elif last is None:
            places = self._traffic.places(after, watermark_us, 1)
        windows = next_windows(self._project, self._cut, last, places, watermark_us=watermark_us, most=most)
        return windows, len(windows) == most or len(places) == at_once

    def _judged(self, window: Window, now_us: int, known_by_us: int) -> Judged:
        """The window, judged; where it cannot be, people are told, and it waits: a window is never left out."""
        try:
            return self._judge(window, now_us, known_by_us)
        except RegistryError:  # whoever keeps alerts is gone, or another monitor was first
            raise
        except Exception as error:
            fault = f"Window {window.title} could not be judged, and waits: {told_of(error)}"
            with self._transactions.changing() as connection:
                signal = _of_the_monitor(_WINDOWS, fault, window.until.at_us, window.title)
                self._alerts.apply(connection, (signal,), self._policy, now_us)
            raise

    def _judge(self, window: Window, now_us: int, known_by_us: int) -> Judged:
        memory = self._remembered()
        asked = self._asked(window, memory.version, now_us, known_by_us)
        sketch, uncounted = self._sketch(asked)
        kept = memory.kept if memory.version in {"", asked.watched.title} else Kept()
        kept, looks = advanced(kept, window.number, sketch, asked.allotment.scales)
        found = judged_window(replace(asked, looks=looks, uncounted=uncounted))
        with self._transactions.changing() as connection:
            kept_windows.add(connection, found.judged, found.summary, sketch)
            self._remember(connection, _Memory(asked.watched.title, kept))
            going = _of_the_monitor(_WINDOWS, "", window.until.at_us, window.title)
            self._alerts.apply(connection, (*found.signals, going), self._policy, now_us)
        return found.judged

    # windows whose labels are news

    def _revised(self, now_us: int, known_by_us: int) -> tuple[Judged, ...]:
        series = self._cut.series
        with self._transactions.reading() as connection:
            since_us = int(cursors.cursor(connection, self._project, f"labels:{series}") or 0)
            waiting = Counter(self._waiting(connection))
        fresh = self._traffic.labelled_since(min(since_us, known_by_us), known_by_us)
        if not fresh.height and not waiting and known_by_us >= since_us:  # else the clock was set back
            return ()
        with self._transactions.reading() as connection:
            windows = kept_windows.summaries(
                connection, self._project, series, since_us=oldest(fresh), numbers=tuple(waiting)
            )
            newest = kept_windows.summaries(connection, self._project, series, newest=1)
        if not newest:
            return ()
        waiting += by_window(fresh, windows)
        revised, faults = [], list[str]()
        for summary in windows:
            news = waiting.get(summary.number, 0)
            if news and worth_a_look(summary, news, now_us):
                try:
                    revised.append(self._revise(summary, now_us, known_by_us))
                except RegistryError:
                    raise
                except Exception as error:  # noqa: BLE001 - one window that cannot be judged again stops no other
                    faults.append(f"Late labels of window {series}/{summary.number} wait: {told_of(error)}")
                else:
                    del waiting[summary.number]
        with self._transactions.changing() as connection:
            cursors.set_cursor(connection, self._project, f"labels:{series}", str(known_by_us))
            words = msgspec.json.encode({str(number): news for number, news in sorted(waiting.items())}).decode()
            cursors.set_cursor(connection, self._project, f"waiting:{series}", words)
            source = f"labels until {moment(known_by_us):%Y-%m-%d %H:%M:%S}"
            going = _of_the_monitor(_LATE, faults[0] if faults else "", known_by_us, source)
            signals = self._erring(connection, fresh, newest[-1], known_by_us)
            self._alerts.apply(connection, (*signals, going), self._policy, now_us)
        return tuple(one for one in revised if one is not None)

    def _revise(self, summary: WindowSummary, now_us: int, known_by_us: int) -> Judged | None:
        with self._transactions.reading() as connection:
            before = kept_windows.judged(connection, self._project, self._cut.series, summary.number)
        turn = before.turn + (before.counts["labelled"] > 0)  # few labels say nothing here, and much in a look back
        asked = self._asked(before.window, before.version, now_us, known_by_us)
        if asked.inputs == before.inputs:  # these labels were judged before: the monitor was killed, or they repeat
            return None
        sight = replace(asked.sight, turn=turn, title=f"{before.window.title}.{before.revision + 1}")
        found = judged_window(replace(asked, revision=before.revision + 1, sight=sight))
        judged = msgspec.structs.replace(found.judged, shifts=before.shifts)
        summarised = msgspec.structs.replace(found.summary, moved=summary.moved)
        with self._transactions.changing() as connection:
            kept_windows.add(connection, judged, summarised, None)
            self._alerts.apply(connection, found.signals, self._policy, now_us)
        return judged

    def _erring(
        self, connection: Connection, fresh: pl.DataFrame, newest: WindowSummary, known_by_us: int
    ) -> tuple[Signal, ...]:
        """Whether decisions have begun to be wrong more often, seen label by label in the order in which they came."""
        seen, name = f"erred:{self._cut.series}", f"errors:{self._cut.series}"
        seen_us = int(cursors.cursor(connection, self._project, seen) or 0)
        told = fresh.filter(
            pl.col("_decision").is_not_null(),
            pl.col("_label").is_not_null(),
            pl.col("_labelled_at").dt.epoch("us") >= seen_us,  # a clock that was set back shows no label twice
        )
        watched = self._versions.titled(newest.version)
        if watched is None or not told.height or watched.contract.task is Task.REGRESSION:
            return ()
        words = cursors.cursor(connection, self._project, name)
        state = msgspec.json.decode(words, type=Adwin) if words else stream(watched, told)
        errors = told.select(pl.col("_decision") != pl.col("_label")).to_series().cast(pl.Int64).to_numpy()
        state, changes = updated(state, errors)
        cursors.set_cursor(connection, self._project, name, msgspec.json.encode(state).decode())
        cursors.set_cursor(connection, self._project, seen, str(known_by_us))
        source = f"labels until {moment(known_by_us):%Y-%m-%d %H:%M:%S}"
        return (errors_signal(changes, state, len(errors), rule="errors_rise", at_us=known_by_us, source=source),)

    def _waiting(self, connection: Connection) -> dict[int, int]:
        words = cursors.cursor(connection, self._project, f"waiting:{self._cut.series}")
        return {int(number): news for number, news in msgspec.json.decode(words or "{}").items()}

    # what a window is judged by

    def _asked(self, window: Window, version: str, now_us: int, known_by_us: int) -> Asked:
        rows = self._traffic.rows(window.after, window.until, known_by_us)
        watched = self._answerer(rows, version)
        own = watched.own(rows)
        seconds = self._seconds(window)
        allotment = allotment_for(watched, seconds[0], MOST_SCALES if self._cut.kind is WindowKind.COUNT else None)
        with self._transactions.reading() as connection:
            standing = {
                alert.rule: int(alert.last.evidence.get("scale", 0)) for alert in open_alerts(connection, self._project)
            }
        backs = (Back(0, seconds[0], own), *self._backs(window, watched, own, seconds, known_by_us, allotment))
        live = self._live(window, watched, rows)
        sight = Sight(
            title=window.title,
            at_us=window.until.at_us,
            backs=backs,
            operations=guarded(partial(self._operations, window, live), "reading operations"),
            estimate=guarded(Estimates(watched, own), "estimating quality"),
        )
        return Asked(
            watched=watched,
            window=window,
            revision=0,
            judged_at_us=now_us,
            known_by_us=known_by_us,
            inputs=_digest(rows, watched, live),
            rows=rows,
            sight=sight,
            allotment=allotment,
            looks=None,
            seconds=seconds,
            standing=standing,
            waivers=self._versions.waivers(),
        )

    def _answerer(self, rows: pl.DataFrame, otherwise: str) -> Watched:
        """The version that answered most rows; where none of them is one, that of the window before."""
        counts = rows.get_column("_version").value_counts(name="rows").sort(["rows", "_version"], descending=True)
        for title in (*counts.get_column("_version").to_list(), otherwise):
            found = self._versions.titled(title)
            if found is not None:
                return found
        return self._versions.in_service()

    def _seconds(self, window: Window) -> dict[int, float]:
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
        own: pl.DataFrame,
        seconds: Mapping[int, float],
        known_by_us: int,
        allotment: Allotment,
    ) -> Iterator[Back]:
        """The looks back at quality that end now; none where this window has no label."""
        blocks = [one for one in blocks_ending_at(window.number, allotment.scales) if 0 < one.scale in seconds]
        if not blocks or not own.get_column("_labelled_at").count():
            return
        with self._transactions.reading() as connection:
            begun = kept_windows.begins(connection, window, [one.first for one in blocks], _MOST_BACK_ROWS)
        if not begun:
            return
        rows = watched.own(self._traffic.rows(min(begun.values()), window.until, known_by_us))
        for block in blocks:
            if block.first in begun:
                spanned = msgspec.structs.replace(window, after=begun[block.first])
                yield Back(block.scale, seconds[block.scale], within(rows, spanned))

    @staticmethod
    def _sketch(asked: Asked) -> tuple[Reference | None, str]:
        """The window's own rows, counted; none, and why, where that breaks."""
        own = asked.sight.backs[0].rows
        try:
            return (asked.watched.sketch(own) if own.height else None), ""
        except Exception as error:  # noqa: BLE001 - it is told as a check that broke, and stops no other
            return None, f"the rows could not be counted: {told_of(error)}"

    def _operations(self, window: Window, live: Live, required: Sequence[Requirement]) -> tuple[Measurement, ...]:
        """What operations showed; whether memory grows is seen over the day that ends with the window."""
        growing = [item for item in required if item.metric == "memory_growth"]
        found = measured([item for item in required if item.metric != "memory_growth"], live)
        if not growing:
            return found
        until_us = window.until.at_us
        with self._transactions.reading() as connection:
            readings = readings_of(connection, self._project, until_us - _DAY_US, until_us)
        day = replace(live, traffic=traffic_of(readings, after_us=until_us - _DAY_US, until_us=until_us))
        return (*found, *measured(growing, day))

    def _live(self, window: Window, watched: Watched, rows: pl.DataFrame) -> Live:
        """What is known of operations in a window; nothing in it depends on when it is asked."""
        after_us, until_us = window.after.at_us, window.until.at_us
        with self._transactions.reading() as connection:
            readings = readings_of(connection, self._project, after_us, until_us)
            newest_us = kept_windows.newest_end(connection, window)
        if rows.height:
            newest_us = int(rows.get_column("_at").dt.epoch("us")[-1])
        return Live(
            now_us=until_us,
            traffic=traffic_of(readings, after_us=after_us, until_us=until_us) if readings else None,
            rows=rows,
            newest_us=newest_us,
            trained_us=watched.made_us,
            columns=tuple(name for name in watched.contract.contract.columns if name in rows.columns),
        )

    # what is remembered

    def _remembered(self) -> _Memory:
        with self._transactions.reading() as connection:
            words = cursors.cursor(connection, self._project, f"looks:{self._cut.series}")
        if not words:
            return _Memory()
        return msgspec.msgpack.decode(zlib.decompress(base64.b64decode(words)), type=_Memory)

    def _remember(self, connection: Connection, memory: _Memory) -> None:
        words = base64.b64encode(zlib.compress(msgspec.msgpack.encode(memory), 1)).decode()
        cursors.set_cursor(connection, self._project, f"looks:{self._cut.series}", words)


def _of_the_monitor(rule: str, fault: str, at_us: int, source: str) -> Signal:
    """Whether the monitor itself gets on."""
    return Signal(
        rule=rule,
        word=Word.BROKEN if fault else Word.CLEAR,
        at_us=at_us,
        source=source,
        group="monitor",
        sentence=fault[:500] or "The monitor gets on.",
        severity=Severity.PAGE,
        look_first="what the monitor wrote to standard error, and whether the lake still has the version's bundle",
    )


def _digest(rows: pl.DataFrame, watched: Watched, live: Live) -> Digest:
    state = RowDigest()
    state.update(rows)
    readings = digest_bytes(msgspec.json.encode(live.traffic.readings if live.traffic else ()))
    return digest_data([state.digest(), watched.digest, live.newest_us, readings])

"""The monitor: windows that are over are judged, once each; labels that come late give past windows a new revision.

In: traffic, versions, the registry's database, the time. Out: windows, alerts and messages to be sent, in one
transaction a window. Laws: no window is skipped and none is judged twice, whoever is killed when; what is judged
depends on the log, the labels known by an instant, and the version's own bundle; a registry or a log that is gone for
a while delays a window and loses none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import Connection

from roadworthy.api.watching.again import Again, judged_again
from roadworthy.api.watching.asking import Asking, Watch, sketched
from roadworthy.api.watching.hourly import Hourly, going
from roadworthy.api.watching.latecomers import Latecomers, late_rows, told_late
from roadworthy.api.watching.remembered import Looked, Memory, continued, note_looks, remember, remembered
from roadworthy.api.watching.revising import Revising, of_the_monitor
from roadworthy.api.watching.traffic import Traffic
from roadworthy.api.watching.versions import Answerers
from roadworthy.errors import RegistryError, UsageError
from roadworthy.lifecycle import cursors
from roadworthy.lifecycle import watching as kept_windows
from roadworthy.lifecycle.alerts.life import BROKEN_PREFIX
from roadworthy.lifecycle.alerts.store import AlertStore
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.measures.alarms.scales import Look, advanced, blocks_ending_at
from roadworthy.records.alert import Signal, Word
from roadworthy.records.window import Cut, Judged, Place, Window, WindowKind
from roadworthy.stages.watching.cutting import next_windows
from roadworthy.stages.watching.judging import told_of
from roadworthy.stages.watching.whole import Found, judged_window, late_of

__all__ = ["Monitor", "Ticked", "Watch"]

_HOUR_S, _HOUR_US = 3_600, 3_600_000_000
_MOST_PLACES = 200_000
_MOST_AHEAD, _MOST_TOGETHER = 1_024, 256
_WINDOWS = "monitor:windows"


class Ticked(NamedTuple):
    """What one look at the log came to. ``behind``: more windows are over than were judged."""

    judged: tuple[Judged, ...]
    revised: tuple[Judged, ...]
    behind: bool


class Monitor:
    """Watches one project's traffic."""

    def __init__(
        self, watch: Watch, traffic: Traffic, versions: Answerers, transactions: Transactions, alerts: AlertStore
    ) -> None:
        self._watch, self._project, self._cut, self._policy = watch, watch.project, watch.cut, watch.policy
        self._settle_us = int(watch.settle_s * 1e6)
        self._traffic, self._versions = traffic, versions
        self._transactions, self._alerts = transactions, alerts
        self._asking = Asking(watch, traffic, versions, transactions)
        self._hourly = Hourly(watch, traffic, versions, transactions, alerts)
        self._revisings: dict[str, Revising] = {}

    def tick(self, now_us: int, *, most: int = 64) -> Ticked:
        """Judge the windows that are over, at most so many, then what labels have changed."""
        self._asking.anew()
        watermark_us = now_us - self._settle_us
        windows, behind = self._due(watermark_us)
        judged = list[Judged]()
        late = (
            late_rows(self._transactions, self._traffic, self._project, self._cut.series) if windows else Latecomers()
        )
        for _ in range(most):
            empty = self._leading_empties(windows)
            judged += self._empty(empty, now_us, watermark_us)
            windows = windows[len(empty) :]
            if not windows:
                break
            judged.append(self._judged(windows[0], now_us, watermark_us, late))
            windows, late = windows[1:], Latecomers()
        behind = behind or bool(windows)
        revised = () if behind else self._revised(now_us, watermark_us)
        if not behind:
            self._hours(now_us, watermark_us)
        return Ticked(tuple(judged), revised, behind)

    def _hours(self, now_us: int, watermark_us: int) -> None:
        """The charts by the hour; where they break, people are told, and the hours wait."""
        try:
            self._hourly.look(now_us, watermark_us)
        except RegistryError:
            raise
        except Exception as error:
            fault = f"The charts by the hour could not go on, and wait: {told_of(error)}"
            with self._transactions.changing() as connection:
                signal = going(watermark_us // _HOUR_US * _HOUR_S, fault)
                self._alerts.apply(connection, (signal,), self._policy, now_us)
            raise

    def again(self, number: int, revision: int | None = None) -> Again:
        """A past window as it was judged, and as it comes out now from the same rows and labels."""
        with self._transactions.reading() as connection:
            before = kept_windows.judged(connection, self._project, self._cut.series, number, revision)
            oldest_us = cursors.oldest_reading(connection, self._project)
        if self._versions.titled(before.version) is None:
            raise UsageError(
                f"window {before.window.title} was judged for {before.version}, which is not registered here",
                next_step="only windows of registered versions are judged again: roadworthy windows   # lists them",
            )
        self._asking.anew()
        asked = self._asking.asked(before.window, before.judged_at_us, before.known_by_us, version=before.version)
        sketch, uncounted = sketched(asked)
        look = Look(block=blocks_ending_at(number, 1)[0], sketch=sketch)
        sight = replace(asked.sight, turn=before.turn)
        asked = replace(
            asked, revision=before.revision, looks=(look,), sight=sight, uncounted=uncounted, late=late_of(before),
            edition=before.edition,
        )  # fmt: skip
        return judged_again(before, asked, oldest_us)

    def _due(self, watermark_us: int) -> tuple[tuple[Window, ...], bool]:
        """The windows to judge now, and whether more may be over."""
        with self._transactions.reading() as connection:
            last = kept_windows.last(connection, self._project, self._cut.series)
            ended = self._ended(connection)
        after = max(ended, Place(0) if last is None else last.until)
        places: Sequence[Place] = ()
        at_once = max(self._cut.size, _MOST_PLACES)
        if self._cut.kind is WindowKind.COUNT:
            places = self._traffic.places(after, watermark_us, at_once)
        elif last is None:
            places = self._traffic.places(after, watermark_us, 1)
        windows = next_windows(
            self._project, self._cut, last, places, watermark_us=watermark_us, most=_MOST_AHEAD, beyond=ended
        )
        return windows, len(windows) == _MOST_AHEAD or len(places) == at_once

    def _ended(self, connection: Connection) -> Place:
        """Where windows that were cut otherwise end by now: a monitor that was forgotten may still cut them."""
        others = [one for one in kept_windows.series(connection, self._project) if one != self._cut.series]
        return kept_windows.ends(connection, self._project, others)

    def _alone(self, connection: Connection, window: Window) -> None:
        """Raises RegistryError where rows of a window have been judged meanwhile in one that was cut otherwise."""
        if self._ended(connection) > window.after:
            raise RegistryError(
                f"rows of window {window.title} were judged meanwhile in windows that were cut otherwise",
                next_step="see that one monitor alone watches the project; this one goes on behind them",
            )

    def _leading_empties(self, windows: Sequence[Window]) -> Sequence[Window]:
        """The windows without a row that come before any with one; none of a single one, which is no work."""
        empty: Sequence[Window] = ()
        if self._cut.kind is WindowKind.TIME:
            for reach in (1, 16, 128, _MOST_AHEAD):
                ahead = windows[:reach]
                if len(windows) < 2 or len(empty) == len(ahead):
                    break
                row = self._traffic.places(ahead[0].after, ahead[-1].until.at_us, 1)
                empty = [one for one in ahead if not row or one.until <= row[0]]
                if row:
                    break
        return empty

    def _empty(self, windows: Sequence[Window], now_us: int, known_by_us: int) -> Sequence[Judged]:
        """Windows without a row, judged in one transaction; one by one where that breaks, so that the one is told."""
        found = list[Judged]()
        for start in range(0, len(windows), _MOST_TOGETHER):
            together = windows[start : start + _MOST_TOGETHER]
            try:
                found += self._judge_empty(together, now_us, known_by_us)
            except RegistryError:
                raise
            except Exception:  # noqa: BLE001 - whatever it is, it happens again below, where people are told
                found += [self._judged(one, now_us, known_by_us, Latecomers()) for one in together]
        return found

    def _judge_empty(self, windows: Sequence[Window], now_us: int, known_by_us: int) -> list[Judged]:
        series = self._cut.series
        with self._transactions.reading() as connection:
            memory = remembered(connection, self._project, series)
        kept, done, said, turns = memory.kept, list[Found](), list[tuple[Signal, ...]](), dict[int, Looked]()
        for asked in self._asking.empties(windows, now_us, known_by_us, watched_before=memory.version):
            kept, looks = advanced(kept, asked.window.number, None, asked.allotment.scales)
            found = judged_window(replace(asked, looks=looks))
            done.append(found)
            standing = {*asked.standing, *(one.rule for signals in said for one in signals)}
            gets_on = of_the_monitor(_WINDOWS, "", asked.window.until.at_us, asked.window.title)
            said.append(tuple(one for one in (*found.signals, gets_on) if worth_hearing(one, standing)))
            if len(asked.sight.backs) > 1:
                turns[asked.window.number] = Looked(1, now_us)
        with self._transactions.changing() as connection:
            self._alone(connection, windows[0])
            kept_windows.add_all(connection, [(one.judged, one.summary, None) for one in done])
            remember(connection, self._project, series, Memory(memory.version, kept))
            note_looks(connection, self._project, series, turns)
            for signals in filter(None, said):
                self._alerts.apply(connection, signals, self._policy, now_us)
        return [one.judged for one in done]

    def _judged(self, window: Window, now_us: int, known_by_us: int, late: Latecomers) -> Judged:
        """The window, judged; where it cannot be, people are told, and it waits: a window is never left out."""
        try:
            return self._judge(window, now_us, known_by_us, late)
        except RegistryError:  # whoever keeps alerts is gone, or another monitor was first
            raise
        except Exception as error:
            fault = f"Window {window.title} could not be judged, and waits: {told_of(error)}"
            with self._transactions.changing() as connection:
                signal = of_the_monitor(_WINDOWS, fault, window.until.at_us, window.title)
                self._alerts.apply(connection, (signal,), self._policy, now_us)
            raise

    def _judge(self, window: Window, now_us: int, known_by_us: int, late: Latecomers) -> Judged:
        with self._transactions.reading() as connection:
            memory = remembered(connection, self._project, self._cut.series)
        asked = self._asking.asked(window, now_us, known_by_us, watched_before=memory.version)
        sketch, uncounted = sketched(asked)
        kept = continued(memory, asked.watched.title, sketch)
        kept, looks = advanced(kept, window.number, sketch, asked.allotment.scales)
        found = judged_window(replace(asked, looks=looks, uncounted=uncounted, late=late.late))
        with self._transactions.changing() as connection:
            self._alone(connection, window)
            kept_windows.add(connection, found.judged, found.summary, sketch)
            remember(connection, self._project, self._cut.series, Memory(asked.watched.title, kept))
            told_late(connection, self._project, self._cut.series, late)
            if len(asked.sight.backs) > 1 and not found.judged.counts["labelled"]:
                note_looks(connection, self._project, self._cut.series, {window.number: Looked(1, now_us)})
            gets_on = of_the_monitor(_WINDOWS, "", window.until.at_us, window.title)
            self._alerts.apply(connection, (*found.signals, gets_on), self._policy, now_us)
        return found.judged

    def _revised(self, now_us: int, known_by_us: int) -> tuple[Judged, ...]:
        """Windows of this series that labels have changed, and of those that were cut otherwise before."""
        if not self._revisings:
            with self._transactions.reading() as connection:
                names = kept_windows.series(connection, self._project)
            if not names:
                return ()
            self._revisings = {name: self._revising(name) for name in dict.fromkeys([self._cut.series, *names])}
        return tuple(one for each in self._revisings.values() for one in each.revised(now_us, known_by_us))

    def _revising(self, series: str) -> Revising:
        own = series == self._cut.series
        watch = self._watch if own else replace(self._watch, cut=Cut.parse(series))
        asking = self._asking if own else Asking(watch, self._traffic, self._versions, self._transactions)
        return Revising(
            watch, asking, self._traffic, self._versions, self._transactions, self._alerts, erring=own
        )  # fmt: skip


def worth_hearing(signal: Signal, standing: Collection[str]) -> bool:
    """Whether a signal can change an alert: it alarms, or there is one of its rule or of its check."""
    if signal.word in {Word.ALARM, Word.BROKEN}:
        return True
    return signal.rule in standing or f"{BROKEN_PREFIX}{signal.rule}" in standing

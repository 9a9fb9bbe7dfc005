"""Labels that came late: the windows that they are news of are judged once more, as a new revision beside the old ones.

In: labels that came since the last look, one series of windows. Out: revisions, alarms of looks back that these labels
are news of, the stream of errors, in the registry. Laws: no label is news twice, and none is forgotten: what is not
worth a look yet waits in the registry; a window that cannot be judged again stops no other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import msgspec
import polars as pl
from sqlalchemy import Connection

from roadworthy.api.watching.again import as_before, readings_gone, with_readings_of
from roadworthy.api.watching.asking import Asking, Watch
from roadworthy.api.watching.late import block_ends, by_window, oldest, stream, worth_a_look
from roadworthy.api.watching.remembered import Looked, looked, note_looks
from roadworthy.api.watching.traffic import Traffic, moment
from roadworthy.api.watching.versions import Answerers
from roadworthy.errors import RegistryError
from roadworthy.lifecycle import cursors
from roadworthy.lifecycle import watching as kept_windows
from roadworthy.lifecycle.alerts.store import AlertStore
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.measures.alarms.adwin import Adwin, errors_signal, updated
from roadworthy.records.alert import Severity, Signal, Word
from roadworthy.records.project import Task
from roadworthy.records.window import Judged, WindowSummary
from roadworthy.stages.watching.judging import told_of
from roadworthy.stages.watching.watched import Watched
from roadworthy.stages.watching.whole import judged_window, late_of, looked_back

__all__ = ["Revising", "of_the_monitor"]

_LATE = "monitor:late labels"
_HOUR_US, _DAY_US = 3_600_000_000, 86_400_000_000

_Back = tuple[Looked, tuple[Signal, ...]]


class Revising:
    """Gives the windows of one series their revisions.

    ``erring``: the stream of errors is of this series; labels of a series that is cut no more are in that of the new.
    """

    def __init__(  # noqa: PLR0917 - whom it asks and where it writes
        self,
        watch: Watch,
        asking: Asking,
        traffic: Traffic,
        versions: Answerers,
        transactions: Transactions,
        alerts: AlertStore,
        *,
        erring: bool = True,
    ) -> None:
        self._project, self._series, self._policy = watch.project, watch.cut.series, watch.policy
        self._asking, self._traffic, self._versions = asking, traffic, versions
        self._transactions, self._alerts, self._erring = transactions, alerts, erring

    def revised(self, now_us: int, known_by_us: int) -> tuple[Judged, ...]:
        """Look at the labels that came since the last time."""
        series = self._series
        if not self._erring:
            self._asking.anew()
        with self._transactions.reading() as connection:
            since_us = int(cursors.cursor(connection, self._project, f"labels:{series}") or 0)
            waiting = Counter(cursors.waiting(connection, self._project, series))
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
        revised, looks, faults = dict[int, Judged | None](), dict[int, _Back](), list[str]()
        for summary in windows:
            news = waiting.get(summary.number, 0)
            if news and worth_a_look(summary, news, now_us):
                with _told_in(faults, f"{series}/{summary.number}"):
                    revised[summary.number] = self._revise(summary, now_us, known_by_us)
                    del waiting[summary.number]
        for number in sorted(block_ends(set(revised), newest[-1].number)):
            with _told_in(faults, f"{series}/{number}"):
                looks |= self._look_back(number, now_us, known_by_us)
        watched = self._versions.titled(
            newest[-1].version
        )  # it may open the registry, which then waits for this change
        with self._transactions.changing() as connection:
            cursors.set_cursor(connection, self._project, f"labels:{series}", str(known_by_us))
            cursors.set_waiting(connection, self._project, series, waiting)
            note_looks(connection, self._project, series, {number: look for number, (look, _) in looks.items()})
            signals = [signal for _, said in looks.values() for signal in said]
            if self._erring:
                signals += self._errors(connection, fresh, watched, known_by_us)
            self._alerts.apply(connection, (*signals, self._going(faults, known_by_us)), self._policy, now_us)
        return tuple(one for one in revised.values() if one is not None)

    def _going(self, faults: list[str], known_by_us: int) -> Signal:
        """One word an hour: a window that cannot be judged again is tried at every poll, and is news once.

        A series that is cut no more has a rule of its own: that another one gets on says nothing of it.
        """
        hour_us = known_by_us // _HOUR_US * _HOUR_US
        rule = _LATE if self._erring else f"{_LATE} of {self._series}"
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        fault = f"{faults[0]}{more}" if faults else ""
        at_us = hour_us if fault else hour_us + 1  # that it gets on again counts in the hour in which it did not, too
        return of_the_monitor(rule, fault, at_us, f"labels, hour/{hour_us // _HOUR_US}")

    def _revise(self, summary: WindowSummary, now_us: int, known_by_us: int) -> Judged | None:
        with self._transactions.reading() as connection:
            before = kept_windows.judged(connection, self._project, self._series, summary.number)
            turn = _turn(before, looked(connection, self._project, self._series))
            oldest_us = cursors.oldest_reading(connection, self._project)
        asked = self._asking.asked(before.window, now_us, known_by_us, version=before.version)
        gone, same = readings_gone(before, asked, oldest_us), asked.inputs == before.inputs
        if gone:  # labels that come after four weeks take nothing away
            asked = with_readings_of(before, asked)
            same = same or as_before(before, asked)
        if same:  # these labels were judged before: the monitor was killed, or they repeat
            return None
        sight = replace(asked.sight, turn=turn, title=f"{before.window.title}.{before.revision + 1}")
        found = judged_window(replace(asked, revision=before.revision + 1, sight=sight, late=late_of(before)))
        judged = msgspec.structs.replace(found.judged, shifts=before.shifts)
        signals = tuple(one for one in found.signals if not (gone and one.group == "operations"))  # told long ago
        summarised = msgspec.structs.replace(found.summary, moved=summary.moved)
        with self._transactions.changing() as connection:
            kept_windows.add(connection, judged, summarised, None)
            self._alerts.apply(connection, signals, self._policy, now_us)
        return judged

    def _look_back(self, number: int, now_us: int, known_by_us: int) -> dict[int, _Back]:
        """Longer looks that these labels are news of, where the window that ends them has no news itself.

        The first such look is taken at once, another after a day: each is a turn, and has its part of the level.
        """
        with self._transactions.reading() as connection:
            known = looked(connection, self._project, self._series)
            if now_us - known.get(number, Looked()).at_us < _DAY_US:
                return {}
            before = kept_windows.judged(connection, self._project, self._series, number)
        turn = _turn(before, known)
        asked = self._asking.asked(before.window, now_us, known_by_us, version=before.version)
        if len(asked.sight.backs) == 1:
            return {}
        sight = replace(asked.sight, turn=turn, title=f"{before.window.title}+{turn}")
        return {number: (Looked(turn, now_us), looked_back(replace(asked, sight=sight)))}

    def _errors(
        self, connection: Connection, fresh: pl.DataFrame, watched: Watched | None, known_by_us: int
    ) -> tuple[Signal, ...]:
        """Whether decisions have begun to be wrong more often, seen label by label in the order in which they came."""
        seen, name = f"erred:{self._series}", f"errors:{self._series}"
        seen_us, words = self._stream(connection)
        told = fresh.filter(
            pl.col("_decision").is_not_null(),
            pl.col("_label").is_not_null(),
            pl.col("_labelled_at").dt.epoch("us") >= seen_us,  # a clock that was set back shows no label twice
        )
        if watched is None or not told.height or watched.contract.task is Task.REGRESSION:
            return ()
        state = msgspec.json.decode(words, type=Adwin) if words else stream(watched, told)
        errors = told.select(pl.col("_decision") != pl.col("_label")).to_series().cast(pl.Int64).to_numpy()
        state, changes = updated(state, errors)
        cursors.set_cursor(connection, self._project, name, msgspec.json.encode(state).decode())
        cursors.set_cursor(connection, self._project, seen, str(known_by_us))
        source = f"labels until {moment(known_by_us):%Y-%m-%d %H:%M:%S}"
        return (errors_signal(changes, state, len(errors), rule="errors_rise", at_us=known_by_us, source=source),)

    def _stream(self, connection: Connection) -> tuple[int, str]:
        """The project's stream: until when it has seen labels, and its state, also where windows are cut otherwise."""
        names = dict.fromkeys([self._series, *kept_windows.series(connection, self._project)])
        ends = {one: int(cursors.cursor(connection, self._project, f"erred:{one}") or 0) for one in names}
        newest = max(ends, key=ends.__getitem__)
        return ends[newest], cursors.cursor(connection, self._project, f"errors:{newest}")


@contextmanager
def _told_in(faults: list[str], title: str) -> Iterator[None]:
    """One window that cannot be judged again stops no other; it is told, and its labels wait."""
    try:
        yield
    except RegistryError:  # whoever keeps windows and alerts is gone
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        faults.append(f"Late labels of window {title} wait: {told_of(error)}")


def _turn(before: Judged, known: dict[int, Looked]) -> int:
    """Which look at labels of this window the next one is; few labels say nothing here, and much in a look back."""
    earlier = known.get(before.window.number, Looked()).turn
    return max(before.turn + (before.counts["labelled"] > 0), earlier + 1)


def of_the_monitor(rule: str, fault: str, at_us: int, source: str) -> Signal:
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

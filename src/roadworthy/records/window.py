"""Windows of live traffic, and what was found in each.

In: bounds in the prediction log. Out: frozen structs that the registry keeps. Laws: the bounds alone say which rows
are in a window, so that any past window can be looked at again; what was found later (labels come late) is a new
revision beside the old ones, never in their place.
"""

from __future__ import annotations

import re
from enum import StrEnum

import msgspec

from roadworthy.records.digests import Digest
from roadworthy.records.evidence import Measurement
from roadworthy.records.shift import Shift
from roadworthy.records.verdict import Verdict

__all__ = ["Beside", "Cut", "Judged", "Place", "Window", "WindowKind", "WindowSummary"]

_CUT = re.compile(r"\s*(\d[\d_,]*)\s*([a-z]*)\s*")
_SECONDS = {
    **dict.fromkeys(("s", "second", "seconds"), 1),
    **dict.fromkeys(("min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3_600),
    **dict.fromkeys(("day", "days"), 86_400),
    **dict.fromkeys(("week", "weeks"), 604_800),
}
_EXPECTED = 'a length of time such as "15 min", "1 h" or "1 day", or a number of rows such as "1000 rows"'
_MOST_S = 366 * 86_400


class WindowKind(StrEnum):
    """How a window is cut."""

    TIME = "time"  # so many seconds, from 1970 on
    COUNT = "count"  # so many rows, one after the other


class Cut(msgspec.Struct, frozen=True):
    """How a log is cut into windows: ``size`` seconds, or rows."""

    kind: WindowKind
    size: int

    @classmethod
    def parse(cls, text: str) -> Cut:
        """The cut that a text declares; ValueError says what was found and what is expected.

        >>> Cut.parse("1 h").size, Cut.parse("1_000 rows").series
        (3600, '1000 rows')
        """
        match = _CUT.fullmatch(text.lower())
        number = int(re.sub("[_,]", "", match[1])) if match else 0
        unit = match[2] if match else ""
        if unit in {"row", "rows"} and number:
            return cls(WindowKind.COUNT, number)
        if unit not in _SECONDS or not 1 <= number * _SECONDS[unit] <= _MOST_S:
            raise ValueError(f"found {text!r}, expected {_EXPECTED}")
        return cls(WindowKind.TIME, number * _SECONDS[unit])

    @property
    def series(self) -> str:
        """The name of the windows that are cut so, the same however the size was written.

        >>> Cut.parse("60 min").series, Cut.parse("90 min").series, Cut.parse("48 hours").series
        ('1 h', '90 min', '2 day')
        """
        if self.kind is WindowKind.COUNT:
            return f"{self.size} rows"
        unit = next(unit for unit in ("week", "day", "h", "min", "s") if self.size % _SECONDS[unit] == 0)
        return f"{self.size // _SECONDS[unit]} {unit}"


class Place(msgspec.Struct, frozen=True, order=True, array_like=True):
    """A row's place in the log: time first (microseconds since 1970, UTC), then identity.

    ``Place(t)`` comes before every row of the instant t, and after all of the instants before.
    """

    at_us: int
    id: str = ""
    row: int = -1


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of the log that come after ``after`` and not after ``until``.

    ``series`` says how it was cut (``"1 h"``, ``"1000 rows"``), ``number`` its place in the series, without gaps.
    """

    project: str
    series: str
    number: int
    after: Place
    until: Place

    @property
    def title(self) -> str:
        """The name for people and for signals: ``"1 h/482031"``."""
        return f"{self.series}/{self.number}"


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """What a window showed of a version that did not answer most of it: its quality and scores, by its own bundle.

    ``verdict`` is on its live requirements on quality, from labels alone. It is shown; what alarms of it are signals of
    rules that end in ``@VERSION``.
    """

    version: str
    rows: int
    labelled: int
    measurements: tuple[Measurement, ...]
    shifts: tuple[Shift, ...]
    verdict: Verdict


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What one window showed, as it was known at ``judged_at_us``.

    ``revision`` counts from 0; a later one knows more labels, namely those that had come by ``known_by_us``.
    ``inputs`` is the digest of everything that went in (rows, labels, bundle, plan): the same inputs give the same
    numbers. ``version`` is the version that answered most rows, whose bundle the window was compared with. ``turn``
    counts the looks at labels of this window, this one included.
    ``counts`` has rows by what became of them (``late_rows``: those of earlier windows that came too late for them,
    told here), ``notes`` what a person should know besides. ``others`` are other versions with rows enough. ``parts``
    are digests of what went in, by name (``rows``, ``bundle``, ``readings``), so that it can be said what differs.
    ``edition`` counts what a window is judged by: 0 had neither ``others`` nor ``parts``, nor measurements that no
    requirement asks for (``Measurement.check`` is ``shown``).
    """

    window: Window
    revision: int
    judged_at_us: int
    known_by_us: int
    inputs: Digest
    version: str
    counts: dict[str, int]
    measurements: tuple[Measurement, ...]
    shifts: tuple[Shift, ...]
    verdict: Verdict
    turn: int = 1
    notes: tuple[str, ...] = ()
    others: tuple[Beside, ...] = ()
    parts: dict[str, str] = {}
    edition: int = 0


class WindowSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What lists and charts need of a window, small enough to read a year of them at once.

    ``values`` maps a requirement's line to value, lower and upper end (None where nothing could be said), ``outcomes``
    to its outcome; ``estimated`` names the lines whose value was estimated. ``moved`` maps what differs most from the
    reference (``"score"``, columns) to the effect. ``alarms`` names the rules that gave alarm.
    ``others`` maps other versions with rows enough to their rows; ``late_rows`` is of earlier windows, told with this.
    """

    number: int
    revision: int
    start_us: int
    end_us: int
    until: Place
    judged_at_us: int
    version: str
    readiness: str
    rows: int
    labelled: int
    values: dict[str, tuple[float | None, float | None, float | None]] = {}
    outcomes: dict[str, str] = {}
    estimated: tuple[str, ...] = ()
    moved: dict[str, float] = {}
    alarms: tuple[str, ...] = ()
    others: dict[str, int] = {}
    late_rows: int = 0

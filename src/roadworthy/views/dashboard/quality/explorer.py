"""What another threshold would give: on the rows that the release was judged on, and on live rows with labels.

In: a ``Site``, a ``Span``, a threshold and two costs. Out: ``Explorer``. Laws: nothing is changed here; curves are
drawn once for the same rows and costs, and only the mark moves; thresholds are for yes/no models, and for others it
says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import msgspec

from roadworthy.errors import Problem, UsageError
from roadworthy.measures.at_threshold import figures_at
from roadworthy.measures.charts.theme import Reference
from roadworthy.measures.samples import Sample
from roadworthy.measures.thresholds import choose_threshold, tradeoff_exhibit
from roadworthy.records.evidence import Measurement
from roadworthy.records.project import DecisionSpec, Task
from roadworthy.views.dashboard.pictures import Picture, draw_exhibit
from roadworthy.views.dashboard.quality.drawing import once
from roadworthy.views.dashboard.quality.held import held
from roadworthy.views.dashboard.quality.labelled import known_rows
from roadworthy.views.dashboard.quality.release import release_of
from roadworthy.views.dashboard.quality.snapshot import read_windows
from roadworthy.views.dashboard.site import Site
from roadworthy.views.dashboard.spans import Span

__all__ = ["Explorer", "Frame", "Line", "Side", "explore"]

_WORDS = {
    "precision": ("Alarms that are true", "precision"),
    "recall": ("Events that are found", "recall"),
    "positive_share": ("Rows called positive", "of all rows"),
    "false_alarm_share": ("False alarms", "of all rows"),
    "missed_share": ("Missed events", "of all rows"),
    "cost": ("Cost of a row", "on average"),
}
_PLOT = 360.0
"""Width of the drawing inside the picture, of thresholds from 0 to 1."""
_BOX = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')
_ORIGIN = re.compile(r'<g fill="none" stroke-miterlimit="10" transform="translate\(([\d.]+),([\d.]+)\)"')
_FEWEST = 30


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """Where the drawing lies inside its picture, so that a mark can be laid over it."""

    width: float
    height: float
    left: float
    top: float
    plot: float

    def at(self, threshold: float) -> float:
        """Where a threshold lies."""
        return round(self.left + threshold * self.plot, 2)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A figure as the model decides now, and as it would at the threshold that is looked at."""

    name: str
    words: str
    about: str
    now: Measurement
    then: Measurement

    @property
    def is_share(self) -> bool:
        """Whether it is a share, of 100."""
        return self.name != "cost"


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One set of rows. ``picture`` is None where there are too few, and ``words`` say so."""

    key: str
    title: str
    words: str
    rows: int = 0
    picture: Picture | None = None
    frame: Frame | None = None
    lines: tuple[Line, ...] = ()


class Explorer(msgspec.Struct, frozen=True, kw_only=True):
    """``possible`` is False for models without a threshold. ``chosen`` is the version's own threshold.

    ``cheapest`` is what the given costs would choose on out-of-fold rows, ``reason`` how it came about; ``declared``
    says whether the costs stand in the project file. ``step`` is that of the slider, ``written`` the present decision.
    """

    possible: bool
    version: str = ""
    number: int = 0
    threshold: float = 0.5
    chosen: float = 0.5
    step: float = 0.001
    false_alarm: float = 1.0
    missed: float = 1.0
    declared: bool = False
    cheapest: float | None = None
    reason: str = ""
    sides: tuple[Side, ...] = ()


def explore(site: Site, span: Span, words: Mapping[str, str]) -> Explorer | None:
    """The explorer for the words of a link (``threshold``, ``false_alarm``, ``missed``, ``version``).

    None for a project without any version; UsageError for a word that is no number in its range.
    """
    _, summaries = read_windows(site, span)
    newest = next((one.version for one in reversed(summaries) if one.rows), "")
    own = held(site, words.get("version", ""), newest)
    if own is None:
        return None
    contract = own.watched.contract
    if contract.task is not Task.BINARY or contract.threshold is None:
        return Explorer(possible=False, version=own.version.title, number=own.version.number)
    costs, declared = _costs(site, words)
    chosen = contract.threshold
    threshold = _number(words, "threshold", chosen, 1.0)
    release, known = release_of(site, own), known_rows(site, own, span)
    cheapest, reason = _cheapest(release.unseen, costs)
    held_out = _side(
        "release", "Rows held out before release", release.holdout, release.trouble, chosen, threshold, costs
    )
    live = _side("live", f"Live rows with labels, {span.words}", known.sample, known.trouble, chosen, threshold, costs)
    return Explorer(
        possible=True,
        version=own.version.title,
        number=own.version.number,
        threshold=threshold,
        chosen=chosen,
        step=_step(chosen),
        false_alarm=costs[0],
        missed=costs[1],
        declared=declared,
        cheapest=cheapest,
        reason=reason,
        sides=(held_out, live),
    )


def _costs(site: Site, words: Mapping[str, str]) -> tuple[tuple[float, float], bool]:
    """The costs of a false alarm and of a missed event, and whether they are those that the project declares."""
    rule = site.spec.decision.threshold
    usual = (1.0, 1.0)
    declared = isinstance(rule, Mapping) and "minimize" in rule
    if isinstance(rule, Mapping) and declared:
        usual = (float(rule["false_positive"]), float(rule["false_negative"]))
    asked = (_number(words, "false_alarm", usual[0], 1e12), _number(words, "missed", usual[1], 1e12))
    return asked, declared and asked == usual


def _number(words: Mapping[str, str], name: str, usual: float, most: float) -> float:
    text = words.get(name, "").strip()
    if not text:
        return usual
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0.0 <= number <= most:
        problem = Problem(text[:40], where=name, expected=f"a number from 0 to {most:g}")
        raise UsageError(f"{name} cannot be read", problems=[problem])
    return number


def _step(chosen: float) -> float:
    """The slider's step: finer where scores are small, because events are rare."""
    return 0.001 if min(chosen, 1 - chosen) >= 0.01 else 0.0001


def _cheapest(unseen: Sample | None, costs: tuple[float, float]) -> tuple[float | None, str]:
    if unseen is None or unseen.n < _FEWEST or not any(costs):
        return None, ""
    rule = DecisionSpec(threshold={"minimize": "cost", "false_positive": costs[0], "false_negative": costs[1]})
    choice = choose_threshold(rule, unseen)
    return choice.threshold, choice.explanation


def _side(  # noqa: PLR0917 - a set of rows, and where to look at it
    key: str,
    title: str,
    sample: Sample | None,
    trouble: str,
    chosen: float,
    threshold: float,
    costs: tuple[float, float],
) -> Side:
    if sample is None or sample.n < _FEWEST:
        rows = 0 if sample is None else sample.n
        why = trouble or f"{rows} rows have a label here; at least {_FEWEST} are needed to say anything."
        return Side(key=key, title=title, words=why, rows=rows)
    exhibit = tradeoff_exhibit(sample, costs=costs, title=title)
    mark = Reference(of="threshold", value=chosen, label=f"now {chosen:.3g}")
    picture = once((exhibit, mark), lambda: draw_exhibit(exhibit, [mark]))
    now, then = figures_at(sample.at(chosen), costs), figures_at(sample.at(threshold), costs)
    lines = tuple(
        Line(name=one.metric, words=_WORDS[one.metric][0], about=_WORDS[one.metric][1], now=one, then=other)
        for one, other in zip(now, then, strict=True)
    )
    words = f"{sample.n:,} rows, of which {int((sample.y == 1).sum()):,} are events."
    return Side(
        key=key,
        title=title,
        words=words,
        rows=sample.n,
        picture=picture,
        frame=None if picture is None else _frame(picture.svg),
        lines=lines,
    )


def _frame(svg: str) -> Frame | None:
    """Where the drawing lies; None where the picture does not say."""
    box, origin = _BOX.search(svg), _ORIGIN.search(svg)
    if box is None or origin is None:
        return None
    return Frame(width=float(box[1]), height=float(box[2]), left=float(origin[1]), top=float(origin[2]), plot=_PLOT)

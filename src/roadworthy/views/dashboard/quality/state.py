"""How good the model is now, in one plain sentence, and metric by metric.

In: the newest figures of what is required. Out: ``State``: a sentence, how serious it is, what else to know. Laws:
worst first; an estimate is called one; what is not proven is never called good.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from roadworthy.formats import wording
from roadworthy.records.evidence import Measurement
from roadworthy.records.verdict import Outcome
from roadworthy.standard import CATALOGUE, Requirement
from roadworthy.views.dashboard.pictures import Picture
from roadworthy.views.dashboard.quality.windows import Figure

__all__ = ["MetricNow", "State", "bound_words", "state_of"]

_WORST = (Outcome.FAIL, Outcome.ERROR, Outcome.INSUFFICIENT, Outcome.WAIVED, Outcome.PASS)


class MetricNow(msgspec.Struct, frozen=True, kw_only=True):
    """One required metric: ``now`` in the newest window that says anything, ``labels`` over all labels of the span.

    ``release`` is what it was before release; ``name`` says the column where each of its groups is meant.
    """

    metric: str
    column: str
    name: str
    about: str
    unit: str
    line: str
    bound: str
    at_least: float | None
    at_most: float | None
    now: Figure | None
    labels: Measurement | None
    release: Measurement | None
    link: str
    trend: Picture | None = None

    @property
    def outcome(self) -> Outcome:
        """How the newest window that says anything was judged."""
        return Outcome.INSUFFICIENT if self.now is None else Outcome(self.now.outcome)

    @property
    def near(self) -> float | None:
        """The bound as a number."""
        return self.at_most if self.at_least is None else self.at_least

    @property
    def wrong_side(self) -> bool:
        """Whether the plain value lies beyond its bound, proven or not."""
        value = None if self.now is None else self.now.value
        if value is None:
            return False
        low = self.at_least is not None and value < self.at_least
        return low or (self.at_most is not None and value > self.at_most)


class State(msgspec.Struct, frozen=True, kw_only=True):
    """``tone`` is a class of ``look.css`` (ready, open, bad), ``sign`` and ``word`` go with it."""

    tone: str
    sign: str
    word: str
    sentence: str
    more: str = ""


def bound_words(required: Requirement) -> str:
    """A bound for people.

    >>> bound_words(Requirement(metric="accuracy", at_least=0.8))
    'at least 0.8'
    """
    unit = CATALOGUE[required.metric].unit
    side = "at least" if required.at_least is not None else "at most"
    text = wording.quantity(required.bound, unit)
    return f"{side} {text.rstrip('0').rstrip('.') if '.' in text and not unit else text}"


def state_of(metrics: Sequence[MetricNow], newest_labelled: int) -> State:
    """The state of what is required; ``newest_labelled`` counts the labels of the newest window."""
    if not metrics:
        return State(
            tone="open",
            sign="?",
            word="Not asked",
            sentence="The standard requires nothing of live quality, so nobody judges it.",
            more='Add a line such as `accuracy = ">= 0.80"` under [standard] in `roadworthy.toml`.',
        )
    if all(one.now is None for one in metrics):
        return State(
            tone="open",
            sign="?",
            word="Not known",
            sentence="Nothing is known of live quality: no window of traffic was judged in this stretch of time.",
        )
    ranked = sorted(metrics, key=lambda one: (_WORST.index(one.outcome), not one.wrong_side))
    worst = ranked[0]
    failing = [one for one in metrics if one.outcome is Outcome.FAIL]
    if failing:
        return _bad(failing, len(metrics))
    if worst.outcome is Outcome.ERROR:
        return State(
            tone="bad",
            sign="!",
            word="Check broke",
            sentence=f"The check of {_small(worst)} broke in the newest window: nobody knows how good it is.",
        )
    return _not_bad(metrics, ranked, newest_labelled)


def _bad(failing: Sequence[MetricNow], of: int) -> State:
    worst = failing[0]
    others = len(failing) - 1
    more = f"{others} more of {of} requirements on quality fail too." if others else ""
    return State(
        tone="bad",
        sign="✕",
        word="Not good enough",
        sentence=f"The model is not as good as it must be: {_told(worst)}.",
        more=more,
    )


def _not_bad(metrics: Sequence[MetricNow], ranked: Sequence[MetricNow], labelled: int) -> State:
    doubtful = [one for one in ranked if one.wrong_side and one.outcome is Outcome.INSUFFICIENT]
    if doubtful:
        return State(
            tone="open",
            sign="?",
            word="Not proven",
            sentence=f"Perhaps the model is not good enough: {_told(doubtful[0])}; the window is too small to be sure.",
        )
    waived = [one for one in metrics if one.outcome is Outcome.WAIVED]
    proven = [one for one in metrics if one.outcome is Outcome.PASS]
    open_ = [one for one in metrics if one.outcome is Outcome.INSUFFICIENT]
    more = f"{len(open_)} of {len(metrics)} requirements are not proven in a window this small." if open_ else ""
    if waived:
        more = f"{len(waived)} missed but waived by a named person. {more}".strip()
    if proven and not open_ and not waived:
        why = "" if labelled else ", as far as can be told before labels come"
        return State(
            tone="ready",
            sign="✓",
            word="Good enough",
            sentence=f"The model is as good as it must be{why}: {_told(proven[0])}.",
            more=more,
        )
    if proven:
        rest = f"{len(open_)} not proven" if open_ else ""
        missed = f"{len(waived)} missed but waived" if waived else ""
        return State(
            tone="open",
            sign="?",
            word="Not all proven",
            sentence=f"Of {len(metrics)} requirements on quality {len(proven)} are proven, "
            f"{' and '.join(filter(None, (rest, missed)))}: {_told(proven[0])}.",
            more=more,
        )
    valued = [one for one in metrics if one.now and one.now.value is not None]
    sentence = f"Nothing is proven either way: {_told(valued[0])}." if valued else "Nothing could be said of quality."
    return State(tone="open", sign="?", word="Not proven", sentence=sentence, more=more if valued else "")


def _told(one: MetricNow) -> str:
    if one.now is None or one.now.value is None:
        return f"of {_small(one)} nothing can be said, and the standard asks for {one.bound}"
    how = "by estimate" if one.now.estimated else f"on {wording.count(one.now.labelled)} labels"
    value = wording.against(one.now.value, one.near, one.unit)
    return f"{_small(one)} is {value} {how}, and the standard asks for {one.bound}"


def _small(one: MetricNow) -> str:
    name = wording.spaced(one.metric)
    return f"{name} in the worst group of `{one.column}`" if one.column else name

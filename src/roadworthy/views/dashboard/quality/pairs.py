"""What a model does row by row, live beside release: right and wrong decisions, probabilities, residuals.

In: labelled rows of a span, a version's release evidence. Out: ``Pair``s of pictures, as the task has them. Law: both
sides are made by one definition.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from roadworthy.measures import curves
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Exhibit
from roadworthy.records.project import Task
from roadworthy.views.dashboard.pictures import Picture, draw_exhibit
from roadworthy.views.dashboard.quality.drawing import once
from roadworthy.views.dashboard.quality.held import Held
from roadworthy.views.dashboard.quality.labelled import Known

__all__ = ["Pair", "pairs_of"]

_FEWEST = 2

_EXHIBITS: dict[str, Callable[[Sample], Exhibit]] = {
    "confusion": curves.confusion_exhibit,
    "per_class": curves.per_class_exhibit,
    "calibration": curves.calibration_exhibit,
    "residuals": curves.residuals_exhibit,
    "actual_predicted": curves.actual_predicted_exhibit,
}
_CONFUSION = ("confusion", "Right and wrong decisions", "Rows are what was true, columns what the model said.")
_CALIBRATION = (
    "calibration",
    "Do probabilities mean what they say?",
    "Of rows scored 0.3, three in ten should be events. On the dashed line it means what it says; bars are intervals.",
)
_PER_CLASS = (
    "per_class",
    "Each class on its own",
    "Precision: how often the class is right when it is said. Recall: how many of the class are found.",
)
_RESIDUALS = (
    "residuals",
    "How far off the estimates are",
    "Truth less estimate: right of zero it was too low.",
)
_DOTS = ("actual_predicted", "Estimates against what was true", "On the dashed line an estimate is exact.")
_PICTURES = {
    Task.BINARY: (_CONFUSION, _CALIBRATION),
    Task.MULTICLASS: (_CONFUSION, _PER_CLASS, _CALIBRATION),
    Task.REGRESSION: (_RESIDUALS, _DOTS),
}


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """The same picture of live labels and of the release; ``empty`` says why the live one is not there."""

    title: str
    about: str
    live: Picture | None
    release: Picture | None
    empty: str


def pairs_of(own: Held, known: Known) -> tuple[Pair, ...]:
    """The pairs that the task of a version has."""
    found = []
    for name, title, about in _PICTURES[own.watched.contract.task]:
        live = None
        if known.sample is not None and known.sample.n >= _FEWEST:
            live = _titled(_EXHIBITS[name](known.sample), f"Live, {known.sample.n:,} labels")
        before = next((one for one in own.version.evidence.exhibits if one.name == name), None)
        released = None if before is None else _titled(before, f"At release, {own.version.title}")
        found.append(Pair(title=title, about=about, live=live, release=released, empty="No label has come yet."))
    return tuple(found)


def _titled(exhibit: Exhibit, title: str) -> Picture | None:
    named = msgspec.structs.replace(exhibit, title=title)
    return once(named, lambda: draw_exhibit(named))

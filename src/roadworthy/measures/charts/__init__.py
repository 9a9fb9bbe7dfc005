"""Charts: the one definition of every picture, for page, report, PNG and SVG.

In: an ``Exhibit`` (the table behind a picture) and references to compare with. Out: an Altair chart, its SVG or
PNG, and its content in words. An exhibit that no chart is known for gives None and is shown as a table.
Importing this package takes about a second: import it where a picture is drawn, not where a command starts.

>>> from roadworthy.records.evidence import Exhibit
>>> curve = Exhibit(name="roc", title="", columns={"false_positive_rate": [0, 1], "true_positive_rate": [0, 1]})
>>> to_svg(chart_for(curve)).startswith("<svg ")
True
>>> chart_for(Exhibit(name="something_new", title="", columns={"a": [1]})) is None
True
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import altair as alt
from altair.utils.schemapi import debug_mode

from roadworthy.measures.charts import candidates as _candidates
from roadworthy.measures.charts import decisions, drift, estimated, estimates, groups, later, probes, uncertainty, worth
from roadworthy.measures.charts.candidates import candidates_exhibit, training_exhibit
from roadworthy.measures.charts.describe import describe
from roadworthy.measures.charts.render import to_png, to_svg
from roadworthy.measures.charts.theme import Reference
from roadworthy.records.evidence import Exhibit

__all__ = ["Reference", "candidates_exhibit", "chart_for", "describe", "to_png", "to_svg", "training_exhibit"]

_CHARTS: dict[str, Callable[[Exhibit, Sequence[Reference]], alt.TopLevelMixin | None]] = {
    "actual_predicted": estimates.actual_predicted,
    "ageing": later.ageing,
    "calibration": decisions.calibration,
    "candidates": _candidates.candidates,
    "conformal": uncertainty.conformal,
    "confusion": decisions.confusion,
    "dependence": probes.dependence,
    "drift": drift.drift,
    "drift_cells": drift.drift_cells,
    "estimated": estimated.estimated,
    "explained_rows": probes.explained_rows,
    "fairness": groups.fairness,
    "fairness_crossed": groups.fairness,
    "feature_cost": worth.feature_cost,
    "importance": estimates.importance,
    "operating_points": groups.operating_points,
    "over_time": later.over_time,
    "per_class": decisions.per_class,
    "pr": decisions.precision_recall,
    "referral": uncertainty.referral,
    "residuals": estimates.residuals,
    "robustness": probes.robustness,
    "roc": decisions.roc,
    "scores": decisions.scores,
    "tradeoff": decisions.tradeoff,
    "training": _candidates.training,
    "trainings": later.trainings,
    "weak_slices": groups.weak_slices,
}


def chart_for(exhibit: Exhibit, references: Sequence[Reference] = ()) -> alt.TopLevelMixin | None:
    """The chart of an exhibit, by its name; what follows a colon in the name (``training:mlp``) does not count.

    None when no chart is known for the name or the exhibit holds nothing to draw: show its table then.
    """
    draw = _CHARTS.get(exhibit.name.partition(":")[0])
    if draw is None:
        return None
    with debug_mode(arg=False):  # checking each part against the schema doubles the time; the renderer checks the whole
        return draw(exhibit, references)

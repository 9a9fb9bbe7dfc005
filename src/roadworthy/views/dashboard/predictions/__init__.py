"""Predictions: found among all that were logged, and each one opened up.

- ``listing``: a page of predictions, and what can be asked of them; ``asked``: words of a link to what is looked for;
- ``one``: a single prediction with all that is known of it; ``labels``: what was told of it, and what may be told;
- ``findings``: its values against contract and training; ``layers``: the trace; ``drivers``: what drove its score;
- ``logged``: a logged row as its version's graph takes it.
"""

from __future__ import annotations

from roadworthy.views.dashboard.predictions.asked import hidden_entity, link_of, place_link
from roadworthy.views.dashboard.predictions.labels import noted
from roadworthy.views.dashboard.predictions.listing import Predictions, predictions
from roadworthy.views.dashboard.predictions.one import Prediction, labelling, prediction

__all__ = [
    "Prediction",
    "Predictions",
    "hidden_entity",
    "labelling",
    "link_of",
    "noted",
    "place_link",
    "prediction",
    "predictions",
]

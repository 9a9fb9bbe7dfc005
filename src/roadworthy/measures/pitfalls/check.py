"""The check "pitfalls": everything that makes a good-looking number worthless, on one model.

In: ``Examined``, ``Brief``. Out: ``Found``: findings, of which whoever runs all checks counts those that fail, and
``overfit_gap`` where rows are known that the model learned from.
"""

from __future__ import annotations

from roadworthy.measures.examined import Brief, Examined
from roadworthy.measures.pitfalls.gaps import overfit_gap_of, overfitting
from roadworthy.measures.pitfalls.paradox import accuracy_paradox, class_imbalance
from roadworthy.measures.pitfalls.simpler import simpler_stand_in
from roadworthy.measures.pitfalls.splitting import random_against_honest
from roadworthy.measures.pitfalls.trust import miscalibration
from roadworthy.records.evidence import Found

__all__ = ["pitfalls"]


def pitfalls(examined: Examined, brief: Brief) -> Found:
    """Accuracy paradox, imbalance, overfitting, miscalibration, simple models, random against honest split.

    At most 20,000 rows train what the model is compared with. Wear needs to know how often the rows were judged: see
    ``wear``.
    """
    sample, confidence = examined.sample, brief.confidence("accuracy")
    gap = overfit_gap_of(examined, brief)
    return Found(
        measurements=() if examined.train is None else (gap,),
        findings=(
            *accuracy_paradox(sample, confidence=confidence, required=brief.required, target=examined.target),
            *class_imbalance(sample),
            *miscalibration(sample, confidence=confidence),
            *overfitting(gap),
            *simpler_stand_in(examined, brief),
            *random_against_honest(examined, brief),
        ),
    )

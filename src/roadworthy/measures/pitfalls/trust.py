"""What the figures themselves are worth: probabilities that are off, a holdout that was looked at too often.

In: a sample; how often a holdout was judged. Out: ``Finding``s. Law: nothing is suspected that is not proven or
counted.
"""

from __future__ import annotations

import math

from scipy import special

from roadworthy.errors import UsageError
from roadworthy.measures.quality import measure
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Finding
from roadworthy.records.project import Task

__all__ = ["miscalibration", "wear"]

_OFF = 0.05
_WORN = 20


def miscalibration(sample: Sample, *, confidence: float = 0.95) -> tuple[Finding, ...]:
    """Suspected where probabilities are provably off by more than five points, typically."""
    if sample.task is Task.REGRESSION:
        return ()
    error = measure("calibration_error", sample, confidence=confidence)
    if error.value is None or error.lower is None or error.lower <= _OFF**2:
        return ()
    typical, least = math.sqrt(max(error.value, 0.0)), math.sqrt(error.lower)
    sentence = (
        f"Probabilities are typically off by {100 * typical:.0f} points (provably by {100 * least:.0f}): 0.3 "
        "does not mean three in ten. Calibrate the model before its scores decide or are shown."
    )
    details = {"calibration_error": error.value, "lower": error.lower}
    return (
        Finding(kind="miscalibration", subject="probabilities", grade="suspects", sentence=sentence, details=details),
    )


def wear(looks: int, *, confidence: float = 0.95) -> tuple[Finding, ...]:
    """Suspected from the twentieth look at one holdout on; UsageError for fewer than one look.

    Each judgement at ``confidence`` errs with probability 1 − confidence. Of k adaptive ones at most as many err as
    that many times k, and the best of k models that are alike looks better than it is by about the expected greatest
    of k normal draws; both hold however the models were chosen, as long as each was chosen after looking (Dwork et al.
    2015, "The reusable holdout"; the bound shared over all looks is Bonferroni's).
    """
    if looks < 1:
        raise UsageError(f"{looks} looks at a holdout: at least 1 is expected, this one included")
    if looks < _WORN:
        return ()
    each = 1 - (1 - confidence) / looks
    flattered = _greatest(looks)
    sentence = (
        f"This holdout has been judged {looks} times: the best of so many equal models looks better than it is by "
        f"about {flattered:.1f} standard errors, and bounds that are to hold after all looks need {each:.2%} "
        f"confidence instead of {confidence:.0%}. Hold out new rows."
    )
    details = {"looks": looks, "shared_confidence": each, "flattered_standard_errors": flattered}
    return (Finding(kind="holdout_wear", subject="holdout", grade="suspects", sentence=sentence, details=details),)


def _greatest(draws: int) -> float:
    """Expected greatest of so many standard normal draws (Blom 1958).

    >>> round(_greatest(20), 2)
    1.87
    """
    return float(special.ndtri((draws - 0.375) / (draws + 0.25)))

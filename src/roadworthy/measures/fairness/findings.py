"""What a person should know of the groups: provable differences, base rates, small groups.

In: comparisons per metric and protected column, the sample. Out: ``Finding``s. Law: a difference is suspected only
where its bound proves it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from roadworthy.measures.fairness.cohorts import MOST_GROUPS, Cohort
from roadworthy.measures.fairness.comparing import RATES, Comparison, usable_groups
from roadworthy.measures.fairness.extremes import Extreme, greatest_difference
from roadworthy.measures.fairness.rates import FREQUENCY, error_of
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Finding
from roadworthy.records.project import Task

__all__ = ["base_rates", "small_groups", "suspicions"]

_DIFFERENCE = 0.1
_FOUR_FIFTHS = 0.8
_FEW = 30
_CONFIDENCE = 0.95
_NAMED = 6
_TITLES = {
    "demographic_parity": "shares of positive decisions",
    "equal_opportunity": "recalls",
    "equalized_odds": "recalls or false alarms",
    "group_calibration": "gaps of mean probability and frequency",
    "group_error": "errors",
}


def suspicions(seen: Mapping[tuple[str, str], Comparison], sample: Sample) -> tuple[Finding, ...]:
    """One per column and family where a difference is provably above 0.1, or a ratio provably below four fifths.

    Four fifths is the rule of thumb of the EEOC's Uniform Guidelines (29 CFR 1607.4 D, 1978). Errors in the target's
    unit are held against a tenth of the mean error.
    """
    limit = _DIFFERENCE
    if sample.task is Task.REGRESSION:
        limit = _DIFFERENCE * float(error_of(sample).mean()) if sample.n else _DIFFERENCE
    columns = list(dict.fromkeys(column for _, column in seen))
    found = [_suspicion(seen, column, family, limit) for column in columns for family in RATES]
    return tuple(finding for finding in found if finding is not None)


def _suspicion(seen: Mapping[tuple[str, str], Comparison], column: str, family: str, limit: float) -> Finding | None:
    difference = _extreme(seen, f"{family}_difference", column)
    if difference is None:
        return None
    ratio = _extreme(seen, f"{family}_ratio", column)
    apart = difference.lower > limit
    below = ratio is not None and ratio.upper < _FOUR_FIFTHS
    if not (apart or below) or (family == "equalized_odds" and _told_by_recall(seen, column, difference)):
        return None
    told = difference if apart or ratio is None else ratio
    said = [f"{told.high} {told.high_value:.3g}, {told.low} {told.low_value:.3g}"]
    if apart:
        said.append(f"a difference of {difference.value:.3g}, provably more than {difference.lower:.3g}")
    if ratio is not None and below:
        said.append(
            f"a ratio of {ratio.value:.3g}, provably less than {ratio.upper:.3g} and so below four fifths (EEOC 1978)"
        )
    sentence = f"Groups of {column} differ in their {_TITLES[family]}: {'; '.join(said)}."
    details = {"family": family, "difference": difference.value, "difference_lower": difference.lower}
    if ratio is not None:
        details |= {"ratio": ratio.value, "ratio_upper": ratio.upper}
    return Finding(kind="fairness", subject=column, grade="suspects", sentence=sentence, details=details)


def _told_by_recall(seen: Mapping[tuple[str, str], Comparison], column: str, odds: Extreme) -> bool:
    """Whether the greater difference of the odds is that of the recalls, which has a finding of its own."""
    recall = _extreme(seen, "equal_opportunity_difference", column)
    return recall is not None and recall.value == odds.value and (recall.high, recall.low) == (odds.high, odds.low)


def _extreme(seen: Mapping[tuple[str, str], Comparison], metric: str, column: str) -> Extreme | None:
    return seen[metric, column].extreme if (metric, column) in seen else None


def base_rates(sample: Sample, groups: Mapping[str, Sequence[Cohort]]) -> tuple[Finding, ...]:
    """A note per column whose groups provably differ in the share of events: no model can meet all metrics at once."""
    if sample.task is not Task.BINARY:
        return ()
    found = []
    for column, own in groups.items():
        compared, _ = usable_groups(sample, column, own, FREQUENCY)
        if len(compared) < 2:
            continue
        extreme = greatest_difference([compared], _CONFIDENCE)
        if extreme.lower <= 0.0:
            continue
        rates = {group.name: group.bounds(_CONFIDENCE).value for group in compared}
        shown = ", ".join(f"{name} {rate:.3g}" for name, rate in list(rates.items())[:_NAMED])
        more = f" and {len(rates) - _NAMED} more" if len(rates) > _NAMED else ""
        sentence = (
            f"The share of events differs between the groups of {column} ({shown}{more}). Then no model that errs can "
            "have equal recalls, equal false alarms and equal calibration all at once (Kleinberg, Mullainathan and "
            "Raghavan 2016; Chouldechova 2017): decide which of them counts here."
        )
        found.append(
            Finding(
                kind="fairness_base_rates", subject=column, grade="notes", sentence=sentence, details={"rates": rates}
            )
        )
    return tuple(found)


def small_groups(sample: Sample, groups: Mapping[str, Sequence[Cohort]]) -> tuple[Finding, ...]:
    """A note per column that names the groups with fewer than 30 events (binary) or rows (other tasks)."""
    found = []
    binary = sample.task is Task.BINARY
    noun = "events" if binary else "rows"
    for column, own in groups.items():
        counts = {one.name: int(np.count_nonzero(one.rows & (sample.y == 1) if binary else one.rows)) for one in own}
        few = {name: count for name, count in counts.items() if count < _FEW}
        if not few or len(own) > MOST_GROUPS:
            continue
        shown = ", ".join(f"{name} ({count})" for name, count in list(few.items())[:_NAMED])
        more = f" and {len(few) - _NAMED} more" if len(few) > _NAMED else ""
        sentence = (
            f"Of {column}, {'these groups have' if len(few) > 1 else 'this group has'} fewer than {_FEW} {noun} to be "
            f"judged by: {shown}{more}. Their figures are wide; collect more of them, or join groups in a feature."
        )
        found.append(
            Finding(
                kind="fairness_small_group", subject=column, grade="notes", sentence=sentence, details={"counts": few}
            )
        )
    return tuple(found)

"""What quality would be without a column, and the control on shuffled labels.

In: a ``Surrogate``, the columns that other tests have named. Out: suspicions with both figures, and the control.

A column is suspected when quality falls far more without it than without its peers: the skill lost is at least a third
of all skill, three times what any other column costs, beyond doubt (paired t of the rows' losses at 4), and the power
falls by 0.7 on the logit scale. Only the columns that the trees use most are tried, each together with its near copies
(rank correlation 0.95), so that two of a kind do not stand in for each other. After a hit the rest is tried again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.measures.leakage.powers import logit
from roadworthy.measures.surrogates import Quality, Surrogate
from roadworthy.records.evidence import Finding
from roadworthy.records.project import Task

__all__ = ["known_question", "relied_on", "shuffle_control", "with_and_without"]

_SHARE_OF_SKILL = 1 / 3
_TIMES_PEERS = 3.0
_LEAST_PEER = 0.01
_STEP = 0.7
_BEYOND_DOUBT = 4.0
_LEAST_GAIN = 0.05
_LEAST_SKILL = 0.1
_IDLE = 0.06
_ROUNDS = 2
_CHANCE_SPREADS = 4.0
_CHANCE_POWER = 0.55


class _Loss(NamedTuple):
    """What one column, with its near copies, is worth."""

    column: str
    copies: tuple[str, ...]
    without: Quality
    skill: float
    spreads: float


def known_question(column: str) -> str:
    """What only a person can answer."""
    return f"Is `{column}` known when the prediction is made?"


def relied_on(surrogate: Surrogate, columns: Sequence[str], task: Task, tried: int) -> tuple[Finding, ...]:
    """Columns without which quality falls far more than without their peers, ``tried`` of them looked at."""
    left, findings = list(columns), []
    for _ in range(_ROUNDS):
        if len(left) < 3:
            break
        full = surrogate.quality(left)
        losses = _lost(surrogate, left, full, tried)
        if not losses:
            break
        worst = max(losses, key=lambda loss: loss.skill)
        peers = [loss.skill for loss in losses if loss.column != worst.column and loss.column not in worst.copies]
        if not _stands_out(worst, full, max([*peers, _LEAST_PEER])):
            break
        findings.append(_finding(worst, full, max([*peers, 0.0]), task, len(full.losses)))
        left = [name for name in left if name != worst.column and name not in worst.copies]
    return tuple(findings)


def with_and_without(
    surrogate: Surrogate, columns: Sequence[str], findings: Sequence[Finding], task: Task
) -> tuple[Finding, ...]:
    """Suspicions with what quality would be without their columns, and the question.

    Those without which, one by one and all together, next to nothing is lost are dropped: others know as much.
    """
    if not findings:
        return ()
    full = surrogate.quality(columns)
    told, idle = [], []
    for finding in findings:
        without = surrogate.quality([name for name in columns if name != finding.subject])
        new = _with_figures(finding, full, without, task)
        told.append(new)
        if finding.details.get("found_by") == "power" and full.skill - without.skill < _IDLE * full.skill:
            idle.append(new)
    together = surrogate.quality([name for name in columns if name not in {one.subject for one in idle}])
    if idle and full.skill - together.skill < _IDLE * full.skill:
        told = [one for one in told if one not in idle]
    return tuple(told)


def _with_figures(finding: Finding, full: Quality, without: Quality, task: Task) -> Finding:
    figures = _figures(full, without)
    return msgspec.structs.replace(
        finding,
        sentence=f"{finding.sentence} {_told(figures, task, len(full.losses), '')}",
        question=finding.question or known_question(finding.subject),
        details=finding.details | figures,
    )


def shuffle_control(
    surrogate: Surrogate, columns: Sequence[str], y: NDArray[Any], task: Task, rng: np.random.Generator
) -> tuple[Finding, ...]:
    """Trees on shuffled labels must do no better than chance: fails at four standard errors and power 0.55."""
    fewest = len(y) / 2 if task is Task.REGRESSION else min(count for count in np.bincount(y) if count)
    if fewest < 10:
        return ()
    power = surrogate.quality(columns, y=rng.permutation(y)).power
    # the area's standard error under chance is at most that of two classes, the rarer of this size, the other unbounded
    error = math.sqrt(1 / (12 * fewest) + 1 / (12 * max(len(y) - fewest, 1)))
    fails = power > _CHANCE_POWER and power - 0.5 > _CHANCE_SPREADS * error
    said = "better than chance: rows of one fold tell about those of another" if fails else "as chance would"
    sentence = f"On shuffled labels the surrogate's power is {power:.3f} ({error:.3f} is its standard error), {said}."
    return (
        Finding(
            kind="shuffle_control",
            subject="shuffled labels",
            grade="fails" if fails else "notes",
            sentence=sentence,
            details={"power": power, "error": error, "rows": len(y)},
        ),
    )


def _lost(surrogate: Surrogate, columns: Sequence[str], full: Quality, tried: int) -> list[_Loss]:
    gains = dict(zip(surrogate.columns, full.gains, strict=True))
    columns = [name for name in columns if name in gains]
    least = _LEAST_GAIN * float(full.gains.sum())
    used = sorted((name for name in columns if gains[name] > least), key=lambda name: -gains[name])[:tried]
    if len(used) == 1:  # what it costs is compared with the next one, however little that is used
        used = sorted(columns, key=lambda name: -gains[name])[:2]
    found = []
    for name in used:
        copies = tuple(one for one in surrogate.near_copies(name) if one in columns)
        without = surrogate.quality([one for one in columns if one != name and one not in copies])
        difference = without.losses - full.losses
        error = max(float(difference.std()) / math.sqrt(len(difference)), 1e-12)
        found.append(_Loss(name, copies, without, full.skill - without.skill, float(difference.mean()) / error))
    return found


def _stands_out(loss: _Loss, full: Quality, peers: float) -> bool:
    return (
        full.skill >= _LEAST_SKILL
        and loss.skill >= _SHARE_OF_SKILL * full.skill
        and loss.skill >= _TIMES_PEERS * peers
        and loss.spreads >= _BEYOND_DOUBT
        and logit(full.power) - logit(loss.without.power) >= _STEP
    )


def _figures(full: Quality, without: Quality) -> dict[str, float]:
    return {
        "power_with": full.power,
        "power_without": without.power,
        "skill_with": full.skill,
        "skill_without": without.skill,
    }


def _told(figures: dict[str, float], task: Task, rows: int, also: str) -> str:
    name, kind = ("ROC AUC", "power") if task is Task.BINARY else ("skill", "skill")
    return (
        f"Without it{also} a surrogate's {name} is {figures[f'{kind}_without']:.3f} rather than "
        f"{figures[f'{kind}_with']:.3f} (cross-validated on {rows:,} rows)."
    )


def _finding(loss: _Loss, full: Quality, peers: float, task: Task, rows: int) -> Finding:
    figures = _figures(full, loss.without)
    also = f" and what moves with it ({', '.join(loss.copies)})" if loss.copies else ""
    sentence = (
        f"{_told(figures, task, rows, also)} No other column is worth nearly as much, so {loss.column} may be known "
        "only afterwards."
    )
    details: dict[str, Any] = {"found_by": "reliance", "next_skill_lost": peers, "copies": list(loss.copies)}
    return Finding(
        kind="target_leak",
        subject=loss.column,
        grade="suspects",
        sentence=sentence.replace("Without it", f"Without {loss.column}", 1),
        question=known_question(loss.column),
        details=details | figures,
    )

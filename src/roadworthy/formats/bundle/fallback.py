"""The declared answer when no version gives one: ``reference/fallback.json`` of a bundle.

In: what the project declares, and the classes that training found. Out: a ``Constant``, as bytes and back. Laws: a
constant is an answer that the model could have given: a finite score of the task's shape, and the decision that the
declaration names or that follows from the score; a bundle without the file has no constant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from roadworthy.errors import BundleError, Problem, ProjectFileError, nearest
from roadworthy.formats.bundle.parts import FALLBACK, ServingContract
from roadworthy.records.project import Task

__all__ = ["Constant", "constant_of", "read_constant"]


class Constant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The declared answer when no model gives one: a score (or one for each class), and a decision."""

    score: float | list[float]
    decision: str = ""


def constant_of(
    declared: str | float | Mapping[str, float] | None,
    task: Task,
    classes: Sequence[str],
    threshold: float | None,
) -> Constant | None:
    """The answer that ``[serving] fallback`` stands for; a class stands for certainty. Raises ProjectFileError."""
    if declared is None:
        return None
    named = [declared] if isinstance(declared, str) else list(declared) if isinstance(declared, Mapping) else []
    problems = [_unknown(label, classes) for label in named if label not in classes]
    if isinstance(declared, Mapping):
        absent = [label for label in classes if label not in declared]
        problems += [Problem(f"no probability for {label!r}", where="[serving] fallback") for label in absent]
    if problems:
        raise ProjectFileError(
            "[serving] fallback does not fit the classes of the target",
            problems=problems,
            next_step="mend [serving] in roadworthy.toml and run the same command again: training is not done again",
        )
    if task is Task.REGRESSION:
        return Constant(score=_number(declared))
    if isinstance(declared, str):
        shares = [float(label == declared) for label in classes]
        return Constant(score=shares[1] if task is Task.BINARY else shares, decision=declared)
    if isinstance(declared, Mapping):
        shares = [float(declared[label]) for label in classes]
        return Constant(score=shares, decision=classes[shares.index(max(shares))])
    score = _number(declared)
    return Constant(score=score, decision=classes[int(score >= (0.5 if threshold is None else threshold))])


def read_constant(reference: Mapping[str, bytes], contract: ServingContract) -> Constant | None:
    """The constant among a bundle's reference files; None without one. Raises BundleError for what is no answer."""
    if FALLBACK not in reference:
        return None
    where = f"reference/{FALLBACK}"
    try:
        found = msgspec.json.decode(reference[FALLBACK], type=Constant)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BundleError(f"{where} does not parse: {error}") from error
    scores = found.score if isinstance(found.score, list) else [found.score]
    wanted = len(contract.classes) if contract.task is Task.MULTICLASS else 1
    problems = []
    if isinstance(found.score, list) != (contract.task is Task.MULTICLASS) or len(scores) != wanted:
        problems.append(Problem(f"{len(scores)} scores", where=where, expected=f"{wanted}, as {contract.task} has"))
    if not all(math.isfinite(score) and (not contract.classes or 0 <= score <= 1) for score in scores):
        problems.append(Problem("a score that the model could not give", where=where))
    if found.decision not in (contract.classes or ("",)):
        problems.append(Problem(f"the decision {found.decision!r}", where=where, expected=", ".join(contract.classes)))
    if problems:
        raise BundleError("the bundle's constant answer is none", problems=problems)
    return found


def _unknown(label: str, classes: Sequence[str]) -> Problem:
    close = nearest(label, classes)
    hint = f"; did you mean {close!r}?" if close else ""
    return Problem(f"the target has no class {label!r}{hint}", where="[serving] fallback", expected=", ".join(classes))


def _number(declared: object) -> float:
    assert isinstance(declared, int | float)  # noqa: S101 - reading the project file made sure
    return float(declared)

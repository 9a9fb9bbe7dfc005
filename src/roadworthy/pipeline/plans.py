"""Everything that a project declares, compiled once before a row is read, with every problem at its line.

In: a project whose keys and types are right, and the line of every key. Out: nothing, or one ProjectFileError.
Features, cleaning, the decision and the tuning budget are each read by what will later run them, so that nothing
is refused here that would run, and nothing is found wrong after an hour that could be told at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from roadworthy.errors import Problem, ProjectFileError, RoadworthyError, UnknownName
from roadworthy.measures.thresholds import check_decision
from roadworthy.records.project import ProjectSpec, Task
from roadworthy.stages.train_tuning import Budget
from roadworthy.transforms.cleaning import CleaningPlan
from roadworthy.transforms.features import FeaturePlan

__all__ = ["check_plans"]

_RULE = re.compile(r"\[contract\] rules\[(\d+)\]")


def check_plans(spec: ProjectSpec, lines: Mapping[str, int], file: str) -> None:
    """Raise ProjectFileError with every problem of features, contract, decision and tuning, each with its line."""
    found = [
        *_told(lambda: CleaningPlan.build(spec.contract, spec.data.time, spec.target), "contract"),
        *_told(lambda: FeaturePlan.build(spec), "features"),
        *_told(lambda: Budget.parse(spec.training.tune), "training.tune"),
        *(_told(lambda: check_decision(spec.decision), "decision.threshold") if spec.task is Task.BINARY else ()),
    ]
    if not found:
        return
    problems = []
    for problem, table, _ in found:
        line = _line(problem.where, table, spec, lines)
        where = f"{file}:{line}" if line else file
        told = f"{where}, {problem.where}" if problem.where else where
        problems.append(Problem(problem.found, expected=problem.expected, where=told))
    count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
    steps = dict.fromkeys(step for *_, step in found if step)
    raise ProjectFileError(
        f"{file} has {count}",
        problems=problems,
        next_step="; ".join(steps) or f"mend {file} and run the same command again",
    )


def _told(build: Callable[[], object], table: str) -> Iterator[tuple[Problem, str, str]]:
    """What ``build`` refuses: problem, table, next step."""
    try:
        build()
    except RoadworthyError as error:
        whole = isinstance(error, UnknownName) or not error.problems
        for problem in [Problem(error.message)] if whole else error.problems:
            yield problem, table, error.next_step


def _line(where: str, table: str, spec: ProjectSpec, lines: Mapping[str, int]) -> int:
    """The line of the key that a problem speaks of, or of its table."""
    place = table
    rule = _RULE.match(where)
    if rule is not None:
        place = f"contract.rules.{rule[1]}"
    for name in spec.features:
        if where == f"feature {name}" or where.startswith(f"feature {name}, "):
            place = f"features.{name}"
    for name in spec.contract.columns:
        if where == f"[contract.columns.{name}]":
            place = f"contract.columns.{name}"
    while place and place not in lines:
        place = place.rpartition(".")[0]
    return lines.get(place, 0)

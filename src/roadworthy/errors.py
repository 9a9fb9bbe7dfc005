"""The error tree: every failure that Roadworthy reports to a person.

What flows in: the facts of a failure. What flows out: one exception that names what was found, what was
expected, where, and the next command. Nothing here imports anything else of the project.

    RoadworthyError
    ├── UsageError                   exit 2   a command was called with words it does not know
    │   └── UnknownName              exit 2   …a metric, column, function, version or key; carries the known ones
    ├── ProjectFileError             exit 2   roadworthy.toml: carries every problem with its line
    ├── DataError                    exit 2   the data cannot be used as declared
    │   ├── SourceError              exit 2   a source is missing, unreadable or empty
    │   ├── TargetError              exit 2   the target is missing, constant, or of the wrong kind
    │   └── ContractError            exit 2   rows do not meet the contract and may not be dropped
    ├── ExpressionError              exit 2   a feature or rule: carries the position inside the expression
    ├── TrainingError                exit 2   a candidate could not be trained
    ├── ModelError                   exit 2   a model file or graph is invalid, or is a kind that is never loaded
    ├── BundleError                  exit 2   a bundle is incomplete, altered or unsigned
    ├── RegistryError                exit 2   a version or alias does not exist, or the chain is broken
    │   └── PromotionRefused         exit 1   the verdict does not allow it
    ├── StorageError                 exit 2   the disk is full or cannot be written; nothing half-written stays
    └── MissingExtra                 exit 2   an optional library is needed; carries the install command
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

__all__ = [
    "BundleError",
    "ContractError",
    "DataError",
    "ExpressionError",
    "MissingExtra",
    "ModelError",
    "Problem",
    "ProjectFileError",
    "PromotionRefused",
    "RegistryError",
    "RoadworthyError",
    "SourceError",
    "StorageError",
    "TargetError",
    "TrainingError",
    "UnknownName",
    "UsageError",
    "nearest",
]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to ``name``, or None when none is close.

    >>> nearest("acuracy", ["accuracy", "recall"])
    'accuracy'
    """
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


class Problem:
    """One thing that is wrong, as a person needs it.

    ``where`` is a place ("roadworthy.toml:12", "data.csv, line 3", "column age"), ``found`` and
    ``expected`` are short phrases.
    """

    __slots__ = ("expected", "found", "where")

    def __init__(self, found: str, *, expected: str = "", where: str = "") -> None:
        self.found = found
        self.expected = expected
        self.where = where

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        wanted = f"; expected {self.expected}" if self.expected else ""
        return f"{place}{self.found}{wanted}"

    def as_dict(self) -> dict[str, str]:
        """The same three facts for ``--json``."""
        return {"where": self.where, "found": self.found, "expected": self.expected}


class RoadworthyError(Exception):
    """Root of the tree. ``str(error)`` is the whole message for a person, all problems at once.

    Parameters: ``message`` the one sentence; ``problems`` every single fault; ``next_step`` the command or
    edit that mends it.
    """

    exit_code = 2

    def __init__(self, message: str, *, problems: Sequence[Problem] = (), next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.problems = tuple(problems)
        self.next_step = next_step

    def __str__(self) -> str:
        lines = [self.message, *(f"  - {problem}" for problem in self.problems)]
        if self.next_step:
            lines.append(f"next: {self.next_step}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, object]:
        """The error as plain data for ``--json``."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "problems": [problem.as_dict() for problem in self.problems],
            "next": self.next_step,
        }


class UsageError(RoadworthyError):
    """A command or call was given words that it does not know."""


class UnknownName(UsageError):
    """A name that nothing answers to. Always raised, never replaced by a default.

    >>> print(UnknownName("metric", "acuracy", ["accuracy", "recall"]))
    unknown metric 'acuracy'; did you mean 'accuracy'?
      - known: accuracy, recall
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "", next_step: str = "") -> None:
        self.kind = kind
        self.name = name
        self.known = tuple(sorted(known))
        close = nearest(name, self.known)
        hint = f"; did you mean {close!r}?" if close else ""
        place = f"{where}: " if where else ""
        listed = Problem(f"known: {', '.join(self.known) or 'none'}")
        super().__init__(f"{place}unknown {kind} {name!r}{hint}", problems=(listed,), next_step=next_step)


class ProjectFileError(RoadworthyError):
    """The project file has problems; all of them are listed, each with its line."""


class DataError(RoadworthyError):
    """The data cannot be used as declared."""


class SourceError(DataError):
    """A source is missing, unreadable, empty or not of the format it claims."""


class TargetError(DataError):
    """The target column is missing, constant, or does not fit the task."""


class ContractError(DataError):
    """The rows do not meet the contract in a way that cleaning may not mend."""


class ExpressionError(RoadworthyError):
    """A feature or rule expression that cannot be compiled."""


class TrainingError(RoadworthyError):
    """A candidate could not be trained or exported."""


class ModelError(RoadworthyError):
    """A model file or graph is invalid, or of a kind that is never loaded (pickle)."""


class BundleError(RoadworthyError):
    """A bundle is incomplete, altered or not signed by a trusted key."""


class RegistryError(RoadworthyError):
    """A version or alias does not exist, or the audit chain is broken."""


class PromotionRefused(RegistryError):
    """The verdict on the version does not allow the promotion."""

    exit_code = 1


class StorageError(RoadworthyError):
    """The disk is full or cannot be written; nothing half-written is left behind."""


class MissingExtra(RoadworthyError):
    """An optional library is needed for this; the message says how to install it."""

"""The candidates that Roadworthy can train itself, and the user's own.

In: a candidate's name as the project file writes it. Out: an object that meets ``protocols.Trainer``. Each trainer
has its module; heavy libraries are imported when a trainer is made, not when this package is.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

from roadworthy.errors import UnknownName
from roadworthy.protocols import Trainer

__all__ = ["TRAINERS", "trainer_named"]


def _made(module: str, kind: str) -> Callable[[], Trainer]:
    def make() -> Trainer:
        trainer: Trainer = getattr(importlib.import_module(f"{__name__}.{module}"), kind)()
        return trainer

    return make


TRAINERS: MappingProxyType[str, Callable[[], Trainer]] = MappingProxyType(
    {
        "logistic": _made("logistic", "LinearTrainer"),
        "mlp": _made("mlp", "NetworkTrainer"),
        "gbdt": _made("gbdt", "BoostingTrainer"),
    }
)
"""Built-in candidates by name."""


def trainer_named(name: str, folder: Path = Path()) -> Trainer:
    """The trainer of a candidate: a built-in one, or ``package.module:function`` found from ``folder``.

    ``folder`` is where the project file stands. The user's function is loaded when it is first used. Raises
    UnknownName for anything else.
    """
    if name in TRAINERS:
        return TRAINERS[name]()
    if ":" in name:
        return _own(name, folder)
    raise UnknownName(
        "candidate",
        name,
        TRAINERS,
        where="[training] candidates",
        next_step="write one of the known names, or package.module:function for your own trainer",
    )


def _own(name: str, folder: Path) -> Trainer:
    trainer: Trainer = importlib.import_module(f"{__name__}.custom").CustomTrainer(name, folder)
    return trainer

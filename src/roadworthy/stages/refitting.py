"""Train a candidate anew, on rows of one's own choice.

In: a trainer, the parameters that it was trained with, the project. Out: a ``Refit``, from feature-table rows to an
``Answer``. It encodes, puts rows aside to stop early, and weighs classes as the training stage does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.measures.examined import Answer, Answered, Refit
from roadworthy.protocols import Trainer, TrainingData
from roadworthy.records.model import ProgressLine
from roadworthy.records.project import ProjectSpec, Task
from roadworthy.stages.train_folds import STOPPING_SHARE, class_weights
from roadworthy.transforms.encoding import Encoder
from roadworthy.transforms.expressions import Kind
from roadworthy.transforms.splits import carve

__all__ = ["refit_by"]


def refit_by(
    trainer: Trainer, parameters: Mapping[str, Any], spec: ProjectSpec, columns: Mapping[str, Kind], classes: int
) -> Refit:
    """The same candidate on other rows: ``columns`` are the model's columns, ``classes`` 0 for regression.

    The trained model is asked in its own framework. What the trainer raises passes through.
    """

    def refit(rows: pl.DataFrame, y: NDArray[Any], seed: int) -> Answer:
        codes = np.zeros(len(y), dtype=np.int64) if spec.task is Task.REGRESSION else y.astype(np.int64)
        stops = carve(codes, task=spec.task, seed=seed, times=None, entities=None, share=STOPPING_SHARE)
        encoder = Encoder.fit(rows.filter(~stops), columns)
        data = TrainingData(
            task=spec.task,
            x=encoder.encode(rows.filter(~stops)),
            y=y[~stops],
            weights=class_weights(y[~stops], classes, balance=spec.training.balance),
            valid_x=encoder.encode(rows.filter(stops)),
            valid_y=y[stops],
            classes=classes,
            names=encoder.names,
            seed=seed,
        )
        model = trainer.fit(data, parameters, _quiet)

        def answer(asked: pl.DataFrame) -> Answered:
            score = np.asarray(model.predict(encoder.encode(asked)), dtype=np.float64)
            return Answered(score, np.zeros(asked.height, dtype=np.bool_))

        return answer

    return refit


def _quiet(line: ProgressLine) -> None:
    """No one watches a refit epoch by epoch."""

"""The nouns of the model's way: training lines, candidates, the choice, the bundle.

Folders in the lake hold the files; these records hold what they mean.
"""

from __future__ import annotations

from typing import Any

import msgspec

from roadworthy.records.data import SplitKind
from roadworthy.records.digests import Digest
from roadworthy.records.evidence import Evidence
from roadworthy.records.project import Task

__all__ = ["Bundle", "Candidate", "Choice", "GraphCost", "ProgressLine", "SplitGap", "TrainedModel", "Validation"]


class ProgressLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One epoch or boosting round: loss and quality on training and on validation rows.

    Loss is log loss (classification, nats) or mean squared error in units of the target's variance;
    quality is accuracy or R².
    """

    candidate: str
    step: int
    train_loss: float
    valid_loss: float
    train_quality: float
    valid_quality: float


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One trained candidate.

    Files, in a folder of its name inside the TrainedModel's folder: ``model.onnx`` (float32 matrix ``X`` →
    ``score``), ``encoder.json`` (the fitted feature encoding), ``oof.parquet`` (``_row``, ``score…``: out-of-fold
    predictions on the training part) and ``holdout.parquet`` (``_row``, ``score…``: the training framework's own
    predictions, for parity).
    ``trials`` is how many settings were tried for it, 0 where none were searched.
    ``score`` is one column for binary (probability of the positive class) and regression, and
    ``score_0 … score_k`` for multiclass.
    """

    name: str
    parameters: dict[str, Any]
    lines: tuple[ProgressLine, ...]
    best_step: int
    seconds: float
    inputs: int
    trials: int = 0
    notes: tuple[str, ...] = ()


class SplitGap(msgspec.Struct, frozen=True, kw_only=True):
    """What a random split would have promised beside what the honest one says, for one cheap candidate.

    ``honest`` and ``random`` are mean losses per row (``loss`` names it) on the same ``rows`` rows, by models that
    trained on ``trained_rows`` rows each. ``lower`` and ``upper`` are each a one-sided bound at ``confidence`` of
    honest minus random: above 0, the random split promises too much. All four are None where ``insufficient`` says
    why nothing could be measured. ``kind`` is the honest split's: ``time`` or ``entity``.
    """

    kind: SplitKind
    candidate: str
    loss: str
    sentence: str
    honest: float | None = None
    random: float | None = None
    lower: float | None = None
    upper: float | None = None
    confidence: float = 0.95
    rows: int = 0
    trained_rows: int = 0
    clusters: int = 0
    method: str = ""
    insufficient: str = ""


class TrainedModel(msgspec.Struct, frozen=True, kw_only=True):
    """All candidates of one training, before any is chosen. ``classes`` are the labels in score order.

    ``split_gap`` is None where the split itself is random (or stratified).
    """

    digest: Digest
    parent: Digest
    task: Task
    target: str
    classes: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    features: tuple[str, ...]
    failures: dict[str, str] = {}
    split_gap: SplitGap | None = None


class GraphCost(msgspec.Struct, frozen=True, kw_only=True):
    """What one graph costs: bytes on disk; milliseconds for one row, measured from ``runs`` single-row calls."""

    size_bytes: int
    p50_ms: float
    p99_ms: float
    runs: int


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Which candidate and threshold, why, and what the others would have been.

    ``table`` has one mapping per candidate: quality with bounds, difference to the best with bounds, cost,
    whether it meets the standard on the training part. ``threshold`` is None outside binary tasks.
    """

    candidate: str
    threshold: float | None
    explanation: str
    threshold_explanation: str
    table: tuple[dict[str, Any], ...]


class Validation(msgspec.Struct, frozen=True, kw_only=True):
    """The validate stage's outcome: the choice, and the evidence on the holdout."""

    digest: Digest
    parent: Digest
    choice: Choice
    evidence: Evidence


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A packaged model: ``bundle/`` holds the files of ``formats.bundle``, all named in its manifest.

    ``before`` and ``after`` are the graph's cost before and after optimisation; ``parity`` is the greatest
    difference to the training framework over the whole holdout (absolute for probabilities, relative for
    regression); ``flips`` the share of decisions that optimisation changed there. ``evidence`` is the whole
    release evidence, of the graph that ships.
    """

    digest: Digest
    parent: Digest
    name: str
    before: GraphCost
    after: GraphCost
    variant: str
    parity: float
    flips: float
    notes: tuple[str, ...]
    evidence: Evidence

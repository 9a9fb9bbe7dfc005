"""The nouns of the data's way: snapshot, clean rows, feature table, split.

Each names its digest, its parents' digests and the files it owns, relative to its own folder in the lake.
Law: a record's digest depends on what went in and on nothing else, so an unchanged stage is never run twice.
"""

from __future__ import annotations

import msgspec

from roadworthy.records.digests import Digest

__all__ = ["CleanRows", "FeatureInfo", "FeatureTable", "Snapshot", "Split", "SplitKind"]

SplitKind = str
"""``time``, ``entity``, ``stratified`` or ``random``."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The rows as they came, personal columns keyed-hashed, everything else untouched.

    ``rows.parquet`` holds them: text for what came as text (CSV), the source's own types otherwise.
    ``source`` is what a person may read: never a password.
    """

    digest: Digest
    source: str
    source_digest: Digest
    rows: int
    columns: tuple[str, ...]
    hashed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class CleanRows(msgspec.Struct, frozen=True, kw_only=True):
    """``rows.parquet``: rows that meet the contract, typed; ``quarantine.parquet``: the others as they came.

    Both carry ``_row``, the row's number in the snapshot (from 0); quarantine also ``_reasons``, a list of
    texts. Law: ``rows_in == rows + quarantined``. ``reasons`` counts rows by reason (a row may have several);
    ``repairs`` counts cells by repair (``"impressions: text to number"``).
    """

    digest: Digest
    parent: Digest
    rows_in: int
    rows: int
    quarantined: int
    columns: tuple[str, ...]
    reasons: dict[str, int]
    repairs: dict[str, int]


class FeatureInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One declared feature: its definition, result type, and whether it looks at an entity's past."""

    name: str
    definition: str
    type: str
    aggregate: bool = False


class FeatureTable(msgspec.Struct, frozen=True, kw_only=True):
    """``rows.parquet``: the clean rows with the declared features beside them, in snapshot order."""

    digest: Digest
    parent: Digest
    rows: int
    columns: tuple[str, ...]
    features: tuple[FeatureInfo, ...]


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """``parts.parquet``: ``_row``, ``part`` ("train" or "holdout"), ``fold`` (0… on train, null on holdout).

    ``holdout_digest`` pins the rows of the holdout: the same holdout has the same digest whatever was trained.
    """

    digest: Digest
    parent: Digest
    kind: SplitKind
    train_rows: int
    holdout_rows: int
    folds: int
    holdout_digest: Digest
    explanation: str
    unlabelled: int = 0
    unseen_entities: int = 0

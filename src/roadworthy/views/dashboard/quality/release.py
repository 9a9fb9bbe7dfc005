"""The held-out rows that a version was judged on before it was released, with their scores.

In: a version's lineage in the lake. Out: ``Release``: the scored sample, the rows behind it, the out-of-fold sample
that its threshold was chosen on. Laws: nothing is scored anew; a version whose stages are not in the lake (packaged
elsewhere, or cleaned away) has none, and it is said why.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import polars as pl

from roadworthy.errors import DataError, RoadworthyError, StorageError
from roadworthy.measures.samples import Sample
from roadworthy.records.digests import Digest
from roadworthy.records.model import TrainedModel, Validation
from roadworthy.stages.validate_rows import Labelled
from roadworthy.views.dashboard.quality.held import Held
from roadworthy.views.dashboard.quality.labelled import columns_of
from roadworthy.views.dashboard.site import Site

__all__ = ["Release", "release_of"]

_R = TypeVar("_R", bound=msgspec.Struct)
_MOST = 2
_remembered: OrderedDict[Digest, Release] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What a release was judged on; ``trouble`` says why there is nothing of it."""

    holdout: Sample | None
    rows: pl.DataFrame
    unseen: Sample | None
    trouble: str = ""


def release_of(site: Site, held: Held) -> Release:
    """The rows behind a version's release."""
    key = held.version.manifest
    with _lock:
        if key in _remembered:
            _remembered.move_to_end(key)
            return _remembered[key]
    try:
        made = _read(site, held)
    except (RoadworthyError, OSError, pl.exceptions.PolarsError) as error:
        said = error.message if isinstance(error, RoadworthyError) else str(error).splitlines()[0]
        return Release(holdout=None, rows=pl.DataFrame(), unseen=None, trouble=said)
    with _lock:
        _remembered[key] = made
        while len(_remembered) > _MOST:
            _remembered.popitem(last=False)
    return made


def _read(site: Site, held: Held) -> Release:
    lineage, lake, contract = held.version.lineage, site.lake, held.watched.contract
    missing = [name for name in ("train", "validate", "split", "features") if name not in lineage]
    if missing:
        raise DataError(f"{held.version.title} was not trained here, so its held-out rows are not in this lake")
    if (site.spec.target, site.spec.task) != (contract.target, contract.task):
        raise DataError(f"{held.version.title} predicts something else than roadworthy.toml declares today")
    folder = lake.path("train", lineage["train"])
    trained = _record(folder, TrainedModel)
    choice = _record(lake.path("validate", lineage["validate"]), Validation).choice
    found = Labelled.load(
        trained,
        folder,
        lake.path("split", lineage["split"]) / "parts.parquet",
        lake.path("features", lineage["features"]) / "rows.parquet",
        site.spec,
        columns_of(held),
    )
    holdout, rows = found.holdout(choice.candidate)
    samples, _ = found.out_of_fold([choice.candidate])
    unseen = samples[choice.candidate]
    if contract.threshold is not None:
        holdout, unseen = holdout.at(contract.threshold), unseen.at(contract.threshold)
    return Release(holdout=holdout, rows=rows, unseen=unseen)


def _record(folder: Path, kind: type[_R]) -> _R:
    try:
        return msgspec.json.decode((folder / "record.json").read_bytes(), type=kind)
    except msgspec.MsgspecError as error:
        raise StorageError(f"the stored result {folder} cannot be read: {error}") from error

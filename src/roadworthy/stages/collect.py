"""Stage 1, collect: the contract's columns as they came, pinned by digest, personal ones hidden.

In: a ``Source`` and the project. Out: a ``Snapshot`` and its ``rows.parquet``. Laws: the digest depends on the
source's bytes, the contract's columns, the personal ones among them and the hashing key alone; no clear value of a
personal column touches the disk, and no value at all of a column that the contract does not name; a source that
changes while it is read is noticed and nothing is kept; rows keep their order.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import polars as pl

from roadworthy.errors import DataError, Problem, SourceError
from roadworthy.protocols import Reporter, Source
from roadworthy.records.data import Snapshot
from roadworthy.records.digests import Digest, digest_data
from roadworthy.records.project import ProjectSpec
from roadworthy.transforms.cleaning import refuse_absent, reserved_name, without_sentinels

__all__ = ["ROWS_FILE", "STEPS", "Hashes", "WholeParquet", "run", "snapshot_digest"]

ROWS_FILE = "rows.parquet"
STEPS = 1
_FORMAT = 2  # of the snapshot: a change here makes every digest new
_ROW_GROUP = 1 << 18


class Hashes(Protocol):
    """What hides personal values: the same text, the same hash; missing stays missing."""

    @property
    def fingerprint(self) -> Digest:
        """Names the key."""
        ...

    def hash(self, series: pl.Series) -> pl.Series:
        """String hashes of a column's text form."""
        ...


@runtime_checkable
class WholeParquet(Protocol):
    """A source that can be one Parquet file, which is copied as it stands."""

    def parquet_path(self) -> Path | None:
        """The file, or None when the source is something else."""
        ...


def snapshot_digest(source: Source, spec: ProjectSpec, hasher: Hashes) -> Digest:
    """The digest that the source's snapshot will have. Without personal columns the key does not matter."""
    columns = spec.contract.columns
    personal = sorted(set(spec.data.personal))
    return digest_data(
        {
            "stage": "collect",
            "format": _FORMAT,
            "source": source.fingerprint(),
            "columns": sorted(columns),
            "personal": personal,
            "sentinels": [sorted(set(columns[name].sentinels)) for name in personal if name in columns],
            "key": hasher.fingerprint if personal else "",
        }
    )


def run(  # noqa: PLR0917 - the pipeline calls every stage with records, folder, digest, reporter in this order
    source: Source, spec: ProjectSpec, hasher: Hashes, folder: Path, digest: Digest, reporter: Reporter
) -> Snapshot:
    """Write the contract's columns to ``folder/rows.parquet`` in pieces and return their record.

    Columns keep the source's order; those that the contract does not name are left behind, with a note. Raises
    SourceError when the source cannot be read or changes meanwhile, DataError when a declared column is not in it or
    a column has a name that Roadworthy keeps for itself.
    """
    before = source.fingerprint()
    rows = source.scan()
    schema = rows.collect_schema()
    _check_names(schema.names(), source.describe())
    refuse_absent(spec.contract, schema)
    wanted = [name for name in schema if name in spec.contract.columns]
    personal = [name for name in wanted if name in spec.data.personal]
    left = [name for name in schema if name not in spec.contract.columns]
    target = folder / ROWS_FILE
    whole = source.parquet_path() if isinstance(source, WholeParquet) and not personal and not left else None
    if whole is not None:
        shutil.copyfile(whole, target)
    else:
        _write(rows.select(wanted), {name: _hiding(spec, name, hasher) for name in personal}, target)
    if source.fingerprint() != before:
        raise SourceError(
            f"{source.describe()} changed while it was read",
            problems=(Problem("other rows, or another order of rows, than at the start", expected="the same rows"),),
            next_step="run the same command again when nothing writes to the source; order a query's rows (order by …)",
        )
    count: int = pl.scan_parquet(target, glob=False).select(pl.len()).collect().item()
    reporter.advance("collect")
    behind = (f"left in the source, being no column of the contract: {', '.join(left)}",) if left else ()
    return Snapshot(
        digest=digest,
        source=source.describe(),
        source_digest=before,
        rows=count,
        columns=tuple(wanted),
        hashed=tuple(personal),
        notes=(*source.notes(), *behind),
    )


_Hiding = Callable[[pl.Series], pl.Series]


def _hiding(spec: ProjectSpec, name: str, hasher: Hashes) -> _Hiding:
    """Hashes one column, after its sentinels have become missing."""
    sentinels = spec.contract.columns[name].sentinels
    return lambda values: hasher.hash(without_sentinels(values, sentinels))


def _write(rows: pl.LazyFrame, personal: dict[str, _Hiding], target: Path) -> None:
    if personal:
        rows = rows.with_columns(
            pl.col(name).map_batches(hide, return_dtype=pl.String, is_elementwise=True)
            for name, hide in personal.items()
        )
    rows.sink_parquet(target, compression="lz4", row_group_size=_ROW_GROUP, maintain_order=True, engine="streaming")


def _check_names(columns: list[str], shown: str) -> None:
    taken = [name for name in columns if reserved_name(name)]
    if taken:
        raise DataError(
            f"{shown} has columns whose names Roadworthy keeps for itself",
            problems=[Problem(f"column {name!r}", where=shown, expected="another name") for name in taken],
            next_step="rename them in the source",
        )

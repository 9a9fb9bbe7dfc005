"""Stage 1, collect: the rows as they came, pinned by digest, personal columns hidden.

In: a ``Source``. Out: a ``Snapshot`` and its ``rows.parquet``. Laws: the digest depends on the source's bytes,
the personal columns and the hashing key alone; no clear value of a personal column touches the disk; a source
that changes while it is read is noticed and nothing is kept; rows keep their order.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol, runtime_checkable

import polars as pl

from roadworthy.errors import DataError, Problem, SourceError, nearest
from roadworthy.protocols import Reporter, Source
from roadworthy.records.data import Snapshot
from roadworthy.records.digests import Digest, digest_data
from roadworthy.transforms.cleaning import reserved_name

__all__ = ["ROWS_FILE", "STEPS", "Hashes", "WholeParquet", "run", "snapshot_digest"]

ROWS_FILE = "rows.parquet"
STEPS = 1
_FORMAT = 1  # of the snapshot: a change here makes every digest new
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


def snapshot_digest(source: Source, personal: tuple[str, ...], hasher: Hashes) -> Digest:
    """The digest that the source's snapshot will have. Without personal columns the key does not matter."""
    return digest_data(
        {
            "stage": "collect",
            "format": _FORMAT,
            "source": source.fingerprint(),
            "personal": sorted(set(personal)),
            "key": hasher.fingerprint if personal else "",
        }
    )


def run(  # noqa: PLR0917 - the pipeline calls every stage with records, folder, digest, reporter in this order
    source: Source, spec_personal: tuple[str, ...], hasher: Hashes, folder: Path, digest: Digest, reporter: Reporter
) -> Snapshot:
    """Write the source's rows to ``folder/rows.parquet`` in pieces and return their record.

    Raises SourceError when the source cannot be read or changes meanwhile, DataError when a personal column is
    not in it or a column has a name that Roadworthy keeps for itself.
    """
    before = source.fingerprint()
    rows = source.scan()
    columns = tuple(rows.collect_schema().names())
    _check_columns(columns, spec_personal, source.describe())
    target = folder / ROWS_FILE
    whole = source.parquet_path() if isinstance(source, WholeParquet) and not spec_personal else None
    if whole is not None:
        shutil.copyfile(whole, target)
    else:
        _write(rows, spec_personal, hasher, target)
    if source.fingerprint() != before:
        raise SourceError(
            f"{source.describe()} changed while it was read",
            problems=(Problem("other rows, or another order of rows, than at the start", expected="the same rows"),),
            next_step="run the same command again when nothing writes to the source; order a query's rows (order by …)",
        )
    count: int = pl.scan_parquet(target, glob=False).select(pl.len()).collect().item()
    reporter.advance("collect")
    return Snapshot(
        digest=digest,
        source=source.describe(),
        source_digest=before,
        rows=count,
        columns=columns,
        hashed=tuple(name for name in columns if name in spec_personal),
        notes=source.notes(),
    )


def _write(rows: pl.LazyFrame, personal: tuple[str, ...], hasher: Hashes, target: Path) -> None:
    hidden = [
        pl.col(name).map_batches(hasher.hash, return_dtype=pl.String, is_elementwise=True)
        for name in dict.fromkeys(personal)
    ]
    if hidden:
        rows = rows.with_columns(hidden)
    rows.sink_parquet(target, compression="lz4", row_group_size=_ROW_GROUP, maintain_order=True, engine="streaming")


def _check_columns(columns: tuple[str, ...], personal: tuple[str, ...], shown: str) -> None:
    problems = []
    for name in dict.fromkeys(personal):
        if name not in columns:
            close = nearest(name, columns)
            hint = f"; did you mean {close!r}?" if close else ""
            problems.append(Problem(f"no column {name!r}{hint}", where="[data] personal", expected=", ".join(columns)))
    if problems:
        raise DataError(
            f"personal columns are not in {shown}",
            problems=problems,
            next_step="mend personal in [data] of roadworthy.toml",
        )
    taken = [name for name in columns if reserved_name(name)]
    if taken:
        raise DataError(
            f"{shown} has columns whose names Roadworthy keeps for itself",
            problems=[Problem(f"column {name!r}", where=shown, expected="another name") for name in taken],
            next_step="rename them in the source",
        )

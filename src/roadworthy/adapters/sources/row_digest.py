"""The digest of rows that have no bytes of their own: frames, query results, remote files.

In: pieces of a table, in order. Out: one digest. Law: it depends on column names, types and values, and not on
where one piece ends and the next begins, nor on what lies under a null.
"""

from __future__ import annotations

import hashlib

import polars as pl

from roadworthy.records.digests import Digest, digest_data

__all__ = ["RowDigest", "digest_rows"]


class RowDigest:
    """Folds pieces of one table into a digest."""

    def __init__(self) -> None:
        self._states: dict[str, tuple[str, list[hashlib._Hash]]] = {}
        self._rows = 0

    def update(self, piece: pl.DataFrame) -> None:
        """Take the next piece."""
        self._rows += len(piece)
        for series in piece:
            if series.name not in self._states:
                self._states[series.name] = (str(series.dtype), [hashlib.sha256() for _ in range(3)])
            masks, lengths, values = self._states[series.name][1]
            masks.update(series.is_null().cast(pl.UInt8).to_numpy().tobytes())
            plain = _plain(series)
            if plain.dtype == pl.String:
                array = plain.fill_null("").to_arrow()
                offsets_bytes = (len(plain) + 1) * 8
                lengths.update(plain.fill_null("").str.len_bytes().to_numpy().tobytes())
                _, offsets, data = array.buffers()
                if data is not None and offsets is not None:
                    end = int.from_bytes(offsets.slice(offsets_bytes - 8, 8).to_pybytes(), "little")
                    values.update(memoryview(data)[:end])
            else:
                values.update(plain.fill_null(0).to_numpy().tobytes())

    def digest(self) -> Digest:
        """The digest of all that was taken so far."""
        columns = [
            [name, dtype, *(state.hexdigest() for state in states)] for name, (dtype, states) in self._states.items()
        ]
        return digest_data({"rows": self._rows, "columns": columns})


def _plain(series: pl.Series) -> pl.Series:
    """Numbers for everything that is a number underneath, text for the rest."""
    dtype = series.dtype
    if dtype == pl.Boolean:
        return series.cast(pl.UInt8)
    if isinstance(dtype, (pl.Categorical, pl.Enum)) or dtype == pl.String:
        return series.cast(pl.String)
    if dtype.is_nested() or isinstance(dtype, (pl.Binary, pl.Object, pl.Null, pl.Decimal)):
        texts = [None if value is None else str(value) for value in series.to_list()]
        return pl.Series(series.name, texts, dtype=pl.String)
    return series.to_physical()


def digest_rows(rows: pl.LazyFrame, *, piece_rows: int = 1 << 18) -> Digest:
    """The digest of a LazyFrame, read in pieces."""
    state = RowDigest()
    for piece in rows.collect_batches(chunk_size=piece_rows, maintain_order=True):
        state.update(piece)
    return state.digest()

"""Transactions of the registry's database, for whatever is kept in it beside versions: windows, alerts, messages.

In: a database URL. Out: connections inside a transaction, one that changes or one that reads. Laws: opening creates or
migrates the tables; one change at a time, across processes; a failure of the database is a ``RegistryError``, a full
disk a ``StorageError``, and neither says a password.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from roadworthy.errors import RegistryError, StorageError
from roadworthy.lifecycle import schema
from roadworthy.lifecycle.opening import engines, parsed_url, watching

__all__ = ["Transactions"]

_LOOK = "see that it is there, whole and yours to read, or restore it from a backup (ROADWORTHY_REGISTRY names another)"


class Transactions:
    """The database at a URL. MissingExtra when its driver is not installed.

    ``watched``: it is only looked at, again and again; it is neither created nor migrated, and may be gone in between.
    """

    def __init__(self, url: str, *, watched: bool = False) -> None:
        parsed = parsed_url(url)
        self._shown = parsed.render_as_string(hide_password=True)
        if watched:
            self._reader = self._writer = watching(parsed)
            return
        self._reader, self._writer = engines(parsed)
        with self.changing() as connection:
            schema.migrate(connection)

    def close(self) -> None:
        """Give the connections back."""
        self._reader.dispose()

    @contextmanager
    def changing(self) -> Iterator[Connection]:
        """A transaction that changes; committed on a clean exit, gone without a trace on any other."""
        with self._translated(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that reads: all of it sees one state."""
        with self._translated(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            reason = str(error.orig)
            if "full" in reason or "readonly" in reason or "disk I/O" in reason:
                raise StorageError(
                    f"the registry {self._shown} cannot be written: {reason}",
                    next_step="free some disk space and run the command again; nothing was half-written",
                ) from error
            raise RegistryError(f"the registry {self._shown} does not answer: {reason}", next_step=_LOOK) from error
        except SQLAlchemyError as error:
            reason = str(error).splitlines()[0]
            raise RegistryError(f"the registry {self._shown} failed: {reason}", next_step=_LOOK) from error

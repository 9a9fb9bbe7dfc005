"""Whether the registry's file is still where it was: an open file goes on to be written after it was moved away.

In: the registry's URL, the transactions that a monitor holds open. Out: ``present``, asked before each turn. Laws:
while the file is gone nothing is read, written or made anew in its place, and whoever asks is told; where another file
stands there (a backup was restored), connections to the old one are given back first.
"""

from __future__ import annotations

from pathlib import Path

from roadworthy.errors import RegistryError
from roadworthy.lifecycle.opening import parsed_url
from roadworthy.lifecycle.transactions import Transactions

__all__ = ["Presence"]


class Presence:
    """Watches the file of a registry in SQLite; a server's database says itself when it is gone."""

    def __init__(self, url: str, transactions: Transactions) -> None:
        parsed = parsed_url(url)
        is_file = parsed.get_backend_name() == "sqlite" and parsed.database
        self._file = Path(parsed.database or "") if is_file else None
        self._transactions = transactions
        self._known = self._identity()

    def present(self) -> None:
        """Raises RegistryError while the file is gone."""
        if self._file is None:
            return
        found = self._identity()
        if found is None:
            raise RegistryError(
                f"the registry {self._file} is gone: it was moved or deleted while it was in use",
                next_step="put it back; what happened meanwhile is judged then, and nothing is lost",
            )
        if found != self._known:
            self._transactions.close()  # what is open is another file; the next connection opens this one
            self._known = found

    def _identity(self) -> tuple[int, int] | None:
        if self._file is None:
            return None
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

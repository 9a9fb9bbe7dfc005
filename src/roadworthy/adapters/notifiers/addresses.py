"""An address as it is declared, and the notifier that it means.

In: a text of ``[alerts] notify``. Out: a notifier, or a name. Law: what the environment gives (``${NAME}``) is put in
when a message is sent, and only then; until then nothing is imported and nothing can fail.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from roadworthy.adapters.notifiers.by_apprise import AppriseNotifier
from roadworthy.errors import Problem, UsageError

__all__ = ["DeclaredNotifier", "channel_name"]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def channel_name(address: str, digest: str) -> str:
    """What people may read of a channel: its scheme, or the variable that holds it, and six letters of its digest.

    >>> channel_name("slack://tokenA/tokenB", "scrypt:3fa9c1")
    'slack 3fa9c1'
    >>> channel_name("${PAGER}", "scrypt:3fa9c1")
    'PAGER 3fa9c1'
    """
    variable = _VARIABLE.match(address)
    scheme = variable[1] if variable else address.partition("://")[0]
    return f"{scheme} {digest.partition(':')[2][:6]}"


class DeclaredNotifier:
    """The notifier that an address means, opened with the first message.

    ``where`` is the place that an error names. ``environment`` is that of the process by default.
    """

    def __init__(
        self, address: str, environment: Mapping[str, str] | None = None, *, where: str = "[alerts] notify"
    ) -> None:
        self._address = address
        self._environment = os.environ if environment is None else environment
        self._where = where
        self._opened: AppriseNotifier | None = None

    def notify(self, key: str, title: str, body: str) -> None:
        """Send. UsageError for a variable that is not set, or an address of no service; else as AppriseNotifier."""
        self._open().notify(key, title, body)

    def takes_pictures(self) -> bool:
        """Whether the service takes pictures; UsageError as in ``notify``."""
        return self._open().takes_pictures()

    def notify_with(self, key: str, title: str, body: str, pictures: Mapping[str, bytes]) -> None:
        """As ``notify``, with PNG bytes by file name."""
        self._open().notify_with(key, title, body, pictures)

    def _open(self) -> AppriseNotifier:
        if self._opened is None:
            self._opened = AppriseNotifier(self._whole(), where=self._where)
        return self._opened

    def _whole(self) -> str:
        unset = [name for name in _VARIABLE.findall(self._address) if not self._environment.get(name)]
        if unset:
            raise UsageError(
                "an alert channel uses environment variables that are not set",
                problems=[Problem(f"${{{name}}} is not set", where=self._where, expected="a value") for name in unset],
                next_step=f"export {unset[0]}=… where the monitor runs",
            )
        return _VARIABLE.sub(lambda found: self._environment[found[1]], self._address)

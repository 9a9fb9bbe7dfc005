"""Who does something where nobody is named: the login name.

In: the environment. Out: a name. Law: it is what the environment claims, and no proof.
"""

from __future__ import annotations

import getpass
import os

__all__ = ["login"]


def login() -> str:
    """The login name; the user's number where there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"

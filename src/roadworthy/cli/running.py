"""How a command ends: its result on standard output, an error as one message, the exit code.

In: results and exceptions. Out: text, JSON, and exit codes. A fault of Roadworthy's own (70) names the file where
the whole traceback was left, so that none is thrown at a person.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.errors import RoadworthyError, StorageError

__all__ = ["FAULT", "shown_error", "told"]

FAULT = 70
"""Exit code of a fault of Roadworthy's own (``EX_SOFTWARE``)."""

_INTERRUPTED = 130


def told(data: Any, text: str, *, as_json: bool) -> None:
    """The result, as JSON or as text."""
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(data, enc_hook=_plain), indent=2).decode() + "\n")
    else:
        sys.stdout.write(text.rstrip("\n") + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


@contextmanager
def shown_error() -> Iterator[None]:
    """Turn exceptions into messages and exit codes."""
    try:
        yield
    except RoadworthyError as error:
        _show(error)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; finished stages are kept\n")
        raise SystemExit(_INTERRUPTED) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; nothing more to say
        raise SystemExit(0) from None
    except MemoryError:
        _show(StorageError("the machine's memory is not enough for this", next_step="use a machine with more of it"))
        raise SystemExit(2) from None
    except Exception as error:  # noqa: BLE001 - the edge: whatever is left is a fault of our own
        _show_fault(error)
        raise SystemExit(FAULT) from None


def _show(error: RoadworthyError) -> None:
    if "--json" in sys.argv:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(error.as_dict()), indent=2).decode() + "\n")
    sys.stderr.write(f"error: {error}\n")


def _show_fault(error: Exception) -> None:
    handle, place = tempfile.mkstemp(prefix="roadworthy-fault-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        traceback.print_exception(error, file=stream)
    sys.stderr.write(
        f"error: a fault of Roadworthy's own: {type(error).__name__}: {error}\n"
        f"  - nothing half-written was registered; finished stages are kept\n"
        f"next: report it with {place}\n"
    )

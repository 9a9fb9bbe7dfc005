"""How a command ends: its result on standard output, an error as one message, the exit code.

In: results and exceptions. Out: text, JSON, and exit codes. A fault of Roadworthy's own (70) names the file where
the whole traceback was left, so that none is thrown at a person.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec

from roadworthy.errors import Problem, RoadworthyError, StorageError

__all__ = ["FAULT", "shown_error", "silence", "told"]

FAULT = 70
"""Exit code of a fault of Roadworthy's own (``EX_SOFTWARE``)."""

_INTERRUPTED = 130
_STOPPED = "\nstopped; the stages that a run has finished are kept\n"
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def told(data: Any, text: str, *, as_json: bool) -> None:
    """The result, as JSON or as text."""
    if as_json:
        _write(_escaped(msgspec.json.format(msgspec.json.encode(data, enc_hook=_plain), indent=2).decode()))
    else:
        _write(_harmless(text.rstrip("\n")))


def _harmless(text: str) -> str:
    """Foreign text that moves no cursor and colours nothing; line ends stay."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def _escaped(document: str) -> str:
    """The same JSON with control characters, which only stand inside its texts, as JSON escapes them."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


def _write(text: str) -> None:
    """Text on standard output, in letters that it can show; when its reader has left, nothing more is said."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)


def silence(stream: IO[str]) -> None:
    """Let all that is still written to a stream whose reader has left go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


@contextmanager
def shown_error() -> Iterator[None]:
    """Turn exceptions into messages and exit codes."""
    _open_streams()
    try:
        yield
    except RoadworthyError as error:
        _show(error)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        sys.stderr.write(_STOPPED)
        raise SystemExit(_INTERRUPTED) from None
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # Typer has turned the interrupt into its exit code already
            sys.stderr.write(_STOPPED)
        raise
    except BrokenPipeError:
        silence(sys.stdout)
        silence(sys.stderr)
        raise SystemExit(0) from None
    except OSError as error:
        raise SystemExit(_show_os_error(error)) from None
    except MemoryError:
        _show(StorageError("the machine's memory is not enough for this", next_step="use a machine with more of it"))
        raise SystemExit(2) from None
    except Exception as error:  # noqa: BLE001 - the edge: whatever is left is a fault of our own
        _show_fault(error)
        raise SystemExit(FAULT) from None


def _open_streams() -> None:
    """A stream that was closed before the start (``>&-``) takes everything and keeps nothing."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - open until the process ends
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - as above


def _show(error: RoadworthyError) -> None:
    if "--json" in sys.argv:
        _write(_escaped(json.dumps(error.as_dict(), indent=2, ensure_ascii=False)))
    _complain(f"error: {error}\n")


def _complain(text: str) -> None:
    """A message on standard error."""
    try:
        sys.stderr.write(_harmless(text))
        sys.stderr.flush()
    except BrokenPipeError:
        silence(sys.stderr)


def _show_os_error(error: OSError) -> int:
    """A disk that is full or forbidden is told as such; any other is a fault of our own. The exit code."""
    from roadworthy.adapters.lake import storage_reason  # noqa: PLC0415 - heavy, and only this error needs it

    try:
        sys.stdout.flush()
    except OSError:
        silence(sys.stdout)  # what could not be written is not tried again at the end
    reason = storage_reason(error)
    if reason is None:
        _show_fault(error)
        return FAULT
    where = str(error.filename or "the output")
    full = StorageError(f"{where} cannot be written: {reason}", next_step="free some space, or write elsewhere")
    _show(full)
    return full.exit_code


def _show_fault(error: Exception) -> None:
    """What broke and where; never a foreign exception's own words, which may quote cells of personal columns."""
    try:
        handle, place = tempfile.mkstemp(prefix="roadworthy-fault-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.writelines(_account(error))
    except OSError:  # a container without a folder to write into: what broke must be told all the same
        _complain("".join(_account(error)))
        place = "what stands above"
    found = RoadworthyError(
        f"a fault of Roadworthy's own: {type(error).__name__}",
        problems=(Problem("nothing half-written was registered; finished stages are kept"),),
        next_step=f"report it with {place}",
    )
    _show(found)


def _account(error: BaseException) -> Iterator[str]:
    """The exceptions that led here, the first one first: of each its frames and its type."""
    chain: list[BaseException] = []
    last: BaseException | None = error
    while last is not None and last not in chain:
        chain.append(last)
        last = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
    for one in reversed(chain):
        yield from traceback.format_tb(one.__traceback__)
        own = isinstance(one, RoadworthyError)
        yield f"{type(one).__module__}.{type(one).__qualname__}{f': {one}' if own else ''}\n\n"

"""The journal of a run: what happened, line by line, while it happens; kept in ``.roadworthy/runs/<id>/journal.jsonl``.

In: the calls that a ``Reporter`` gets, the table's rows, how it ended. Out: a file of JSON lines, and ``Journal``, what
can be read of it. Laws: a run that is killed leaves all lines but perhaps the last; while it lives it holds a lock on
its journal, which no dead process does; a journal that cannot be written stops no run, and the run says so; of an
exception that is not ours stand type and frames, never its words, which may quote cells of personal columns; at most
``MOST_RUNS`` runs and ``MOST_BYTES`` of each are kept.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Final

import msgspec

from roadworthy.adapters.run_events import (
    Advanced,
    Began,
    Concluded,
    Ended,
    Epoch,
    Event,
    Failed,
    StageDone,
    Started,
    Stopped,
    decode,
    encode,
)
from roadworthy.errors import RoadworthyError, StorageError
from roadworthy.protocols import Reporter
from roadworthy.records.model import ProgressLine
from roadworthy.records.version import StageRow, Version

__all__ = [
    "MOST_RUNS",
    "Advanced",
    "Began",
    "Concluded",
    "Ended",
    "Epoch",
    "Event",
    "Failed",
    "Journal",
    "RunJournal",
    "StageDone",
    "Started",
    "Stopped",
    "kept_journal",
    "read_journal",
    "run_ids",
    "runs_folder",
]

MOST_RUNS: Final = 200
"""How many are kept, the newest."""

MOST_BYTES: Final = 4 << 20
"""Of one journal; beyond it only beginnings and ends are written."""

_FILE = "journal.jsonl"
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
_STEP_US = 500_000
"""How often one piece of work tells how far it is, and one training its epochs beyond the first ones."""
_FIRST_EPOCHS = 100
_BEAT_S = 10.0
_ACCOUNT, _WORDS, _PROBLEM = 20_000, 4_000, 600
"""Signs of an account, of a sentence, of one problem of at most fifty."""
_END = 128 << 10


_AT_ANY_SIZE = (Started, Began, Ended, StageDone, Failed, Stopped, Concluded)


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in a journal. ``alive``: its run holds it still. ``seen_us`` is the last sign of life.

    ``torn``: a line cannot be read, and nothing after it was.
    """

    id: str
    events: tuple[Event, ...]
    alive: bool
    seen_us: int
    torn: bool = False

    @property
    def started(self) -> Started | None:
        """How it began; None where even that line is not whole."""
        first = self.events[0] if self.events else None
        return first if isinstance(first, Started) else None


def runs_folder(lake: Path) -> Path:
    """Where the journals of runs lie in a lake."""
    return lake / "runs"


# --- writing --------------------------------------------------------------------------------------------------------


class RunJournal:
    """A ``Reporter`` that writes down what it hears and passes it on to ``beside``."""

    def __init__(self, beside: Reporter) -> None:
        self._beside = beside
        self._handle: int | None = None
        self._size = 0
        self._open: list[str] = []
        self._done: dict[str, int] = {}
        self._told_us: dict[str, int] = {}
        self._over = threading.Event()
        self.id = ""

    def open(self, folder: Path, project: str) -> None:
        """Begin a new journal in ``folder``, and let go of those that are too many."""
        try:
            self.id, self._handle = _fresh(folder)
        except OSError as error:
            self._give_up(error)
            return
        with suppress(OSError):  # another run lets go of the same ones: what stays goes next time
            _forget(folder, self.id)
        self._write(
            Started(
                at_us=_now_us(),
                project=project,
                roadworthy=library_version("roadworthy"),
                host=_host(),
                pid=os.getpid(),
            ),
        )
        threading.Thread(target=self._beat, name="run-journal", daemon=True).start()

    def close(self) -> None:
        """Let the journal go."""
        self._over.set()
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def begin(self, task: str, total: int | None = None) -> None:
        """A piece of work starts."""
        self._write(Began(at_us=_now_us(), task=task[:_WORDS], total=total, inside=len(self._open)))
        self._open.append(task)
        self._done[task] = 0
        self._beside.begin(task, total)

    def advance(self, task: str, steps: int = 1) -> None:
        """Steps of it are done; written down twice a second at most."""
        self._done[task] = self._done.get(task, 0) + steps
        if self._due(task):
            self._write(Advanced(at_us=_now_us(), task=task[:_WORDS], done=self._done[task]))
        self._beside.advance(task, steps)

    def end(self, task: str, summary: str = "", *, reused: bool = False) -> None:
        """It is done."""
        self._write(Ended(at_us=_now_us(), task=task[:_WORDS], summary=summary[:_WORDS], reused=reused))
        if task in self._open:
            self._open.remove(task)
        self._told_us.pop(task, None)
        self._beside.end(task, summary, reused=reused)

    def line(self, line: ProgressLine) -> None:
        """One epoch or round: the first hundred of a training, then twice a second."""
        if self._due(f"epochs of {line.candidate}") or line.step <= _FIRST_EPOCHS:
            self._write(Epoch(at_us=_now_us(), line=line))
        self._beside.line(line)

    def stage(self, row: StageRow) -> None:
        """A stage is done, with its shapes."""
        self._write(StageDone(at_us=_now_us(), row=row))

    def concluded(self, version: Version) -> None:
        """The run came to its end."""
        verdict = version.verdict
        self._write(
            Concluded(
                at_us=_now_us(),
                number=version.number,
                title=version.title,
                readiness=verdict.readiness.value,
                sentence=verdict.sentence[:_WORDS],
            )
        )

    def broke(self, error: BaseException) -> None:
        """The run did not come to its end."""
        task = self._open[-1] if self._open else ""
        if isinstance(error, KeyboardInterrupt):
            self._write(Stopped(at_us=_now_us(), task=task))
            return
        own = error if isinstance(error, RoadworthyError) else None
        self._write(
            Failed(
                at_us=_now_us(),
                error=type(error).__name__,
                message=f"a fault of Roadworthy's own: {type(error).__name__}" if own is None else own.message[:_WORDS],
                problems=() if own is None else tuple(str(one)[:_PROBLEM] for one in own.problems[:50]),
                next_step="" if own is None else own.next_step[:_WORDS],
                account=_account(error),
                task=task[:_WORDS],
            )
        )

    def _due(self, task: str) -> bool:
        now_us = _now_us()
        if now_us - self._told_us.get(task, 0) < _STEP_US:
            return False
        self._told_us[task] = now_us
        return True

    def _write(self, event: Event) -> None:
        if self._handle is None:
            return
        line = encode(event) + b"\n"
        if self._size + len(line) > MOST_BYTES and not isinstance(event, _AT_ANY_SIZE):
            return
        try:
            self._size += os.write(self._handle, line)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.close()
        self._beside.end("journal", f"what happens in this run is not written down: {error.strerror or error}")

    def _beat(self) -> None:
        """A sign of life for whoever reads from another machine, where the lock is not seen."""
        while not self._over.wait(_BEAT_S):
            handle = self._handle
            if handle is not None:
                with suppress(OSError):  # closed just now, or a disk that is away: the next beat tells
                    os.utime(handle)


@contextmanager
def kept_journal(folder: Path, project: str, reporter: Reporter) -> Iterator[RunJournal]:
    """The journal of one run, which passes on to ``reporter`` what it hears; how the run broke is its last line."""
    journal = RunJournal(reporter)
    journal.open(folder, project)
    try:
        yield journal
    except BaseException as error:
        journal.broke(error)
        raise
    finally:
        journal.close()


def _fresh(folder: Path) -> tuple[str, int]:
    """A new journal that is held by this process."""
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    (folder / name).mkdir(parents=True)
    handle = os.open(folder / name / _FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return name, handle


def _forget(folder: Path, own: str) -> None:
    """Remove all but the newest runs; one that still goes on stays."""
    for name in run_ids(folder)[MOST_RUNS:]:
        file = folder / name / _FILE
        if name != own and not (file.exists() and _held(file)):
            file.unlink(missing_ok=True)
            if not any((folder / name).iterdir()):
                (folder / name).rmdir()


def _account(error: BaseException) -> str:
    """The exceptions that led here, the first one first: of each its frames and its type; the end where it is long."""
    chain: list[BaseException] = []
    last: BaseException | None = error
    while last is not None and last not in chain:
        chain.append(last)
        last = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
    told = []
    for one in reversed(chain):
        own = f": {one}" if isinstance(one, RoadworthyError) else ""
        told += [*traceback.format_tb(one.__traceback__), f"{type(one).__module__}.{type(one).__qualname__}{own}\n\n"]
    return "".join(told)[-_ACCOUNT:]


def _now_us() -> int:
    return time.time_ns() // 1000


def _host() -> str:
    return socket.gethostname()


# --- reading --------------------------------------------------------------------------------------------------------


def run_ids(folder: Path) -> tuple[str, ...]:
    """The runs whose journals are here, newest first."""
    if not folder.is_dir():
        return ()
    return tuple(sorted((one.name for one in folder.iterdir() if _ID.fullmatch(one.name)), reverse=True))


def read_journal(folder: Path, name: str, *, brief: bool = False) -> Journal | None:
    """One run's journal; None where there is none of that name. ``brief``: of a long one only how it began and ended.

    Raises StorageError where it cannot be read.
    """
    if not _ID.fullmatch(name):
        return None
    file = folder / name / _FILE
    try:
        alive = _held(file)  # before its lines: a run that ends meanwhile is told as running, never as dead
        content = _ends(file) if brief else file.read_bytes()
        seen_us = file.stat().st_mtime_ns // 1000
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"the journal {file} cannot be read: {error.strerror}") from error
    events, torn = _events(content)
    started = events[0] if events else None
    if isinstance(started, Started) and started.host != _host() and not alive:
        alive = _now_us() - seen_us < 3 * _BEAT_S * 1e6
    return Journal(id=name, events=tuple(events), alive=alive, seen_us=seen_us, torn=torn)


def _ends(file: Path) -> bytes:
    """The whole of a short journal; of a long one the first line and the last ones."""
    with file.open("rb") as stream:
        if os.fstat(stream.fileno()).st_size <= 2 * _END:
            return stream.read()
        first = stream.readline()
        stream.seek(-_END, os.SEEK_END)
        stream.readline()
        return first + stream.read()


def _events(content: bytes) -> tuple[list[Event], bool]:
    """The lines up to the first that is not whole."""
    events: list[Event] = []
    for line in content.splitlines():
        try:
            events.append(decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return events, True
    return events, False


def _held(file: Path) -> bool:
    """Whether the process that writes it is alive: its lock ends with it."""
    handle = os.open(file, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(handle)

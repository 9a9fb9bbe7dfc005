"""What a person at a terminal sees: work under way on standard error, and the result of a run.

In: the ``Reporter`` calls of a run, then its ``ReportView``. Out: lines. On a terminal, work that takes more than
a second has a bar with the time left, and training shows its latest epochs in place; elsewhere every line is plain
text, and there are few of them. Laws: nothing here writes to standard output unless it is given that console;
foreign text carries neither control characters nor markup; status is told by sign and word, never by colour alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from roadworthy.cli.running import silence
from roadworthy.cli.signs import Signs, plain
from roadworthy.formats.wording import NOTHING_FOUND, count, duration, number
from roadworthy.records.model import ProgressLine

__all__ = ["ConsoleReporter", "human_console"]

PATIENCE_S = 1.0
LIVE_LINES = 6
HEARTBEAT_S = 10.0


def human_console(*, stderr: bool = True) -> Console:
    """A console that obeys ``NO_COLOR`` and ``FORCE_COLOR``, never guesses at markup, and shows numbers as they are."""
    return _Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=False)


class _Console(Console):
    """A console whose reader may leave: the work goes on, unseen, and its exit code stands."""

    def on_broken_pipe(self) -> None:
        """Say nothing more."""
        self.quiet = True
        silence(self.file)


class _Work:
    """One piece of work under way."""

    def __init__(self, name: str, total: int | None, depth: int, now: float, bar: TaskID) -> None:
        self.name = name
        self.total = total
        self.depth = depth
        self.began = now
        self.done = 0
        self.bar = bar
        self.told = now


class _Epochs:
    """The latest lines of one candidate's training."""

    def __init__(self, candidate: str) -> None:
        self.candidate = candidate
        self.lines: list[ProgressLine] = []
        self.last_told = 0

    def add(self, line: ProgressLine) -> None:
        self.lines = [*self.lines, line][-LIVE_LINES:]


class ConsoleReporter:
    """A ``Reporter`` for people. Use it as a context manager, so that the terminal is whole after any failure.

    ``clock`` gives seconds that only grow. Work begun inside other work is indented and leaves a line only if it
    has a summary; checks that found nothing share one line.
    """

    def __init__(self, console: Console | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console if console is not None else human_console()
        self._signs = Signs.of(self._console.encoding)
        self._clock = clock
        self._works: dict[str, _Work] = {}
        self._epochs: _Epochs | None = None
        self._bars = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            auto_refresh=False,
        )
        self._live: Live | None = None
        self._quiet: list[tuple[str, float, int]] = []

    def __enter__(self) -> Self:
        """Start the part of the terminal that changes in place, where there is one."""
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(console=self._console, get_renderable=self._moving, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back; whatever was begun and never ended is named as stopped."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._tell_quiet()
        if kind is not None:
            for work in self._works.values():
                stopped = Text("  " * work.depth).append(self._signs.bad, style="red")
                self._print(stopped.append(f" {plain(work.name, self._signs)} stopped"))
        self._works.clear()

    def begin(self, task: str, total: int | None = None) -> None:
        """A piece of work starts; its bar is shown once it has lasted a second."""
        bar = self._bars.add_task(plain(task, self._signs, 40), total=total, left="")
        self._works[task] = _Work(task, total, len(self._works), self._clock(), bar)

    def advance(self, task: str, steps: int = 1) -> None:
        """Steps of it are done. Work that was never begun begins here."""
        if task not in self._works:
            self.begin(task)
        work = self._works[task]
        work.done += steps
        self._bars.update(work.bar, completed=work.done)
        now = self._clock()
        if self._live is None and now - work.told >= HEARTBEAT_S:
            work.told = now
            self._print(Text(f"{'  ' * (work.depth + 1)}{plain(work.name, self._signs)}: {self._progress(work)}"))

    def end(self, task: str, summary: str = "", *, reused: bool = False) -> None:
        """It is done: one line with what happened and how long it took."""
        work = self._works.pop(task, None)
        self._leave_epochs()
        seconds = self._clock() - work.began if work is not None else 0.0
        depth = work.depth if work is not None else 0
        if work is not None:
            self._bars.remove_task(work.bar)
        if depth and not summary:
            return
        if summary == NOTHING_FOUND:
            self._quiet.append((task, seconds, depth))
            return
        self._tell_quiet(depth)
        self._print(self._done(task, summary, seconds, depth, reused=reused))

    def _tell_quiet(self, depth: int = -1) -> None:
        """All that found nothing inside a piece of work that ends now, at ``depth``, as one line."""
        inside = [work for work in self._quiet if work[2] > depth]
        self._quiet = [work for work in self._quiet if work[2] <= depth]
        if inside:
            names = ", ".join(name for name, _, _ in inside)
            spent = sum(seconds for _, seconds, _ in inside)
            self._print(self._done(NOTHING_FOUND, names, spent, inside[0][2], reused=False))

    def line(self, line: ProgressLine) -> None:
        """One epoch or round: in place on a terminal; elsewhere the first ones, then fewer and fewer, and the last."""
        if self._epochs is None or self._epochs.candidate != line.candidate or line.step <= self._last_step():
            self._leave_epochs()
            self._epochs = _Epochs(line.candidate)
            if self._live is None:
                self._print(_epoch_head(line.candidate, self._signs))
        self._epochs.add(line)
        if self._live is None and _worth_telling(line.step):
            self._epochs.last_told = line.step
            self._print(_epoch_line(line))

    def _last_step(self) -> int:
        return self._epochs.lines[-1].step if self._epochs is not None and self._epochs.lines else 0

    def _leave_epochs(self) -> None:
        """The last line of a training always stays."""
        epochs, self._epochs = self._epochs, None
        if epochs is None or not epochs.lines:
            return
        last = epochs.lines[-1]
        if self._live is not None:
            self._print(Text(f"    {plain(epochs.candidate, self._signs, 24)} ").append_text(_epoch_words(last)))
        elif epochs.last_told != last.step:
            self._print(_epoch_line(last))

    def _done(self, task: str, summary: str, seconds: float, depth: int, *, reused: bool) -> RenderableType:
        line = Table.grid(padding=(0, 1))
        line.add_column(no_wrap=True)
        line.add_column(no_wrap=True, min_width=8 if depth == 0 else 0)
        line.add_column(ratio=1, overflow="fold")
        line.add_column(justify="right", no_wrap=True)
        line.expand = True
        sign = Text("  " * depth).append(self._signs.good, style="green")
        took = Text("reused", style="italic dim") if reused else Text(duration(seconds), style="dim")
        name = Text(plain(task, self._signs, 40), style="bold" if depth == 0 else "")
        line.add_row(sign, name, Text(plain(summary, self._signs, 400)), took)
        return line

    def _progress(self, work: _Work) -> str:
        if not work.total:
            return f"{count(work.done)} done" if work.done else duration(self._clock() - work.began)
        share = min(1.0, work.done / work.total)
        return f"{share:.0%}, {self._left(work)}" if work.done else f"{share:.0%}"

    def _left(self, work: _Work) -> str:
        """Time left, from the pace so far."""
        if not work.total or not work.done:
            return ""
        spent = self._clock() - work.began
        return f"{duration(spent / work.done * max(0, work.total - work.done))} left"

    def _moving(self) -> RenderableType:
        """What changes in place: the latest epochs, and a bar for each work older than a second."""
        now = self._clock()
        parts: list[RenderableType] = []
        epochs = self._epochs
        if epochs is not None and epochs.lines:
            parts.append(_epoch_table(epochs, self._signs))
        shown: list[Task] = []
        for work in list(self._works.values()):
            if now - work.began >= PATIENCE_S:
                self._bars.update(work.bar, left=self._progress(work))
                shown += [task for task in self._bars.tasks if task.id == work.bar]
        if shown:
            parts.append(self._bars.make_tasks_table(shown))
        return Group(*parts)

    def _print(self, what: RenderableType) -> None:
        if isinstance(what, Text) and not self._console.is_terminal:
            self._console.print(what, soft_wrap=True)
            return
        self._console.print(what)


def _worth_telling(step: int) -> bool:
    """Steps 1 to 10, then every tenth to 100, every hundredth to 1,000, and so on: about 9 lines per tenfold.

    >>> [step for step in range(1, 301) if _worth_telling(step)][8:14]
    [9, 10, 20, 30, 40, 50]
    """
    size = 1
    while size * 10 < step:
        size *= 10
    return step % size == 0


def _epoch_words(line: ProgressLine) -> Text:
    return Text(
        f"step {count(line.step)}: loss {number(line.train_loss)} training, {number(line.valid_loss)} validation; "
        f"quality {number(line.train_quality)}, {number(line.valid_quality)}",
        style="dim",
    )


_COLUMNS = ("step", "loss", "loss, valid", "quality", "quality, valid")


def _epoch_head(candidate: str, signs: Signs) -> Text:
    name = plain(candidate, signs, 16)
    return Text(f"  {name:<16}" + "".join(f"{column:>{len(column) + 3}}" for column in _COLUMNS))


def _epoch_cells(line: ProgressLine) -> tuple[str, ...]:
    losses = (line.train_loss, line.valid_loss, line.train_quality, line.valid_quality)
    return (count(line.step), *(f"{value:.4f}" for value in losses))


def _epoch_line(line: ProgressLine) -> Text:
    cells = zip(_epoch_cells(line), _COLUMNS, strict=True)
    return Text(f"  {'':<16}" + "".join(f"{cell:>{len(column) + 3}}" for cell, column in cells))


def _epoch_table(epochs: _Epochs, signs: Signs) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim", title_justify="left")
    table.add_column(plain(epochs.candidate, signs, 16), style="bold")
    for column in _COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for line in epochs.lines:
        table.add_row("", *_epoch_cells(line))
    return table

"""What a person sees while a run goes on and when it is over: in a terminal, in a pipe, without colour."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from roadworthy.cli.console import ConsoleReporter, human_console
from roadworthy.cli.outcome import show_run
from roadworthy.formats.report import ReportView, RequirementRow, StageRow
from roadworthy.protocols import Reporter
from roadworthy.records.evidence import Measurement, Phase
from roadworthy.records.model import ProgressLine
from roadworthy.records.verdict import Outcome, Readiness, RequirementVerdict

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Bytes(io.TextIOWrapper):
    """A text stream of a given encoding, kept in memory."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)

    def text(self) -> str:
        self.flush()
        raw = self.buffer
        assert isinstance(raw, io.BytesIO)
        return raw.getvalue().decode(self.encoding)


def pipe(stream: Any, width: int = 80) -> Console:
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def screen(stream: Any, **options: Any) -> Console:
    return Console(file=stream, width=80, force_terminal=True, highlight=False, markup=False, emoji=False, **options)


def line(step: int, candidate: str = "mlp") -> ProgressLine:
    return ProgressLine(
        candidate=candidate, step=step, train_loss=0.5, valid_loss=0.6, train_quality=0.8, valid_quality=0.7
    )


def requirement(outcome: Outcome, name: str, sentence: str, **measured: Any) -> RequirementRow:
    metric = name.split(maxsplit=1)[0]
    verdict = RequirementVerdict(
        requirement=name,
        metric=metric,
        phase=Phase.RELEASE,
        outcome=outcome,
        sentence=sentence,
        measurement=Measurement(metric=metric, **measured) if measured else None,
        rows_needed=410 if outcome is Outcome.INSUFFICIENT else 0,
    )
    return RequirementRow(verdict=verdict, at_least=0.8)


def view(**changes: Any) -> ReportView:
    fields: dict[str, Any] = {
        "project": "clicks",
        "version": "v3",
        "when": "now",
        "task": "binary",
        "target": "converted",
        "readiness": Readiness.NOT_READY,
        "sentence": "1 of 5 requirements fails.",
        "next_steps": ("Run `roadworthy run` again.",),
        "stages": (
            StageRow(stage="clean", did="200 rows quarantined", before="10,000 × 10", after="9,800 × 10", seconds=0.4),
            StageRow(stage="features", did="added click_rate", before="9,800 × 10", after="9,800 × 12", reused=True),
        ),
        "requirements": (
            requirement(
                Outcome.PASS, "accuracy >= 0.8", "It is proven.", value=0.893, lower=0.881, upper=0.905, n=1960
            ),
            requirement(Outcome.FAIL, "precision >= 0.8", "It is proven not to be.", value=0.7, lower=0.68, upper=0.72),
            requirement(Outcome.INSUFFICIENT, "recall >= 0.8", "It is open.", value=0.81, lower=0.7, upper=0.9),
            requirement(Outcome.ERROR, "skill >= 0.8", "The check broke."),
            requirement(Outcome.WAIVED, "f1 >= 0.8", "Waived by A. Rossi.", value=0.75, lower=0.7, upper=0.8),
        ),
    }
    return ReportView(**{**fields, **changes})


def shown(of: ReportView, width: int = 80, encoding: str = "utf-8") -> str:
    stream = Bytes(encoding)
    show_run(pipe(stream, width), of, places={"report": Path("runs/v3/report.html"), "bundle": Path("runs/v3/bundle")})
    return stream.text()


def test_it_is_a_reporter() -> None:
    reporter: Reporter = ConsoleReporter(pipe(io.StringIO()))
    assert isinstance(reporter, ConsoleReporter)


def test_a_stage_leaves_one_line_with_what_happened_and_how_long_it_took() -> None:
    stream, clock = io.StringIO(), Hands()
    with ConsoleReporter(pipe(stream), clock=clock) as reporter:
        reporter.begin("clean", total=10)
        clock.now = 0.4
        reporter.advance("clean", 10)
        reporter.end("clean", "10,000 × 10 → 9,800 × 10")
        reporter.begin("features")
        reporter.end("features", "9,800 × 10 → 9,800 × 12", reused=True)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert re.fullmatch(r"✔ clean +10,000 × 10 → 9,800 × 10 +0\.4 s *", lines[0])
    assert lines[1].rstrip().endswith("reused")
    assert "\x1b" not in stream.getvalue()


def test_inner_work_is_silent_unless_it_has_something_to_say() -> None:
    stream = io.StringIO()
    with ConsoleReporter(pipe(stream)) as reporter:
        reporter.begin("train")
        reporter.begin("fold 1")
        reporter.end("fold 1")
        reporter.begin("mlp")
        reporter.end("mlp", "80 epochs")
        reporter.end("train", "3 candidates")
    said = stream.getvalue()
    assert "fold 1" not in said
    assert re.search(r"^  ✔ mlp +80 epochs", said, re.MULTILINE)


def test_checks_that_found_nothing_share_one_line_of_the_work_they_belong_to() -> None:
    stream = Bytes()
    clock = Hands()
    with ConsoleReporter(pipe(stream), clock=clock) as reporter:
        reporter.begin("validate")
        for check, found in (("pitfalls", "nothing to report"), ("leaks", "1 fail"), ("slices", "nothing to report")):
            reporter.begin(check)
            clock.now += 2
            reporter.end(check, found)
        reporter.end("validate", "done")
        reporter.begin("alone")
        reporter.end("alone", "nothing to report")
    told = [re.sub(r"\s+", " ", told).strip() for told in stream.text().splitlines()]
    assert told == [
        "✔ leaks 1 fail 2.0 s",
        "✔ nothing to report pitfalls, slices 4.0 s",
        "✔ validate done 6.0 s",
        "✔ nothing to report alone 0.0 s",
    ]


def test_in_a_pipe_long_work_says_how_far_it_is_every_ten_seconds_with_the_time_left() -> None:
    stream, clock = io.StringIO(), Hands()
    with ConsoleReporter(pipe(stream), clock=clock) as reporter:
        reporter.begin("collect", total=100)
        for second in range(1, 51):
            clock.now = float(second)
            reporter.advance("collect", 1)
    told = [text.strip() for text in stream.getvalue().splitlines()]
    assert told[0] == "collect: 10%, 1 min 30 s left"
    assert len(told) == 5


def test_in_a_pipe_epochs_are_told_ever_more_rarely_and_the_last_always() -> None:
    stream = io.StringIO()
    with ConsoleReporter(pipe(stream)) as reporter:
        reporter.begin("train")
        for step in range(1, 5004):
            reporter.line(line(step))
        reporter.line(line(1, "gbdt"))
        reporter.end("train", "done")
    steps = re.findall(r"^ {10,}([\d,]+) ", stream.getvalue(), re.MULTILINE)
    assert steps[:10] == [str(step) for step in range(1, 11)]
    assert "5,003" in steps
    assert len(steps) < 45
    assert "gbdt" in stream.getvalue()


def test_a_second_training_of_the_same_candidate_starts_a_new_table() -> None:
    stream = io.StringIO()
    with ConsoleReporter(pipe(stream)) as reporter:
        reporter.begin("train")
        for _ in range(2):
            for step in (1, 2, 3):
                reporter.line(line(step))
        reporter.end("train", "done")
    assert stream.getvalue().count("mlp") == 2


def test_on_a_terminal_bars_wait_a_second_and_epochs_stay_in_place() -> None:
    stream, clock = io.StringIO(), Hands()
    with ConsoleReporter(screen(stream), clock=clock) as reporter:
        reporter.begin("train", total=100)
        clock.now = 0.5
        reporter.advance("train", 5)
        assert not rendered(reporter)
        for step in range(1, 41):
            reporter.line(line(step))
        clock.now = 10.0
        reporter.advance("train", 15)
        moving = rendered(reporter)
        assert "20%, 40 s left" in moving
        assert re.search(r"^ +40 +0\.5000", moving, re.MULTILINE)
        assert " 34 " not in moving
        reporter.end("train", "done")
        assert not rendered(reporter)
    plain = ESCAPES.sub("", stream.getvalue())
    assert "step 40: loss 0.500 training, 0.600 validation" in plain
    assert stream.getvalue().count("\x1b[?25l") == stream.getvalue().count("\x1b[?25h") == 1


def rendered(reporter: ConsoleReporter) -> str:
    stream = io.StringIO()
    pipe(stream).print(reporter._moving())
    return stream.getvalue().strip("\n")


def test_after_a_failure_the_terminal_is_whole_and_the_stopped_work_is_named() -> None:
    stream = io.StringIO()

    def fails() -> None:
        with ConsoleReporter(screen(stream)) as reporter:
            reporter.begin("train")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert stream.getvalue().count("\x1b[?25h") == 1
    assert "train stopped" in ESCAPES.sub("", stream.getvalue())


def test_foreign_text_brings_neither_control_characters_nor_markup() -> None:
    stream = io.StringIO()
    with ConsoleReporter(pipe(stream, 200)) as reporter:
        reporter.begin("[red]clean[/red]")
        reporter.end("[red]clean[/red]", "\x1b[31m[bold]x[/bold] :smile: " + "y" * 10_000)
    said = stream.getvalue()
    assert "\x1b" not in said
    assert "[red]clean[/red]" in said
    assert "[bold]x[/bold] :smile:" in said
    assert len(said) < 1000
    assert "\x1b" not in shown(view(sentence="\x1b[31mx", project="\x1b]0;x\x07"))


def test_the_result_names_every_requirement_unmet_ones_first_and_where_things_lie() -> None:
    said = shown(view())
    names = [said.index(name) for name in ("precision >=", "skill >=", "recall >=", "f1 >=", "accuracy >=")]
    assert names == sorted(names)
    for word in ("✘ fails", "! check broke", "? not proven", "~ waived", "✔ passes", "✘ NOT READY"):
        assert word in said
    for figure in ("0.893", "0.881 to 0.905", "About 410 more rows would settle it."):
        assert figure in said
    assert "10,000 × 10 → 9,800 × 10" in " ".join(said.split())
    assert "1. Run roadworthy run again." in said
    assert "runs/v3/report.html" in said
    assert "runs/v3/bundle" in said


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_nothing_is_wider_than_the_terminal_or_cut_off(width: int) -> None:
    said = shown(view(), width)
    assert max(len(text) for text in said.splitlines()) <= width
    assert "…" not in said
    assert "It is proven not to be." in " ".join(said.split())


def test_places_are_never_broken_so_that_they_can_be_copied() -> None:
    long = "/very/long" * 20 + "/report.html"
    stream = io.StringIO()
    show_run(pipe(stream), view(), places={"report": long})
    assert long in stream.getvalue()


def test_an_ascii_terminal_gets_ascii() -> None:
    said = shown(view(), encoding="ascii")
    said.encode("ascii")
    assert "10,000 x 10 -> 9,800 x 10" in " ".join(said.split())
    assert "x fails" in said


def test_no_color_is_obeyed_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = io.StringIO()
    show_run(screen(stream), view())
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", stream.getvalue())
    assert "✘ NOT READY" in ESCAPES.sub("", stream.getvalue())


def test_the_console_of_a_person_is_standard_error() -> None:
    assert human_console().stderr
    assert not human_console(stderr=False).stderr


def test_a_command_that_shows_progress_starts_without_the_drawing_libraries() -> None:
    code = (
        "import sys, roadworthy.cli.console, roadworthy.cli.outcome;"
        "print([name for name in ('altair', 'vl_convert', 'jinja2', 'polars', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

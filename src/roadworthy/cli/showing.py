"""What each command's result looks like, as text and as JSON.

In: what ``roadworthy.api`` returns. Out: standard output.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadworthy.cli.console import human_console
from roadworthy.cli.noticed import noticed
from roadworthy.cli.outcome import show_run
from roadworthy.cli.running import told
from roadworthy.cli.signs import Signs, plain
from roadworthy.errors import UsageError

if TYPE_CHECKING:
    from roadworthy.api import InitResult, Inspection, Prediction, RunOutcome, ScoreResult
    from roadworthy.api.registered import StatusView
    from roadworthy.graphs.trace import Trace, TraceLayer

__all__ = [
    "read_row",
    "show_init",
    "show_inspection",
    "show_prediction",
    "show_run_outcome",
    "show_score",
    "show_status",
    "show_trace",
]

_FEW = 6


def read_row(text: str) -> dict[str, Any]:
    """A row from JSON text, or from standard input for ``-``; UsageError says where it breaks.

    >>> read_row('{"clicks": 3}')
    {'clicks': 3}
    """
    example = """write it as '{"column": value, …}'"""
    try:
        content = sys.stdin.read() if text == "-" else text
        found = json.loads(content, parse_constant=_no_constant, object_pairs_hook=_fields)
        json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except RecursionError as error:
        raise UsageError("the row is not JSON of one level: it is nested too deep", next_step=example) from error
    except UnicodeError as error:
        raise UsageError("the row is not text: it is no UTF-8, or has half a surrogate pair", next_step=example) from (
            error
        )
    except ValueError as error:
        raise UsageError(f"the row is not JSON: {error}", next_step=example) from error
    if not isinstance(found, dict):
        raise UsageError("the row is no JSON object", next_step=example)
    return found


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise ValueError(f"it gives {', '.join(map(repr, twice))} more than once")
    return dict(pairs)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def show_init(result: InitResult, *, as_json: bool) -> None:
    """The project file's place and what was noticed."""
    found = result.inference
    signs = Signs.of(sys.stdout.encoding)
    table = f"{found.rows:,} rows, {len(found.contract.columns)} columns"
    lines = [
        f"wrote {result.file}: {found.task} task, target {found.target}, {table}",
        *(f"  {line}" for line in noticed(found)),
        f"next: look through {result.file}, then: roadworthy run",
    ]
    data = {"file": str(result.file), "project": result.spec, "findings": found.findings, "notes": found.notes}
    told(data, "\n".join(plain(line, signs, 1000) for line in lines), as_json=as_json)


def show_run_outcome(outcome: RunOutcome, *, as_json: bool) -> None:
    """The stage table, the verdict, and where the report and the bundle lie."""
    version = outcome.version
    if as_json:
        data = {
            "version": version.title,
            "readiness": version.verdict.readiness,
            "verdict": version.verdict,
            "stages": version.stages,
            "choice": outcome.result.records.validation.choice,
            "report": str(outcome.report),
            "bundle": str(outcome.bundle),
        }
        told(data, "", as_json=True)
        return
    places = {"report": _near(outcome.report), "bundle": _near(outcome.bundle)}
    seen = sys.stdout.isatty() and sys.stderr.isatty()  # one terminal: the stages have just gone by
    show_run(human_console(stderr=False), outcome.view, places=places, stages=not seen)


def _near(path: Path) -> str:
    """The path as seen from here, where that is shorter."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def show_inspection(found: Inspection, *, as_json: bool, places: Mapping[str, Path] | None = None) -> None:
    """The requirements, the findings, what each check came to, the verdict; ``places`` are the files that were written.

    As JSON the whole inspection.
    """
    if as_json:
        told(found, "", as_json=True)
        return
    from roadworthy.cli.inspected import show_inspected  # noqa: PLC0415 - only here
    from roadworthy.views import inspection_view  # noqa: PLC0415 - as above

    near = {what: _near(path) for what, path in (places or {}).items()}
    show_inspected(human_console(stderr=False), inspection_view(found), near)


def show_prediction(answer: Prediction, *, as_json: bool) -> None:
    """Score, decision and version in three lines."""
    lines = []
    if answer.referred and answer.scores:
        lines.append("decision  none: a person is to decide")
        lines.extend(f"  {label}: {score:.6f}" for label, score in answer.scores.items())
    elif answer.decision:
        cut = f" (threshold {answer.threshold:.4f})" if answer.threshold is not None else ""
        lines.append(f"decision  {answer.decision}{cut}")
        lines.extend(f"  {label}: {score:.6f}" for label, score in answer.scores.items())
    else:
        between = f" (from {answer.interval[0]:.6g} to {answer.interval[1]:.6g})" if answer.interval else ""
        lines.append(f"estimate  {answer.score}{between}")
    lines.extend(f"refer     {reason}" for reason in answer.referred)
    lines.append(f"version   {answer.version}")
    lines.extend(f"note: {note}" for note in answer.notes)
    told(answer, "\n".join(lines), as_json=as_json)


def show_trace(traced: Trace, *, as_json: bool) -> None:
    """One block per layer: name, shape, summary, first values."""
    signs = Signs.of(sys.stdout.encoding)
    text = "\n".join(plain(line, signs, 400) for layer in traced.layers for line in _layer_lines(layer))
    told(traced, text, as_json=as_json)


def _layer_lines(layer: TraceLayer) -> list[str]:
    shape = " × ".join(str(size) for size in layer.shape)
    head = f"{layer.name}  [{shape}]"
    if layer.lowest is not None and layer.mean is not None and layer.highest is not None and layer.count > 1:
        zeros = "" if layer.zeros is None else f", {layer.zeros:.0%} zeros"
        head += f"  {layer.lowest:.4g} to {layer.highest:.4g}, mean {layer.mean:.4g}{zeros}"
    values = [_value(value) for value in layer.values]
    if layer.labels:
        values = [f"{label} = {value}" for label, value in zip(layer.labels, values, strict=False)]
    shown = values if layer.labels else values[: 2 * _FEW]
    more = layer.count - len(shown)
    return [head, "    " + ", ".join(shown) + (f", … {more} more" if more > 0 else "")]


def _value(value: float | str | None) -> str:
    if value is None:
        return "missing"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def show_score(result: ScoreResult, *, as_json: bool) -> None:
    """How many rows were answered, how fast, and why the others were not."""
    pace = result.rows / result.seconds if result.seconds else 0.0
    took = f"{result.seconds:.1f} s ({pace:,.0f} rows/s)"
    lines = [
        f"{result.answered:,} of {result.rows:,} rows answered by {result.version} in {took}: {result.out}",
        *([f"  {result.referred:,} of them are left to a person to decide"] if result.referred else []),
        *(f"  {count:,} rows without an answer: {problem}" for problem, count in result.problems.items()),
        *(f"note: {note}" for note in result.notes),
    ]
    told(result, "\n".join(lines), as_json=as_json)


def show_status(view: StatusView, *, as_json: bool) -> None:
    """The versions, newest first."""
    champion = f"champion is version {view.champion}" if view.champion else "no champion yet"
    lines = [f"{view.project}: {champion}; the audit chain of {view.audit_links} links holds"]
    for version in view.versions:
        mark = "*" if version.champion else " "
        lines.append(f"{mark} {version.number:>4}  {version.readiness:<10}  {version.created_at}  {version.sentence}")
        lines.append(f"        report {version.report or 'removed'}")
    if not view.versions:
        lines.append("no version yet; next: roadworthy run")
    if view.monitor is not None:
        lines.append(view.monitor.sentence)
        lines += [f"look first: {view.monitor.look_first}"] if view.monitor.look_first else []
    told(view, "\n".join(lines), as_json=as_json)

"""The command ``package``: its words read, its work shown, its result shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from roadworthy.cli.app import _DEFAULT_PROJECT, AsJson, ProjectFile, app
from roadworthy.cli.running import told

if TYPE_CHECKING:
    from roadworthy.api import Packaged

__all__ = ["package"]


@app.command(epilog="Example: roadworthy package model.onnx fresh.parquet --target converted")
def package(
    model: Annotated[str, typer.Argument(help="an ONNX, LightGBM or XGBoost file that others made")],
    data: Annotated[str, typer.Argument(help="labelled rows that it was not trained on: file, glob, directory or URL")],
    *,
    target: Annotated[str, typer.Option("--target", "-t", metavar="<column>", help="the column with the labels")],
    name: Annotated[str, typer.Option("--name", help="the name of a first project; the model's own by default")] = "",
    standard: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads this form on every supported Python
        typer.Option("--standard", help="a TOML file with [standard] for a first project; else the preset service"),
    ] = None,
    positive: Annotated[
        str, typer.Option("--positive", metavar="<label>", help="the label that counts as the event")
    ] = "",
    threshold: Annotated[
        Optional[float],  # noqa: UP045 - as above
        typer.Option("--threshold", help="positive from this probability on; 0.5, or the project's own, by default"),
    ] = None,
    train: Annotated[
        str, typer.Option("--train", metavar="<data>", help="rows that the model learned from: leaks, overfitting")
    ] = "",
    time: Annotated[str, typer.Option("--time", metavar="<column>", help="the column with the time of a row")] = "",
    entity: Annotated[
        str, typer.Option("--entity", metavar="<column>", help="the column that says whose row it is")
    ] = "",
    protected: Annotated[
        Optional[list[str]],  # noqa: UP045 - as above
        typer.Option("--protected", metavar="<column>", help="a column whose groups are compared; may be repeated"),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="look at fewer rows: seconds instead of a minute")] = False,
    project: ProjectFile = _DEFAULT_PROJECT,
    as_json: AsJson = False,
) -> None:
    """Make a bundle and a version of a model that others trained, judged like one of our own."""
    from roadworthy import api  # noqa: PLC0415 - heavy, and --help must not wait for it
    from roadworthy.cli.console import ConsoleReporter  # noqa: PLC0415 - as above

    with ConsoleReporter() as reporter:
        found = api.package(
            model,
            data,
            target=target,
            project=project,
            name=name,
            standard=standard,
            positive=positive,
            threshold=threshold,
            train=train or None,
            time=time,
            entity=entity,
            protected=protected or (),
            quick=quick,
            reporter=reporter,
        )
    _show(found, as_json=as_json)
    raise typer.Exit(found.version.verdict.exit_code)


def _show(found: Packaged, *, as_json: bool) -> None:
    """The inspection, what was said on the way, where things lie, and what comes next."""
    version = found.version
    if as_json:
        data = {
            "version": version.title,
            "readiness": version.verdict.readiness,
            "verdict": version.verdict,
            "inspection": found.inspection,
            "notes": found.notes,
            "bundle": str(found.bundle),
            "report": str(found.report),
            "project": str(found.project),
            "wrote_project": found.wrote,
        }
        told(data, "", as_json=True)
        return
    from roadworthy.cli.showing import show_inspection  # noqa: PLC0415 - only here

    places = {"report": found.report, "bundle": found.bundle}
    show_inspection(found.inspection, as_json=False, places=places)
    own = [note for note in found.notes if note not in found.inspection.notes]
    lines = [f"note: {note}" for note in own]
    if found.wrote:
        lines.append(f"wrote {found.project}: the contract and the standard are yours to edit")
    lines.append(f"registered as {version.title}: {version.verdict.readiness}")
    if version.verdict.exit_code == 0:
        lines.append(f"next: roadworthy promote {version.number}, then roadworthy serve")
    told({}, "\n".join(lines), as_json=False)

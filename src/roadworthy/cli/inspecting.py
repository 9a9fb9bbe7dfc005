"""The command ``inspect``: its words read, its work shown, its result shown and written."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import Annotated, Optional

import typer

from roadworthy.cli.app import AsJson, ProjectFile, app

__all__ = ["inspect"]

_Written = Optional[Path]  # noqa: UP045 - typer reads this form on every supported Python


@app.command(epilog="Example: roadworthy inspect model.onnx fresh.parquet --target converted --report report.html")
def inspect(
    model: Annotated[
        str,
        typer.Argument(
            help="an ONNX, LightGBM or XGBoost file, a bundle's folder, latest, champion, a number, "
            "or http://HOST/v2/models/NAME"
        ),
    ],
    data: Annotated[str, typer.Argument(help="labelled rows: file, glob, directory or URL")],
    *,
    target: Annotated[str, typer.Option("--target", "-t", metavar="<column>", help="the column with the labels")],
    standard: Annotated[
        _Written,
        typer.Option(
            "--standard", help="a TOML file with [standard]; by default a bundle's own, else the preset service"
        ),
    ] = None,
    positive: Annotated[
        str, typer.Option("--positive", metavar="<label>", help="the label that counts as the event")
    ] = "",
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
    report: Annotated[_Written, typer.Option("--report", help="write the inspection as one HTML page")] = None,
    junit: Annotated[_Written, typer.Option("--junit", help="write JUnit XML, for CI")] = None,
    markdown: Annotated[_Written, typer.Option("--markdown", help="write Markdown, for a pull request")] = None,
    project: ProjectFile = Path("roadworthy.toml"),
    as_json: AsJson = False,
) -> None:
    """Inspect a model on labelled rows, whoever trained it, and judge it."""
    from roadworthy import api  # noqa: PLC0415 - heavy, and --help must not wait for it
    from roadworthy.cli.console import ConsoleReporter  # noqa: PLC0415 - as above
    from roadworthy.cli.showing import show_inspection  # noqa: PLC0415 - as above
    from roadworthy.cli.written import refuse_unwritable, write_outputs  # noqa: PLC0415 - as above

    refuse_unwritable([path for path in (report, junit, markdown) if path is not None])
    begun = monotonic()
    with ConsoleReporter() as reporter:
        found = api.inspect(
            model,
            data,
            target=target,
            standard=standard,
            positive=positive,
            project=project,
            train=train or None,
            time=time,
            entity=entity,
            protected=protected or (),
            quick=quick,
            reporter=reporter,
        )
    seconds = monotonic() - begun
    places = write_outputs(found, report=report, junit=junit, markdown=markdown, seconds=seconds)
    show_inspection(found, as_json=as_json, places=places)
    raise typer.Exit(found.verdict.exit_code)

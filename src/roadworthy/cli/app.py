"""The commands: each reads its words, calls ``roadworthy.api``, and shows what comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from roadworthy.cli.running import shown_error, told

__all__ = ["app", "main"]

app = typer.Typer(
    name="roadworthy",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Takes a model from raw rows to monitored production and holds it to one declared standard all the way.",
)

ProjectFile = Annotated[Path, typer.Option("--project", "-p", help="the project file, or the folder it stands in")]
AsJson = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
WhichVersion = Annotated[str, typer.Option("--version", "-v", help="a number, champion, or latest")]
History = Annotated[
    Optional[str],  # noqa: UP045 - typer reads this form on every supported Python
    typer.Option("--history", help="past rows for features that look at an entity's past"),
]

_DEFAULT_PROJECT = Path("roadworthy.toml")


@app.command(epilog="Example: roadworthy init data/clicks.parquet --target converted")
def init(
    data: Annotated[str, typer.Argument(help="file, glob, directory or URL")],
    *,
    target: Annotated[str, typer.Option("--target", "-t", help="the column to predict")],
    folder: Annotated[Path, typer.Option("--folder", help="where the project file is written")] = Path(),
    name: Annotated[str, typer.Option("--name", help="the project's name; the data's own by default")] = "",
    task: Annotated[str, typer.Option("--task", help="binary, multiclass or regression; inferred by default")] = "",
    force: Annotated[bool, typer.Option("--force", help="write an existing project file anew")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a first project file for some data, and make the project's keys."""
    from roadworthy import api  # noqa: PLC0415 - heavy, and --help must not wait for it
    from roadworthy.cli.showing import show_init  # noqa: PLC0415 - as above

    result = api.init(data, target=target, folder=folder, name=name, task=task or None, force=force)
    show_init(result, as_json=as_json)


@app.command(epilog="Example: roadworthy run")
def run(*, project: ProjectFile = _DEFAULT_PROJECT, as_json: AsJson = False) -> None:
    """Run the seven stages, judge the result, write report.html, register the version."""
    from roadworthy import api  # noqa: PLC0415 - as above
    from roadworthy.cli.console import ConsoleReporter  # noqa: PLC0415 - as above
    from roadworthy.cli.showing import show_run_outcome  # noqa: PLC0415 - as above

    with ConsoleReporter() as reporter:
        outcome = api.run(project, reporter=reporter)
    show_run_outcome(outcome, as_json=as_json)
    raise typer.Exit(outcome.result.verdict.exit_code)


@app.command(epilog="""Example: roadworthy predict '{"impressions": 10, "clicks": 4, "device": "phone"}'""")
def predict(
    row: Annotated[str, typer.Argument(help="one row as a JSON object; - reads standard input")],
    *,
    version: WhichVersion = "latest",
    history: History = None,
    project: ProjectFile = _DEFAULT_PROJECT,
    as_json: AsJson = False,
) -> None:
    """Answer one row."""
    from roadworthy import api  # noqa: PLC0415 - as above
    from roadworthy.cli.showing import read_row, show_prediction  # noqa: PLC0415 - as above

    show_prediction(api.predict(read_row(row), project, version=version, history=history), as_json=as_json)


@app.command(epilog="""Example: roadworthy trace '{"impressions": 10, "clicks": 4, "device": "phone"}'""")
def trace(
    row: Annotated[str, typer.Argument(help="one row as a JSON object; - reads standard input")],
    *,
    version: WhichVersion = "latest",
    history: History = None,
    model: Annotated[
        Optional[Path],  # noqa: UP045 - as above
        typer.Option("--model", help="any ONNX file instead of a registered version"),
    ] = None,
    project: ProjectFile = _DEFAULT_PROJECT,
    as_json: AsJson = False,
) -> None:
    """Show one prediction layer by layer, from the ONNX graph itself."""
    from roadworthy import api  # noqa: PLC0415 - as above
    from roadworthy.cli.showing import read_row, show_trace  # noqa: PLC0415 - as above

    show_trace(api.trace(read_row(row), project, version=version, history=history, model=model), as_json=as_json)


@app.command(epilog="Example: roadworthy score march.csv --out answers.parquet")
def score(
    data: Annotated[str, typer.Argument(help="the rows to answer")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="a .parquet or .csv file")],
    version: WhichVersion = "latest",
    history: History = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="threads of the model graph")] = 1,
    project: ProjectFile = _DEFAULT_PROJECT,
    as_json: AsJson = False,
) -> None:
    """Answer a file of any size."""
    from roadworthy import api  # noqa: PLC0415 - as above
    from roadworthy.cli.console import ConsoleReporter  # noqa: PLC0415 - as above
    from roadworthy.cli.showing import show_score  # noqa: PLC0415 - as above

    with ConsoleReporter() as reporter:
        result = api.score(data, out, project, version=version, history=history, threads=threads, reporter=reporter)
    show_score(result, as_json=as_json)


@app.command(epilog="Example: roadworthy status")
def status(*, project: ProjectFile = _DEFAULT_PROJECT, as_json: AsJson = False) -> None:
    """Show the versions, the champion, and whether the audit chain holds."""
    from roadworthy import api  # noqa: PLC0415 - as above
    from roadworthy.cli.showing import show_status  # noqa: PLC0415 - as above

    show_status(api.status(project), as_json=as_json)


@app.command(epilog="Example: roadworthy promote 3")
def promote(
    version: Annotated[int, typer.Argument(help="the version's number")],
    *,
    project: ProjectFile = _DEFAULT_PROJECT,
    as_json: AsJson = False,
) -> None:
    """Make a version the champion, if its verdict allows it."""
    from roadworthy import api  # noqa: PLC0415 - as above

    promoted = api.promote(version, project)
    told({"promoted": promoted.title, "alias": "champion"}, f"{promoted.title} is now champion", as_json=as_json)


def main() -> None:
    """Run a command; errors become one clear message and an exit code."""
    with shown_error():
        app(prog_name="roadworthy")

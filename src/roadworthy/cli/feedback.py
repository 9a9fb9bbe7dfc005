"""``feedback``: labels from a file, a SQL query or by hand.

In: words. Out: what became of the labels. It joins the commands of ``cli.app`` when this module is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from roadworthy.cli.app import _DEFAULT_PROJECT, AsJson, ProjectFile, app
from roadworthy.cli.running import told

if TYPE_CHECKING:
    from roadworthy.api.feeding_back import FeedbackView

__all__ = ["feedback"]


@app.command(epilog="Example: roadworthy feedback labels.parquet --id prediction_id --label outcome")
def feedback(
    data: Annotated[str, typer.Argument(help="the file with labels; without it the options are one label")] = "",
    *,
    id_: Annotated[str, typer.Option("--id", help="the column of the predictions' ids, or by hand the id")] = "",
    label: Annotated[str, typer.Option("--label", help="the column of the labels, or by hand the label")] = "",
    row: Annotated[str, typer.Option("--row", help="the column of the row within its request; row 0 without")] = "",
    entity: Annotated[str, typer.Option("--entity", help="the column of the entity, in place of --id")] = "",
    time: Annotated[str, typer.Option("--time", help="the column of the time that goes with --entity")] = "",
    comment: Annotated[str, typer.Option("--comment", help="the column of remarks, or by hand a remark")] = "",
    query: Annotated[str, typer.Option("--query", help="a SQL query in place of a file; needs --url")] = "",
    url: Annotated[str, typer.Option("--url", help="the database that is asked; ${NAME} is read from outside")] = "",
    by: Annotated[str, typer.Option("--by", help="who tells it; the login name by default")] = "",
    version: Annotated[
        str, typer.Option("--version", "-v", help="whose classes labels must be among: champion, latest or a number")
    ] = "champion",
    project: ProjectFile = _DEFAULT_PROJECT,
    as_json: AsJson = False,
) -> None:
    """Tell what was later known of predictions."""
    from roadworthy import api  # noqa: PLC0415 - heavy, and --help must not wait for it

    view = api.feedback(
        data or None,
        id=id_,
        label=label,
        row=row,
        entity=entity,
        time=time,
        comment=comment,
        query=query,
        url=url,
        by=by,
        version=version,
        project=project,
    )
    told(view, _text(view), as_json=as_json)


def _text(view: FeedbackView) -> str:
    parts = [f"{view.accepted:,} of {view.received:,} labels from {view.source} are on the disk"]
    for count, words in (
        (view.repeated, "were known already"),
        (view.blank, "rows had no label"),
        (view.changed, "say otherwise than the label before"),
        (view.wrong, "say otherwise than the decision"),
        (view.unknown, "are for predictions that are not in the log"),
    ):
        if count:
            parts.append(f"{count:,} {words}")
    return "\n".join([*parts, *view.notes])

"""``attest`` and ``waive``: the commands with which a named person signs for something, until a date.

In: words. Out: the signed words, as text or JSON. They join the commands of ``cli.app`` when this module is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from roadworthy.cli.app import _DEFAULT_PROJECT, AsJson, ProjectFile, app
from roadworthy.cli.running import told

if TYPE_CHECKING:
    from roadworthy.api.signed import SignedLine, SignedView

__all__ = ["attest", "waive"]

By = Annotated[str, typer.Option("--by", help="the person who answers for it")]
Expires = Annotated[
    str, typer.Option("--expires", help='the last day: a date such as 2027-05-20, or a span such as "180 days"')
]
Revoke = Annotated[bool, typer.Option("--revoke", help="take back what was signed on this")]


@app.command(
    epilog='Example: roadworthy attest known-at-prediction:duration "known from the booking" '
    '--by "Ann Lee" --expires 2027-05-20'
)
def attest(
    topic: Annotated[
        str, typer.Argument(help="known-at-prediction:COLUMN, ml-test-score:TEST or finding:KIND:SUBJECT")
    ] = "",
    statement: Annotated[str, typer.Argument(help="what the person answers for, in a sentence")] = "",
    *,
    by: By = "",
    expires: Expires = "",
    revoke: Revoke = False,
    project: ProjectFile = _DEFAULT_PROJECT,
    as_json: AsJson = False,
) -> None:
    """Sign the answer to a question that data cannot answer; without a topic, list what was signed."""
    from roadworthy import api  # noqa: PLC0415 - heavy, and --help must not wait for it

    view = api.attest(topic, statement, by=by, expires=expires, revoke=revoke, project=project)
    told(view, _text(view), as_json=as_json)


@app.command(
    epilog='Example: roadworthy waive "accuracy >= 0.8" --by "Ann Lee" --reason "a pilot with 40 users" '
    "--expires 2027-05-20"
)
def waive(
    requirement: Annotated[
        str, typer.Argument(help="one of the standard's requirements, as the verdict shows it")
    ] = "",
    *,
    by: By = "",
    reason: Annotated[str, typer.Option("--reason", help="why it may stay unmet")] = "",
    expires: Expires = "",
    revoke: Revoke = False,
    project: ProjectFile = _DEFAULT_PROJECT,
    as_json: AsJson = False,
) -> None:
    """Sign that a requirement may stay unmet until a date; without a requirement, list what was signed."""
    from roadworthy import api  # noqa: PLC0415 - as above

    view = api.waive(requirement, by=by, reason=reason, expires=expires, revoke=revoke, project=project)
    told(view, _text(view), as_json=as_json)


def _text(view: SignedView) -> str:
    standings = [line.standing.value for line in view.lines]
    counts = ", ".join(f"{standings.count(standing)} {standing}" for standing in dict.fromkeys(standings))
    heads = {
        "listed": f"{view.project}: {counts or f'no {view.kind} was signed'}",
        "signed": f"{view.project}: signed",
        "revoked": f"{view.project}: revoked",
    }
    lines = [heads[view.did], *(text for line in view.lines for text in _line_text(line))]
    return "\n".join([*lines, *(f"note: {note}" for note in view.notes)])


def _line_text(line: SignedLine) -> tuple[str, str]:
    until = f"revoked by {line.revoked_by}" if line.revoked_by else f"{line.standing}, until {line.expires}"
    return f"{line.number:>5}  {line.subject}  ({until})", f"       {line.person}: {line.words}"

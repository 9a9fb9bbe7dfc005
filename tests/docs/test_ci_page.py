"""The page about CI says what the command does: its options, its exit codes, and a workflow whose shell runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

import roadworthy.cli  # noqa: F401 - registers every command
from roadworthy.cli.app import app
from roadworthy.cli.running import FAULT
from roadworthy.errors import UsageError
from roadworthy.records.verdict import EXIT_CODES, Outcome

PAGE = "docs/ci.md"
Pages = Callable[[str], Any]


def options() -> set[str]:
    """The options of the command ``inspect``."""
    command = typer.main.get_command(app).commands["inspect"]  # type: ignore[attr-defined]  # it is a group
    return {name for parameter in command.params for name in parameter.opts}


def calls(text: str) -> list[list[str]]:
    """Every call of ``roadworthy inspect`` in a workflow, as the shell would read it."""
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"run: >-\n((?:\s{10}.+\n)+)", lambda m: " ".join(m[1].split()), text))
    return [shlex.split(found.partition("||")[0]) for found in re.findall(r"roadworthy inspect .*", joined)]


def test_every_option_that_a_workflow_uses_exists(page: Pages) -> None:
    found = [call for block in page(PAGE).blocks("yaml") for call in calls(block)]
    assert len(found) == 2
    for call in found:
        used = {word for word in call if word.startswith("--")}
        assert used <= options()
        assert {"--target", "--standard", "--junit", "--markdown"} <= used


def test_the_table_of_options_is_true(page: Pages) -> None:
    named = {row[0].strip("`").split()[0] for row in page(PAGE).table("option")}
    assert named == {"--report", "--junit", "--markdown", "--json"}
    assert named <= options()


def test_the_exit_codes_are_those_of_the_program(page: Pages) -> None:
    codes = {int(row[0]): row[1] for row in page(PAGE).table("code")}
    assert set(codes) == {*EXIT_CODES.values(), UsageError.exit_code, FAULT}
    for readiness, code in EXIT_CODES.items():
        assert codes[code].startswith(readiness.value)


def test_every_outcome_is_in_the_table_of_the_junit_file(page: Pages) -> None:
    assert len(page(PAGE).table("verdict")) == len(Outcome)


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (1, 1), (2, 2), (3, 0), (70, 70)])
def test_the_gate_that_lets_not_proven_through_lets_nothing_else(
    code: int, ends: int, page: Pages, tmp_path: Path
) -> None:
    fake = tmp_path / "roadworthy"
    fake.write_text(f"#!/bin/sh\nexit {code}\n")
    fake.chmod(0o755)
    script = textwrap.dedent(page(PAGE).blocks("yaml")[1].partition("run: |\n")[2])
    done = subprocess.run(
        ["/bin/bash", "-eo", "pipefail", "-c", script],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ends
    assert ("::warning" in done.stdout) == (code == 3)

"""Every command and option is on the page, every example runs, every `--help` has an example."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from roadworthy.cli.app import app
from roadworthy.errors import PromotionRefused
from roadworthy.records.verdict import EXIT_CODES

PAGE = "docs/commands.md"
Pages = Callable[[str], Any]
COMMANDS: dict[str, Any] = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # it is a group


def parameters(name: str, kind: str) -> list[Any]:
    return [one for one in COMMANDS[name].params if one.param_type_name == kind and one.name != "help"]


def examples(page: Any) -> list[str]:
    lines = [line for block in page.blocks("console") for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def test_every_command_has_its_section_and_no_section_has_no_command(page: Pages) -> None:
    sections = re.findall(r"^## `(\w+)`$", page(PAGE).text, re.MULTILINE)
    assert sorted(sections) == sorted(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_is_documented_and_no_other(page: Pages, name: str) -> None:
    section = page(PAGE).section(f"`{name}`")
    written = {frozenset(re.findall(r"`(-[\w-]+)`", row[0])) for row in section.table("option")}
    assert written == {frozenset(option.opts) for option in parameters(name, "option")}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_argument_is_explained(page: Pages, name: str) -> None:
    section = page(PAGE).section(f"`{name}`")
    for argument in parameters(name, "argument"):
        assert f"`{argument.name}`" in section.text


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_defaults_on_the_page_are_the_codes(page: Pages, name: str) -> None:
    rows = {row[0].split("`")[1]: row[1] for row in page(PAGE).section(f"`{name}`").table("option")}
    for option in parameters(name, "option"):
        said = rows[option.opts[0]]
        assert ("must be given" in said) == option.required
        if option.name == "version":
            assert f"`{option.default}` (default)" in said
        if option.name == "threads":
            assert f"{option.default} by default" in said


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_explains_every_option_and_ends_with_an_example(name: str) -> None:
    command = COMMANDS[name]
    shown = CliRunner().invoke(app, [name, "--help"], terminal_width=200)
    assert shown.exit_code == 0
    assert f"Example: roadworthy {name}" in shown.output
    for option in parameters(name, "option"):
        assert option.help, option.name
        assert option.opts[0] in shown.output
    assert {"--json"} <= {opt for option in command.params for opt in option.opts}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_example_in_help_is_a_call_that_is_understood(name: str) -> None:
    epilog = COMMANDS[name].epilog
    words = shlex.split(epilog.removeprefix("Example: roadworthy "))
    assert words[0] == name
    context = COMMANDS[name].make_context(name, words[1:])  # raises where the words are not understood
    assert set(context.params) == {one.name for one in COMMANDS[name].params if one.name != "help"}


def test_exit_codes_are_those_of_the_verdict(page: Pages) -> None:
    codes = [row[0] for row in page(PAGE).table("exit code")]
    assert codes == ["0", "1", "2", "3", "70"]
    assert {str(code) for code in EXIT_CODES.values()} <= set(codes)


def test_every_example_after_a_run_works(page: Pages, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copied)
    verdict = CliRunner().invoke(app, ["run"]).exit_code
    for line in examples(page(PAGE)):
        program, name, *words = shlex.split(line)
        assert program == "roadworthy"
        if name in {"init", "run"}:
            continue  # the README's test runs these
        done = CliRunner().invoke(app, [name, *words])
        if name == "promote" and verdict:
            assert isinstance(done.exception, PromotionRefused)
            continue
        allowed = set(EXIT_CODES.values()) if name == "inspect" else {0}
        assert done.exit_code in allowed, f"{line}\n{done.output}{done.exception}"
        assert done.stdout


def test_the_python_example_works(
    page: Pages, copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copied)
    (code,) = page(PAGE).blocks("python")
    exec(compile(code, PAGE, "exec"), {})  # noqa: S102 - the page's own example
    assert len(capsys.readouterr().out.splitlines()) == 3

"""``attest`` and ``waive`` as they are typed, and what a waiver does to the next run and to a promotion."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from roadworthy import assembly
from roadworthy.cli import main

BY = ["--by", "Ann Lee", "--expires", "30 days"]


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


Typed = Callable[..., Said]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], copied: Path) -> Typed:
    """A command on the copied project in this process: its exit code and what it said."""

    def call(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["roadworthy", *words, "-p", str(copied)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        code = ended.value.code
        return Said(code if isinstance(code, int) else 0 if code is None else 1, said.out, said.err)

    return call


def unmet(run: Said) -> list[str]:
    return [one["requirement"] for one in run.json["verdict"]["requirements"] if one["outcome"] != "pass"]


def later(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    moment = datetime.now(UTC) + timedelta(days=days)
    monkeypatch.setattr(assembly.SystemClock, "now", lambda _clock: moment)


def test_a_waiver_lets_a_version_be_promoted_while_it_is_in_force(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = typed("run", "--json")
    assert before.code in {1, 3}
    assert typed("promote", "1").code == 1
    lines = unmet(before)
    assert lines
    for line in lines:
        assert typed("waive", line, *BY, "--reason", "a pilot with 40 users").code == 0
    assert typed("promote", "1").code == 1, "the verdict in the registry is still the one from before"

    judged = typed("run", "--json")
    assert (judged.code, judged.json["readiness"], judged.json["version"]) == (0, "ready", "clicks-1")
    assert judged.json["bundle"] == before.json["bundle"], "only the judgement is made anew"
    waived = [one for one in judged.json["verdict"]["requirements"] if one["outcome"] == "waived"]
    assert [one["requirement"] for one in waived] == lines
    assert {one["waiver"]["person"] for one in waived} == {"Ann Lee"}
    assert lines[0] in judged.json["verdict"]["sentence"]
    assert "Ann Lee" in Path(judged.json["report"]).read_text(encoding="utf-8")
    assert typed("promote", "1", "--json").json == {"promoted": "clicks-1", "alias": "champion"}

    later(monkeypatch, 31)
    refused = typed("promote", "1")
    assert refused.code == 1
    assert f"the waiver of {lines[0]} by Ann Lee expired on" in refused.err
    again = typed("run", "--json")
    assert again.code == before.code
    assert unmet(again) == lines
    assert "expired" in typed("waive").out


def test_a_revoked_waiver_is_gone_for_the_next_run(typed: Typed) -> None:
    lines = unmet(typed("run", "--json"))
    for line in lines:
        typed("waive", line, *BY, "--reason", "a pilot")
    assert typed("run").code == 0
    revoked = typed("waive", lines[0], "--revoke", "--by", "Bo Ek")
    assert "revoked by Bo Ek" in revoked.out
    refused = typed("promote", "1")
    assert refused.code == 1
    assert "was revoked" in refused.err
    assert unmet(typed("run", "--json")) == [*lines]
    assert typed("run").code in {1, 3}
    assert typed("status").code == 0, "the chain holds"


def test_a_waiver_of_something_else_changes_nothing(typed: Typed) -> None:
    before = typed("run", "--json")
    passing = next(one["requirement"] for one in before.json["verdict"]["requirements"] if one["outcome"] == "pass")
    assert typed("waive", passing, *BY, "--reason", "a pilot").code == 0
    after = typed("run", "--json")
    assert after.json["verdict"] == before.json["verdict"]
    assert Path(after.json["report"]).read_bytes() == Path(before.json["report"]).read_bytes()


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["attest"], {"project", "kind", "did", "lines", "notes"}),
        (["attest", "ml-test-score:data-6", "a day", *BY], {"project", "kind", "did", "lines", "notes"}),
        (["attest", "nonsense"], {"error", "message", "problems", "next"}),
        (["waive"], {"project", "kind", "did", "lines", "notes"}),
        (["waive", "accuracy >= 0.1", *BY], {"error", "message", "problems", "next"}),
    ],
)
def test_json_is_all_that_stands_on_standard_output(typed: Typed, words: list[str], keys: set[str]) -> None:
    said = typed(*words, "--json")
    assert said.code == (2 if "error" in keys else 0)
    assert set(said.json) == keys


def test_text_is_for_people(typed: Typed) -> None:
    assert typed("attest").out == "clicks: no attestation was signed\n"
    signed = typed("attest", "known-at-prediction:clicks", "known from the session", *BY).out
    until = (datetime.now(UTC) + timedelta(days=30)).date()
    assert signed == (
        "clicks: signed\n"
        f"    1  known-at-prediction:clicks  (in force, until {until})\n"
        "       Ann Lee: known from the session\n"
        "note: clicks-1 has no finding that this answers\n"
    )
    assert typed("attest").out.startswith("clicks: 1 in force\n    1  known-at-prediction:clicks")


def test_an_error_says_what_to_type(typed: Typed) -> None:
    refused = typed("attest", "ml-test-score:data-6", "a day", "--by", "Ann", "--expires", "2020-01-01")
    assert (refused.code, refused.out) == (2, "")
    assert "--expires 2020-01-01 has passed" in refused.err
    assert 'next: roadworthy attest TOPIC "STATEMENT" --by NAME --expires 20' in refused.err

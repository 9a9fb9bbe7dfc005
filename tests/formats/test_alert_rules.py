"""``[alerts]``: what could tell nobody, or never, is refused with its line; no address is quoted."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadworthy.errors import ProjectFileError
from roadworthy.formats.project import parse_project, write_project
from roadworthy.records.alert import Severity

PROJECT = """\
[project]
name = "clicks"
task = "binary"
target = "y"
[data]
source = "a.csv"
[contract.columns]
y = { type = "integer" }
x = { type = "number" }
[alerts]
"""


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('notify = ["hunter2"]', "a receiver that is no URL"),
        ('notify = ["slack://a", "${1HOOK}"]', "a receiver that is no URL"),
        ('severity = "pgae"', "did you mean 'page'"),
        ('repeat = "often"', "'often'"),
        ('repeat = "0 h"', "'0 h'"),
        ("resolve_after = -1", "-1 windows"),
        ("hold = -2", "-2 windows"),
        ('runbook = "wiki/{rule}"', "a link of http or https"),
        ('runbook = "https://wiki/{name}"', "{rule}, {group} and {number}"),
        ('dashboard = "https://a b"', "a link of http or https"),
        ("mute = true", "unknown key 'mute'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_line(line: str, told: str) -> None:
    with pytest.raises(ProjectFileError) as caught:
        parse_project(PROJECT + line)
    assert told in str(caught.value)
    assert "roadworthy.toml:11" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_what_makes_sense_is_read_and_written_back() -> None:
    text = PROJECT + (
        'notify = ["slack://a", "${PAGER}", "json://u:${WORD}@h/"]\nseverity = "page"\nrepeat = ""\nresolve_after = 3\n'
        'hold = 1\nrunbook = "https://wiki.example/{group}/{rule}?n={number}"\ndashboard = "http://rw/{number}"\n'
    )
    spec = parse_project(text).spec
    assert (spec.alerts.severity, spec.alerts.repeat, spec.alerts.resolve_after) == (Severity.PAGE, "", 3)
    assert parse_project(write_project(spec, {}), folder=Path(spec.folder)).spec == spec

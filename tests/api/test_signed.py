"""What may be signed, until when, and what it is held against."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import polars as pl
import pytest

from roadworthy import api, assembly
from roadworthy.errors import RegistryError, UnknownName, UsageError
from roadworthy.records.attestation import SignedKind, Standing
from roadworthy.testing.memory import SilentReporter

TODAY = date(2028, 2, 29)
TOPIC, SAID = "known-at-prediction:clicks", "known from the session"


@pytest.fixture
def on_a_leap_day(monkeypatch: pytest.MonkeyPatch) -> None:
    def now(_clock: object) -> datetime:
        return datetime(2028, 2, 29, 23, 59, tzinfo=UTC)

    monkeypatch.setattr(assembly.SystemClock, "now", now)


@pytest.fixture
def declared(project: Path) -> Path:
    """A project that was never run."""
    return project


@pytest.mark.parametrize(
    ("given", "last"),
    [
        ("2028-02-29", "2028-02-29"),
        ("2030-02-28", "2030-02-28"),
        ("180 days", "2028-08-27"),
        (" 1 week ", "2028-03-07"),
        ("36 hours", "2028-03-01"),
    ],
)
@pytest.mark.usefixtures("on_a_leap_day")
def test_a_word_ends_on_a_day_within_two_years(declared: Path, given: str, last: str) -> None:
    view = api.attest(TOPIC, SAID, by="Ann Lee", expires=given, project=declared)
    (line,) = view.lines
    assert (view.did, line.expires, line.standing) == ("signed", last, Standing.IN_FORCE)
    assert line.words == SAID
    assert api.attest(project=declared).lines == (line,)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("2028-02-28", "--expires 2028-02-28 has passed"),
        ("2030-03-01", "is more than 2 years ahead"),
        ("800 days", "is more than 2 years ahead"),
        ("99999999 weeks", "--expires '99999999 weeks'"),
        ("", "no --expires"),
        ("2029-02-30", "--expires '2029-02-30'"),
        ("28-03-01", "--expires '28-03-01'"),
        ("20290301", "--expires '20290301'"),
        ("tomorrow", "--expires 'tomorrow'"),
    ],
)
@pytest.mark.usefixtures("on_a_leap_day")
def test_any_other_end_is_refused(declared: Path, given: str, found: str) -> None:
    calls: dict[str, Callable[[], api.SignedView]] = {
        "attest": lambda: api.attest(TOPIC, SAID, by="Ann Lee", expires=given, project=declared),
        "waive": lambda: api.waive("accuracy >= 0.8", reason=SAID, by="Ann Lee", expires=given, project=declared),
    }
    for call in calls.values():
        with pytest.raises(UsageError) as caught:
            call()
        assert found in str(caught.value)
        assert "a date from 2028-02-29 to 2030-02-28, or a span such as '180 days'" in str(caught.value)
    assert api.attest(project=declared).lines == api.waive(project=declared).lines == ()


def test_everything_that_is_missing_is_named_at_once(declared: Path) -> None:
    with pytest.raises(UsageError) as caught:
        api.waive("accuracy >= 0.8", project=declared)
    assert [problem.found for problem in caught.value.problems] == ["no --by", "no --reason", "no --expires"]
    assert caught.value.next_step.startswith("roadworthy waive REQUIREMENT --by NAME --reason")


@pytest.mark.parametrize("person", ["Ann\x1b[31m", "A" * 121, "Ann\u202eLee"])
def test_a_name_is_one_plain_line(declared: Path, person: str) -> None:
    with pytest.raises(UsageError, match="--by"):
        api.attest(TOPIC, SAID, by=person, expires="1 day", project=declared)


def test_a_statement_is_one_line(declared: Path) -> None:
    view = api.attest(TOPIC, "known\n  from the\tsession ", by=" Ann Lee ", expires="1 day", project=declared)
    assert (view.lines[0].words, view.lines[0].person) == (SAID, "Ann Lee")


@pytest.mark.parametrize(
    "written", ["accuracy >= 0.8", "accuracy>=0.80", " accuracy  >=  80 % ", "latency_p99 <= 0.05 s", "size <= 5 MB"]
)
def test_a_requirement_is_known_by_its_bound(declared: Path, written: str) -> None:
    lines = [one.line() for one in assembly.open_project(declared).standard.requirements]
    view = api.waive(written, by="Ann Lee", reason="pilot", expires="1 day", project=declared)
    assert view.lines[0].subject in lines
    assert api.waive(written, by="Bo Ek", revoke=True, project=declared).lines[0].revoked_by == "Bo Ek"


@pytest.mark.parametrize("written", ["accuracy >= 0.9", "acuracy >= 0.8", "accuracy <= 0.8", "accuracy"])
def test_what_the_standard_does_not_require_cannot_be_waived(declared: Path, written: str) -> None:
    with pytest.raises(UnknownName, match="unknown requirement") as caught:
        api.waive(written, by="Ann Lee", reason="pilot", expires="1 day", project=declared)
    assert "accuracy >= 0.8" in caught.value.known
    assert "did you mean 'accuracy >= 0.8'" in str(caught.value) or written == "accuracy"


def test_a_requirement_of_each_slice_is_named_whole(declared: Path) -> None:
    view = api.waive("recall >= 70% for every device", by="A", reason="r", expires="1 day", project=declared)
    assert view.lines[0].subject == "recall >= 0.7 for every device"


@pytest.mark.parametrize("call", [api.attest, api.waive])
def test_a_list_takes_nothing_else(declared: Path, call: object) -> None:
    assert callable(call)
    for more in ({"by": "Ann"}, {"revoke": True}, {"expires": "1 day"}):
        with pytest.raises(UsageError, match="was not told which"):
            call(project=declared, **more)


def test_what_is_not_in_force_cannot_be_revoked(declared: Path) -> None:
    api.attest(TOPIC, SAID, by="Ann Lee", expires="1 day", project=declared)
    with pytest.raises(UnknownName, match="did you mean 'known-at-prediction:clicks'"):
        api.attest("known-at-prediction:click", by="Bo", revoke=True, project=declared)
    with pytest.raises(UsageError, match="a revocation holds at once"):
        api.attest(TOPIC, by="Bo", revoke=True, expires="1 day", project=declared)
    assert api.attest(TOPIC, by="Bo", revoke=True, project=declared).did == "revoked"
    assert api.attest(project=declared).lines[0].standing is Standing.REVOKED


def test_a_feature_and_a_column_can_be_attested_and_nothing_else(declared: Path) -> None:
    for name in ("click_rate", "clicks"):
        assert (
            api.attest(f"known-at-prediction:{name}", SAID, by="A", expires="1 day", project=declared).did == "signed"
        )
    with pytest.raises(UnknownName, match="did you mean 'click_rate'"):
        api.attest("known-at-prediction:click_rte", SAID, by="A", expires="1 day", project=declared)


def test_what_it_answers_in_the_newest_version_is_said(copied: Path) -> None:
    with assembly.opened_registry(assembly.open_project(copied)) as registry:
        (version,) = registry.versions("clicks")
        notes = api.attest(TOPIC, SAID, by="A", expires="1 day", project=copied).notes
        assert notes == ("clicks-1 has no finding that this answers",)
        findings = [
            msgspec.structs.replace(one, kind="churn", subject=grade, grade=grade)
            for one in version.evidence.findings[:1]
            for grade in ("suspects", "fails")
        ]
        evidence = msgspec.structs.replace(version.evidence, findings=tuple(findings))
        registry.register(msgspec.structs.replace(version, evidence=evidence, manifest="another"))
    suspected = api.attest("finding:churn:suspects", SAID, by="A", expires="1 day", project=copied)
    assert suspected.notes == ("it answers churn of suspects in clicks-2",)
    proven = api.attest("finding:churn:fails", SAID, by="A", expires="1 day", project=copied)
    assert proven.notes == ("churn of fails is proven: only a waiver lets it stand",)


class Begun(SilentReporter):
    """Notes what was begun."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def begin(self, task: str, total: int | None = None) -> None:
        self.names.append(task)
        super().begin(task, total)


@pytest.fixture
def tampered(declared: Path) -> Path:
    """A project with a waiver whose reason was edited in the database."""
    api.waive("accuracy >= 0.8", reason="pilot", by="Ann Lee", expires="1 day", project=declared)
    with closing(sqlite3.connect(declared / ".roadworthy" / "registry.db")) as database:
        database.execute("UPDATE signed SET record = replace(record, 'pilot', 'as agreed')")
        database.commit()
    return declared


def test_a_word_that_is_not_as_it_was_signed_stops_an_inspection_before_its_checks(
    tampered: Path, clicks: pl.DataFrame
) -> None:
    asked: list[int] = []

    def model(frame: pl.DataFrame) -> pl.Series:
        asked.append(frame.height)
        return frame["position"] / 10

    rows = clicks.drop_nulls("converted").select("position", y=pl.col("converted").cast(pl.Int64))
    reporter = Begun()
    with pytest.raises(RegistryError, match="edited behind the registry's back"):
        api.inspect(model, rows, target="y", project=tampered, reporter=reporter)
    assert reporter.names == []
    assert asked == []


def test_a_word_that_is_not_as_it_was_signed_stops_a_run_before_its_stages(tampered: Path) -> None:
    reporter = Begun()
    with pytest.raises(RegistryError, match="edited behind the registry's back"):
        api.run(tampered, reporter=reporter)
    assert reporter.names == []
    kept = [path.name for path in (tampered / ".roadworthy" / "lake").iterdir()]
    assert kept == ["runs"]  # the journal says why it stopped


def test_both_kinds_are_kept_apart(declared: Path) -> None:
    api.attest("ml-test-score:data-6", "a day", by="A", expires="1 day", project=declared)
    api.waive("accuracy >= 0.8", reason="pilot", by="A", expires="1 day", project=declared)
    assert [line.kind for line in api.attest(project=declared).lines] == [SignedKind.ATTESTATION]
    assert [line.subject for line in api.waive(project=declared).lines] == ["accuracy >= 0.8"]

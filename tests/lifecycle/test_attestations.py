"""Signed words: what is read is what a person signed; nothing slipped in, edited or removed counts."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import create_engine, text

from roadworthy.errors import PromotionRefused, RegistryError, UnknownName, UsageError
from roadworthy.lifecycle import schema
from roadworthy.lifecycle.registry import Registry
from roadworthy.records.attestation import (
    Attestation,
    Signed,
    SignedKind,
    Standing,
    answered,
    parse_topic,
    signed_message,
)
from roadworthy.records.evidence import Evidence, Finding, Phase
from roadworthy.records.verdict import Outcome, Readiness, RequirementVerdict, Verdict, Waiver
from roadworthy.records.version import Version

TODAY = date(2026, 1, 2)
LAST = date(2026, 6, 30)
TOPIC, LINE = "known-at-prediction:duration", "accuracy >= 0.8"
KEY = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(bytes([2]) * 32)
ATTEST, WAIVE = SignedKind.ATTESTATION, SignedKind.WAIVER


class MovingClock:
    def __init__(self) -> None:
        self.day = TODAY

    def now(self) -> datetime:
        return datetime(self.day.year, self.day.month, self.day.day, 12, tzinfo=UTC)


def pem(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def edit(url: str, statement: str, **values: Any) -> None:
    """Change the database as somebody would who goes round the registry."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text(statement), values) if values else connection.exec_driver_sql(statement)
    engine.dispose()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'registry.db'}"


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
def registry(url: str, clock: MovingClock) -> Iterator[Registry]:
    opened = Registry(url, clock)
    yield opened
    opened.close()


def said(
    registry: Registry, kind: SignedKind = ATTEST, subject: str = TOPIC, project: str = "clicks", last: date = LAST
) -> Signed:
    return registry.sign(
        project, kind, subject, "known from the booking", person="Ann Lee", expires=last, sign=KEY.sign,
        public_pem=pem(KEY),
    )  # fmt: skip


def taken_back(registry: Registry, kind: SignedKind = ATTEST, subject: str = TOPIC) -> tuple[Signed, ...]:
    return registry.revoke("clicks", kind, subject, person="Bo Ek", sign=KEY.sign, public_pem=pem(KEY))


def judged(readiness: Readiness, waiver: Waiver | None = None, digest: str = "a") -> Version:
    outcome = Outcome.WAIVED if waiver else Outcome.PASS if readiness is Readiness.READY else Outcome.FAIL
    requirement = RequirementVerdict(
        requirement=LINE, metric="accuracy", phase=Phase.RELEASE, outcome=outcome, sentence="Said.", waiver=waiver
    )
    verdict = Verdict(
        subject=digest, standard="s", readiness=readiness, requirements=(requirement,), sentence=f"It is {readiness}."
    )
    return Version(
        name="clicks", number=0, digest=digest, manifest=f"m{digest}", verdict=verdict, report=f"r {readiness}",
        evidence=Evidence(subject=digest, holdout="h", measurements=()), created_at="", lineage={},
    )  # fmt: skip


def test_a_word_is_numbered_signed_and_chained(registry: Registry) -> None:
    first, second = said(registry), said(registry, WAIVE, LINE)
    elsewhere = said(registry, project="other")
    assert (first.number, second.number, elsewhere.number) == (1, 2, 1)
    assert registry.signed("clicks") == (first, second)
    assert [(link.action, link.subject) for link in registry.audit()][1:] == [
        ("attest", "clicks attestation 1"), ("waive", "clicks waiver 2"), ("attest", "other attestation 1"),
    ]  # fmt: skip
    (attestation,), (waiver,) = registry.attestations("clicks"), registry.waivers("clicks")
    assert (attestation.topic, attestation.person, attestation.expires) == (TOPIC, "Ann Lee", "2026-06-30")
    assert (waiver.requirement, waiver.reason, waiver.signature) == (LINE, "known from the booking", second.signature)
    KEY.public_key().verify(base64.b64decode(first.signature), signed_message(first))


def test_its_last_day_counts_and_the_next_does_not(registry: Registry, clock: MovingClock) -> None:
    word = said(registry)
    for day, counts in ((LAST, True), (LAST + timedelta(days=1), False)):
        clock.day = day
        assert bool(registry.attestations("clicks")) is counts
    assert word.standing(clock.day) is Standing.EXPIRED
    assert len(registry.signed("clicks")) == 1, "an expired word stays readable"


def test_a_revoked_word_stays_readable_and_counts_no_more(registry: Registry) -> None:
    said(registry)
    said(registry, subject="known-at-prediction:other")
    (taken,) = taken_back(registry)
    assert taken.revocation is not None
    assert taken.revocation.person == "Bo Ek"
    assert [word.standing(TODAY) for word in registry.signed("clicks")] == [Standing.REVOKED, Standing.IN_FORCE]
    assert [word.topic for word in registry.attestations("clicks")] == ["known-at-prediction:other"]
    assert taken_back(registry) == ()
    again = said(registry)
    assert again.number == 3
    assert len(registry.attestations("clicks")) == 2


TAMPERINGS = {
    "record": "UPDATE signed SET record = replace(record, 'booking', 'cooking') WHERE number = 1",
    "expiry inside": "UPDATE signed SET record = replace(record, '2026-06-30', '2036-06-30') WHERE number = 1",
    "expiry column": "UPDATE signed SET expires = '2036-06-30' WHERE number = 1",
    "subject": "UPDATE signed SET subject = 'known-at-prediction:other' WHERE number = 1",
    "kind": "UPDATE signed SET kind = 'waiver' WHERE number = 1",
    "removed": "DELETE FROM signed WHERE number = 1",
    "slipped in": "INSERT INTO signed SELECT project, 9, kind, subject, expires, record FROM signed WHERE number = 1",
    "moved": "UPDATE signed SET project = 'other' WHERE number = 1",
    "its link": "UPDATE audit SET details = replace(details, '\"number\":1', '\"number\":2') WHERE action = 'attest'",
    "link removed": "DELETE FROM audit WHERE action = 'waive'",
    "key gone": "DELETE FROM keys",
}


@pytest.mark.parametrize("how", sorted(TAMPERINGS))
def test_whatever_was_changed_behind_the_registrys_back_is_refused(registry: Registry, url: str, how: str) -> None:
    said(registry)
    said(registry, WAIVE, LINE)
    edit(url, TAMPERINGS[how])
    for ask in (registry.signed, registry.attestations, registry.waivers):
        with pytest.raises(RegistryError, match=r"is not as it was signed|audit chain|no longer|trusted key"):
            ask("clicks")
    registry.close()


def test_a_revocation_cannot_be_undone_by_hand(registry: Registry, url: str) -> None:
    word = said(registry)
    taken_back(registry)
    edit(url, "UPDATE signed SET record = :record", record=msgspec.json.encode(word).decode())
    with pytest.raises(RegistryError, match="edited behind the registry's back"):
        registry.attestations("clicks")


def test_a_word_that_another_key_signed_is_refused(registry: Registry) -> None:
    """Whoever can write the database but has not the key: row and link agree, the signature does not."""
    registry.sign(
        "clicks", ATTEST, TOPIC, "forged", person="Ann Lee", expires=LAST, sign=OTHER.sign, public_pem=pem(KEY)
    )
    with pytest.raises(RegistryError, match="does not carry the signature of a trusted key"):
        registry.attestations("clicks")


def test_a_signature_is_for_one_word_of_one_project(registry: Registry) -> None:
    first, second = said(registry), said(registry)
    assert first.signature != second.signature
    assert signed_message(first) != signed_message(msgspec.structs.replace(first, project="other"))
    assert signed_message(first) == signed_message(msgspec.structs.replace(first, signature="x"))


def test_a_verdict_that_changed_is_written_under_the_same_number(registry: Registry) -> None:
    failing = registry.register(judged(Readiness.NOT_READY))
    said(registry, WAIVE, LINE)
    (waiver,) = registry.waivers("clicks")
    waived = registry.register(judged(Readiness.READY, waiver))
    assert (waived.number, waived.created_at) == (failing.number, failing.created_at)
    assert (waived.verdict.readiness, waived.report) == (Readiness.READY, "r ready")
    assert registry.version("clicks", 1) == waived
    assert registry.register(judged(Readiness.READY, waiver)) == waived
    assert [link.action for link in registry.audit()] == ["register", "trust", "waive", "judge"]
    assert registry.promote("clicks", 1) == waived
    assert registry.register(judged(Readiness.NOT_READY)).verdict.readiness is Readiness.NOT_READY
    with pytest.raises(PromotionRefused, match="It is not ready"):
        registry.promote("clicks", 1)


def test_evidence_that_an_answer_changed_is_written_under_the_same_number(registry: Registry) -> None:
    first = judged(Readiness.READY)
    registry.register(first)
    asked = msgspec.structs.replace(first.evidence, findings=(finding("notes", answer="Ann Lee: so"),))
    registry.register(msgspec.structs.replace(first, evidence=asked, report="new"))
    again = registry.version("clicks", 1)
    assert (again.evidence, again.report, again.verdict) == (asked, "new", first.verdict)
    assert [link.action for link in registry.audit()] == ["register", "judge"]


@pytest.mark.parametrize("edited", ["readiness", "record"])
def test_the_row_of_a_version_that_was_judged_again_is_held_to_its_newest_link(
    registry: Registry, url: str, edited: str
) -> None:
    registry.register(judged(Readiness.READY))
    before = msgspec.json.encode(registry.version("clicks", 1)).decode()
    registry.register(judged(Readiness.NOT_READY))
    values = {"readiness": "ready", "record": before}
    edit(url, f"UPDATE versions SET {edited} = :value", value=values[edited])
    with pytest.raises(RegistryError, match="not as it was registered"):
        registry.promote("clicks", 1)


def expire(registry: Registry, clock: MovingClock) -> None:
    clock.day = LAST + timedelta(days=1)
    assert registry.waivers("clicks") == ()


def take_back(registry: Registry, _clock: MovingClock) -> None:
    assert taken_back(registry, WAIVE, LINE)


@pytest.mark.parametrize(("end", "why"), [(expire, "expired on 2026-06-30"), (take_back, "was revoked")])
def test_a_waiver_that_ended_promotes_nothing(
    registry: Registry, clock: MovingClock, end: Callable[[Registry, MovingClock], None], why: str
) -> None:
    said(registry, WAIVE, LINE)
    registry.register(judged(Readiness.READY, registry.waivers("clicks")[0]))
    end(registry, clock)
    with pytest.raises(PromotionRefused, match=f"waiver of accuracy >= 0.8 by Ann Lee {why}") as caught:
        registry.promote("clicks", 1)
    assert caught.value.next_step.startswith("roadworthy run")
    assert registry.alias("clicks") is None


def test_a_waiver_that_nobody_signed_here_promotes_nothing(registry: Registry) -> None:
    made_up = Waiver(requirement=LINE, person="Ann Lee", reason="so", expires="2026-06-30", signature="AA==")
    registry.register(judged(Readiness.READY, made_up))
    with pytest.raises(PromotionRefused, match="is not in the registry"):
        registry.promote("clicks", 1)


SECOND = """
CREATE TABLE schema_state (number INTEGER NOT NULL, PRIMARY KEY (number));
CREATE TABLE versions (name VARCHAR(200) NOT NULL, number INTEGER NOT NULL, digest VARCHAR(71) NOT NULL,
  manifest VARCHAR(71) NOT NULL, readiness VARCHAR(20) NOT NULL, created_at VARCHAR(40) NOT NULL, record TEXT NOT NULL,
  PRIMARY KEY (name, number), UNIQUE (name, manifest));
CREATE TABLE aliases (name VARCHAR(200) NOT NULL, alias VARCHAR(60) NOT NULL, number INTEGER NOT NULL,
  moved_at VARCHAR(40) NOT NULL, PRIMARY KEY (name, alias));
CREATE TABLE holdout_looks (holdout VARCHAR(71) NOT NULL, subject VARCHAR(71) NOT NULL, at VARCHAR(40) NOT NULL,
  PRIMARY KEY (holdout, subject));
CREATE TABLE keys (fingerprint VARCHAR(71) NOT NULL, public_pem TEXT NOT NULL, added_at VARCHAR(40) NOT NULL,
  PRIMARY KEY (fingerprint));
CREATE TABLE audit (sequence INTEGER NOT NULL, at VARCHAR(40) NOT NULL, actor VARCHAR(200) NOT NULL,
  action VARCHAR(60) NOT NULL, subject VARCHAR(300) NOT NULL, details TEXT NOT NULL, previous VARCHAR(71) NOT NULL,
  hash VARCHAR(71) NOT NULL, PRIMARY KEY (sequence));
INSERT INTO schema_state VALUES (2)
"""
"""The tables of schema 2 as they were released; never edited."""


def of_schema_2(url: str, filled: str) -> None:
    """A database of schema 2 with the rows of another one."""
    engine = create_engine(url)
    source = create_engine(filled)
    with engine.begin() as connection, source.connect() as before:
        for statement in SECOND.split(";"):
            connection.exec_driver_sql(statement)
        for table in (schema.versions, schema.aliases, schema.looks, schema.keys, schema.audit):
            for row in before.execute(table.select()).mappings():
                connection.execute(table.insert().values(**row))
    engine.dispose()
    source.dispose()


def test_a_registry_of_schema_2_is_brought_up_to_date_with_all_that_it_holds(
    registry: Registry, url: str, tmp_path: Path, clock: MovingClock
) -> None:
    registry.trust(pem(KEY))
    registry.register(judged(Readiness.READY))
    registry.promote("clicks", 1)
    registry.look("h", "a")
    chain = registry.audit()
    older = f"sqlite:///{tmp_path / 'second.db'}"
    of_schema_2(older, url)
    migrated = Registry(older, clock)
    assert migrated.audit() == chain
    assert migrated.versions("clicks") == registry.versions("clicks")
    assert migrated.alias("clicks") == registry.alias("clicks")
    assert migrated.trusted_keys() == (pem(KEY),)
    assert migrated.signed("clicks") == ()
    assert said(migrated).number == 1
    assert migrated.register(judged(Readiness.NOT_READY)).verdict.readiness is Readiness.NOT_READY
    migrated.close()
    again = Registry(older, clock)
    assert len(again.attestations("clicks")) == 1
    again.close()


@pytest.fixture
def own_database(postgres: str) -> str:
    """A database of its own in the cluster, whose first one others count links in."""
    engine = create_engine(postgres.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE signed_words")
    engine.dispose()
    return postgres.rpartition("/")[0] + "/signed_words"


def test_on_postgres_too(own_database: str, clock: MovingClock) -> None:
    registry = Registry(own_database, clock)
    name = "finding:target_leak:" + "é" * 250
    word = said(registry, subject=name)
    said(registry, WAIVE, LINE)
    assert registry.signed("clicks")[0] == word
    taken_back(registry, subject=name)
    assert registry.attestations("clicks") == ()
    edit(own_database, "UPDATE signed SET expires = '2036-06-30' WHERE number = 2")
    with pytest.raises(RegistryError, match="not as it was signed"):
        registry.waivers("clicks")
    registry.close()


# what attestations answer


def attested(topic: str, person: str = "Ann Lee", expires: str = "2026-06-30", statement: str = "so") -> Attestation:
    return Attestation(topic=topic, statement=statement, person=person, expires=expires)


def finding(grade: str, kind: str = "target_leak", subject: str = "duration", **more: Any) -> Finding:
    return Finding(kind=kind, subject=subject, grade=grade, sentence="Look at it.", **more)


def test_a_suspicion_that_a_person_answered_becomes_a_note() -> None:
    (found,) = answered([finding("suspects")], [attested(TOPIC, statement="known from the booking")], TODAY)
    assert (found.grade, found.answer) == ("notes", "Ann Lee, until 2026-06-30: known from the booking")


def test_what_is_proven_keeps_its_grade_and_shows_the_answer() -> None:
    (found,) = answered([finding("fails")], [attested(TOPIC)], TODAY)
    assert (found.grade, found.answer) == ("fails", "Ann Lee, until 2026-06-30: so")


@pytest.mark.parametrize(
    "attestation",
    [
        attested(TOPIC, expires="2026-01-01"),
        attested("known-at-prediction:other"),
        attested("finding:target_leak:other"),
        attested("finding:weak_slice:duration"),
        attested("ml-test-score:data-1"),
    ],
)
def test_what_expired_or_is_about_something_else_answers_nothing(attestation: Attestation) -> None:
    asked = [finding("suspects")]
    assert answered(asked, [attestation], TODAY) == tuple(asked)


def test_that_a_column_is_known_answers_only_who_asks_it() -> None:
    others = [finding("suspects", kind="weak_slice"), finding("suspects", kind="target_leak", subject="other")]
    assert answered(others, [attested(TOPIC)], TODAY) == tuple(others)
    asks = finding("suspects", kind="reliance", question="Is `duration` known when the prediction is made?")
    assert answered([asks], [attested(TOPIC)], TODAY)[0].grade == "notes"


def test_a_finding_on_several_columns_wants_each_attested() -> None:
    both = finding("suspects", subject="casual + registered", details={"columns": ["casual", "registered"]})
    one, other = (attested(f"known-at-prediction:{name}", person=name) for name in ("casual", "registered"))
    assert answered([both], [one], TODAY)[0].grade == "suspects"
    (found,) = answered([both], [one, other], TODAY)
    assert found.grade == "notes"
    assert found.answer == "casual, until 2026-06-30: so; registered, until 2026-06-30: so"


def test_any_finding_can_be_answered_by_its_kind_and_subject() -> None:
    (found,) = answered([finding("suspects", kind="churn", subject="a:b")], [attested("finding:churn:a:b")], TODAY)
    assert found.grade == "notes"


def test_of_several_the_one_that_counts_longest_answers() -> None:
    several = [attested(TOPIC, "First"), attested(TOPIC, "Last", "2027-01-01"), attested(TOPIC, "Gone", "2025-01-01")]
    assert answered([finding("suspects")], several, TODAY)[0].answer.startswith("Last, until 2027-01-01")


@pytest.mark.parametrize("text", ["", "x", "known-at-prediction:", "finding:kind", "finding::subject", "finding:kind:"])
def test_another_form_is_no_topic(text: str) -> None:
    with pytest.raises(UsageError, match="is no topic"):
        parse_topic(text)


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("known-at-predicton:a", "known-at-prediction"),
        ("ml-test-score:data-8", "data-"),
        ("known-at-prediction:durations", "duration"),
    ],
)
def test_an_unknown_part_names_the_nearest(text: str, nearest: str) -> None:
    with pytest.raises(UnknownName, match=f"did you mean '{nearest}"):
        parse_topic(text, ["duration", "month"])

"""Attestations and waivers as signed words: what a named person answers for, until a date.

Owns the nouns, their topics, and the exact bytes that are signed; ``lifecycle.attestations`` keeps them. Laws: every
word has an expiry date, and counts up to that day and no longer; an attestation answers a suspicion and never lifts
what is proven.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from enum import StrEnum
from typing import NamedTuple

import msgspec

from roadworthy.errors import Problem, UnknownName, UsageError
from roadworthy.records.digests import Digest, canonical_json
from roadworthy.records.evidence import Finding
from roadworthy.records.test_score import ML_TESTS
from roadworthy.records.verdict import Waiver

__all__ = [
    "Attestation",
    "Revocation",
    "Signed",
    "SignedKind",
    "Standing",
    "Topic",
    "TopicKind",
    "answered",
    "as_attestation",
    "as_waiver",
    "attestation_for",
    "in_force",
    "parse_topic",
    "revocation_message",
    "signed_message",
]

_DOMAIN = b"roadworthy signed word 1\n"  # so that no other signature of the same key can be taken for one of these
_DOMAIN_REVOKED = b"roadworthy revoked word 1\n"
_LEAK = "target_leak"
_ASKED = "known when the prediction is made"


class Attestation(msgspec.Struct, frozen=True, kw_only=True):
    """A named person's signed statement on a topic, until ``expires`` (ISO date, that day included)."""

    topic: str
    statement: str
    person: str
    expires: str
    signature: str = ""


class SignedKind(StrEnum):
    """What a signed word does."""

    ATTESTATION = "attestation"  # answers a question that data cannot
    WAIVER = "waiver"  # lets a requirement stay unmet


class Standing(StrEnum):
    """Whether a word counts. Each comment says what is true in it."""

    IN_FORCE = "in force"  # signed, not revoked, and its last day has not passed
    EXPIRED = "expired"  # its last day has passed
    REVOKED = "revoked"  # somebody signed that it no longer holds


class Revocation(msgspec.Struct, frozen=True, kw_only=True):
    """Who took a word back, and when (ISO 8601 in UTC); ``signature`` is base64."""

    person: str
    at: str
    signer: Digest
    signature: str = ""


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """A word as the registry keeps it: the ``number``-th of its project.

    ``subject`` is an attestation's topic or a waiver's requirement, ``words`` its statement or reason; ``signed_at`` is
    ISO 8601 in UTC, ``signer`` the key's fingerprint, ``signature`` the Ed25519 one over ``signed_message`` in base64.
    """

    project: str
    number: int
    kind: SignedKind
    subject: str
    words: str
    person: str
    expires: str
    signed_at: str
    signer: Digest
    signature: str = ""
    revocation: Revocation | None = None

    @property
    def title(self) -> str:
        """The short name for people: ``clicks attestation 3``."""
        return f"{self.project} {self.kind} {self.number}"

    def standing(self, today: date) -> Standing:
        """Whether it counts on a day."""
        if self.revocation is not None:
            return Standing.REVOKED
        return Standing.IN_FORCE if in_force(self.expires, today) else Standing.EXPIRED


def in_force(expires: str, today: date) -> bool:
    """Whether something that expires on an ISO date still counts: that day is the last one.

    >>> in_force("2027-05-20", date(2027, 5, 20)), in_force("2027-05-20", date(2027, 5, 21))
    (True, False)
    """
    return date.fromisoformat(expires) >= today


def signed_message(word: Signed) -> bytes:
    """The bytes that are signed: every field but the signature itself and what came after it."""
    return _DOMAIN + canonical_json(msgspec.structs.replace(word, signature="", revocation=None))


def revocation_message(word: Signed, revocation: Revocation) -> bytes:
    """The bytes that a revocation signs: the word with its signature, and who takes it back when."""
    bare = msgspec.structs.replace(revocation, signature="")
    return _DOMAIN_REVOKED + canonical_json(msgspec.structs.replace(word, revocation=bare))


def as_attestation(word: Signed) -> Attestation:
    """The word as ``answered`` and ``measures.test_score.score`` read it."""
    return Attestation(
        topic=word.subject,
        statement=word.words,
        person=word.person,
        expires=word.expires,
        signature=word.signature,
    )


def as_waiver(word: Signed) -> Waiver:
    """The word as ``standard.judge`` reads it."""
    return Waiver(
        requirement=word.subject,
        person=word.person,
        reason=word.words,
        expires=word.expires,
        signature=word.signature,
    )


class TopicKind(StrEnum):
    """What an attestation may be about."""

    KNOWN = "known-at-prediction"  # a column is known when the prediction is made
    TEST = "ml-test-score"  # one of the 28 tests is done by hand
    FINDING = "finding"  # a finding of some kind on some subject was looked into


class Topic(NamedTuple):
    """A topic in its parts: ``subject`` is the column, the test, or what the finding is about; ``found`` its kind."""

    kind: TopicKind
    subject: str
    found: str = ""


_FORMS = (
    "known-at-prediction:COLUMN",
    "ml-test-score:TEST (data-1 … monitor-7)",
    "finding:KIND:SUBJECT (as the inspection names it)",
)


def parse_topic(text: str, columns: Iterable[str] | None = None) -> Topic:
    """The topic that a text names; ``columns`` are those that may be attested, None for any.

    Raises UnknownName with the nearest one for an unknown kind, test or column, UsageError for another form.

    >>> parse_topic("finding:target_leak:duration")
    Topic(kind=<TopicKind.FINDING: 'finding'>, subject='duration', found='target_leak')
    """
    word, colon, rest = text.strip().partition(":")
    if colon and word not in tuple(TopicKind):
        raise UnknownName("topic", word, map(str, TopicKind), next_step=f"one of: {'; '.join(_FORMS)}")
    subject, found = rest.strip(), ""
    if word == TopicKind.FINDING:
        found, _, subject = (part.strip() for part in rest.partition(":"))
    if not colon or not subject or (word == TopicKind.FINDING and not found):
        raise UsageError(
            f"{text!r} is no topic",
            problems=[Problem(repr(text), expected=form) for form in _FORMS],
            next_step="roadworthy attest TOPIC STATEMENT --by NAME --expires DATE",
        )
    if word == TopicKind.TEST and subject not in ML_TESTS:
        raise UnknownName("test of the ML Test Score", subject, ML_TESTS)
    if word == TopicKind.KNOWN and columns is not None:
        known = tuple(columns)
        if subject not in known:
            raise UnknownName("column", subject, known)
    return Topic(TopicKind(word), subject, found)


def attestation_for(topic: Topic, attestations: Iterable[Attestation], today: date) -> Attestation | None:
    """The attestation on a topic that counts longest; None where none counts today."""
    counting = [one for one in attestations if in_force(one.expires, today) and parse_topic(one.topic) == topic]
    return max(counting, key=lambda one: one.expires, default=None)


def answered(findings: Iterable[Finding], attestations: Sequence[Attestation], today: date) -> tuple[Finding, ...]:
    """The findings with their answers: a suspicion that a person answered for becomes a note.

    ``finding:KIND:SUBJECT`` answers the finding of that kind on that subject; ``known-at-prediction:COLUMN`` every
    finding that asks whether the column is known when the prediction is made; where a finding names several columns in
    ``details["columns"]``, each has to be attested. What *fails* keeps its grade: it is proven, and only a waiver of
    its requirement lets it stand; the answer is shown beside it.
    """
    return tuple(_with_answer(finding, attestations, today) for finding in findings)


def _with_answer(finding: Finding, attestations: Sequence[Attestation], today: date) -> Finding:
    about = attestation_for(Topic(TopicKind.FINDING, finding.subject, finding.kind), attestations, today)
    said = [about] if about else _known(finding, attestations, today)
    if not said:
        return finding
    answer = "; ".join(f"{one.person}, until {one.expires}: {one.statement}" for one in said)
    grade = "notes" if finding.grade == "suspects" else finding.grade
    return msgspec.structs.replace(finding, answer=answer, grade=grade)


def _known(finding: Finding, attestations: Sequence[Attestation], today: date) -> list[Attestation]:
    """What was attested of the columns of a finding that asks whether they are known; empty unless of each."""
    if finding.kind != _LEAK and _ASKED not in finding.question.lower():
        return []
    columns = finding.details.get("columns") or [finding.subject]
    found = [attestation_for(Topic(TopicKind.KNOWN, str(column)), attestations, today) for column in columns]
    said = [one for one in found if one is not None]
    return list(dict.fromkeys(said)) if len(said) == len(found) else []

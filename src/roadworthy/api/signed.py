"""``attest`` and ``waive``: what a named person answers for, signed with the project's key, until a date.

In: words from a person. Out: a ``SignedView``: the words that the call signed, took back, or found. Laws: nothing is
signed without a name and an expiry date, at most two years ahead; a waiver names a requirement of the standard as it
stands; an attestation names a topic that something will read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import msgspec

from roadworthy import assembly
from roadworthy.errors import Problem, UnknownName, UsageError
from roadworthy.lifecycle.registry import Registry
from roadworthy.records.attestation import (
    Signed,
    SignedKind,
    Standing,
    TopicKind,
    answered,
    as_attestation,
    parse_topic,
)
from roadworthy.records.digests import Digest
from roadworthy.standard import CATALOGUE, Standard, exact_quantity, parse_quantity
from roadworthy.transforms.durations import microseconds

__all__ = ["SignedLine", "SignedView", "attest", "waive"]

_DAY = 86_400_000_000
_YEARS = 2
_LONGEST = {"subject": 300, "person": 120, "words": 2_000}
_LINE = re.compile(r"^\s*(\w+)\s*(>=|<=)\s*(.+?)(?:\s+for\s+every\s+(.+?))?\s*$")


class SignedLine(msgspec.Struct, frozen=True, kw_only=True):
    """One signed word: ``subject`` is the topic or the requirement, ``words`` the statement or the reason.

    ``revoked_by`` is empty while nobody took it back.
    """

    number: int
    kind: SignedKind
    subject: str
    words: str
    person: str
    expires: str
    standing: Standing
    signed_at: str
    signer: Digest
    revoked_by: str = ""


class SignedView(msgspec.Struct, frozen=True, kw_only=True):
    """What a call did: ``did`` is ``listed``, ``signed`` or ``revoked``, ``lines`` the words that it did it to."""

    project: str
    kind: SignedKind
    did: str
    lines: tuple[SignedLine, ...]
    notes: tuple[str, ...] = ()


def attest(
    topic: str = "",
    statement: str = "",
    *,
    by: str = "",
    expires: str = "",
    revoke: bool = False,
    project: Path | str = assembly.PROJECT_FILE,
) -> SignedView:
    """Sign a statement on a topic, take it back (``revoke``), or list all attestations (no ``topic``).

    ``topic`` is ``known-at-prediction:COLUMN``, ``ml-test-score:TEST`` or ``finding:KIND:SUBJECT``. ``expires`` is an
    ISO date or a span from today (``"180 days"``). Raises UsageError with everything that is wrong at once, UnknownName
    for a column, test or topic that is not there.
    """
    opened = assembly.open_project(project)
    kind, spec = SignedKind.ATTESTATION, opened.spec
    if not topic:
        return _listed(opened, kind, [statement, by, expires], revoke=revoke)
    columns = [*spec.contract.columns, *spec.features]
    parsed = parse_topic(topic, None if revoke else columns)
    subject = ":".join(filter(None, (parsed.kind, parsed.found, parsed.subject)))
    view = _done(opened, kind, subject, statement, by=by, expires=expires, revoke=revoke)
    if revoke or parsed.kind is TopicKind.TEST:
        return view
    return msgspec.structs.replace(view, notes=_answers(opened, view))


def waive(
    requirement: str = "",
    *,
    by: str = "",
    reason: str = "",
    expires: str = "",
    revoke: bool = False,
    project: Path | str = assembly.PROJECT_FILE,
) -> SignedView:
    """Sign that a requirement may stay unmet until a date, take it back (``revoke``), or list all waivers.

    ``requirement`` is a line of the standard, as the verdict shows it; the next ``run`` judges with it. A check that
    broke cannot be waived. ``expires`` and errors are as in ``attest``.
    """
    opened = assembly.open_project(project)
    kind = SignedKind.WAIVER
    if not requirement:
        return _listed(opened, kind, [reason, by, expires], revoke=revoke)
    plain = " ".join(requirement.split())
    line = (_canonical(plain) or plain) if revoke else _line_of(opened.standard, plain)
    view = _done(opened, kind, line, reason, by=by, expires=expires, revoke=revoke)
    note = f"the next `roadworthy run` or `inspect` judges {'without' if revoke else 'with'} it"
    return msgspec.structs.replace(view, notes=(note,))


def _listed(opened: assembly.Project, kind: SignedKind, given: Iterable[str], *, revoke: bool) -> SignedView:
    if revoke or any(given):
        command, what = _command(kind)
        raise UsageError(f"{command} was not told which {what}", next_step=f"roadworthy {command}   # lists them")
    with assembly.opened_registry(opened) as registry:
        return _view(opened, kind, "listed", registry.signed(opened.spec.name), registry.today())


def _done(
    opened: assembly.Project, kind: SignedKind, subject: str, words: str, *, by: str, expires: str, revoke: bool
) -> SignedView:
    with assembly.opened_registry(opened) as registry:
        today = registry.today()
    given = {"subject": subject, "person": by.strip()} | ({} if revoke else {"words": " ".join(words.split())})
    last_day = _checked(kind, given, expires, today, revoke=revoke)
    keys = assembly.project_keys(opened)
    name = opened.spec.name
    with assembly.opened_registry(opened) as registry:
        if last_day is not None:
            signed = registry.sign(
                name,
                kind,
                subject,
                given["words"],
                person=given["person"],
                expires=last_day,
                sign=keys.sign,
                public_pem=keys.public_pem,
            )
            return _view(opened, kind, "signed", (signed,), today)
        taken = registry.revoke(name, kind, subject, person=given["person"], sign=keys.sign, public_pem=keys.public_pem)
        if not taken:
            raise _nothing_in_force(registry, name, kind, subject, today)
        return _view(opened, kind, "revoked", taken, today)


def _checked(kind: SignedKind, given: dict[str, str], expires: str, today: date, *, revoke: bool) -> date | None:
    """The last day, None for a revocation; UsageError with every fault of the words."""
    command, what = _command(kind)
    options = {"subject": what, "person": "--by", "words": "STATEMENT" if command == "attest" else "--reason"}
    problems = [problem for key, text in given.items() for problem in _faults(text, options[key], _LONGEST[key])]
    last_day = None
    if revoke and expires:
        problems.append(Problem(f"--expires {expires}", expected="none: a revocation holds at once, and for good"))
    if not revoke:
        try:
            last_day = _expiry(expires, today)
        except UsageError as error:
            problems += error.problems
    if problems:
        rest = '"STATEMENT" --by NAME' if command == "attest" else '--by NAME --reason "…"'
        raise UsageError(
            f"this {kind} cannot be {'revoked' if revoke else 'signed'}",
            problems=problems,
            next_step=f"roadworthy {command} {what} "
            + ("--revoke --by NAME" if revoke else f"{rest} --expires {today + timedelta(days=180)}"),
        )
    return last_day


def _faults(text: str, option: str, longest: int) -> list[Problem]:
    if not text:
        return [Problem(f"no {option}", expected="one: a signed word names who says what")]
    if not text.isprintable():
        return [Problem(f"{option} holds characters that cannot be printed", expected="plain text of one line")]
    if len(text) > longest:
        return [Problem(f"{option} of {len(text):,} characters", expected=f"at most {longest:,}")]
    return []


def _expiry(text: str, today: date) -> date:
    """The last day that a text means; UsageError for none, a passed one, or one more than two years ahead."""
    furthest = _years_after(today, _YEARS)
    expected = f"a date from {today} to {furthest}, or a span such as '180 days'"
    found = _day(text.strip(), today)
    if found is None:
        raise UsageError(
            "no expiry date", problems=[Problem(f"--expires {text!r}" if text else "no --expires", expected=expected)]
        )
    if not today <= found <= furthest:
        how = "has passed" if found < today else f"is more than {_YEARS} years ahead"
        raise UsageError("no expiry date", problems=[Problem(f"--expires {found} {how}", expected=expected)])
    return found


def _day(text: str, today: date) -> date | None:
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            return None
    try:
        return today + timedelta(days=microseconds(text) // _DAY)
    except (UsageError, OverflowError):
        return None


def _years_after(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year + years)
    except ValueError:  # the 29th of February
        return day.replace(year=day.year + years, day=28)


def _line_of(standard: Standard, text: str) -> str:
    """The standard's own line for a requirement, whatever its spaces and however its bound is written."""
    lines = [requirement.line() for requirement in standard.requirements]
    for form in (text, _canonical(text)):
        if form in lines:
            return form
    raise UnknownName(
        "requirement", text, lines, next_step="name one of the standard's requirements as it stands in the list"
    )


def _canonical(text: str) -> str:
    match = _LINE.match(text)
    if match is None or match[1] not in CATALOGUE:
        return ""
    unit = CATALOGUE[match[1]].unit
    try:
        bound = exact_quantity(parse_quantity(match[3], unit), unit)
    except ValueError:
        return ""
    return f"{match[1]} {match[2]} {bound}" + (f" for every {match[4]}" if match[4] else "")


def _answers(opened: assembly.Project, view: SignedView) -> tuple[str, ...]:
    """What a new attestation answers in the newest version's evidence."""
    with assembly.opened_registry(opened) as registry:
        versions = registry.versions(opened.spec.name)
        today = registry.today()
        numbers = {line.number for line in view.lines}
        words = [as_attestation(word) for word in registry.signed(opened.spec.name) if word.number in numbers]
    if not versions:
        return ()
    newest = versions[0]
    after = answered(newest.evidence.findings, words, today)
    pairs = zip(newest.evidence.findings, after, strict=True)
    changed = [new for old, new in pairs if new.answer != old.answer]
    if not changed:
        return (f"{newest.title} has no finding that this answers",)
    stands = [
        f"{one.kind} of {one.subject} is proven: only a waiver lets it stand" for one in changed if one.grade == "fails"
    ]
    asked = [f"it answers {one.kind} of {one.subject} in {newest.title}" for one in changed if one.grade != "fails"]
    return (*asked, *stands)


def _nothing_in_force(registry: Registry, name: str, kind: SignedKind, subject: str, today: date) -> UsageError:
    words = registry.signed(name)
    known = [word.subject for word in words if word.kind is kind and word.standing(today) is Standing.IN_FORCE]
    command, _ = _command(kind)
    return UnknownName(f"{kind} in force", subject, known, next_step=f"roadworthy {command}   # lists them")


def _command(kind: SignedKind) -> tuple[str, str]:
    return ("attest", "TOPIC") if kind is SignedKind.ATTESTATION else ("waive", "REQUIREMENT")


def _view(opened: assembly.Project, kind: SignedKind, did: str, words: Iterable[Signed], today: date) -> SignedView:
    lines = tuple(
        SignedLine(
            number=word.number,
            kind=word.kind,
            subject=word.subject,
            words=word.words,
            person=word.person,
            expires=word.expires,
            standing=word.standing(today),
            signed_at=word.signed_at,
            signer=word.signer,
            revoked_by=word.revocation.person if word.revocation else "",
        )
        for word in words
        if word.kind is kind
    )
    return SignedView(project=opened.spec.name, kind=kind, did=did, lines=lines)

"""What a column's name gives away: persons, protected groups, identifiers, things known only afterwards.

In: a name. Out: the kind of thing it hints at, or nothing. Names are split into lower-case words first
(``customerEmail``, ``customer-email`` and ``customer_email`` are the same). A hint is only ever a hint.
"""

from __future__ import annotations

import re
from itertools import pairwise

__all__ = ["after_the_event", "identifier", "never_negative", "personal", "protected", "time_like", "words"]

_SPLIT = re.compile(r"[^0-9A-Za-z]+|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

_PERSON = {
    "user", "customer", "client", "patient", "employee", "member", "person", "student", "driver", "subscriber",
    "passenger", "visitor", "player", "citizen", "applicant", "borrower", "worker", "tenant", "guest", "holder",
    "contact", "owner",
}  # fmt: skip
_NAMES = {"name", "firstname", "lastname", "surname", "fullname", "username", "forename", "nickname"}
_NAME_PARTS = _PERSON | {"first", "last", "full", "middle", "given", "family", "sur", "maiden", "nick", "name"}
_PERSONAL: dict[str, set[str]] = {
    "an e-mail address": {"email", "mail", "emailaddress"},
    "a telephone number": {"phone", "telephone", "tel", "mobilephone", "cellphone", "fax", "phonenumber", "msisdn"},
    "an IP address": {"ip", "ipaddress", "ipaddr", "ipv4", "ipv6"},
    "a card or account number": {"iban", "creditcard", "cardnumber", "ccnum", "pan", "cvv", "bic"},
    "an official number of a person": {"ssn", "passport", "nino", "taxid", "nhs", "socialsecurity"},
    "a postal address": {"address", "street", "addr", "streetaddress", "postcode", "zipcode", "zip"},
    "a birth date": {"dob", "birthdate", "birthday", "dateofbirth", "born"},
}
_PROTECTED: dict[str, set[str]] = {
    "sex": {"sex", "gender"},
    "race or ethnicity": {"race", "ethnicity", "ethnic", "caste"},
    "age": {"age", "ages", "agegroup", "ageband"},
    "religion": {"religion", "religious", "faith"},
    "nationality or origin": {"nationality", "citizenship", "nativecountry", "birthplace", "immigrant", "nativity"},
    "disability": {"disability", "disabled", "handicap"},
    "marital status": {"marital", "maritalstatus", "married", "marriage"},
    "pregnancy": {"pregnant", "pregnancy"},
    "sexual orientation": {"orientation"},
    "veteran status": {"veteran"},
}
_AFTERWARDS = {
    "outcome", "result", "results", "final", "actual", "delay", "cancelled", "canceled", "cancellation", "refund",
    "refunded", "chargeback", "resolution", "resolved", "closed", "paid", "recovery", "recoveries", "recovered",
    "settled", "settlement", "discharge", "discharged", "death", "died", "deceased", "duration", "elapsed", "ended",
    "finish", "finished", "completed", "completion", "after", "post", "returned", "arrival", "arrived", "delivered",
    "prediction", "predicted", "probability", "proba", "score", "label", "target", "confirmed", "diagnosed",
    "churned", "converted", "exit", "exited", "reason", "writeoff", "collected", "collection",
}  # fmt: skip
_IDENTIFIERS = {"id", "ids", "uuid", "guid", "key", "identifier", "index", "idx", "rowid", "recordid", "serial"}
_TIME = {
    "time", "timestamp", "date", "datetime", "ts", "created", "at", "day", "when", "hour", "dt", "occurred",
    "event", "observed", "recorded", "dteday", "instant",
}  # fmt: skip
_AMOUNTS = {
    "seconds", "secs", "minutes", "mins", "hours", "days", "months", "years", "ms", "count", "counts", "number",
    "price", "distance", "weight", "height", "length", "width", "area", "size", "age", "clicks", "visits", "km", "kg",
    "miles", "duration", "quantity", "qty", "percent", "share", "rate",
}  # fmt: skip


def words(name: str) -> tuple[str, ...]:
    """The lower-case words of a name.

    >>> words("customerEmail"), words("native-country"), words("user_id")
    (('customer', 'email'), ('native', 'country'), ('user', 'id'))
    """
    return tuple(part.lower() for part in _SPLIT.split(name) if part)


def _spellings(name: str) -> set[str]:
    parts = words(name)
    joined = {"".join(parts)} | {"".join(pair) for pair in pairwise(parts)}
    return set(parts) | joined | {part.rstrip("0123456789") for part in parts}


def personal(name: str) -> str:
    """What personal thing the name speaks of, or an empty text.

    >>> personal("customer_email"), personal("beer-name"), personal("userId")
    ('an e-mail address', '', 'the identifier of a person')
    """
    spelt = _spellings(name)
    parts = set(words(name))
    for what, hints in _PERSONAL.items():
        if spelt & hints:
            return what
    if spelt & _NAMES and (parts <= _NAME_PARTS | _NAMES):
        return "the name of a person"
    if {"birth", "date"} <= parts or ({"card", "number"} <= parts) or ({"social", "security"} <= parts):
        return "a birth date" if "birth" in parts else "an official or card number"
    if parts & _PERSON and (parts & _IDENTIFIERS or parts & {"number", "no", "num", "code", "hash"}):
        return "the identifier of a person"
    return ""


def protected(name: str) -> str:
    """Which protected ground the name speaks of, or an empty text.

    >>> protected("marital-status"), protected("native-country"), protected("wage")
    ('marital status', 'nationality or origin', '')
    """
    spelt = _spellings(name)
    return next((ground for ground, hints in _PROTECTED.items() if spelt & hints), "")


def identifier(name: str) -> bool:
    """Whether the name says that the column names things rather than describes them."""
    parts = words(name)
    return bool(set(parts) & _IDENTIFIERS) or (len(parts) == 1 and parts[0].endswith(("_id", "uuid", "guid")))


def after_the_event(name: str, target: str) -> str:
    """The word that hints at something known only afterwards, or an empty text.

    >>> after_the_event("call_duration", "y"), after_the_event("churn_reason", "churn"), after_the_event("age", "y")
    ('duration', 'churn', '')
    """
    parts = words(name)
    own = [part for part in words(target) if len(part) > 3]
    return next((part for part in parts if part in own or part in _AFTERWARDS), "")


def never_negative(name: str) -> bool:
    """Whether the name speaks of an amount that cannot fall below zero.

    >>> never_negative("dwell_seconds"), never_negative("balance")
    (True, False)
    """
    return bool(set(words(name)) & _AMOUNTS)


def time_like(name: str) -> bool:
    """Whether the name speaks of an instant."""
    return bool(set(words(name)) & _TIME)

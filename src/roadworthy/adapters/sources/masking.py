"""What may be shown of a URL: everything but its credentials.

In: a URL as declared. Out: the same without what could be a password, key or token. Credentials are not parsed: a
key may hold any character that a URL gives a meaning to, so whatever stands where credentials can stand is left out.
"""

from __future__ import annotations

import re

__all__ = ["masked_database", "masked_object", "without_values"]

_PASSWORD = re.compile(r"(://[^:@]*):.*@", re.DOTALL)
_SECRET_OPTION = re.compile(r"([?&])[^=&]*(?:pass|secret|token|key)[^=&]*=[^&]*", re.IGNORECASE)
_QUOTE = re.compile(r"(?<!\w)[\"'`\u201c\u00ab]")


def masked_database(url: str) -> str:
    """A database URL without password: user, host, database and harmless options stay.

    >>> masked_database("postgresql://me:a/b@c@host/shop?sslmode=require&sslpassword=x")
    'postgresql://me:***@host/shop?sslmode=require'
    """
    bare = _SECRET_OPTION.sub(lambda match: match[1] if match[1] == "?" else "", _PASSWORD.sub(r"\1:***@", url))
    return bare.replace("?&", "?").removesuffix("?")


def masked_object(url: str) -> str:
    """An object store's URL without anything before the last @ and without query.

    >>> masked_object("s3://AKIA:ab/cd+ef@bucket/a.parquet"), masked_object("az://box/a.csv?sv=1&sig=S")
    ('s3://***@bucket/a.parquet', 'az://box/a.csv?***')
    """
    scheme, mark, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    place, question, query = place.partition("?")
    tail = "?***" if "=" in query else question + query  # without a pair it is a glob's question mark
    return f"{scheme}{mark}{'***@' if credentials and at else at}{place}{tail}"


def without_values(reason: str, own: str) -> str:
    """A server's sentence without quoted values, which may be cells; what the query itself says (``own``) stays.

    >>> without_values('invalid input syntax for type integer: "ada@example.org"', "select mail::int from people")
    'invalid input syntax for type integer: …'
    >>> without_values('column "prize" does not exist', "select prize from sale")
    'column "prize" does not exist'
    """
    kept, rest = "", reason
    while match := _QUOTE.search(rest):
        start, mark = match.start(), {"\u201c": "\u201d", "\u00ab": "\u00bb"}.get(match[0], match[0])
        end = rest.find(mark, start + 1)
        word = rest[start + 1 : end]
        if end > start and word and word in own:
            kept, rest = kept + rest[: end + 1], rest[end + 1 :]
        else:
            last = rest.rfind(mark)  # a cell may hold quotes of its own: everything up to the last one goes
            kept, rest = kept + rest[:start] + "…", rest[last + 1 :] if last > start else ""
    return kept + rest

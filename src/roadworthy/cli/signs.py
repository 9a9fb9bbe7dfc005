"""The signs of the terminal, and foreign text made safe for it.

In: the encoding of the place that is written to, texts from anywhere. Out: signs that it can show, texts without
control characters.
"""

from __future__ import annotations

from dataclasses import dataclass

from roadworthy.formats.wording import clipped
from roadworthy.records.verdict import Outcome, Readiness

__all__ = ["Signs", "plain", "sign_of", "style_of", "word_of"]

_ASCII = str.maketrans(
    {"→": "->", "×": "x", "–": "-", "—": "-", "−": "-", "…": "~", "µ": "u", "≥": ">=", "≤": "<=", "“": '"', "”": '"',
     "’": "'", "²": "2", "∞": "inf", "·": "-"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Signs:
    """What stands for good, bad, open, noted, waived."""

    good: str
    bad: str
    broke: str
    open: str
    waived: str
    unicode: bool

    @staticmethod
    def of(encoding: str) -> Signs:
        """The signs that an encoding can show.

        >>> Signs.of("utf-8").good, Signs.of("ascii").good
        ('✔', '+')
        """
        if encoding.lower().replace("_", "-").startswith("utf"):
            return Signs(good="✔", bad="✘", broke="!", open="?", waived="~", unicode=True)
        return Signs(good="+", bad="x", broke="!", open="?", waived="~", unicode=False)


def plain(text: str, signs: Signs, limit: int = 200) -> str:
    """Foreign text without control characters, at most ``limit`` long, in letters that the place can show.

    >>> plain("10 × 2 → 9 × 2", Signs.of("ascii"))
    '10 x 2 -> 9 x 2'
    """
    shown = clipped(text, limit)
    if signs.unicode:
        return shown
    return shown.translate(_ASCII).encode("ascii", "replace").decode("ascii")


_WORDS = {
    Outcome.PASS: "passes",
    Outcome.FAIL: "fails",
    Outcome.ERROR: "check broke",
    Outcome.INSUFFICIENT: "not proven",
    Outcome.WAIVED: "waived",
}
_STYLES: dict[str, str] = {
    Outcome.PASS: "green",
    Outcome.FAIL: "red",
    Outcome.ERROR: "red",
    Outcome.INSUFFICIENT: "yellow",
    Outcome.WAIVED: "magenta",
    Readiness.READY: "green",
    Readiness.NOT_READY: "red",
    Readiness.NOT_PROVEN: "yellow",
}


def word_of(outcome: Outcome) -> str:
    """An outcome in words."""
    return _WORDS[outcome]


def style_of(status: Outcome | Readiness) -> str:
    """A terminal colour, as an addition to sign and word."""
    return _STYLES[status]


def sign_of(status: Outcome | Readiness, signs: Signs) -> str:
    """The sign of a status."""
    by_status: dict[str, str] = {
        Outcome.PASS: signs.good,
        Outcome.FAIL: signs.bad,
        Outcome.ERROR: signs.broke,
        Outcome.INSUFFICIENT: signs.open,
        Outcome.WAIVED: signs.waived,
        Readiness.READY: signs.good,
        Readiness.NOT_READY: signs.bad,
        Readiness.NOT_PROVEN: signs.open,
    }
    return by_status[status]

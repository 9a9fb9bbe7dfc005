"""Looks back: a small change that lasts shows over 2, 4, 8, … windows, long before any single window proves it.

In: one window's sketch after the other. Out: the sketches of the blocks that end with it. At scale s a block is the
last 2**s windows, and one ends every 2**(s-1) windows, so that neighbours overlap by half: a change that begins
anywhere fills a block after at most 1.5 times its length, where blocks side by side take up to twice theirs.

Laws: pure and restartable (``Kept`` is all that is remembered, one sketch per scale); the block that comes out equals
the merge of its windows' own sketches; which blocks end with a window depends on its number alone. A window without
rows counts as time that passed: blocks end on it and have the rows of the others.
"""

from __future__ import annotations

import msgspec

from roadworthy.errors import DataError
from roadworthy.measures.sketches import Reference, merge

__all__ = ["MOST_SCALES", "Block", "Kept", "Look", "advanced", "blocks_ending_at", "looks_until", "scales_for"]

MOST_SCALES = 10
"""Looks go back over at most 2**9 = 512 windows: hourly ones three weeks, daily ones more than a year."""


class Block(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Windows ``first`` to ``last``, both included, 2**``scale`` of them."""

    scale: int
    first: int
    last: int


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """A block with the sketch of all its rows; None where it has none."""

    block: Block
    sketch: Reference | None


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered between windows: ``blocks[s]`` sketches the last 2**s windows that ended side by side.

    ``number`` is the last window that went in, -1 before the first.
    """

    number: int = -1
    blocks: tuple[Reference | None, ...] = ()


def scales_for(windows: float) -> int:
    """How many scales fit into so many windows: those with 2**scale of them at most, and never over ten.

    >>> scales_for(720), scales_for(30), scales_for(0.5)
    (10, 5, 1)
    """
    return max(1, min(MOST_SCALES, int(windows).bit_length()))


def blocks_ending_at(number: int, scales: int) -> tuple[Block, ...]:
    """The blocks that end with window ``number`` (from 0), the shortest first.

    >>> [(block.first, block.last) for block in blocks_ending_at(5, 3)]
    [(5, 5), (4, 5), (2, 5)]
    """
    ended = number + 1
    return tuple(
        Block(scale=scale, first=ended - (1 << scale), last=number)
        for scale in range(scales)
        if ended % _stride(scale) == 0 and ended >= (1 << scale)
    )


def looks_until(windows: int, scale: int) -> int:
    """How many blocks of a scale end within windows 0 … ``windows`` - 1."""
    return max(0, (windows - (1 << scale)) // _stride(scale) + 1)


def advanced(kept: Kept, number: int, sketch: Reference | None, scales: int) -> tuple[Kept, tuple[Look, ...]]:
    """Take in window ``number``: what is remembered now, and the looks at all blocks that end with it.

    ``sketch`` is None for a window without rows. Windows that were left out since the last one had none either; the
    blocks that ended in between are looked at too, since their time has passed. Raises DataError where the window is
    not after the last.
    """
    if number <= kept.number:
        raise DataError(f"window {number} after window {kept.number}: windows are taken in by rising number")
    passing = range(kept.number + 1, number) if kept.number >= 0 else range(0)  # before a series nothing is known
    looks: list[Look] = []
    for passed in passing[: 1 << scales]:  # after so many windows without rows nothing is remembered
        kept, found = _one(kept, passed, None, scales)
        looks.extend(look for look in found if look.sketch is not None)
    remembered = kept if len(passing) <= 1 << scales else Kept(number=number - 1)
    kept, found = _one(remembered, number, sketch, scales)
    looks.extend(found)
    return kept, tuple(looks)


def _one(kept: Kept, number: int, sketch: Reference | None, scales: int) -> tuple[Kept, list[Look]]:
    blocks = [*kept.blocks[:scales], *((None,) * (scales - len(kept.blocks)))]
    looks = [Look(block=Block(scale=0, first=number, last=number), sketch=sketch)]
    whole = sketch  # the block of 2**scale windows side by side that ends now
    for scale in range(scales):
        before, blocks[scale] = blocks[scale], whole
        longer = scale + 1
        if longer == scales:
            break
        whole = _both(before, whole)
        if number + 1 >= (1 << longer):
            looks.append(Look(block=Block(scale=longer, first=number + 1 - (1 << longer), last=number), sketch=whole))
        if (number + 1) % (1 << longer):
            break
    return Kept(number=number, blocks=tuple(blocks)), looks


def _both(left: Reference | None, right: Reference | None) -> Reference | None:
    return merge(left, right) if left is not None and right is not None else left or right


def _stride(scale: int) -> int:
    return 1 << max(scale - 1, 0)

"""What a monitor remembers of a series between windows: the looks back of the version that it watches, and its turns.

In: the registry's database. Out: ``Memory``, ``Looked``. Law: it is written in the transaction of the window that it
has taken in.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping

import msgspec
from sqlalchemy import Connection

from roadworthy.lifecycle import cursors
from roadworthy.measures.alarms.scales import Kept
from roadworthy.measures.sketches import CategorySketch, NumberSketch, Reference

__all__ = ["Looked", "Memory", "continued", "looked", "note_looks", "remember", "remembered"]

_REMEMBERED = 4_096


class Memory(msgspec.Struct, frozen=True):
    """The looks back of one version."""

    version: str = ""
    kept: Kept = Kept()


def continued(memory: Memory, version: str, sketch: Reference | None) -> Kept:
    """What looks back go on from: nothing where another version is watched now, or the log has other columns."""
    if memory.version not in {"", version}:
        return Kept()
    first = _first(memory)
    if first is None or sketch is None:
        return memory.kept
    same = first.numbers.keys() == sketch.numbers.keys() and first.categories.keys() == sketch.categories.keys()
    return memory.kept if same else Kept(number=memory.kept.number)


def remembered(connection: Connection, project: str, series: str) -> Memory:
    """What is remembered of a series; nothing before its first window."""
    words = cursors.cursor(connection, project, f"looks:{series}")
    if not words:
        return Memory()
    memory = msgspec.msgpack.decode(zlib.decompress(base64.b64decode(words)), type=Memory)
    return _with(memory, _framed)


def remember(connection: Connection, project: str, series: str, memory: Memory) -> None:
    """Remember this."""
    words = base64.b64encode(zlib.compress(msgspec.msgpack.encode(_with(memory, _bare)), 1)).decode()
    cursors.set_cursor(connection, project, f"looks:{series}", words)


def _with(memory: Memory, done: Callable[[Reference, Reference], Reference]) -> Memory:
    """The same with something done to all blocks but the first that is there, beside it: all have its frame."""
    first = _first(memory)
    if first is None:
        return memory
    blocks = tuple(one if one is None or one is first else done(one, first) for one in memory.kept.blocks)
    return Memory(memory.version, msgspec.structs.replace(memory.kept, blocks=blocks))


def _first(memory: Memory) -> Reference | None:
    return next((one for one in memory.kept.blocks if one is not None), None)


def _bare(one: Reference, frame: Reference) -> Reference:
    """A sketch without the frame that it shares with another: edges, labels, joint variables."""
    joint = one.joint and msgspec.structs.replace(one.joint, columns=())
    numbers = {name: msgspec.structs.replace(old, edges=()) for name, old in one.numbers.items()}
    categories = {name: msgspec.structs.replace(old, labels=()) for name, old in one.categories.items()}
    left = msgspec.structs.replace(one, numbers=numbers, categories=categories, joint=joint)
    return left if _framed(left, frame) == one else one


def _framed(one: Reference, frame: Reference) -> Reference:
    """The sketch that ``_bare`` was given; one that has a frame stays as it is."""

    def number(name: str, old: NumberSketch) -> NumberSketch:
        edges = old.edges or (frame.numbers[name].edges if name in frame.numbers else ())
        return msgspec.structs.replace(old, edges=edges)

    def category(name: str, old: CategorySketch) -> CategorySketch:
        labels = old.labels or (frame.categories[name].labels if name in frame.categories else ())
        return msgspec.structs.replace(old, labels=labels)

    joint = one.joint
    if joint is not None and frame.joint is not None and not joint.columns:
        joint = msgspec.structs.replace(joint, columns=frame.joint.columns)
    return msgspec.structs.replace(
        one,
        numbers={name: number(name, old) for name, old in one.numbers.items()},
        categories={name: category(name, old) for name, old in one.categories.items()},
        joint=joint,
    )


class Looked(msgspec.Struct, frozen=True, array_like=True):
    """That the looks back which end with a window had their ``turn``, at an instant, without a revision of it."""

    turn: int = 0
    at_us: int = 0


def looked(connection: Connection, project: str, series: str) -> dict[int, Looked]:
    """Looks back that were taken at windows without news of their own."""
    words = cursors.cursor(connection, project, f"looked:{series}")
    return {int(number): one for number, one in msgspec.json.decode(words or "{}", type=dict[str, Looked]).items()}


def note_looks(connection: Connection, project: str, series: str, more: Mapping[int, Looked]) -> None:
    """Remember these as well, and forget those that were longest not looked at; labels may be of windows long ago."""
    if not more:
        return
    found = {**looked(connection, project, series), **more}
    newest = sorted(found, key=lambda number: (found[number].at_us, number))[-_REMEMBERED:]
    kept = {str(number): found[number] for number in sorted(newest)}
    cursors.set_cursor(connection, project, f"looked:{series}", msgspec.json.encode(kept).decode())

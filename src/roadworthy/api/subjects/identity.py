"""What tells one model in memory from another: the digest of all that it is made of.

In: an estimator with what it has learned, or a function with what it uses. Out: a digest. Laws: the same fit gives the
same digest in any process, whatever the order of its sets and dictionaries, the places of its objects in memory, or the
time that the fit took; another fit gives another one. Nothing is written, and nothing is loaded. (joblib's hash pickles
the model in memory, refuses one that holds a lambda, and takes fit times and counters of searches for a part of it.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.records.digests import Digest

__all__ = ["model_digest"]

_PLAIN = (type(None), bool, int, float, complex, str, type(Ellipsis))
_NAMED = (type, BuiltinFunctionType, np.ufunc)
_TIMINGS = {"mean_fit_time", "std_fit_time", "mean_score_time", "std_score_time", "refit_time_"}
_DEEPEST = 150
_PROTOCOL = 4  # of how an object tells its state, as copying asks for it


def model_digest(model: Any) -> Digest:
    """The digest of a model's parameters and of all that it has learned.

    An object counts with its type and its state, an array with its values, a function with its code and whatever it
    uses of its own module. What does not tell its state (a lock, an open file), or lies more than 150 levels deep,
    counts with its type alone.
    """
    return "sha256:" + hashlib.sha256(_Walk().token(model)).hexdigest()


class _Walk:
    """One walk through a model: each value has a token, the same for equal values."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, bytes]] = {}  # values are held, so that no other takes their place in memory
        self._path: dict[int, int] = {}

    def token(self, value: Any) -> bytes:
        """The value in a few bytes."""
        if type(value) in _PLAIN:
            return f"{type(value).__name__} {value!r}".encode()
        if id(value) in self._known:
            return self._known[id(value)][1]
        if id(value) in self._path:
            return f"{len(self._path) - self._path[id(value)]} levels up".encode()
        if len(self._path) >= _DEEPEST:
            return _name(type(value))
        self._path[id(value)] = len(self._path)
        found = _joined(self._parts(value))
        del self._path[id(value)]
        self._known[id(value)] = (value, found)
        return found

    def _parts(self, value: Any) -> Iterator[bytes]:
        yield _name(type(value))
        if isinstance(value, np.ndarray | np.generic):
            yield from self._of_array(np.asanyarray(value))
        elif isinstance(value, dict):
            yield from self._of_dict(value)
        elif isinstance(value, list | tuple):
            yield from map(self.token, value)
        elif isinstance(value, set | frozenset):
            yield from sorted(map(self.token, value))
        elif isinstance(value, bytes | bytearray | memoryview):
            yield bytes(value)
        else:
            yield from self._of_code_or_object(value)

    def _of_code_or_object(self, value: Any) -> Iterator[bytes]:
        if isinstance(value, _NAMED):
            yield _name(value)
        elif isinstance(value, ModuleType):
            yield value.__name__.encode()
        elif isinstance(value, CodeType):
            yield value.co_code
            yield from map(self.token, (value.co_consts, value.co_names, value.co_varnames))
        elif isinstance(value, FunctionType):
            yield from self._of_function(value)
        elif isinstance(value, MethodType):
            yield from map(self.token, (value.__func__, value.__self__))
        else:
            yield from map(self.token, _state(value))

    def _of_array(self, array: NDArray[Any]) -> Iterator[bytes]:
        """Shape, kind and values: a record by its fields, since what lies between them is anything."""
        yield f"{array.shape} {array.dtype.str}".encode()
        if isinstance(array, np.ma.MaskedArray):
            yield self.token(np.ma.getmaskarray(array))
            yield self.token(np.asarray(array.compressed()))
        elif array.dtype.names is not None:
            for name in array.dtype.names:
                yield from (name.encode(), self.token(np.asarray(array[name])))
        elif array.dtype.hasobject:
            yield from map(self.token, np.asarray(array).ravel().tolist())
        else:
            yield hashlib.sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data).digest()

    def _of_dict(self, given: dict[Any, Any]) -> Iterator[bytes]:
        """By key, whatever the order; how long a fit took is no part of what it is."""
        kept = ((self.token(key), value) for key, value in given.items() if key not in _TIMINGS)
        for key, value in sorted(kept, key=lambda item: item[0]):
            yield from (key, self.token(value))

    def _of_function(self, function: FunctionType) -> Iterator[bytes]:
        """Name and code, defaults, what it closes over and uses of its module; other functions by name."""
        yield _name(function)
        cells = [_content(cell) for cell in function.__closure__ or ()]
        yield from map(self.token, (function.__code__, function.__defaults__, function.__kwdefaults__, cells))
        for name in sorted(_names(function.__code__)):
            used = function.__globals__.get(name)
            if isinstance(used, FunctionType) and used.__module__ != function.__module__:
                yield from (name.encode(), _name(used))
            elif used is not None:
                yield from (name.encode(), self.token(used))


def _state(value: Any) -> tuple[Any, ...]:
    """What an object is made of: an estimator's attributes, anything else's as copying it would ask."""
    if hasattr(value, "get_params") and hasattr(value, "__dict__"):
        return (vars(value),)
    if hasattr(value, "get_tree_stats") and hasattr(value, "get_arrays"):  # scikit-learn's: its state counts searches
        return tuple(value.get_arrays())
    try:
        told = value.__reduce_ex__(_PROTOCOL)
    except Exception:  # noqa: BLE001 - whatever a foreign object raises: it does not tell its state
        return ()
    if isinstance(told, str):
        return (told,)
    made, given, *rest = told
    return (made, given, *(list(part) if isinstance(part, Iterator) else part for part in rest))


def _joined(parts: Iterable[bytes]) -> bytes:
    state = hashlib.sha256()
    for part in parts:
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.digest()


def _name(value: Any) -> bytes:
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", "")
    return f"{getattr(value, '__module__', '')}.{name}".encode()


def _names(code: CodeType) -> set[str]:
    """The names that a piece of code, and those inside it, may look up."""
    inside = [_names(one) for one in code.co_consts if isinstance(one, CodeType)]
    return set(code.co_names).union(*inside)


def _content(cell: Any) -> Any:
    """What a function closes over; empty where it was never set."""
    try:
        return cell.cell_contents
    except ValueError:
        return ()

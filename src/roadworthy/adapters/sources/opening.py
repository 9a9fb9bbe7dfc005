"""From what is declared to a source: which kind it is, which files it names, which options are known.

In: ``[data] source`` (a path, glob, directory or URL, or a mapping with options) and the project's folder. Out:
one ``Source``. Nothing is guessed past the declared name: an unknown suffix, option or URL is refused by name.
``${NAME}`` in a URL, a query or a storage option is replaced by the environment variable of that name, so that
no secret needs to stand in the project file; what is shown and digested is the text as declared, with ``${NAME}``.
"""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from roadworthy.adapters.sources.columnar import ColumnarPart
from roadworthy.adapters.sources.delimited import DelimitedPart
from roadworthy.adapters.sources.dialects import ALIGNED, CsvOptions
from roadworthy.adapters.sources.encodings import LocalText
from roadworthy.adapters.sources.files import FileSource, Part
from roadworthy.adapters.sources.json_lines import NdjsonPart
from roadworthy.adapters.sources.masking import masked_object
from roadworthy.adapters.sources.remote import RemoteSource, is_object_url
from roadworthy.adapters.sources.sql import Declared, QuerySource, is_sql_url
from roadworthy.errors import Problem, SourceError, nearest
from roadworthy.protocols import Source

__all__ = ["open_source"]

_KINDS = {
    "csv": (".csv", ".tsv", ".tab", ".psv", ".txt", ".dat", ".data"),
    "parquet": (".parquet", ".pq"),
    "ndjson": (".ndjson", ".jsonl"),
    "arrow": (".arrow", ".feather", ".ipc"),
}
_BY_SUFFIX = {suffix: kind for kind, suffixes in _KINDS.items() for suffix in suffixes}
_REFUSED = {
    **dict.fromkeys(
        (".pkl", ".pickle", ".joblib", ".p"),
        "a pickle runs code when it is loaded, so it is never loaded; write the rows as Parquet where they were made: "
        "frame.to_parquet('rows.parquet')",
    ),
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "save the sheet as CSV"),
    **dict.fromkeys((".db", ".sqlite", ".sqlite3"), 'source = { url = "sqlite:///file.db", query = "select …" }'),
    ".json": 'write one object a line (.ndjson); if it is so already: source = { path = "…", format = "ndjson" }',
    ".zip": "unpack it; only gzip of CSV and NDJSON is read packed",
}
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_SQL_KEYS = ("url", "query")
_FILE_KEYS = ("path", "url", "format", "delimiter", "encoding", "header", "columns", "storage_options")
_DELIMITER_NAMES = {"tab": "\t", "space": ALIGNED, "spaces": ALIGNED, "comma": ",", "semicolon": ";", "bar": "|"}


def open_source(declared: str | Mapping[str, Any], folder: Path) -> Source:
    """The source that ``[data] source`` declares; relative paths start in ``folder``.

    A mapping has either ``url`` and ``query`` (SQL), or ``path`` (or an object store's ``url``) with any of
    ``format`` (csv, parquet, ndjson, arrow), ``delimiter``, ``encoding``, ``header``, ``columns`` and
    ``storage_options``. Raises SourceError (exit code 2) for whatever cannot be opened as declared.
    """
    options: dict[str, Any] = {"path": declared} if isinstance(declared, str) else dict(declared)
    target = options.get("url", options.get("path"))
    if not isinstance(target, str) or not target:
        raise _refused("names neither path nor url", 'source = "data.csv" or { path = … } or { url = …, query = … }')
    declared_target, target = target, _from_environment(target)
    if is_sql_url(target):
        return _sql(target, declared_target, options, folder)
    if "://" in target and not is_object_url(target):
        shown = target.partition("://")[0] + "://…"
        raise _refused(f"a URL of a kind that is not read: {shown}", "postgresql, sqlite, s3, gs or az, or a path")
    _check_keys(options, _FILE_KEYS)
    csv_options = _csv_options(options)
    if is_object_url(target):
        storage = {key: _from_environment(str(value)) for key, value in options.get("storage_options", {}).items()}
        kind = _kind(_object_path(target), options, masked_object(declared_target))
        return RemoteSource(target, kind, csv_options, storage, declared_target, _inserted(declared_target))
    return _files(target, declared_target, options, csv_options, folder)


def _sql(url: str, shown: str, options: dict[str, Any], folder: Path) -> Source:
    _check_keys(options, _SQL_KEYS if "url" in options else ("path",))
    query = options.get("query")
    if not isinstance(query, str) or not query.strip():
        raise _refused("a database URL without a query", '{ url = "…", query = "select … from …" }')
    secrets = _inserted(shown) + _inserted(query)
    return QuerySource(url, _from_environment(query), folder, declared=Declared(shown, query, secrets))


def _object_path(url: str) -> PurePosixPath:
    """The URL up to its query, which is none of the name; a glob's question mark is."""
    place, _, query = url.partition("?")
    return PurePosixPath(place if "=" in query else url)


def _files(target: str, shown: str, options: dict[str, Any], csv_options: CsvOptions, folder: Path) -> Source:
    paths = _paths(target, shown, folder)
    kinds = {path: _kind(path, options, str(path)) for path in paths}
    if len(set(kinds.values())) > 1:
        counts = Counter(kinds.values())
        raise SourceError(
            f"{shown} holds files of several formats",
            problems=[
                Problem(
                    f"{count} × {kind}",
                    where=next(str(p) for p, k in kinds.items() if k == kind),
                    expected="one format",
                )
                for kind, count in sorted(counts.items())
            ],
            next_step=f'narrow it with a glob, for example "{shown.rstrip("/")}/*.{sorted(counts)[0]}"',
        )
    kind = kinds[paths[0]]
    parts = [(path, _part(path, kind, csv_options)) for path in paths]
    plain = {name: value for name, value in msgspec.to_builtins(csv_options).items() if value not in (None, ())}
    return FileSource(parts, shown=shown, format_name=kind, options=plain)


def _part(path: Path, kind: str, csv_options: CsvOptions) -> Part:
    if kind == "csv":
        return DelimitedPart(LocalText(path), csv_options)
    return NdjsonPart(LocalText(path)) if kind == "ndjson" else ColumnarPart(path, kind)


def _paths(target: str, shown: str, folder: Path) -> list[Path]:
    """The files that a path, a directory or a glob names, in the order of their names."""
    path = folder / target
    if path.is_file():
        return [path]
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.is_file() and not _hidden(p.relative_to(path)))
        if found:
            return found
        raise _missing(shown, path, "the directory has no files", "a directory with data files")
    if glob.has_magic(target):
        found = sorted(
            Path(name)
            for name in glob.glob(str(path), recursive=True)  # noqa: PTH207 - the pattern may be absolute
            if Path(name).is_file()
        )
        if found:
            return found
        raise _missing(shown, path, "no file matches", "a glob that matches")
    raise _missing(shown, path, "no such file", "a file, a directory or a glob")


def _hidden(path: Path) -> bool:
    """Markers that writers leave beside the data: .crc, _SUCCESS."""
    return any(piece.startswith((".", "_")) for piece in path.parts)


def _missing(shown: str, path: Path, found: str, expected: str) -> SourceError:
    beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    close = nearest(path.name, beside)
    if close is not None and close != path.name:
        step = f"did you mean {path.parent / close}? Mend [data] source or the command"
    elif not path.parent.is_dir():
        step = f"there is no folder {path.parent}: mend [data] source or the command"
    else:
        step = "mend [data] source or the command; relative paths start at the project's folder"
    return SourceError(
        f"{shown}: {found}", problems=(Problem(found, where=str(path), expected=expected),), next_step=step
    )


def _kind(path: Path | PurePosixPath, options: dict[str, Any], shown: str) -> str:
    declared = options.get("format")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes[-1:] == [".gz"]
    suffix = "".join(suffixes[-2:-1] if packed else suffixes[-1:])
    if suffix in _REFUSED and (declared is None or "pickle" in _REFUSED[suffix]):
        raise SourceError(
            f"{shown}: {suffix} files are not read",
            problems=(Problem(f"a {suffix} file", where=shown, expected=", ".join(_BY_SUFFIX)),),
            next_step=_REFUSED[suffix],
        )
    kind = declared if declared is not None else _BY_SUFFIX.get(suffix)
    if kind not in _KINDS or (packed and kind in {"parquet", "arrow"}):
        raise SourceError(
            f"{shown}: its name does not tell a format that is read",
            problems=(
                Problem(f"suffix {''.join(suffixes[-2:]) or 'none'}", where=shown, expected=", ".join(_BY_SUFFIX)),
            ),
            next_step='declare it: source = { path = "…", format = "csv" } (csv, parquet, ndjson or arrow)',
        )
    return str(kind)


def _csv_options(options: dict[str, Any]) -> CsvOptions:
    problems = []
    delimiter, header, columns = (options.get(key) for key in ("delimiter", "header", "columns"))
    encoding, storage = options.get("encoding"), options.get("storage_options", {})
    delimiter = _DELIMITER_NAMES.get(delimiter, delimiter) if isinstance(delimiter, str) else delimiter
    if delimiter is not None and not (isinstance(delimiter, str) and len(delimiter) == 1 and delimiter.isascii()):
        problems.append(Problem(f"delimiter = {delimiter!r}", expected='one character, "tab" or "space"'))
    if encoding is not None and not isinstance(encoding, str):
        problems.append(Problem(f"encoding = {encoding!r}", expected='a name such as "utf-8"'))
    if header is not None and not isinstance(header, bool):
        problems.append(Problem(f"header = {header!r}", expected="true or false"))
    if columns is not None and not (isinstance(columns, (list, tuple)) and all(isinstance(c, str) for c in columns)):
        problems.append(Problem(f"columns = {columns!r}", expected="a list of names"))
    if not isinstance(storage, Mapping):
        problems.append(Problem("storage_options is no table", expected="a table of names and texts"))
    if problems:
        raise SourceError("[data] source has read options that cannot be used", problems=problems, next_step=_MEND)
    return CsvOptions(delimiter, encoding, header, tuple(columns or ()))


_MEND = "mend [data] source in roadworthy.toml"


def _check_keys(options: Mapping[str, Any], known: tuple[str, ...]) -> None:
    problems = []
    for key in options:
        if key not in known:
            close = nearest(key, known)
            hint = f"; did you mean {close!r}?" if close else ""
            problems.append(Problem(f"unknown key {key!r}{hint}", where="[data] source", expected=", ".join(known)))
    if problems:
        raise SourceError("[data] source has keys that nothing reads", problems=problems, next_step=_MEND)


def _from_environment(text: str) -> str:
    """Replace every ``${NAME}``; SourceError names those that are not set."""
    names = _VARIABLE.findall(text)
    unset = [name for name in names if name not in os.environ]
    if unset:
        raise SourceError(
            "[data] source uses environment variables that are not set",
            problems=[Problem(f"${{{name}}} is not set", expected="a value") for name in unset],
            next_step=f"export {unset[0]}=… and run the same command again",
        )
    return _VARIABLE.sub(lambda match: os.environ[match[1]], text)


def _inserted(text: str) -> tuple[str, ...]:
    """The values that took the places of ``${NAME}``: none of them is ever shown."""
    return tuple(os.environ[name] for name in _VARIABLE.findall(text))


def _refused(found: str, expected: str) -> SourceError:
    return SourceError("[data] source cannot be opened", problems=(Problem(found, expected=expected),), next_step=_MEND)

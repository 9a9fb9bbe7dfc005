"""What a call of ``inspect`` names or passes as its model.

In: a word, a path, an address or an object. Out: its ``Subject``. Law: a file's kind is told from its first bytes, not
from its name; nothing is unpickled to find out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from roadworthy import assembly
from roadworthy.api.subjects.boosters import booster_subject
from roadworthy.api.subjects.bundled import bundle_subject
from roadworthy.api.subjects.endpoints import endpoint_subject, is_address
from roadworthy.api.subjects.estimators import estimator_subject
from roadworthy.api.subjects.onnx_files import onnx_subject
from roadworthy.api.subjects.subject import Subject
from roadworthy.errors import ModelError, Problem
from roadworthy.formats.bundle import read_bundle
from roadworthy.formats.bundle.manifest import MANIFEST
from roadworthy.graphs.loading import FileKind, model_file_kind

__all__ = ["subject_of"]


def subject_of(model: Any, rows: pl.DataFrame, target: str, project: Path | str) -> Subject:
    """The model that a call of ``inspect`` names or passes; ModelError when there is none."""
    if not isinstance(model, str | Path):
        return estimator_subject(model, rows, target)
    path = Path(model)
    word = str(model)
    if is_address(word):
        return endpoint_subject(word, rows, target)
    if path.is_dir():
        return _bundle(path, project)
    if path.is_file():
        return _file_subject(path, rows, target)
    if word in {"latest", "champion"} or word.isdecimal():
        opened = assembly.open_project(project)
        with assembly.opened_bundle(opened, word) as (version, bundle):
            return bundle_subject(version.title, bundle, assembly.predictor(opened, bundle))
    raise ModelError(
        f"there is no model {word}",
        problems=[
            Problem(
                f"no such file: {word}",
                expected="an ONNX, LightGBM or XGBoost file, a bundle's folder, latest, champion, a number, or "
                "http://host:port/v2/models/NAME",
            )
        ],
        next_step="roadworthy status   # lists the versions of a project",
    )


def _file_subject(path: Path, rows: pl.DataFrame, target: str) -> Subject:
    kind = model_file_kind(path)
    return onnx_subject(path, rows, target) if kind is FileKind.ONNX else booster_subject(path, kind, rows, target)


def _bundle(folder: Path, project: Path | str) -> Subject:
    if not (folder / MANIFEST).exists():
        found = ", ".join(sorted(inside.name for inside in folder.iterdir())[:6]) or "nothing"
        raise ModelError(
            f"{folder} is a folder, but no bundle",
            problems=[Problem(f"it holds {found}", where=str(folder), expected=f"a bundle with {MANIFEST}")],
            next_step="pass the model's file inside it, or the folder of a bundle",
        )
    opened = assembly.open_project(project)
    with assembly.opened_registry(opened) as registry:
        bundle = read_bundle(folder, registry.trusted_keys())
    return bundle_subject(str(folder), bundle, assembly.predictor(opened, bundle))

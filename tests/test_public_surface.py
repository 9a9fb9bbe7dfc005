"""What others may rely on is pinned here, and importing it costs nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import roadworthy
from roadworthy import api, errors, protocols, testing, web

HEAVY = ("polars", "numpy", "scipy", "pandas", "pyarrow", "sklearn", "lightgbm", "onnx", "onnxruntime", "sqlalchemy",
         "altair", "vl_convert", "sqlglot", "cryptography", "jinja2")  # fmt: skip
CALLS = ["AsyncClient", "Client", "alerts", "attest", "compare", "dashboard", "estimate", "feedback", "init", "inspect",
         "key", "package", "predict", "promote", "run", "score", "serve", "status", "trace", "up", "waive", "watch",
         "windows"]  # fmt: skip


def test_the_package_has_one_call_per_command() -> None:
    assert roadworthy.__all__ == CALLS
    assert all(callable(getattr(roadworthy, name)) for name in CALLS)
    homes = {"dashboard": web}  # what shows pages stands above what the pages call
    assert all(getattr(roadworthy, name) is getattr(homes.get(name, api), name) for name in CALLS)


def test_the_api() -> None:
    assert sorted(api.__all__) == [
        "AlertsView", "AsyncClient", "Client", "Comparison", "Estimate", "FeedbackView", "InitResult", "Inspection",
        "KeyView", "Packaged", "Prediction", "RunOutcome", "ScoreResult", "Served", "Serving", "SignedView",
        "WatchResult", "WindowView", "WindowsView", *(name for name in CALLS[2:] if name != "dashboard"),
    ]  # fmt: skip
    assert all(hasattr(api, name) for name in api.__all__)


def test_the_protocols() -> None:
    assert protocols.__all__ == [
        "Clock", "FittedModel", "Notifier", "Predictor", "Reporter", "Source", "Store", "Trainer", "TrainingData",
        "Versioned",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("protocol", "methods"),
    [
        ("Source", {"describe", "fingerprint", "scan", "notes"}),
        ("Store", {"has", "path", "writing"}),
        ("FittedModel", {"best_step", "predict", "to_onnx"}),
        ("Trainer", {"name", "defaults", "space", "fit"}),
        ("Predictor", {"predict"}),
        ("Reporter", {"begin", "advance", "end", "line"}),
        ("Notifier", {"notify"}),
        ("Clock", {"now"}),
        ("Versioned", {"source_digest"}),
    ],
)
def test_a_protocol_asks_for_one_to_four_things(protocol: str, methods: set[str]) -> None:
    kind = getattr(protocols, protocol)
    asked = {name for name in {**vars(kind), **kind.__annotations__} if not name.startswith("_")}
    assert asked == methods


def test_the_errors() -> None:
    assert errors.__all__ == [
        "BundleError", "ContractError", "DataError", "ExpressionError", "MissingExtra", "ModelError", "Problem",
        "ProjectFileError", "PromotionRefused", "RegistryError", "RoadworthyError", "SourceError", "StorageError",
        "TargetError", "TrainingError", "UnknownName", "UsageError", "nearest",
    ]  # fmt: skip


def test_the_tree_drawn_at_the_top_of_errors_is_the_tree() -> None:
    drawn: dict[str, str] = {}  # error → the one that it hangs on
    way: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.fullmatch(r"([ │├└─]*)(\w+)(?:  +exit (\d) .*)?", line)
        if found is None or found[2] not in errors.__all__:
            continue
        way = [(column, name) for column, name in way if column < len(found[1])]
        drawn[found[2]] = way[-1][1] if way else "Exception"
        way.append((len(found[1]), found[2]))
        if found[3]:
            assert getattr(errors, found[2]).exit_code == int(found[3])
    kinds = {
        name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert drawn == {name: kind.__mro__[1].__name__ for name, kind in kinds.items()}


def test_the_conformance_checks_are_public() -> None:
    assert testing.__all__ == [
        "ConformanceError", "FixedClock", "MemoryNotifier", "MemorySource", "MemoryStore", "SilentReporter",
        "check_notifier", "check_source", "check_store", "check_trainer",
    ]  # fmt: skip


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(AttributeError, match="it has AsyncClient, Client, alerts, attest, compare"):
        roadworthy.train  # noqa: B018 - the look-up is what is tested


def loaded_by(code: str) -> set[str]:
    """The heavy modules that a fresh interpreter has after running ``code``."""
    ask = f"import sys\n{code}\nprint(*[n for n in {HEAVY!r} if n in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "code",
    [
        "import roadworthy",
        "import roadworthy.errors, roadworthy.protocols, roadworthy.records.project, roadworthy.standard",
        "import roadworthy.cli",
        (
            "sys.argv = ['roadworthy', '--help']\nimport runpy\n"
            "try: runpy.run_module('roadworthy', run_name='__main__')\nexcept SystemExit: pass"
        ),
        (
            "sys.argv = ['roadworthy', 'run', '--help']\nimport runpy\n"
            "try: runpy.run_module('roadworthy', run_name='__main__')\nexcept SystemExit: pass"
        ),
    ],
    ids=["import", "ground floors", "cli", "--help", "run --help"],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    assert loaded_by(code) == set()


def test_a_call_imports_what_it_needs() -> None:
    assert {"polars"} <= loaded_by("import roadworthy; roadworthy.run")


def test_types_are_shipped() -> None:
    assert (Path(roadworthy.__file__).parent / "py.typed").exists()

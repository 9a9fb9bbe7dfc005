"""Personal columns from the source to an answer: what is stored, who is who, and with which key."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import polars as pl
import pytest

from roadworthy import api
from roadworthy.adapters.keys import keys_folder, load_keys
from roadworthy.errors import UsageError

PROJECT = """[project]
name = "visits"
task = "binary"
target = "y"
positive = "1"

[data]
source = "visits.parquet"
time = "at"
entity = "who"
personal = ["who"]

[contract.columns]
who = { type = "text", sentinels = ["?"] }
at = { type = "time" }
n = { type = "number", min = 0 }
y = { type = "integer" }

[features]
visits = { count = "*" }

[training]
candidates = ["logistic"]
folds = 2

[standard]
extends = "none"
accuracy = ">= 0.1"
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was run; its source has a column that the contract does not name, and a row it refuses."""
    folder = tmp_path_factory.mktemp("visits")
    draw = random.Random(7)  # noqa: S311 - made-up rows, no secret
    count = 600
    n = [draw.random() for _ in range(count)]
    pl.DataFrame(
        {
            "who": ["?" if at % 7 == 0 else f"person{at % 40}@example.org" for at in range(count)],
            "at": pl.datetime_range(
                pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 1) + pl.duration(hours=count - 1), "1h", eager=True
            ),
            "n": [-1.0, *n[1:]],
            "mail": [f"mail{at}@example.com" for at in range(count)],
            "y": [int(value + draw.random() > 1) for value in n],
        }
    ).write_parquet(folder / "visits.parquet")
    (folder / "roadworthy.toml").write_text(PROJECT)
    api.run(folder)
    return folder


def test_nothing_clear_is_stored(project: Path) -> None:
    for path in (project / ".roadworthy" / "lake").rglob("*"):
        if path.suffix == ".parquet":
            frame = pl.read_parquet(path)
            assert "mail" not in frame.columns, path
            for name in frame.columns:
                assert "@example" not in str(frame[name].to_list()), path
        elif path.is_file():
            assert b"@example" not in path.read_bytes(), path
    quarantined = next((project / ".roadworthy" / "lake" / "clean").glob("*/quarantine.parquet"))
    assert pl.read_parquet(quarantined).height == 1


def test_a_sentinel_is_nobody_in_history_and_in_an_answer(project: Path) -> None:
    table = pl.read_parquet(next((project / ".roadworthy" / "lake" / "features").glob("*/rows.parquet")))
    strangers = table.filter(pl.col("who").is_null())
    assert strangers.height > 80
    assert set(strangers["visits"].to_list()) <= {0, None}
    from roadworthy.assembly import open_project, opened_bundle, predictor  # noqa: PLC0415 - heavy

    opened = open_project(project)
    with opened_bundle(opened, "latest") as (_, bundle):
        ready = predictor(opened, bundle)
    assert bundle.parts.contract.hashing_key == load_keys(project).hasher.fingerprint
    rows = pl.DataFrame({"who": ["?", " ?", "?"], "at": ["2025-01-01", "2025-01-02", "2025-01-03"], "n": [0.1] * 3})
    clean, _ = ready.prepare(rows)
    assert clean["who"].to_list() == [None, None, None]


def test_another_hashing_key_is_refused(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    (keys_folder(copy) / "hashing.key").write_text("ab" * 32 + "\n")
    with pytest.raises(UsageError, match="hashed by another key") as caught:
        api.predict({"who": "a", "at": "2025-01-01", "n": 0.5}, project=copy)
    assert "hashing.key" in caught.value.next_step

"""What the inspection promises of a model that others trained, from call to verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import roadworthy as rw
from roadworthy.api.inspection import Inspection
from roadworthy.cli import main
from roadworthy.records.verdict import Outcome, Readiness


class Scorer:
    """An estimator of a made-up score in the column ``score``."""

    classes_ = np.array(["fine", "fraud"])
    feature_names_in_ = np.array(["score", "other"])

    def predict_proba(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """The score itself as the probability of fraud."""
        event = rows["score"].cast(pl.Float64).fill_null(0.01).clip(0, 1).to_numpy()
        return np.column_stack([1 - event, event])


def fraud(found: float, rows: int = 6_000, seed: int = 0) -> pl.DataFrame:
    """Two per cent of fraud, of which this share gets a score above one half; false alarms make up for some."""
    rng = np.random.default_rng(seed)
    event = np.arange(rows) < rows // 50
    hit = event & (rng.random(rows) < found)
    score = np.where(hit, 0.9, 0.012 + 0.004 * rng.random(rows))
    score[-max(int(hit.sum() * 0.5), 1) :] = 0.85
    labels = np.where(event, "fraud", "fine")
    return pl.DataFrame({"score": score, "other": rng.normal(size=rows), "label": labels})


def outcome_of(found: Inspection, metric: str) -> Outcome:
    return next(one.outcome for one in found.verdict.requirements if one.metric == metric)


def test_98_per_cent_accuracy_with_12_per_cent_recall_is_not_ready_and_says_why() -> None:
    rows = fraud(0.12)
    found = rw.inspect(Scorer(), rows, target="label", positive="fraud", quick=True)
    (accuracy,) = [one.value for one in found.evidence.measurements if one.metric == "accuracy" and not one.slice]
    assert accuracy == pytest.approx(0.98, abs=0.005)
    assert found.verdict.readiness is Readiness.NOT_READY
    (paradox,) = [one for one in found.evidence.findings if one.kind == "accuracy_paradox"]
    assert paradox.grade == "fails"
    assert "98" in paradox.sentence
    (verdict,) = [one for one in found.verdict.requirements if one.metric == "pitfalls"]
    assert verdict.outcome is Outcome.FAIL
    assert paradox.sentence in verdict.sentence


def test_finding_most_of_the_fraud_is_no_paradox() -> None:
    found = rw.inspect(Scorer(), fraud(0.9), target="label", positive="fraud", quick=True)
    assert outcome_of(found, "pitfalls") is Outcome.PASS


def test_better_is_never_worse() -> None:
    order = [Readiness.NOT_READY, Readiness.NOT_PROVEN, Readiness.READY]
    standard = {"extends": "none", "recall": ">= 0.6", "pitfalls": "<= 0"}
    met = [
        order.index(
            rw.inspect(
                Scorer(), fraud(share, seed=4), target="label", positive="fraud", standard=standard, quick=True
            ).verdict.readiness
        )
        for share in (0.1, 0.6, 0.95)
    ]
    assert met == sorted(met)
    assert met[0] == 0
    assert met[-1] == 2


@pytest.fixture(scope="module")
def cancer() -> tuple[Any, pl.DataFrame, pl.DataFrame]:
    """An honest model, the rows that it learned from, and the others."""
    data = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in data.feature_names]
    frame = pl.DataFrame(data.data, schema=names).with_columns(pl.Series("benign", data.target))
    order = np.random.default_rng(1).permutation(frame.height)
    train, held = frame[order[:280]], frame[order[280:]]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2_000))
    model.fit(train.drop("benign").to_pandas(), train["benign"].to_numpy())
    return model, train, held


def test_honest_columns_are_no_leak_and_nothing_has_to_be_declared(
    cancer: tuple[Any, pl.DataFrame, pl.DataFrame],
) -> None:
    model, train, held = cancer
    found = rw.inspect(model, held, target="benign", train=train, quick=True)
    assert outcome_of(found, "leaks") is Outcome.PASS
    assert outcome_of(found, "pitfalls") is Outcome.PASS
    assert outcome_of(found, "overfit_gap") is not Outcome.ERROR
    assert not [one for one in found.evidence.measurements if one.error]


def test_rows_that_the_model_has_seen_are_a_leak(cancer: tuple[Any, pl.DataFrame, pl.DataFrame]) -> None:
    model, train, held = cancer
    found = rw.inspect(model, pl.concat([held, train.head(20)]), target="benign", train=train, quick=True)
    assert outcome_of(found, "leaks") is Outcome.FAIL
    assert found.verdict.readiness is Readiness.NOT_READY
    (verdict,) = [one for one in found.verdict.requirements if one.metric == "leaks"]
    assert verdict.measurement is not None
    assert verdict.measurement.reason in verdict.sentence


def test_an_estimator_is_trained_again_only_when_asked(cancer: tuple[Any, pl.DataFrame, pl.DataFrame]) -> None:
    model, train, held = cancer
    without = rw.inspect(model, held, target="benign", train=train, quick=True)
    assert "retrain=10" in without.not_asked["trainings anew"]
    assert "churn" not in [one.metric for one in without.evidence.measurements]
    found = rw.inspect(model, held, target="benign", train=train, quick=True, retrain=8)
    measured = {one.metric: one.value for one in found.evidence.measurements if not one.slice}
    assert measured["irreproducibility"] == 0
    assert measured["churn"] is not None


class Nervous(Scorer):
    """It divides by the greatest score that it is shown."""

    def predict_proba(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """NaN where all scores are the same."""
        event = rows["score"].cast(pl.Float64).fill_null(0.0).to_numpy()
        with np.errstate(invalid="ignore", over="ignore"):
            event = np.where(np.abs(event) > 1, np.nan, event)
        return np.column_stack([1 - event, event])


def test_a_model_that_answers_bad_input_with_nan_is_not_ready() -> None:
    found = rw.inspect(Nervous(), fraud(0.9), target="label", positive="fraud", quick=True)
    assert outcome_of(found, "crashes") is Outcome.FAIL
    assert found.verdict.readiness is Readiness.NOT_READY


def test_a_protected_column_is_compared_when_its_name_suggests_it() -> None:
    rows = fraud(0.9).with_columns(sex=pl.Series(np.random.default_rng(2).choice(["f", "m"], 6_000)))
    found = rw.inspect(Scorer(), rows, target="label", positive="fraud", quick=True)
    assert any("sex: looks protected" in note for note in found.notes)
    cuts = {one.slice for one in found.evidence.measurements if one.metric == "demographic_parity_difference"}
    assert cuts == {"", "protected=sex"}


def test_what_is_not_there_is_refused_before_any_work() -> None:
    with pytest.raises(rw.errors.UnknownName, match="ages"):
        rw.inspect(Scorer(), fraud(0.9), target="label", protected=["ages"])


@pytest.fixture
def onnx_model(tmp_path: Path) -> tuple[Path, Path]:
    """A scikit-learn model as an ONNX file, and labelled rows."""
    from skl2onnx import to_onnx  # noqa: PLC0415 - a second to import, and one fixture needs it

    rng = np.random.default_rng(5)
    x = rng.normal(size=(1_500, 4)).astype(np.float32)
    y = (x[:, 0] + 0.5 * x[:, 1] + 0.3 * rng.normal(size=1_500) > 0).astype(int)
    model = LogisticRegression().fit(x[:500], y[:500])
    file = tmp_path / "model.onnx"
    file.write_bytes(to_onnx(model, x[:1], options={"zipmap": False}).SerializeToString())
    rows = pl.DataFrame(x[500:], schema=[f"c{place}" for place in range(4)])
    table = tmp_path / "held.csv"
    rows.with_columns(pl.Series("label", y[500:])).write_csv(table)
    return file, table


def run(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    monkeypatch.setattr("sys.argv", ["roadworthy", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_command_gates_and_leaves_its_papers(
    onnx_model: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file, table = onnx_model
    standard = tmp_path / "standard.toml"
    for bound, code in (("0.85", 0), ("0.99", 1), ("0.915", 3)):
        standard.write_text(f'[standard]\nextends = "none"\naccuracy = ">= {bound}"\nleaks = "<= 0"\n')
        papers = [tmp_path / name for name in ("report.html", "report.xml", "summary.md")]
        words = ("--standard", standard, "--report", papers[0], "--junit", papers[1], "--markdown", papers[2])
        assert run(monkeypatch, "inspect", file, table, "--target", "label", "--quick", "--json", *words) == code
        shown = json.loads(capsys.readouterr().out)
        assert shown["verdict"]["requirements"][0]["metric"] == "accuracy"
        suite = ET.parse(papers[1]).getroot()[0]  # noqa: S314 - our own file
        assert int(suite.attrib["failures"]) == (0 if code == 0 else 1)
        assert "accuracy" in papers[2].read_text(encoding="utf-8")
        assert papers[0].read_text(encoding="utf-8").lstrip().startswith("<!doctype html>")


def test_an_insufficient_requirement_says_how_many_rows_would_settle_it(
    onnx_model: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file, table = onnx_model
    standard = tmp_path / "standard.toml"
    standard.write_text('[standard]\nextends = "none"\naccuracy = ">= 0.915"\n')
    assert run(monkeypatch, "inspect", file, table, "--target", "label", "--quick", "--standard", standard) == 3
    assert "more labelled rows" in " ".join(capsys.readouterr().out.split())

"""``inspect``: the same judgement for models that others trained, whatever they come as."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

import roadworthy as rw
from roadworthy import api
from roadworthy.errors import DataError, ModelError, RoadworthyError, TargetError, UsageError
from roadworthy.graphs.fresh_process import COSTS
from roadworthy.records.verdict import Outcome, Readiness

ELSEWHERE = {"overfit_gap", "parity", "decision_flips"}
"""What only training and packaging can measure."""


@pytest.fixture(scope="module")
def tumours() -> Any:
    """A logistic regression on the float columns of the breast cancer set, with the rows it has not seen."""
    from sklearn.datasets import load_breast_cancer  # noqa: PLC0415 - half a second
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - as above
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415 - as above
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415 - as above

    x, y = load_breast_cancer(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x[:300], y[:300])
    return model, x[300:], y[300:]


def outcomes(found: api.Inspection) -> list[tuple[str, Outcome]]:
    """Costs apart: they are measured anew each time."""
    return [(one.requirement, one.outcome) for one in found.verdict.requirements if one.metric not in COSTS]


def but_costs(found: api.Inspection) -> list[Any]:
    """Measurements that are the same each time, as times are not."""
    return [one for one in found.evidence.measurements if one.metric not in COSTS]


def value(found: api.Inspection, metric: str) -> float | None:
    return next(m.value for m in found.evidence.measurements if m.metric == metric and not m.slice)


def test_an_estimator_is_judged_in_one_line(tumours: Any) -> None:
    estimator, x, y = tumours
    inspection = rw.inspect(estimator, x, y, standard={"accuracy": ">= 0.80"}, quick=True)
    judged = {one.metric: one.outcome for one in inspection.verdict.requirements}
    assert (judged["accuracy"], judged["skill"]) == (Outcome.PASS, Outcome.PASS)
    assert judged["roc_auc"] is Outcome.INSUFFICIENT, "fewer than 100 rows of the rarer class"
    assert judged.keys().isdisjoint(ELSEWHERE), "nothing is asked that rows cannot tell"
    assert value(inspection, "accuracy") == estimator.score(x, y)
    assert inspection.model == "Pipeline"


def test_an_onnx_file_of_the_same_model_gets_the_same_evidence(tumours: Any, tmp_path: Path) -> None:
    from skl2onnx import to_onnx  # noqa: PLC0415 - half a second

    estimator, x, y = tumours
    rows = pl.DataFrame(x, schema=[f"c{place}" for place in range(x.shape[1])]).with_columns(benign=y)
    for zipmap in (True, False):
        graph = to_onnx(estimator, x[:1].astype(np.float32), options={"zipmap": zipmap})
        (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
        found = api.inspect(tmp_path / "model.onnx", rows, target="benign", standard={"size": "<= 1 MB"}, quick=True)
        assert value(found, "accuracy") == estimator.score(x, y)
        assert value(found, "size") == (tmp_path / "model.onnx").stat().st_size
        assert value(found, "latency_p99") is not None
        assert found.verdict.readiness in set(Readiness)


def test_estimators_fitted_on_names_get_their_columns(tumours: Any) -> None:
    from sklearn.tree import DecisionTreeClassifier  # noqa: PLC0415 - as above

    _, x, y = tumours
    rows = pl.DataFrame(x[:, :3], schema=["a", "b", "c"])
    model = DecisionTreeClassifier(max_depth=2, random_state=0).fit(rows.select("c", "a").to_pandas(), y)
    found = api.inspect(model, rows, y, standard={"accuracy": ">= 0.5"}, quick=True)
    assert value(found, "accuracy") == model.score(rows.select("c", "a").to_pandas(), y)
    with pytest.raises(DataError, match="no column 'c'"):
        api.inspect(model, rows.drop("c"), y, quick=True)


def test_a_callable_a_regressor_and_what_cannot_be_measured(diabetes: Any, tumours: Any) -> None:
    from sklearn.linear_model import LinearRegression  # noqa: PLC0415 - as above
    from sklearn.svm import LinearSVC  # noqa: PLC0415 - as above

    x, y = diabetes.raw.drop("progression"), diabetes.raw["progression"].to_numpy()
    model = LinearRegression().fit(x.to_numpy(), y)
    asked = {"extends": "none", "r2": ">= 0.3"}
    found = api.inspect(model, x, y, standard=asked, quick=True)
    assert value(found, "r2") == pytest.approx(model.score(x.to_numpy(), y))
    assert found.verdict.readiness is Readiness.READY
    same = api.inspect(model.predict, x, y, standard=asked, quick=True)
    assert value(same, "r2") == value(found, "r2")
    _, other, labels = tumours
    with pytest.raises(ModelError, match="labels without probabilities"):
        api.inspect(
            LinearSVC(max_iter=20_000).fit(np.round(other[:50, :2]), labels[:50]), other[:, :2], labels, quick=True
        )
    with pytest.raises(ModelError, match="can neither predict nor be called"):
        api.inspect(object(), other, labels, quick=True)


def test_a_bundle_is_judged_by_its_own_standard_whichever_way_it_is_named(
    finished: Path, clicks: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished)
    bundle = api.status().versions[0].bundle
    found = [
        api.inspect(model, clicks, target="converted", quick=True) for model in ("latest", "1", bundle, Path(bundle))
    ]
    lines = [[verdict.requirement for verdict in one.verdict.requirements] for one in found]
    assert all(one == lines[0] for one in lines)
    assert {"accuracy >= 0.8", "latency_p99 <= 50 ms", "size <= 5 MB", "recall >= 0.9 for every device"} <= set(
        lines[0]
    )
    assert all(verdict.measurement is not None for verdict in found[0].verdict.requirements)
    assert any(m.slice == "device=phone" for m in found[0].evidence.measurements)


def test_a_standard_comes_as_a_table_a_file_or_not_at_all(tumours: Any, tmp_path: Path) -> None:
    estimator, x, y = tumours
    file = tmp_path / "strict.toml"
    file.write_text('[standard]\naccuracy = ">= 0.9999"\n')
    strict = api.inspect(estimator, x, y, standard=file, quick=True)
    assert strict.verdict.readiness is Readiness.NOT_READY
    same = api.inspect(estimator, x, y, standard={"accuracy": ">= 0.9999"}, quick=True)
    assert outcomes(same) == outcomes(strict)
    none = api.inspect(estimator, x, y, quick=True)
    metrics = {one.metric for one in none.verdict.requirements}
    assert metrics >= {"skill", "roc_auc", "calibration_error"}
    assert metrics.isdisjoint(ELSEWHERE)
    assert all(metric in none.notes[0] for metric in ELSEWHERE)
    asked = api.inspect(estimator, x, y, standard={"extends": "prototype", "parity": "<= 1e-6"}, quick=True)
    assert asked.verdict.readiness is Readiness.NOT_PROVEN, "what is asked for by name is never left out"
    few = api.inspect(estimator, x[:30], y[:30], standard={"roc_auc": ">= 0.65"}, quick=True)
    assert few.verdict.readiness is Readiness.NOT_PROVEN


def test_what_always_says_no_on_two_percent_is_called_what_it_is() -> None:
    random = np.random.default_rng(3)
    y = (np.arange(2_000) % 50 == 0).astype(int)
    found = api.inspect(
        lambda x: np.full(len(x), 0.01), random.normal(size=(2_000, 2)), y, standard={"accuracy": ">= 0.9"}, quick=True
    )
    assert value(found, "accuracy") == 0.98
    said = [finding.sentence for finding in found.evidence.findings]
    assert any("98" in sentence and "always" in sentence for sentence in said), said


def test_json_has_the_evidence_and_comes_back(tumours: Any) -> None:
    estimator, x, y = tumours
    found = api.inspect(estimator, x, y, standard={"accuracy": ">= 0.80"}, quick=True)
    assert msgspec.json.decode(msgspec.json.encode(found), type=api.Inspection) == found


def test_a_pickle_is_never_loaded(tumours: Any, tmp_path: Path) -> None:
    estimator, x, y = tumours
    for name in ("model.pkl", "model.onnx", "model.joblib"):
        (tmp_path / name).write_bytes(pickle.dumps(estimator))
        with pytest.raises(ModelError) as caught:
            api.inspect(tmp_path / name, x, y, quick=True)
        assert "pickle" in str(caught.value)
        assert "skl2onnx" in str(caught.value)


def test_labels_that_do_not_fit_are_named(tumours: Any, diabetes: Any) -> None:
    estimator, x, y = tumours
    rows = pl.DataFrame(x).with_columns(label=pl.when(pl.int_range(pl.len()) == 3).then(2).otherwise(pl.lit(y)))
    with pytest.raises(TargetError, match="does not know the labels '2'"):
        api.inspect(estimator, rows, target="label", quick=True)
    text = diabetes.raw.with_columns(progression=pl.lit("high"))
    with pytest.raises(DataError, match="not a number"):
        api.inspect("latest", text, target="progression", project=diabetes.folder, quick=True)
    with pytest.raises(TargetError, match="did you mean 'label'"):
        api.inspect(estimator, rows, target="labels", quick=True)
    with pytest.raises(UsageError, match="no target"):
        api.inspect(estimator, rows, quick=True)
    with pytest.raises(RoadworthyError, match="no model"):
        api.inspect("no-such-model", rows, target="label", quick=True)
    assert api.inspect(lambda m: m[:, 0] / 40, x, y, positive="0", quick=True).evidence.measurements


def test_a_bundle_is_sliced_and_labelled_by_clean_and_hashed_values(
    finished: Path, clicks: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Untidy labels and names of columns make no difference, and nobody's clear name is in the evidence."""
    monkeypatch.chdir(finished)
    standard = {"recall": [{"at_least": 0.1, "slice": "device"}, {"at_least": 0.1, "slice": "user_id"}]}
    clear = clicks.with_columns(user_id=pl.format("ada{}@example.org", pl.int_range(pl.len()) % 9))
    plain = api.inspect("latest", clear, target="converted", standard=standard, quick=True)
    assert b"@example.org" not in msgspec.json.encode(plain)
    assert len({one.slice for one in plain.evidence.measurements if one.slice.startswith("user_id=")}) == 9
    assert {one.clusters for one in plain.evidence.measurements if one.metric == "recall" and not one.slice} == {9}
    untidy = clear.with_columns(
        device=pl.format(" {} ", "device"), converted=pl.format(" {} ", pl.col("converted").cast(pl.String))
    )
    again = api.inspect("latest", untidy, target="converted", standard=standard, quick=True)
    other = api.inspect(
        "latest", untidy.drop("converted"), untidy["converted"].to_list(), standard=standard, quick=True
    )
    for same in (again, other):
        assert outcomes(same) == outcomes(plain)
        assert but_costs(same) == but_costs(plain)
        assert same.evidence.holdout == plain.evidence.holdout


def test_the_digest_of_the_rows_knows_their_order(tumours: Any) -> None:
    estimator, x, y = tumours
    there, back = (api.inspect(estimator, x[::step], y[::step], quick=True).evidence.holdout for step in (1, -1))
    assert there != back


def test_labels_that_the_contract_refuses_are_left_out_and_told(diabetes: Any) -> None:
    odd = pl.when(pl.int_range(pl.len()) < 20).then(pl.lit("high")).otherwise(pl.col("progression").cast(pl.String))
    found = api.inspect("latest", diabetes.raw.with_columns(progression=odd), target="progression",
                        project=diabetes.folder, quick=True)  # fmt: skip
    assert "20 labels do not meet the contract: progression: not a number" in found.notes
    assert value(found, "quarantined_share") == pytest.approx(20 / 442)

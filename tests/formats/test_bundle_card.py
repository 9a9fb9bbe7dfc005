from __future__ import annotations

from typing import Any

import pytest

from roadworthy.formats.bundle.card import model_card
from roadworthy.records.contract import ColumnContract, ColumnType, Contract
from roadworthy.records.data import Split
from roadworthy.records.evidence import Evidence, Exhibit, Finding, Measurement
from roadworthy.records.model import Choice, TrainedModel
from roadworthy.records.project import DataSpec, ProjectSpec, Task


def card(**changes: Any) -> str:
    spec = ProjectSpec(
        name="homes",
        task=changes.get("task", Task.BINARY),
        target="sold",
        data=DataSpec(source="homes.csv", exclude={"notary": "known only after the sale"}, personal=("seller",)),
        contract=Contract(columns={"price": ColumnContract(type=ColumnType.NUMBER)}),
        features={"ratio": "price / nullif(rooms, 0) | 1"},
    )
    trained = TrainedModel(
        digest="sha256:" + "1" * 64,
        parent="sha256:p",
        task=spec.task,
        target="sold",
        classes=changes.get("classes", ("no", "yes")),
        candidates=(),
        features=("price", "ratio"),
    )
    choice = Choice(
        candidate="mlp",
        threshold=changes.get("threshold", 0.4),
        explanation="The cheapest whose quality is not provably worse.",
        threshold_explanation="Most recall with precision of 0.8 or more.",
        table=(),
    )
    split = Split(
        digest="sha256:s",
        parent="sha256:p",
        kind="time",
        train_rows=7840,
        holdout_rows=1960,
        folds=4,
        holdout_digest="sha256:h",
        explanation="the newest 20 % of rows by timestamp",
        unlabelled=3,
    )
    evidence = Evidence(
        subject="sha256:m",
        holdout="sha256:" + "2" * 64,
        measurements=changes.get("measurements")
        or (
            Measurement(metric="accuracy", value=0.91, lower=0.9, upper=0.92, n=1960, method="Clopper-Pearson"),
            Measurement(metric="latency_p99", value=0.05, unit="ms", n=1000, insufficient="too few runs"),
            Measurement(metric="recall", value=0.7, lower=0.6, upper=0.8, n=100, slice="device=<script>"),
            Measurement(metric="roc_auc", error="division by zero"),
        ),
        findings=changes.get("findings")
        or (Finding(kind="leak", subject="notary", grade="fails", sentence="notary gives the answer away"),),
        exhibits=changes.get("exhibits", ()),
        looks=2,
    )
    return model_card(
        spec, trained, choice, split, evidence, variant="float32, optimised", notes=("int8 does not pay",)
    )


def test_the_card_states_what_the_records_know() -> None:
    text = card()
    for fact in (
        "# homes",
        "`sold` = `yes`",
        "7,840 rows",
        "1,960 held-out rows",
        "the newest 20 %",
        "looked at 2 times",
        "known only after the sale",
        "keyed-hashed before anything was written: `seller`",
        "0.4 on. Most recall with precision",
        "Clopper-Pearson",
        "int8 does not pay",
        "notary gives the answer away",
        "not enough evidence for: `latency_p99`",
        "these checks broke: `roc_auc`",
        "openssl pkeyutl -verify",
    ):
        assert fact in text, fact


def test_the_card_is_repeatable_and_has_no_empty_section() -> None:
    assert card() == card()
    lines = [line for line in card().splitlines() if line.strip()]
    for line, following in zip(lines, [*lines[1:], "#"], strict=True):
        assert not (line.startswith("##") and following.startswith("#")), line


def test_foreign_text_cannot_break_out_of_its_place() -> None:
    text = card()
    assert "<script>" not in text
    assert "device=&lt;script>" in text
    assert "nullif(rooms, 0) \\| 1" in text


@pytest.mark.parametrize(
    ("task", "classes", "words"),
    [
        (Task.REGRESSION, (), "Predicts the value of `sold`"),
        (Task.MULTICLASS, ("a", "b", "c"), "Classes: `a`, `b`, `c`."),
    ],
)
def test_other_tasks_have_no_threshold(task: Task, classes: tuple[str, ...], words: str) -> None:
    text = card(task=task, classes=classes, threshold=None)
    assert words in text
    assert "## Decision" not in text


def scored() -> Exhibit:
    columns: dict[str, list[Any]] = {
        "section": ["features and data", "features and data", "monitoring"],
        "test": ["data-1", "data-6", "monitor-1"],
        "points": [1.0, 0.5, 0.0],
    }
    return Exhibit(name="ml_test_score", title="The ML Test Score", columns=columns, note="The score is 0 of 7.")


def test_what_was_inspected_has_its_sections() -> None:
    text = card(
        measurements=(
            Measurement(metric="recall", value=0.7, lower=0.6, upper=0.8, n=100, slice="device=phone"),
            Measurement(metric="demographic_parity_difference", value=0.04, n=90, slice="protected=age_band"),
            Measurement(metric="robust_flips", value=0.02, n=80, slice="fault=noise"),
        ),
        exhibits=(scored(),),
    )
    parts = {part.split("\n")[0]: part for part in text.split("## ")}
    assert "recall, device=phone" in parts["By slice"]
    assert "demographic_parity_difference, protected=age_band" in parts["Fairness between groups"]
    assert "robust_flips, fault=noise" in parts["Robustness"]
    assert parts["By slice"].count("| slice |") == 1
    assert "fault=noise" not in parts["By slice"] + parts["Measured on the holdout"]
    assert "| features and data | 1.5 of 2 | – |" in parts["ML Test Score"]
    assert "| monitoring | 0 of 1 | monitor-1 |" in parts["ML Test Score"]
    assert "The score is 0 of 7." in parts["ML Test Score"]
    assert "counted in the version's report" in parts["ML Test Score"]


def test_what_was_not_inspected_has_no_section() -> None:
    text = card()
    for title in ("Fairness between groups", "Robustness", "ML Test Score"):
        assert title not in text

"""Every exhibit has one picture, whatever it holds; no picture depends on colour vision, scheme or network."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.measures.charts import (
    Reference,
    candidates_exhibit,
    chart_for,
    describe,
    to_png,
    to_svg,
    training_exhibit,
)
from roadworthy.measures.charts.theme import DARK, SERIES
from roadworthy.records.evidence import Exhibit
from roadworthy.records.model import Candidate, Choice, ProgressLine

SVG = "{http://www.w3.org/2000/svg}"
GRID = [i / 10 for i in range(11)]


def exhibit(name: str, **columns: list[Any]) -> Exhibit:
    return Exhibit(name=name, title=f"About {name}", columns=columns)


def candidate(steps: int = 12) -> Candidate:
    lines = tuple(
        ProgressLine(
            candidate="mlp",
            step=step,
            train_loss=0.7 / step,
            valid_loss=0.8 / step,
            train_quality=1 - 0.3 / step,
            valid_quality=1 - 0.4 / step,
        )
        for step in range(1, steps + 1)
    )
    return Candidate(name="mlp", parameters={}, lines=lines, best_step=9, seconds=1.0, inputs=3)


CHOICE = Choice(
    candidate="mlp",
    threshold=0.4,
    explanation="",
    threshold_explanation="",
    table=(
        {"candidate": "mlp", "quality": 0.9, "quality_lower": 0.88, "quality_upper": 0.92, "p50_ms": 0.1,
         "p99_ms": 0.2, "size_bytes": 48_000, "chosen": True},
        {"candidate": "gbdt", "quality": 0.91, "quality_lower": None, "p99_ms": 0.6, "size_bytes": 412_000,
         "chosen": False, "extra": "x"},
    ),
)  # fmt: skip

KNOWN = (
    exhibit("confusion", actual=["a", "a", "b", "b"], predicted=["a", "b", "a", "b"], count=[8, 2, 1, 9]),
    exhibit("roc", false_positive_rate=GRID, true_positive_rate=GRID),
    exhibit("pr", recall=GRID, precision=GRID[::-1]),
    exhibit("calibration", predicted=GRID, observed=GRID, lower=GRID, upper=GRID, n=[5] * 11),
    exhibit("tradeoff", threshold=GRID, precision=GRID, recall=GRID[::-1], accuracy=GRID, cost=GRID),
    exhibit("tradeoff", threshold=GRID, precision=GRID, recall=GRID[::-1]),
    Exhibit(
        name="scores",
        title="",
        columns={"bin_left": [0.0, 0.0], "bin_right": [1.0, 1.0], "class": ["a", "b"], "count": [3, 4]},
    ),
    exhibit("residuals", predicted=GRID, residual=GRID),
    exhibit("residuals", bin_left=[-1.0, 0.0], bin_right=[0.0, 1.0], count=[2, 3]),
    exhibit("actual_predicted", actual=GRID, predicted=GRID),
    Exhibit(name="per_class", title="", columns={"class": ["a", "b"], "precision": [0.9, 0.8], "n": [3, 4]}),
    exhibit("importance", column=["a", "b"], drop=[0.2, -0.01], lower=[0.1, -0.02], upper=[0.3, 0.0]),
    training_exhibit(candidate()),
    training_exhibit(candidate(1)),
    candidates_exhibit(CHOICE),
)
REFERENCES = (
    Reference(of="threshold", value=0.4, label="chosen"),
    Reference(of="precision", value=0.8, label="precision at least 0.8"),
    Reference(of="size_bytes", value=300_000.0, label="at most 300 kB"),
    Reference(of="recall", value=float("nan"), label="never drawn"),
)


def drawn(of: Exhibit, references: tuple[Reference, ...] = REFERENCES) -> str:
    chart = chart_for(of, references)
    assert chart is not None
    return to_svg(chart)


def letters(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314 - our own drawing


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_every_known_exhibit_is_drawn_in_colours_that_have_a_dark_counterpart(known: Exhibit) -> None:
    svg = drawn(known)
    body = svg.partition("</style>")[2]
    used = set(re.findall(r'(?:fill|stroke)="([^"]+)"', body)) - {"none", "transparent"}
    assert used
    assert used <= set(DARK), f"colours without a counterpart in the dark: {used - set(DARK)}"
    for light in used:
        assert f'[fill="{light}"]' in svg
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    assert letters(svg)


def test_the_label_of_a_reference_is_drawn_and_a_value_that_is_no_number_is_not() -> None:
    said = letters(drawn(KNOWN[4]))
    assert "chosen" in said
    assert "precision at least 0.8" in said
    assert "never drawn" not in said
    assert "chosen" not in letters(drawn(KNOWN[4], ()))


def test_bounds_in_bytes_stand_on_the_axis_in_kilobytes() -> None:
    assert "at most 300 kB" in letters(drawn(candidates_exhibit(CHOICE)))


def test_an_unknown_or_empty_exhibit_is_left_to_its_table() -> None:
    assert chart_for(exhibit("brand_new", a=[1, 2])) is None
    assert chart_for(exhibit("roc", a=[1, 2])) is None
    assert chart_for(exhibit("roc", false_positive_rate=[], true_positive_rate=[])) is None
    assert chart_for(exhibit("roc", false_positive_rate=[None], true_positive_rate=[float("nan")])) is None
    assert chart_for(Exhibit(name="roc", title="", columns={})) is None


def test_a_name_counts_up_to_its_colon() -> None:
    assert chart_for(training_exhibit(candidate())) is not None
    assert training_exhibit(candidate()).name == "training:mlp"


def test_equal_charts_are_equal_bytes_and_pictures_share_no_identifier() -> None:
    assert drawn(KNOWN[0]) == drawn(KNOWN[0])
    seen: set[str] = set()
    for known in KNOWN:
        mine = set(re.findall(r'\bid="([^"]+)"', drawn(known)))
        assert not mine & seen
        seen |= mine


def test_letters_stay_legible_on_a_phone() -> None:
    for known in KNOWN:
        svg = drawn(known)
        box = re.search(r'viewBox="0 0 ([\d.]+) ', svg)
        assert box is not None
        sizes = [float(size) for size in re.findall(r'font-size="([\d.]+)px"', svg)]
        assert min(sizes) * min(1.0, 318 / float(box[1])) >= 8.5, f"{known.name}: {min(sizes)} px in {box[1]}"


def test_png_is_a_png_on_white() -> None:
    chart = chart_for(KNOWN[1])
    assert chart is not None
    assert to_png(chart, scale=1).startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize(
    "label", ["<script>alert(1)</script>", "a" * 10_000, "\u202eשלום", "x\x00y", "]]>", "&amp;", "", "new\nline"]
)
def test_hostile_labels_stay_letters(label: str) -> None:
    confusion = exhibit("confusion", actual=[label, label, "b", "b"], predicted=[label, "b", label, "b"], count=[4] * 4)
    svg = drawn(confusion)
    tags = {node.tag.removeprefix(SVG) for node in ET.fromstring(svg).iter()}  # noqa: S314 - our own drawing
    assert tags <= {"svg", "style", "g", "path", "rect", "line", "text", "circle"}
    assert len(svg) < 20_000


def test_two_long_labels_with_one_beginning_stay_two_classes() -> None:
    labels = ["very long label that goes on: one", "very long label that goes on: two"]
    svg = drawn(exhibit("confusion", actual=labels * 2, predicted=[*labels, *labels[::-1]], count=[1, 2, 3, 4]))
    assert {"1", "2", "3", "4"} <= set(letters(svg))


def test_many_classes_are_drawn_as_the_commonest_ones() -> None:
    names = [f"c{i}" for i in range(60)]
    svg = drawn(exhibit("confusion", actual=names, predicted=names, count=list(range(60))))
    said = letters(svg)
    assert "c59" in said
    assert "c0" not in said


def test_many_points_are_thinned() -> None:
    many = [i / 100_000 for i in range(100_000)]
    assert len(drawn(exhibit("roc", false_positive_rate=many, true_positive_rate=many))) < 40_000


cells = st.one_of(st.none(), st.floats(), st.floats(0, 1), st.integers(-5, 5), st.text(max_size=5), st.booleans())
names = st.sampled_from(sorted({known.name for known in KNOWN}))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), name=names)
def test_no_content_of_an_exhibit_breaks_its_picture_or_its_words(data: st.DataObject, name: str) -> None:
    columns = next(known.columns for known in KNOWN if known.name == name)
    rows = data.draw(st.integers(0, 4))
    drawn_columns = {
        column: data.draw(st.lists(cells, min_size=rows, max_size=rows))
        for column in columns
        if data.draw(st.integers(0, 9)) < 9
    }
    of = Exhibit(name=name, title="t", columns=drawn_columns)
    chart = chart_for(of, REFERENCES)
    assert chart is None or to_svg(chart).startswith("<svg ")
    assert describe(of).startswith("t.")


def test_words_hold_the_main_figures() -> None:
    assert "actual a, predicted b: 2" in describe(KNOWN[0])
    assert "mlp (chosen) 0.9" in describe(candidates_exhibit(CHOICE))
    assert "The table behind it has 2 rows." in describe(exhibit("brand_new", a=[1, 2]))


def contrast(first: str, second: str) -> float:
    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dim = sorted((light(first), light(second)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def test_lines_stand_out_in_both_schemes() -> None:
    for colour in SERIES:
        assert contrast(colour, "#ffffff") >= 3.4
        assert contrast(DARK[colour], DARK["#ffffff"]) >= 4.5

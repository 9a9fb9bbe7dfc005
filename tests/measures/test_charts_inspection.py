"""The inspection's exhibits are drawn with their intervals, their bounds, and nothing that is not there."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.measures.charts import Reference, chart_for, describe, to_svg
from roadworthy.measures.charts.spans import broken_over_lines
from roadworthy.measures.charts.theme import DARK
from roadworthy.records.evidence import Exhibit

SVG = "{http://www.w3.org/2000/svg}"


def exhibit(name: str, **columns: list[Any]) -> Exhibit:
    return Exhibit(name=name, title=f"About {name}", columns=columns)


TRAININGS = exhibit("trainings:bootstrap", training=[1, 2, 3], skill=[0.61, 0.62, 0.58], churn=[0.0, 0.04, 0.06])
OVER_TIME = exhibit(
    "over_time",
    quarter=[f"{place} of 4" for place in range(1, 5)],
    rows=[500] * 4,
    skill=[0.6, 0.58, 0.5, 0.41],
    lower=[0.55, 0.53, 0.45, 0.35],
    upper=[0.65, 0.63, 0.55, 0.47],
    accuracy=[0.9, 0.88, 0.85, 0.79],
    accuracy_lower=[0.88, 0.86, 0.83, 0.77],
    accuracy_upper=[0.92, 0.9, 0.87, 0.81],
)
AGEING = exhibit(
    "ageing",
    period=[1, 2, 3],
    rows=[500] * 3,
    old=[0.6, 0.55, 0.4],
    fresh=[0.6, 0.6, 0.58],
    difference=[0.0, 0.05, 0.18],
    lower=[0.0, 0.01, 0.12],
    upper=[0.0, 0.09, 0.24],
)
POINTS = exhibit(
    "operating_points",
    purpose=["as it is now", "a fraud detector that counts costs"],
    precision=[0.9, 0.5],
    precision_lower=[0.88, 0.45],
    precision_upper=[0.92, 0.55],
    recall=[0.8, 0.95],
    recall_lower=[0.75, 0.92],
    recall_upper=[0.85, 0.97],
)
WEAK = exhibit("weak_slices", slice=["a < 3", "b"], rows=[3, 4], error=[0.3, 0.2], lower=[0.2, 0.1], upper=[0.4, 0.3],
               elsewhere=[0.1, 0.1])  # fmt: skip
FAIR = exhibit(
    "fairness",
    column=["age"] * 2,
    group=["young", "old"],
    rows=[300, 40],
    positive_share=[0.5, 0.3],
    positive_share_lower=[0.45, None],
    positive_share_upper=[0.55, None],
    recall=[0.9, 0.7],
    recall_lower=[0.85, 0.5],
    recall_upper=[0.94, 0.85],
    error=[0.1, 0.2],
    error_lower=[0.08, 0.1],
    error_upper=[0.12, 0.3],
)
ERRORS = exhibit("fairness_crossed", column=["a, b"] * 2, group=["x", "y"], rows=[9, 9], error=[3.0, 4.5],
                 error_lower=[2.0, 4.0], error_upper=[4.0, 5.0])  # fmt: skip
COSTS = exhibit(
    "feature_cost",
    column=["ratio", "past", "unasked"],
    microseconds=[0.1, 2.4, 0.5],
    time_share=[0.03, 0.8, 0.17],
    benefit=[0.2, 0.01, None],
    benefit_lower=[0.15, -0.01, None],
    benefit_upper=[0.25, 0.03, None],
)
KNOWN = (TRAININGS, OVER_TIME, AGEING, POINTS, WEAK, FAIR, ERRORS, COSTS)
BOUNDS = (
    Reference(of="churn", value=0.05, label="churn <= 0.05"),
    Reference(of="accuracy", value=0.8, label="accuracy >= 0.8"),
    Reference(of="staleness", value=0.04, label="staleness <= 0.04"),
    Reference(of="recall", value=0.7, label="recall >= 0.7"),
    Reference(of="demographic_parity_difference", value=0.1, label="demographic_parity_difference <= 0.1"),
    Reference(of="group_error_difference", value=1.0, label="group_error_difference <= 1"),
)


def drawn(of: Exhibit, references: tuple[Reference, ...] = BOUNDS) -> str:
    chart = chart_for(of, references)
    assert chart is not None
    return to_svg(chart)


def letters(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314 - our own drawing


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name.replace(":", "-"))
def test_it_is_drawn_in_both_schemes_legibly_and_told_in_words(known: Exhibit) -> None:
    svg = drawn(known)
    used = set(re.findall(r'(?:fill|stroke)="([^"]+)"', svg.partition("</style>")[2])) - {"none", "transparent"}
    assert used <= set(DARK), f"colours without a counterpart in the dark: {used - set(DARK)}"
    box = re.search(r'viewBox="0 0 ([\d.]+) ', svg)
    assert box is not None
    sizes = [float(size) for size in re.findall(r'font-size="([\d.]+)px"', svg)]
    assert min(sizes) * min(1.0, 318 / float(box[1])) >= 8.5, f"{min(sizes)} px in {box[1]}"
    assert describe(known) != f"{known.title}. The table behind it has {len(next(iter(known.columns.values())))} rows."


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (TRAININGS, "churn <= 0.05"),
        (OVER_TIME, "accuracy >= 0.8"),
        (AGEING, "staleness <= 0.04"),
        (POINTS, "recall >= 0.7"),
        (FAIR, "0.1 below the highest"),
        (ERRORS, "1 above the lowest"),
    ],
    ids=["trainings", "over time", "ageing", "purposes", "fairness", "errors"],
)
def test_what_a_standard_bounds_is_a_line_in_the_picture(known: Exhibit, said: str) -> None:
    assert said in letters(drawn(known))
    assert said not in letters(drawn(known, ()))


def test_churn_is_judged_on_bootstrap_samples_alone_and_the_first_does_not_differ_from_itself() -> None:
    seeds = Exhibit(name="trainings:seeds", title="t", columns=TRAININGS.columns)
    assert "churn <= 0.05" not in letters(drawn(seeds))
    said = letters(drawn(TRAININGS))
    assert (said.count("1"), said.count("2"), said.count("3")) == (1, 2, 2), "skill of three trainings, churn of two"


def test_no_bound_is_drawn_between_groups_of_different_columns() -> None:
    columns = {**FAIR.columns, "column": ["age", "sex"]}
    said = letters(drawn(Exhibit(name="fairness", title="t", columns=columns)))
    assert not any("below the highest" in word for word in said)
    assert "age: young" in said


def test_a_figure_without_an_interval_is_hollow() -> None:
    whole = {**FAIR.columns, "positive_share_lower": [0.45, 0.2], "positive_share_upper": [0.55, 0.4]}
    sure = Exhibit(name="fairness", title="t", columns=whole)
    assert 'fill="#ffffff" stroke="#0072b2"' in re.sub(r' stroke-width="[^"]*"', "", drawn(FAIR))
    assert 'fill="#ffffff" stroke="#0072b2"' not in re.sub(r' stroke-width="[^"]*"', "", drawn(sure))


def test_every_interval_lies_inside_the_drawing() -> None:
    chart = chart_for(WEAK)
    assert chart is not None
    layers = chart.to_dict(validate=False)["layer"]
    domain = next(one["encoding"]["x"]["scale"]["domain"] for one in layers if "scale" in one["encoding"]["x"])
    assert domain[0] <= 0.1
    assert domain[1] >= 0.4


def test_long_names_keep_their_words_over_lines() -> None:
    names = broken_over_lines(["dwell between 3.2 and 8.4 and campaign in {retarget, brand}", "x"])
    first = names["dwell between 3.2 and 8.4 and campaign in {retarget, brand}"]
    assert first.replace("\n", " ") == "dwell between 3.2 and 8.4 and campaign in {retarget, brand}"
    assert max(map(len, first.split("\n"))) <= 24


def test_trainings_that_agree_have_readable_ticks() -> None:
    same = exhibit("trainings:seeds", training=[1, 2], skill=[0.54, 0.54], churn=[0.0, 0.0])
    said = letters(drawn(same))
    ticks = [word for word in said if word.startswith("0.5")]
    assert len(ticks) == len(set(ticks)) >= 2
    shares = [word for word in said if word.endswith("%")]
    assert len(shares) == len(set(shares)) >= 2


cells = st.one_of(st.none(), st.floats(), st.floats(0, 1), st.integers(-5, 5), st.text(max_size=5), st.booleans())


@settings(max_examples=60, deadline=None)
@given(data=st.data(), place=st.integers(0, len(KNOWN) - 1))
def test_no_content_of_an_exhibit_breaks_its_picture_or_its_words(data: st.DataObject, place: int) -> None:
    known = KNOWN[place]
    rows = data.draw(st.integers(0, 4))
    columns = {
        column: data.draw(st.lists(cells, min_size=rows, max_size=rows))
        for column in known.columns
        if data.draw(st.integers(0, 9)) < 9
    }
    of = Exhibit(name=known.name, title="t", columns=columns)
    chart = chart_for(of, BOUNDS)
    assert chart is None or to_svg(chart).startswith("<svg ")
    assert describe(of).startswith("t.")


def test_figures_that_people_read_keep_their_digits() -> None:
    assert "accuracy >= 0.8125" in letters(
        drawn(OVER_TIME, (Reference(of="accuracy", value=0.8125, label="accuracy >= 0.8125"),))
    )

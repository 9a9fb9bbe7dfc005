"""What the soak says of a series: it sees a leak through noise, and calls nothing flat that says little."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def soak() -> Iterator[Any]:
    """The benchmark as a module, beside those that it imports."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("soak", BENCHMARKS / "soak.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["soak"] = module
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(BENCHMARKS))
        sys.modules.pop("soak", None)


def resembling(random: np.random.Generator, points: int, alike: float) -> NDArray[np.float64]:
    """Noise in which each point takes over a part of the one before."""
    found = np.zeros(points)
    for at in range(1, points):
        found[at] = alike * found[at - 1] + random.normal()
    return found


@pytest.mark.parametrize("alike", [0.0, 0.9, 0.97])
def test_the_interval_holds_the_slope_though_neighbours_are_alike(soak: Any, alike: float) -> None:
    random = np.random.default_rng(5)
    seconds = np.arange(420.0)
    held = 0
    for _ in range(400):
        found = soak.slope(seconds, 400 + seconds / 60 * 0.5 + resembling(random, 420, alike))
        held += found.low <= 0.5 <= found.high
    assert held >= 0.93 * 400


def test_a_leak_is_seen_through_the_saw_of_a_log(soak: Any) -> None:
    seconds = np.arange(420.0)
    saw = 8 * ((seconds / 12) % 1)
    assert soak.slope(seconds, 400 + saw).low < 0 < soak.slope(seconds, 400 + saw).high
    leak = soak.slope(seconds, 400 + saw + seconds / 60 * 3)
    assert leak.low > 0
    assert leak.middle == pytest.approx(3, abs=0.5)


def test_a_short_noisy_series_is_no_proof(soak: Any) -> None:
    random = np.random.default_rng(1)
    seconds = np.arange(14.0)
    found = soak.slope(seconds, 400 + 10 * random.normal(size=14))
    assert found.high > soak.MOST_GROWTH * 400 / (13 / 60), "not flat, as far as anybody knows"

"""Drift: what differs between some rows and the reference, how likely chance is the cause, and how much it is.

In: two ``Reference`` sketches on one frame. Out: ``Shift``s. Laws: p is valid at any number of rows and far out in the
tail, the noise of the reference included; the effect is free of what chance adds; both follow from the counts alone,
so that they can be recomputed; no value of a hidden column is in any sentence.
"""

from __future__ import annotations

from roadworthy.measures.drift.comparing import compared
from roadworthy.measures.drift.dispersion import with_dispersion
from roadworthy.measures.drift.effects import EFFECT_FLOOR, by_chance, chances

__all__ = ["EFFECT_FLOOR", "by_chance", "chances", "compared", "with_dispersion"]

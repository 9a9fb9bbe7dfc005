"""``inspect``: judge a model on labelled rows, whoever trained it.

In: a model (a registered version, a bundle's folder, an ONNX, LightGBM or XGBoost file, an estimator, a callable, an
endpoint), labelled rows, a standard. Out: an ``Inspection``: evidence and verdict. The measuring, the checks and the
judging are those of ``run``.

- ``rows``: labelled rows as they come, and the sample that they make with scores;
- ``roles``: which columns are time, entity and protected;
- ``required``: the standard, as far as this inspection can tell;
- ``inspecting``: the whole of it.
"""

from roadworthy.api.inspection.inspecting import Inspection, inspect

__all__ = ["Inspection", "inspect"]

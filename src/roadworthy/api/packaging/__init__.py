"""``package``: a model that others trained becomes a version like one of our own.

In: a model as ``inspect`` takes it, labelled rows that it was not trained on. Out: ``Packaged``: a signed bundle,
registered with its evidence and verdict. Laws: the graph in the bundle scores every row as the original does, or
nothing is registered; the verdict is that of ``judge`` on the same checks as ``inspect``.

- ``declaring``: the project that the model belongs to: the one that is there, or a first one made of the rows;
- ``converting``: the model's graph in our form, and the proof that it is the same model;
- ``packaging``: the whole of it.
"""

from roadworthy.api.packaging.packaging import Packaged, package

__all__ = ["Packaged", "package"]

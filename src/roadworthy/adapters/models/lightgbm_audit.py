"""Is a LightGBM text file whole and sound? Asked before the library reads it, since a damaged one ends the process.

In: the file's text. Out: its faults, as sentences. Laws: every tree has all its fields, each as long as its number of
leaves says; children stand after their parent and inside the tree, so that every walk ends; features exist. Source:
LightGBM's ``src/io/tree.cpp`` (``Tree::ToString``) and ``src/boosting/gbdt_model_text.cpp``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ["header_of", "lightgbm_faults"]

_PER_SPLIT = ("split_feature", "threshold", "decision_type", "left_child", "right_child")


def header_of(text: str) -> dict[str, str]:
    """The ``key=value`` lines before the first tree."""
    return _fields(text.partition("\nTree=")[0])


def lightgbm_faults(text: str) -> Iterator[str]:
    """What keeps the text from being a model; nothing where it is one."""
    trees, end, rest = text.partition("\nend of trees")
    if not end:
        yield f"cut off: {len(text):,} characters without the end of the trees"
        return
    if "\nparameters:" in rest and "\nend of parameters" not in rest:
        yield f"cut off: {len(text):,} characters without the end of the parameters"
    header = header_of(trees)
    blocks = trees.split("\nTree=")[1:]
    wanted = header.get("tree_sizes", "").split()
    if len(blocks) != len(wanted):
        yield f"{len(blocks)} trees where the head announces {len(wanted)}"
    features = len(header.get("feature_names", "").split())
    if header.get("max_feature_idx", "") != str(features - 1):
        yield f"{features} feature names where the greatest feature is {header.get('max_feature_idx', 'missing')}"
    for place, block in enumerate(blocks):
        fault = _tree_fault(_fields(block), features)
        if fault:
            yield f"tree {place}: {fault}"
            return


def _fields(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _tree_fault(fields: Mapping[str, str], features: int) -> str:
    """The first fault of one tree, empty where it has none."""
    try:
        leaves = int(fields["num_leaves"])
        if leaves < 1 or len(_numbers(fields["leaf_value"])) != leaves:
            return f"{leaves} leaves, but {len(fields['leaf_value'].split())} values of leaves"
        if leaves == 1:
            return ""
        columns = {name: _numbers(fields[name]) for name in _PER_SPLIT}
    except KeyError as error:
        return f"no field {error.args[0]}"
    except ValueError as error:
        return str(error)
    return _split_fault(columns, leaves, features)


def _split_fault(columns: Mapping[str, list[float]], leaves: int, features: int) -> str:
    """The first fault of a tree's splits."""
    short = [name for name, values in columns.items() if len(values) != leaves - 1]
    if short:
        return f"{leaves} leaves, but {len(columns[short[0]])} values of {short[0]}"
    if not all(0 <= one < features for one in columns["split_feature"]):
        return f"splits on a feature that is none of {features}"
    for side in ("left_child", "right_child"):
        if not all(_inside(int(child), node, leaves) for node, child in enumerate(columns[side])):
            return f"a {side} that is none of its nodes"
    return ""


def _inside(child: int, node: int, leaves: int) -> bool:
    """A leaf is written as −1 − its number; a node stands after its parent."""
    return node < child < leaves - 1 if child >= 0 else -1 - child < leaves


def _numbers(words: str) -> list[float]:
    return [float(word) for word in words.split()]

"""What goes into a bundle, typed: the serving contract and all parts in one value.

In: the project's declarations and the stages' results. Out: plain structs that become files. Law: everything
that turns a request's raw fields into the graph's inputs and the score into a decision is in
``ServingContract``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from roadworthy.records.contract import Contract
from roadworthy.records.digests import Digest
from roadworthy.records.evidence import Evidence
from roadworthy.records.project import Aggregate, Task

__all__ = ["FALLBACK", "REFER", "BundleParts", "ServingContract"]

FALLBACK, REFER = "fallback.json", "refer.json"
"""Files inside ``reference/`` that only a bundle has whose project declares ``[serving]``."""


class ServingContract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``contract.json``: how a live row is read, and how its score is decided.

    ``contract`` is the cleaning contract of all columns; ``features`` the declared features, of which aggregates
    are computed from the entity's past and fed to the graph, and row features are inside the graph. ``inputs``
    are the graph's value inputs (columns and aggregates), ``output`` its score. ``classes`` are labels in score
    order; a binary score is the probability of ``positive``, decided at ``threshold``. ``hashing_key`` is the
    fingerprint of the key that hid the ``personal`` columns; empty where there are none.
    """

    format: int = 1
    name: str
    task: Task
    target: str
    classes: tuple[str, ...]
    positive: str = ""
    threshold: float | None = None
    time: str = ""
    entity: str = ""
    personal: tuple[str, ...] = ()
    hashing_key: Digest = ""
    protected: tuple[str, ...] = ()
    excluded: dict[str, str] = {}
    contract: Contract
    features: dict[str, str | Aggregate] = {}
    inputs: tuple[str, ...]
    output: str = "score"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleParts:
    """All parts of a bundle, before it is written and after it was verified.

    ``reference`` maps names inside ``reference/`` to bytes; ``parents`` are the digests of the records that the
    bundle was made from.
    """

    model: bytes
    contract: ServingContract
    standard_toml: str
    monitor: Mapping[str, Any]
    evidence: Evidence
    card_md: str
    reference: Mapping[str, bytes]
    parents: Mapping[str, Digest] = field(default_factory=dict)

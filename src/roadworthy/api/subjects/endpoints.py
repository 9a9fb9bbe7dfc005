"""Models behind an HTTP endpoint that speaks the Open Inference Protocol, under inspection."""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from roadworthy.adapters.models.inference_endpoint import InferenceEndpoint
from roadworthy.api.subjects.costing import batch_of
from roadworthy.api.subjects.plain import Plain, plain_subject
from roadworthy.api.subjects.reading import chosen_columns, numbers_of
from roadworthy.api.subjects.subject import Subject
from roadworthy.graphs.fresh_process import FreshCost, timed_here
from roadworthy.standard.requirement import Requirement

__all__ = ["endpoint_subject", "is_address"]


def is_address(word: str) -> bool:
    """Whether a word is an address rather than a path or a version."""
    return re.match(r"https?:/", word, re.IGNORECASE) is not None


def endpoint_subject(address: str, rows: pl.DataFrame, target: str) -> Subject:
    """The subject of an endpoint. Raises ModelError where it cannot be asked, or does not fit the rows."""
    endpoint = InferenceEndpoint(address)
    chosen = chosen_columns(rows.drop(target), endpoint.width, endpoint.columns, endpoint.name)
    texts = endpoint.texts if endpoint.columns else frozenset(chosen.columns if endpoint.texts else ())
    plain = Plain(
        name=endpoint.name,
        digest=endpoint.digest,
        raw=lambda frame: endpoint.answer(frame.select(chosen.columns)),
        columns=chosen.columns,
        texts=texts,
        cost=_Cost(endpoint, chosen.columns, texts),
        notes=tuple(filter(None, (chosen.note,))),
    )
    return plain_subject(plain, rows, target)


class _Cost:
    """What a client waits for; the server's start and memory cannot be seen from here."""

    def __init__(self, endpoint: InferenceEndpoint, columns: Sequence[str], texts: frozenset[str]) -> None:
        self._endpoint, self._columns, self._texts = endpoint, columns, texts

    def __call__(
        self, rows: pl.DataFrame, /, *, quick: bool = False, required: Sequence[Requirement] = ()
    ) -> FreshCost:
        numbers, refused = numbers_of(rows.select(self._columns).drop_nulls().head(10_000), self._texts)
        many = batch_of(numbers.filter(~refused))
        requests = {size: self._endpoint.requests(many.head(size)) for size in (1, many.height)}
        try:
            return timed_here(
                lambda size: [self._endpoint.infer(request) for request in requests[size]],
                where=f"over the network from this machine to {self._endpoint.host}, one request at a time",
                batch=many.height,
                quick=quick,
                required=required,
            )
        finally:
            self._endpoint.close()

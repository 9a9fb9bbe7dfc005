"""A model behind HTTP that speaks the Open Inference Protocol V2 (KServe, Triton, MLServer, Roadworthy).

In: an address ``http://host:port/v2/models/NAME[/versions/V]``, frames of the model's columns. Out: its outputs row by
row. Laws: what a request did to the server is never guessed: only what the protocol lets one ask again (no connection,
429, 502, 503, 504) is asked again, twice at most; a row that the server refuses is refused alone; every failure names
the address and what was found. Source: kserve/open-inference-protocol, specification/protocol/inference_rest.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.adapters.models.http_client import HttpClient, Refused
from roadworthy.adapters.models.inference_tensors import (
    MASK,
    Tensor,
    column_data,
    described,
    matrix_data,
    output_rows,
    score_output,
)
from roadworthy.errors import ModelError, Problem
from roadworthy.measures.examined import Answered
from roadworthy.records.digests import digest_data

__all__ = ["InferenceEndpoint"]

_VALUES_PER_REQUEST = 200_000
_ROWS_PER_REQUEST = 1_000
_REFUSALS = 200
"""So many refused requests are followed down to single rows; more of them are no exceptions."""


class InferenceEndpoint:
    """One model of a server. Two forms: one tensor [N, F] of the columns in order, or one tensor per column.

    A tensor ``<column>.missing`` beside a column takes its mask; without one, rows with missing values are refused
    here, since JSON has no word for them. ``timeout_s`` holds for one request. Raises ModelError where the server
    cannot be reached, does not know the model, or takes what columns cannot fill.
    """

    def __init__(self, address: str, *, timeout_s: float = 10.0) -> None:
        self._client = HttpClient(address, timeout_s=timeout_s)
        self.host = self._client.host
        self.name = f"{self.host}{self._client.path}"
        try:
            metadata = self._json(self._client.get(""))
        finally:
            self.close()
        self.inputs = described(metadata, "inputs", self.name)
        self.output = score_output(described(metadata, "outputs", self.name), self.name)
        names = {tensor.name for tensor in self.inputs}
        self._masks = frozenset(name for name in names if name.endswith(MASK) and name.removesuffix(MASK) in names)
        self.digest = digest_data([self.name, metadata])
        self._one = len(self.inputs) == 1 and self.inputs[0].width != 1
        if not self._one:
            self._refuse_wide()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns by name where each has a tensor; empty where they come in order."""
        return () if self._one else tuple(tensor.name for tensor in self.inputs if tensor.name not in self._masks)

    @property
    def width(self) -> int | None:
        """How many columns there are, None where the server leaves it open."""
        return self.inputs[0].width if self._one else len(self.columns)

    @property
    def texts(self) -> frozenset[str]:
        """Tensors of text."""
        return frozenset(tensor.name for tensor in self.inputs if tensor.datatype == "BYTES")

    def answer(self, frame: pl.DataFrame) -> Answered:
        """Outputs [N] or [N, K], NaN where a row is refused: by the server, or for a value that JSON cannot hold."""
        whole = np.flatnonzero(self._sendable(frame))
        found: dict[int, NDArray[np.float64]] = {}
        refusals: list[str] = []
        step = self._step(frame)
        try:
            for start in range(0, len(whole), step):
                self._ask(frame, whole[start : start + step], found, refusals)
        finally:
            self.close()
        if not found:
            problems = [Problem(refusals[0] if refusals else "every row holds missing values", where=self.name)]
            raise ModelError(f"{self.name} answers none of {frame.height:,} rows", problems=problems)
        first = next(iter(found.values()))
        scores = np.full((frame.height, *first.shape), np.nan)
        for place, row in found.items():
            scores[place] = row
        refused = np.ones(frame.height, dtype=np.bool_)
        refused[list(found)] = False
        return Answered(scores, refused)

    def requests(self, frame: pl.DataFrame) -> list[bytes]:
        """The bodies of the requests that ask about a frame without missing values."""
        step = self._step(frame)
        return [self._body(frame.slice(start, step)) for start in range(0, frame.height, step)]

    def infer(self, body: bytes) -> NDArray[np.float64]:
        """The outputs for one request's body, over a connection that stays open until ``close``.

        Raises Refused where the server refuses it.
        """
        answer = self._json(self._client.post("/infer", body))
        return output_rows(answer, self.output, self.name)

    def close(self) -> None:
        """End the connection; the next request makes a new one."""
        self._client.close()

    def _ask(
        self, frame: pl.DataFrame, places: NDArray[np.intp], found: dict[int, NDArray[np.float64]], refusals: list[str]
    ) -> None:
        """Ask about some rows; where they are refused together, about each half, down to the rows themselves."""
        step = self.inputs[0].rows
        padded = places if step is None else places[np.minimum(np.arange(step), len(places) - 1)]
        try:
            outputs = self.infer(self._body(frame[padded]))
        except Refused as error:
            refusals.append(error.message)
            if len(refusals) > _REFUSALS:
                raise ModelError(f"{self.name} refuses too many rows: {error.message}") from error
            if len(places) > 1:
                half = len(places) // 2
                self._ask(frame, places[:half], found, refusals)
                self._ask(frame, places[half:], found, refusals)
            return
        if len(outputs) != len(padded):
            problem = Problem(f"{len(outputs)} answers", expected=f"{len(padded)}", where=f"output {self.output}")
            raise ModelError(f"{self.name} does not answer row by row", problems=[problem])
        found.update(zip(places.tolist(), outputs[: len(places)], strict=True))

    def _step(self, frame: pl.DataFrame) -> int:
        return self.inputs[0].rows or max(1, min(_ROWS_PER_REQUEST, _VALUES_PER_REQUEST // max(frame.width, 1)))

    def _sendable(self, frame: pl.DataFrame) -> NDArray[np.bool_]:
        """[N] rows that JSON can hold: no missing value without a mask, nothing infinite."""
        sound = np.ones(frame.height, dtype=np.bool_)
        for column in frame.iter_columns():
            if column.name + MASK not in self._masks:
                sound &= column.is_not_null().to_numpy()
            if column.dtype.is_float():
                sound &= column.is_finite().fill_null(value=True).to_numpy()
        return sound

    def _body(self, frame: pl.DataFrame) -> bytes:
        if self._one:
            tensors = [matrix_data(frame, self.inputs[0])]
        else:
            tensors = [column_data(frame, tensor, masks=self._masks) for tensor in self.inputs]
        asked = {"inputs": tensors, "outputs": [{"name": self.output}]}
        return json.dumps(asked, allow_nan=False, separators=(",", ":")).encode()

    def _json(self, body: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(body)
        except ValueError as error:
            raise self._no_protocol("an answer that is no JSON") from error
        if not isinstance(answer, dict):
            raise self._no_protocol("JSON that is no object")
        return answer

    def _no_protocol(self, found: str) -> ModelError:
        return ModelError(
            f"{self.name} does not speak the Open Inference Protocol",
            problems=[Problem(found, where=self.name, expected="an object as in the protocol's V2")],
            next_step="pass the address of a model: http://host:port/v2/models/NAME",
        )

    def _refuse_wide(self) -> None:
        wide: Sequence[Tensor] = [tensor for tensor in self.inputs if tensor.width != 1]
        if wide:
            raise ModelError(
                f"{self.name} takes several tensors, of which some hold more than one column",
                problems=[Problem(f"shape {one.shape}", where=f"input {one.name}", expected="[N, 1]") for one in wide],
                next_step="serve the model with one tensor [N, F], or with one tensor per column",
            )

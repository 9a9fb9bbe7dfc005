"""The sixth stage: the chosen candidate becomes one signed bundle that serves from raw row to decision.

In: the trained candidates, the validation's choice, and the feature table. Out: ``bundle/`` in
the stage's folder and a ``Bundle`` record whose evidence is that of the graph that ships. Laws: the float graph is
compared with the training framework on every holdout row, and the greatest difference is evidence, not an
opinion; an int8 graph ships only where the training part proves that it decides the same; what is written opens
again with the project's own key.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import ModelError
from roadworthy.formats.bundle import BundleParts, ServingContract, read_bundle, write_bundle
from roadworthy.formats.bundle.card import model_card
from roadworthy.graphs.join import join
from roadworthy.graphs.loading import load_graph, read_model
from roadworthy.graphs.optimise import optimise
from roadworthy.graphs.quantise import quantisable, quantise
from roadworthy.graphs.runner import GraphModel
from roadworthy.graphs.timing import Timing, latency_measurements, time_graphs
from roadworthy.graphs.variants import explain_cost, pays
from roadworthy.protocols import Reporter
from roadworthy.records.data import Split
from roadworthy.records.digests import Digest, digest_bytes
from roadworthy.records.evidence import Evidence, Measurement, Phase
from roadworthy.records.model import Bundle, TrainedModel, Validation
from roadworthy.records.project import ProjectSpec, Task
from roadworthy.stages.costs import front_graph
from roadworthy.stages.measuring import confidence_of
from roadworthy.stages.package_checks import (
    decisions,
    flips_counted,
    flips_estimated,
    flips_unprovable,
    framework_scores,
    int8_refused,
    parity_between,
)
from roadworthy.stages.package_estimator import estimator_file
from roadworthy.stages.package_reference import reference_files
from roadworthy.stages.package_serving import refer_note, serving_files
from roadworthy.stages.train import candidate_folder
from roadworthy.stages.validate_rows import Labelled
from roadworthy.standard import Requirement, parse_standard
from roadworthy.transforms.splits import HOLDOUT, TRAIN

__all__ = ["BUNDLE", "LATENCY_RUNS", "STEPS", "PackageInputs", "run"]

BUNDLE = "bundle"
"""The bundle's folder inside the stage's."""

LATENCY_RUNS = 1000
STEPS = 4
_STEP = "package"
_JOINED, _OPTIMISED, _INT8 = "float32, as joined", "float32, optimised", "int8"
_BATCH = 16_384

Remeasure = Callable[[NDArray[np.float64]], tuple[Measurement, ...]]
"""Scores of the holdout rows in ``_row`` order → the quality measurements of the graph that gave them."""

Conclude = Callable[[BundleParts], Evidence]
"""A bundle without its card → its evidence with what follows from it, as the card tells it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageInputs:
    """What the stage works on.

    ``rows`` is the feature table's ``rows.parquet``, ``parts`` the split's ``parts.parquet``, ``monitor`` the plan
    that ``stages.monitor.monitor_plan`` made. The feature graph is built from the candidate's ``encoder.json``.
    ``hashing_key`` is the fingerprint of the key that hid the personal columns.
    """

    trained: TrainedModel
    trained_folder: Path
    validation: Validation
    rows: Path
    parts: Path
    split: Split
    spec: ProjectSpec
    standard_toml: str
    monitor: Mapping[str, Any]
    hashing_key: Digest = ""


@dataclass(frozen=True, slots=True)
class _Shipped:
    """The variant that ships, with its scores on the holdout and what was found on the way."""

    variant: str
    content: bytes
    before: Timing
    after: Timing
    scores: NDArray[np.float64]
    parity: float
    flipped: NDArray[np.bool_]
    clusters: NDArray[np.int64] | None
    notes: tuple[str, ...]


def run(
    inputs: PackageInputs,
    *,
    sign: Callable[[bytes], bytes],
    public_key_pem: bytes,
    remeasure: Remeasure,
    conclude: Conclude,
    folder: Path,
    digest: Digest,
    reporter: Reporter,
) -> Bundle:
    """Package the chosen candidate into ``folder / "bundle"``. The card tells the evidence as ``conclude`` gives it.

    A parity failure does not raise: it becomes the measurement ``parity``, which the standard bounds. Raises
    ModelError when the graphs do not join or fail on the rows, BundleError when the bundle does not open again.
    """
    labelled = Labelled.load(inputs.trained, inputs.trained_folder, inputs.parts, inputs.rows, inputs.spec)
    train, holdout = _rows_of(inputs, labelled, TRAIN), _rows_of(inputs, labelled, HOLDOUT)
    reporter.advance(_STEP)
    shipped = _shipped(inputs, labelled, train, holdout)
    reporter.advance(_STEP)
    evidence = _evidence(inputs, shipped, holdout.height, remeasure)
    reference = _reference(inputs, labelled, train, shipped)
    shipped = replace(shipped, notes=(*shipped.notes, *refer_note(reference)))
    parts = BundleParts(
        model=shipped.content,
        contract=_contract(inputs, shipped.content),
        standard_toml=inputs.standard_toml,
        monitor=inputs.monitor,
        evidence=evidence,
        card_md="",
        reference=reference,
        parents={
            "trained": inputs.trained.digest,
            "validation": inputs.validation.digest,
            "holdout": evidence.holdout,
        },
    )
    parts = replace(parts, card_md=_card(inputs, shipped, conclude(parts)))
    reporter.advance(_STEP)
    write_bundle(folder / BUNDLE, parts, sign=sign, public_key_pem=public_key_pem)
    read_bundle(folder / BUNDLE, [public_key_pem])
    reporter.advance(_STEP)
    return Bundle(
        digest=digest,
        parent=inputs.validation.digest,
        name=inputs.spec.name,
        before=shipped.before.cost,
        after=shipped.after.cost,
        variant=shipped.variant,
        parity=shipped.parity,
        flips=float(np.mean(shipped.flipped)) if len(shipped.flipped) else 0.0,
        notes=shipped.notes,
        evidence=evidence,
    )


def _reference(inputs: PackageInputs, labelled: Labelled, train: pl.DataFrame, shipped: _Shipped) -> dict[str, bytes]:
    """The files of ``reference/``; what must be judged on unseen rows is judged on out-of-fold ones."""
    graph, choice, classes = GraphModel(shipped.content), inputs.validation.choice, inputs.trained.classes
    samples, numbers = labelled.out_of_fold([choice.candidate])
    unseen = samples[choice.candidate]
    rows = train.join(numbers.select("_row"), on="_row", how="semi", maintain_order="left")
    return {
        **estimator_file(inputs.spec, unseen, rows, graph.columns, threshold=choice.threshold),
        **reference_files(inputs.spec, train, graph, shipped.scores, unseen),
        **serving_files(inputs.spec, train, graph.columns, unseen, classes=classes, threshold=choice.threshold),
    }


def _rows_of(inputs: PackageInputs, labelled: Labelled, part: str) -> pl.DataFrame:
    """The clean rows and features of one part's labelled rows, in ``_row`` order."""
    numbers = labelled.part(part).select("_row").lazy()
    return pl.scan_parquet(inputs.rows, glob=False).join(numbers, on="_row", how="semi").sort("_row").collect()


def _shipped(inputs: PackageInputs, labelled: Labelled, train: pl.DataFrame, holdout: pl.DataFrame) -> _Shipped:
    """Join, optimise, try int8, measure, choose."""
    candidate = inputs.trained_folder / candidate_folder(inputs.validation.choice.candidate)
    model = load_graph(read_model(candidate / "model.onnx"), where=str(candidate / "model.onnx"))
    joined: bytes = join(front_graph(inputs.spec, candidate), model).SerializeToString(deterministic=True)
    graphs, failures = _variants(joined)
    timings = time_graphs(graphs, GraphModel(joined).feed(train.head(1)), runs=LATENCY_RUNS)
    chosen, notes = _chosen(inputs, graphs, timings, labelled, train)

    task, threshold = inputs.spec.task, inputs.validation.choice.threshold
    expected = framework_scores(candidate / "holdout.parquet", holdout.get_column("_row"))
    scores = GraphModel(graphs[chosen]).score(holdout, batch=_BATCH)
    exact = chosen if chosen != _INT8 else _float_variant(timings)
    faithful = scores if exact == chosen else GraphModel(graphs[exact]).score(holdout, batch=_BATCH)
    parity = parity_between(faithful, expected, _target_spread(inputs, holdout))
    return _Shipped(
        variant=chosen,
        content=graphs[chosen],
        before=timings[_JOINED],
        after=timings[chosen],
        scores=scores,
        parity=parity,
        flipped=decisions(scores, task, threshold) != decisions(expected, task, threshold),
        clusters=labelled.clusters(labelled.part(HOLDOUT)),
        notes=(*failures, *notes),
    )


def _variants(joined: bytes) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """The joined graph and what can be made of it; a rewrite that fails is a note, the graph itself stands."""
    graphs, failures = {_JOINED: joined}, []
    best = joined
    for name, applies, rewrite in ((_OPTIMISED, True, optimise), (_INT8, quantisable(joined), quantise)):
        try:
            if applies:
                best = graphs[name] = rewrite(best)
        except ModelError as error:
            failures.append(f"the variant {name!r} could not be made: {error.message}")
    return graphs, tuple(failures)


def _float_variant(timings: Mapping[str, Timing]) -> str:
    """The optimised graph unless it is larger; both compute the same."""
    if _OPTIMISED in timings and timings[_OPTIMISED].size_bytes <= timings[_JOINED].size_bytes:
        return _OPTIMISED
    return _JOINED


def _chosen(
    inputs: PackageInputs,
    graphs: Mapping[str, bytes],
    timings: Mapping[str, Timing],
    labelled: Labelled,
    train: pl.DataFrame,
) -> tuple[str, tuple[str, ...]]:
    """The variant that ships and one sentence per decision."""
    chosen = _float_variant(timings)
    notes = []
    if _OPTIMISED in timings:
        cost = explain_cost(timings[_JOINED], timings[_OPTIMISED])
        kept = "kept" if chosen == _OPTIMISED else "not kept, it makes the graph larger"
        notes.append(f"graph optimisation {kept}: {cost}")
    if _INT8 not in graphs:
        return chosen, (*notes, "no int8 variant: the graph has no weight matrix that could be quantised")
    worth, why = pays(timings[chosen], timings[_INT8])
    if not worth:
        return chosen, (*notes, f"int8 does not pay: {why}")
    rows = labelled.part(TRAIN)
    before, after = (
        labelled.sample(rows, GraphModel(graphs[name]).score(train, batch=_BATCH)) for name in (chosen, _INT8)
    )
    refused = int8_refused(before, after, inputs.validation.choice.threshold)
    if not refused and inputs.spec.task is not Task.REGRESSION:
        held = labelled.part(HOLDOUT)
        refused = flips_unprovable(held.height, labelled.clusters(held), _required(inputs))
    if refused:
        return chosen, (*notes, f"int8 would pay ({why}) but is not taken: {refused}")
    return _INT8, (*notes, f"int8 taken: {why}; not worse and within 0.1 % of decisions on the training part")


def _target_spread(inputs: PackageInputs, holdout: pl.DataFrame) -> float | None:
    """The target's standard deviation on the holdout for regression, None for probabilities."""
    if inputs.spec.task is not Task.REGRESSION:
        return None
    return float(np.std(holdout.get_column(inputs.spec.target).drop_nulls().cast(pl.Float64).to_numpy()))


def _evidence(inputs: PackageInputs, shipped: _Shipped, rows: int, remeasure: Remeasure) -> Evidence:
    """The validation's evidence with quality re-measured where int8 ships, and the package's own measurements."""
    old = inputs.validation.evidence
    asked = partial(confidence_of, required=_required(inputs))
    int8 = shipped.variant == _INT8
    new = remeasure(shipped.scores) if int8 else ()
    of_float = ", of the float graph that int8 was made from" if int8 else ""
    flips = flips_counted(shipped.flipped)
    if int8 and inputs.spec.task is not Task.REGRESSION:
        flips = flips_estimated(shipped.flipped, shipped.clusters, asked("decision_flips"))
    new += (
        _counted("parity", shipped.parity, rows, f"greatest difference over the whole holdout{of_float}"),
        flips,
        msgspec.structs.replace(_counted("size", float(len(shipped.content)), 1, "bytes of model.onnx"), unit="bytes"),
        *latency_measurements(shipped.after.samples_ms, confidences=(asked("latency_p50"), asked("latency_p99"))),
    )
    replaced = {(measured.metric, measured.slice, measured.phase) for measured in new}
    kept = tuple(item for item in old.measurements if (item.metric, item.slice, item.phase) not in replaced)
    return msgspec.structs.replace(old, subject=digest_bytes(shipped.content), measurements=kept + new)


def _required(inputs: PackageInputs) -> tuple[Requirement, ...]:
    """What the standard that travels in the bundle requires of a release."""
    table = tomllib.loads(inputs.standard_toml)["standard"]
    return parse_standard(table, inputs.spec.task).of_phase(Phase.RELEASE)


def _counted(metric: str, value: float, n: int, method: str) -> Measurement:
    """An exact figure: no sampling, so both bounds are the value; of no row, nothing is known."""
    if not n:
        return Measurement(metric=metric, n=0, method=method, insufficient="the holdout has no row")
    return Measurement(metric=metric, value=value, lower=value, upper=value, n=n, method=method)


def _contract(inputs: PackageInputs, content: bytes) -> ServingContract:
    spec, graph = inputs.spec, GraphModel(content)
    if not graph.columns:
        raise ModelError("the joined graph takes no columns", next_step="declare at least one model column")
    return ServingContract(
        name=spec.name,
        task=spec.task,
        target=spec.target,
        classes=inputs.trained.classes,
        positive=inputs.trained.classes[1] if spec.task is Task.BINARY else "",
        threshold=inputs.validation.choice.threshold,
        time=spec.data.time,
        entity=spec.data.entity,
        personal=spec.data.personal,
        hashing_key=inputs.hashing_key if spec.data.personal else "",
        protected=spec.data.protected,
        excluded=spec.data.exclude,
        contract=spec.contract,
        features=spec.features,
        inputs=graph.columns,
        output=graph.outputs[0],
    )


def _card(inputs: PackageInputs, shipped: _Shipped, evidence: Evidence) -> str:
    return model_card(
        inputs.spec,
        inputs.trained,
        inputs.validation.choice,
        inputs.split,
        evidence,
        variant=shipped.variant,
        notes=shipped.notes,
    )

"""What a run carried out, for the ML Test Score.

In: the project, the standard, the run's records, the parts of its bundle. Out: ``TestScoreFacts``. Law: only what was
done in this run, or stands in its bundle, is a fact; so the bundle's card and the run's verdict rest on the same ones.
"""

from __future__ import annotations

from roadworthy.formats.bundle import BundleParts
from roadworthy.measures.test_score import TestScoreFacts
from roadworthy.records.data import Snapshot
from roadworthy.records.evidence import Phase
from roadworthy.records.model import TrainedModel, Validation
from roadworthy.records.project import ProjectSpec
from roadworthy.stages.monitor import plan_of, self_test, traced_layers
from roadworthy.standard import Standard

__all__ = ["carried_out"]


def carried_out(
    spec: ProjectSpec,
    standard: Standard,
    snapshot: Snapshot,
    trained: TrainedModel,
    validation: Validation,
    *,
    stages: tuple[str, ...],
    parts: BundleParts,
) -> TestScoreFacts:
    """The facts of one run, ``stages`` being those it went through; golden rows are answered and traced here and now.

    Raises BundleError where the bundle answers its golden rows otherwise, or lacks what its plan names.
    """
    plan = plan_of(parts)
    chosen = next(one for one in trained.candidates if one.name == validation.choice.candidate)
    return TestScoreFacts(
        spec=spec,
        columns=trained.features,
        hashed=snapshot.hashed,
        stages=stages,
        compared=tuple(one.name for one in trained.candidates),
        chosen=chosen.name,
        trials=chosen.trials,
        required=tuple(dict.fromkeys(one.metric for one in standard.of_phase(Phase.RELEASE))),
        golden=self_test(parts),
        traced=traced_layers(parts),
        rules=tuple(rule.metric for rule in plan.rules),
        reference=tuple(plan.reference.values()),
    )

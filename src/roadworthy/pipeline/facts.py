"""What a run carried out, for the ML Test Score.

In: the project, the standard, the run's records, the bundle as it was read back. Out: ``TestScoreFacts``. Law: only
what was done in this run, or found in its bundle, is a fact.
"""

from __future__ import annotations

from roadworthy.formats.bundle import OpenBundle
from roadworthy.measures.test_score import TestScoreFacts
from roadworthy.pipeline.running import Records
from roadworthy.records.evidence import Phase
from roadworthy.records.project import ProjectSpec
from roadworthy.stages.monitor import self_test, traced_layers
from roadworthy.standard import Standard

__all__ = ["carried_out"]


def carried_out(
    spec: ProjectSpec, standard: Standard, records: Records, bundle: OpenBundle, stages: tuple[str, ...]
) -> TestScoreFacts:
    """The facts of one run; its golden rows are answered, and one of them is traced, here and now."""
    trained, plan = records.trained, records.monitor
    chosen = next(one for one in trained.candidates if one.name == records.validation.choice.candidate)
    return TestScoreFacts(
        spec=spec,
        columns=trained.features,
        hashed=records.snapshot.hashed,
        stages=stages,
        compared=tuple(one.name for one in trained.candidates),
        chosen=chosen.name,
        trials=chosen.trials,
        required=tuple(dict.fromkeys(one.metric for one in standard.of_phase(Phase.RELEASE))),
        golden=self_test(bundle),
        traced=traced_layers(bundle),
        rules=tuple(rule.metric for rule in plan.rules),
        reference=tuple(plan.reference.values()),
    )

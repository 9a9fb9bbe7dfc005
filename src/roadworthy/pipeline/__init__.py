"""The order of the stages, and resume by digest.

In: a project, its standard, and a ``World`` of protocol objects. Out: a ``RunResult``: the registered version, its
verdict, and every stage's record.

Each stage's folder in the store is named by the digest of everything that went into it: the parents' digests, the
part of the project that it reads, and the stage's own number. What is already there is not done again; a changed
stage and all after it are. ``collect`` always reads the source's fingerprint, since only that tells whether the
source changed.
"""

from roadworthy.pipeline.plans import check_plans
from roadworthy.pipeline.running import Records, RunResult, World
from roadworthy.pipeline.sequence import run_pipeline

__all__ = ["Records", "RunResult", "World", "check_plans", "run_pipeline"]

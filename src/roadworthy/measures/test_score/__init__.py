"""The ML Test Score of one model: 28 tests, each computed from evidence or from a signed attestation.

In: ``TestScoreFacts`` (what was measured and carried out), attestations, a day. Out: a ``TestScore``, and a ``Found``
with the measurement ``ml_test_score`` and the exhibit of that name.

- ``facts``: what the tests look at;
- ``data``, ``model``, ``infra``, ``monitor``: the seven tests of each section;
- ``scoring``: the points.

Laws: an automatic point rests on something that was measured or carried out for this very model, never on what the
product could do; a test that the evidence refutes has no point, whoever signs for it; the score is the least section.
Breck et al. (2017), "The ML Test Score: A Rubric for ML Production Readiness and Technical Debt Reduction".
"""

from roadworthy.measures.test_score.data import DEAR, TRIFLE
from roadworthy.measures.test_score.facts import TestScoreFacts
from roadworthy.measures.test_score.scoring import score, test_score_found

__all__ = ["DEAR", "TRIFLE", "TestScoreFacts", "score", "test_score_found"]

"""Features and data: the seven tests of the first section.

In: facts. Out: a ``Ruling`` each. Schema and parity are what this run measured with them, not what the file declares.
"""

from __future__ import annotations

from roadworthy.measures.test_score.facts import (
    Ruling,
    Tested,
    TestScoreFacts,
    bounded,
    earned,
    named,
    refuted,
    unknown,
)
from roadworthy.records.contract import ColumnContract, ColumnType
from roadworthy.records.project import Aggregate

__all__ = ["DATA", "DEAR", "TRIFLE"]

PARITY = 1e-5
"""The greatest difference between package and training framework that counts as the same feature code."""

DEAR, TRIFLE = 0.3, 0.01
"""A feature is dear above this share of all features' time, and of no use below this share of the base rate's loss."""

_BENEFITS = ("feature_benefit", "importance")
_COSTS = ("feature_cost",)
_BOUNDED = (ColumnType.INTEGER, ColumnType.NUMBER)
_WORDED = (ColumnType.CATEGORY, ColumnType.TEXT)


def _schema(facts: TestScoreFacts) -> Ruling:
    measure = "roadworthy run   # in a project; `roadworthy init` writes a first contract"
    share = facts.measured("quarantined_share")
    if facts.spec is None or not facts.columns or share is None or share.value is None:
        return unknown(facts.why("quarantined_share", "no contract was applied to the rows"), measure)
    contract = facts.spec.contract.columns
    open_ = [name for name in facts.columns if name in contract and not _expected(contract[name])]
    if open_:
        return unknown(
            f"the contract does not say which values are expected of {named(open_)}",
            f"give min, max, allowed or pattern to {named(open_)} in [contract.columns]",
        )
    sentence = (
        f"the contract bounds every column that the model reads, and set {share.value:.2%} of {share.n:,} rows aside"
    )
    return earned("measurement:quarantined_share, stage:clean", sentence)


def _expected(column: ColumnContract) -> bool:
    if column.type in _BOUNDED:
        return column.min is not None or column.max is not None
    return column.type not in _WORDED or bool(column.allowed or column.pattern)


def _beneficial(facts: TestScoreFacts) -> Ruling:
    measure = "roadworthy run, or `roadworthy inspect` with enough labelled rows"
    shown = facts.exhibit(*_BENEFITS)
    columns = shown.columns.get("column", []) if shown else []
    if shown is None or not columns:
        return unknown("what each feature contributes was not measured", measure)
    uppers = dict(zip(columns, shown.columns.get("upper", []), strict=False))
    left = [name for name in (*columns, *facts.columns) if uppers.get(name) is None]
    useless = [name for name, upper in uppers.items() if upper is not None and upper <= 0]
    if useless:
        return refuted(
            f"exhibit:{shown.name}",
            f"without {named(useless)} the model is provably no worse",
            f"list {named(useless)} under exclude in [data]",
        )
    if left:
        return unknown(f"what {named(left)} contributes was not measured", measure)
    return earned(f"exhibit:{shown.name}", f"each of {len(columns)} inputs was shuffled, and none is provably useless")


def _cheap(facts: TestScoreFacts) -> Ruling:
    """Earned by a time and a benefit of every declared feature; refuted by one that is dear and provably useless."""
    measure = "roadworthy run   # in a project whose [features] are declared"
    declared = tuple(facts.spec.features) if facts.spec is not None else ()
    shown = facts.exhibit(*_COSTS)
    if not declared or shown is None:
        why = "what each feature costs was not measured" if declared else "no feature is declared, so none was timed"
        return unknown(why, measure)
    names = ("microseconds", "time_share", "benefit_upper")
    lines = zip(shown.columns.get("column", []), *(shown.columns.get(name, []) for name in names), strict=False)
    known = {name: figures for name, *figures in lines}
    wasted = [
        name
        for name, (_, share, upper) in known.items()
        if share is not None and upper is not None and share > DEAR and upper < TRIFLE
    ]
    if wasted:
        sentence = f"{named(wasted)} takes more than {DEAR:.0%} of all features' time and is provably of no use"
        return refuted(f"exhibit:{shown.name}", sentence, f"take {named(wasted)} out of [features]")
    untimed = [name for name in declared if name not in known or None in known[name][:2]]
    unweighed = [name for name in declared if name in facts.columns and known.get(name, [None])[-1] is None]
    if untimed:
        return unknown(f"the time that {named(untimed)} takes was not measured", measure)
    if unweighed:
        return unknown(f"what {named(unweighed)} is worth was not measured", measure)
    sentence = f"each of {len(declared)} features was timed and weighed, and none that is dear is provably useless"
    return earned(f"exhibit:{shown.name}", sentence)


def _meta_level(facts: TestScoreFacts) -> Ruling:
    measure = "name what no model may use under exclude or personal in [data]"
    if facts.spec is None or not facts.columns:
        return unknown("nothing says which columns no model may use", measure)
    data = facts.spec.data
    barred = list(dict.fromkeys([*data.personal, *data.exclude]))
    if not barred:
        return unknown("nothing says which columns no model may use", measure)
    used = [name for name in barred if name in facts.columns]
    if used:
        return refuted(
            "file:contract.json", f"the model reads {named(used)}, which it may not", f"leave out {named(used)}"
        )
    return earned("file:contract.json", f"the model reads none of {named(barred)}")


def _private(facts: TestScoreFacts) -> Ruling:
    measure = "name the columns that identify people under personal in [data]"
    personal = facts.spec.data.personal if facts.spec is not None else ()
    if not personal:
        return unknown("no column is declared personal, so none was hidden", measure)
    bare = [name for name in personal if name not in facts.hashed]
    if bare:
        return refuted("stage:collect", f"{named(bare)} was written in the clear", "roadworthy run   # collects anew")
    return earned("stage:collect", f"{named(personal)} was keyed-hashed before anything was written")


def _feature_code(facts: TestScoreFacts) -> Ruling:
    features = facts.spec.features if facts.spec is not None else {}
    past = [name for name, definition in features.items() if isinstance(definition, Aggregate)]
    ruling = bounded(
        facts,
        "parity",
        PARITY,
        good="on every holdout row, features and model gave the same in training and in the package, within {}",
        bad="features or model differ by {} between training and package",
        raises="roadworthy trace ROW   # shows at which layer they part",
        measure="roadworthy run   # compares both on every holdout row",
    )
    if past and not facts.replayed and ruling.how.value == "automatic":
        return unknown(
            f"{named(past)} was not computed again from replayed history", "replay the history that it looks at"
        )
    return ruling


DATA: tuple[Tested, ...] = (
    Tested("What is expected of every input is written down and checked", _schema),
    Tested("Every feature is of use", _beneficial),
    Tested("No feature costs more than it is worth", _cheap),
    Tested("The model uses nothing that it may not use", _meta_level),
    Tested("What identifies people is protected on the whole way", _private),
    Tested("A new feature reaches production quickly", None),
    Tested("The code of all features is tested", _feature_code),
)
"""In the paper's order."""

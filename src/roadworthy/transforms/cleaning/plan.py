"""The cleaning plan: one implementation that history and live rows go through.

In: a contract. Out, per call: kept and quarantined rows lazily (``apply``), counts from one streaming aggregation
(``check``), or a small clean frame with the problems of each row (``apply_rows``).

Laws: rows in = rows kept + rows quarantined; the first of equal values stays, judged among the rows that meet
everything else; reasons are stable texts ``"<column>: <what>"`` and never hold a value of the row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl

from roadworthy.records.contract import Breach, Contract
from roadworthy.transforms.cleaning.compiled import PREFIX, Compiled, Flag, compile_plan, fresh_flag
from roadworthy.transforms.cleaning.declared import Rule, check_contract
from roadworthy.transforms.cleaning.result import CleaningCounts, CleaningResult
from roadworthy.transforms.cleaning.times import in_range

__all__ = ["CleaningPlan"]

_FIRST = datetime.min  # noqa: DTZ901 - clean times are UTC without a zone


@dataclass(frozen=True, slots=True)
class CleaningPlan:
    """A contract that was found sound, ready to be applied.

    ``time`` and ``target`` are column names (``time`` may be empty). Freshness is measured against the newest
    value of the time column, or of the column itself where the project has no time column.
    """

    contract: Contract
    time: str
    target: str
    _rules: tuple[Rule, ...]
    _ages: Mapping[str, int]
    _compiled: dict[object, Compiled] = field(default_factory=dict, compare=False, repr=False)
    _told: dict[str, tuple[Breach, tuple[str, ...]]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def looked_at(self) -> frozenset[str]:
        """The columns that the contract's cross-column rules look at."""
        return frozenset(name for rule in self._rules for name in rule.columns)

    @property
    def rules(self) -> Mapping[str, tuple[str, ...]]:
        """The columns that each rule looks at, by the rule's text."""
        return {rule.text: rule.columns for rule in self._rules}

    def told(self, reason: str) -> tuple[Breach, tuple[str, ...]]:
        """What a reason that ``apply_rows`` gave says: how the row breaks the contract, and in which columns.

        That is one column, but for a rule: all that it looks at.
        """
        return self._told[reason]

    @classmethod
    def build(cls, contract: Contract, time: str, target: str) -> CleaningPlan:
        """The plan of a contract; raises ProjectFileError with every problem the contract has."""
        rules, ages = check_contract(contract, time, target)
        return cls(contract, time, target, rules, ages)

    def apply(self, raw: pl.LazyFrame, counts: CleaningCounts | None = None) -> CleaningResult:
        """Kept and quarantined rows, lazily.

        ``raw`` may carry ``_row``; otherwise rows are numbered from 0. ``counts``, from ``check`` on the same
        rows, spares every condition that was found to mark nothing. Nothing is read here, except the newest
        time where freshness is declared. Raises DataError when declared columns lack.
        """
        plan, flags = self._flags(raw)
        unique = plan.unique
        if counts is not None:
            flags = [flag for flag in flags if flag.reason in counts.reasons]
            unique = [one for one in unique if one[0] in counts.reasons]
        prepared = plan.prepare(raw)
        marks: list[tuple[str, pl.Expr]] = [(flag.reason, flag.condition) for flag in flags]
        for at, (reason, columns) in enumerate(unique):
            mark = f"{PREFIX}_again{at}"
            again = _repeated(plan.prepare(raw), columns, flags, mark)
            prepared = prepared.join(again, on="_row", how="left", maintain_order="left")
            marks.append((reason, pl.col(mark)))
        bad = _any([condition for _, condition in marks])
        kept = prepared.filter(~bad) if marks else prepared
        reasons = [pl.when(condition).then(pl.lit(reason)) for reason, condition in marks]
        listed = pl.concat_list(reasons).list.drop_nulls() if reasons else pl.lit([], dtype=pl.List(pl.String))
        return CleaningResult(
            kept.select("_row", *plan.columns),
            prepared.filter(bad).select(*plan.as_they_came(), "_row", listed.alias("_reasons")),
            plan.notes,
        )

    def check(self, raw: pl.LazyFrame) -> CleaningCounts:
        """Counts by reason and by repair, from one streaming aggregation (two where freshness is declared).

        Uniqueness of whole rows is counted over 64-bit hashes; ``apply`` compares the values themselves.
        """
        plan, flags = self._flags(raw)
        prepared = plan.prepare(raw)
        queries = {"rows": pl.len().cast(pl.Int64)}
        queries |= {f"f{at}": flag.condition.sum().cast(pl.Int64) for at, flag in enumerate(flags)}
        queries |= {f"r{at}": flag.sum().cast(pl.Int64) for at, flag in enumerate(plan.repairs.values())}
        bad = _any([flag.condition for flag in flags])
        queries["bad"] = bad.sum().cast(pl.Int64) if flags else pl.lit(0, dtype=pl.Int64)
        for at, (_, columns) in enumerate(plan.unique):
            value = pl.col(columns[0]) if len(columns) == 1 else pl.struct(columns).hash()
            present = value.filter(~bad) if flags else value
            distinct = (present.drop_nulls() if len(columns) == 1 else present).n_unique()
            total = present.count() if len(columns) == 1 else present.len()
            queries[f"u{at}"] = total.cast(pl.Int64) - distinct.cast(pl.Int64)
        row = prepared.select(**queries).collect(engine="streaming").row(0, named=True)
        reasons = {flag.reason: row[f"f{at}"] or 0 for at, flag in enumerate(flags)}
        reasons |= {reason: row[f"u{at}"] for at, (reason, _) in enumerate(plan.unique)}
        repairs = {name: row[f"r{at}"] or 0 for at, name in enumerate(plan.repairs)}
        again = [row[f"u{at}"] for at in range(len(plan.unique))]
        quarantined = (row["bad"] or 0) + (again[0] if len(again) == 1 else self._repeats(raw, plan, flags, again))
        return CleaningCounts(
            row["rows"],
            row["rows"] - quarantined,
            quarantined,
            {reason: count for reason, count in reasons.items() if count},
            {repair: count for repair, count in repairs.items() if count},
            plan.notes,
        )

    def apply_rows(
        self, frame: pl.DataFrame, *, optional: Collection[str] = (), judged: bool = False
    ) -> tuple[pl.DataFrame, pl.Series]:
        """Live rows: all of them, typed, and beside each the list of its problems (null: it meets the contract).

        The same expressions as ``apply``; uniqueness, duplicates and freshness are switched off. The target and
        the ``optional`` columns (excluded ones, known only later) may be absent and then travel as missing; by
        themselves they are not judged, unless ``judged`` says so. Cells that cannot be read are null in the clean
        frame. Raises DataError when other declared columns lack.
        """
        spared = self._spared(optional)
        plan = self._rows_plan(frame, spared)
        flags = [flag for flag in plan.flags if judged or flag.column not in spared]
        done = plan.prepare(frame.lazy()).select(*plan.columns, *_marked(flags)).collect(engine="in-memory")
        return done.select(plan.columns), _problems(done, _marks(flags))

    def apply_rows_and_keep(
        self, frame: pl.DataFrame, *, optional: Collection[str] = ()
    ) -> tuple[pl.DataFrame, pl.Series, pl.Series]:
        """``apply_rows``, and beside each row whether training would keep it, by all that its columns say."""
        spared = self._spared(optional)
        plan = self._rows_plan(frame, spared)
        flags = [flag for flag in plan.flags if flag.column not in spared]
        others = _any([flag.condition for flag in plan.flags if flag.column in spared])
        queries = [*_marked(flags), (~others).alias(f"{PREFIX}_kept")]
        done = plan.prepare(frame.lazy()).select(*plan.columns, *queries).collect(engine="in-memory")
        problems = _problems(done, _marks(flags))
        return done.select(plan.columns), problems, problems.is_null() & done.get_column(f"{PREFIX}_kept")

    def _spared(self, optional: Collection[str]) -> frozenset[str]:
        return frozenset({self.target, *optional})

    def _rows_plan(self, frame: pl.DataFrame, spared: frozenset[str]) -> Compiled:
        key = (spared, tuple(frame.schema.items()))
        plan = self._compiled.get(key)
        if plan is None:
            plan = self._compiled[key] = compile_plan(self.contract, self._rules, frame.schema, absent=spared)
            self._told.update({flag.reason: (flag.breach, (flag.column,)) for flag in plan.flags if flag.column})
            self._told.update({rule.reason: (Breach.RULE, rule.columns) for rule in self._rules})
        return plan

    def _flags(self, raw: pl.LazyFrame) -> tuple[Compiled, list[Flag]]:
        plan = compile_plan(self.contract, self._rules, raw.collect_schema())
        if not self._ages:
            return plan, plan.flags
        prepared = plan.prepare(raw)
        clocks = {name: self.time or name for name in self._ages}
        known = [pl.col(name).filter(in_range(pl.col(name))).max() for name in sorted(set(clocks.values()))]
        newest = prepared.select(known).collect(engine="streaming")
        fresh = []
        for name, age in self._ages.items():
            latest: datetime | None = newest.item(0, clocks[name])
            if latest is not None:
                since_first, span = latest - _FIRST, timedelta(microseconds=age)
                oldest = _FIRST + max(since_first - span, timedelta())
                fresh.append(fresh_flag(name, self.contract.columns[name].freshness, oldest))
        return plan, [*plan.flags, *fresh]

    def _repeats(self, raw: pl.LazyFrame, plan: Compiled, flags: list[Flag], again: list[int]) -> int:
        """Rows that any of several uniqueness conditions marks."""
        if not any(again):
            return 0
        marked = [
            _repeated(plan.prepare(raw), columns, flags, f"{PREFIX}_again").select("_row")
            for (_, columns), count in zip(plan.unique, again, strict=True)
            if count
        ]
        union = pl.concat(marked).select(pl.col("_row").n_unique())
        return int(union.collect(engine="streaming").item())


def _marks(flags: list[Flag]) -> dict[str, str]:
    return {f"{PREFIX}_f{at}": flag.reason for at, flag in enumerate(flags)}


def _marked(flags: list[Flag]) -> list[pl.Expr]:
    """One boolean column for each flag, named as in ``_marks``."""
    return [flag.condition.fill_null(value=False).alias(f"{PREFIX}_f{at}") for at, flag in enumerate(flags)]


def _problems(done: pl.DataFrame, marks: Mapping[str, str]) -> pl.Series:
    """The reasons of each row, List(String), null without any. ``marks`` maps columns of ``done`` to reasons.

    Lists are made for the few rows that have reasons, then put in their places: a list per row costs as much as all
    of cleaning.
    """
    found = {mark: reason for mark, reason in marks.items() if done.get_column(mark).any()}
    if not found:
        return pl.repeat(None, done.height, dtype=pl.List(pl.String), eager=True).alias("problems")
    bad = done.select(pl.any_horizontal(*found)).to_series()
    reasons = [pl.when(mark).then(pl.lit(reason)) for mark, reason in found.items()]
    lists = done.filter(bad).select(pl.concat_list(reasons).list.drop_nulls().alias("problems")).to_series()
    return lists.gather(bad.cum_sum().zip_with(bad, pl.Series([None], dtype=pl.UInt32)) - 1)


def _any(conditions: list[pl.Expr]) -> pl.Expr:
    if not conditions:
        return pl.lit(value=False)
    return pl.any_horizontal(conditions).fill_null(value=False)


def _repeated(prepared: pl.LazyFrame, columns: tuple[str, ...], flags: list[Flag], mark: str) -> pl.LazyFrame:
    """``_row`` of every row whose values occur in an earlier row, among rows that no flag marks."""
    sound = prepared.filter(~_any([flag.condition for flag in flags])) if flags else prepared
    if len(columns) == 1:
        sound = sound.filter(pl.col(columns[0]).is_not_null())
    key = pl.col(columns[0]) if len(columns) == 1 else pl.struct(columns)
    return sound.filter(~key.is_first_distinct()).select("_row", pl.lit(value=True).alias(mark))

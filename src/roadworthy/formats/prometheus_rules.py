"""Prometheus alerting rules for what the server counts of itself, made from the standard.

In: a project's live requirements, the histogram's bucket ends, the links of its alerts. Out: a rules file (YAML) for
Prometheus 2.42 or newer, which knows ``keep_firing_for``. Laws: availability and latency become error budgets that are
watched by burn rate over two windows each; a bound between two bucket ends is watched at the upper one, so that what
fires is slower than the bound; what cannot be watched so is named in a comment, not left out in silence.

The burn rates are those of the Site Reliability Workbook, chapter 5: 14.4 over 1 h (2 % of a 30 days' budget) and 6
over 6 h (5 %) page, 1 over 3 days (10 %) makes a ticket; each also over a twelfth of the window, so that the alert ends
with its cause.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote

import msgspec

from roadworthy.records.evidence import Phase
from roadworthy.standard import Requirement

__all__ = ["Rule", "prometheus_rules", "rules_of"]


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One alerting rule; ``rule`` is its name in Roadworthy's own alerts."""

    alert: str
    rule: str
    expr: str
    severity: str
    wait: str
    keep: str
    summary: str
    look_first: str


class _Burn(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    factor: float
    long: str
    short: str
    severity: str
    wait: str
    keep: str


_BURNS = (
    _Burn(name="Fast", factor=14.4, long="1h", short="5m", severity="page", wait="2m", keep="1h"),
    _Burn(name="Slow", factor=6.0, long="6h", short="30m", severity="page", wait="5m", keep="2h"),
    _Burn(name="Lasting", factor=1.0, long="3d", short="6h", severity="ticket", wait="1h", keep="1d"),
)
_ANSWERS = 'route=~"predict|infer|grpc"'
_BAD = 'code=~"5..|429"'
_SLOW_SHARES = {"latency_p50": 0.5, "latency_p95": 0.05, "latency_p99": 0.01}
_FIRST = {
    "availability": "the server's log, and roadworthy_requests_total by code: 429 is overload, 503 no version answers",
    "latency": "roadworthy_in_flight and the machine's load, then whether the newest version is slower",
}


def prometheus_rules(
    project: str, requirements: Sequence[Requirement], *, buckets_s: Sequence[float], runbook: str = ""
) -> str:
    """The rules file. ``buckets_s`` are the upper ends of the latency histogram, in seconds, ascending."""
    rules, unwatched = rules_of(requirements, buckets_s)
    lines = [
        f"# Alerting rules of {project} for Prometheus 2.42 or newer; made by: roadworthy alerts rules",
        "# They watch what the server tells of itself. Data and quality are watched by Roadworthy's own monitor.",
        *(f"# not watched here: {line}" for line in unwatched),
        "groups:",
        f"  - name: {_text(f'roadworthy-{project}')}",
        "    rules:",
    ]
    for rule in rules:
        lines += _yaml(project, rule, runbook)
    return "\n".join(lines) + "\n"


def rules_of(requirements: Sequence[Requirement], buckets_s: Sequence[float]) -> tuple[list[Rule], list[str]]:
    """The rules, and each live requirement on the service that they cannot watch, with the reason."""
    rules: list[Rule] = []
    unwatched: list[str] = []
    for requirement in requirements:
        if Phase.LIVE not in requirement.phases:
            continue
        if requirement.metric == "availability":
            rules += _availability(requirement)
        elif requirement.metric in _SLOW_SHARES:
            end = next((end for end in buckets_s if end * 1000 >= requirement.bound), None)
            if end is None:
                unwatched.append(f"{requirement.line()} (the histogram ends at {buckets_s[-1]:g} s)")
            else:
                rules += _latency(requirement, end)
    return [*rules, *_always()], unwatched


def _availability(requirement: Requirement) -> Iterator[Rule]:
    budget = 1.0 - requirement.bound
    yield from _burns(
        "Availability",
        requirement,
        budget,
        lambda span: _ratio(
            f"rate(roadworthy_requests_total{{{_ANSWERS},{_BAD}}}[{span}])",
            f"rate(roadworthy_requests_total{{{_ANSWERS}}}[{span}])",
        ),
        "requests get no answer",
        _FIRST["availability"],
    )


def _latency(requirement: Requirement, end: float) -> Iterator[Rule]:
    budget = _SLOW_SHARES[requirement.metric]
    yield from _burns(
        "Latency" + requirement.metric.removeprefix("latency_").upper(),
        requirement,
        budget,
        lambda span: (
            "1 - "
            + _ratio(
                f'rate(roadworthy_request_seconds_bucket{{{_ANSWERS},le="{end}"}}[{span}])',
                f"rate(roadworthy_request_seconds_count{{{_ANSWERS}}}[{span}])",
            )
        ),
        f"requests take longer than {end * 1000:g} ms",
        _FIRST["latency"],
    )


def _burns(  # noqa: PLR0917 - what every error budget is made of
    name: str, requirement: Requirement, budget: float, ratio: Callable[[str], str], what: str, look_first: str
) -> Iterator[Rule]:
    """A rule for every burn rate that can be reached: no share of requests is above 1."""
    for burn in _BURNS:
        limit = burn.factor * budget
        if limit >= 1.0:
            continue
        bound = f"{limit:.6g}"
        share = f"{limit * 100:.4g} % of {what}"
        both = [f"(\n  {ratio(span)}\n) > {bound}" for span in (burn.long, burn.short)]
        yield Rule(
            alert=f"Roadworthy{name}{burn.name}",
            rule=requirement.metric,
            expr="\nand\n".join(both),
            severity=burn.severity,
            wait=burn.wait,
            keep=burn.keep,
            summary=f"{requirement.line()}: more than {share}, over {burn.long} and over {burn.short}",
            look_first=look_first,
        )


def _always() -> Iterator[Rule]:
    yield Rule(
        alert="RoadworthySilent",
        rule="no_data",
        expr="absent_over_time(roadworthy_started_seconds[10m])",
        severity="page",
        wait="1m",
        keep="10m",
        summary="no server has told anything for 10 minutes: it is down, or nobody asks it",
        look_first="whether the server runs, and whether Prometheus reaches its /metrics (up)",
    )
    yield Rule(
        alert="RoadworthyLogLosesRows",
        rule="log_lost",
        expr="sum by (job) (increase(roadworthy_log_lost_rows_total[15m])) > 0",
        severity="ticket",
        wait="0m",
        keep="1h",
        summary="predictions are lost before they are logged: what is not in the log is not watched",
        look_first="the disk of the lake, and the server's log",
    )
    yield Rule(
        alert="RoadworthyVersionLeftAlone",
        rule="breaker_open",
        expr="max by (job, version) (roadworthy_breaker_open) == 1",
        severity="ticket",
        wait="5m",
        keep="15m",
        summary="a version fails so often that it is left alone; another one or the fallback answers",
        look_first="the server's log for what that version raises",
    )


def _ratio(part: str, whole: str) -> str:
    return f"sum by (job) ({part}) / sum by (job) ({whole})"


def _yaml(project: str, rule: Rule, runbook: str) -> Iterator[str]:
    """A rule as YAML: texts as JSON writes them, which YAML reads as they are."""
    yield f"      - alert: {rule.alert}"
    yield "        expr: |-"
    yield from (f"          {line}" for line in rule.expr.splitlines())
    yield f"        for: {rule.wait}"
    yield f"        keep_firing_for: {rule.keep}"
    yield "        labels:"
    yield f"          severity: {rule.severity}"
    yield f"          project: {_text(project)}"
    yield f"          rule: {rule.rule}"
    yield "        annotations:"
    yield f"          summary: {_text(rule.summary)}"
    yield f"          look_first: {_text(rule.look_first)}"
    yield f"          runbook_url: {_text(_runbook(rule, runbook))}"


def _runbook(rule: Rule, template: str) -> str:
    if not template:
        return "docs/monitoring.md#the-service-suffers"
    for name, value in (("rule", rule.rule), ("group", "operations"), ("number", "")):
        template = template.replace(f"{{{name}}}", quote(value, safe=""))
    return template


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)

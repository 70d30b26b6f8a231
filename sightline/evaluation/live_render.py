"""A live comparison as a table, Markdown, JSON or JUnit XML."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import polars as pl

from metrics_py.evaluation.verdict import Criterion
from metrics_py.wording import number
from sightline.evaluation.live import LiveEvaluation
from sightline.evaluation.spelling import OUTCOMES, aligned, md, md_table, xml
from sightline.evaluation.suite import words

WORDS = {
    "superior": "superior: may take the champion's place",
    "non_inferior": "not inferior: may take the champion's place",
    "inferior": "inferior: keep the champion",
    "cannot_tell": "cannot tell: keep the champion for now",
}
HEADS = ("metric", "champion", "challenger", "difference (95 %, at every look)", "better is", "rows")
SHOWN_SEGMENTS = 20


def to_table(found: LiveEvaluation) -> str:
    """For people, in a terminal."""
    against = f" beside {found.champion}" if found.champion else ""
    lines = [
        f"{found.monitor}: version {found.version}{against}, live in production",
        f"verdict: {WORDS[found.verdict.outcome]}",
        f"  {found.verdict.reason}",
    ]
    if found.verdict.criteria:
        lines += ["", "Criteria (all must hold)"]
        heads = ("criterion", "difference (95 %, at every look)", "margin", "outcome")
        lines += aligned([heads, *map(_criterion, found.verdict.criteria)])
    whole, worst = rows_of(found, "all"), _weakest(found)
    if whole:
        lines += ["", f"On {found.n_days} {found.unit}s on which both ran"]
        lines += aligned([HEADS, *map(_row, whole)])
    if worst:
        lines += ["", f"{found.primary} by segment, where {found.version} loses most first"]
        lines += aligned([("segment", *HEADS[1:4], "rows"), *map(_segment, worst)])
    lines += words.table_lines(found.sections)
    lines += [""] if found.sections and found.notes else []
    lines += [f"note: {note}" for note in found.notes]
    return "\n".join(lines)


def to_markdown(found: LiveEvaluation) -> str:
    """Facts only."""
    lines = [
        f"# {md(found.monitor)}: version {md(found.version)}, live in production",
        "",
        f"**Verdict: {WORDS[found.verdict.outcome]}.** {md(found.verdict.reason)}",
    ]
    if found.champion:
        lines += ["", f"Beside {md(found.champion)}, on {found.n_days} {found.unit}s on which both ran."]
    if found.verdict.criteria:
        heads = ("criterion", "difference (95 %, at every look)", "margin", "outcome")
        lines += ["", *md_table([heads, *map(_criterion, found.verdict.criteria)])]
    if rows_of(found, "all"):
        lines += ["", *md_table([HEADS, *map(_row, rows_of(found, "all"))])]
    worst = _weakest(found)
    if worst:
        lines += ["", f"## {md(found.primary)} by segment", ""]
        lines += md_table([("segment", *HEADS[1:4], "rows"), *map(_segment, worst)])
    for title, rows, notes in words.markdown_lines(found.sections):
        lines += ["", f"## {md(title)}", "", *(md_table(rows) if rows else []), "", *(f"- {md(n)}" for n in notes)]
    if found.notes:
        lines += ["", "## Notes", "", *(f"- {md(note)}" for note in found.notes)]
    return "\n".join([*lines, ""])


def to_json(found: LiveEvaluation) -> str:
    """All numbers; null where one is undefined."""
    verdict = found.verdict
    return json.dumps(
        {
            "monitor": found.monitor,
            "version": found.version,
            "candidate": "live in production",
            "champion": found.champion or None,
            "how": "live",
            "is_shadow": found.together.is_shadow,
            "outcome": verdict.outcome,
            "may_promote": verdict.may_promote,
            "reason": verdict.reason,
            "more_rows": verdict.more_rows,
            "unit": found.unit,
            "n_units": found.n_days,
            "more_units": found.more_days,
            "windows": list(found.together.keys),
            "primary": found.primary,
            "criteria": [
                {
                    "name": c.name,
                    "margin": c.margin,
                    "direction": c.direction,
                    "outcome": c.outcome,
                    "more_rows": c.more_rows,
                    "reason": c.reason,
                    "difference": c.found.difference,
                    "ci_low": c.found.ci_low,
                    "ci_high": c.found.ci_high,
                    "n": c.found.n,
                }
                for c in verdict.criteria
            ],
            "metrics": found.table.drop("p_value").to_dicts(),
            "sections": words.numbers(found.sections),
            "notes": list(found.notes),
        },
        indent=1,
        ensure_ascii=False,
        allow_nan=False,
    )


def to_junit(found: LiveEvaluation) -> str:
    """One test case per criterion and finding: what is inferior fails, what cannot be told is an error."""
    cases = [(c.name, c.outcome, f"{difference_of(c)}: {c.reason}") for c in found.verdict.criteria]
    if found.verdict.outcome == "cannot_tell" and not any(outcome == "cannot_tell" for _, outcome, _ in cases):
        cases.insert(0, ("comparison", "cannot_tell", found.verdict.reason))
    others = list(words.cases(found.sections))
    outcomes, states = [outcome for _, outcome, _ in cases], [status for _, status, _, _ in others]
    counts = {
        "tests": len(cases) + len(others),
        "failures": outcomes.count("inferior") + states.count("fail"),
        "errors": outcomes.count("cannot_tell"),
        "skipped": states.count("insufficient_data"),
    }
    named = {"name": xml(f"{found.monitor} {found.version}"), **{k: str(n) for k, n in counts.items()}}
    suite = ElementTree.Element("testsuite", named)
    for name, outcome, message in cases:
        case = ElementTree.SubElement(suite, "testcase", {"classname": xml(found.monitor), "name": xml(name)})
        if outcome in ("inferior", "cannot_tell"):
            kind = "failure" if outcome == "inferior" else "error"
            ElementTree.SubElement(case, kind, {"message": xml(message)})
    for name, status, value, reason in others:
        case = ElementTree.SubElement(suite, "testcase", {"classname": xml(found.monitor), "name": xml(name)})
        if status in ("fail", "insufficient_data"):
            kind = "failure" if status == "fail" else "skipped"
            ElementTree.SubElement(case, kind, {"message": xml(f"{value}: {reason}")})
        elif status == "warn":
            ElementTree.SubElement(case, "system-out").text = xml(f"warning: {value}: {reason}")
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def rows_of(found: LiveEvaluation, segment: str) -> list[dict[str, Any]]:
    """Rows of a segment, the primary metric first."""
    rows = found.table.filter(segment=segment).to_dicts()
    return sorted(rows, key=lambda row: row["metric"] != found.primary)


def _weakest(found: LiveEvaluation) -> list[dict[str, Any]]:
    sign = pl.when(pl.col("direction") == "lower_is_better").then(-1.0).otherwise(1.0)
    own = found.table.filter(pl.col("segment") != "all", metric=found.primary)
    return own.sort(pl.col("difference") * sign, nulls_last=True).head(SHOWN_SEGMENTS).to_dicts()


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    better = {"higher_is_better": "higher", "lower_is_better": "lower"}.get(row["direction"], "-")
    n = f"{row['n_champion']:,} / {row['n_challenger']:,}"
    return row["metric"], number(row["champion"]), number(row["challenger"]), difference(row), better, n


def _segment(row: dict[str, Any]) -> tuple[str, ...]:
    n = f"{row['n_champion']:,} / {row['n_challenger']:,}"
    return row["segment"], number(row["champion"]), number(row["challenger"]), difference(row), n


def _criterion(c: Criterion) -> tuple[str, ...]:
    return c.name, difference_of(c), f"{c.margin:g}", OUTCOMES[c.outcome]


def difference_of(c: Criterion) -> str:
    """Difference of a criterion with its interval, or why there is none."""
    return spelled(c.found.difference, c.found.ci_low, c.found.ci_high, c.found.reason)


def difference(row: dict[str, Any]) -> str:
    """Difference of a row of the table with its interval, or why there is none."""
    return spelled(row["difference"], row["ci_low"], row["ci_high"], row["reason"])


def spelled(value: float | None, low: float | None, high: float | None, reason: str | None) -> str:
    """A difference with its interval, or why there is none."""
    if value is None:
        return reason or "not defined"
    if low is None or high is None:
        return f"{value:+.4g} ({reason or 'no interval'})"
    return f"{value:+.4g} ({low:+.3g} to {high:+.3g})"

"""An evaluation as a table, Markdown, JSON or JUnit XML."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import polars as pl

from metrics_py.evaluation.verdict import Criterion
from metrics_py.visible import visible
from metrics_py.wording import count, number
from sightline.evaluation.run import Evaluation
from sightline.evaluation.spelling import OUTCOMES, aligned, md, md_table, xml
from sightline.evaluation.suite import words

WORDS = {
    "superior": "superior: may take the champion's place",
    "non_inferior": "not inferior: may take the champion's place",
    "inferior": "inferior: keep the champion",
    "cannot_tell": "cannot tell: keep the champion for now",
}
SHOWN_SEGMENTS = 20
HEADS = ("metric", "champion", "challenger", "difference (95 %)", "better is", "knows no input", "rows")


def to_table(found: Evaluation) -> str:
    """For people, in a terminal."""
    lines = [
        f"{found.monitor}: candidate {found.version} ({found.candidate}) against {found.compared.source}",
        f"verdict: {WORDS[found.verdict.outcome]}",
        f"  {found.verdict.reason}",
        "",
        "Criteria (all must hold)",
        *aligned(
            [("criterion", "difference (95 %)", "margin", "outcome"), *map(criterion_row, found.verdict.criteria)]
        ),
        "",
        how(found),
        *aligned([HEADS, *(metric_row(row) for row in of_segment(found, "all"))]),
    ]
    worst = weakest(found)
    if worst:
        lines += ["", f"{found.primary} by segment, where the challenger loses most first"]
        lines += aligned([("segment", *HEADS[1:4], "rows"), *(segment_row(row) for row in worst)])
    lines += words.table_lines(found.sections)
    if found.sections and found.notes:
        lines.append("")
    lines += [f"note: {note}" for note in found.notes]
    return "\n".join(map(visible, lines))


def to_markdown(found: Evaluation) -> str:
    """A model card: facts only."""
    lines = [
        f"# {md(found.monitor)}: candidate {md(found.version)}",
        "",
        f"**Verdict: {WORDS[found.verdict.outcome]}.** {md(found.verdict.reason)}.",
        "",
        f"Evaluated on {md(found.candidate)} against {md(found.compared.source)}. {how(found)}",
        "",
        *(f"- {name}: {md(text)}" for name, text in found.facts.told()),
        "",
        *md_table(
            [("criterion", "difference (95 %)", "margin", "outcome"), *map(criterion_row, found.verdict.criteria)]
        ),
        "",
        *md_table([HEADS, *(metric_row(row) for row in of_segment(found, "all"))]),
    ]
    worst = weakest(found)
    if worst:
        lines += ["", f"## {md(found.primary)} by segment", ""]
        lines += md_table([("segment", *HEADS[1:4], "rows"), *(segment_row(row) for row in worst)])
    for title, rows, notes in words.markdown_lines(found.sections):
        lines += ["", f"## {md(title)}", "", *(md_table(rows) if rows else []), "", *(f"- {md(n)}" for n in notes)]
    if found.notes:
        lines += ["", "## Notes", "", *(f"- {md(note)}" for note in found.notes)]
    return "\n".join([*lines, ""])


def to_json(found: Evaluation) -> str:
    """All numbers; null where one is undefined."""
    verdict = found.verdict
    return json.dumps(
        {
            "monitor": found.monitor,
            "version": found.version,
            "candidate": found.candidate,
            "data": found.facts.numbers(),
            "champion": found.compared.source,
            "how": found.compared.how,
            "outcome": verdict.outcome,
            "may_promote": verdict.may_promote,
            "reason": verdict.reason,
            "more_rows": verdict.more_rows,
            "more_rows_champion": verdict.more_rows_champion,
            "primary": found.primary,
            "criteria": [
                {
                    "name": c.name,
                    "margin": c.margin,
                    "direction": c.direction,
                    "outcome": c.outcome,
                    "more_rows": c.more_rows,
                    "more_rows_champion": c.more_rows_champion,
                    "reason": c.reason,
                    "difference": c.found.difference,
                    "ci_low": c.found.ci_low,
                    "ci_high": c.found.ci_high,
                    "n": c.found.n,
                }
                for c in verdict.criteria
            ],
            "metrics": found.table.to_dicts(),
            "sections": words.numbers(found.sections),
            "notes": list(found.notes),
        },
        indent=1,
        ensure_ascii=False,
        allow_nan=False,
    )


def to_junit(found: Evaluation) -> str:
    """One test case per criterion and finding: what is inferior fails, what cannot be told is an error.

    A finding of which there is not enough data is skipped; one that warns passes, with its reason as output.
    """
    criteria, others = found.verdict.criteria, list(words.cases(found.sections))
    outcomes, states = [c.outcome for c in criteria], [status for _, status, _, _ in others]
    counts = {
        "tests": str(len(criteria) + len(others)),
        "failures": str(outcomes.count("inferior") + states.count("fail")),
        "errors": str(outcomes.count("cannot_tell")),
        "skipped": str(states.count("insufficient_data")),
    }
    suite = ElementTree.Element("testsuite", {"name": xml(f"{found.monitor} {found.version}"), **counts})
    for c in criteria:
        case = ElementTree.SubElement(suite, "testcase", {"classname": xml(found.monitor), "name": xml(c.name)})
        if c.outcome in ("inferior", "cannot_tell"):
            kind = "failure" if c.outcome == "inferior" else "error"
            ElementTree.SubElement(case, kind, {"message": xml(f"{difference_of(c)}: {c.reason}")})
    for name, status, value, reason in others:
        case = ElementTree.SubElement(suite, "testcase", {"classname": xml(found.monitor), "name": xml(name)})
        if status in ("fail", "insufficient_data"):
            kind = "failure" if status == "fail" else "skipped"
            ElementTree.SubElement(case, kind, {"message": xml(f"{value}: {reason}")})
        elif status == "warn":
            ElementTree.SubElement(case, "system-out").text = xml(f"warning: {value}: {reason}")
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def how(found: Evaluation) -> str:
    """Which rows were compared."""
    new, old = (count(len(frame), "labelled rows") for frame in (found.compared.challenger, found.compared.champion))
    if found.compared.how == "paired":
        return f"On {new} that both models judged; rows of one entity may depend on each other."
    return f"On {new} of the candidate and {old} of the champion: different rows."


def of_segment(found: Evaluation, segment: str) -> list[dict[str, Any]]:
    """Rows of the table, the primary metric first."""
    rows = found.table.filter(segment=segment).to_dicts()
    return sorted(rows, key=lambda row: row["metric"] != found.primary)


def weakest(found: Evaluation) -> list[dict[str, Any]]:
    """The primary metric by segment, where the challenger loses most first."""
    sign = pl.when(pl.col("direction") == "lower_is_better").then(-1.0).otherwise(1.0)
    own = found.table.filter(pl.col("segment") != "all", metric=found.primary)
    return own.sort(pl.col("difference") * sign, nulls_last=True).head(SHOWN_SEGMENTS).to_dicts()


def metric_row(row: dict[str, Any]) -> tuple[str, ...]:
    """Cells below `HEADS`."""
    better = {"higher_is_better": "higher", "lower_is_better": "lower"}.get(row["direction"], "-")
    return (
        row["metric"],
        number(row["champion"]),
        number(row["challenger"]),
        difference(row),
        better,
        number(row["trivial"]),
        f"{min(row['n_champion'], row['n_challenger']):,}",
    )


def segment_row(row: dict[str, Any]) -> tuple[str, ...]:
    """Segment, both values, their difference, rows."""
    n = f"{min(row['n_champion'], row['n_challenger']):,}"
    return row["segment"], number(row["champion"]), number(row["challenger"]), difference(row), n


def criterion_row(c: Criterion) -> tuple[str, ...]:
    """Name, difference, margin, outcome."""
    return c.name, difference_of(c), f"{c.margin:g}", OUTCOMES[c.outcome]


def difference_of(c: Criterion) -> str:
    """Of a criterion: the difference and its interval, or why there is none."""
    return _spelled(c.found.difference, c.found.ci_low, c.found.ci_high, c.found.reason)


def difference(row: dict[str, Any]) -> str:
    """Of a row of the table: the difference and its interval, or why there is none."""
    return _spelled(row["difference"], row["ci_low"], row["ci_high"], row["reason"])


def _spelled(value: float | None, low: float | None, high: float | None, reason: str | None) -> str:
    if value is None or low is None or high is None:
        return reason or "not defined"
    return f"{value:+.4g} ({low:+.3g} to {high:+.3g})"

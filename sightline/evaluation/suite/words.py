"""Sections of the suite as lines of a table, Markdown, JSON and test cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from metrics_py.wording import number
from sightline.evaluation.suite.findings import RANK, Finding, Section

STATUS = {"ok": "ok", "warn": "warning", "fail": "failed", "insufficient_data": "not enough data"}
SHOWN = 12
"""Findings of a section that a terminal shows; Markdown and JSON hold all of them."""
HEADS = ("", "finding", "value (95 %)", "champion", "what")


def table_lines(sections: Sequence[Section], width: int = 150) -> list[str]:
    """For a terminal: what is not ok first; an explanation that does not fit stands below its row."""
    lines: list[str] = []
    for section in sections:
        found = _ordered(section)
        lines += ["", f"{section.title}: {STATUS[section.status]}"]
        rows = [_row(each) for each in found[:SHOWN]]
        if rows:
            lines += _aligned([HEADS, *rows], width)
        if len(found) > SHOWN:
            lines.append(f"  ... and {len(found) - SHOWN} more, {STATUS[found[SHOWN].status]} or better")
        lines += [f"  note: {note}" for note in section.notes]
    return lines


def markdown_lines(sections: Sequence[Section]) -> Iterator[tuple[str, list[tuple[str, ...]], tuple[str, ...]]]:
    """Title, rows of a table with its head, and notes of each section."""
    for section in sections:
        rows = [_row(each) for each in _ordered(section)]
        yield f"{section.title}: {STATUS[section.status]}", [HEADS, *rows] if rows else [], section.notes


def numbers(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """All of it, for JSON."""
    return [
        {
            "section": section.key,
            "status": section.status,
            "findings": [vars(each) | {"parts": [dict(part) for part in each.parts]} for each in section.findings],
            "notes": list(section.notes),
        }
        for section in sections
    ]


def cases(sections: Sequence[Section]) -> Iterator[tuple[str, str, str, str]]:
    """Name, status, value and reason of each finding: the test cases of JUnit XML."""
    for section in sections:
        for each in section.findings:
            yield f"{section.key}: {_named(each)}", each.status, _value(each), each.reason


def _ordered(section: Section) -> list[Finding]:
    return sorted(section.findings, key=lambda each: RANK[each.status])


def _named(finding: Finding) -> str:
    return f"{finding.name} of {finding.of}" if finding.of else finding.name


def _row(finding: Finding) -> tuple[str, ...]:
    champion = number(finding.champion, 3) if finding.champion is not None else "-"
    return STATUS[finding.status], _named(finding), _value(finding), champion, finding.reason


def _value(finding: Finding) -> str:
    if finding.value is None:
        return "-"
    if finding.ci_low is None or finding.ci_high is None:
        return number(finding.value, 3)
    return f"{number(finding.value, 3)} ({number(finding.ci_low, 3)} to {number(finding.ci_high, 3)})"


def _aligned(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]) - 1)]
    lines: list[str] = []
    for row in rows:
        cells = [cell.ljust(size) for cell, size in zip(row, widths, strict=False)]
        line = "  " + "  ".join(cells).rstrip()
        if len(line) + len(row[-1]) + 2 <= width:
            lines.append(f"{'  ' + '  '.join(cells)}  {row[-1]}".rstrip())
        else:
            lines += [line, f"      {row[-1]}"]
    return lines

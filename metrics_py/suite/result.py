"""The outcome of a test suite: a frame, with views for people, programs and exit codes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import polars as pl

SCHEMA = pl.Schema(
    {
        "check": pl.String,
        "metric": pl.String,
        "column": pl.String,
        "status": pl.String,
        "severity": pl.String,
        "value": pl.Float64,
        "ci_low": pl.Float64,
        "ci_high": pl.Float64,
        "reference_value": pl.Float64,
        "bound_low": pl.Float64,
        "bound_high": pl.Float64,
        "n": pl.Int64,
        "reason": pl.String,
    }
)


@dataclass(frozen=True, repr=False)
class SuiteResult:
    """Outcome of a suite: one row per check and column.

    Attributes
    ----------
    frame : polars.DataFrame
        ``check, metric, column, status (pass, fail, unclear, insufficient_data), severity, value, ci_low, ci_high,
        reference_value, bound_low, bound_high, n, reason``.
    """

    frame: pl.DataFrame

    @property
    def passed(self) -> bool:
        """No check of severity error failed or could not be measured."""
        bad = pl.col("status").is_in(["fail", "insufficient_data"]) & (pl.col("severity") == "error")
        return self.frame.filter(bad).is_empty()

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dict per row; None where a number is undefined.

        Returns
        -------
        list of dict
            By the names of the columns.
        """
        return self.frame.to_dicts()

    def to_json(self, indent: int | None = None) -> str:
        """`to_dicts` as JSON text.

        Parameters
        ----------
        indent : int, optional
            Spaces per level; default: one line.

        Returns
        -------
        str
            null where a number is undefined.
        """
        return json.dumps(self.to_dicts(), indent=indent, ensure_ascii=False, allow_nan=False)

    def to_junit(self, name: str = "sightline test") -> str:
        """JUnit XML, as CI systems show it.

        An error that fails is a failure, what only warns or is unclear is skipped with its reason.

        Parameters
        ----------
        name : str, default "sightline test"
            Of the test suite.

        Returns
        -------
        str
            With an XML declaration.
        """
        rows = self.frame.to_dicts()
        bad = [row["status"] in ("fail", "insufficient_data") and row["severity"] == "error" for row in rows]
        soft = [row["status"] != "pass" and not is_bad for row, is_bad in zip(rows, bad, strict=True)]
        counts = {"tests": str(len(rows)), "failures": str(sum(bad)), "skipped": str(sum(soft))}
        suite = ElementTree.Element("testsuite", {"name": name, **counts})
        for row, is_bad, is_soft in zip(rows, bad, soft, strict=True):
            case = ElementTree.SubElement(
                suite, "testcase", {"classname": _xml(row["metric"]), "name": _xml(row["check"])}
            )
            if is_bad or is_soft:
                status = row["status"].replace("_", " ")
                why = f"{status}: {short(row['value'])}, expected {expected(row)}: {row['reason']}"
                ElementTree.SubElement(case, "failure" if is_bad else "skipped", {"message": _xml(why)})
        ElementTree.indent(suite)
        return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)

    def to_text(self, *, only_bad: bool = False) -> str:
        """A table for people: failures first.

        Parameters
        ----------
        only_bad : bool, default False
            Leave out what passes.

        Returns
        -------
        str
            A line that sums up, and the table.
        """
        rank = {"fail": 0, "insufficient_data": 1, "unclear": 2, "pass": 3}
        rows = sorted(self.frame.to_dicts(), key=lambda row: (rank[row["status"]], row["severity"] == "warn"))
        counts = {status: sum(row["status"] == status for row in rows) for status in rank}
        told = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in counts.items() if n)
        table = [["status", "severity", "check", "value", "expected", "why"]]
        for row in rows:
            if not (only_bad and row["status"] == "pass"):
                cells = [row["status"], row["severity"], row["check"], short(row["value"]), expected(row)]
                table.append([*cells, row["reason"] or ""])
        widths = [max(len(line[i]) for line in table) for i in range(6)]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in table]
        return "\n".join([f"{len(rows)} checks: {told or 'none'}", *(lines if len(lines) > 1 else [])])

    def __repr__(self) -> str:
        return self.to_text()


def _xml(text: str) -> str:
    """Text without the control characters that XML cannot hold."""
    return "".join(c if c.isprintable() else " " for c in text)


def short(value: float | None) -> str:
    """A number with six significant digits; a dash where there is none.

    Parameters
    ----------
    value : float or None
        The number.

    Returns
    -------
    str
        As in `SuiteResult.to_text`.

    Examples
    --------
    >>> short(1 / 3), short(None)
    ('0.333333', '-')
    """
    return "-" if value is None else f"{value:.6g}"


def expected(row: Mapping[str, Any]) -> str:
    """The bounds of a row in words.

    Parameters
    ----------
    row : mapping
        A row of `SuiteResult.frame`.

    Returns
    -------
    str
        A dash where there is none.

    Examples
    --------
    >>> expected({"bound_low": 0.0, "bound_high": 0.25}), expected({"bound_low": None, "bound_high": None})
    ('>= 0 and <= 0.25', '-')
    """
    low, high = row["bound_low"], row["bound_high"]
    if low is not None and low == high:
        return short(low)
    parts = [f">= {short(low)}" if low is not None else "", f"<= {short(high)}" if high is not None else ""]
    return " and ".join(part for part in parts if part) or "-"

"""The outcome of a test suite as one file: what failed first, observed beside its bound, with a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from metrics_py.comparison.compare import compare
from metrics_py.suite.result import SuiteResult, expected
from metrics_py.text.descriptors import DESCRIPTORS
from sightline.dashboard.charts.chart import shown
from sightline.reports.comparison import bins_chart
from sightline.reports.share_bars import bound_picture
from sightline.reports.standalone import standalone

RANK = {"fail": 0, "insufficient_data": 1, "unclear": 2, "pass": 3}
LEVELS = {"fail": "bad", "insufficient_data": "none", "unclear": "warn", "pass": "ok"}
WORDS = {"fail": "failed", "insufficient_data": "not measured", "unclear": "unclear", "pass": "passed"}
MOST_PICTURES = 40
"""Columns whose distributions are drawn."""


def suite_html(
    result: SuiteResult,
    bins: pl.DataFrame,
    suite: str = "suite",
    reference: str = "reference",
    current: str = "current",
) -> str:
    """The outcome of a suite as one HTML file.

    Parameters
    ----------
    result : SuiteResult
        As from `metrics_py.run_suite`.
    bins : DataFrame
        Rows per bin of the columns to draw, as from `bins_of_failed`.
    suite, reference, current : str
        What they are called.

    Returns
    -------
    str
        HTML with everything in it.
    """
    rows = checks_of(result)
    charts = {
        str(name): chart
        for k, ((name,), part) in enumerate(bins.group_by(["column"], maintain_order=True))
        if (chart := bins_chart(part, f"column-{k}")) is not None
    }
    groups: list[dict[str, Any]] = []
    for name, own in _by_column([row for row in rows if row["status"] != "pass"]).items():
        chart = charts.get(name)
        groups.append({"column": name, "rows": own, "chart": None if chart is None else chart.name})
    n_without = len({row["column"] for row in rows if row["status"] != "pass" and row["column"]} - set(charts))
    data: dict[str, Any] = {
        "state": headline(result, rows),
        "counts": _counts(rows),
        "passed": result.passed,
        "suite": suite,
        "reference": reference,
        "current": current,
        "groups": groups,
        "n_without": n_without,
        "quiet": [row for row in rows if row["status"] == "pass"],
    }
    return standalone("suite.html", f"{current} by {suite}", data, list(charts.values()))


def checks_of(result: SuiteResult) -> list[dict[str, Any]]:
    """Rows with what is expected in words and a picture of it: what failed first.

    Parameters
    ----------
    result : SuiteResult

    Returns
    -------
    list of dict
        As `SuiteResult.to_dicts`, and ``level, word, expected, what, picture``.
    """
    found = [_told(row) for row in result.to_dicts()]
    return sorted(found, key=lambda row: (RANK[row["status"]], row["severity"] == "warn", -row["beyond"]))


def _told(row: dict[str, Any]) -> dict[str, Any]:
    is_soft = row["status"] == "fail" and row["severity"] == "warn"
    wanted = expected(row)
    what = f"{shown(row['value'])}, expected {wanted}"
    if row["reference_value"] is not None:
        what += f", the reference has {shown(row['reference_value'])}"
    interval, bounds = (row["ci_low"], row["ci_high"]), (row["bound_low"], row["bound_high"])
    title = f"{row['check']}: {what}"
    picture = bound_picture(
        row["value"], interval, bounds, row["reference_value"], title, is_bad=row["status"] == "fail"
    )
    return {
        **row,
        "level": "warn" if is_soft else LEVELS[row["status"]],
        "word": f"{WORDS[row['status']]} (warns only)" if is_soft else WORDS[row["status"]],
        "expected": wanted,
        "what": what,
        "picture": picture,
        "beyond": _beyond(row),
    }


def _beyond(row: Mapping[str, Any]) -> float:
    """How far beyond its bound a value lies, in units of the bound: for the order alone."""
    if row["value"] is None:
        return 0.0
    over = [
        gap / (abs(bound) or 1.0)
        for bound, gap in (
            (row["bound_low"], (row["bound_low"] or 0.0) - row["value"]),
            (row["bound_high"], row["value"] - (row["bound_high"] or 0.0)),
        )
        if bound is not None
    ]
    return max(over, default=0.0)


def headline(result: SuiteResult, rows: list[dict[str, Any]]) -> str:
    """The verdict in one sentence."""
    bad = [row for row in rows if row["severity"] == "error" and row["status"] in ("fail", "insufficient_data")]
    if bad:
        failed = sum(row["status"] == "fail" for row in bad)
        parts = [f"{failed} failed"] if failed else []
        parts += [f"{len(bad) - failed} could not be measured"] if len(bad) > failed else []
        return f"Of {len(rows)} checks " + " and ".join(parts)
    open_ones = sum(row["status"] != "pass" for row in rows)
    return "All checks passed" if not open_ones else f"Passed; {open_ones} of {len(rows)} checks warn or are unclear"


def _counts(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(WORDS[name], n) for name in RANK if (n := sum(row["status"] == name for row in rows))]


def _by_column(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["column"] or "", []).append(row)
    return found


def bins_of_failed(result: SuiteResult, reference: object, current: object) -> pl.DataFrame:
    """Rows per bin of the columns of which a check did not pass, `MOST_PICTURES` at most.

    Parameters
    ----------
    result : SuiteResult
    reference, current : table
        As the suite was run on.

    Returns
    -------
    DataFrame
        As `Comparison.bins`. Columns that one of the tables does not have, or that cannot be read, have none.
    """
    names = [row["column"] for row in checks_of(result) if row["status"] != "pass" and row["column"]]
    wanted = list(dict.fromkeys(names))[:MOST_PICTURES]
    if not wanted:
        return pl.DataFrame(schema=compare({"x": [0]}, {"x": [0]}).bins.schema)
    descriptors = {name.rpartition(".")[2] for name in wanted} & {n for n, d in DESCRIPTORS.items() if d.is_available}
    whole = compare(reference, current, descriptors=sorted(descriptors), words=False)
    return whole.bins.filter(pl.col("segment") == "all", pl.col("column").is_in(wanted))

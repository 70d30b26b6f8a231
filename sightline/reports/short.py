"""Comparisons and suites in a few lines: Markdown for chats, and HTML for a notebook's cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
from markupsafe import Markup

from metrics_py.comparison.result import Comparison
from metrics_py.suite.result import SuiteResult
from sightline.alerts.messages.escaping import markdown
from sightline.dashboard.charts.chart import shown
from sightline.reports import comparison, suite
from sightline.reports.comparison import bin_label, columns_of
from sightline.reports.share_bars import ALARM, share_bars
from sightline.reports.standalone import fragment

MOST_LINES = 10
"""Columns or checks of a Markdown summary."""
MOST_INLINE = 20
"""Columns or checks of a notebook's cell."""


def comparison_markdown(result: Comparison, reference: str = "reference", current: str = "current") -> str:
    """What moved, in Markdown: a head, and a line for each column that is not stable.

    Parameters
    ----------
    result : Comparison
    reference, current : str
        What the tables are called.

    Returns
    -------
    str
        Names and values are escaped.
    """
    found = columns_of(result)
    told = [row for row in found if row["state"] in ("drift", "unclear", "insufficient_data")]
    lines = [f"**{markdown(comparison.headline(result, found))}**", ""]
    lines.append(
        f"{markdown(current)} ({result.n_current:,} rows) against {markdown(reference)} ({result.n_reference:,} rows)"
    )
    items = [f"- **{markdown(row['column'])}** {row['badge']}: {markdown(row['what'])}" for row in told]
    return "\n".join([*lines, *_cut(items, "columns")]) + "\n"


def suite_markdown(result: SuiteResult, name: str = "suite") -> str:
    """What did not pass, in Markdown: a head, and a line for each check.

    Parameters
    ----------
    result : SuiteResult
    name : str
        Of the suite.

    Returns
    -------
    str
        Names and values are escaped.
    """
    rows = suite.checks_of(result)
    lines = [f"**{markdown(suite.headline(result, rows))}** ({markdown(name)})"]
    items = [
        f"- **{markdown(row['check'])}** {row['word']}: {markdown(row['what'])}"
        + (f"; {markdown(row['reason'])}" if row["reason"] else "")
        for row in rows
        if row["status"] != "pass"
    ]
    return "\n".join([*lines, *_cut(items, "checks")]) + "\n"


def _cut(items: Sequence[str], what: str) -> list[str]:
    if not items:
        return []
    more = [f"- {MOST_LINES} of {len(items)} {what} shown"] if len(items) > MOST_LINES else []
    return ["", *items[:MOST_LINES], *more]


def comparison_inline(result: Comparison, reference: str = "reference", current: str = "current") -> str:
    """A comparison for a notebook's cell: HTML without script, style sheet or address.

    Parameters as in `comparison_markdown`.
    """
    found = columns_of(result)
    rows = [
        (row["column"], row["badge"], _colour(row["level"]), row["what"], _picture(result.bins, row["column"]))
        for row in found[:MOST_INLINE]
    ]
    about = f"{current}: {result.n_current:,} rows, {reference}: {result.n_reference:,} rows (grey)"
    title = comparison.headline(result, found)
    return _inline(title, about, ("column", "state", "what moved", "then and now"), rows, len(found), "columns")


def suite_inline(result: SuiteResult, name: str = "suite") -> str:
    """The outcome of a suite for a notebook's cell: HTML without script, style sheet or address.

    Parameters as in `suite_markdown`.
    """
    found = suite.checks_of(result)
    rows = [
        (row["check"], row["word"], _colour(row["level"]), row["what"], row["picture"]) for row in found[:MOST_INLINE]
    ]
    title = suite.headline(result, found)
    return _inline(title, name, ("check", "outcome", "observed", "allowed (shaded)"), rows, len(found), "checks")


def _inline(
    title: str, about: str, heads: Sequence[str], rows: Sequence[tuple[Any, ...]], total: int, what: str
) -> str:
    more = f"{len(rows)} of {total} {what} shown." if total > len(rows) else ""
    return fragment("inline.html", title=title, about=about, heads=heads, rows=rows, more=more)


def _picture(bins: pl.DataFrame, column: str) -> Markup:
    own = bins.filter(pl.col("column") == column, pl.col("segment") == "all")
    labels = [bin_label(label, kind) for label, kind in zip(own["label"], own["bin_kind"], strict=True)]
    n = own["n_reference"].sum(), own["n_current"].sum()
    title = f"{column}: {shown(float(n[0]))} rows then, {shown(float(n[1]))} now"
    return share_bars(labels, own["n_reference"].to_list(), own["n_current"].to_list(), title)


def _colour(level: str) -> str:
    return {"bad": ALARM, "warn": "#9a5b00", "ok": "#00704f"}.get(level, "#6b7683")

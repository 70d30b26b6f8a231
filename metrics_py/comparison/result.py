"""The tidy result of `compare`: a frame, with views for people, programs and exit codes."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl

from metrics_py.multiple_testing import benjamini_hochberg, holm

BINS = pl.Schema(
    {
        "segment": pl.String,
        "column": pl.String,
        "bin_kind": pl.String,
        "label": pl.String,
        "n_reference": pl.Int64,
        "n_current": pl.Int64,
    }
)
SCHEMA = pl.Schema(
    {
        "segment": pl.String,
        "column": pl.String,
        "kind": pl.String,
        "metric": pl.String,
        "value": pl.Float64,
        "p_value": pl.Float64,
        "q_value": pl.Float64,
        "p_holm": pl.Float64,
        "effect": pl.Float64,
        "ci_low": pl.Float64,
        "ci_high": pl.Float64,
        "tolerance": pl.Float64,
        "state": pl.String,
        "n_reference": pl.Int64,
        "n_current": pl.Int64,
        "direction": pl.String,
        "reason": pl.String,
    }
)
MOST_WORDS = 20
"""Words of a column that a table shows."""

_RANK = {"drift": 0, "unclear": 1, "insufficient_data": 2, None: 3, "stable": 4}


@dataclass(frozen=True, repr=False)
class Comparison:
    """How two tables differ.

    Attributes
    ----------
    frame : polars.DataFrame
        One row per segment, column and metric: ``segment`` ('all' or '<column>=<value>'), ``column``, ``kind``,
        ``metric``, ``value`` (the metric as defined), ``p_value`` (of no change at all), ``q_value``
        (Benjamini-Hochberg over the report), ``p_holm`` (Holm), ``effect`` (what is left without sampling noise, or the
        difference), ``ci_low``, ``ci_high`` (95 % interval of the effect), ``tolerance``, ``state`` (drift, stable,
        unclear, insufficient_data; null where a metric gives no verdict), ``n_reference``, ``n_current``, ``direction``
        (what changed, in words), ``reason``.
    n_reference, n_current : int
        Rows of the tables.
    words : polars.DataFrame
        Words of text columns that stand in more or fewer texts than in the reference, the largest change first:
        ``column``, ``word``, ``n_reference``, ``n_current`` (texts, with `entity` authors), ``share_reference``,
        ``share_current``, ``difference``, ``ci_low``, ``ci_high``, ``z``, ``p_value``, ``q_value``, ``example``. Of
        those told a tenth at most is expected to be false (Benjamini-Hochberg, each column by itself). Empty where none
        moved; they decide no state.
    bins : polars.DataFrame
        Rows of both tables per bin of the reference: ``segment``, ``column``, ``bin_kind``, ``label``, ``n_reference``,
        ``n_current``; what pictures are drawn from. ``all`` are all rows together; of the segments those that drifted
        or are unclear, the farthest 30 of each column. Columns that cannot be read have none.
    """

    frame: pl.DataFrame
    n_reference: int
    n_current: int
    words: pl.DataFrame = field(default_factory=pl.DataFrame)
    bins: pl.DataFrame = field(default_factory=pl.DataFrame)

    @property
    def drifted(self) -> list[str]:
        """Columns with at least one drifted metric, in their order."""
        return self.frame.filter(pl.col("state") == "drift")["column"].unique(maintain_order=True).to_list()

    @property
    def state(self) -> Literal["drift", "stable", "unclear"]:
        """Drift if any column drifted, stable if everything that gives a verdict is, else unclear."""
        states = set(self.frame["state"].drop_nulls())
        if "drift" in states:
            return "drift"
        return "stable" if states == {"stable"} else "unclear"

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dict per row, in the order of the frame; None where a number is undefined.

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
            null where a number is undefined. Rows of a text column hold its ``words`` that moved, if there are any.
        """
        rows = self.to_dicts()
        for column in self.words["column"].unique() if self.words.width else ():
            moved = self.words.filter(pl.col("column") == column).drop("column").to_dicts()
            rows = [row | {"words": moved} if row["column"] == column else row for row in rows]
        return json.dumps(rows, indent=indent, ensure_ascii=False, allow_nan=False)

    def to_text(self, *, max_rows: int | None = 40, width: int | None = None) -> str:
        """A table for people: what drifted first, then what is not known, then the rest.

        Parameters
        ----------
        max_rows : int or None, default 40
            Most rows. Of a column that is stable by every metric one row is shown. None: every row of the frame.
        width : int, optional
            Characters of a line; what does not fit stands below its row.

        Returns
        -------
        str
            A line that sums up, and the table.
        """
        return "\n".join([self._summary(), *_lines(self.frame, max_rows, width), *_word_lines(self.words, max_rows)])

    def _summary(self) -> str:
        judged = self.frame.filter(pl.col("state").is_not_null())
        states = judged.group_by("column").agg(pl.col("state"))["state"].to_list()
        worst = [min(column, key=lambda s: _RANK[s]) for column in states]
        counts = {name: worst.count(name) for name in ("drift", "unclear", "insufficient_data", "stable")}
        told = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts.items() if n)
        return (
            f"{len(worst)} column{'s' * (len(worst) != 1)} compared, {self.n_reference:,} reference and "
            f"{self.n_current:,} current rows: {told or 'nothing to judge'}"
        )

    def __repr__(self) -> str:
        return self.to_text()


def beyond_tolerance(row: Mapping[str, Any]) -> float:
    """How many times its tolerance an effect is: what makes effects of different metrics comparable.

    Parameters
    ----------
    row : mapping
        A row of `Comparison.frame`.

    Returns
    -------
    float
        At least 0; infinite for a column that drifted without a number (missing, another type), 0 without an effect or
        a tolerance.

    Examples
    --------
    >>> beyond_tolerance({"effect": -0.25, "tolerance": 0.05, "state": "drift"})
    5.0
    """
    if row["effect"] is None or not row["tolerance"]:
        return float("inf") if row["state"] == "drift" else 0.0
    return abs(row["effect"]) / row["tolerance"]


def adjusted_p_values(frame: pl.DataFrame) -> pl.DataFrame:
    """Fill `q_value` and `p_holm` over all tests of the report.

    Parameters
    ----------
    frame : polars.DataFrame
        With a column ``p_value``, null where there is none.

    Returns
    -------
    polars.DataFrame
        With both columns; null where there is no p-value.
    """
    known = frame["p_value"].is_not_null().to_numpy()
    p_values = frame["p_value"].fill_null(1.0).to_numpy()[known]
    columns: dict[str, pl.Series] = {}
    for name, adjust in (("q_value", benjamini_hochberg), ("p_holm", holm)):
        filled = np.full(len(known), np.nan)
        filled[known] = adjust(p_values)
        columns[name] = pl.Series(name, filled).fill_nan(None)
    return frame.with_columns(**columns)


def _lines(frame: pl.DataFrame, max_rows: int | None, width: int | None) -> list[str]:
    rows = sorted(frame.to_dicts(), key=lambda row: _RANK[row["state"]])
    shown = rows if max_rows is None else _folded(rows)[:max_rows]
    segmented = any(row["segment"] != "all" for row in rows)
    header = [
        *(["segment"] if segmented else []),
        "column",
        "metric",
        "value",
        "effect [95 % interval]",
        "state",
        "what",
    ]
    table = [header]
    for row in shown:
        cells = [row["column"], row["metric"], _short(row["value"]), _interval(row), row["state"] or "-"]
        is_told = row["state"] in ("drift", "unclear") or not (row["reason"] or row["state"] == "stable")
        what = "; ".join(text for text in (row["direction"] if is_told else "", row["reason"]) if text)
        table.append([*([row["segment"]] if segmented else []), *cells, what])
    lines = _aligned(table, width)
    left_out = [row for row in rows if row not in shown] if len(shown) < len(rows) else []
    if left_out:
        n_stable = sum(row["state"] == "stable" for row in left_out)
        rest = len(left_out) - n_stable
        told = " and ".join(f"{n} more {name}" for n, name in ((rest, "rows"), (n_stable, "stable rows")) if n)
        lines.append(f"... and {told}")
    return lines


def _word_lines(words: pl.DataFrame, max_rows: int | None) -> list[str]:
    """The words that moved, a table for each text column."""
    lines: list[str] = []
    for column in words["column"].unique(maintain_order=True) if words.width else ():
        found = words.filter(pl.col("column") == column)
        shown = found if max_rows is None else found.head(MOST_WORDS)
        table = [["word", "texts", "difference [95 % interval]", "example"]]
        for row in shown.iter_rows(named=True):
            texts = f"{row['share_reference']:.2%} -> {row['share_current']:.2%}"
            interval = f"{row['difference']:+.2%} [{row['ci_low']:+.2%}, {row['ci_high']:+.2%}]"
            table.append([row["word"], texts, interval, row["example"] or ""])
        more = f", the first {len(shown)}" if len(shown) < len(found) else ""
        moved = f"{len(found)} word{'s' * (len(found) != 1)}"
        lines += ["", f"{column}: {moved} in more or fewer texts than before (one in ten may be chance){more}"]
        lines += _aligned(table, None)
    return lines


def _folded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is shown: all that is not stable, each reason for no verdict once, and one row of each stable column.

    A column is stable where every metric says so.
    """
    mixed = {(row["segment"], row["column"]) for row in rows if row["state"] != "stable"}
    kept: list[dict[str, Any]] = []
    seen: set[tuple[str | None, ...]] = set()
    for row in rows:
        key = (row["segment"], row["column"])
        once = (*key, row["reason"] if row["state"] is None else row["metric"])
        is_first = once not in seen and (row["state"] != "stable" or (key not in mixed and key not in seen))
        if is_first:
            kept.append(row)
        seen |= {key, once}
    return kept


def _aligned(table: list[list[str]], width: int | None) -> list[str]:
    """Columns under each other; the last one below its row where the lines would be too long."""
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    below = width is not None and sum(widths) + 2 * (len(widths) - 1) > width
    lines: list[str] = []
    for line in table:
        cells = line[:-1] if below else line
        lines.append("  ".join(cell.ljust(n) for cell, n in zip(cells, widths, strict=False)).rstrip())
        if below and line is not table[0] and line[-1]:
            assert width is not None
            lines += textwrap.wrap(line[-1], max(width, 30), initial_indent="    ", subsequent_indent="    ")
    return lines


def _short(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}g}"


def _interval(row: dict[str, Any]) -> str:
    if row["ci_low"] is None or row["ci_high"] is None:
        return _short(row["effect"])
    return f"{_short(row['effect'], 3)} [{_short(row['ci_low'], 3)}, {_short(row['ci_high'], 3)}]"

"""Judgements of groups that are no longer there: a new revision without a number takes back what was published."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from metrics_py.reasons import ReasonCode
from sightline.results.tables import NUMBER

WITHDRAWN: ReasonCode = "withdrawn"
WORDS = (
    "withdrawn: nothing is left to compute it from (rows were corrected, withdrawn or reloaded, or what it rests on is "
    "no longer told), or the monitor's file no longer asks for it"
)
SCOPE = pl.Schema({"window_start": pl.Datetime("us"), "ending": pl.String()})
"""Windows that were judged again: all their values (`ending` empty), or those over a length (`@7d`)."""


def is_withdrawn() -> pl.Expr:
    """Whether a judgement takes back what was published of its key, and says nothing else."""
    return pl.col("reason_code").eq_missing(pl.lit(WITHDRAWN))


def in_scope(rows: pl.DataFrame, scope: pl.DataFrame) -> pl.DataFrame:
    """Judgements of what was judged again.

    Parameters
    ----------
    rows : DataFrame
        With ``window_start, metric``.
    scope : DataFrame
        Shape `SCOPE`.

    Returns
    -------
    DataFrame
        Some of the rows, in their order.
    """
    is_inside = pl.lit(value=False)
    for (ending,), part in scope.group_by(["ending"]):
        is_over = pl.col("metric").str.ends_with(str(ending))
        is_inside |= is_over & pl.col("window_start").is_in(part["window_start"].implode())
    return rows.filter(is_inside)


def withdrawals(latest: pl.DataFrame, found: pl.DataFrame, scope: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """What a run takes back: published keys of the windows that it judged again, and of which it found nothing.

    Parameters
    ----------
    latest : DataFrame
        The newest published revisions.
    found : DataFrame
        What the run judged.
    scope : DataFrame
        Shape `SCOPE`: what it judged completely.
    key : sequence of str
        Columns that identify a judgement.

    Returns
    -------
    DataFrame
        The columns of `found`; every number is null. What was taken back before is not again.
    """
    known = in_scope(latest.filter(~is_withdrawn()), scope)
    gone = known.join(found, on=list(key), how="anti", nulls_equal=True)
    told = {"status": "insufficient_data", "reason": WORDS, "reason_code": WITHDRAWN}
    numbers = [name for name, dtype in gone.schema.items() if dtype == NUMBER or name == "n"]
    nothing = {name: pl.lit(None, dtype=gone.schema[name]) for name in numbers}
    return gone.with_columns(**nothing, **{name: pl.lit(text) for name, text in told.items()}).select(found.columns)

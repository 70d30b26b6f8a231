"""`labelled_rate`: the share of predictions that have a label, as it is now; for the alert engine at one age.

The share grows until the last labels are in. A window that has just matured lacks some that an older one has: beside
each other the two look like a loss of labels. So the engine is given the share that had come by one age, the one at
which windows mature, over the share of labels that comes by then.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import duckdb
import numpy as np
import polars as pl

from metrics_py.quality.completed import MATURE_SHARE
from metrics_py.quality.delay_law import DelayLaw, delay_start, watched
from sightline.judging.frames import BY
from sightline.judging.marts import ALL_VERSIONS, has_mart
from sightline.judging.maturity import Delays
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import production_sql


def label_rates(counts: pl.DataFrame) -> pl.DataFrame:
    """Share of predictions that have a label by now, and on the arcsine scale.

    Parameters
    ----------
    counts : DataFrame
        Mart `label_counts`.
    """
    sums = counts.group_by(BY).agg(
        pl.col("n_predictions").sum().cast(pl.Int64), pl.col("n_labelled").sum().cast(pl.Int64)
    )
    n, labelled = pl.col("n_predictions"), pl.col("n_labelled")
    return sums.filter(n > 0).select(
        *BY,
        metric=pl.lit("labelled_rate"),
        value=labelled / n,
        n=n,
        status=pl.lit("ok"),
        reason=pl.lit(None, dtype=pl.String),
        reason_code=pl.lit(None, dtype=pl.String),
        stabilised_value=((labelled + 0.375) / (n + 0.75)).sqrt().arcsin(),
        variance=1 / (4 * n),
    )


def at_one_age(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, rates: pl.DataFrame, known: Delays) -> pl.DataFrame:
    """Rates as the alert engine sees them.

    Parameters
    ----------
    spec : MonitorSpec
    con : duckdb.DuckDBPyConnection
        The monitor's warehouse.
    rates : DataFrame
        Result of `label_rates`.
    known : Delays
        How labels come.

    Returns
    -------
    DataFrame
        Rows of segment and version 'all': of windows that were watched as their labels came, the labels that had come
        by the age of maturity, over the share that comes by then, at most 1. Others as they are: nobody knows when
        theirs came.
    """
    whole = rates.filter(segment="all", model_version=ALL_VERSIONS)
    if known.law is None or whole.is_empty() or not has_mart(con, "label_arrivals"):
        return whole
    age = next(age for age in known.law.starts.tolist() if known.law.slowest(age) >= MATURE_SHARE)
    share = _come(known.law, age)
    first, last = whole["window_start"].min(), whole["window_start"].max()
    found = con.sql(
        "select window_start, delay_bin, sum(n)::bigint as n from marts.label_arrivals "  # noqa: S608 (quoted)
        f"where segment = 'all' and window_start between ? and ? and {production_sql(spec)} group by all",
        params=[first, last],
    ).pl()
    since = _watched_since(spec, con, known.until)
    before = pl.Series(delay_start(found["delay_bin"].to_numpy().astype(np.int64))) < age
    early = found.filter(before).group_by("window_start").agg(come=pl.col("n").sum())
    n, come = pl.col("n"), pl.col("come").fill_null(0)
    rate = ((come / share + 0.375) / (n + 0.75)).clip(0, 1)
    seen = whole.join(early, on="window_start", how="left", maintain_order="left")
    is_seen = pl.lit(since is not None) & (pl.col("window_start") >= pl.lit(since, dtype=pl.Datetime("us")))
    return seen.with_columns(
        value=pl.when(is_seen).then((come / share / n).clip(0, 1)).otherwise("value"),
        stabilised_value=pl.when(is_seen).then(rate.sqrt().arcsin()).otherwise("stabilised_value"),
    ).drop("come")


def _come(law: DelayLaw, age: float) -> float:
    """Share of all labels that comes by an age."""
    return float(law.mass @ law.completion(age)[0])


def _watched_since(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, until: datetime) -> object:
    """Start of the first window that was watched as its labels came; None where there is none."""
    query = (
        "select distinct window_start, delay_bin from marts.label_arrivals "  # noqa: S608 (quoted)
        f"where segment = 'all' and {production_sql(spec)}"
    )
    rows = con.sql(query).pl()
    now = pl.lit(until.replace(tzinfo=None), dtype=pl.Datetime("us"))
    unit = spec.window / timedelta(microseconds=1)
    return watched(rows.with_columns(age=(now - pl.col("window_start")).dt.total_microseconds() / unit))[
        "window_start"
    ].min()

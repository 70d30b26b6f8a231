"""Whether two versions that ran on the same days answered the same kind of rows: by segments, and by the inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import chdtri

from metrics_py.drift.binned_distances import total_variation
from metrics_py.evaluation.confidence_sequence import sequential_difference, weights_of_days
from metrics_py.intervals import N_BUCKETS, ROUNDING
from metrics_py.wording import percent
from sightline.evaluation.together import Together, days
from sightline.judging.marts import has_mart, read_mart
from sightline.lake.store.schema import literal, quote
from sightline.spec.model import MonitorSpec

FloatArray = NDArray[np.float64]
LEAST_SHIFT = 0.05
"""Share of the rows that would have to change their value; smaller differences decide nothing."""

FALSE_ALARM = 1e-3
"""Probability of finding any column where versions are chosen by chance."""

MOST_VALUES, PARTS = 8, 5
"""Categories, and parts of a number's range, that are told apart when a difference is made sure of."""

COUNTS = ("version", "day", "value", "n")


@dataclass(frozen=True)
class Moved:
    """How far a column of one version lies from that of the other, on the same days.

    Attributes
    ----------
    column : str
        Feature, segment column, or ``@score``, ``@prediction``.
    distance : float
        Total variation: the share of the rows that would have to change their value (bin).
    """

    column: str
    distance: float


def moved_columns(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, found: Together) -> list[Moved]:
    """Distance of every column that differs between two versions at the same mixture of days, the largest first.

    Parameters
    ----------
    spec, con, found
        As of `sightline.evaluation.together.together`.
    """
    if not found.keys or not has_mart(con, "column_bins"):
        return []
    bins = read_mart(con, "column_bins", found.keys).filter(pl.col("segment") == "all")
    counts = _of_versions(spec, found, bins).rename({"bin_id": "value"})
    moved = [
        Moved(str(name), distance)
        for (name,), own in counts.group_by("column_name")
        if (distance := _distance(own)) is not None and distance > ROUNDING
    ]
    return sorted(moved, key=lambda item: (-item.distance, item.column))


def routed(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, found: Together) -> list[str]:
    """Why two versions cannot be compared: inputs or segments of which they answer other shares, beyond chance.

    Parameters
    ----------
    spec, con, found
        As of `sightline.evaluation.together.together`.

    Returns
    -------
    list of str
        In words, the farthest first; empty where none is. Entities that one version answers all of do not count as
        many rows.

    Notes
    -----
    Marts tell which columns differ by 5 % of the rows or more; of these, and of those that the reference does not know,
    the rows are counted by day and bucket of entities, and the difference is held against Scheffe's bound for the most
    telling set of values.
    """
    if found.is_shadow or not found.keys:
        return []
    health = read_mart(con, "service_health", found.keys).filter(pl.col("segment") != "all")
    named = health.with_columns(
        column_name=pl.col("segment").str.extract(r"^([^=]+)=", 1), value=pl.col("segment"), n=pl.col("n_rows")
    )
    counts = _of_versions(spec, found, named)
    suspects = [
        (str(name), f"g_{name}", False)
        for (name,), own in counts.group_by("column_name", maintain_order=True)
        if (_distance(own) or 0.0) >= LEAST_SHIFT
    ]
    kinds = {name: feature.kind for name, feature in spec.columns.features.items()}
    distances = {item.column: item.distance for item in moved_columns(spec, con, found)}
    suspects += [
        (name, f"f_{name}", kind == "numeric")
        for name, kind in kinds.items()
        if kind in ("numeric", "categorical", "boolean") and distances.get(name, 1.0) >= LEAST_SHIFT
    ]
    n_columns = len(kinds) + len(spec.columns.segments)
    told = [item for each in suspects for item in _sure(spec, con, found, *each, n_columns)]
    return [words for _, words in sorted(told, reverse=True)]


def _of_versions(spec: MonitorSpec, found: Together, frame: pl.DataFrame) -> pl.DataFrame:
    versions = {found.champion: 0, found.challenger: 1}
    own = frame.filter(pl.col("model_version").is_in(list(versions)))
    return own.with_columns(
        version=pl.col("model_version").replace_strict(versions, return_dtype=pl.Int64), day=days(spec)
    )


def _distance(counts: pl.DataFrame) -> float | None:
    """Total variation of the values of two versions, each day weighing the same for both."""
    shares = _shares(counts)
    if shares is None:
        return None
    return float(total_variation(shares["old"].to_numpy(), shares["new"].to_numpy()))


def _shares(counts: pl.DataFrame) -> pl.DataFrame | None:
    """Share of every value (``value, old, new``), each day weighing the same for both; None without a common day."""
    by_day = counts.group_by("day", "version").agg(total=pl.col("n").sum()).filter(pl.col("total") > 0)
    wide = by_day.pivot("version", index="day", values="total").drop_nulls()
    if not {"0", "1"} <= set(wide.columns) or wide.is_empty():
        return None
    weight = weights_of_days(wide["0"].to_numpy(), wide["1"].to_numpy())
    weighed = wide.select("day", w=pl.Series(weight / weight.sum()))
    each = counts.join(weighed, on="day").join(by_day, on=["day", "version"])
    share = (pl.col("n") * pl.col("w") / pl.col("total")).sum()
    summed = each.group_by("version", "value").agg(share=share).pivot("version", index="value", values="share")
    return summed.select("value", old=pl.col("0").fill_null(0.0), new=pl.col("1").fill_null(0.0)).sort("value")


def _sure(
    spec: MonitorSpec,
    con: duckdb.DuckDBPyConnection,
    found: Together,
    name: str,
    column: str,
    is_numeric: bool,
    n_columns: int,
) -> Iterator[tuple[float, str]]:
    """Distance and words of a column whose values differ between two versions beyond chance."""
    rows = _of_versions(spec, found, _counted(con, found, column, is_numeric=is_numeric))
    counts = rows.group_by("version", "day", "value").agg(pl.col("n").sum())
    shares = _shares(counts)
    if shares is None or len(shares) < 2:
        return
    gained = shares.filter(pl.col("new") > pl.col("old"))
    distance = float((gained["new"] - gained["old"]).sum())
    starts = rows["day"].unique().sort()
    place = rows["day"].replace_strict(starts, pl.int_range(len(starts), eager=True)).cast(pl.Int64).to_numpy()
    n, inside = np.zeros((2, len(starts), N_BUCKETS)), np.zeros((2, len(starts), N_BUCKETS))
    address = (rows["version"].to_numpy(), place, rows["bucket"].cast(pl.Int64).to_numpy())
    amount = rows["n"].to_numpy().astype(float)
    np.add.at(n, address, amount)
    np.add.at(inside, address, amount * rows["value"].is_in(gained["value"].implode()).to_numpy())

    def share(k: FloatArray, m: FloatArray) -> FloatArray:
        return k / m

    of = sequential_difference(share, lambda t: ([inside[0, t], n[0, t]], [inside[1, t], n[1, t]]), n, first_day=2)
    if of.standard_error is None or distance < LEAST_SHIFT:
        return
    bound = float(chdtri(len(shares) - 1, FALSE_ALARM / max(n_columns, 1)))
    if (distance / of.standard_error) ** 2 > bound:
        most = gained.with_columns(gap=pl.col("new") - pl.col("old")).sort("gap", descending=True).row(0, named=True)
        of_each = (
            f"{percent(most['new'])} of the rows of {found.challenger}, {percent(most['old'])} of {found.champion}"
        )
        yield distance, f"{name}: {most['value']} in {of_each}"


def _counted(con: duckdb.DuckDBPyConnection, found: Together, column: str, *, is_numeric: bool) -> pl.DataFrame:
    """Rows of both versions by window, bucket and value; numbers by fifths of their range."""
    keys = ", ".join(map(literal, found.keys))
    names = f"{literal(found.champion)}, {literal(found.challenger)}"
    here = f"from raw.inferences where window_key in ({keys}) and model_version in ({names})"
    x = quote(column)
    if is_numeric:
        levels = ", ".join(f"{i / PARTS}" for i in range(1, PARTS))
        quantiles = con.sql(f"select unnest(approx_quantile({x}, [{levels}])) as cut {here} and isfinite({x})").pl()
        edges = [float(cut) for cut in quantiles["cut"].drop_nulls().unique().sort()]
        steps = [f"when {x} <= {edge!r}::double then 'at most {edge:.4g}'" for edge in edges]
        value = f"case when {x} is null or isnan({x}) then 'missing' {' '.join(steps)} else 'more' end"
    else:
        top = con.sql(
            f"select {x}::varchar, count(*) {here} and {x} is not null "
            f"group by 1 order by 2 desc, 1 limit {MOST_VALUES}"
        ).fetchall()
        known = ", ".join(literal(name) for name, _ in top) or "''"
        text = f"{x}::varchar"
        value = f"case when {x} is null then 'missing' when {text} in ({known}) then {text} else 'another value' end"
    return con.sql(
        f"select window_start, model_version, bucket, {value} as value, count(*) as n {here} group by all"
    ).pl()

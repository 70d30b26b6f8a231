"""Champion against challenger from aggregates: every metric of the task in every segment, on the same rows or not.

References
----------
Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 11. Welch (1947), Biometrika 34:28.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import stdtr

from metrics_py.evaluation.areas import ALL
from metrics_py.intervals import (
    N_BUCKETS,
    N_SEGMENT_BUCKETS,
    JackknifeInterval,
    jackknife,
    jackknife_from_replicates,
    t_quantile,
)
from metrics_py.quality.aggregates import available_needs, name_aggregates, spread
from metrics_py.quality.champion import PairedDifference, RowSet, difference_of, paired_difference
from metrics_py.quality.definition import UNDEFINED, QualityMetric
from metrics_py.quality.metrics import BY_TASK, metric_of_sums
from metrics_py.quality.probabilities import improper_words
from metrics_py.wording import count

FloatArray = NDArray[np.float64]
Tables = Mapping[str, pl.DataFrame]
MODELS = ("champion", "challenger")
TABLES = ("confusion", "score_bins", "sums", "custom")
SCHEMA = pl.Schema(
    {
        "segment": pl.String,
        "metric": pl.String,
        "direction": pl.String,
        "champion": pl.Float64,
        "challenger": pl.Float64,
        "difference": pl.Float64,
        "ci_low": pl.Float64,
        "ci_high": pl.Float64,
        "p_value": pl.Float64,
        "n_champion": pl.Int64,
        "n_challenger": pl.Int64,
        "se_champion": pl.Float64,
        "se_challenger": pl.Float64,
        "n_agreeing": pl.Int64,
        "status": pl.String,
        "reason": pl.String,
    }
)


TRACE = 1e-9
"""Of a row, in each bucket."""


def differences(
    champion: Tables,
    challenger: Tables,
    *,
    task: str,
    positive: str = "1",
    paired: bool = True,
    min_labels: int = 100,
    exact: tuple[pl.DataFrame, pl.DataFrame] | None = None,
) -> pl.DataFrame:
    """Challenger minus champion of every metric that the aggregates allow, by segment.

    Parameters
    ----------
    champion, challenger : mapping of str to DataFrame
        ``confusion, score_bins, sums, custom`` as `metrics_py.quality.table.quality_table` takes them, each with
        ``segment``; one that is absent or empty is left out.
    task : str
        As of `quality_table`.
    positive : str, default "1"
        The positive class (binary).
    paired : bool, default True
        Both judged the same rows, in the same buckets.
    min_labels : int, default 100
        Fewer rows of either model: ``insufficient_data``.
    exact : tuple of DataFrame, optional
        `metrics_py.evaluation.areas.deleted_areas` of the raw scores of both models: their values and their jackknife
        replace those of binned scores.

    Returns
    -------
    DataFrame
        ``segment, metric, direction, champion, challenger, difference, ci_low, ci_high, p_value, n_champion,
        n_challenger, se_champion, se_challenger, n_agreeing, status, reason``, segment 'all' first. The interval is
        two-sided, 95 %. Standard errors of each model's metric are there for different rows only; ``n_agreeing`` is
        null here, see `metrics_py.evaluation.agreement`.

    Raises
    ------
    ValueError
        As `quality_table`.

    Notes
    -----
    On the same rows: the delete-one-bucket jackknife of the difference (`paired_difference`), for which rows of one
    entity may depend on each other. On different rows: both jackknives, the variances added, t with Satterthwaite's
    degrees of freedom; the two sets must then be independent of each other.
    """
    found = [pl.DataFrame(schema=SCHEMA)]
    segments = sorted({name for tables in (champion, challenger) for t in tables.values() for name in t["segment"]})
    for segment in sorted(segments, key=lambda name: (name != "all", name)):
        own = [{name: t.filter(pl.col("segment") == segment) for name, t in m.items()} for m in (champion, challenger)]
        n_buckets = N_BUCKETS if segment == "all" else N_SEGMENT_BUCKETS
        rows = _of_segment(own, task, positive, n_buckets, paired=paired, min_labels=min_labels)
        found.append(pl.DataFrame(rows, schema=SCHEMA, orient="row").with_columns(segment=pl.lit(segment)))
    table = pl.concat(found)
    return table if exact is None else _at_exact_values(table, exact, paired=paired, min_labels=min_labels)


def _of_segment(
    models: Sequence[Tables], task: str, positive: str, n_buckets: int, *, paired: bool, min_labels: int
) -> list[dict[str, Any]]:
    same = _same_classes(models, n_buckets)
    arrays, custom = zip(*(_arrays(tables, task, positive, n_buckets) for tables in same), strict=True)
    rows: list[dict[str, Any]] = []
    for metric in BY_TASK[task]:
        if all(set(metric.needs) <= have for _, have in arrays):
            rows.append(_row(metric, [a for a, _ in arrays], paired=paired, min_labels=min_labels))
    for name in sorted(set(custom[0]) & set(custom[1])):
        own = [each[name] for each in custom]
        rows.append(_row(metric_of_sums(name, task), own, paired=paired, min_labels=min_labels))
    return rows


def _same_classes(models: Sequence[Tables], n_buckets: int) -> list[dict[str, pl.DataFrame]]:
    """Tables of both models with the classes of either: a class that one never decides for is a class of both.

    Means over classes leave out those that do not occur, and one that has no label occurs only where it is decided for:
    the other model is given a trace of wrong decisions for it, so that both means go over the same classes.
    """
    found: list[dict[str, pl.DataFrame]] = [dict(tables) for tables in models]
    for name, columns in (("confusion", ("predicted_class", "actual_class")), ("score_bins", ("class_name",))):
        tables = [each[name] for each in found if name in each]
        if len(tables) < 2:
            continue
        known = pl.concat([t[c].cast(pl.String) for t in tables for c in columns]).drop_nulls().unique().sort()
        for each in found:
            padding = dict.fromkeys(columns, known)
            zero = pl.DataFrame(padding).with_columns(bucket=pl.lit(0, pl.Int32), n=pl.lit(0, pl.Int64))
            if name == "score_bins":
                zero = zero.with_columns(score_bin=pl.lit(0, pl.Int32), is_positive=pl.lit(value=False))
            each[name] = pl.concat([each[name], zero], how="diagonal_relaxed")
            if name == "confusion":
                each[name] = pl.concat([each[name], _traces(each[name], tables, n_buckets)], how="diagonal_relaxed")
    return found


def _traces(own: pl.DataFrame, both: Sequence[pl.DataFrame], n_buckets: int) -> pl.DataFrame:
    """Wrong decisions for the classes that only the other model decides for, too few to be seen in any number."""
    decided = pl.concat([t.filter(pl.col("n") > 0)["predicted_class"].cast(pl.String) for t in both]).drop_nulls()
    occurs = own.filter(pl.col("n") > 0)
    known = {*occurs["predicted_class"].cast(pl.String), *occurs["actual_class"].cast(pl.String)}
    lacking = sorted(set(decided) - known)
    actual = occurs["actual_class"].cast(pl.String).drop_nulls().sort()
    if not lacking or actual.is_empty():
        return own.clear()
    classes = pl.DataFrame({"predicted_class": lacking}).with_columns(actual_class=pl.lit(actual[0]), n=pl.lit(TRACE))
    return classes.join(pl.DataFrame({"bucket": range(n_buckets)}, schema={"bucket": pl.Int32}), how="cross")


def _arrays(
    tables: Tables, task: str, positive: str, n_buckets: int
) -> tuple[tuple[dict[str, FloatArray], set[str]], dict[str, dict[str, FloatArray]]]:
    """Aggregates of one model by bucket, shape (1, buckets, ...): those of the metrics, and those of its own ones."""
    present = {
        name: tables[name].with_columns(_group=pl.lit(0, pl.Int64))
        for name in TABLES
        if name in tables and not tables[name].is_empty()
    }
    cells = spread(present, task, positive, n_buckets)
    dense = {name: each.dense(0, 1, n_buckets) for name, each in cells.items()}
    custom: dict[str, dict[str, FloatArray]] = {}
    if "custom" in dense:
        names = present["custom"]["metric"].cast(pl.String).unique().sort()
        for k, name in enumerate(names):
            custom[name] = {"sum_value": dense["custom"][..., k, 0], "n": dense["custom"][..., k, 1]}
    return (name_aggregates(dense, task), available_needs(cells)), custom


def _row(
    metric: QualityMetric, models: Sequence[dict[str, FloatArray]], *, paired: bool, min_labels: int
) -> dict[str, Any]:
    names = sorted(set(models[0]) & set(models[1]))
    aggregates = [[each[name][0] for name in names] for each in models]
    n_champion, n_challenger = (_n_rows(metric, each) for each in models)

    def statistic(*arrays: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(metric.value(dict(zip(names, arrays, strict=True))), dtype=float)

    compared = _paired if paired else _independent
    found = compared(statistic, aggregates, (n_champion, n_challenger))
    improper = improper_rows(metric, dict(zip(MODELS, models, strict=True)))
    if any(improper.values()):
        found = replace(found, reason=improper_words(improper))
    elif None in (found.champion, found.challenger) and metric.undefined != UNDEFINED:
        found = replace(found, reason=f"{found.reason}: {metric.undefined}")
    what = metric.counted or "labelled rows"
    return _told(metric.name, metric.direction, found, n_champion, n_challenger, min_labels, what)


def improper_rows(metric: QualityMetric, models: Mapping[str, Mapping[str, FloatArray]]) -> dict[str, float]:
    """Rows of each model whose class scores do not sum to 1, which leaves a metric of probabilities undefined.

    Parameters
    ----------
    metric : QualityMetric
        One that reads no probabilities has none.
    models : mapping of str to mapping of str to ndarray
        Whose -> aggregates.

    Returns
    -------
    dict of str to float
        Whose -> how many.
    """
    if not metric.needs_probabilities:
        return dict.fromkeys(models, 0.0)
    return {whose: float(np.sum(arrays.get("n_improper", 0.0))) for whose, arrays in models.items()}


def _told(
    name: str,
    direction: str,
    found: PairedDifference,
    n_champion: int,
    n_challenger: int,
    min_labels: int,
    what: str = "labelled rows",
) -> dict[str, Any]:
    status, reason = found.status, found.reason
    if min(n_champion, n_challenger) < min_labels:
        status, reason = "insufficient_data", f"{count(min(n_champion, n_challenger), what)}, {min_labels:,} needed"
    is_known = status == "ok"
    errors = [each.standard_error for each in found.sets] if is_known and found.sets else [None, None]
    return {
        "metric": name,
        "direction": direction,
        "champion": found.champion,
        "challenger": found.challenger,
        "difference": found.difference,
        "ci_low": found.ci_low if is_known else None,
        "ci_high": found.ci_high if is_known else None,
        "p_value": found.p_value if is_known else None,
        "n_champion": n_champion,
        "n_challenger": n_challenger,
        "se_champion": errors[0],
        "se_challenger": errors[1],
        "n_agreeing": None,
        "status": status,
        "reason": reason,
    }


def _n_rows(metric: QualityMetric, arrays: dict[str, FloatArray]) -> int:
    """Rows behind a metric, of whatever it reads."""
    match metric.needs[0]:
        case "confusion":
            return int(arrays["confusion"].sum())
        case "scores":
            classes = max(1, int(np.prod(arrays["positives"].shape[2:-1])))
            return int((arrays["positives"].sum() + arrays["negatives"].sum()) / classes)
        case needs:
            return int(arrays[needs].sum())


def _paired(statistic: Any, aggregates: Sequence[Sequence[FloatArray]], counts: tuple[int, int]) -> PairedDifference:
    return paired_difference(statistic, aggregates[0], aggregates[1], n=min(counts))


def _independent(
    statistic: Any, aggregates: Sequence[Sequence[FloatArray]], counts: tuple[int, int]
) -> PairedDifference:
    """Difference of two sets of rows that have nothing to do with each other."""
    found = [jackknife(statistic, *(a[None] for a in model)) for model in aggregates]
    return _welch(found, counts)


def _welch(found: Sequence[JackknifeInterval], counts: tuple[int, int]) -> PairedDifference:
    n = min(counts)
    old, new = (float(each.value[0]) for each in found)
    known = [value if np.isfinite(value) else None for value in (old, new)]
    if None in known:
        whose = MODELS[known.index(None)]
        reason = f"the metric of the {whose} is undefined on its rows"
        return PairedDifference(known[0], known[1], None, None, None, None, n, "insufficient_data", reason)
    variances = np.array([float(each.standard_error[0]) ** 2 for each in found])
    degrees = np.array([float(each.degrees_of_freedom[0]) for each in found])
    if not (np.isfinite(variances).all() and variances.sum() > 0):
        reason = "the metrics are the same without each bucket of entities: that does not say how precise they are"
        return PairedDifference(old, new, new - old, None, None, None, n, "insufficient_data", reason)
    freedom = float(variances.sum() ** 2 / (variances**2 / degrees).sum())
    error = float(np.sqrt(variances.sum()))
    half = float(t_quantile(freedom)) * error
    p_value = float(2 * stdtr(freedom, -abs(new - old) / error))
    champion, challenger = (RowSet(m, float(v) ** 0.5) for m, v in zip(counts, variances, strict=True))
    low, high = new - old - half, new - old + half
    return PairedDifference(old, new, new - old, low, high, p_value, n, sets=(champion, challenger))


def _at_exact_values(
    table: pl.DataFrame, exact: tuple[pl.DataFrame, pl.DataFrame], *, paired: bool, min_labels: int
) -> pl.DataFrame:
    """Values and jackknife of the scores themselves in the place of binned ones.

    Bins hide what happens within them: where most scores lie in one, their interval would be far too narrow.
    """
    known = [{key: dict(own.select("without", "value").iter_rows()) for key, own in _by_metric(each)} for each in exact]
    buckets = [{key: own["without"].unique() for (key,), own in each.group_by("segment")} for each in exact]
    rows: list[dict[str, Any]] = []
    for row in table.iter_rows(named=True):
        key = (row["segment"], row["metric"])
        if all(ALL in each.get(key, {}) for each in known):
            occupied = [each[row["segment"]].to_list() for each in buckets]
            counts = (row["n_champion"], row["n_challenger"])
            found = _of_deleted([each[key] for each in known], occupied, counts, paired=paired)
            rows.append({**row, **_told(row["metric"], row["direction"], found, *counts, min_labels)})
        else:
            rows.append(row)
    return pl.DataFrame(rows, schema=SCHEMA)


def row_of_values(
    name: str,
    direction: str,
    models: Sequence[Mapping[int, float]],
    occupied: Sequence[Sequence[int]],
    counts: tuple[int, int],
    *,
    paired: bool,
    min_labels: int,
) -> dict[str, Any]:
    """One row of `differences` for a metric that is known of all rows and without each bucket.

    Parameters
    ----------
    name, direction : str
        Of the metric.
    models : sequence of mapping of int to float
        Of champion and challenger: bucket that is left out, `metrics_py.evaluation.areas.ALL` for none -> value; NaN
        where undefined.
    occupied : sequence of sequence of int
        Buckets with rows of each.
    counts : (int, int)
        Rows of each.
    paired : bool
        As of `differences`.
    min_labels : int
        As of `differences`.

    Returns
    -------
    dict
        Columns of `SCHEMA`, of the segment 'all'.

    Examples
    --------
    >>> old, new = ({ALL: v, 0: v - d, 1: v + d} for v, d in ((1.0, 0.1), (2.0, 0.3)))
    >>> row = row_of_values("gain", "none", [old, new], [[0, 1]] * 2, (50, 50), paired=True, min_labels=10)
    >>> row["difference"], row["status"]
    (1.0, 'ok')
    """
    found = _of_deleted(models, occupied, counts, paired=paired)
    return {"segment": "all"} | _told(name, direction, found, *counts, min_labels)


def _by_metric(exact: pl.DataFrame) -> Iterator[tuple[tuple[Any, ...], pl.DataFrame]]:
    return iter(exact.group_by("segment", "metric"))


def _of_deleted(
    models: Sequence[Mapping[int, float]], occupied: Sequence[Sequence[int]], counts: tuple[int, int], *, paired: bool
) -> PairedDifference:
    """Difference of a metric whose values without each bucket are known; without an empty bucket it is what it is."""
    everywhere = sorted({b for own in occupied for b in own if b != ALL})
    values = np.array([[own[ALL]] for own in models])
    deleted = np.array(
        [
            [[own.get(b, np.nan) if b in held else own[ALL] for b in everywhere]]
            for own, held in zip(models, occupied, strict=True)
        ]
    )
    if paired:
        filled = np.ones((1, len(everywhere)), dtype=bool)
        found = jackknife_from_replicates(values[1] - values[0], deleted[1] - deleted[0], filled)
        return difference_of(found, float(values[0, 0]), float(values[1, 0]), n=min(counts))
    is_held = [np.array([[b in held for b in everywhere]]) for held in occupied]
    return _welch([jackknife_from_replicates(*each) for each in zip(values, deleted, is_held, strict=True)], counts)

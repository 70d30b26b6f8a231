"""What rows whose label never came could change: bounds beside the values of windows whose labels are given up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import duckdb
import numpy as np
import polars as pl

from metrics_py.quality.missing_labels import BOUNDED, worst_and_best
from metrics_py.wording import number, percent
from sightline.judging.frames import BY
from sightline.judging.marts import has_mart, read_mart, with_all_versions
from sightline.judging.sliding import as_sums
from sightline.spec.model import MonitorSpec

CELLS = ("tp", "fp", "fn", "tn", "unlabelled_positive", "unlabelled_negative")
CODE = "never_labelled"


def with_bounds_of_missing(
    spec: MonitorSpec,
    con: duckdb.DuckDBPyConnection,
    judged: pl.DataFrame,
    now: datetime,
    parts: pl.DataFrame | None = None,
    ending: str = "",
) -> pl.DataFrame:
    """Say beside values of two classes between which numbers they lie whatever the missing labels would have said.

    Parameters
    ----------
    spec : MonitorSpec
    con : duckdb.DuckDBPyConnection
        The monitor's warehouse.
    judged : DataFrame
        Shape `JUDGED`.
    now : datetime
        Windows whose labels are still waited for are left alone.
    parts : DataFrame, optional
        ``window_start, part``: what the windows are sums of. Default: each is its own.
    ending : str
        Of the metrics' names.

    Returns
    -------
    DataFrame
        `judged` with the bounds in ``reason``, and the code `CODE` where there was none.

    Notes
    -----
    Nothing is said where silence is an answer (`labels.silence: negative`), where the decision of some prediction is
    not known by its score (a class that was logged without one), and in a warehouse without the scores of all
    predictions (`--as-of`).
    """
    if spec.model.task != "binary_classification" or judged.is_empty() or spec.is_silence_negative:
        return judged
    starts = judged["window_start"].unique() if parts is None else parts["part"].unique()
    given_up = [start for start in starts.sort() if _is_given_up(spec, start, now)]
    if not given_up or not has_mart(con, "score_bins"):
        return judged
    if parts is not None:
        waits = parts.filter(~pl.col("part").is_in(given_up))
        parts = parts.join(waits, on="window_start", how="anti")
    cells = _cells(spec, con, [spec.key(start) for start in given_up], parts)
    told = _told(cells, ending)
    joined = judged.join(told, on=[*BY, "metric"], how="left", maintain_order="left")
    is_told = pl.col("words").is_not_null() & pl.col("status").is_in(["ok", "warn"])
    reason = pl.concat_str("reason", "words", separator="; ", ignore_nulls=True)
    return joined.with_columns(
        reason=pl.when(is_told).then(reason).otherwise("reason"),
        reason_code=pl.when(is_told & pl.col("reason_code").is_null()).then(pl.lit(CODE)).otherwise("reason_code"),
    ).drop("words")


def _is_given_up(spec: MonitorSpec, start: datetime, now: datetime) -> bool:
    limit = spec.labels.give_up_after if spec.labels is not None else None
    return limit is not None and now.replace(tzinfo=None) >= start + spec.window + limit


def _cells(
    spec: MonitorSpec, con: duckdb.DuckDBPyConnection, keys: Sequence[str], parts: pl.DataFrame | None
) -> pl.DataFrame:
    """Rows by decision and label, `BY` and `CELLS`, where the decision of every prediction is known."""
    names = ("score_bins", "confusion", "label_counts")
    marts = {name: with_all_versions(spec, read_mart(con, name, keys)) for name in names}
    if parts is not None:
        marts = {name: as_sums(mart, parts) for name, mart in marts.items()}
    by, positive = list(BY), spec.positive_class
    predicted, actual, n = pl.col("predicted_class") == positive, pl.col("actual_class") == positive, pl.col("n")
    labelled = (
        marts["confusion"]
        .group_by(by)
        .agg(
            tp=n.filter(predicted & actual).sum(),
            fp=n.filter(predicted & ~actual).sum(),
            fn=n.filter(~predicted & actual).sum(),
            tn=n.filter(~predicted & ~actual).sum(),
        )
    )
    decided = marts["score_bins"].group_by(by).agg(all_positive=n.filter(predicted).sum(), decided=n.sum())
    made = marts["label_counts"].group_by(by).agg(made=pl.col("n_predictions").sum())
    joined = made.join(decided, on=by).filter(pl.col("decided") == pl.col("made")).join(labelled, on=by)
    counts = joined.with_columns(pl.exclude(by).cast(pl.Float64)).with_columns(
        unlabelled_positive=pl.col("all_positive") - pl.col("tp") - pl.col("fp"),
        unlabelled_negative=pl.col("made") - pl.col("all_positive") - pl.col("fn") - pl.col("tn"),
    )
    missing = pl.col("unlabelled_positive") + pl.col("unlabelled_negative")
    known = (pl.col("unlabelled_positive") >= 0) & (pl.col("unlabelled_negative") >= 0) & (missing > 0)
    return counts.filter(known).select(*by, *CELLS, missing=missing / pl.col("made"))


def _told(cells: pl.DataFrame, ending: str) -> pl.DataFrame:
    """``words`` by `BY` and ``metric``."""
    counts = [cells[name].to_numpy() for name in CELLS]
    frames = [
        pl.DataFrame(schema={**{name: cells.schema[name] for name in BY}, "metric": pl.String, "words": pl.String})
    ]
    for metric in BOUNDED:
        low, high = worst_and_best(metric, *counts)
        ends = zip(low.tolist(), high.tolist(), cells["missing"], strict=True)
        words = [_words(a, b, share) if np.isfinite(a) else None for a, b, share in ends]
        named = cells.select(*BY, metric=pl.lit(metric + ending)).with_columns(words=pl.Series(words, dtype=pl.String))
        frames.append(named)
    return pl.concat(frames)


def _words(low: float, high: float, share: float) -> str:
    ends = f"between {number(low)} and {number(high)}"
    return f"{ends} whatever the {percent(share)} of labels that never came would have said"

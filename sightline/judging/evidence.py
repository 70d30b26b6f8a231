"""Evidence for the alert engine: one statistic per stream and window.

It is named, and written once, when the window is complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.drift.daily_statistics import Stream, column_streams
from metrics_py.profile.column_profile import ColumnProfile
from sightline.judging.frames import EVIDENCE, Judged
from sightline.judging.marts import ALL_VERSIONS
from sightline.judging.stretches import Stretches
from sightline.results.evidence import EVIDENCE_SCHEMA
from sightline.results.tables import NUMBER
from sightline.results.withdrawn import WITHDRAWN, WORDS, in_scope
from sightline.spec.model import MonitorSpec
from sightline.spec.windows import closes_at, matures_at

RATES_OF_QUALITY = ("null_rate", "out_of_range_rate", "unseen_rate")
"""Statistics that belong to data quality; all others of a column are drift."""
ATOM = "atom_rate:"
"""Share of rows with one value, which follows."""


def column_evidence(
    spec: MonitorSpec, bins: pl.DataFrame, profiles: Mapping[str, ColumnProfile], asset: str, stretches: Stretches
) -> pl.DataFrame:
    """Decision statistics of every column in every window, or over stretches where a window has too few rows.

    Parameters
    ----------
    spec : MonitorSpec
        `drift.min_rows`; a column with ``drift: false`` keeps its data-quality streams only.
    bins : DataFrame
        ``window_start, column_name, bin_id, n`` of segment and version 'all'.
    profiles : mapping of column to ColumnProfile
    asset : str
        ``drift``: rates of missing, unseen and out-of-range values then go to ``data_quality``;
        else all streams are the asset's.
    stretches : Stretches
        What is judged over several windows; it stands in the last of them.

    Returns
    -------
    DataFrame
        Shape `EVIDENCE`.
    """
    frames = [pl.DataFrame(schema=EVIDENCE)]
    for name, profile in profiles.items():
        pooling = stretches.by_stretch(name)
        starts, counts = _counts(bins, profile)
        for stream in _named(spec, name, column_streams(profile, counts, min_rows=spec.drift.min_rows)):
            by_window = _stream_frame(spec, asset, name, stream, starts)
            if by_window is not None:
                is_pooled = pl.lit(pooling.holds(stream.statistic)) & (pl.col("window_start") >= pooling.since)
                frames.append(by_window.filter(~is_pooled))
        if stretches.stretch is None or name not in stretches.columns:
            continue
        ends, counts = _counts(stretches.bins, profile)
        needed, period = stretches.spec.drift.min_rows, stretches.stretch.words
        long = column_streams(stretches.long_profile(profile), counts, min_rows=needed, period=period)
        for stream in _named(spec, name, long):
            frame = _stream_frame(spec, asset, name, stream, ends)
            if frame is not None and pooling.holds(stream.statistic):
                frames.append(frame.with_columns(statistic=pl.col("statistic") + stretches.stretch.ending))
    return pl.concat(frames)


def _named(spec: MonitorSpec, column: str, streams: Iterable[Stream]) -> list[Stream]:
    """Streams of a column; of personal data a value is told by its place among those that have a stream."""
    found = list(streams)
    if not spec.columns.is_personal(column):
        return found
    of_values = [stream.statistic for stream in found if stream.statistic.startswith(ATOM)]
    names = {name: f"{ATOM}#{k}" for k, name in enumerate(of_values, start=1)}
    return [replace(stream, statistic=names.get(stream.statistic, stream.statistic)) for stream in found]


def _counts(bins: pl.DataFrame, profile: ColumnProfile) -> tuple[pl.Series, NDArray[np.int64]]:
    """Windows in which a column has rows, and its counts per bin in them."""
    rows = bins.filter(pl.col("column_name") == profile.column)
    starts = rows["window_start"].unique().sort()
    counts = np.zeros((len(starts), len(profile)), dtype=np.int64)
    at = starts.search_sorted(rows["window_start"]).to_numpy()
    np.add.at(counts, (at, rows["bin_id"].to_numpy()), rows["n"].to_numpy())
    return starts, counts


def _stream_frame(spec: MonitorSpec, asset: str, column: str, stream: Stream, starts: pl.Series) -> pl.DataFrame | None:
    """One statistic as evidence, None for those that nobody watches."""
    is_quality = stream.statistic in RATES_OF_QUALITY
    feature = spec.columns.features.get(column)
    if feature is not None and not feature.drift and not is_quality:
        return None
    if feature is not None and feature.kind == "embedding" and not is_quality:
        return None  # of its norms: `sightline.judging.multivariate` judges those
    if column in spec.columns.described and not is_quality:
        return None  # of its lengths: its descriptors are judged
    if column == "@label" and stream.statistic == "null_rate":
        return None  # a label that is there is never null: its absence is the stream labelled_rate
    return pl.DataFrame(
        {
            "asset": ["data_quality" if is_quality and asset == "drift" else asset] * len(starts),
            "column": [column] * len(starts),
            "statistic": [stream.statistic] * len(starts),
            "window_start": starts,
            "value": pl.Series(stream.value).fill_nan(None),
            "display_value": pl.Series(stream.display).fill_nan(None),
            "n": stream.n,
            "variance": pl.Series(stream.variance).fill_nan(None),
            "reason": pl.Series(stream.reason, dtype=pl.String),
            "reason_code": pl.Series([why and "too_few_rows" for why in stream.reason], dtype=pl.String),
        },
        schema=EVIDENCE,
    )


def stream_name() -> pl.Expr:
    """``<asset>/<column>/<statistic>``, without the column where there is none.

    For example `drift/carrier/log_psi`, `data_quality/n_rows`.
    """
    return pl.concat_str(
        "asset",
        pl.when(pl.col("column") == "").then(pl.lit("/")).otherwise(pl.format("/{}/", pl.col("column"))),
        "statistic",
    )


def rests_on(reference: str) -> pl.Expr:
    """The reference that evidence rests on, by its id; empty for what has no column: it is comparable under any."""
    return pl.when(pl.col("column") == "").then(pl.lit("")).otherwise(pl.lit(reference))


def publishable(
    spec: MonitorSpec,
    evidence: pl.DataFrame,
    keys: Sequence[str],
    now: datetime,
    decided_through: datetime | None,
    *,
    mature: bool,
) -> pl.DataFrame:
    """The evidence of complete windows, named and dated, ready for the results API.

    A window is complete when it has closed, for labels (`mature`) when they are due. Its evidence is decided with its
    own window, for labels with the window in which they were due; never before what the engine has published already
    (`decided_through`), so that late evidence cannot change a published decision.

    Parameters
    ----------
    spec : MonitorSpec
    evidence : DataFrame
        Shape `EVIDENCE`.
    keys : sequence of str
        Windows of the run.
    now : datetime
    decided_through : datetime or None
        Start (naive UTC) of the last window decided so far.
    mature : bool
        Wait for the labels.
    """
    due = matures_at if mature else closes_at
    complete = [key for key in keys if now >= due(spec, key)]
    windows = pl.DataFrame(
        {
            "window_key": complete,
            "window_start": [spec.window_start(key).replace(tzinfo=None) for key in complete],
            "decided_at": [
                (spec.floor(due(spec, key)) if mature else spec.window_start(key)).replace(tzinfo=None)
                for key in complete
            ],
        },
        schema={"window_key": pl.String, "window_start": pl.Datetime("us"), "decided_at": pl.Datetime("us")},
    )
    if decided_through is not None:
        windows = windows.with_columns(
            pl.max_horizontal("decided_at", pl.lit(decided_through, dtype=pl.Datetime("us")))
        )
    named = evidence.join(windows, on="window_start").with_columns(stream=stream_name())
    return named.select(name for name in EVIDENCE_SCHEMA if name in named.columns)


def withdrawals(asset: str, judged: Judged, scope: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """What has become of evidence of which nothing is left: rows without a value that say so.

    Parameters
    ----------
    asset : str
        The one that judged. Columns' rates of data quality are of ``drift``.
    judged : Judged
        What it found: a stream that is judged, but waits for labels, is not gone.
    scope : DataFrame
        Shape `sightline.results.withdrawn.SCOPE`: what it judged completely.
    known : DataFrame
        From `read_evidence`.

    Returns
    -------
    DataFrame
        Some rows of `known`; every number is null.
    """
    is_rate = (pl.col("asset") == "data_quality") & (pl.col("column") != "")
    is_own = {"drift": (pl.col("asset") == asset) | is_rate, "data_quality": (pl.col("asset") == asset) & ~is_rate}
    own = known.filter(is_own.get(asset, pl.col("asset") == asset))
    own = in_scope(own.with_columns(metric="statistic"), scope)
    found = judged.evidence.select("asset", "column", "statistic", "window_start")
    gone = own.join(found, on=found.columns, how="anti")
    told = judged.judgements.filter(pl.col("segment") == "all", pl.col("model_version") == ALL_VERSIONS)
    gone = gone.join(told.filter(pl.col("column") != ""), on=["window_start", "column"], how="anti")
    gone = gone.join(told, on=["window_start", "column", "metric"], how="anti")
    nothing = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in EVIDENCE_SCHEMA.items() if dtype == NUMBER]
    words = {"reason": pl.lit(WORDS), "reason_code": pl.lit(WITHDRAWN)}
    return gone.with_columns(*nothing, **words).select(pl.col(list(EVIDENCE_SCHEMA)).exclude("written_at", "run_id"))

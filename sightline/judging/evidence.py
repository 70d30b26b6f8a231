"""Evidence for the alert engine: one statistic per stream and window.

It is named, and written once, when the window is complete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import polars as pl

from metrics_py.drift.daily_statistics import column_streams
from metrics_py.profile.column_profile import ColumnProfile
from sightline.judging.frames import EVIDENCE
from sightline.results.evidence import EVIDENCE_SCHEMA
from sightline.spec.model import MonitorSpec
from sightline.spec.windows import closes_at, matures_at

RATES_OF_QUALITY = ("null_rate", "out_of_range_rate", "unseen_rate")
"""Statistics that belong to data quality; all others of a column are drift."""


def column_evidence(
    spec: MonitorSpec, bins: pl.DataFrame, profiles: Mapping[str, ColumnProfile], asset: str
) -> pl.DataFrame:
    """Decision statistics of every column in every window.

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

    Returns
    -------
    DataFrame
        Shape `EVIDENCE`.
    """
    frames: list[pl.DataFrame] = []
    for name, profile in profiles.items():
        rows = bins.filter(pl.col("column_name") == name)
        if rows.is_empty():
            continue
        starts = rows["window_start"].unique().sort()
        counts = np.zeros((len(starts), len(profile)), dtype=np.int64)
        np.add.at(
            counts,
            (starts.search_sorted(rows["window_start"]).to_numpy(), rows["bin_id"].to_numpy()),
            rows["n"].to_numpy(),
        )
        feature = spec.columns.features.get(name)
        for stream in column_streams(profile, counts, min_rows=spec.drift.min_rows):
            is_quality = stream.statistic in RATES_OF_QUALITY
            if feature is not None and not feature.drift and not is_quality:
                continue
            if name == "@label" and stream.statistic == "null_rate":
                continue  # a label that is there is never null: its absence is the stream labelled_rate
            frames.append(
                pl.DataFrame(
                    {
                        "asset": ["data_quality" if is_quality and asset == "drift" else asset] * len(starts),
                        "column": [name] * len(starts),
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
            )
    return pl.concat([pl.DataFrame(schema=EVIDENCE), *frames])


def stream_name() -> pl.Expr:
    """``<asset>/<column>/<statistic>``, without the column where there is none.

    For example `drift/carrier/log_psi`, `data_quality/n_rows`.
    """
    return pl.concat_str(
        "asset",
        pl.when(pl.col("column") == "").then(pl.lit("/")).otherwise(pl.format("/{}/", pl.col("column"))),
        "statistic",
    )


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

"""Incidents with a known cause, and with none: rows of days, reduced to what the product knows of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import polars as pl
from scipy.special import expit

from metrics_py.drift.daily_statistics import column_streams
from metrics_py.profile.build import build_profile, count
from sightline.alerts.causes.case import SUMS, Case, LabelledRows, Quality
from sightline.results.upstream import SCHEMA as UPSTREAM

Kind = Literal["none", "segment", "column", "missing", "feed", "upstream", "concept", "volume", "share"]

DAY = timedelta(days=1)
START = datetime(2026, 3, 1)
BEFORE, AFTER, ROWS = 28, 14, 500
REGIONS = ["north", "east", "south", "west", "centre"]
SHARES = np.array([0.3, 0.25, 0.2, 0.15, 0.1])
NUMBERS = ["a", "b", "c", "d"]
RATES = ("null_rate", "out_of_range_rate", "unseen_rate")


@dataclass(frozen=True, eq=False)
class World:
    """Rows of the days before and since, and what is true of them."""

    case: Case
    rows: pl.DataFrame


def rows_of(rng: np.random.Generator, day: int, kind: Kind) -> pl.DataFrame:
    """One day. Inputs stray between days by 0.08 sd and the truth by 0.15 on the logit scale, besides the rows."""
    is_after = day >= 0
    n = int(rng.poisson(ROWS * (0.35 if kind == "volume" and is_after else 1) * np.exp(rng.normal(0, 0.05))))
    shares = SHARES * np.exp(rng.normal(0, 0.05, 5))
    if kind == "share" and is_after:
        shares[4] *= 5
    region = rng.choice(REGIONS, n, p=shares / shares.sum())
    x = {name: rng.normal(rng.normal(0, 0.08), 1, n) for name in NUMBERS}
    truth = -1 + 0.9 * x["a"] + 0.6 * x["b"] + 0.2 * x["c"] + rng.normal(0, 0.15)
    if is_after:
        truth = truth + {"concept": 0.9}.get(kind, 0.0)
        truth = truth + (1.8 * (region == "south") if kind == "segment" else 0.0)
        if kind == "column":
            x["a"] = 1.8 * x["a"] + 1
        if kind == "upstream":
            x["b"] = x["b"] + 0.8
        for name in {"missing": ["a"], "feed": ["a", "b"]}.get(kind, []):
            x[name] = np.where(rng.random(n) < (0.4 if name == "a" else 0.42), np.nan, x[name])
    seen = {name: np.nan_to_num(values) for name, values in x.items()}
    score = expit(-1 + 0.9 * seen["a"] + 0.6 * seen["b"] + 0.2 * seen["c"])
    return pl.DataFrame(
        {
            "window_start": [START + day * DAY] * n,
            "region": region,
            **{name: pl.Series(values).fill_nan(None) for name, values in x.items()},
            "score": score,
            "is_positive": rng.random(n) < expit(truth),
            "bucket": rng.integers(0, 64, n),
        }
    )


def draw(rng: np.random.Generator, kind: Kind, member: str | None = None, *, opened: int = 3, late: int = 0) -> World:
    """An incident that began on day 0, by its cause; `late` days are the error of its change point."""
    rows = pl.concat([rows_of(rng, day, kind) for day in range(-BEFORE - 2, AFTER)])
    by_outcome = "model_quality/calibration_bias"
    stream = member or (by_outcome if kind in ("concept", "segment") else "drift/@score/location")
    began = START + late * DAY
    joined = began + opened * DAY
    quality = Quality(stream.partition("/")[2], began, joined, joined) if stream.startswith("model_quality") else None
    profiles = {
        name: build_profile(pl.concat([rows_of(rng, -90, "none")[name] for _ in range(20)]), kind_of(name), column=name)
        for name in (*NUMBERS, "region")
    }
    case = Case(
        "made",
        began,
        joined,
        DAY,
        BEFORE,
        {stream: 4000.0},
        evidence_of(rows, profiles),
        sums=sums_of(rows),
        versions=rows.group_by("window_start").agg(n=pl.len().cast(pl.Float64)).with_columns(model_version=pl.lit("1")),
        importance={"a": 0.5, "b": 0.3, "c": 0.05, "d": 0.0, "region": 0.0},
        quality=quality,
        rows=lambda began, first, last: labelled(rows, began, first, last),
    )
    if kind == "upstream":
        case = replace(case, upstream=upstream_of())
    return World(case, rows)


def kind_of(name: str) -> str:
    return "categorical" if name == "region" else "numeric"


def labelled(rows: pl.DataFrame, began: datetime, first: datetime, last: datetime) -> LabelledRows:
    named = rows.rename({name: f"f_{name}" for name in (*NUMBERS, "region")})
    before = named.filter(pl.col("window_start").is_between(began - BEFORE * DAY, began, closed="left"))
    after = named.filter(pl.col("window_start").is_between(first, last))
    return LabelledRows(*(part.drop("window_start").sample(min(len(part), 4000), seed=1) for part in (before, after)))


def evidence_of(rows: pl.DataFrame, profiles: Mapping[str, object]) -> pl.DataFrame:
    """Streams as the product makes them: of columns by their bins, of quality and volume by windows."""
    days = rows["window_start"].unique().sort()
    parts = rows.partition_by("window_start", maintain_order=True)
    frames = []
    for name, profile in profiles.items():
        counts = np.array([count(profile, part[name]) for part in parts])
        for stream in column_streams(profile, counts):
            asset = "data_quality" if stream.statistic in RATES else "drift"
            frames.append(evidence(days, asset, name, stream.statistic, stream.value, stream.display, stream.variance))
    n = np.array([len(part) for part in parts], dtype=float)
    error = np.array([(part["score"] - part["is_positive"]).mean() for part in parts])
    brier = np.array([((part["score"] - part["is_positive"]) ** 2).mean() for part in parts])
    score = np.array([part["score"].mean() for part in parts])
    frames += [
        evidence(days, "data_quality", "", "n_rows", np.log(n), n, 1 / n),
        evidence(days, "model_quality", "", "calibration_bias", error, error, np.full(len(n), np.nan)),
        evidence(days, "model_quality", "", "brier", np.log(brier), brier, np.full(len(n), np.nan)),
        evidence(days, "drift", "@score", "location", score, score, np.full(len(n), np.nan)),
    ]
    return pl.concat(frames)


def evidence(days: pl.Series, asset: str, column: str, statistic: str, value, display, variance) -> pl.DataFrame:
    name = "/".join(filter(None, (asset, column, statistic)))
    words = {"stream": name, "asset": asset, "column": column, "statistic": statistic}
    numbers = {"value": value, "display_value": display, "variance": variance}
    return pl.DataFrame(
        {
            **{key: [text] * len(days) for key, text in words.items()},
            "window_start": days,
            **{key: pl.Series(np.asarray(x, dtype=float)).fill_nan(None) for key, x in numbers.items()},
        }
    )


def sums_of(rows: pl.DataFrame) -> pl.DataFrame:
    error = pl.col("score") - pl.col("is_positive").cast(pl.Float64)
    outcomes = {"rows": pl.lit(1.0), "score": pl.col("score"), "error": error, "loss": error**2}
    both = pl.concat(
        [
            rows.with_columns(segment=pl.lit("all"), segment_column=pl.lit("")),
            rows.with_columns(segment=pl.format("region={}", "region"), segment_column=pl.lit("region")),
        ]
    )
    frames = []
    for name, expression in outcomes.items():
        by = both.group_by("segment_column", "segment", "window_start").agg(
            n=pl.len(), total=expression.sum(), squares=(expression**2).sum()
        )
        frames.append(by.with_columns(outcome=pl.lit(name)).select(pl.col(k).cast(v) for k, v in SUMS.items()))
    return pl.concat(frames).sort("outcome", "segment", "window_start")


def upstream_of() -> pl.DataFrame:
    """An asset that is made each morning, since day 0 by other code."""
    made = [
        ("warehouse/orders", "2" if day >= 0 else "1", f"v{day}", "", START + day * DAY + timedelta(hours=5), f"r{day}")
        for day in range(-BEFORE, 4)
    ]
    return pl.DataFrame(made, schema=UPSTREAM, orient="row")

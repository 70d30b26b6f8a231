"""The dashboard on many monitors: server time of each page, first and again, and memory."""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from sightline.home import Home
from sightline.results.judgements import JUDGEMENT_SCHEMA, append_judgements

MONITOR = """\
version: 1
model: {{id: {name}, task: binary_classification}}
columns: {{score: p, features: {{{features}}}}}
labels: {{column: y, expected_delay: 1d}}
reference: {{kind: window, start: {start}, end: {end}}}
"""
OF_COLUMNS = (
    "psi",
    "null_rate",
    "mean",
    "standard_deviation",
    "minimum",
    "maximum",
    "unseen_rate",
    "out_of_range_rate",
)
OF_MODELS = ("n_rows", "roc_auc", "accuracy", "log_loss", "f1", "labelled_rate")
PAGES = ("", "columns", "column?column=x7", "metric?metric=roc_auc", "segments", "labels", "health", "incidents")


def publish(home: Home, name: str, columns: int, days: int, rng: np.random.Generator) -> int:
    """A monitor with judgements of every day, appended by month; returns the rows."""
    first = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None) - timedelta(days=days)
    features = ", ".join(f"x{k}: numeric" for k in range(columns))
    text = MONITOR.format(
        name=name, features=features, start=f"{first:%Y-%m-%d}", end=f"{first + timedelta(28):%Y-%m-%d}"
    )
    (home.monitors / f"{name}.yaml").write_text(text, encoding="utf-8")
    keys = pl.DataFrame(
        [("drift" if m == "psi" else "data_quality", f"x{k}", m) for k in range(columns) for m in OF_COLUMNS]
        + [("data_quality" if m == "n_rows" else "model_quality", "", m) for m in OF_MODELS],
        schema=["asset", "column", "metric"],
        orient="row",
    )
    written = 0
    for begin in range(0, days, 30):
        starts = [first + timedelta(days=k) for k in range(begin, min(begin + 30, days))]
        rows = keys.join(pl.DataFrame({"window_start": starts}), how="cross").with_columns(
            value=pl.Series(rng.random(len(keys) * len(starts)))
        )
        for (asset,), part in rows.group_by(["asset"]):
            absent = [
                c for c in JUDGEMENT_SCHEMA if c not in part.columns and c not in ("revision", "computed_at", "run_id")
            ]
            frame = part.drop("asset").with_columns(pl.lit(None, JUDGEMENT_SCHEMA[c]).alias(c) for c in absent)
            frame = frame.with_columns(
                monitor=pl.lit(name),
                model_version=pl.lit("all"),
                segment=pl.lit("all"),
                status=pl.lit("ok"),
                n=pl.lit(1000, pl.Int64),
                window_end=pl.col("window_start") + timedelta(days=1),
                ci_low=pl.col("value") - 0.1,
                ci_high=pl.col("value") + 0.1,
            )
            written += append_judgements(home.monitor(name), str(asset), frame, f"r{begin}", datetime.now(UTC))
    return written


def main() -> None:
    """Print milliseconds of the server for each page: the first time, and the median of ten more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--monitors", type=int, default=50)
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--home", type=Path, help="Made there once, used again")
    given = parser.parse_args()
    root = given.home or Path(tempfile.mkdtemp(prefix="dashboard-"))
    home = Home(root)
    if not home.monitors.is_dir():
        home.monitors.mkdir(parents=True)
        rng = np.random.default_rng(1)
        rows = sum(publish(home, f"m{k:02d}", given.columns, given.days, rng) for k in range(given.monitors))
        print(f"{rows:,} judgements of {given.monitors} monitors in {root}")
    from starlette.requests import Request

    from sightline.dashboard.library import Library
    from sightline.dashboard.pages import overview
    from sightline.dashboard.pages.page import Page, subject_of
    from sightline.dashboard.selection import selection_of
    from sightline.dashboard.server.app import PAGES as MAKERS
    from sightline.dashboard.server.app import Settings, environment

    library = Library(home)
    templates = environment(Settings(home), library)

    def render(page: Page) -> str:
        more = {"twin": "", "may_act": True, "form_key": lambda address: address}
        return templates.get_template(page.template).render(**page.as_view(), **more)

    def of_monitor(address: str) -> Page:
        name, _, query = address.partition("?")
        request = Request({"type": "http", "query_string": query.encode(), "headers": [], "path": "/", "method": "GET"})
        subject = subject_of(library, "m00", selection_of(request.query_params))
        return MAKERS[name](subject, request)

    print(f"{'page':<24}{'first ms':>10}{'again ms':>10}{'KB':>8}")
    for address in ("overview", *PAGES):
        times: list[float] = []
        size = 0
        for _ in range(11):
            begin = time.perf_counter()
            text = render(overview.overview(library) if address == "overview" else of_monitor(address))
            times.append(1000 * (time.perf_counter() - begin))
            size = len(text)
        print(f"{address or 'monitor':<24}{times[0]:>10.0f}{statistics.median(times[1:]):>10.0f}{size / 1000:>8.0f}")
    print(f"memory at most: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()

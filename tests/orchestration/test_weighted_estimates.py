"""Estimates by weighted reference rows through the assets: inputs move to where the score is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from orchestration.backfill import materialize_range
from sightline.clock import utc_now
from sightline.home import Home
from sightline.judging import estimated_quality
from sightline.judging.frames import Work
from sightline.results.judgements import read_judgements
from sightline.spec import plan
from sightline.spec.loader import load_monitor
from sightline.spec.model import MonitorSpec
from sightline.warehouse import build_reference, connect
from sightline.warehouse.row_samples import LABELLED, labelled_rows
from tests.support.moved_inputs import draw_inputs
from tests.support.workshop import land, write

DAYS, PER_DAY, MOVED = 24, 1_500, 20
"""From this day on the first input lies one standard deviation higher; the day after has 20 rows."""
FEW = MOVED + 1
MONITOR = """\
version: 1
model: {{id: loan, task: binary_classification, owner: ml@example.com}}
columns:
  prediction_id: id
  timestamp: at
  score: p
  features: {{x0: numeric, x1: numeric, x2: numeric, place: categorical, nothing: numeric, made: datetime}}
  segments: [place]
labels: {{column: y, expected_delay: 6h, give_up_after: 10d}}
reference: {reference}
start: {first:%Y-%m-%d}
quality: {{estimation: pape, primary: precision}}
alerts: {{budget: 1 per 30d, warmup: 14}}
"""


def day_rows(rng: np.random.Generator, at: datetime, k: int) -> pl.DataFrame:
    n = 20 if k == FEW else PER_DAY
    inputs, _, outcomes = draw_inputs(rng, n, 1.0 if k >= MOVED else 0.0)
    return inputs.select("x0", "x1", "x2", p="@score").with_columns(
        id=pl.format("{}-{}", pl.lit(k), pl.int_range(n)),
        at=pl.lit(at) + pl.duration(seconds=pl.int_range(n) * 50),
        made=pl.lit(at),
        place=pl.Series(rng.choice(["north", "south"], n)),
        nothing=pl.lit(None, dtype=pl.Float64),
        y=pl.Series(outcomes.astype(int)),
    )


@pytest.fixture
def loan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The home, its rows by day, and a function that writes and loads the monitor with a reference."""
    home = Home(tmp_path / "home")
    home.monitors.mkdir(parents=True)
    for name in ("SIGHTLINE_HOME", "DAGSTER_HOME"):
        monkeypatch.setenv(name, str(home.root if name == "SIGHTLINE_HOME" else home.dagster))
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = midnight - timedelta(days=DAYS + 1)
    rng = np.random.default_rng(401)
    days = [day_rows(rng, first.replace(tzinfo=None) + timedelta(days=k), k) for k in range(DAYS)]
    land(home, "loan", "inferences", "history", pl.concat(days).drop("y"))
    land(home, "loan", "labels", "history", pl.concat(days).select("id", "y"))
    window = f"{{kind: window, start: {first:%Y-%m-%d}, end: {first + timedelta(days=16):%Y-%m-%d}}}"

    def monitor(reference: str = window) -> MonitorSpec:
        return load_monitor(write(home, "loan", MONITOR.format(first=first, reference=reference)), home=home)

    return home, days, monitor


def judged(home: Home, spec: MonitorSpec, keys: list[str]) -> pl.DataFrame:
    paths = home.monitor(spec.id)
    with connect(paths, read_only=True) as con:
        found = estimated_quality.judge(Work(spec, paths, con, keys, {}, utc_now())).judgements
    return found.sort("window_start", "segment", "metric")


def test_estimates_follow_the_inputs_to_where_the_score_is_wrong_and_are_audited(loan):
    home, days, monitor = loan
    spec = monitor()
    keys = [spec.key(spec.first_window + timedelta(days=k)) for k in range(DAYS)]
    materialize_range(home, spec, keys[0], keys[-1])
    paths = home.monitor("loan")
    found = read_judgements(paths, asset="estimated_quality").filter(model_version="all").sort("window_start")
    whole = found.filter(metric="estimated_precision", segment="all")
    start = spec.window_start(keys[MOVED]).replace(tzinfo=None)
    moved = whole.filter(pl.col("window_start") >= start, pl.col("n") > 20)
    assert set(moved["status"]) <= {"ok", "warn"} and len(moved) == DAYS - MOVED - 1
    for reason in moved["reason"]:
        assert "(PAPE): assumes P(y | inputs) as in the reference" in reason
        assert "reference rows weighted to the window's inputs, effective n = " in reason and " of 20,000" in reason
        assert "not weighted by made" in reason
    final = [d.filter(pl.col("p") >= 0.5)["y"].mean() for k, d in enumerate(days) if k >= MOVED and k != FEW]
    assert pl.Series(final).is_between(moved["ci_low"], moved["ci_high"]).sum() >= len(final) - 1
    by_score = spec.model_copy(update={"quality": spec.quality.model_copy(update={"estimation": None})})
    plain = judged(home, by_score, keys[MOVED:]).filter(metric="estimated_precision", segment="all").drop_nulls("value")
    off, off_by_score = ((told["value"] - pl.Series(final)).mean() for told in (moved, plain))
    assert abs(off) < abs(off_by_score) / 3
    still = whole.filter(pl.col("window_start") < start)
    assert still["reason"].str.contains("no movement of the window's inputs is found").mean() > 0.8

    few = found.filter(pl.col("window_start") == start + timedelta(days=1))
    assert set(few["status"]) == {"insufficient_data"} and "20 rows, 100 needed" in set(few["reason"])
    part = found.filter(pl.col("window_start") == start, metric="estimated_accuracy", segment="place=north")
    assert "weighted to the whole window's inputs" in part["reason"].item()
    audits = read_judgements(paths, "estimation_error_precision", asset="model_quality", segment="all")
    audits = audits.filter(pl.col("status") != "insufficient_data")
    assert len(audits) == DAYS - 1 and set(audits["reason_code"]) == {"audited"}, "none but the day of 20 rows"
    assert "weighted to each window's inputs (PAPE)" in plan.assets(spec)["estimated_quality"]

    kept = list(paths.reference.glob(f"{LABELLED}-*.parquet"))
    assert len(kept) == 1 and len(pl.read_parquet(kept[0])) == 20_000
    again = judged(home, spec, keys)
    kept[0].unlink()
    assert again.equals(judged(home, spec, keys)), "drawn anew it is the same sample"


def test_labels_that_change_are_drawn_anew(loan):
    home, days, monitor = loan
    spec = monitor()
    keys = [spec.key(spec.first_window + timedelta(days=k)) for k in range(2)]
    materialize_range(home, spec, keys[0], keys[-1])
    paths = home.monitor("loan")

    def positive() -> tuple[int, int]:
        with connect(paths, read_only=True) as con:
            rows = labelled_rows(con, spec, paths, keys)
        return len(rows), int(rows["is_positive"].sum())

    y = pl.concat(days[:2])["y"]
    assert positive() == (len(y), y.sum())
    land(home, "loan", "labels", "corrected", pl.concat(days[:1]).select("id", y=1 - pl.col("y")))
    materialize_range(home, spec, keys[0], keys[-1], flows=["delayed"])
    assert positive() == (len(y), int((1 - days[0]["y"]).sum() + days[1]["y"].sum()))


def test_of_a_reference_file_the_rows_are_kept_with_the_profile(loan):
    home, days, monitor = loan
    pl.concat(days[:16]).write_parquet(home.root / "reference.parquet")
    spec = monitor("{kind: file, path: reference.parquet}")
    key = spec.key(spec.first_window + timedelta(days=MOVED))
    materialize_range(home, spec, key, key)
    found = judged(home, spec, [key]).filter(metric="estimated_accuracy", segment="all")
    assert "of 20,000" in found["reason"].item() and found["value"].item() is not None

    frozen_before = spec.model_copy(update={"quality": spec.quality.model_copy(update={"estimation": None})})
    build_reference(frozen_before, home.monitor("loan"), home, force=True)
    assert set(judged(home, spec, [key])["reason"]) == {estimated_quality.FROZEN_WITHOUT_ROWS}
    days_without = pl.concat(days[:16]).drop("y")
    days_without.write_parquet(home.root / "reference.parquet")
    build_reference(spec, home.monitor("loan"), home, force=True)
    told = judged(home, spec, [key])
    assert set(told["status"]) == {"insufficient_data"} and set(told["reason_code"]) == {"no_labels"}

"""The generated monitor of the demo: what it is, and what its table says."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from io import StringIO

import polars as pl
import pytest
from rich.console import Console

from demo import deliveries, late_labels
from demo.calendar import Calendar
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.results.judgements import append_judgements
from sightline.spec.loader import load_monitor

CALENDAR = Calendar.before(date(2026, 11, 28))


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return late_labels.generate(CALENDAR)


def test_labels_take_days_or_weeks_by_what_they_say(rows):
    days = (pl.col("known_at") - pl.col("booked_at")).dt.total_seconds() / 86_400
    found = rows.with_columns(days=days)
    medians = dict(found.group_by("cancelled").agg(pl.col("days").median()).iter_rows())
    assert medians[1] < 8 and medians[0] > 18
    sure = found.filter(pl.col("p_cancelled") > 0.5, cancelled=1)["days"].median()
    unsure = found.filter(pl.col("p_cancelled") < 0.2, cancelled=1)["days"].median()
    assert sure < unsure
    rate = found.select(pl.col("cancelled").mean(), pl.col("p_cancelled").mean()).row(0)
    assert rate[0] == pytest.approx(rate[1], abs=0.01), "the score is calibrated"


def test_the_weeks_end_with_the_last_one_that_is_over(rows):
    weeks = late_labels.windows(CALENDAR)
    assert (weeks[0], weeks[-1], len(weeks)) == ("2026-01-19", "2026-11-16", late_labels.WEEKS)
    assert rows["booked_at"].max() < late_labels.now_of(CALENDAR) == datetime(2026, 11, 23)
    later = rows.filter(pl.col("booked_at") >= datetime(2026, 1, 19))
    assert later.height == late_labels.WEEKS * late_labels.PER_WEEK


def test_only_labels_that_are_known_have_landed(rows, tmp_path):
    home = Home(tmp_path)
    late_labels.write(home, CALENDAR, rows)
    spec = load_monitor(home.monitors / f"{late_labels.MONITOR_ID}.yaml", home=home)
    assert spec.labels is not None and spec.labels.expected_delay is None and spec.labels.give_up_after is None
    paths = home.monitor(late_labels.MONITOR_ID)
    labels = pl.read_parquet(sorted(paths.landing_labels.glob("*.parquet")))
    assert labels["known_at"].max() <= late_labels.now_of(CALENDAR)
    assert "cancelled" not in pl.read_parquet(sorted(paths.landing_inferences.glob("*.parquet"))).columns
    reference = pl.read_parquet(paths.root / "reference_rows.parquet")
    assert reference["booked_at"].max() < datetime(2026, 1, 19)
    (paths.root / deliveries.MARKER).unlink()
    with pytest.raises(SightlineError, match="the demo did not make"):
        late_labels.write(home, CALENDAR, rows)


def test_the_table_sets_three_values_side_by_side(rows, tmp_path):
    home = Home(tmp_path)
    late_labels.write(home, CALENDAR, rows)
    spec = load_monitor(home.monitors / f"{late_labels.MONITOR_ID}.yaml", home=home)
    week = datetime(2026, 11, 9)
    told = pl.DataFrame(
        {
            "monitor": late_labels.MONITOR_ID,
            "window_start": [week, week - timedelta(weeks=1)],
            "window_end": [week + timedelta(weeks=1), week],
            "model_version": "all",
            "segment": "all",
            "column": "",
            "metric": "roc_auc",
            "value": [0.71, 0.99],
            "ci_low": [0.6, 0.98],
            "ci_high": [0.8, 1.0],
            "n": 300,
            "status": "provisional",
            "naive_value": [0.9, 0.99],
            "maturity": [0.35, 0.6],
            **dict.fromkeys(("reference_value", "bound_low", "bound_high", "reason", "reason_code")),
        }
    )
    append_judgements(home.monitor(late_labels.MONITOR_ID), "model_quality", told, "run", datetime(2026, 11, 23))
    found = late_labels.compared(home, CALENDAR, rows)
    assert found.height == len(late_labels.METRICS) * late_labels.SHOWN_WEEKS
    shown = StringIO()
    late_labels.print_table(Console(file=shown, width=160), home, spec, found)
    text = shown.getvalue()
    assert "roc_auc: the interval holds the final value in 1 of 2 weeks with a value" in text
    line = next(line for line in text.splitlines() if "2026-11-09" in line and "roc_auc" in line)
    final = found.filter(metric="roc_auc", window_start=week)["final"][0]
    assert all(part in line for part in ("35 %", "0.900", "0.710", "0.600 to 0.800", f"{final:.3f}", "provisional"))
    assert sum("not judged" in line for line in text.splitlines()) == 2 * late_labels.SHOWN_WEEKS - 2

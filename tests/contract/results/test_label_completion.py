"""Which windows still wait for labels: kept from run to run."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from sightline.results.label_completion import provisional_windows, publish_provisional

FIRST = datetime(2026, 1, 5)


def day(k: int) -> datetime:
    return FIRST + timedelta(days=k)


def judged(**statuses: str) -> pl.DataFrame:
    rows = [{"window_start": day(int(name[1:])), "status": status} for name, status in statuses.items()]
    text = dict.fromkeys(("status", "reason_code"), pl.String)
    return pl.DataFrame(rows, schema={"window_start": pl.Datetime("us"), **text, "maturity": pl.Float64})


def test_each_run_speaks_for_its_own_windows_only(home):
    paths = home.monitor("churn")
    assert provisional_windows(paths) == set()
    publish_provisional(paths, judged(d0="ok", d1="provisional", d2="provisional"), [day(0), day(1), day(2)])
    assert provisional_windows(paths) == {day(1), day(2)}
    publish_provisional(paths, judged(d2="ok", d3="provisional"), [day(2), day(3)])
    assert provisional_windows(paths) == {day(1), day(3)}
    publish_provisional(paths, judged(), [day(1)])
    assert provisional_windows(paths) == {day(3)}, "nothing is judged of it any more"


def test_a_window_waits_whose_metrics_have_no_value_until_all_labels_are_in(home):
    paths = home.monitor("churn")
    code, share = pl.lit("not_identifiable"), pl.lit(0.8)
    without = judged(d0="insufficient_data", d1="insufficient_data", d2="ok")
    left_out = without.with_columns(reason_code=code, maturity=pl.when(pl.col("window_start") == day(0)).then(share))
    publish_provisional(paths, left_out, [day(0), day(1), day(2)])
    assert provisional_windows(paths) == {day(0)}, "an estimate that says nothing has no maturity"

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
    return pl.DataFrame(rows, schema={"window_start": pl.Datetime("us"), "status": pl.String})


def test_each_run_speaks_for_its_own_windows_only(home):
    paths = home.monitor("churn")
    assert provisional_windows(paths) == set()
    publish_provisional(paths, judged(d0="ok", d1="provisional", d2="provisional"), [day(0), day(1), day(2)])
    assert provisional_windows(paths) == {day(1), day(2)}
    publish_provisional(paths, judged(d2="ok", d3="provisional"), [day(2), day(3)])
    assert provisional_windows(paths) == {day(1), day(3)}
    publish_provisional(paths, judged(), [day(1)])
    assert provisional_windows(paths) == {day(3)}, "nothing is judged of it any more"

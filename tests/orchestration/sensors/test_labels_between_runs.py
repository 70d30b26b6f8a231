"""Labels of one day that land at any moment around a run of another day's inferences are judged by a run of theirs.

New inferences of a judged day let its labels be compared anew, so both flows have work on neighbouring days: one run
over both, or one after the other, as the sensor happens to look.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import dagster as dg
import polars as pl
import pytest

from orchestration.backfill import dagster_instance
from orchestration.definitions import build
from orchestration.partitions import windows_in
from sightline.lake.store.progress import open_progress
from tests.support.workshop import DAYS, Workshop, churn_rows, land

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
MOMENTS = ("before the look", "before the run", "after the run", "before the run of labels", "after the run of labels")
BOTH, FIRST, LAST = [DAYS - 2, DAYS - 1], [DAYS - 2], [DAYS - 1]
RUNS = {
    "before the look": [BOTH],
    "before the run": [BOTH],
    "after the run": [BOTH],
    "before the run of labels": [FIRST, LAST],
    "after the run of labels": [FIRST, LAST],
}
"""Days of the runs of the delayed flow, by when the labels landed."""


class Sensors:
    """Both sensors of the churn monitor, each tick and each run when it is called for."""

    def __init__(self, workshop: Workshop, instance: dg.DagsterInstance) -> None:
        self.built, self.instance, self.workshop = build(workshop.home), instance, workshop
        self.repository = self.built.get_repository_def()
        self.cursors: dict[str, str | None] = {}
        self.reason = ""

    def look(self, kind: str) -> list[dg.RunRequest]:
        """One tick."""
        name = f"churn__{kind}"
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursors.get(name), repository_def=self.repository, sensor_name=name
        )
        found = self.repository.get_sensor_def(name)(context)
        self.cursors[name] = found.cursor
        self.reason = found.skip_reason.skip_message if found.skip_reason else ""
        return list(found.run_requests or [])

    def run(self, requests: list[dg.RunRequest]) -> list[list[str]]:
        """Run what was asked for; the windows of each run."""
        for request in requests:
            job = self.built.resolve_job_def(request.job_name or "")
            assert job.execute_in_process(
                instance=self.instance,
                tags=dict(request.tags),
                run_config=QUIET,
                asset_selection=list(request.asset_selection) if request.asset_selection else None,
            ).success
        return [windows_in(self.workshop.churn, request.tags) for request in requests]


def follow(sensors: Sensors, moment: str, landing: Callable[[], object]) -> list[list[str]]:
    """Look and run, with labels landed at the moment; the windows of the runs of the delayed flow."""
    at = {name: landing if name == moment else lambda: None for name in MOMENTS}
    at["before the look"]()
    asked = sensors.look("inferences")
    at["before the run"]()
    sensors.run(asked)
    at["after the run"]()
    found: list[list[str]] = []
    asked = sensors.look("labels")
    at["before the run of labels"]()
    found += sensors.run(asked)
    at["after the run of labels"]()
    for _ in range(4):
        asked = sensors.look("labels")
        if not asked:
            return found
        found += sensors.run(asked)
    raise AssertionError(f"the sensor never comes to rest: {found}")


@pytest.mark.parametrize(
    "moment", [name if name == "after the run" else pytest.param(name, marks=pytest.mark.long) for name in MOMENTS]
)
def test_labels_are_judged_whenever_they_land(workshop: Workshop, moment: str) -> None:
    (workshop.home.monitors / "price.yaml").unlink()
    spec, paths = workshop.churn, workshop.home.monitor("churn")
    predictions, labels = churn_rows(spec.first_window)
    day = spec.first_window.replace(tzinfo=None) + (DAYS - 2) * timedelta(days=1)
    more = predictions.filter(pl.col("at").is_between(day, day + timedelta(days=1), closed="left"))
    mine = labels.filter(pl.col("day") == DAYS - 1).drop("day")
    with dagster_instance(workshop.home) as instance:
        sensors = Sensors(workshop, instance)
        sensors.run([*sensors.look("inferences"), *sensors.look("labels")])
        assert not sensors.look("labels") and sensors.reason == "nothing new"
        land(workshop.home, "churn", "inferences", "more", more.with_columns(id="more-" + pl.col("id")))
        runs = follow(sensors, moment, lambda: land(workshop.home, "churn", "labels", "mine", mine))
        assert sensors.reason == "nothing new"
    assert runs == [[workshop.day(number) for number in days] for days in RUNS[moment]]
    with open_progress(paths.ledger) as progress:
        landed = (
            "SELECT max(c.seq) FROM window_changes AS c JOIN batches USING (batch_id) WHERE path LIKE '%mine.parquet'"
        )
        [[position]] = progress.con.execute(landed).fetchall()
        assert progress.done("delayed")[workshop.day(DAYS - 1)].position >= position

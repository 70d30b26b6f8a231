"""New model versions in the timeline of an incident, from published judgements alone."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest

from sightline.alerts.takeovers import new_versions
from sightline.results.judgements import JUDGEMENT_SCHEMA, append_judgements
from sightline.spec.model import MonitorSpec
from tests.support.lake import make_paths

DAY, FIRST = timedelta(days=1), datetime(2026, 3, 1)
SPEC = MonitorSpec.model_validate(
    {
        "model": {"id": "m", "task": "regression"},
        "columns": {"prediction": "p", "model_version": "v", "features": {"x": "numeric"}},
        "reference": {"path": "r.parquet"},
    }
)
INCIDENT = {"change_point": FIRST + 20 * DAY, "opened_at": FIRST + 22 * DAY}


@pytest.fixture
def published(tmp_path):
    """Publish rows per day and version."""
    _, paths = make_paths(tmp_path)

    def publish(counts: dict[str, dict[int, int]]):
        rows = [
            {
                "monitor": "m",
                "model_version": version,
                "window_start": FIRST + day * DAY,
                "window_end": FIRST + (day + 1) * DAY,
                "segment": "all",
                "column": "",
                "metric": "n_rows",
                "value": float(n),
                "n": n,
                "status": "ok",
            }
            for version, own in counts.items()
            for day, n in own.items()
        ]
        lacking = set(JUDGEMENT_SCHEMA) - {*rows[0], "revision", "computed_at", "run_id"}
        frame = pl.DataFrame(rows).with_columns(pl.lit(None, JUDGEMENT_SCHEMA[name]).alias(name) for name in lacking)
        append_judgements(paths, "data_quality", frame, "run", FIRST + 30 * DAY)
        return paths

    return publish


def days(first: int, last: int, n: int = 100) -> dict[int, int]:
    return dict.fromkeys(range(first, last + 1), n)


def test_a_version_that_took_over_near_the_incident_is_told(published):
    paths = published({"4.1": days(0, 19), "4.2": days(19, 25), "all": days(0, 25, 200)})
    [entry] = new_versions(SPEC, paths, INCIDENT)
    assert entry["at"] == FIRST + 19 * DAY
    assert (entry["kind"], entry["by"]) == ("version", "sightline")
    assert entry["words"] == "version 4.2 took over from 4.1"


def test_a_canary_is_told_with_its_share(published):
    paths = published({"4.1": days(0, 25, 95), "4.2": days(20, 25, 5)})
    [entry] = new_versions(SPEC, paths, INCIDENT)
    assert entry["words"] == "version 4.2 began to answer: 5.0 % of the rows since"


def test_what_is_not_near_or_not_new_is_not_told(published):
    paths = published({"4.0": days(0, 25), "4.1": days(5, 25), "4.2": days(24, 25)})
    assert new_versions(SPEC, paths, INCIDENT) == []
    columns = SPEC.columns.model_copy(update={"model_version": None})
    assert new_versions(SPEC.model_copy(update={"columns": columns}), paths, INCIDENT) == []


def test_the_first_version_of_a_log_is_not_new(published):
    paths = published({"4.1": days(19, 25)})
    assert new_versions(SPEC, paths, INCIDENT) == []

"""Causes from real marts and rows of both monitors, published once and again when something new is known."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from metrics_py.alerting.tables import INCIDENTS_SCHEMA, MEMBERS_SCHEMA
from sightline.alerts.causes import of_incident, publish
from sightline.alerts.causes.reading import Results, with_marts
from sightline.results.marks import append_mark
from sightline.results.snapshots import read_snapshot, write_snapshot
from sightline.warehouse import connect


def open_incident(
    paths, name: str, streams: list[str], began: datetime, opened: datetime, status: str = "open"
) -> None:
    """Publish an incident as the engine does, beside those that are there."""
    row = {"incident_id": name, "opened_at": opened, "change_point": began, "streams": streams, "status": status}
    own = pl.DataFrame([row], schema_overrides=INCIDENTS_SCHEMA).with_columns(main_stream=pl.lit(streams[0]))
    rows = [
        {"incident_id": name, "stream": stream, "joined_at": opened, "change_point": began, "evidence": 5000.0}
        for stream in streams
    ]
    members = pl.DataFrame(rows, schema_overrides=MEMBERS_SCHEMA)
    for snapshot, fresh, schema in (
        ("incidents", own, INCIDENTS_SCHEMA),
        ("incident_members", members, MEMBERS_SCHEMA),
    ):
        whole = pl.concat([pl.DataFrame(schema=schema), fresh], how="diagonal")
        known = read_snapshot(paths, snapshot)
        known = whole.clear() if known is None else known.filter(pl.col("incident_id") != name)
        write_snapshot(paths, snapshot, pl.concat([known, whole], how="diagonal_relaxed"))


def moment(spec, key: str) -> datetime:
    return spec.window_start(key).replace(tzinfo=None)


def test_sums_and_rows_of_a_classifier_are_those_of_the_marts(workshop):
    spec, paths = workshop.churn, workshop.home.monitor("churn")
    began, opened = moment(spec, workshop.day(6)), moment(spec, workshop.day(8))
    open_incident(paths, "x", ["model_quality/roc_auc"], began, opened)
    members, incidents = (read_snapshot(paths, name) for name in ("incident_members", "incidents"))
    [incident] = incidents.filter(incident_id="x").to_dicts()
    with connect(paths, read_only=True) as con:
        case = with_marts(spec, con, Results(spec, paths).case(incident, members))
        rows = case.rows(began, began, opened)
    assert set(case.sums["outcome"]) >= {"rows", "score", "error", "loss"}
    days = case.sums.filter(outcome="rows", segment="all").sort("window_start")
    assert days["window_start"].to_list()[-1] == opened
    by_column = case.sums.filter(pl.col("outcome") == "rows", pl.col("segment") != "all")
    for _, part in by_column.group_by("segment_column"):
        assert part["n"].sum() <= days["n"].sum()
    assert rows is not None
    assert set(rows.before.columns) >= {"score", "bucket", "is_positive"}
    assert rows.before.columns == rows.after.columns
    assert case.importance
    assert all(0 <= share <= 1 for share in case.importance.values())


@pytest.mark.parametrize("name", ["churn", "price"])
def test_causes_are_published_once_and_again_when_something_is_known(workshop, name):
    spec, paths = getattr(workshop, name), workshop.home.monitor(name)
    key = workshop.day if name == "churn" else workshop.hour
    stream = "model_quality/roc_auc" if name == "churn" else "model_quality/mae"
    began, opened = moment(spec, key(6)), moment(spec, key(8))
    open_incident(paths, "x", [stream, "drift/@score/location"], began, opened)
    first = publish(spec, paths).filter(incident_id="x")
    assert first["rank"].to_list() == list(range(1, len(first) + 1))
    assert of_incident(spec, paths, "x")[0].words == first["words"][0]
    assert publish(spec, paths).filter(incident_id="x").equals(first)
    append_mark(paths, "deployed 4.2", at=began.replace(tzinfo=UTC), source="ci")
    again = publish(spec, paths).filter(incident_id="x")
    assert again["kind"][0] == "marker"
    assert again["words"][0] == "deployed 4.2 (ci)"


def test_an_incident_that_has_ended_is_looked_into_once(workshop):
    spec, paths = workshop.churn, workshop.home.monitor("churn")
    began, opened = moment(spec, workshop.day(6)), moment(spec, workshop.day(8))
    open_incident(paths, "x", ["data_quality/n_rows"], began, opened, status="closed")
    first = publish(spec, paths).filter(incident_id="x")
    assert len(first)
    append_mark(paths, "deployed 4.2", at=began.replace(tzinfo=UTC))
    assert publish(spec, paths).filter(incident_id="x").equals(first)


def test_without_a_warehouse_published_results_are_looked_at(workshop):
    spec, paths = workshop.churn, workshop.home.monitor("churn")
    open_incident(paths, "x", ["data_quality/n_rows"], moment(spec, workshop.day(6)), moment(spec, workshop.day(8)))
    paths.warehouse.unlink()
    [found] = of(publish(replace_importance(spec), paths))
    assert found["kind"] == "none"


def of(frame: pl.DataFrame) -> list[dict]:
    return frame.filter(incident_id="x").to_dicts()


def replace_importance(spec):
    return spec.model_copy(update={"importance": {}})


def test_the_column_that_moved_is_the_first_cause_of_its_incident(workshop):
    paths = workshop.home.monitor("churn")
    members = read_snapshot(paths, "incident_members")
    moved = members.filter(pl.col("stream").str.starts_with("drift/age/"))["incident_id"].unique().to_list()
    assert moved
    found = of_incident(workshop.churn, paths, moved[0])
    assert (found[0].kind, found[0].column) == ("column", "age")
    assert found[0].words.startswith("age: ")

"""Requests and responses that are logged apart become one inference, in whatever order and batch they come."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from sightline.home import MonitorPaths
from sightline.lake.intake.load import intake
from sightline.lake.intake.request_response import join_halves
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.parts import scan_lake
from sightline.log.events import InferenceEvent
from sightline.log.writer import SegmentWriter
from tests.support.lake import START, make_paths, make_spec

HOUR = timedelta(hours=1)


def request(name: str, minutes: int = 0) -> InferenceEvent:
    return InferenceEvent(
        id=name, at=START + timedelta(minutes=minutes), part="request", features={"x": 1.5, "c": "red"}, entity="me"
    )


def response(name: str, minutes: int = 1) -> InferenceEvent:
    return InferenceEvent(
        id=name, at=START + timedelta(minutes=minutes), part="response", version="v3", score=0.75, latency_ms=12.0
    )


def log(paths: MonitorPaths, events: list[InferenceEvent], received: datetime) -> None:
    with SegmentWriter(paths.log, "m", "inferences") as writer:
        writer.append(events, received_at=received)


def lake(paths: MonitorPaths) -> list[tuple]:
    found = scan_lake(make_spec(), paths, "inferences").collect().sort("prediction_id")
    return found.select(
        "prediction_id", "predicted_at", "model_version", "entity_id", "score", "latency_ms", "f_x", "f_c"
    ).rows()


def whole(name: str) -> tuple:
    return (name, START.replace(tzinfo=None), "v3", "me", 0.75, 12.0, 1.5, "red")


def ledger_rows(paths: MonitorPaths) -> list[tuple]:
    with open_ledger(paths.ledger) as ledger:
        return ledger.con.execute(
            "SELECT n_rows, n_accepted, n_duplicate, n_rejected, n_unmatched FROM batches ORDER BY seq"
        ).fetchall()


def test_join() -> None:
    joined = join_halves(request("a"), response("a"))
    assert joined == InferenceEvent(
        id="a", at=START, version="v3", features={"x": 1.5, "c": "red"}, score=0.75, entity="me", latency_ms=12.0
    )


def test_halves_of_one_segment(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    plain = InferenceEvent(id="z", at=START, features={"x": 2.0, "c": "green"}, score=0.5)
    log(paths, [request("a"), plain, response("b"), response("a"), request("b")], START + HOUR)
    report = intake(make_spec(), paths, "inferences", home)
    assert lake(paths)[:2] == [whole("a"), whole("b")]
    assert (report.accepted, report.unmatched, report.quarantined_by_reason) == (5, 0, {})
    assert ledger_rows(paths) == [(5, 5, 0, 0, 0)]
    assert list((paths.lake / "halves").glob("*.parquet")) == []


@pytest.mark.parametrize("first_is_request", [True, False])
def test_halves_of_different_batches(tmp_path: Path, first_is_request: bool) -> None:
    home, paths = make_paths(tmp_path)
    order = [request, response] if first_is_request else [response, request]
    log(paths, [order[0]("a"), order[0]("a"), order[0]("b")], START + HOUR)
    report = intake(make_spec(), paths, "inferences", home)
    assert (report.accepted, report.duplicates, report.unmatched, report.windows) == (0, 1, 2, {})
    assert lake(paths) == []
    log(paths, [order[1]("a")], START + 2 * HOUR)
    report = intake(make_spec(), paths, "inferences", home)
    assert report.windows == {"2026-01-05": 1}
    assert lake(paths) == [whole("a")]
    assert ledger_rows(paths) == [(3, 1, 1, 0, 1), (1, 1, 0, 0, 0)]
    log(paths, [order[1]("b")], START + 3 * HOUR)
    intake(make_spec(), paths, "inferences", home)
    assert lake(paths) == [whole("a"), whole("b")]
    assert ledger_rows(paths) == [(3, 2, 1, 0, 0), (1, 1, 0, 0, 0), (1, 1, 0, 0, 0)]


def test_a_half_that_stays_alone_is_loaded_after_a_day(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    log(paths, [request("lonely")], START + HOUR)
    log(paths, [request("a", 60), response("a", 61)], START + 20 * HOUR)
    intake(make_spec(), paths, "inferences", home)
    assert [row[0] for row in lake(paths)] == ["a"]
    log(paths, [request("young", 60 * 26)], START + 27 * HOUR)
    report = intake(make_spec(), paths, "inferences", home)
    assert report.quarantined_by_reason == {"unpaired_request": 1}
    rows = lake(paths)
    assert [row[0] for row in rows] == ["a", "lonely"]
    assert rows[1] == ("lonely", START.replace(tzinfo=None), "unversioned", "me", None, None, 1.5, "red")
    notes = pl.read_parquet(paths.quarantine / "*.parquet")
    assert notes.select("prediction_id", "severity").rows() == [("lonely", "note")]

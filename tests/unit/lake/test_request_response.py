"""Requests and responses that are logged apart become one inference, in whatever order and batch they come."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from sightline.collector.formats import cloudevents
from sightline.home import MonitorPaths
from sightline.lake.intake.load import intake
from sightline.lake.intake.request_response import join_halves
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.parts import scan_lake
from sightline.log.events import InferenceEvent
from sightline.log.writer import SegmentWriter
from sightline.spec.model import MonitorSpec
from tests.support.lake import START, ledger_adds_up, make_paths, make_spec

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


def test_a_call_of_telemetry_begins_with_its_span() -> None:
    texts, span = request("a", 5), response("a", 1)
    assert join_halves(texts, span).at == texts.at
    texts.source = span.source = "otlp"
    assert join_halves(texts, span).at == span.at
    span.at = None
    assert join_halves(texts, span).at == texts.at


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


@pytest.mark.parametrize("again", [request, response])
@pytest.mark.parametrize("together", [False, True])
def test_a_half_of_a_loaded_call_that_comes_again_is_a_repeat(
    tmp_path: Path, again: Callable[[str], InferenceEvent], together: bool
) -> None:
    home, paths = make_paths(tmp_path)
    log(paths, [request("a"), response("a")], START + HOUR)
    intake(make_spec(), paths, "inferences", home)
    log(paths, [again("a"), request("lonely")], START + 2 * HOUR)
    if not together:
        assert intake(make_spec(), paths, "inferences", home).unmatched == 2
    log(paths, [request("young", 60 * 26)], START + 27 * HOUR)
    report = intake(make_spec(), paths, "inferences", home)
    assert report.quarantined_by_reason == {"unpaired_request": 1}
    rows = lake(paths)
    assert rows[0] == whole("a")
    assert [row[0] for row in rows] == ["a", "lonely"]
    assert ledger_rows(paths)[:2] == [(2, 2, 0, 0, 0), (2, 1, 1, 0, 0)]


def test_a_half_that_comes_again_in_the_commit_of_its_call_is_a_repeat(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    log(paths, [request("a"), response("a"), request("a")], START + HOUR)
    log(paths, [request("young", 60 * 26)], START + 27 * HOUR)
    intake(make_spec(), paths, "inferences", home)
    assert lake(paths) == [whole("a")]


def events_of(body: object, spec: MonitorSpec) -> list[InferenceEvent]:
    """What the collector makes of one event of a payload logger."""
    headers = {"content-type": "application/cloudevents+json"}
    found = cloudevents.parse(headers, json.dumps(body).encode(), spec)
    assert all(isinstance(event, InferenceEvent) for event in found)
    return [event for event in found if isinstance(event, InferenceEvent)]


def logged_call(n: int, *, error: bool) -> tuple[list[InferenceEvent], list[InferenceEvent]]:
    """Halves of a call of `n` rows as KServe logs it."""
    envelope = {"specversion": "1.0", "id": "call", "source": "ks", "time": START.isoformat()}
    kind = "org.kubeflow.serving.inference."
    answer = {"error": "out of memory"} if error else {"predictions": [{"p": 0.5}] * n}
    data = {"request": {"instances": [{"x": float(i), "c": "red"} for i in range(n)]}, "response": answer}
    found = [events_of({**envelope, "type": kind + part, "data": data[part]}, make_spec()) for part in data]
    return found[0], found[1]


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("order", ["request first", "response first", "one batch", "one batch, response first"])
def test_an_error_answer_holds_for_each_row_of_its_call_once(tmp_path: Path, n: int, order: str) -> None:
    home, paths = make_paths(tmp_path)
    requests, responses = logged_call(n, error=True)
    assert (len(requests), len(responses)) == (n, 1)
    parts = [requests, responses] if "response first" not in order else [responses, requests]
    others = [request("other:0"), response("other:0"), request("call:x")]
    batches = [[*parts[0], *parts[1], *others]] if "one batch" in order else [[*parts[0], *others], parts[1]]
    for k, batch in enumerate(batches):
        log(paths, batch, START + (1 + k) * HOUR)
        intake(make_spec(), paths, "inferences", home)
    log(paths, [request("later", 60 * 26)], START + 27 * HOUR)  # what still waits is loaded alone
    intake(make_spec(), paths, "inferences", home)
    rows = scan_lake(make_spec(), paths, "inferences").collect().sort("prediction_id")
    ids = ["call"] if n == 1 else [f"call:{i}" for i in range(n)]
    failed = rows.filter("is_error")
    assert failed["prediction_id"].to_list() == ids
    assert failed["f_x"].to_list() == [float(i) for i in range(n)]
    assert failed["score"].null_count() == n
    assert rows.filter(~pl.col("is_error"))["prediction_id"].to_list() == ["call:x", "other:0"]
    ledger_adds_up(tmp_path)


def test_a_call_that_is_answered_is_none_of_an_error(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    requests, responses = logged_call(3, error=False)
    log(paths, [*requests, *responses], START + HOUR)
    report = intake(make_spec(), paths, "inferences", home)
    rows = scan_lake(make_spec(), paths, "inferences").collect()
    assert (report.accepted, rows.height, rows["is_error"].any()) == (6, 3, False)

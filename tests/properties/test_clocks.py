"""Times that cannot be right, or are written in other ways: one treatment and one counted reason on every path."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sightline_client.rows import DEFERRED, encode

from sightline.home import Home
from sightline.lake.intake.load import intake
from sightline.lake.store.parts import scan_lake
from sightline.spec.loader import find_monitor
from tests.support.collector_site import INFER, make_home, run
from tests.support.lake import ledger_adds_up

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
OFF = "timestamp_out_of_range"
PREDICTIONS: dict[str, tuple[str, str | None]] = {
    "UTC": ("2026-02-03T12:30:00Z", None),
    "without a zone": ("2026-02-03T12:30:00", None),
    "with a blank for the T": ("2026-02-03 12:30:00+00:00", None),
    "with an offset": ("2026-02-03T23:30:00-08:00", None),
    "with an offset of half an hour": ("2026-02-03T04:10:00.25+05:30", None),
    "the hour that a zone has twice, first": ("2026-10-25T02:30:00+02:00", None),
    "the hour that a zone has twice, again": ("2026-10-25T02:30:00+01:00", None),
    "the hour that a zone leaves out": ("2026-03-29T02:30:00+01:00", None),
    "some minutes in the future": ((NOW + timedelta(minutes=50)).isoformat(), None),
    "two days in the future": ((NOW + 2 * DAY).isoformat(), OFF),
    "ten years in the future": ((NOW + 3650 * DAY).isoformat(), OFF),
    "the year 2300": ("2300-01-01T00:00:00Z", OFF),
    "before the monitor begins": ("2025-12-31T23:59:59Z", OFF),
    "before the monitor begins, by its offset": ("2026-01-01T00:30:00+02:00", OFF),
    "the first moment, by its offset": ("2026-01-01T02:00:00+02:00", None),
    "the year 1970": ("1970-01-01T00:00:00Z", OFF),
    "no day of the calendar": ("2026-02-30T00:00:00Z", "bad_timestamp"),
    "no time": ("yesterday", "bad_timestamp"),
}
"""When a prediction was made -> why it is refused."""

Told = list[tuple[str, str]]
"""Identifiers and times."""
Send = Callable[[Home, Told], None]


def landing(ending: str) -> Send:
    """Send as a file of the landing folder."""

    def send(home: Home, told: Told) -> None:
        paths = home.monitor("m")
        more = {"p_late": 0.25, "distance": 7.0, "carrier": "UA"}
        rows = [{"flight": identifier, "departed_at": at, **more} for identifier, at in told]
        folder = paths.landing_inferences
        folder.mkdir(parents=True, exist_ok=True)
        file, frame = folder / f"a.{ending}", pl.DataFrame(rows)
        {"csv": frame.write_csv, "ndjson": frame.write_ndjson, "parquet": frame.write_parquet}[ending](file)
        os.utime(file, (NOW.timestamp(), NOW.timestamp()))

    return send


def collected(home: Home, told: Told) -> None:
    """Send in one request."""
    more = {"score": 0.25, "features": {"distance": 7, "carrier": "UA"}}
    post(home, [{"id": identifier, "at": at, **more} for identifier, at in told])


def logged(home: Home, told: Told) -> None:
    """Send as the client does, which is given a datetime where the text is one."""
    rows: list[dict[str, Any]] = []
    for identifier, at in told:
        given: dict[str, Any] = {"id": identifier, "at": moment(at), "score": 0.25}
        given["features"] = {"distance": 7, "carrier": "UA"}
        encoded = encode((DEFERRED, lambda given=given: [given], None))
        assert encoded is not None
        rows += [json.loads(row) for _, row in encoded]
    post(home, rows)


def moment(at: str) -> datetime | str:
    try:
        return datetime.fromisoformat(at)
    except ValueError:
        return at


def post(home: Home, rows: list[dict[str, Any]]) -> None:
    async def talk(site: Any) -> None:
        answer = await site.post(INFER, rows)
        assert answer.status_code < 500, answer.text

    run(home, talk)


PATHS: dict[str, Send] = {
    "csv": landing("csv"),
    "ndjson": landing("ndjson"),
    "parquet": landing("parquet"),
    "collector": collected,
    "client": logged,
}


def loaded(home: Home) -> dict[str, int]:
    """Counted reasons of an intake."""
    report = intake(find_monitor(home, "m"), home.monitor("m"), "inferences", home)
    assert not report.refused
    ledger_adds_up(home.root)
    return report.quarantined_by_reason


def in_utc(at: str) -> datetime:
    told = datetime.fromisoformat(at)
    return (told if told.tzinfo is None else told.astimezone(UTC)).replace(tzinfo=None)


@pytest.mark.parametrize("path", PATHS)
def test_a_prediction_is_placed_or_refused_alike(tmp_path: Path, path: str) -> None:
    home = make_home(tmp_path)
    PATHS[path](home, [(f"p-{i}", at) for i, (at, _) in enumerate(PREDICTIONS.values())])
    reasons = [reason for _, reason in PREDICTIONS.values() if reason]
    assert loaded(home) == {reason: reasons.count(reason) for reason in set(reasons)}
    lake = scan_lake(find_monitor(home, "m"), home.monitor("m"), "inferences").collect()
    found = dict(lake.select("prediction_id", "predicted_at").rows())
    assert found == {f"p-{i}": in_utc(at) for i, (at, reason) in enumerate(PREDICTIONS.values()) if not reason}
    starts = lake.select(pl.col("window_start") == pl.col("predicted_at").dt.truncate("1d")).to_series()
    assert starts.all()

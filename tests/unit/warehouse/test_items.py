"""Items of the reference: counted once, by shares and self-information; nothing where none are known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import duckdb
import polars as pl
import pytest

from sightline.spec.model import MonitorSpec
from sightline.warehouse.items import items
from sightline.warehouse.reference import ReferenceProfile

START, END = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 7, tzinfo=UTC)
SPEC = MonitorSpec.model_validate(
    {
        "model": {"id": "r", "task": "ranking"},
        "columns": {"score": "p", "query_id": "q", "features": {"movie": {"kind": "categorical", "drift": False}}},
        "quality": {"item": "movie"},
        "reference": {"start": "2026-01-05", "end": "2026-01-07"},
    }
)


def profile(**changes) -> ReferenceProfile:
    segments = pl.DataFrame(schema={"segment_column": pl.String, "value": pl.String})
    found = ReferenceProfile("id1", "window", "lake", START, END, 8, 2, 0, END, {}, segments)
    return replace(found, **changes)


@pytest.fixture
def con():
    with duckdb.connect() as con:
        con.execute("CREATE SCHEMA control")
        con.execute("CREATE SCHEMA raw")
        con.execute("CREATE TABLE raw.production (window_key VARCHAR, f_movie VARCHAR)")
        rows = [("2026-01-05", "a")] * 3 + [("2026-01-06", "b"), ("2026-01-06", None), ("2026-01-07", "late")]
        con.executemany("INSERT INTO raw.production VALUES (?, ?)", rows)
        yield con


def test_shares_and_self_information_of_the_reference_alone(con):
    found = {row["item"]: row for row in items(con, SPEC, profile()).to_dicts()}
    assert set(found) == {"a", "b", None}
    assert (found["a"]["popularity"], found["b"]["popularity"], found[None]["popularity"]) == (0.75, 0.25, 0.0)
    assert found["b"]["novelty"] == pytest.approx(1.8073549220576042)  # -log2(2 / 7)
    assert found[None]["novelty"] == pytest.approx(2.807354922057604)  # -log2(1 / 7)
    assert found[None]["bucket"] is None and 0 <= found["a"]["bucket"] < 64


def test_the_reference_is_read_once_and_again_when_it_is_another(con):
    first = items(con, SPEC, profile())
    con.execute("INSERT INTO raw.production VALUES ('2026-01-05', 'c')")
    assert items(con, SPEC, profile()).equals(first)
    assert set(items(con, SPEC, profile(id="id2"))["item"]) == {"a", "b", "c", None}


def test_nothing_to_measure_by(con):
    assert items(con, SPEC, None).is_empty()
    assert items(con, SPEC, profile(start=None, end=None, kind="file")).is_empty()
    kept = pl.DataFrame({"item": ["x"], "n": [4]})
    assert set(items(con, SPEC, profile(start=None, end=None, quality={"items": kept}))["item"]) == {"x", None}
    quality = SPEC.quality.model_copy(update={"item": None})
    assert items(con, SPEC.model_copy(update={"quality": quality}), profile()).is_empty()

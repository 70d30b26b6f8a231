"""The bucket of a row is the same whether few or many rows come at once."""

from __future__ import annotations

import hashlib

import polars as pl
import pytest

from metrics_py.intervals import N_BUCKETS
from sightline.lake.intake.dedupe import SMALL, add_buckets


@pytest.mark.parametrize("n", [10, SMALL, SMALL + 1])
def test_a_bucket_is_the_first_byte_of_the_md5_of_its_unit(n):
    ids = [f"é-{i * 7919:x}" for i in range(n)]
    entities = [None if i % 3 else f"customer {i}" for i in range(n)]
    frame = pl.DataFrame({"prediction_id": ids, "entity_id": entities}, schema_overrides={"entity_id": pl.String})
    units = [name if name is not None else own for name, own in zip(entities, ids, strict=True)]
    found = add_buckets(frame)["bucket"]
    assert found.dtype == pl.UInt8
    assert found.to_list() == [
        hashlib.md5(unit.encode(), usedforsecurity=False).digest()[0] % N_BUCKETS for unit in units
    ]


def test_rows_of_one_query_stand_in_one_bucket_unless_they_say_whom_they_are_about():
    frame = pl.DataFrame(
        {
            "prediction_id": [f"p{i}" for i in range(6)],
            "query_id": ["q1", "q1", "q1", "q2", "q2", None],
            "entity_id": [None, None, "ann", None, None, None],
        }
    )
    units = ["q1", "q1", "ann", "q2", "q2", "p5"]
    assert add_buckets(frame)["bucket"].to_list() == [
        hashlib.md5(unit.encode(), usedforsecurity=False).digest()[0] % N_BUCKETS for unit in units
    ]

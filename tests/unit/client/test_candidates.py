"""`Client.evaluation`: tables of every library become one file; what cannot be sent is told."""

from __future__ import annotations

import io
from datetime import datetime

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sightline_client import Client, SightlineClientError
from sightline_client import candidates as sent
from sightline_client.errors import Unavailable

ROWS = [
    {"id": "a", "p": 0.25, "ts": datetime(2026, 1, 1, 6), "y": 1, "c": "x"},
    {"id": "b", "p": None, "ts": datetime(2026, 1, 1, 7), "y": 0, "c": None},
]


def read(content: bytes, form: str) -> pl.DataFrame:
    frame = pl.read_parquet(io.BytesIO(content)) if form == "parquet" else pl.read_ndjson(io.BytesIO(content))
    return frame.with_columns(pl.col("ts").cast(pl.String).str.slice(0, 10))


@pytest.mark.parametrize(
    ("rows", "form"),
    [
        (ROWS, "ndjson"),
        (iter(ROWS), "ndjson"),
        (pl.DataFrame(ROWS), "parquet"),
        (pl.DataFrame(ROWS).lazy(), "parquet"),
        (pd.DataFrame(ROWS), "parquet"),
        (pa.Table.from_pylist(ROWS), "parquet"),
        (pa.RecordBatch.from_pylist(ROWS), "parquet"),
    ],
    ids=["list", "iterator", "polars", "lazy", "pandas", "arrow", "batch"],
)
def test_tables_of_every_library_say_the_same(rows, form):
    content, found = sent.to_file(rows)
    assert found == form
    frame = read(content, form)
    assert frame.select("id", "p", "y", "c", "ts").rows() == [
        ("a", 0.25, 1, "x", "2026-01-01"),
        ("b", None, 0, None, "2026-01-01"),
    ]


def test_columns_of_several_types_go_as_json_and_missing_ones_stay_missing():
    frame = pd.DataFrame(
        {"id": ["a", 2, None], "p": [0.5, float("nan"), 1.0], "y": pd.array([1, None, 0], dtype="Int64")}
    )
    content, form = sent.to_file(frame)
    assert form == "ndjson"
    assert content.splitlines() == [
        b'{"id":"a","p":0.5,"y":1}',
        b'{"id":2,"p":null,"y":null}',
        b'{"id":null,"p":1.0,"y":0}',
    ]


def test_a_file_goes_as_it_is(tmp_path):
    pl.DataFrame(ROWS).write_parquet(tmp_path / "a.parquet")
    assert sent.to_file(tmp_path / "a.parquet") == ((tmp_path / "a.parquet").read_bytes(), "parquet")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "no row"),
        (pl.DataFrame({"a": []}), "no row"),
        (pd.DataFrame({"a": []}), "no row"),
        ([1, 2], "row 0 of the evaluation set is no mapping"),
        (7, "a table or a list of mappings"),
        (pd.Series([1]), "not a Series"),
        ("nothing.parquet", "cannot be read"),
        ("set.csv", "Parquet or NDJSON"),
    ],
)
def test_what_is_no_evaluation_set_is_told_and_nothing_lands(rows, said, tmp_path):
    with Client("m", path=tmp_path) as client, pytest.raises(SightlineClientError, match=said):
        client.evaluation("v2", rows)
    assert not (tmp_path / "data").exists()


def test_too_large_a_set_is_refused_before_it_is_sent(monkeypatch):
    monkeypatch.setattr(sent, "MAX_BYTES", 20)
    with (
        Client("m", url="http://127.0.0.1:9", spool=False) as client,
        pytest.raises(SightlineClientError, match="at most 20"),
    ):
        client.evaluation("v2", ROWS)


def test_an_unreachable_collector_is_told_after_the_patience():
    with Client("m", url="http://127.0.0.1:9", spool=False, timeout=1) as client, pytest.raises(Unavailable):
        client.evaluation("v2", ROWS, patience=0.2)


def test_a_version_without_a_text_is_refused(tmp_path):
    with Client("m", path=tmp_path) as client, pytest.raises(SightlineClientError, match="a version is text, not 7"):
        client.evaluation(7, ROWS)  # pyright: ignore[reportArgumentType]

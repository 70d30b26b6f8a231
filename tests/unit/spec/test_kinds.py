"""Every column type has a defined treatment."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sightline.errors import SightlineError
from sightline.spec.kinds import infer_kind, parse_times, read_sample

DAY = dt.datetime(2026, 1, 31, 6)
LONG = [f"a sentence of more than forty characters, number {i}" for i in range(4)]

PARQUET_TYPES = {
    "int8": (pa.array([1, None, 3, 4], pa.int8()), "numeric"),
    "int64": (pa.array([1, 2, 3, 4], pa.int64()), "numeric"),
    "uint8": (pa.array([1, 2, None, 4], pa.uint8()), "numeric"),
    "uint64": (pa.array([2**63, 2, 3, 4], pa.uint64()), "numeric"),
    "float32": (pa.array([1.5, None, 3, 4], pa.float32()), "numeric"),
    "float64": (pa.array([1.5, 2, 3, 4], pa.float64()), "numeric"),
    "decimal": (pa.array([Decimal("1.50"), None, Decimal("3.00"), Decimal("4.25")], pa.decimal128(10, 2)), "numeric"),
    "bool": (pa.array([True, None, False, True], pa.bool_()), "boolean"),
    "string": (pa.array(["a", None, "b", "a"], pa.string()), "categorical"),
    "large_string": (pa.array(["a", None, "b", "a"], pa.large_string()), "categorical"),
    "dictionary": (pa.array(["a", None, "b", "a"]).dictionary_encode(), "categorical"),
    "number_text": (pa.array(["1.5", "2", None, "3"]), "categorical"),
    "long_text": (pa.array(LONG), "text"),
    "repeated_long_text": (pa.array([LONG[0]] * 4), "categorical"),
    "iso_text": (pa.array(["2026-01-31T06:00:00Z"] * 4), "datetime"),
    "date": (pa.array([DAY.date()] * 4, pa.date32()), "datetime"),
    "timestamp": (pa.array([DAY] * 4, pa.timestamp("ms")), "datetime"),
    "timestamp_tz": (pa.array([DAY] * 4, pa.timestamp("ns", "Europe/Vienna")), "datetime"),
    "list_float": (pa.array([[1.0, 2.0]] * 4), "embedding"),
    "list_int": (pa.array([[1, 2]] * 4), "embedding"),
    "fixed_list": (pa.array([[1.0, 2.0]] * 4, pa.list_(pa.float32(), 2)), "embedding"),
    "list_text": (pa.array([["a"]] * 4), None),
    "time": (pa.array([dt.time(1)] * 4, pa.time64("us")), None),
    "duration": (pa.array([dt.timedelta(1)] * 4), None),
    "struct": (pa.array([{"a": 1}] * 4), None),
    "binary": (pa.array([b"a"] * 4), None),
    "null": (pa.array([None] * 4, pa.null()), None),
    "all_null_float": (pa.array([None] * 4, pa.float64()), None),
}


@pytest.mark.parametrize("name", PARQUET_TYPES)
def test_every_parquet_type(tmp_path, name):
    array, kind = PARQUET_TYPES[name]
    pq.write_table(pa.table({name: array}), tmp_path / "x.parquet")
    inferred = infer_kind(read_sample(tmp_path / "x.parquet")[name])
    assert inferred.kind == kind
    assert inferred.reason


def test_integers_with_few_values_stay_numeric_and_it_is_said():
    inferred = infer_kind(pl.Series([1, 2, 3] * 50))
    assert inferred.kind == "numeric"
    assert "only 3 values; if these are codes, write categorical" in inferred.reason
    assert "codes" not in infer_kind(pl.Series(range(100))).reason


def test_times_with_and_without_zone_become_utc():
    zoned = pl.Series([DAY]).dt.replace_time_zone("Europe/Vienna")
    assert parse_times(zoned).to_list() == [DAY - dt.timedelta(hours=1)]
    assert parse_times(pl.Series(["2026-01-31T06:00:00+01:00"])).to_list() == [DAY - dt.timedelta(hours=1)]
    assert parse_times(pl.Series(["2026-01-31 06:00:00"])).to_list() == [DAY]
    assert parse_times(pl.Series([DAY.date()])).to_list() == [dt.datetime(2026, 1, 31)]
    for no_times in (["2026-01-31", "tomorrow"], ["a"], [], [None]):
        assert parse_times(pl.Series(no_times, dtype=pl.String)) is None
    assert parse_times(pl.Series([20260131])) is None


@pytest.mark.parametrize("form", ["parquet", "csv", "ndjson", "jsonl"])
def test_sample_formats(tmp_path, form):
    frame = pl.DataFrame({"a b": [1, 2], "t": [DAY, DAY]})
    path = tmp_path / f"x.{form}"
    {"parquet": frame.write_parquet, "csv": frame.write_csv}.get(form, frame.write_ndjson)(path)
    sample = read_sample(path)
    assert sample.columns == ["a b", "t"]
    assert infer_kind(sample["t"]).kind == "datetime"


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("x.xlsx", b"", "no known file format"),
        ("x", b"", "no known file format"),
        ("x.parquet", b"nonsense", "cannot be read as Parquet"),
        ("x.csv", b"", "cannot be read as CSV"),
        ("x.csv", b"a,b\n", "the file has no rows"),
        ("x.ndjson", b'{"a": ', "cannot be read as NDJSON"),
    ],
)
def test_files_that_are_no_sample(tmp_path, name, content, what):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SightlineError, match=what) as caught:
        read_sample(tmp_path / name)
    assert caught.value.where == str(tmp_path / name)


def test_missing_sample(tmp_path):
    with pytest.raises(SightlineError, match="No such file"):
        read_sample(tmp_path / "x.parquet")

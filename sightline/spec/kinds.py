"""The feature kind of a column, told from a sample: inferred once, then frozen beside the reference.

Every Polars type (and so every Parquet type) has a defined treatment:

=====================================================  =====================================================
signed, unsigned, nullable integers, floats, decimals  numeric (integers with few values stay numeric: codes
                                                       must be declared categorical)
boolean                                                boolean
string, large string, dictionary, enum                 datetime if every value is an ISO 8601 time; text if long
                                                       and mostly distinct; else categorical
date, timestamp with or without zone                   datetime
list or fixed-size list of numbers                     embedding
time of day, duration, struct, map, binary, null       none: left out, with the reason
=====================================================  =====================================================
"""

from __future__ import annotations

import glob
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import polars as pl

from metrics_py.comparison.tables import read_table
from metrics_py.comparison.text_files import FORMATS, format_of
from metrics_py.profile.texts import guess_kind, times_in
from metrics_py.profile.values import column_of
from sightline.durable import replace_file
from sightline.errors import SightlineError, nearest
from sightline.home import Home
from sightline.narrowing import is_object
from sightline.spec.field_types import FeatureKind

SAMPLE_ROWS = 100_000
NAMES = {"parquet": "Parquet", "csv": "CSV", "ndjson": "NDJSON"}

PolarsType = pl.DataType | type[pl.DataType]
TEXT_TYPES: tuple[PolarsType, ...] = (pl.String, pl.Categorical, pl.Enum)
TIME_TYPES: tuple[PolarsType, ...] = (pl.Date, pl.Datetime)

TEXT_MIN_MEAN_LENGTH = 40
"""Strings at least this long on average (characters) and mostly distinct are text."""

TEXT_MIN_DISTINCT_SHARE = 0.5

FEW_VALUES = 20
"""Integers with at most so many values may be codes: said, never assumed."""


@dataclass(frozen=True)
class Inferred:
    """What a column is taken for; `kind` is None where Sightline cannot judge the column."""

    kind: FeatureKind | None
    reason: str


def read_sample(path: Path, rows: int = SAMPLE_ROWS) -> pl.DataFrame:
    """First rows of Parquet, CSV (with header) or NDJSON: one file, or a folder of them.

    Raises
    ------
    SightlineError
        If the file is missing, of an unknown format, unreadable or empty.
    """
    if not path.exists():
        fix = "give the path of a Parquet, CSV or NDJSON file that exists, or of a folder of them"
        raise SightlineError("No such file", where=str(path.absolute()), fix=fix)
    if not path.is_dir() and format_of(path.name) is None:
        raise SightlineError(
            f"{path.suffix or 'no suffix'} is no known file format",
            where=str(path),
            fix=f"use one of {', '.join(sorted(FORMATS))}",
        )
    try:
        frame = read_table(path, "sample", rows=rows).frame
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        name = NAMES.get(format_of(path.name) or "", "Parquet, CSV or NDJSON")
        reason = str(error).removeprefix("sample: ").removeprefix(f"{path} cannot be read: ").removeprefix(f"{path}: ")
        raise SightlineError(f"cannot be read as {name}: {reason}", where=str(path)) from error
    if frame.height == 0 or frame.width == 0:
        raise SightlineError("the file has no rows", where=str(path), fix="give a sample with some hundred rows")
    return frame


def infer_kind(column: pl.Series) -> Inferred:
    """The kind of one column of a sample."""
    dtype = column.dtype
    if dtype == pl.Null or column.null_count() == len(column):
        result = Inferred(None, "no value in the sample")
    elif dtype == pl.Boolean:
        result = Inferred("boolean", "boolean column")
    elif dtype.is_numeric():
        n_distinct = column.n_unique()
        codes = f"numbers with only {n_distinct} values; if these are codes, write categorical"
        result = Inferred("numeric", codes if dtype.is_integer() and n_distinct <= FEW_VALUES else "numbers")
    elif dtype in TIME_TYPES:
        result = Inferred("datetime", "timestamps")
    elif dtype in TEXT_TYPES:
        result = _infer_string(column.cast(pl.String))
    elif isinstance(dtype, (pl.List, pl.Array)) and pl.Series(dtype=dtype.inner).dtype.is_numeric():
        result = Inferred("embedding", "lists of numbers")
    else:
        result = Inferred(None, f"a column of type {dtype} cannot be judged")
    return result


def _infer_string(column: pl.Series) -> Inferred:
    values = column.drop_nulls()
    if parse_times(values) is not None:
        return Inferred("datetime", "text that holds ISO 8601 times")
    mean_length = float(cast("float | None", values.str.len_chars().mean()) or 0)
    share = values.n_unique() / len(values)
    if mean_length >= TEXT_MIN_MEAN_LENGTH and share >= TEXT_MIN_DISTINCT_SHARE:
        return Inferred("text", f"text, {mean_length:.0f} characters on average")
    guess = guess_kind(values)
    told = "numbers written as text: to judge them as numbers, log numbers" if guess.kind == "numeric" else guess.note
    told = told.replace(": read as categories", "")
    return Inferred("categorical", f"{values.n_unique()} values{'; ' if told else ''}{told}")


def parse_times(values: pl.Series) -> pl.Series | None:
    """The column as UTC times if it holds times, or text that is an ISO 8601 time in every row; else None."""
    if values.dtype == pl.Date:
        return values.cast(pl.Datetime("us"))
    if isinstance(values.dtype, pl.Datetime):
        return values.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if values.dtype.time_zone else values
    held = values.drop_nulls()
    if values.dtype != pl.String or not len(held) or not held.head(1_000).str.contains(r"^\d{4}-\d{2}-\d{2}").all():
        return None
    times = times_in(values)
    return times if times.null_count() == values.null_count() else None


def resolve(
    raw: dict[str, Any], names: list[str], home: Home, monitor_id: str, *, freeze: bool
) -> dict[str, FeatureKind]:
    """Kinds of features declared without one: frozen, else from the reference file, the source or the landing folder.

    Raises
    ------
    SightlineError
        If there is no data yet, a column is missing, or holds nothing from which a kind can be told.
    """
    store = home.monitor(monitor_id).reference / "feature_kinds.json"
    known: dict[str, FeatureKind] = json.loads(store.read_text()) if store.exists() else {}
    missing = [name for name in names if name not in known]
    if missing:
        found = _infer_missing(raw, missing, home, monitor_id)
        known = {**known, **found}
        if freeze:
            replace_file(store, json.dumps(known, indent=1, sort_keys=True, ensure_ascii=False))
    return {name: known[name] for name in names}


def _infer_missing(raw: dict[str, Any], names: list[str], home: Home, monitor_id: str) -> dict[str, FeatureKind]:
    sample, origin = _find_sample(raw, home, monitor_id)
    if sample is None:
        fix = "write `name: kind` for each feature, or give a reference file, or land a first file of inferences"
        told = ", ".join(map(repr, names))
        raise SightlineError(f"the kind of {told} is not given, and there is no data to infer it from", fix=fix)
    found: dict[str, FeatureKind] = {}
    for name in names:
        if name not in sample.columns:
            raise SightlineError(f"the feature {name!r} is no column of {origin}", fix=nearest(name, sample.columns))
        inferred = infer_kind(column_of(sample, name))
        if inferred.kind is None:
            fix = f"write `{name}: <kind>`, or leave the feature out"
            what = f"the kind of the feature {name!r} cannot be told from {origin}: {inferred.reason}"
            raise SightlineError(what, fix=fix)
        found[name] = inferred.kind
    return found


def _find_sample(raw: dict[str, Any], home: Home, monitor_id: str) -> tuple[pl.DataFrame | None, str]:
    reference, sources = raw.get("reference"), raw.get("sources")
    if is_object(reference) and reference.get("kind") == "file" and isinstance(reference.get("path"), str):
        path = home.root / reference["path"]
        return read_sample(path), str(path)
    source = sources.get("inferences") if is_object(sources) else None
    if is_object(source) and isinstance(source.get("parquet"), str):
        files = sorted(glob.glob(str(home.root / source["parquet"]), recursive=True))  # noqa: PTH207 (may be absolute)
        if files:
            return read_sample(Path(files[0])), files[0]
    if is_object(source) and isinstance(source.get("duckdb"), str) and isinstance(source.get("table"), str):
        path = home.root / source["duckdb"]
        return _read_table(path, source["table"]), f"{path} ({source['table']})"
    landing = home.monitor(monitor_id).landing_inferences
    files = sorted(p for p in landing.rglob("*") if format_of(p.name) and p.is_file()) if landing.is_dir() else []
    return (read_sample(files[0]), str(files[0])) if files else (None, "")


def _read_table(path: Path, table: str) -> pl.DataFrame:
    import duckdb

    if not path.exists():
        raise SightlineError("the DuckDB file does not exist", where=str(path), fix="correct sources.inferences.duckdb")
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            return connection.table(table).limit(SAMPLE_ROWS).pl()
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise SightlineError(f"cannot read the table {table!r}: {reason}", where=str(path)) from error

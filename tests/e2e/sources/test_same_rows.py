"""One table, however it comes, gives the same rows of the lake and the same marts, to the last value."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import write_deltalake
from polars.testing import assert_frame_equal, assert_series_equal
from psycopg2.extensions import AsIs, register_adapter
from pyiceberg.catalog import load_catalog

from sightline.home import Home
from sightline.lake.intake.load import intake
from sightline.lake.store.parts import scan_lake
from sightline.spec.columns import Columns, Feature
from sightline.spec.data_sections import Source, Sources
from sightline.spec.model import MonitorSpec
from sightline.warehouse import build_reference
from tests.dbt.support import Bench
from tests.support.kafka import Broker
from tests.support.lake import START, make_spec, quarantine
from tests.support.object_store import Store
from tests.support.postgres import PASSWORD, Server
from tests.support.sources import fetch_all

pytestmark = pytest.mark.long

FEATURES = {
    "größe (cm)": "numeric",
    "select": "numeric",
    'a "quoted" one': "categorical",
    "^x.*$": "numeric",
    "big": "numeric",
    "big_class": "categorical",
    "price": "numeric",
    "price_class": "categorical",
    "any number": "numeric",
    "is_new": "boolean",
    "seen_at": "datetime",
    "local_at": "datetime",
    "born_on": "datetime",
    "note": "text",
    "vector": "embedding",
    "%s": "numeric",
}
TEXTS = [
    "plain",
    "",
    " blanks ",
    "quotes \"'",
    "null",
    "NaN",
    "日本 🙂 \u200b",
    "a\tb\nc\\n",
    "x;y,z",
    "É́",
    "-1e5",
    None,
]
TYPES = {
    pl.String: "text",
    pl.Float64: "double precision",
    pl.Float32: "real",
    pl.Int64: "bigint",
    pl.Int32: "integer",
    pl.Boolean: "boolean",
    pl.Date: "date",
}


def table() -> pl.DataFrame:
    """Three days of rows, awkward in every way."""
    n = 240
    numbers = [1.5, -0.0, 0.1, 1e-300, 123456.789, float("nan"), math.inf, -math.inf, None]
    big = [2**53 + 1, -(2**62), 0, 7, None]
    prices = [Decimal("1.500"), Decimal("-0.001"), Decimal("123456789.125"), None]
    any_number = [Decimal("0.1"), Decimal("1E+3"), Decimal("98765432109876543210.5"), None]
    moments = [START + timedelta(minutes=17 * i, microseconds=i) for i in range(n)]
    return pl.DataFrame(
        {
            "id": [f"id-{i}" for i in range(n)],
            "ts": pl.Series(moments, dtype=pl.Datetime("us", "UTC")),
            "p": [(i % 97) / 97 for i in range(n)],
            "version": ["v1" if i % 3 else "v2" for i in range(n)],
            "größe (cm)": [numbers[i % len(numbers)] for i in range(n)],
            "select": pl.Series([numbers[i % 3] for i in range(n)], dtype=pl.Float32),
            'a "quoted" one': [TEXTS[i % len(TEXTS)] for i in range(n)],
            "^x.*$": pl.Series([i if i % 5 else None for i in range(n)], dtype=pl.Int32),
            "big": pl.Series([big[i % len(big)] for i in range(n)], dtype=pl.Int64),
            "big_class": pl.Series([big[i % len(big)] for i in range(n)], dtype=pl.Int64),
            "price": pl.Series([prices[i % 4] for i in range(n)], dtype=pl.Decimal(12, 3)),
            "price_class": pl.Series([prices[i % 4] for i in range(n)], dtype=pl.Decimal(12, 3)),
            "any number": pl.Series([any_number[i % 4] for i in range(n)], dtype=pl.Decimal(38, 4)),
            "is_new": [(True, False, None)[i % 3] for i in range(n)],
            "seen_at": pl.Series([m if i % 4 else None for i, m in enumerate(moments)], dtype=pl.Datetime("us", "UTC")),
            "local_at": pl.Series([m.replace(tzinfo=None) for m in moments], dtype=pl.Datetime("us")),
            "born_on": [date(1970, 1, 1) + timedelta(days=97 * i) if i % 4 else None for i in range(n)],
            "note": [TEXTS[(i * 5) % len(TEXTS)] for i in range(n)],
            "vector": [[0.1 * i, -1.5, 1e-5] if i % 4 else None for i in range(n)],
            "%s": [float(i) for i in range(n)],
        }
    )


def spec_with(**source: Any) -> MonitorSpec:
    return make_spec(
        columns=Columns(
            prediction_id="id",
            timestamp="ts",
            score="p",
            model_version="version",
            features={name: Feature(kind=kind) for name, kind in FEATURES.items()},
            segments=('a "quoted" one',),
        ),
        labels=None,
        sources=Sources(inferences=Source.model_validate(source)) if source else Sources(),
    )


def _float(value: float) -> AsIs:
    return AsIs(
        f"'{value!r}'::float8" if math.isfinite(value) else f"'{str(value).replace('inf', 'Infinity')}'::float8"
    )


def to_postgres(frame: pl.DataFrame, home: Home, server: Server) -> dict[str, Any]:
    register_adapter(float, _float)
    types = {
        name: TYPES.get(type(dtype) if not isinstance(dtype, type) else dtype) for name, dtype in frame.schema.items()
    }
    types |= {"ts": "timestamptz", "seen_at": "timestamptz", "local_at": "timestamp", "vector": "double precision[]"}
    types |= {"price": "numeric(12, 3)", "price_class": "numeric(12, 3)", "any number": "numeric"}
    quoted = {name: '"' + name.replace('"', '""') + '"' for name in frame.columns}
    columns = ", ".join(f"{quoted[name]} {types[name]}" for name in frame.columns)
    name = "same_rows"
    connection = server.connect()
    with connection, connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {name}")
        cursor.execute(f"CREATE TABLE {name} ({columns}, n bigserial)")
        for row in frame.rows():
            places = ", ".join(["%s"] * len(row))
            cursor.execute(f"INSERT INTO {name} VALUES ({places})", row)
        cursor.execute(f"GRANT SELECT ON {name} TO reader")
    connection.close()
    given = {"host": "127.0.0.1", "port": server.port, "database": "postgres", "user": "reader"}
    return {"postgres": {**given, "password_env": "PG_SECRET", "table": name, "cursor": "n"}}


def to_store(frame: pl.DataFrame, home: Home, store: Store) -> dict[str, Any]:
    held = io.BytesIO()
    frame.write_parquet(held)
    store.client().create_bucket(Bucket="same-rows")
    store.client().put_object(Bucket="same-rows", Key="a.parquet", Body=held.getvalue())
    return {"s3": {"uri": "s3://same-rows/", **store.section}}


def to_delta(frame: pl.DataFrame, home: Home, _: object) -> dict[str, Any]:
    write_deltalake(home.root / "delta", frame.head(100))
    write_deltalake(home.root / "delta", frame.slice(100), mode="append")
    return {"delta": {"uri": "delta"}}


def to_iceberg(frame: pl.DataFrame, home: Home, _: object) -> dict[str, Any]:
    catalogue = load_catalog("c", type="sql", uri=f"sqlite:///{home.root}/c.db", warehouse=f"file://{home.root}/w")
    catalogue.create_namespace("ml")
    made = catalogue.create_table("ml.p", schema=frame.to_arrow().schema)
    made.append(frame.head(100).to_arrow())
    made.append(frame.slice(100).to_arrow())
    properties = {"type": "sql", "uri": "sqlite:///c.db", "warehouse": "w"}
    return {"iceberg": {"catalog": "c", "table": "ml.p", "properties": properties}}


def to_kafka(frame: pl.DataFrame, home: Home, broker: Broker) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            return str(value).replace("inf", "Infinity").replace("nan", "NaN")
        if isinstance(value, datetime | date):
            return value.isoformat()
        return float(value) if isinstance(value, Decimal) else value

    lines = [json.dumps({name: plain(value) for name, value in row.items()}).encode() for row in frame.to_dicts()]
    broker.send("same-rows", *[(0, None, line) for line in lines])
    return {"kafka": {"brokers": broker.address, "topic": "same-rows"}}


WAYS: dict[str, tuple[Callable[..., dict[str, Any]], str]] = {
    "postgres": (to_postgres, "postgres_server"),
    "s3": (to_store, "store"),
    "delta": (to_delta, ""),
    "iceberg": (to_iceberg, ""),
    "kafka": (to_kafka, "broker"),
}
PROVENANCE = ("batch_id", "received_at", "row_number")


def rows_of(spec: MonitorSpec, home: Home) -> pl.DataFrame:
    return (
        scan_lake(spec, home.monitor("m"), "inferences").collect().drop(PROVENANCE, strict=False).sort("prediction_id")
    )


def reasons(home: Home) -> dict[tuple[str, str | None], int]:
    found = quarantine(home.root).filter(pl.col("reason") != "unknown_column")
    return {(reason, column): n for reason, column, n in found.group_by("reason", "column").len().rows()}


def marts_of(spec: MonitorSpec, home: Home) -> dict[str, pl.DataFrame]:
    bench = Bench(spec, home, table().with_columns(pl.col("ts").dt.replace_time_zone(None)), pl.DataFrame())
    build_reference(spec, bench.paths, home)
    bench.control()
    bench.build()
    return bench.all_marts()


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.DataFrame, dict[Any, int], dict[str, pl.DataFrame]]:
    """What a landing file gives."""
    home = Home(tmp_path_factory.mktemp("landed"))
    spec, paths = spec_with(), home.monitor("m")
    paths.landing_inferences.mkdir(parents=True)
    table().write_parquet(paths.landing_inferences / "a.parquet")
    assert intake(spec, paths, "inferences", home).accepted == 240
    return rows_of(spec, home), reasons(home), marts_of(spec, home)


@pytest.mark.parametrize("way", WAYS)
def test_rows_and_marts_are_those_of_a_landing_file(
    way: str,
    landed: tuple[pl.DataFrame, dict[Any, int], dict[str, pl.DataFrame]],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PG_SECRET", PASSWORD)
    make, fixture = WAYS[way]
    home = Home(tmp_path)
    spec = spec_with(**make(table(), home, request.getfixturevalue(fixture) if fixture else None))
    fetch_all(spec, home)
    report = intake(spec, home.monitor("m"), "inferences", home)
    assert (report.accepted, report.refused) == (240, [])
    rows, known, marts = landed
    found = rows_of(spec, home)
    for name in rows.columns:
        assert_series_equal(found[name], rows[name], check_exact=True)
    assert reasons(home) == known
    ours = marts_of(spec, home)
    assert ours.keys() == marts.keys()
    for name, mart in marts.items():
        hidden = [column for column in mart.columns if "received" in column]
        assert_frame_equal(  # sums of floats depend on the order of rows, which a table need not keep
            ours[name].drop(hidden), mart.drop(hidden), rel_tol=1e-12, abs_tol=1e-12, check_row_order=False
        )


def test_the_table_is_as_awkward_as_it_says(
    landed: tuple[pl.DataFrame, dict[Any, int], dict[str, pl.DataFrame]],
) -> None:
    rows, known, marts = landed
    assert len(rows) == 240
    assert known
    assert sum(map(len, marts.values())) > 100
    assert rows["window_start"].n_unique() == 3
    assert START.tzinfo is UTC

"""The examples of docs/sources.md against real servers: only names of hosts, ports and users are other ones."""

from __future__ import annotations

import io
import re
from pathlib import Path
from urllib.parse import quote

import polars as pl
import psycopg2
import pytest
import yaml
from deltalake import write_deltalake
from pyiceberg.catalog import load_catalog

from sightline.home import Home
from sightline.lake.intake.load import intake
from sightline.spec.data_sections import Sources
from sightline.spec.model import MonitorSpec
from tests.support.kafka import Broker
from tests.support.lake import make_spec, rows
from tests.support.object_store import Store
from tests.support.postgres import PASSWORD, Server
from tests.support.sources import fetch_all, home_of

pytestmark = pytest.mark.e2e

PAGE = (Path(__file__).parents[3] / "docs" / "sources.md").read_text(encoding="utf-8")
ROWS = rows(30).unique("id", keep="first", maintain_order=True)
LABELS = ROWS.select("id", y=pl.int_range(pl.len()) % 2)


def example(heading: str, **other: str) -> MonitorSpec:
    """The monitor of the lake tests with the sources of an example."""
    text = re.split(rf"^## {heading}.*$", PAGE, maxsplit=1, flags=re.MULTILINE)[1]
    found = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0]
    for name, value in other.items():
        found = found.replace(name.replace("__", "."), value)
    return make_spec(sources=Sources.model_validate(yaml.safe_load(found)["sources"]))


def both(spec: MonitorSpec, home: Home, sides: tuple[str, ...] = ("inferences", "labels")) -> dict[str, int]:
    """Rows accepted of each side."""
    found: dict[str, int] = {}
    for side in sides:
        fetch_all(spec, home, side)
        found[side] = intake(spec, home.monitor("m"), side, home).accepted
    return found


ALL = {"inferences": len(ROWS), "labels": len(LABELS)}


def test_postgres(postgres_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, _ = home_of(tmp_path)
    monkeypatch.setenv("ML_DB_PASSWORD", PASSWORD)
    url = f"postgresql://reader:{quote(PASSWORD, safe='')}@127.0.0.1:{postgres_server.port}/postgres"
    monkeypatch.setenv("ML_DB_URL", url)
    postgres_server.execute(
        "CREATE TABLE predictions (id text, ts timestamp, p float8, version text, x float8, c text, "
        "created_at timestamptz DEFAULT now())",
        "CREATE TABLE outcomes (key text, y int, id bigserial)",
        "GRANT SELECT ON predictions, outcomes TO reader",
        "ALTER TABLE outcomes RENAME COLUMN id TO n",
        "ALTER TABLE outcomes RENAME COLUMN key TO id",
    )
    connection: psycopg2.extensions.connection = postgres_server.connect()
    with connection, connection.cursor() as cursor:
        for row in ROWS.rows():
            cursor.execute("INSERT INTO predictions VALUES (%s, %s, %s, %s, %s, %s)", row)
        for row in LABELS.rows():
            cursor.execute("INSERT INTO outcomes VALUES (%s, %s)", row)
    connection.close()
    port = str(postgres_server.port)
    other = {"db__example__com": "127.0.0.1", "5432": port, "database: ml": "database: postgres"}
    spec = example("PostgreSQL", **other, **{"user: sightline": "user: reader", "cursor: id": "cursor: n"})
    assert both(spec, home) == ALL


def parquet(frame: pl.DataFrame) -> bytes:
    held = io.BytesIO()
    frame.write_parquet(held)
    return held.getvalue()


def test_stores(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, _ = home_of(tmp_path / "files")
    monkeypatch.setenv("MINIO_KEY", store.options["AWS_ACCESS_KEY_ID"])
    monkeypatch.setenv("MINIO_SECRET", store.options["AWS_SECRET_ACCESS_KEY"])
    client = store.client()
    client.create_bucket(Bucket="ml-predictions")
    client.put_object(Bucket="ml-predictions", Key="scores/2026/a.parquet", Body=parquet(ROWS))
    client.put_object(Bucket="ml-predictions", Key="outcomes/a.csv", Body=LABELS.write_csv())
    assert both(example("S3-compatible", **{"https://minio__example__com": store.endpoint}), home) == ALL

    home, _ = home_of(tmp_path / "tables")
    write_deltalake(home.root / "lake" / "predictions", ROWS)
    write_deltalake("s3://ml-predictions/delta/outcomes", LABELS, storage_options=store.options)
    assert both(example("Delta", **{"https://minio__example__com": store.endpoint}), home) == ALL


def test_iceberg(tmp_path: Path) -> None:
    """The catalogue of the labels is a server that nothing here plays: the section is only read."""
    home, _ = home_of(tmp_path)
    place = {"uri": f"sqlite:///{home.root}/catalogue.db", "warehouse": f"file://{home.root}/warehouse"}
    catalogue = load_catalog("warehouse", type="sql", **place)
    catalogue.create_namespace("ml")
    catalogue.create_table("ml.predictions", schema=ROWS.to_arrow().schema).append(ROWS.to_arrow())
    spec = example("Iceberg")
    assert both(spec, home, ("inferences",)) == {"inferences": len(ROWS)}
    assert spec.sources.labels is not None
    assert spec.sources.labels.iceberg is not None


def test_kafka(broker: Broker, tmp_path: Path) -> None:
    """The broker here knows no passwords."""
    home, _ = home_of(tmp_path)
    keyed = ROWS.rename({"id": "prediction_id"}).to_dicts()
    lines = pl.DataFrame([{k: v for k, v in row.items() if k != "prediction_id"} for row in keyed]).write_ndjson()
    pairs = zip(ROWS["id"], lines.encode().splitlines(), strict=True)
    broker.send("predictions", *[(0, key.encode(), line) for key, line in pairs])
    broker.send("outcomes", *[(0, None, line) for line in LABELS.write_ndjson().encode().splitlines()])
    spec = example(
        "Kafka",
        **{
            "broker__example__com:9092": broker.address,
            "key: prediction_id": "key: id",
            "properties: {security__protocol: SASL_SSL, sasl__mechanism: SCRAM-SHA-512, sasl__username: sightline}": "",
            "properties_env: {sasl__password: KAFKA_PASSWORD}": "",
        },
    )
    assert both(spec, home) == ALL

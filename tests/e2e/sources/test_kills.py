"""A process killed (SIGKILL) at any moment of fetching and loading, again and again, while others write to the source.

In the end each row is in the lake once, and none was delivered twice.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import write_deltalake
from pyiceberg.catalog import load_catalog

from sightline.home import Home
from sightline.lake.store.ledger import open_ledger
from sightline.spec.model import MonitorSpec
from tests.support.kafka import Broker
from tests.support.lake import ledger_adds_up, rows
from tests.support.object_store import Store
from tests.support.postgres import PASSWORD, Server
from tests.support.sources import counts, ids, spec_of

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[3]
STEPS = (1, 5, 2, 9, 3, 14, 7, 19, 4, 25, 11, 32, 6)
Writer = Callable[[pl.DataFrame], None]


def in_postgres(home: Home, server: Server, name: str) -> tuple[dict[str, Any], Writer]:
    server.execute(
        f"DROP TABLE IF EXISTS {name}",
        f"CREATE TABLE {name} (id text, ts timestamp, p float8, version text, "
        "x float8, c text, created_at timestamptz DEFAULT now())",
        f"GRANT SELECT ON {name} TO reader",
    )

    def write(frame: pl.DataFrame) -> None:
        connection = server.connect()
        with connection, connection.cursor() as cursor:
            for row in frame.rows():
                cursor.execute(f"INSERT INTO {name} VALUES (%s, %s, %s, %s, %s, %s)", row)
        connection.close()

    given = {"host": "127.0.0.1", "port": server.port, "database": "postgres", "user": "reader"}
    return {"postgres": {**given, "password_env": "PG_SECRET", "table": name, "cursor": "created_at"}}, write


def in_store(home: Home, store: Store, name: str) -> tuple[dict[str, Any], Writer]:
    store.client().create_bucket(Bucket=name)

    def write(frame: pl.DataFrame) -> None:
        for part in frame.iter_slices(30):
            held = io.BytesIO()
            part.write_parquet(held)
            store.client().put_object(Bucket=name, Key=f"{part['id'][0]}.parquet", Body=held.getvalue())

    return {"s3": {"uri": f"s3://{name}/", **store.section}}, write


def in_delta(home: Home, _: object, name: str) -> tuple[dict[str, Any], Writer]:
    return {"delta": {"uri": "delta"}}, lambda frame: write_deltalake(home.root / "delta", frame, mode="append")


def in_iceberg(home: Home, _: object, name: str) -> tuple[dict[str, Any], Writer]:
    catalogue = load_catalog("c", type="sql", uri=f"sqlite:///{home.root}/c.db", warehouse=f"file://{home.root}/w")
    catalogue.create_namespace("ml")
    table = catalogue.create_table("ml.p", schema=rows(1).to_arrow().schema)
    properties = {"type": "sql", "uri": "sqlite:///c.db", "warehouse": "w"}
    given = {"catalog": "c", "table": "ml.p", "properties": properties}
    return {"iceberg": given}, lambda frame: table.append(frame.to_arrow())


def in_kafka(home: Home, broker: Broker, name: str) -> tuple[dict[str, Any], Writer]:
    def write(frame: pl.DataFrame) -> None:
        lines = frame.write_ndjson().encode().splitlines()
        broker.send(name, *[(number % 3, None, line) for number, line in enumerate(lines)])

    return {"kafka": {"brokers": broker.address, "topic": name}}, write


WAYS: dict[str, tuple[Callable[..., tuple[dict[str, Any], Writer]], str]] = {
    "postgres": (in_postgres, "postgres_server"),
    "s3": (in_store, "store"),
    "delta": (in_delta, ""),
    "iceberg": (in_iceberg, ""),
    "kafka": (in_kafka, "broker"),
}


def start(home: Home, spec: MonitorSpec, *args: str) -> int:
    file = home.root / "spec.json"
    file.write_text(spec.model_dump_json(exclude_unset=True))
    command = [sys.executable, "-m", "tests.support.source_kills", str(home.root), str(file), *args]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120, check=False).returncode


EVERY_RUN = ("postgres", "kafka")
"""The other kinds are killed at full size only (`make test-full`): they share the code that is killed."""


@pytest.mark.parametrize(
    "way", [way if way in EVERY_RUN else pytest.param(way, marks=pytest.mark.full) for way in WAYS]
)
def test_killed_again_and_again_each_row_comes_once(
    way: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PG_SECRET", PASSWORD)
    make, fixture = WAYS[way]
    home = Home(tmp_path)
    source, write = make(home, request.getfixturevalue(fixture) if fixture else None, "killed")
    spec = spec_of(**source)
    n = killed = 0
    for step in STEPS:
        more = 130 if step in (1, 9, 25) else 20
        write(rows(more, first=n, seed=n))
        n += more
        killed += start(home, spec, str(step)) == -signal.SIGKILL
    assert start(home, spec) == 0
    assert killed >= 10
    assert ids(spec, home) == sorted(f"id-{i}" for i in range(n))
    assert counts(spec, home)["rows"] in (n, 0) or way == "s3"
    with open_ledger(home.monitor("m").ledger) as ledger:
        assert sum(batch.n_duplicate for batch in ledger.batches("inferences")) == 0
    ledger_adds_up(home.root)
    assert not list(home.monitor("m").fetched.rglob(".*.tmp"))

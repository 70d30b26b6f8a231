"""The same monitors in two homes, one of them on Spark, both run through Dagster by the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from polars.testing import assert_frame_equal

from sightline.home import Home
from sightline.warehouse import connect
from tests.dbt.support import Bench

ROOT = Path(__file__).parents[2]
RUN_OF = {"run_id", "judged_at", "written_at", "computed_at"}
"""Columns that tell one run from another."""


def home_of(root: Path, benches: list[Bench], engine: str = "") -> Home:
    """A home with the landed files and YAML of some monitors, and nothing computed yet."""
    home = Home(root)
    home.monitors.mkdir(parents=True)
    for bench in benches:
        described = bench.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
        (home.monitors / f"{bench.spec.id}.yaml").write_text(yaml.safe_dump(described, allow_unicode=True))
        shutil.copytree(bench.paths.root / "landing", home.monitor(bench.spec.id).root / "landing")
    if engine:
        (root / "sightline.yaml").write_text(engine)
    return home


def sightline(home: Home, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a home."""
    return subprocess.run(
        [sys.executable, "-m", "sightline.cli", *args],
        cwd=ROOT,
        env=environment(home, **variables),
        capture_output=True,
        text=True,
        check=False,
    )


def environment(home: Home, **variables: str) -> dict[str, str]:
    return {**os.environ, "SIGHTLINE_HOME": str(home.root), "DAGSTER_HOME": str(home.dagster), **variables}


def backfill(home: Home, monitor: str) -> None:
    done = sightline(home, "backfill", monitor)
    assert done.returncode in (0, 1), done.stdout[-3000:] + done.stderr[-3000:]  # 1: a check failed


def marts(home: Home, monitor: str) -> dict[str, pl.DataFrame]:
    with connect(home.monitor(monitor), read_only=True) as con:
        named = con.sql("select table_name from duckdb_tables() where schema_name = 'marts' order by 1").fetchall()
        return {name: con.sql(f"select * from marts.{name}").pl() for (name,) in named}


def published(home: Home, monitor: str, kind: str) -> pl.DataFrame:
    """All rows of a published result, without what tells one run from another."""
    files = sorted((home.monitor(monitor).results / kind).rglob("*.parquet"))
    frame = pl.concat([pl.read_parquet(f, hive_partitioning=False) for f in files], how="diagonal_relaxed")
    return frame.drop(RUN_OF & set(frame.columns))


def checks(home: Home, monitor: str) -> list[dict[str, Any]]:
    done = sightline(home, "checks", monitor, "--all", "--format", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["checks"]


def assert_same(one: Mapping[str, pl.DataFrame], other: Mapping[str, pl.DataFrame]) -> None:
    """Integers and texts equal, doubles to 1e-9."""
    assert one.keys() == other.keys()
    for name, frame in one.items():
        keys = [c for c, dtype in frame.schema.items() if not dtype.is_float() and not dtype.is_nested()]
        assert_frame_equal(
            frame.sort(keys, nulls_last=True),
            other[name].select(frame.columns).sort(keys, nulls_last=True),
            rel_tol=1e-9,
            abs_tol=1e-9,
            check_row_order=True,
        )

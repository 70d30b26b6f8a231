"""Monitors made by real intake, and the real dbt run on their warehouse."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.adapters.factory import reset_adapters
from dbt.cli.main import dbtRunner

from sightline.home import Home, MonitorPaths
from sightline.lake.intake.load import intake
from sightline.lake.store.ledger import open_ledger
from sightline.spec.model import MonitorSpec
from sightline.warehouse import connect, load_reference, prepare, write_control
from sightline.warehouse.reference import ReferenceProfile

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "dbt_project"
SHARED = tempfile.TemporaryDirectory(prefix="sightline_dbt_")
START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday


@dataclass(frozen=True)
class Done:
    """How a command of dbt ended."""

    is_success: bool
    output: str


@dataclass
class Bench:
    """One monitor in a home of its own, with the rows that were landed."""

    spec: MonitorSpec
    home: Home
    inferences: pl.DataFrame
    labels: pl.DataFrame

    @property
    def paths(self) -> MonitorPaths:
        return self.home.monitor(self.spec.id)

    def land(self, kind: str, name: str, frame: pl.DataFrame, received_at: datetime | None = None) -> None:
        """Drop a file, as a user would, and load it."""
        folder = self.paths.landing_inferences if kind == "inferences" else self.paths.landing_labels
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{name}.parquet"
        frame.write_parquet(file)
        if received_at is not None:
            os.utime(file, (received_at.timestamp(), received_at.timestamp()))
        report = intake(self.spec, self.paths, kind, self.home)
        assert report.batches, f"nothing loaded from {file}"

    @property
    def keys(self) -> list[str]:
        """Keys of all windows with inferences."""
        times = self.inferences[self.spec.columns.timestamp]
        return sorted({self.spec.key(moment) for moment in times.to_list()})

    def control(self, keys: list[str] | None = None, reference: ReferenceProfile | None = None) -> None:
        """Views, and the control tables of a run over `keys` (default: all)."""
        with connect(self.paths) as con:
            prepare(con, self.spec, self.paths)
            keys = self.keys if keys is None else keys
            with open_ledger(self.paths.ledger, create=False) as ledger:
                may_repeat = ledger.may_repeat_labels(keys)
            write_control(con, self.spec, reference or load_reference(self.paths), keys, may_repeat)

    def build(self, *args: str) -> dict[str, str]:
        """Run ``dbt build``; node name -> status. Fails with dbt's output unless all succeed."""
        done = self.dbt("build --exclude-resource-type unit_test", *args)
        assert done.is_success, done.output[-6000:]
        results = json.loads((self.paths.dbt / "target" / "run_results.json").read_text())["results"]
        return {result["unique_id"].split(".")[2]: result["status"] for result in results}

    def dbt(self, command: str, *args: str) -> Done:
        """Run dbt in the monitor's folder, in this process as a run of Dagster does: its start costs more than it does.

        The profile is the same for all, so that one parse of the project serves all.
        """
        target = self.paths.dbt / "target"
        target.mkdir(parents=True, exist_ok=True)
        parsed, shared = target / "partial_parse.msgpack", Path(SHARED.name) / "partial_parse.msgpack"
        if shared.exists() and not parsed.exists():
            shutil.copy(shared, parsed)
        names = {"SIGHTLINE_WAREHOUSE": self.paths.warehouse.name, "SIGHTLINE_THREADS": "1", "DO_NOT_TRACK": "1"}
        names["DBT_SEND_ANONYMOUS_USAGE_STATS"] = "False"
        folders = {"project-dir": PROJECT, "profiles-dir": PROJECT, "target-path": target}
        flags = [text for name, value in folders.items() for text in (f"--{name}", os.fspath(value))]
        call = [*command.split(), *flags, "--log-path", os.fspath(self.paths.dbt / "logs")]
        printed = io.StringIO()
        try:
            with mock.patch.dict(os.environ, names), contextlib.chdir(self.paths.root), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                    done = dbtRunner().invoke([*call, *args])
        finally:
            reset_adapters()
            DuckDBConnectionManager.close_all_connections()  # the file is free for others, in this process as well
        if parsed.exists() and not shared.exists():
            shutil.copy(parsed, shared)
        return Done(done.success, printed.getvalue() + (str(done.exception) if done.exception else ""))

    def mart(self, name: str) -> pl.DataFrame:
        """A mart, without its window_start (checked by itself), sorted by its columns."""
        with connect(self.paths, read_only=True) as con:
            frame = con.sql(f"select * from marts.{name}").pl()
        return frame.sort(frame.columns)

    def all_marts(self) -> dict[str, pl.DataFrame]:
        """Every mart."""
        with connect(self.paths, read_only=True) as con:
            names = con.sql("select table_name from duckdb_tables() where schema_name = 'marts' order by 1").fetchall()
        return {name: self.mart(name) for (name,) in names}


def spec_of(**sections: Any) -> MonitorSpec:
    """A spec with a reference over the first windows."""
    sections.setdefault(
        "reference", {"kind": "window", "start": START.isoformat(), "end": (START + timedelta(days=7)).isoformat()}
    )
    return MonitorSpec.model_validate(sections)

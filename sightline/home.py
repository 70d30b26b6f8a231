"""Where everything lies: one home folder, one folder per monitor below ``data/``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PARSED = "partial_parse.msgpack"
"""dbt's parsed project, in a folder that dbt works in."""


@dataclass(frozen=True)
class MonitorPaths:
    """The folders and files of one monitor; nothing else in the code joins these names."""

    root: Path

    @property
    def home(self) -> Path:
        """The home folder this monitor lies in; the user's Python modules are found there."""
        return self.root.parent.parent

    @property
    def landing_inferences(self) -> Path:
        """Users drop inference files (Parquet, CSV, NDJSON) here."""
        return self.root / "landing" / "inferences"

    @property
    def landing_labels(self) -> Path:
        """Users drop label files here."""
        return self.root / "landing" / "labels"

    @property
    def landing_candidates(self) -> Path:
        """Users put the scored evaluation set of a candidate version into a folder of its name here."""
        return self.root / "landing" / "candidates"

    @property
    def log(self) -> Path:
        """Append-only log: ``open/`` holds segments being written, ``sealed/`` immutable ones."""
        return self.root / "log"

    @property
    def fetched(self) -> Path:
        """Copies of what was fetched from databases, object stores, table formats and brokers, with its manifest."""
        return self.root / "fetched"

    @property
    def lake(self) -> Path:
        """Parquet, hive-partitioned: ``inferences/window=KEY/``, ``labels/window=KEY/``, ``unmatched/``."""
        return self.root / "lake"

    @property
    def quarantine(self) -> Path:
        """Rejected rows and values with their reason, one Parquet file per batch."""
        return self.root / "quarantine"

    @property
    def ledger(self) -> Path:
        """SQLite: which batches are loaded, and which windows each of them touched."""
        return self.root / "ledger.sqlite"

    @property
    def warehouse(self) -> Path:
        """The DuckDB file: views on the lake, dbt's staging, intermediate and marts. One writer at a time."""
        return self.root / "warehouse.duckdb"

    @property
    def reference(self) -> Path:
        """The frozen reference profile (Parquet and its JSON description)."""
        return self.root / "reference"

    @property
    def results(self) -> Path:
        """Published results, appended as Parquet by atomic rename; readers take no lock."""
        return self.root / "results"

    @property
    def guards(self) -> Path:
        """What the collector's row guards saw.

        ``alerts.ndjson`` and ``counts-<day>.ndjson`` (one line per minute and rule).
        """
        return self.root / "guards"

    @property
    def dbt(self) -> Path:
        """Target and log folder of this monitor's dbt, so that its constant vars keep their partial parse."""
        return self.root / "dbt"


@dataclass(frozen=True)
class Home:
    """The folder a user works in: ``monitors/`` (YAML), ``data/`` and ``dagster_home/``."""

    root: Path

    @classmethod
    def from_env(cls) -> Home:
        """``SIGHTLINE_HOME``, by default the working directory."""
        return cls(Path(os.environ.get("SIGHTLINE_HOME") or Path.cwd()).resolve())

    @property
    def monitors(self) -> Path:
        """One YAML file per monitored model."""
        return self.root / "monitors"

    @property
    def dashboards(self) -> Path:
        """One YAML file per page of the user's own."""
        return self.root / "dashboards"

    @property
    def data(self) -> Path:
        """All that Sightline writes, one folder per monitor."""
        return self.root / "data"

    @property
    def dagster(self) -> Path:
        """``DAGSTER_HOME``: run and event storage, ``dagster.yaml``."""
        return self.root / "dagster_home"

    def monitor(self, monitor_id: str) -> MonitorPaths:
        """Paths of one monitor."""
        return MonitorPaths(self.data / monitor_id)

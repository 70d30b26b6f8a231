"""A monitor whose rows come from elsewhere, and what a look at its source brings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from sightline.home import Home, MonitorPaths
from sightline.lake.fetch.run import Fetched
from sightline.lake.fetch.spool import open_spool
from sightline.lake.intake.fetching import fetch_new, source_of
from sightline.lake.intake.load import intake
from sightline.lake.intake.report import IntakeReport
from sightline.lake.store.parts import scan_lake
from sightline.spec.data_sections import Source, Sources
from sightline.spec.model import MonitorSpec
from tests.support.lake import make_spec


def spec_of(side: str = "inferences", **source: Any) -> MonitorSpec:
    """The monitor of the lake tests with one source."""
    return make_spec(sources=Sources(**{side: Source.model_validate(source)}))


def look(spec: MonitorSpec, home: Home, side: str = "inferences") -> Fetched:
    """One look at a source; what is wrong with it fails the test."""
    found = fetch_new(spec, home.monitor(spec.id), side, home)
    assert found is not None
    assert found.problem is None, found.problem
    return found


def fetch_all(spec: MonitorSpec, home: Home, side: str = "inferences") -> int:
    """Looks until nothing more is there; the number of rows."""
    n_rows = 0
    while True:
        found = look(spec, home, side)
        n_rows += found.n_rows
        if found.is_done:
            return n_rows


def load(spec: MonitorSpec, home: Home, side: str = "inferences") -> IntakeReport:
    """Look, then load."""
    fetch_all(spec, home, side)
    return intake(spec, home.monitor(spec.id), side, home)


def lake(spec: MonitorSpec, home: Home, side: str = "inferences") -> pl.DataFrame:
    """All rows of the lake."""
    return scan_lake(spec, home.monitor(spec.id), side).collect()


def ids(spec: MonitorSpec, home: Home) -> list[str]:
    """Ids in the lake, sorted; one that is there twice is twice in it."""
    return lake(spec, home)["prediction_id"].sort().to_list()


def counts(spec: MonitorSpec, home: Home, side: str = "inferences") -> dict[str, int]:
    """What was counted of a source."""
    found = source_of(spec, side)
    assert found is not None
    with open_spool(home.monitor(spec.id), create=False) as spool:
        state = spool.state(found.source)
    assert state is not None
    return state.counts


def files_holding(folder: Path, text: str) -> list[str]:
    """Files below a folder in which a text stands."""
    wanted = text.encode()
    return [str(file) for file in folder.rglob("*") if file.is_file() and wanted in file.read_bytes()]


def home_of(folder: Path) -> tuple[Home, MonitorPaths]:
    """An empty home."""
    home = Home(folder)
    return home, home.monitor("m")

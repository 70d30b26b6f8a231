"""A small monitor, its folders and its data for the lake tests; also the child process that the kill tests kill.

Run as a script: ``python -m tests.support.lake HOME [KILL_AT]`` loads everything that is pending, and kills itself with
SIGKILL at the KILL_AT-th step that changes a file.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sightline.home import Home, MonitorPaths
from sightline.lake.intake.load import intake
from sightline.lake.intake.sources import pending
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.parts import scan_lake
from sightline.lake.store.schema import HALF_SCHEMA
from sightline.log.events import InferenceEvent, LabelEvent, RejectedEvent
from sightline.log.writer import SegmentWriter
from sightline.spec.columns import Columns, Feature
from sightline.spec.data_sections import Labels, Model, Reference
from sightline.spec.model import MonitorSpec

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday


def make_spec(**changes: Any) -> MonitorSpec:
    """Binary classification, daily, two features, one segment."""
    base: dict[str, Any] = {
        "model": Model(id="m", task="binary_classification"),
        "columns": Columns(
            prediction_id="id",
            timestamp="ts",
            score="p",
            model_version="version",
            features={"x": Feature(kind="numeric"), "c": Feature(kind="categorical")},
            segments=("c",),
        ),
        "labels": Labels(column="y", give_up_after=timedelta(days=3)),
        "reference": Reference(start=START, end=START + timedelta(days=2)),
    }
    return MonitorSpec(**{**base, **changes})


def make_paths(root: Path) -> tuple[Home, MonitorPaths]:
    """Home and monitor folders, landing folders made."""
    home = Home(root)
    paths = home.monitor("m")
    paths.landing_inferences.mkdir(parents=True, exist_ok=True)
    paths.landing_labels.mkdir(parents=True, exist_ok=True)
    return home, paths


def rows(
    n: int, *, first: int = 0, start: datetime = START, every: timedelta = timedelta(minutes=7), seed: int = 0
) -> pl.DataFrame:
    """Inference rows as a user's file has them."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "id": [f"id-{first + i}" for i in range(n)],
            "ts": [(start + i * every).replace(tzinfo=None) for i in range(n)],
            "p": rng.random(n),
            "version": ["v1"] * n,
            "x": rng.normal(size=n),
            "c": rng.choice(["red", "green"], n).tolist(),
        }
    )


def land(folder: Path, name: str, frame: pl.DataFrame, received: datetime = START + timedelta(days=30)) -> Path:
    """Write a landing file in the format of its name, with a fixed modification time."""
    file = folder / name
    writer = {".parquet": frame.write_parquet, ".csv": frame.write_csv, ".ndjson": frame.write_ndjson}[file.suffix]
    writer(file)
    os.utime(file, (received.timestamp(), received.timestamp()))
    return file


def mixed_traffic(root: Path) -> None:
    """Files and segments of both kinds: repeats, conflicts, late and early labels, bad rows, a broken file."""
    _, paths = make_paths(root)
    for day in range(6):
        start = START + timedelta(days=day)
        land(
            paths.landing_inferences,
            f"day-{day}.parquet",
            rows(200, first=200 * day, start=start, seed=day),
            start + timedelta(days=1),
        )
    land(paths.landing_inferences, "again.csv", rows(50), START + timedelta(days=8))
    land(paths.landing_inferences, "conflict.ndjson", rows(20, seed=99), START + timedelta(days=9))
    broken = paths.landing_inferences / "broken.parquet"
    broken.write_bytes(b"PAR1 half a file")
    os.utime(broken, (START.timestamp(), START.timestamp()))
    for day in range(6):
        ids = [f"id-{200 * day + i}" for i in range(0, 230, 2)]
        truth = pl.DataFrame({"id": ids, "y": [i % 3 == 0 for i in range(len(ids))]})
        land(paths.landing_labels, f"labels-{day}.csv", truth, START + timedelta(days=day + 2))
    land(
        paths.landing_labels,
        "corrected.parquet",
        pl.DataFrame({"id": ["id-0", "id-2", "id-9999"], "y": [0, 0, 1]}),
        START + timedelta(days=20),
    )
    clock = START + timedelta(days=6, hours=1)
    with SegmentWriter(paths.log, "m", "inferences") as log:
        events = [
            InferenceEvent(
                id=f"seg-{i}",
                at=START + timedelta(days=6, minutes=i),
                version="v2",
                features={"x": i, "c": "red"},
                score=0.5,
            )
            for i in range(100)
        ]
        log.append(events, received_at=clock)
    for part, names in (("request", ["h-1", "h-2"]), ("response", ["h-2", "h-3"])):
        with SegmentWriter(paths.log, "m", "inferences") as log:
            log.append(
                [InferenceEvent(id=name, at=clock, part=part, features={"x": 1.0}) for name in names], received_at=clock
            )
    with SegmentWriter(paths.log, "m", "labels") as log:
        log.append([LabelEvent(id=f"seg-{i}", value=1, at=clock) for i in range(0, 100, 5)], received_at=clock)
    with SegmentWriter(paths.log, "m", "rejected") as log:
        log.append(
            [RejectedEvent(kind="inferences", reason="bad_type", id="r-1", at=START, payload="{}")], received_at=clock
        )


TABLES = {
    "inferences": ["window_start", "prediction_id", "model_version"],
    "labels": ["window_start", "prediction_id", "revision_order"],
    "unmatched": ["revision_order"],
}


def tables(spec: MonitorSpec, paths: MonitorPaths) -> dict[str, pl.DataFrame]:
    """All that an intake leaves behind, in a comparable order."""
    found = {kind: scan_lake(spec, paths, kind).collect().sort(key) for kind, key in TABLES.items()}
    found["halves"] = pl.concat(
        [pl.DataFrame(schema=HALF_SCHEMA), *map(pl.read_parquet, paths.lake.glob("halves/*.parquet"))]
    )
    files = sorted(paths.quarantine.glob("*.parquet"))
    quarantine = pl.concat(map(pl.read_parquet, files)) if files else pl.DataFrame()
    found["quarantine"] = quarantine.sort(quarantine.columns)
    with open_ledger(paths.ledger) as ledger:
        columns = (
            "batch_id, seq, kind, path, status, n_rows, n_accepted, n_duplicate, n_rejected, n_value_issues, "
            "n_unmatched"
        )
        found["batches"] = pl.DataFrame(
            ledger.con.execute(f"SELECT {columns} FROM batches ORDER BY seq").fetchall(), orient="row"
        )
        changes = ledger.con.execute(
            "SELECT kind, window_key, batch_id, sum(n_rows) FROM window_changes WHERE n_rows > 0 GROUP BY 1, 2, 3 "
            "ORDER BY 1, 2, 3"
        )
        found["changes"] = pl.DataFrame(changes.fetchall(), orient="row")
    return found


def load_all(root: Path) -> None:
    """Labels first (most of them wait), then inferences in three portions, labels between."""
    home, paths = make_paths(root)
    spec = make_spec()
    intake(spec, paths, "labels", home)
    while batches := pending(spec, paths, "inferences", home):
        intake(spec, paths, "inferences", home, batches[:4])
        intake(spec, paths, "labels", home)
    intake(spec, paths, "labels", home)


def kill_at(step: int) -> None:
    """Arrange for this process to be killed at the `step`-th call that makes, renames, removes or syncs a file."""
    seen = 0

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        return call

    os.fsync = counted(os.fsync)
    Path.rename = counted(Path.rename)  # type: ignore[method-assign]
    Path.unlink = counted(Path.unlink)  # type: ignore[method-assign]


if __name__ == "__main__":
    if len(sys.argv) > 2:
        kill_at(int(sys.argv[2]))
    print("ready", flush=True)
    load_all(Path(sys.argv[1]))
    print("done", flush=True)


def quarantine(root: Path) -> pl.DataFrame:
    """All rows in quarantine."""
    return pl.concat(map(pl.read_parquet, sorted(make_paths(root)[1].quarantine.glob("*.parquet"))))


def ledger_adds_up(root: Path) -> None:
    """Every batch: its rows are accepted, duplicate, rejected or unmatched."""
    with open_ledger(make_paths(root)[1].ledger) as ledger:
        bad = ledger.con.execute(
            "SELECT path FROM batches WHERE n_rows <> n_accepted + n_duplicate + n_rejected + n_unmatched"
        ).fetchall()
    assert bad == []

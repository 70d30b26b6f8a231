"""Labels in pieces: shuffled, repeated, corrected, taken back, in 50 files, with kill -9 in between.

The tables are those of one clean delivery, and what is worked up again are the windows that were touched.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sightline.home import Home
from sightline.lake.intake.load import intake
from sightline.lake.intake.sources import pending
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.parts import scan_lake
from sightline.spec.model import MonitorSpec
from sightline.warehouse import ensure_reference
from tests.dbt.support import ROOT, START, Bench, spec_of
from tests.support.labels import current_labels

pytestmark = pytest.mark.long

DAYS, PER_DAY, FILES, PORTIONS = 12, 60, 50, 5
DAY = timedelta(days=1)
NAIVE = START.replace(tzinfo=None)
SPEC = spec_of(
    start=START.isoformat(),
    model={"id": "pieces", "task": "binary_classification"},
    columns={"score": "score", "features": {"x": "numeric"}, "segments": ["plan"]},
    labels={"column": "label", "observed_at": "known"},
    reference={"kind": "window", "start": START.isoformat(), "end": (START + 2 * DAY).isoformat()},
)
CHILD = """
import sys
from pathlib import Path
from sightline.home import Home
from sightline.lake.intake.load import intake
from sightline.lake.intake.sources import pending
from sightline.spec.model import MonitorSpec
spec = MonitorSpec.model_validate_json(sys.argv[2])
home = Home(Path(sys.argv[1]))
paths = home.monitor(spec.id)
print("ready", flush=True)
for batch in sorted(pending(spec, paths, "labels", home), key=lambda batch: batch.path):
    intake(spec, paths, "labels", home, [batch])
"""


def predictions() -> pl.DataFrame:
    rng = random.Random(5)
    n = DAYS * PER_DAY
    return pl.DataFrame(
        {
            "prediction_id": [f"p{i}" for i in range(n)],
            "timestamp": [NAIVE + (i // PER_DAY) * DAY + timedelta(minutes=20 * (i % PER_DAY)) for i in range(n)],
            "score": [rng.random() for _ in range(n)],
            "x": [rng.gauss(0, 1) for _ in range(n)],
            "plan": [rng.choice("ab") for _ in range(n)],
        }
    )


def history(rng: random.Random) -> pl.DataFrame:
    """Nine labels in ten; a fifth of them is corrected later, a tenth taken back, of these half set anew."""
    told: list[tuple[str, int | None, bool, timedelta]] = []
    for i in range(DAYS * PER_DAY):
        if rng.random() < 0.1:
            continue
        known, value = (i // PER_DAY + 1) * DAY + timedelta(seconds=rng.randint(0, 80_000)), rng.randint(0, 1)
        told.append((f"p{i}", value, False, known))
        if rng.random() < 0.2:
            told.append((f"p{i}", 1 - value, False, known + 20 * DAY))
        if rng.random() < 0.1:
            told.append((f"p{i}", None, True, known + 30 * DAY))
            if rng.random() < 0.5:
                told.append((f"p{i}", value, False, known + 40 * DAY))
    return pl.DataFrame(
        [(name, value, back, NAIVE + after) for name, value, back, after in told],
        schema={"prediction_id": pl.String, "label": pl.Int64, "retracted": pl.Boolean, "known": pl.Datetime("us")},
        orient="row",
    )


def land(bench: Bench, kind: str, name: str, frame: pl.DataFrame, received: timedelta) -> None:
    folder = bench.paths.landing_inferences if kind == "inferences" else bench.paths.landing_labels
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    {"parquet": frame.write_parquet, "csv": frame.write_csv, "ndjson": frame.write_ndjson}[name.split(".")[1]](file)
    moment = (START + received).timestamp()
    os.utime(file, (moment, moment))


def killed(bench: Bench, rng: random.Random) -> int:
    """Load what is pending in a process of its own, which is killed at any moment; whether it had not ended."""
    arguments = [sys.executable, "-c", CHILD, str(bench.home.root), SPEC.model_dump_json()]
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    deadline = time.monotonic() + rng.uniform(0.0, 0.5)
    while time.monotonic() < deadline and child.poll() is None:
        pass
    child.kill()
    return child.wait(timeout=60) != 0


def touched(bench: Bench, position: int) -> tuple[set[str], int]:
    with open_ledger(bench.paths.ledger) as ledger:
        windows, position = ledger.windows_since("labels", position)
    return set(windows), position


def build(bench: Bench, keys: set[str]) -> None:
    """The delayed models of some windows, as a run of these makes them."""
    bench.control(sorted(keys))
    bench.build("--select", "tag:delayed stg_inferences stg_quarantine")


def windows_of(spec: MonitorSpec, frame: pl.DataFrame) -> set[str]:
    numbers = frame["prediction_id"].str.strip_prefix("p").cast(pl.Int64).unique().to_list()
    return {spec.key(START + (number // PER_DAY) * DAY) for number in numbers}


def test_fifty_files_in_any_order_with_kills_give_the_tables_of_one_delivery(tmp_path: Path) -> None:
    rng = random.Random(17)
    inferences, events = predictions(), history(rng)
    clean = Bench(SPEC, Home(tmp_path / "clean"), inferences, events)
    clean.land("inferences", "all", inferences)
    clean.land("labels", "all", events.sort("known"), START + 90 * DAY)
    ensure_reference(SPEC, clean.paths, clean.home)
    build(clean, set(clean.keys))

    pieces = Bench(SPEC, Home(tmp_path / "pieces"), inferences, events)
    shutil.copytree(clean.paths.reference, pieces.paths.reference)  # frozen once, whatever comes later
    is_early = pl.col("timestamp") < NAIVE + DAYS // 2 * DAY
    land(pieces, "inferences", "early.parquet", inferences.filter(is_early), 90 * DAY)
    intake(SPEC, pieces.paths, "inferences", pieces.home)
    shuffled = pl.concat([events, events.sample(fraction=0.3, seed=3)]).sample(fraction=1.0, shuffle=True, seed=4)
    parts = [shuffled[k::FILES] for k in range(FILES)]
    known = windows_of(SPEC, inferences.filter(is_early))
    position, n_killed, waiting = touched(pieces, 0)[1], 0, set[str]()
    for portion in range(PORTIONS):
        mine = parts[portion::PORTIONS]
        for k, part in enumerate(mine):
            form = rng.choice(["parquet", "csv", "ndjson"])
            land(pieces, "labels", f"{rng.getrandbits(40):010x}-{portion}-{k}.{form}", part, rng.uniform(80, 100) * DAY)
        n_killed += sum(killed(pieces, rng) for _ in range(3))
        if portion == 2:
            land(pieces, "inferences", "late.parquet", inferences.filter(~is_early), 90 * DAY)
            intake(SPEC, pieces.paths, "inferences", pieces.home)
            known = windows_of(SPEC, inferences)
        intake(SPEC, pieces.paths, "labels", pieces.home)
        assert not pending(SPEC, pieces.paths, "labels", pieces.home)
        told = windows_of(SPEC, pl.concat(mine)) | waiting
        waiting = told - known
        recomputed, position = touched(pieces, position)
        assert len(recomputed) == len(told & known) and recomputed == told & known
        build(pieces, recomputed)
    assert n_killed >= 5
    _same(clean, pieces)

    last = pl.DataFrame({"prediction_id": ["p7"], "label": [1], "known": [NAIVE + 95 * DAY]})
    for bench in (clean, pieces):
        bench.land("labels", "one", last, START + 120 * DAY)
    late, _ = touched(pieces, position)
    assert late == {"2026-01-05"}, "one late label costs one window"
    build(pieces, late)
    build(clean, set(clean.keys))
    _same(clean, pieces)


def _same(clean: Bench, pieces: Bench) -> None:
    assert current_labels(SPEC, pieces.paths) == current_labels(SPEC, clean.paths)
    columns = ["window_start", "prediction_id", "label_class", "label_value", "observed_at", "is_retracted"]
    revisions = [scan_lake(SPEC, bench.paths, "labels").select(columns).collect() for bench in (clean, pieces)]
    assert_frame_equal(*(frame.unique().sort(columns) for frame in revisions))
    assert len(revisions[0]) == len(revisions[1]), "a copy is no revision"
    assert scan_lake(SPEC, pieces.paths, "unmatched").collect().is_empty()
    marts = [bench.all_marts() for bench in (clean, pieces)]
    assert marts[0]["quality_sums"].height and marts[0]["label_counts"]["n_retracted"].sum() > 0
    for name in marts[0]:
        if name != "label_rejections":  # it counts the copies
            assert_frame_equal(marts[0][name], marts[1][name], rel_tol=1e-12)

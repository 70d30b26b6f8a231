"""Predictions that are corrected and withdrawn by the client and by files, in the marts: as if logged right at once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal
from sightline_client import Client

from sightline.home import Home
from sightline.lake.intake.load import intake
from sightline.lake.store.progress import open_progress
from sightline.warehouse import ensure_reference
from tests.dbt.support import START, Bench, spec_of

DAY = timedelta(days=1)
NAIVE = START.replace(tzinfo=None)
N = 30


def bench(root: Path) -> Bench:
    """Three days of ten predictions; their labels are known after one day."""
    inferences = pl.DataFrame(
        {
            "prediction_id": [f"p{i}" for i in range(N)],
            "timestamp": [NAIVE + timedelta(hours=2.4 * i) for i in range(N)],
            "score": [i / N for i in range(N)],
            "plan": ["a", "b"] * (N // 2),
        }
    )
    labels = inferences.select(
        "prediction_id", label=(pl.col("score") > 0.3).cast(pl.Int64), known=pl.col("timestamp") + DAY
    )
    spec = spec_of(
        start=START.isoformat(),
        model={"id": "small", "task": "binary_classification"},
        columns={"score": "score", "segments": ["plan"]},
        labels={"column": "label", "observed_at": "known"},
        reference={"kind": "window", "start": (START + 2 * DAY).isoformat(), "end": (START + 3 * DAY).isoformat()},
    )
    return Bench(spec, Home(root), inferences, labels)


def log_all(made: Bench) -> None:
    """Log the predictions with the client, and load them with the labels."""
    with Client("small", path=made.home.root) as log:
        for row in made.inferences.iter_rows(named=True):
            log.prediction(
                row["prediction_id"], at=row["timestamp"], score=row["score"], features={"plan": row["plan"]}
            )
    intake(made.spec, made.paths, "inferences", made.home)
    made.land("labels", "all", made.labels)


def marts(made: Bench) -> dict[str, pl.DataFrame]:
    ensure_reference(made.spec, made.paths, made.home)
    made.control()
    made.build("--select", "tag:immediate tag:delayed")
    return made.all_marts()


def test_the_marts_are_those_of_predictions_that_were_logged_right(tmp_path: Path) -> None:
    wrong, right = bench(tmp_path / "wrong"), bench(tmp_path / "right")
    log_all(wrong)
    with open_progress(wrong.paths.ledger) as progress:
        before = {kind: progress.changes([kind]) for kind in ("inferences", "labels")}
    moved, gone, rescored = ["p3", "p4"], ["p5", "p16"], ["p7"]
    with Client("small", path=wrong.home.root) as log:
        log.correct("p7", at=NAIVE + timedelta(hours=2.4 * 7), score=0.95, features={"plan": "b"})
        log.withdraw("p5")
    fixed = wrong.inferences.filter(pl.col("prediction_id").is_in(moved))
    fixed = fixed.with_columns(timestamp=pl.col("timestamp") + DAY, supersedes=True)
    wrong.land("inferences", "fixed", fixed)
    wrong.land("inferences", "gone", pl.DataFrame({"prediction_id": ["p16"], "withdrawn": [True]}))
    intake(wrong.spec, wrong.paths, "labels", wrong.home)
    with open_progress(wrong.paths.ledger) as progress:
        for kind, then in before.items():
            now = progress.changes([kind])
            assert {key for key in now if now[key] != then.get(key)} == {"2026-01-05", "2026-01-06"}

    at = pl.when(pl.col("prediction_id").is_in(moved)).then(pl.col("timestamp") + DAY).otherwise("timestamp")
    score = pl.when(pl.col("prediction_id").is_in(rescored)).then(0.95).otherwise("score")
    right.inferences = right.inferences.with_columns(timestamp=at, score=score).filter(
        ~pl.col("prediction_id").is_in(gone)
    )
    log_all(right)
    found, wanted = marts(wrong), marts(right)
    told = found.pop("rejections")
    wanted.pop("rejections")
    for name, mart in wanted.items():
        pair = [each.drop("last_received_at", strict=False) for each in (found[name], mart)]  # it came when it came
        assert_frame_equal(*(each.sort(each.columns) for each in pair), rel_tol=1e-12)
    notes = told.filter(reason="superseded_prediction").sort("window_key").select("window_key", "severity", "n")
    assert notes.rows() == [("2026-01-05", "note", 4), ("2026-01-06", "note", 1)]
    assert wanted["label_counts"].filter(segment="all")["n_predictions"].to_list() == [7, 11, 10]

"""Days of texts, vectors and numbers of 60 rows each, in a lake, and what is judged of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from sightline.judging import drift, multivariate, texts
from sightline.judging.frames import Judged, Work
from sightline.lake.intake.load import intake
from sightline.warehouse import connect, ensure_reference, prepare
from tests.support.marts import create_marts

FIRST = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday."""
REFERENCE, DAYS, ROWS, DIMENSION = 63, 84, 60, 4
NOW = FIRST + timedelta(days=200)
WORDS = [f"word{i}" for i in range(300)]
FEATURES = {
    "note": {"kind": "text", "descriptors": []},
    "v": {"kind": "embedding"},
    "a": {"kind": "numeric"},
    "b": {"kind": "numeric"},
}
COLUMNS = {"prediction_id": "id", "timestamp": "at", "score": "p", "features": FEATURES}
WINDOW = {"kind": "window", "start": "2026-01-05", "end": f"{FIRST + timedelta(days=REFERENCE):%Y-%m-%d}"}


def day_rows(k: int, change: str = "", rows: int = ROWS) -> pl.DataFrame:
    rng = np.random.default_rng([41, k])
    chance = 1 / np.arange(3, len(WORDS) + 3)
    notes = [" ".join(rng.choice(WORDS, 12, p=chance / chance.sum())) for _ in range(rows)]
    a, b = rng.standard_normal((2, rows))
    vectors = (rng.standard_normal((rows, DIMENSION)) + 1).astype(np.float32).tolist()
    if change == "all":
        notes = [f"{note} refund" if i % 3 == 0 else note for i, note in enumerate(notes)]
        vectors = [[-x for x in vector] for vector in vectors]
        b = a
    elif change == "dimension":
        vectors = [vector[:3] for vector in vectors]
    return pl.DataFrame(
        {
            "id": [f"{k}-{i}" for i in range(rows)],
            "at": [FIRST.replace(tzinfo=None) + timedelta(days=k, seconds=i) for i in range(rows)],
            "p": rng.random(rows), "note": notes, "a": a, "b": b, "v": pl.Series(vectors, dtype=pl.List(pl.Float32)),
        }
    )  # fmt: skip


def key(k: int) -> str:
    return f"{FIRST + timedelta(days=k):%Y-%m-%d}"


class World:
    """Days in the lake, and what is judged of them."""

    def __init__(self, home, make_spec, *, changes: dict[int, str] | None = None, **sections) -> None:
        self.home = home
        self.spec = make_spec(**{"columns": COLUMNS, "reference": WINDOW, "start": FIRST.isoformat(), **sections})
        self.paths = home.monitor(self.spec.id)
        self.paths.landing_inferences.mkdir(parents=True, exist_ok=True)
        for k in range(DAYS):
            rows = day_rows(k, (changes or {}).get(k, ""))
            rows.write_parquet(self.paths.landing_inferences / f"{k}.parquet")
        intake(self.spec, self.paths, "inferences", home, now=NOW)

    def judge(self, *runs: list[str], whole: bool = False) -> list[Judged]:
        with connect(self.paths) as con:
            prepare(con, self.spec, self.paths)
            profile = ensure_reference(self.spec, self.paths, self.home, now=NOW, con=con)
            assert profile is not None
            create_marts(con)
            found: list[Judged] = []
            for run in runs:
                work = Work(self.spec, self.paths, con, run, profile.columns, NOW)
                if whole:
                    found.append(drift.judge_run(work))
                    continue
                parts = [multivariate.judge(work), texts.judge(work)]
                found.append(Judged(pl.concat([p.judgements for p in parts]), pl.concat([p.evidence for p in parts])))
            return found

"""What the ledger knows of windows whose predictions have one row of labels each, against a count of the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sightline.lake.intake.load import intake
from sightline.lake.intake.migrate import migrate
from sightline.lake.intake.reload import reload
from sightline.lake.store.compaction import compact
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.parts import scan_lake
from sightline.spec.data_sections import Labels
from sightline.spec.model import MonitorSpec
from tests.support.lake import START, land, make_paths, make_spec, rows

DAY = timedelta(days=1)
SPEC = make_spec(labels=Labels(column="y", observed_at="seen", give_up_after=3 * DAY))
IDS, STEPS = 60, 10


@dataclass
class Deliveries:
    """A monitor to which anything is delivered in any order."""

    root: Path
    seed: int
    spec: MonitorSpec = SPEC

    def __post_init__(self) -> None:
        self.rng, self.n = np.random.default_rng(self.seed), 0
        self.home, self.paths = make_paths(self.root)
        self.files: list[tuple[str, Path]] = []

    def step(self) -> None:
        """One thing that happens to the lake."""
        actions: list[tuple[Callable[[], object], float]] = [
            (self.predictions, 0.2),
            (self.labels, 0.45),
            (self.again, 0.2),
            (lambda: compact(self.spec, self.paths, everything=bool(self.rng.integers(2))), 0.15),
        ]
        chosen = self.rng.choice(len(actions), p=[share for _, share in actions])
        actions[chosen][0]()

    def predictions(self) -> None:
        """Some ids, perhaps known ones at another time: labels then belong to another window, or find one at last."""
        first, n = int(self.rng.integers(IDS)), int(self.rng.integers(1, IDS // 2))
        start = START + int(self.rng.integers(6)) * DAY
        self.land("inferences", rows(n, first=first, start=start, every=timedelta(hours=3)))

    def labels(self) -> None:
        """Some ids: new, known with another value, the same once more, several times in one file, or taken back."""
        n = int(self.rng.integers(1, 10)) if self.rng.random() < 0.6 else IDS
        ids = self.rng.choice(IDS, n, replace=bool(self.rng.random() < 0.3))
        retracted = self.rng.random(n) < self.rng.choice([0, 0.3])
        self.land("labels", self._labels(ids, retracted))

    def again(self) -> None:
        """A file that was corrected, read again."""
        if not self.files:
            return
        kind, file = self.files[int(self.rng.integers(len(self.files)))]
        held = pl.read_parquet(file).sample(fraction=float(self.rng.uniform(0.4, 1)), seed=self.seed + 1)
        if held.is_empty():
            return
        if kind == "labels" and self.rng.random() < 0.5:
            held = held.with_columns(y=1 - pl.col("y"))
        land(file.parent, file.name, held, START + (10 + self.n) * DAY)
        reload(self.spec, self.paths, self.home, [file], now=START + (11 + self.n) * DAY)

    def _labels(self, ids: np.ndarray, retracted: np.ndarray) -> pl.DataFrame:
        seen = [START.replace(tzinfo=None) + float(hours) * DAY / 24 for hours in self.rng.uniform(0, 240, len(ids))]
        values = self.rng.integers(0, 2, len(ids))
        return pl.DataFrame({"id": [f"id-{i}" for i in ids], "y": values, "seen": seen, "retracted": retracted})

    def load(self) -> None:
        """Whatever has landed."""
        for kind in ("inferences", "labels"):
            intake(self.spec, self.paths, kind, self.home, now=START + (11 + self.n) * DAY)

    def land(self, kind: str, frame: pl.DataFrame) -> None:
        """A file, loaded at once or with the next."""
        self.n += 1
        folder = self.paths.landing_inferences if kind == "inferences" else self.paths.landing_labels
        received = START + (10 + self.n) * DAY
        self.files.append((kind, land(folder, f"{self.n}.parquet", frame, received)))
        if self.rng.random() < 0.8:  # otherwise several files come into one commit
            intake(self.spec, self.paths, kind, self.home, now=received)
        if kind == "inferences" and self.rng.random() < 0.5:  # labels that waited
            intake(self.spec, self.paths, "labels", self.home, now=received)


def known_and_counted(spec: MonitorSpec, root: Path) -> tuple[set[str], set[str]]:
    """Windows that may have repeated labels by the ledger, and those that have."""
    paths = make_paths(root)[1]
    labels = scan_lake(spec, paths, "labels").collect()
    counts = labels.group_by("window_start", "prediction_id").len().filter(pl.col("len") > 1)
    with open_ledger(paths.ledger) as ledger:
        known = ledger.may_repeat_labels({*ledger.window_keys("labels"), *ledger.window_keys("inferences"), "none"})
    return known, {spec.key(start) for start in counts["window_start"]}


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 12))])
def test_it_holds_whatever_is_delivered(tmp_path: Path, seed: int) -> None:
    made = Deliveries(tmp_path, seed)
    made.land("inferences", rows(IDS, every=timedelta(hours=3)))
    made.load()
    for _ in range(STEPS):
        made.step()
        known, counted = known_and_counted(SPEC, tmp_path)
        assert known == counted
    made.load()
    for value in (0, 1):
        made.land(
            "labels", pl.DataFrame({"id": ["id-7"], "y": [value], "seen": [START.replace(tzinfo=None) + 9 * DAY]})
        )
        made.load()
    known, counted = known_and_counted(SPEC, tmp_path)
    assert known == counted and counted
    for schedule in ("weekly", "hourly"):
        filed = SPEC.model_copy(update={"schedule": schedule})
        migrate(filed, made.paths, made.home)
        known, counted = known_and_counted(filed, tmp_path)
        assert known == counted and counted


def labelled(root: Path) -> None:
    home, paths = make_paths(root)
    land(paths.landing_inferences, "a.parquet", rows(20, every=timedelta(hours=5)))
    land(paths.landing_labels, "y.parquet", pl.DataFrame({"id": [f"id-{i}" for i in range(20)], "y": [0, 1] * 10}))
    for kind in ("inferences", "labels"):
        intake(make_spec(), paths, kind, home)


def test_nothing_is_known_of_windows_of_an_older_ledger_until_their_labels_change(tmp_path: Path) -> None:
    labelled(tmp_path)
    home, paths = make_paths(tmp_path)
    with open_ledger(paths.ledger) as ledger:
        keys = set(ledger.window_keys("labels"))
        assert len(keys) == 4 and not ledger.may_repeat_labels(keys)
        ledger.con.execute("DROP TABLE single_labels")
        assert ledger.may_repeat_labels({*keys, "2026-02-01"}) == keys, "a window without labels has none twice"
    frame = pl.DataFrame({"id": ["new", "id-0"], "y": [1, 1]})
    land(paths.landing_inferences, "b.parquet", rows(1, start=START + DAY).with_columns(id=pl.lit("new")))
    land(paths.landing_labels, "z.parquet", frame[:1])
    for kind in ("inferences", "labels"):
        intake(make_spec(), paths, kind, home)
    with open_ledger(paths.ledger) as ledger:
        assert ledger.may_repeat_labels(keys) == keys - {"2026-01-06"}


def test_it_holds_of_these_parts_only(tmp_path: Path) -> None:
    """A release that does not know of it may add parts."""
    labelled(tmp_path)
    with open_ledger(make_paths(tmp_path)[1].ledger) as ledger:
        key, *rest = ledger.window_keys("labels")
        ledger.con.execute(
            "INSERT INTO parts SELECT path || '2', kind, window_key, state, n_rows, fingerprint, seq FROM parts "
            "WHERE kind = 'labels' AND window_key = ?",
            [key],
        )
        assert ledger.may_repeat_labels([key, *rest]) == {key}

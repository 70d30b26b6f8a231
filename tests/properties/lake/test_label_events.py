"""Labels, corrections and retractions in any order, with copies, cut into any files, give one state of the labels."""

from __future__ import annotations

import random
import shutil
import tempfile
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightline.lake.intake.load import intake
from sightline.lake.intake.sources import pending
from sightline.spec.data_sections import Labels
from tests.support.labels import current_labels
from tests.support.lake import START, land, ledger_adds_up, make_paths, make_spec, rows

SPEC = make_spec(labels=Labels(column="y", observed_at="seen"))
N = 5


@dataclass(frozen=True)
class Said:
    """What is said of one prediction: a class, or None if the label is taken back; times in hours since `START`."""

    number: int
    value: int | None
    observed: int
    received: int


def later(said: Said) -> tuple[int, int]:
    """The rule: observed later, then received later."""
    return said.observed, said.received


said = st.builds(
    Said, st.integers(0, N - 1), st.sampled_from([0, 1, None]), st.integers(200, 230), st.integers(300, 400)
)
history = st.lists(said, min_size=1, max_size=14, unique_by=lambda s: (s.number, s.observed))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events=history, seed=st.integers(0, 2**16))
def test_any_order_of_delivery_gives_the_same_labels(events: list[Said], seed: int) -> None:
    rng = random.Random(seed)
    copies = [replace(event, received=rng.randint(300, 500)) for event in events if rng.random() < 0.4]
    _check(events, [*events, *copies], rng)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    pairs=st.lists(st.tuples(said, st.sampled_from([0, 1, None]), st.integers(401, 450)), min_size=1, max_size=6),
    seed=st.integers(0, 2**16),
)
def test_of_two_that_contradict_each_other_the_one_received_later_counts(
    pairs: list[tuple[Said, int | None, int]], seed: int
) -> None:
    events = [e for k, (first, value, at) in enumerate(pairs) for e in _pair(replace(first, number=k), value, at)]
    _check(events, events, random.Random(seed))


def _pair(first: Said, value: int | None, at: int) -> list[Said]:
    return [first, replace(first, value=value, received=at)]


def _check(events: list[Said], delivered: list[Said], rng: random.Random) -> None:
    root = Path(tempfile.mkdtemp())
    try:
        _deliver(root, delivered, rng)
        expected = {}
        for number in {event.number for event in events}:
            last = max((event for event in events if event.number == number), key=later)
            if last.value is not None:
                expected[f"id-{number}"] = float(last.value)
        assert current_labels(SPEC, make_paths(root)[1]) == expected
        ledger_adds_up(root)
    finally:
        shutil.rmtree(root)


def _deliver(root: Path, delivered: list[Said], rng: random.Random) -> None:
    """Events of one time of receipt share a file; files are loaded in any order, the predictions somewhere between."""
    home, paths = make_paths(root)
    files: dict[int, list[Said]] = {}
    for event in rng.sample(delivered, len(delivered)):
        files.setdefault(event.received, []).append(event)
    order: list[int | None] = [*files, None]
    rng.shuffle(order)
    for received in order:
        if received is None:
            land(paths.landing_inferences, "a.parquet", rows(6, every=timedelta(hours=20)))
            intake(SPEC, paths, "inferences", home)
            continue
        frame = pl.DataFrame(
            {
                "id": [f"id-{event.number}" for event in files[received]],
                "y": pl.Series([event.value for event in files[received]], dtype=pl.Int64),
                "retracted": [event.value is None for event in files[received]],
                "seen": [(START + timedelta(hours=event.observed)).replace(tzinfo=None) for event in files[received]],
            }
        )
        form = rng.choice(["parquet", "csv", "ndjson"])
        land(paths.landing_labels, f"{received}.{form}", frame, START + timedelta(hours=received))
        if rng.random() < 0.7:
            intake(
                SPEC, paths, "labels", home, rng.sample(waiting := pending(SPEC, paths, "labels", home), len(waiting))
            )
    intake(SPEC, paths, "labels", home)

"""Predictions, corrections and withdrawals in any order, with copies, cut into any files, against a plain model."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightline.lake.intake.known_then import known_then
from sightline.lake.intake.load import intake
from sightline.lake.intake.sources import pending
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.parts import scan_lake
from sightline.spec.data_sections import Labels
from tests.support.labels import current_labels
from tests.support.lake import START, land, ledger_adds_up, make_paths, make_spec, quarantine

BASE = make_spec()
SPEC = make_spec(
    columns=BASE.columns.model_copy(update={"observed_at": "known"}), labels=Labels(column="y", observed_at="seen")
)
N = 4
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Made:
    """What is said of one prediction: made, corrected or withdrawn; times in hours since `START`."""

    number: int
    version: str | None
    made: int
    score: float | None
    known: int | None
    received: int

    @property
    def is_withdrawal(self) -> bool:
        return self.score is None


@dataclass(frozen=True)
class Said:
    """A label, or None where it is taken back."""

    number: int
    value: int | None
    seen: int
    received: int


def moment(hours: float) -> datetime:
    return (START + hours * HOUR).replace(tzinfo=None)


def speaks_of(revision: Made, row: Made) -> bool:
    return revision.number == row.number and revision.version in (None, row.version)


def those_that_count(events: Sequence[Made]) -> list[Made]:
    """The rule in plain words: the last revision of an id and version, else what was made first."""
    revisions = [event for event in events if event.known is not None]
    found: list[Made] = []
    for row in {replace(event, received=0) for event in events if not event.is_withdrawal}:
        of_row = [revision for revision in revisions if speaks_of(revision, row)]
        last = max(of_row, key=lambda r: r.known or 0, default=None)
        if row.known is not None:
            if last is not None and replace(last, received=0) == row:
                found.append(row)
        elif all(max(r.known or 0, r.made) + 24 < row.made // 24 * 24 for r in of_row):
            found.append(row)
    return found


def labels_of(rows: Sequence[Made], labels: Sequence[Said]) -> dict[str, float]:
    """The last label of each prediction of which a row counts."""
    found: dict[str, float] = {}
    for number in {row.number for row in rows}:
        last = max((label for label in labels if label.number == number), key=lambda s: s.seen, default=None)
        if last is not None and last.value is not None:
            found[f"id-{number}"] = float(last.value)
    return found


versions = st.sampled_from(["v1", "v2"])
rows_made = st.builds(
    Made, st.integers(0, N - 1), versions, st.integers(0, 70), st.sampled_from([0.1, 0.2]), st.none(), st.just(300)
)
corrections = st.builds(
    Made, st.integers(0, N - 1), versions, st.integers(0, 120), st.sampled_from([0.7, 0.8, 0.9]),
    st.integers(100, 250), st.integers(300, 310),
)  # fmt: skip
withdrawals = st.builds(
    Made, st.integers(0, N - 1), st.sampled_from(["v1", None]), st.just(0), st.none(),
    st.integers(100, 250), st.integers(300, 310),
)  # fmt: skip
numbers = st.integers(0, N - 1)
told = st.builds(Said, numbers, st.sampled_from([0, 1, None]), st.integers(130, 280), st.integers(300, 310))
used_again = st.builds(lambda made, more: replace(made, made=made.made + more), rows_made, st.integers(400, 430))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    made=st.lists(rows_made, max_size=7, unique_by=lambda m: (m.number, m.version, m.made // 24)),
    again=st.lists(used_again, max_size=1),
    revised=st.lists(corrections | withdrawals, max_size=9, unique_by=lambda m: m.known),
    labels=st.lists(told, max_size=6, unique_by=lambda s: s.seen),
    seed=st.integers(0, 2**16),
)
def test_any_delivery_gives_the_tables_of_the_model(
    made: list[Made], again: list[Made], revised: list[Made], labels: list[Said], seed: int
) -> None:
    rng = random.Random(seed)
    events = [*made, *(replace(m, received=600) for m in again), *revised]
    copies = [replace(event, received=event.received + rng.randint(1, 9)) for event in events if rng.random() < 0.4]
    label_copies = [replace(said, received=said.received + rng.randint(1, 9)) for said in labels if rng.random() < 0.3]
    root = Path(tempfile.mkdtemp())
    try:
        _deliver(root, [*events, *copies], [*labels, *label_copies], rng)
        _compare(root, events, labels)
        _compare_as_of(root, events, labels, rng.randint(90, 260))
    finally:
        shutil.rmtree(root)


def _compare(root: Path, events: list[Made], labels: list[Said]) -> None:
    _, paths = make_paths(root)
    expected = those_that_count(events)
    beside = [e for e in {replace(e, received=0) for e in events if not e.is_withdrawal} if e not in expected]
    for kind, rows in (("inferences", expected), ("replaced", beside)):
        found = scan_lake(SPEC, paths, kind).select("prediction_id", "model_version", "predicted_at", "score").collect()
        wanted = [(f"id-{row.number}", row.version, moment(row.made), row.score) for row in rows]
        assert sorted(found.rows()) == sorted(wanted), kind
    if not [event for event in expected if event.made >= 400]:  # else the rule of several predictions of an id decides
        assert current_labels(SPEC, paths) == labels_of(expected, labels)
    notes = quarantine(root)["reason"].to_list() if any(paths.quarantine.glob("*.parquet")) else []
    assert notes.count("superseded_prediction") == len(beside)
    ledger_adds_up(root)
    with open_ledger(paths.ledger) as ledger:
        waiting = sum(batch.n_unmatched for batch in ledger.batches("inferences"))
        changes = ledger.windows_since("inferences", 0)[0]
    rows = {replace(event, received=0) for event in events if not event.is_withdrawal}
    lost = {
        replace(event, received=0)
        for event in events
        if event.is_withdrawal
        and not any(speaks_of(event, row) and row.made // 24 * 24 <= (event.known or 0) + 24 for row in rows)
    }
    assert waiting == len(lost)
    live = scan_lake(SPEC, paths, "inferences").group_by("window_start").len().collect()
    assert {key: n for key, n in changes.items() if n} == {f"{start:%Y-%m-%d}": n for start, n in live.rows()}


def _compare_as_of(root: Path, events: list[Made], labels: list[Said], at: int) -> None:
    """What was known at a moment is what a lake without the later revisions holds, with the labels of today."""
    _, paths = make_paths(root)
    expected = those_that_count([event for event in events if event.known is None or event.known <= at])
    then = known_then(SPEC, paths, moment(at))
    live = {kind: scan_lake(SPEC, paths, kind).collect() for kind in ("inferences", "labels")}
    if then is not None:
        unchanged = {kind: rows.join(then.ids, on="prediction_id", how="anti") for kind, rows in live.items()}
        live = {
            kind: pl.concat([unchanged[kind], rows.drop("window_key")])
            for kind, rows in (("inferences", then.inferences), ("labels", then.labels))
        }
    found = live["inferences"].select("prediction_id", "model_version", "predicted_at", "score").rows()
    assert sorted(found) == sorted((f"id-{row.number}", row.version, moment(row.made), row.score) for row in expected)
    place = ["window_start", "prediction_id"]
    assert live["labels"].join(live["inferences"], on=place, how="anti").is_empty(), "a label without its prediction"
    ids = {f"id-{row.number}" for row in expected} & {f"id-{label.number}" for label in labels}
    assert {*live["labels"]["prediction_id"]} == ids


def _deliver(root: Path, events: list[Made], labels: list[Said], rng: random.Random) -> None:
    """Events of one time of receipt share a file; files are loaded in any order and grouping."""
    home, paths = make_paths(root)
    files: dict[tuple[str, int], list] = {}
    for event in rng.sample(events, len(events)):
        files.setdefault(("inferences", event.received), []).append(event)
    for label in rng.sample(labels, len(labels)):
        files.setdefault(("labels", label.received), []).append(label)
    order = [*files]
    rng.shuffle(order)
    for kind, received in order:
        frame = _rows(files[kind, received]) if kind == "inferences" else _labels(files[kind, received])
        form = rng.choice(["parquet", "csv", "ndjson"])
        folder = paths.landing_inferences if kind == "inferences" else paths.landing_labels
        land(folder, f"{received}.{form}", frame, START + received * HOUR)
        for loaded in ("inferences", "labels"):
            if rng.random() < 0.5:
                waiting = pending(SPEC, paths, loaded, home)
                intake(SPEC, paths, loaded, home, rng.sample(waiting, len(waiting)))
    for loaded in ("inferences", "labels"):
        intake(SPEC, paths, loaded, home)


def _rows(events: Sequence[Made]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": [f"id-{event.number}" for event in events],
            "ts": [None if event.is_withdrawal else moment(event.made) for event in events],
            "p": [event.score for event in events],
            "version": [event.version for event in events],
            "x": [0.5] * len(events),
            "c": ["red"] * len(events),
            "known": [None if event.known is None else moment(event.known) for event in events],
            "supersedes": [event.known is not None and not event.is_withdrawal for event in events],
            "withdrawn": [event.is_withdrawal for event in events],
        },
        schema_overrides={"ts": pl.Datetime("us"), "known": pl.Datetime("us"), "p": pl.Float64, "version": pl.String},
    )


def _labels(labels: Sequence[Said]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": [f"id-{label.number}" for label in labels],
            "y": pl.Series([label.value for label in labels], dtype=pl.Int64),
            "retracted": [label.value is None for label in labels],
            "seen": [moment(label.seen) for label in labels],
        }
    )

"""Going on from a checkpoint gives what a replay from the start gives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from metrics_py.alerting import replay
from sightline.alerts import decisions
from sightline.results.actions import append_action
from sightline.results.evidence import append_evidence, read_evidence
from sightline.results.snapshots import read_snapshot

START = datetime(2025, 1, 6)
N_STREAMS = 6


def rows(first: int, last: int, *, delay: int = 0, shift_at: int = 300) -> pl.DataFrame:
    """Evidence of days [first, last): stream 0 moves on day `shift_at`; streams are decided `delay` days later."""
    frames = []
    for day in range(first, last):
        rng = np.random.default_rng(day)
        value = rng.normal(size=N_STREAMS) + np.where(np.arange(N_STREAMS) == 0, 8.0 * (day >= shift_at), 0.0)
        window = START + timedelta(days=day)
        frames.append(
            pl.DataFrame(
                {
                    "stream": [f"drift/x{i}/s{delay}" for i in range(N_STREAMS)],
                    "asset": "drift",
                    "column": [f"x{i}" for i in range(N_STREAMS)],
                    "statistic": f"s{delay}",
                    "window_key": f"{window:%Y-%m-%d}",
                    "window_start": window,
                    "value": value,
                    "display_value": value,
                    "n": 100.0,
                    "variance": 0.01,
                    "decided_at": window + timedelta(days=delay),
                }
            )
        )
    return pl.concat(frames)


@pytest.fixture
def spec(make_spec):
    return make_spec(alerts={"budget": "1 per 90d"})


@pytest.fixture
def paths(home):
    return home.monitor("churn")


def from_the_start(spec, paths):
    """All evidence and actions, without a checkpoint."""
    from sightline.results.actions import read_actions

    log = read_evidence(paths).with_columns(group=decisions.group_of(pl.col("asset"), pl.col("column")))
    return replay(log, decisions.config(spec), [decisions.read_action(a) for a in read_actions(paths)])


def assert_same(spec, paths):
    whole = from_the_start(spec, paths)
    order = ["stream", "window_start"]
    told = decisions.with_warnings(whole.streams, again_after=spec.settle_windows * spec.window)
    assert_frame_equal(read_snapshot(paths, decisions.STREAMS).sort(order), told.sort(order))
    assert_frame_equal(read_snapshot(paths, decisions.INCIDENTS).select(whole.incidents.columns), whole.incidents)
    assert_frame_equal(read_snapshot(paths, decisions.MEMBERS).select(whole.members.columns), whole.members)
    return whole


def test_day_by_day_with_late_labels_and_an_action(spec, paths, monkeypatch):
    monkeypatch.setattr(decisions, "CHECKPOINT_FROM", 40)
    append_evidence(paths, rows(0, 100, shift_at=90), "history")
    append_evidence(paths, rows(0, 98, delay=2, shift_at=10**6), "history")
    decisions.run(spec, paths)
    assert (paths.results / "checkpoint.json.gz").exists()
    calls = []
    whole_replay = decisions.replay
    monkeypatch.setattr(decisions, "replay", lambda log, *a, **k: calls.append(len(log)) or whole_replay(log, *a, **k))
    for day in range(100, 130):
        append_evidence(paths, rows(day, day + 1, shift_at=90), "immediate")
        append_evidence(paths, rows(day - 2, day - 1, delay=2, shift_at=10**6), "delayed")
        if day == 110:
            incident = read_snapshot(paths, decisions.INCIDENTS)["incident_id"][0]
            at = (START + timedelta(days=day)).replace(tzinfo=UTC)
            append_action(paths, {"kind": "accept", "incident": incident, "effective_at": at.isoformat()})
        decisions.run(spec, paths)
    whole = assert_same(spec, paths)
    assert whole.incidents["status"].to_list()[0] == "accepted"
    assert max(calls) < 30 * N_STREAMS, "only the last days were replayed"


def test_evidence_in_the_past_drops_the_checkpoint(spec, paths, monkeypatch):
    monkeypatch.setattr(decisions, "CHECKPOINT_FROM", 40)
    append_evidence(paths, rows(0, 100), "history")
    decisions.run(spec, paths)
    append_evidence(paths, rows(10, 20, delay=1), "late")
    decisions.run(spec, paths)
    assert_same(spec, paths)


def test_other_settings_drop_the_checkpoint(spec, make_spec, paths, monkeypatch):
    monkeypatch.setattr(decisions, "CHECKPOINT_FROM", 40)
    append_evidence(paths, rows(0, 100, shift_at=95), "history")
    decisions.run(spec, paths)
    other = make_spec(alerts={"budget": "1 per 9000d"})
    append_evidence(paths, rows(100, 101, shift_at=95), "next")
    decisions.run(other, paths)
    assert_same(other, paths)


def test_a_damaged_checkpoint_is_none(spec, paths, monkeypatch):
    monkeypatch.setattr(decisions, "CHECKPOINT_FROM", 40)
    append_evidence(paths, rows(0, 100), "history")
    decisions.run(spec, paths)
    (paths.results / "checkpoint.json.gz").write_bytes(b"\x1f\x8b broken")
    append_evidence(paths, rows(100, 101), "next")
    decisions.run(spec, paths)
    assert_same(spec, paths)


def test_a_short_history_needs_no_checkpoint(spec, paths):
    append_evidence(paths, rows(0, 100), "history")
    decisions.run(spec, paths)
    assert not (paths.results / "checkpoint.json.gz").exists()
    assert_same(spec, paths)


@pytest.mark.parametrize("changed", [{}, {"budget": "1 per 30d"}])
def test_a_run_that_was_killed_before_it_published_loses_nothing(make_spec, paths, monkeypatch, changed):
    monkeypatch.setattr(decisions, "CHECKPOINT_FROM", 40)
    spec = make_spec(alerts={"budget": "1 per 90d"})
    append_evidence(paths, rows(0, 60, shift_at=70), "history")
    decisions.run(spec, paths)
    append_evidence(paths, rows(60, 85, shift_at=70), "later")
    later = make_spec(alerts={"budget": "1 per 90d", **changed})

    def killed(*_args: object) -> None:
        raise KeyboardInterrupt

    for name in (decisions.STREAMS, decisions.INCIDENTS, decisions.MEMBERS):
        write = decisions.write_snapshot
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(
                decisions,
                "write_snapshot",
                lambda paths, which, frame, name=name, write=write: (
                    killed() if which == name else write(paths, which, frame)
                ),
            )
            decisions.run(later, paths)
    decisions.run(later, paths)
    assert_same(later, paths)
    assert len(read_snapshot(paths, decisions.STREAMS)) == 85 * N_STREAMS

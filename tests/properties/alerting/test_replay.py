"""Properties of the alert engine under generated evidence: order, repetition, restarts, scale."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metrics_py.alerting import Engine, EngineConfig, replay

START = datetime(2025, 1, 6)
FAST = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def evidence(draw):
    """A log with shifts, gaps, late starts, missing values and given variances."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    days, streams = draw(st.integers(30, 110)), draw(st.integers(1, 6))
    values = rng.standard_normal((days, streams)) * 10.0 ** draw(st.integers(-3, 3))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, days - 1))
        values[at : at + draw(st.integers(1, 40)), draw(st.integers(0, streams - 1))] *= draw(
            st.sampled_from([0.0, 5.0, 1e6])
        )
    values[rng.random(values.shape) < draw(st.sampled_from([0.0, 0.1]))] = np.nan
    frame = pl.DataFrame(
        {
            "stream": [f"s{k}" for k in range(streams)] * days,
            "window_start": [START + timedelta(days=d) for d in range(days) for _ in range(streams)],
            "value": values.ravel(),
            "variance": rng.choice([0.0, 0.01, 1.0], days * streams),
        }
    )
    return frame.filter(pl.Series(rng.random(len(frame)) >= draw(st.sampled_from([0.0, 0.2]))))


def config():
    return EngineConfig.from_budget(1, timedelta(days=30), memory=60)


@FAST
@given(evidence(), st.integers(0, 2**32 - 1))
def test_row_order_does_not_matter(frame, seed):
    a, b = replay(frame, config()), replay(frame.sample(fraction=1.0, shuffle=True, seed=seed), config())
    assert a.streams.equals(b.streams)
    assert a.incidents.equals(b.incidents)
    assert a.members.equals(b.members)


@FAST
@given(evidence(), st.floats(0, 1))
def test_repeated_days_are_never_counted_twice(frame, share):
    repeated = frame.head(int(share * len(frame))).with_columns(value=pl.col("value") + 1e3)
    a, b = replay(frame, config()), replay(pl.concat([frame, repeated]), config())
    assert a.streams.equals(b.streams)
    assert len(b.ignored) == len(repeated)


@FAST
@given(evidence(), st.floats(0, 1))
def test_later_rows_never_change_earlier_decisions(frame, share):
    end = START + timedelta(days=int(share * 110))
    early = replay(frame.filter(pl.col("window_start") < end), config())
    all_rows = replay(frame, config())
    columns = [name for name in early.streams.columns if name != "incident_id"]
    assert early.streams.select(columns).equals(all_rows.streams.filter(pl.col("window_start") < end).select(columns))
    assert (
        early.incidents["incident_id"].to_list() == all_rows.incidents["incident_id"].to_list()[: len(early.incidents)]
    )


@FAST
@given(evidence(), st.floats(0, 1))
def test_a_restart_from_the_saved_state_gives_identical_evidence(frame, share):
    settings_ = config()
    days = frame.partition_by("window_start", maintain_order=True)
    stop = int(share * len(days))
    whole, resumed = Engine(settings_), Engine(settings_)
    for k, rows in enumerate(days):
        if k == stop:
            resumed = Engine.from_state(json.loads(json.dumps(resumed.to_state())), settings_)
        stats = dict(zip(rows["stream"], rows["value"], strict=True))
        a, b = (engine.update(rows["window_start"][0], stats) for engine in (whole, resumed))
        np.testing.assert_array_equal(a.evidence, b.evidence)
        np.testing.assert_array_equal(a.z, b.z)
        np.testing.assert_array_equal(a.rejected, b.rejected)
    assert json.dumps(whole.to_state()) == json.dumps(resumed.to_state())


@FAST
@given(evidence(), st.sampled_from([1e-6, 4.0, 1e5]), st.sampled_from([0.0, -7.0]))
def test_unit_and_origin_do_not_matter(frame, scale, origin):
    changed = frame.with_columns(value=pl.col("value") * scale + origin * scale, variance=pl.col("variance") * scale**2)
    a, b = replay(frame, config()), replay(changed, config())
    np.testing.assert_allclose(a.streams["z"].to_numpy(), b.streams["z"].to_numpy(), rtol=1e-4, atol=1e-4)
    assert a.incidents["incident_id"].to_list() == b.incidents["incident_id"].to_list()


@FAST
@given(evidence())
def test_evidence_is_finite_and_muted_streams_gather_none(frame):
    result = replay(frame, config())
    assert result.streams["evidence"].drop_nulls().is_finite().all()
    assert (result.streams.filter(pl.col("muted"))["evidence"].drop_nulls() == 0).all()
    sizes = result.incidents["n_streams"]
    assert (sizes >= 1).all()
    open_now = result.members.filter(status="open")
    assert open_now["stream"].is_unique().all()

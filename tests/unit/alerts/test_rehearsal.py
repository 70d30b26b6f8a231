"""Rehearsal: changed counts are those of changed rows, and the engine tells such changes as soon as it would have."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from metrics_py.alerting.rehearsal import AT_ONCE, Rate, alerts_after, starts_of
from metrics_py.drift.injected import lost, moved, replaced, swapped
from metrics_py.profile.build import build_profile, count
from sightline.alerts import decisions
from sightline.alerts.rehearsal.injections import Aggregates, Injection, planned
from sightline.alerts.rehearsal.picture import picture
from sightline.alerts.rehearsal.run import Delay, Price, Rehearsal
from sightline.commands.rehearse import _span
from sightline.errors import SightlineError
from sightline.judging.evidence import column_evidence, stream_name
from sightline.judging.stretches import Stretches
from sightline.spec.budget import parse_budget
from tests.support.alerting import START, day

DAYS, ROWS = 120, 2000


def rows(kind: str, rng: np.random.Generator, n: int) -> np.ndarray:
    match kind:
        case "smooth":
            return rng.normal(50, 10, n)
        case "whole":
            return rng.poisson(4, n).astype(float)
        case _:
            return np.where(rng.random(n) < 0.4, 0.0, rng.exponential(3, n))


@pytest.mark.parametrize("kind", ["smooth", "whole", "half_zero"])
@pytest.mark.parametrize(("shift", "spread"), [(0.5, 1.0), (-0.5, 1.0), (0.0, 1.5)])
def test_moved_counts_are_close_to_those_of_moved_rows(kind, shift, spread):
    rng = np.random.default_rng([8, len(kind), int(10 * shift) % 7])
    profile = build_profile(rows(kind, rng, 20_000), "numeric")
    x = rows(kind, rng, 20_000)
    truth = profile.mean + spread * (x - profile.mean) + shift * profile.scale
    dealt = moved(profile, count(profile, x)[None], rng, shift=shift, spread=spread)
    assert dealt.sum() == len(x)
    before, after = profile.merged(count(profile, x)), profile.merged(dealt[0])
    if kind == "smooth":
        expected = profile.merged(count(profile, truth))
        assert np.abs(after - expected).sum() / len(x) < 0.06
        assert np.abs(before - expected).sum() / len(x) > 0.2
    center = np.nan_to_num(profile.center[profile.group_bins])
    clipped = np.clip(truth, profile.minimum, profile.maximum)
    assert after @ center / after.sum() == pytest.approx(clipped.mean(), abs=0.12 * profile.scale)


def test_lost_and_replaced_rows_keep_their_number():
    rng = np.random.default_rng(31)
    profile = build_profile(list("aaaabbbc") * 500, "categorical")
    counts = count(profile, list("aaaabbbc") * 250)[None]
    for change, kind in ((lost, "null"), (replaced, "unseen")):
        dealt = change(profile, counts, rng, 0.2)
        assert dealt.sum() == counts.sum() == 2000
        assert dealt[0, profile.bin_kind.index(kind)] == pytest.approx(400, abs=80)
    with pytest.raises(ValueError, match="not between 0 and 1"):
        lost(profile, counts, rng, 1.2)
    with pytest.raises(ValueError, match="only numbers"):
        moved(profile, counts, rng, shift=1.0)
    to_b = swapped(profile, counts, rng, 1.0, "a", "b")
    assert to_b[0, profile.label.index("a")] == 0
    assert to_b[0, profile.label.index("b")] == 1750


@pytest.fixture
def world(make_spec):
    """A numeric column and the rows of a monitor, without any change."""
    rng = np.random.default_rng(77)
    spec = make_spec(alerts={"budget": "1 per 90d"})
    profile = build_profile(rng.normal(50, 10, 50_000), "numeric", column="tenure_months")
    values = [rng.normal(50, 10, ROWS) for _ in range(DAYS)]
    bins = pl.concat(
        pl.DataFrame({"window_start": [day(k)] * len(profile), "bin_id": range(len(profile)), "n": count(profile, x)})
        for k, x in enumerate(values)
    ).with_columns(column_name=pl.lit("tenure_months"), segment=pl.lit("all"))
    bins = bins.filter(pl.col("n") > 0).with_columns(pl.col("bin_id").cast(pl.Int32), pl.col("n").cast(pl.Int64))
    evidence = column_evidence(spec, bins, {"tenure_months": profile}, "drift", Stretches(spec))
    log = evidence.with_columns(stream=stream_name(), decided_at=pl.col("window_start"))
    volume = [
        {"stream": "data_quality/n_rows", "asset": "data_quality", "column": "", "statistic": "n_rows"}
        | {"window_start": day(k), "decided_at": day(k), "value": float(np.log(n + 1)), "variance": 1 / (n + 1)}
        | {"display_value": float(n), "n": float(n)}
        for k, n in enumerate(rng.poisson(ROWS, DAYS))
    ]
    log = pl.concat([log, pl.DataFrame(volume)], how="diagonal_relaxed")
    log = log.with_columns(window_key=pl.col("window_start").dt.strftime("%Y-%m-%d"))
    log = decisions.log_of(spec, log)
    both = {"column_bins": bins, "label_bins": bins.clear()}
    whole = Stretches(spec)
    found = Aggregates(spec, {"tenure_months": profile}, both, dict.fromkeys(both, whole), log)
    return found, profile, values


def test_a_changed_log_is_that_of_changed_rows(world):
    found, profile, values = world
    start = day(80)
    same = found.recomputed("tenure_months", start).join(found.log, on=["stream", "window_start"])
    assert (same["value"] - same["value_right"]).abs().max() < 1e-12
    assert len(same) == 40 * len(found.log.filter(column="tenure_months")["stream"].unique())
    log, streams = found.changed(Injection("mean", 0.5, ""), "tenure_months", start, np.random.default_rng(5))
    assert "drift/tenure_months/location" in streams
    later = log.filter(pl.col("window_start") >= start, stream="drift/tenure_months/location")
    raw = np.array([(np.clip(x + 0.5 * profile.scale, 0, 90).mean() - profile.mean) for x in values[80:]])
    assert later["value"].mean() == pytest.approx(raw.mean() / profile.scale, rel=0.1)
    before = log.filter(pl.col("window_start") < start)
    assert before.equals(found.log.filter(pl.col("window_start") < start))


def test_fewer_rows_and_more_missing_ones_are_seen_where_they_are(world):
    found, _, _ = world
    rng = np.random.default_rng(6)
    log, streams = found.changed(Injection("rows", 0.3, ""), "n_rows", day(80), rng)
    assert streams == {"data_quality/n_rows"}
    fewer = log.filter(pl.col("window_start") >= day(80), stream="data_quality/n_rows")["value"].exp().mean()
    assert fewer == pytest.approx(0.7 * ROWS, rel=0.02)
    log, streams = found.changed(Injection("missing", 0.05, ""), "tenure_months", day(80), rng)
    rate = log.filter(pl.col("window_start") >= day(80), stream="data_quality/tenure_months/null_rate")["value"]
    assert (rate.sin() ** 2).mean() == pytest.approx(0.05, rel=0.05)
    assert "data_quality/tenure_months/null_rate" in streams


def test_a_change_is_told_as_soon_as_the_whole_replay_tells_it(world):
    found, _, _ = world
    config = decisions.config(found.spec)
    start = day(80)
    log, streams = found.changed(Injection("mean", 0.25, ""), "tenure_months", start, np.random.default_rng(7))
    at = starts_of(found.log, config, [day(60), start])[1]
    alerts, live = alerts_after(log, config, at, 30, until=dict.fromkeys(streams, datetime.max))
    assert "drift/tenure_months/location" in live
    from metrics_py.alerting import replay

    whole = replay(log.filter(pl.col("decided_at") < start + timedelta(days=30)), config)
    told = whole.streams.filter(pl.col("status") == "alert", pl.col("stream").is_in(list(streams)))
    assert min(alerts[s] for s in streams & alerts.keys()) == told["decided_at"].min()
    usual, _ = alerts_after(found.log, config, at, 30)
    assert usual == {}


def test_an_alert_that_comes_anyway_does_not_end_the_watch(world):
    """One stream tells something else as it would have; the change is told later, by another stream."""
    found, _, _ = world
    config = decisions.config(found.spec)
    start = day(80)
    log, streams = found.changed(Injection("mean", 0.04, ""), "tenure_months", start, np.random.default_rng(7))
    at = starts_of(found.log, config, [start])[0]
    plain, _ = alerts_after(log, config, at, 30)
    first = min(plain[s] for s in streams & plain.keys())
    rows = "data_quality/n_rows"  # breaks down with the change, as it would have without
    broken = pl.when(stream=rows).then(pl.col("value") - 3 * (pl.col("window_start") >= start)).otherwise("value")
    log, anyway = log.with_columns(value=broken), found.log.with_columns(value=broken)
    usual, _ = alerts_after(anyway, config, at, 30)
    assert usual[rows] + timedelta(days=AT_ONCE) < first
    until = {s: usual.get(s, datetime.max) for s in (*streams, rows)}
    alerts, _ = alerts_after(log, config, at, 30, until)
    assert [s for s, moment in alerts.items() if s in streams and moment < until[s]]


def test_kinds_that_a_monitor_does_not_have_are_not_planned(world):
    found, _, _ = world
    kinds = {each.kind for each in planned(found.spec, found.profiles) if found.targets(each)}
    assert {"mean", "spread", "missing", "unseen", "rows"} <= kinds
    assert not kinds & {"score", "label"}


def test_a_mean_that_no_stream_watches_is_not_moved(world):
    """Of a text its length is counted, and its descriptors are watched in its place."""
    found, _, _ = world
    mean, missing = Injection("mean", 0.5, ""), Injection("missing", 0.5, "")
    name = found.targets(mean)[0]
    unwatched = (pl.col("column") == name) & (pl.col("statistic") == "location")
    left = replace(found, log=found.log.filter(~unwatched))
    assert name not in left.targets(mean)
    assert name in left.targets(missing)


def test_rates_have_exact_intervals():
    assert Rate(0, 365).interval(90)[0] == 0.0
    assert Rate(0, 365).interval(90)[1] == pytest.approx(3.6889 / 365 * 90, rel=1e-4)
    assert np.isnan(Rate(0, 0).per(90))


def delay(days) -> Delay:
    return Delay(parse_budget("1 per 90d"), Injection("mean", 0.5, "<b>"), tuple(days), 0)


@pytest.mark.parametrize(
    ("days", "median", "found"),
    [([3.0, 5.0, None], 5.0, 2 / 3), ([3.0, None, None], None, 1 / 3), ([2.0, None], None, 0.5), ([], None, None)],
)
def test_the_median_counts_what_was_never_told(days, median, found):
    assert delay(days).median == median
    assert delay(days).found == found


def test_the_picture_escapes_names():
    price = Price(parse_budget("1 per 90d"), Rate(1, 90), 0)
    told = Rehearsal('a"<script>', START, START, (), (START,), timedelta(days=60), (price,), (delay([2.0, None]),))
    drawn = picture(told)
    assert "<script" not in drawn
    assert drawn.count("<polyline") == 1


def test_known_time_is_in_whole_days():
    first, last = _span("2026-03-01:2026-03-14")
    assert first == datetime(2026, 3, 1)
    assert datetime(2026, 3, 14, 23) < last < datetime(2026, 3, 15)
    assert _span("2026-03-01")[1] > datetime(2026, 3, 1, 23)


@pytest.mark.parametrize("text", ["", "soon", "2026-03-02:2026-03-01", "2026-03-01T05+02:2026-03-02T06", "2026-13-01"])
def test_other_spans_are_refused(text):
    with pytest.raises(SightlineError, match="--known"):
        _span(text)

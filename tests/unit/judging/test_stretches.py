"""Columns with too few rows in a window: judged over seven days (24 hours) together, as streams of their own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from metrics_py.drift.daily_statistics import column_streams
from metrics_py.drift.effects import psi_effect
from metrics_py.drift.rare_bins import coarsen
from metrics_py.profile.build import build_profile, count
from sightline.judging import drift
from sightline.judging.evidence import publishable
from sightline.judging.stretches import ends_again, read_stretches
from sightline.lake.intake.rounding import IMPRECISE
from sightline.lake.store.progress import open_progress
from sightline.results.evidence import append_evidence, read_evidence
from sightline.spec.stretches import STRETCHES, is_over_stretch, split
from tests.support.marts import day, key, one, put

SUNDAYS = [3, 10, 17, 24]
"""Of January 2026, counted from its first day, a Thursday."""


def reference(rows_per_window: float | None = 15, seed: int = 1):
    values = np.random.default_rng(seed).normal(size=4000)
    return build_profile(values, "numeric", column="age", bins=8, rows_per_window=rows_per_window)


def fill(con, profile, samples: list[np.ndarray], first: int = 0, step: timedelta = timedelta(days=1)) -> None:
    """Windows from `first` on, all rows together."""
    form = "%Y-%m-%d" if step.days else "%Y-%m-%d-%H"
    rows = [
        {
            "window_key": f"{day(0) + (first + k) * step:{form}}",
            "window_start": day(0) + (first + k) * step,
            "model_version": "v1",
            "segment": "all",
            "column_name": profile.column,
            "bin_id": bin_id,
            "n": int(n),
        }
        for k, values in enumerate(samples)
        for bin_id, n in enumerate(count(profile, values))
        if n
    ]
    con.register("rows", pl.DataFrame(rows))
    con.execute("insert into marts.column_bins by name from rows")


def days(n: int, rows: int = 15, seed: int = 2) -> list[np.ndarray]:
    return [np.random.default_rng([seed, k]).normal(size=rows) for k in range(n)]


def ordered(evidence: pl.DataFrame) -> pl.DataFrame:
    return evidence.sort("window_start", "asset", "statistic")


@pytest.fixture
def spec(make_spec):
    return make_spec(columns={"score": "p", "features": {"age": "numeric"}})


def test_names_tell_how_long_a_stretch_is():
    assert split("drift/a@7d/skew@7d") == ("drift/a@7d/skew", "7 days")
    assert split("drift/@score/skew@24h") == ("drift/@score/skew", "24 hours")
    assert split("drift/a@7d/skew") == ("drift/a@7d/skew", "")
    assert is_over_stretch("over 7 days: above") and not is_over_stretch("above") and not is_over_stretch(None)


class TestWhichColumns:
    @pytest.mark.parametrize(
        ("rows", "design_effect", "long"),
        [(15, 1, True), (14, 1, False), (199, 1, True), (200, 1, False), (960, 8, True), (960, 4.8, False)],
    )
    def test_by_what_is_usual_too_little_for_a_window_and_enough_for_a_stretch(
        self, spec, con, rows, design_effect, long
    ):
        profile = replace(reference(rows), design_effect=design_effect)
        found = read_stretches(spec, con, "column_bins", [key(3)], {"age": profile}).columns
        assert (found["age"].values, found["age"].missing) == (True, True) if long else found == {}

    def test_missing_values_are_told_by_all_rows(self, spec, con):
        values = np.where(np.arange(4000) % 10 < 9, np.nan, np.random.default_rng(3).normal(size=4000))
        profile = build_profile(values, "numeric", column="age", bins=8, rows_per_window=400)
        fill(con, profile, [values[:400]] * 4)
        found = drift.judge(spec, con, [key(k) for k in range(4)], {"age": profile}).evidence
        assert found.filter(statistic="null_rate")["value"].null_count() == 0
        assert "location@7d" not in found["statistic"], "the first stretch began before the history"
        assert "location" not in found["statistic"] and "null_rate@7d" not in found["statistic"]

    def test_weekly_windows_are_long_enough(self, make_spec, con):
        spec = make_spec(schedule="weekly", columns={"score": "p", "features": {"age": "numeric"}})
        assert read_stretches(spec, con, "column_bins", [key(4)], {"age": reference(30)}).columns == {}

    def test_a_reference_file_leaves_it_to_the_first_whole_stretch(self, make_spec, con):
        spec = make_spec(
            columns={"score": "p", "features": {"age": "numeric"}},
            reference={"kind": "file", "path": "r.parquet"},
            start="2026-01-01",
        )
        profile = reference(None)
        fill(con, profile, days(25))
        keys = [key(k) for k in range(25)]
        at_once = drift.judge(spec, con, keys, {"age": profile})
        skew = at_once.evidence.filter(pl.col("statistic").str.starts_with("skew")).sort("window_start")
        by_window = skew.filter(statistic="skew")
        assert by_window["window_start"].to_list() == [day(k) for k in range(10)]
        assert by_window["value"].null_count() == 10
        assert skew.filter(statistic="skew@7d")["window_start"].to_list() == [day(k) for k in (10, 17, 24)]
        psi = at_once.judgements.filter(metric="psi").sort("window_start")["reason_code"].to_list()
        assert psi[:10] == ["too_few_rows"] * 10
        assert psi[11:17] == ["judged_later"] * 6
        part = [drift.judge(spec, con, [each], {"age": profile}).evidence for each in keys]
        assert_frame_equal(ordered(pl.concat(part)), ordered(at_once.evidence))


class TestEvidence:
    def test_it_is_that_of_the_windows_together(self, spec, con):
        profile, samples = reference(), days(25)
        fill(con, profile, samples)
        found = drift.judge(spec, con, [key(k) for k in range(25)], {"age": profile}).evidence
        assert found["window_start"].unique().sort().to_list() == [day(k) for k in SUNDAYS[1:]]
        counts = np.array([np.sum([count(profile, s) for s in samples[k - 6 : k + 1]], axis=0) for k in SUNDAYS[1:]])
        expected = column_streams(replace(profile, rows_per_window=105), counts, min_rows=50)
        assert {s.statistic + "@7d" for s in expected} == set(found["statistic"])
        for stream in expected:
            rows = found.filter(statistic=stream.statistic + "@7d").sort("window_start")
            assert rows["value"].to_list() == pytest.approx(stream.value.tolist())
            assert rows["variance"].to_list() == pytest.approx(stream.variance.tolist())
            assert rows["n"].to_list() == [105] * 3
        assert set(found.filter(asset="data_quality")["statistic"]) == {"null_rate@7d", "out_of_range_rate@7d"}

    def test_a_usual_column_has_no_second_stream(self, spec, con):
        profile = reference(200)
        fill(con, profile, days(25, rows=200))
        found = drift.judge(spec, con, [key(k) for k in range(25)], {"age": profile}).evidence
        assert not any(split(name)[1] for name in found["statistic"])
        assert found.filter(statistic="skew")["value"].null_count() == 0

    def test_day_by_day_gives_what_all_at_once_gives(self, spec, con):
        profile = reference()
        samples = [sample for k, sample in enumerate(days(25)) if k != 12]  # a silent day
        fill(con, profile, samples[:12])
        fill(con, profile, samples[12:], first=13)
        keys = [key(k) for k in range(25)]
        at_once = drift.judge(spec, con, keys, {"age": profile})
        by_day = [drift.judge(spec, con, [each], {"age": profile}) for each in keys]
        assert_frame_equal(ordered(pl.concat([found.evidence for found in by_day])), ordered(at_once.evidence))
        whole = pl.concat([found.judgements for found in by_day])
        by = ["window_start", "metric", "model_version"]
        assert_frame_equal(whole.sort(by), at_once.judgements.sort(by))

    def test_day_by_day_knows_no_later_rows(self, spec, con):
        """The history grows between the runs, as in the daily path."""
        profile, samples = reference(), days(25)
        found: list[pl.DataFrame] = []
        for k, sample in enumerate(samples):
            fill(con, profile, [sample], first=k)
            found.append(drift.judge(spec, con, [key(k)], {"age": profile}).evidence)
        at_once = drift.judge(spec, con, [key(k) for k in range(25)], {"age": profile}).evidence
        assert_frame_equal(ordered(pl.concat(found)), ordered(at_once))

    def test_late_rows_do_not_rewrite_it(self, spec, con, home):
        profile, paths = reference(), home.monitor("churn")
        fill(con, profile, days(11))
        now = datetime(2026, 2, 1, tzinfo=UTC)

        def publish(*windows: int) -> None:
            keys = [key(k) for k in windows]
            found = drift.judge(spec, con, keys, {"age": profile}).evidence
            append_evidence(paths, publishable(spec, found, keys, now, None, mature=False), "run")

        publish(*range(11))
        before = read_evidence(paths)
        assert set(before["window_key"]) == {key(10)}
        fill(con, profile, [np.full(100, 3.0)], first=6)
        publish(6, 10)
        assert_frame_equal(read_evidence(paths), before)

    def test_one_open_window_keeps_the_stretch_back(self, spec, con):
        profile = reference()
        fill(con, profile, days(11))
        found = drift.judge(spec, con, [key(10)], {"age": profile}).evidence
        now = datetime(2026, 1, 12, 0, 59, tzinfo=UTC)
        assert publishable(spec, found, [key(10)], now, None, mature=False).is_empty()

    def test_an_almost_empty_stretch_says_so(self, spec, con):
        profile = reference()
        fill(con, profile, days(7, rows=7), first=4)
        row = (
            drift.judge(spec, con, [key(10)], {"age": profile}).evidence.filter(statistic="skew@7d").row(0, named=True)
        )
        assert (row["value"], row["reason_code"]) == (None, "too_few_rows")
        assert row["reason"] == "49 rows in 7 days, 50 needed: judge longer windows"

    def test_hours_are_judged_by_the_day(self, make_spec, con):
        spec = make_spec(
            columns={"score": "p", "features": {"age": "numeric"}},
            schedule="hourly",
            reference={"kind": "window", "start": "2026-01-01", "end": "2026-01-02"},
        )
        profile = reference(15)
        fill(con, profile, days(72), step=timedelta(hours=1))
        keys = [f"{day(0) + timedelta(hours=k):%Y-%m-%d-%H}" for k in range(72)]
        found = drift.judge(spec, con, keys, {"age": profile})
        assert found.evidence["window_start"].unique().sort().to_list() == [
            day(k) + timedelta(hours=23) for k in range(3)
        ]
        assert set(found.evidence["statistic"].str.split("@").list.last()) == {"24h"}
        told = found.judgements.filter(metric="psi", window_start=day(1)).row(0, named=True)
        assert told["reason"] == "judged over 24 hours, with the window of 2026-01-02 23:00"

    def test_one_imprecise_day_spoils_the_stretch(self, spec, con):
        profile = reference()
        fill(con, profile, days(18))
        put(con, "rejections", 12, kind="inferences", column_name="age", reason=IMPRECISE, severity="note", n=3)
        found = drift.judge(spec, con, [key(k) for k in (10, 17)], {"age": profile})
        skew = found.evidence.filter(statistic="skew@7d").sort("window_start")
        assert skew["reason_code"].to_list() == [None, "imprecise"]
        assert skew["value"].is_null().to_list() == [False, True]
        assert found.evidence.filter(statistic="null_rate@7d")["value"].null_count() == 0
        assert one(found.judgements, "psi", 17, "age")["reason_code"] == "imprecise"


class TestJudgements:
    def test_the_last_window_tells_of_all_and_the_others_that_it_will(self, spec, con):
        profile, samples = reference(), days(18)
        samples[11:] = [sample + 1.5 for sample in samples[11:]]
        fill(con, profile, samples)
        judged = drift.judge(spec, con, [key(k) for k in range(18)], {"age": profile}).judgements
        still, moved = one(judged, "psi", 10, "age"), one(judged, "psi", 17, "age")
        counts = np.sum([count(profile, s) for s in samples[11:18]], axis=0)
        a, b = coarsen(profile.merged(profile.n_reference)[None], profile.merged(counts)[None], is_ordered=True)
        effect = psi_effect(a, b)
        assert (moved["n"], moved["status"], moved["reason_code"]) == (105, "warn", "drift")
        assert (moved["ci_low"], moved["ci_high"]) == pytest.approx((effect.ci_low[0], effect.ci_high[0]))
        assert moved["reason"].startswith("over 7 days: higher by 1.")
        assert still["status"] != "warn" and still["reason"].startswith("over 7 days")
        between = one(judged, "psi", 12, "age")
        assert (between["status"], between["value"]) == ("insufficient_data", None)
        assert between["reason"] == "judged over 7 days, with the window of 2026-01-18"
        assert judged.filter(window_start=day(12), model_version="all")["metric"].to_list() == ["psi"]
        facts = judged.filter(pl.col("metric") != "psi", window_start=day(17), model_version="all")
        assert set(facts["reason"]) == {"over 7 days"} and set(facts["reason_code"]) == {"pooled"}

    def test_segments_and_versions_stay_by_window(self, make_spec, con):
        spec = make_spec(columns={"score": "p", "model_version": "v", "features": {"age": "numeric"}})
        profile = reference()
        fill(con, profile, days(11))
        put(con, "column_bins", 10, column_name="age", bin_id=1, n=3, segment="plan=a")
        judged = drift.judge(spec, con, [key(10)], {"age": profile}).judgements
        assert one(judged, "psi", 10, "age", "plan=a")["reason_code"] == "no_reference"
        assert one(judged, "psi", 10, "age", version="v1")["reason"] == "15 rows; 200 needed"
        assert one(judged, "psi", 10, "age")["n"] == 105

    def test_a_rolling_reference_ends_before_the_stretch_begins(self, make_spec, con):
        spec = make_spec(
            columns={"score": "p", "features": {"age": "numeric"}},
            reference={"kind": "rolling", "length": "14d"},
            start="2026-01-01",
        )
        profile, samples = reference(), days(25)
        fill(con, profile, samples)
        row = one(drift.judge(spec, con, [key(24)], {"age": profile}).judgements, "psi", 24, "age")
        before, now = (
            profile.merged(np.sum([count(profile, s) for s in part], axis=0))[None]
            for part in (samples[4:18], samples[18:25])
        )
        assert row["ci_high"] == pytest.approx(psi_effect(*coarsen(before, now, is_ordered=True)).ci_high[0])

    def test_what_is_usual_is_usual_for_stretches(self, make_spec, con):
        spec = make_spec(
            columns={"score": "p", "features": {"age": "numeric"}},
            reference={"kind": "window", "start": "2026-01-05", "end": "2026-04-06"},
        )
        rng = np.random.default_rng(9)
        samples = [
            level + rng.normal(size=28)
            for level in np.repeat(rng.normal(0, 1.0, size=15), 7)  # weeks differ
        ]
        profile = build_profile(np.concatenate(samples[:91]), "numeric", column="age", bins=8, rows_per_window=28)
        fill(con, profile, samples, first=4)
        row = one(drift.judge(spec, con, [key(101)], {"age": profile}).judgements, "psi", 101, "age")
        assert row["bound_high"] > 0.2
        assert "usual for 7 days, " in row["reason"]


@pytest.mark.parametrize(("schedule", "window"), [("hourly", timedelta(hours=1)), ("daily", timedelta(days=1))])
def test_a_stretch_is_as_long_as_its_unit_of_the_calendar(schedule, window):
    stretch = STRETCHES[schedule]
    assert stretch.n * window == {"1d": timedelta(days=1), "1w": timedelta(days=7)}[stretch.truncated]


class TestJudgedAgain:
    """Stretches that were judged and hold a window of a run."""

    @pytest.fixture
    def paths(self, home):
        return home.monitor("churn")

    def work_up(self, paths, windows, reference: str = "a") -> None:
        with open_progress(paths.ledger) as progress:
            progress.write_aggregated("immediate", [key(k) for k in windows], 1, reference)
            progress.write_judged("immediate", "drift", [key(k) for k in windows], datetime.now(UTC), "run")

    def test_they_are_those_judged_before_under_the_same_reference(self, spec, paths):
        self.work_up(paths, range(13))
        assert ends_again(spec, paths, "drift", [key(6), key(7)]) == [key(10)]
        assert ends_again(spec, paths, "drift", [key(2), key(6)]) == [key(3), key(10)]
        assert ends_again(spec, paths, "drift", [key(6), key(10)]) == [], "it is judged anyway"
        assert ends_again(spec, paths, "drift", [key(11), key(12)]) == [], "this week has not been judged yet"
        self.work_up(paths, [6], reference="b")
        assert ends_again(spec, paths, "drift", [key(6)]) == [], "it is worked up anew itself"

    def test_weekly_windows_have_none(self, make_spec, paths):
        spec = make_spec(schedule="weekly", columns={"score": "p", "features": {"age": "numeric"}})
        assert ends_again(spec, paths, "drift", [key(4)]) == []

    def test_the_whole_window_is_judged_with_them(self, spec, con):
        profile = reference()
        fill(con, profile, days(14))
        both = drift.judge(spec, con, [key(6), key(10)], {"age": profile})
        found = drift.judge(spec, con, [key(6)], {"age": profile}, again=[key(10)])
        assert_frame_equal(found.judgements, both.judgements, check_row_order=False)
        assert_frame_equal(ordered(found.evidence), ordered(both.evidence))
        assert found.windows(spec, [key(6)]) == [key(6), key(10)] and set(found.others["ending"]) == {""}

    def test_where_no_column_is_over_stretches_nothing_more_is_judged(self, spec, con):
        profile = reference(400)
        fill(con, profile, days(14, rows=400))
        found = drift.judge(spec, con, [key(6)], {"age": profile}, again=[key(10)])
        assert set(found.judgements["window_start"]) == {day(6)} and found.others.is_empty()

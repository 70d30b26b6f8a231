"""Windows whose rows came, or were corrected, after the alert engine had decided: told by what they hold today."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from sightline.alerts import decisions
from sightline.judging.board import evaluate
from sightline.judging.published import read_published
from sightline.judging.revised import with_revised
from sightline.judging.verdicts import verdicts
from sightline.results.evidence import append_evidence, read_evidence, read_revised
from sightline.results.judgements import append_judgements
from sightline.results.snapshots import read_snapshot
from sightline.spec import plan

START = datetime(2026, 1, 5)
DAYS, OUT = 60, range(52, 58)
ASSET = "data_quality"


def day(k: int) -> datetime:
    return START + timedelta(days=k)


def key(k: int) -> str:
    return f"{day(k):%Y-%m-%d}"


def rows_of(counts: dict[int, int]) -> pl.DataFrame:
    """Evidence of row volume as the asset gives it: ``log(n + 1)``."""
    n = np.array(list(counts.values()), dtype=float)
    return pl.DataFrame(
        {
            "stream": "data_quality/n_rows",
            "asset": ASSET,
            "column": "",
            "statistic": "n_rows",
            "window_key": [key(k) for k in counts],
            "window_start": [day(k) for k in counts],
            "value": np.log(n + 1),
            "display_value": n,
            "n": n,
            "variance": 1 / (n + 1),
            "reference": "",
        }
    )


def judgements_of(monitor: str, counts: dict[int, int]) -> pl.DataFrame:
    starts = [day(k) for k in counts]
    missing = ("ci_low", "ci_high", "reference_value", "bound_low", "bound_high", "naive_value", "maturity")
    return pl.DataFrame(
        {
            "monitor": monitor,
            "model_version": "all",
            "window_start": starts,
            "window_end": [start + timedelta(days=1) for start in starts],
            "segment": "all",
            "column": "",
            "metric": "n_rows",
            "value": [float(n) for n in counts.values()],
            "n": list(counts.values()),
            "status": "ok",
            **dict.fromkeys((*missing, "reason", "reason_code")),
        }
    )


@pytest.fixture
def spec(make_spec):
    return make_spec(alerts={"budget": "1 per 30d", "warmup": 14})


@pytest.fixture
def paths(home):
    return home.monitor("churn")


@pytest.fixture
def counts():
    return {k: int(n) for k, n in enumerate(np.random.default_rng(7).poisson(120, DAYS))}


@pytest.fixture
def decided(spec, paths, counts):
    """Six days without rows, decided as such."""
    given = {k: 3 if k in OUT else n for k, n in counts.items()}
    append_evidence(paths, rows_of(given), "first")
    append_judgements(paths, ASSET, judgements_of(spec.id, given), "first", day(DAYS))
    return decisions.run(spec, paths)


def say(spec, paths, counts: dict[int, int], run: str = "later") -> None:
    append_evidence(paths, rows_of(counts), run)
    append_judgements(paths, ASSET, judgements_of(spec.id, counts), run, day(DAYS + 1))
    decisions.run(spec, paths)


def volume(spec, paths, k: int):
    check = next(c for c in plan.checks(spec) if c.name == "row_volume")
    found = {key: v for _, key, v in evaluate(spec, paths, ASSET, [check], [key(k)])}
    return found[key(k)]


def open_incidents(spec, paths, k: int):
    check = next(c for c in plan.checks(spec) if c.name == "open_incidents")
    return next(v for _, _, v in evaluate(spec, paths, "alerts", [check], [key(k)]))


def test_a_day_that_filled_up_later_is_no_longer_red_and_says_what_was_decided(spec, paths, counts, decided):
    assert volume(spec, paths, 56).cause == "incident" and volume(spec, paths, 57).level == "error"
    say(spec, paths, {k: counts[k] for k in OUT if k != 57})
    found = volume(spec, paths, 56)
    assert found.level == "ok"
    assert f"the number of predictions rose from 3 to {counts[56]}." in found.text
    assert "Reported, not failed: in this window near its old level." in found.text
    assert "near its old level in this window" in open_incidents(spec, paths, 56).text
    assert open_incidents(spec, paths, 56).level == "ok"
    assert volume(spec, paths, 57).level == "error", "nothing came for this one"


def decisions_of(**changes) -> pl.DataFrame:
    """Five days of one stream around the level 4.8, the last two of them in an incident."""
    value = [4.9, 4.7, 4.9, 0.0, 0.0]
    columns = {
        "stream": "s",
        "window_start": [day(k) for k in range(5)],
        "value": value,
        "level": 4.8,
        "level_variance": [0.01, 0.01, 0.01, 1.0, 0.01],
        "usual_variance": 0.004,
        "distance": [1.0, -1.0, 1.0, -40.0, -40.0],
        "in_incident": [False, False, False, True, True],
        "incident_id": [None, None, None, "i", "i"],
        "status": ["ok", "ok", "ok", "alert", "muted"],
    }
    return pl.DataFrame(columns | changes)


MEMBERS = pl.DataFrame({"incident_id": ["i"], "stream": ["s"], "shift": [-4.8], "effect": [-48.0]})


def now_of(values: dict[int, float], variance: float = 0.004) -> pl.DataFrame:
    rows = {"stream": "s", "window_start": [day(k) for k in values], "value": list(values.values())}
    return pl.DataFrame(rows).with_columns(display_value="value", variance=pl.lit(variance), reason_code=None)


def distances(streams: pl.DataFrame, now: pl.DataFrame) -> list[float | None]:
    then = streams.select("stream", "window_start", "value", display_value="value")
    return with_revised(streams, MEMBERS, then, now)["distance_now"].to_list()


class TestDistance:
    """How far a window is from its level by what it holds today."""

    def test_the_window_that_joined_is_measured_without_those_since_the_change(self):
        found = distances(decisions_of(), now_of({3: 4.7, 4: 4.7}))
        assert found[:3] == [None] * 3 and found[3:] == pytest.approx([-1.0, -1.0])

    def test_a_window_with_few_rows_is_known_less_well(self):
        found = distances(decisions_of(), now_of({4: 4.4}, variance=0.154))
        assert found[4] == pytest.approx(-0.4 / 0.4)

    def test_the_same_value_is_no_revision(self):
        assert distances(decisions_of(), now_of({1: 4.7, 4: 0.0})) == [None] * 5

    def test_what_was_not_judged_has_no_distance(self):
        streams = decisions_of(distance=[None, -1.0, 1.0, -40.0, -40.0])
        assert distances(streams, now_of({0: 9.0, 1: 4.9})) == [None, pytest.approx(1.0), None, None, None]

    def test_where_windows_change_as_a_rule_their_level_is_of_incomplete_ones(self):
        late = {0: 5.9, 1: 5.7, 2: 5.9}
        assert distances(decisions_of(), now_of({**late, 4: 4.8}))[4] is None
        assert distances(decisions_of(), now_of({0: 5.9, 1: 5.7, 4: 4.8}))[4] == 0.0
        small = {0: 4.95, 1: 4.75, 2: 4.95}
        assert distances(decisions_of(), now_of({**small, 4: 4.8}))[4] == 0.0

    def test_a_stream_that_never_varied_is_at_its_level_or_far_away(self):
        flat = decisions_of(level_variance=[0.0] * 5, usual_variance=0.0)
        none = MEMBERS.with_columns(effect=pl.lit(None, pl.Float64))
        then = flat.select("stream", "window_start", "value", display_value="value")
        found = with_revised(flat, none, then, now_of({3: 4.8, 4: 4.7}, variance=0.0))["distance_now"].to_list()
        assert found[3] == 0.0 and found[4] < -1000


def test_empty_days_that_go_on_have_not_moved_again(spec, paths, counts):
    """A day without rows has a larger standard error than the days before it: that is no second change."""
    given = {k: 0 if k in OUT else n for k, n in counts.items()}
    append_evidence(paths, rows_of({k: n for k, n in given.items() if k <= OUT[-1]}), "first")
    assert decisions.run(spec, paths).members["moved_again_at"].to_list() == [None]
    append_evidence(paths, rows_of({k: n for k, n in given.items() if k in (OUT.stop, OUT.stop + 1)}), "later")
    found = decisions.run(spec, paths).members
    assert found["moved_again_at"].to_list() == [day(OUT.stop)], "back on the first full day"
    assert abs(found["moved_again_effect"][0]) < 2


def test_a_day_that_filled_up_by_half_is_still_away(spec, paths, counts, decided):
    say(spec, paths, {56: counts[56] // 2})
    assert volume(spec, paths, 56).level == "error"


def test_decisions_stand_whatever_comes_later(spec, paths, counts, decided):
    say(spec, paths, {k: counts[k] for k in OUT})
    again = read_snapshot(paths, decisions.STREAMS)
    assert again.select("stream", "value", "evidence", "incident_id").equals(
        decided.streams.select("stream", "value", "evidence", "incident_id")
    )


def test_only_changes_are_kept_and_the_newest_counts(spec, paths, counts, decided):
    before = read_evidence(paths)
    say(spec, paths, {56: 50, 40: counts[40]})
    say(spec, paths, {56: 60}, "last")
    say(spec, paths, {56: 60}, "once more")
    assert read_revised(paths).select("window_key", "n", "run_id").rows() == [(key(56), 60.0, "last")]
    say(spec, paths, {56: 3}, "back")
    assert read_revised(paths)["n"].to_list() == [3.0], "back at what was decided"
    assert read_evidence(paths).equals(before)
    assert volume(spec, paths, 56).level == "error"


def test_what_rests_on_another_reference_revises_nothing(paths):
    first = rows_of({1: 100}).with_columns(column=pl.lit("age"), reference=pl.lit("a"))
    append_evidence(paths, first, "first")
    append_evidence(paths, first.with_columns(value=pl.lit(9.0), reference=pl.lit("b")), "later")
    assert read_revised(paths).is_empty()


def test_a_window_that_has_no_value_any_more_is_told_as_decided(spec, paths, counts, decided):
    gone = rows_of({56: 0}).with_columns(value=pl.lit(None, pl.Float64), display_value=pl.lit(None, pl.Float64))
    append_evidence(paths, gone, "later")
    assert len(read_revised(paths)) == 1
    assert volume(spec, paths, 56).level == "error"


def test_what_was_withdrawn_is_told_as_withdrawn_and_is_not_red(spec, paths, counts, decided):
    nothing = {name: pl.lit(None, pl.Float64) for name in ("value", "display_value", "n", "variance")}
    gone = rows_of({57: 0}).with_columns(**nothing, reason_code=pl.lit("withdrawn"))
    assert open_incidents(spec, paths, 57).level == "error"
    append_evidence(paths, gone, "later")
    append_evidence(paths, gone, "once more")
    assert read_revised(paths).select("window_key", "run_id").rows() == [(key(57), "later")]
    found = open_incidents(spec, paths, 57)
    assert found.level == "ok" and "what was decided on this window was withdrawn" in found.text
    assert open_incidents(spec, paths, 56).level == "error", "this one has its rows"
    say(spec, paths, {57: 3}, "there again")
    assert open_incidents(spec, paths, 57).level == "error"


def test_rows_that_keep_coming_late_are_told_with_what_to_do(spec, paths, counts, decided):
    say(spec, paths, {54: counts[54], 55: counts[55]})
    assert "close_after" not in volume(spec, paths, 57).text
    say(spec, paths, {56: counts[56]})
    assert "judged in 3 of the last 14: `close_after` in the monitor's file" in volume(spec, paths, 57).text
    assert "close_after" not in volume(spec, paths, 55).text, "of these two were late by then"


def test_verdicts_are_of_the_published_windows_only(spec, paths, decided):
    checks = [c for c in plan.checks(spec) if c.name == "row_volume"]
    found = verdicts(ASSET, checks, read_published(spec, paths, ASSET, [key(57)]))
    assert {start for _, start, v in found if v.level == "error"} <= {day(k) for k in OUT}

"""What people see of columns that are judged over seven days: verdicts, the board, incidents."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from sightline.alerts import decisions
from sightline.alerts.actions import act
from sightline.alerts.stream_words import stream_words
from sightline.cli import cli
from sightline.judging.board import coverage, open_incidents
from sightline.judging.published import IncidentMember, Judgement, Published, StreamState, held, read_published
from sightline.judging.verdicts import verdicts
from sightline.results.evidence import append_evidence
from sightline.results.judgements import JUDGEMENT_SCHEMA, append_judgements
from sightline.results.snapshots import read_snapshot
from sightline.spec.loader import load_monitor
from sightline.spec.plan import PlannedCheck

MONDAY = datetime(2026, 1, 5)
DRIFT = PlannedCheck("drift", "drift__age", "", "age", "psi")
COLUMN = PlannedCheck("data_quality", "column__age", "", "age")
STREAM = "drift/age/location@7d"


def day(k: int) -> datetime:
    return MONDAY + timedelta(days=k)


def row(k: int, code: str | None = None, status: str = "ok", reason: str = "over 7 days", **values) -> Judgement:
    facts = {"window_start": day(k), "column": "age", "metric": "psi", "value": 0.1, "n": 105}
    return Judgement(**facts | {"status": status, "reason": reason, "reason_code": code} | values)


def later(k: int) -> Judgement:
    told = "judged over 7 days, with the window of 2026-01-11"
    return row(k, "judged_later", "insufficient_data", told, value=None, n=None)


def state(k: int, status: str = "ok", **values) -> StreamState:
    named = {"stream": STREAM, "asset": "drift", "column": "age", "statistic": "location@7d"}
    return StreamState(**named | {"window_start": day(k), "status": status, "in_incident": False} | values)


def away(k: int, **values) -> StreamState:
    return state(k, "muted", in_incident=True, incident_id="i1", distance=6.0, **values)


def member(joined: int) -> IncidentMember:
    return IncidentMember(
        incident_id="i1",
        stream=STREAM,
        change_point=day(joined - 6),
        joined_at=day(joined),
        evidence=900.0,
        evidence_days=900.0,
        level_before=0.0,
        level_after=1.0,
        effect=6.0,
        settle_after=timedelta(days=14),
    )


class TestVerdicts:
    def test_the_last_window_has_one_and_those_between_none(self):
        rows = [*(later(k) for k in range(6)), row(6, "pooled"), later(7)]
        found = list(verdicts("drift", [DRIFT], Published(rows, [state(6)], [])))
        assert [start for _, start, _ in found] == [day(6)]
        assert (found[0][2].level, found[0][2].text) == ("ok", "Over 7 days. psi 0.1.")

    def test_an_incident_fails_it_where_the_stretch_ends_and_until_the_next_one(self):
        rows = [row(6, "pooled"), later(7)]
        found = list(verdicts("drift", [DRIFT], Published(rows, [away(6), away(7)], [member(6)])))
        assert [(start, verdict.level) for _, start, verdict in found] == [(day(6), "error"), (day(7), "error")]
        assert "age: the mean, over 7 days (drift/age/location@7d)" in found[0][2].text
        assert "Over 7 days. psi 0.1." in found[0][2].text

    def test_a_check_of_other_facts_stays_red_while_the_stream_is_away(self):
        name = "data_quality/age/unseen_rate@7d"
        rows = [Judgement(window_start=day(k), column="age", metric="null_rate", value=0.0) for k in (6, 7)]
        there = {"stream": name, "asset": "data_quality", "statistic": "unseen_rate@7d"}
        states = [away(k, **there) for k in (6, 7)]
        found = list(verdicts("data_quality", [COLUMN], Published(rows, states, [])))
        assert [verdict.level for _, _, verdict in found] == ["error", "error"]

    @pytest.mark.parametrize(("status", "n"), [("ok", 1), ("insufficient_data", 0)])
    def test_an_unclear_distance_is_a_verdict_once_the_engine_judges_the_streams(self, status, n):
        why = "over 7 days: the interval holds the tolerance of 0.1: more rows are needed to tell"
        rows = [row(6, "unclear", "insufficient_data", why, ci_low=0.0, ci_high=0.2)]
        found = list(verdicts("drift", [DRIFT], Published(rows, [state(6, status)], [])))
        assert len(found) == n
        assert all(verdict.text == f"O{why[1:]}. psi 0.1 [0, 0.2]." for _, _, verdict in found)

    def test_an_unclear_window_has_none_as_before(self):
        rows = [row(6, "unclear", "insufficient_data", "the interval holds the tolerance of 0.1")]
        by_window = state(6, stream="drift/age/location", statistic="location")
        assert list(verdicts("drift", [DRIFT], Published(rows, [by_window], []))) == []

    def test_a_check_of_few_rows_speaks_for_its_streams_over_seven_days(self):
        few = {"status": "insufficient_data", "reason": "15 rows, 20 needed", "reason_code": "too_few_rows"}
        rows = [Judgement(window_start=day(6), column="age", metric="null_rate", value=0.0, **few)]
        there = {"stream": "data_quality/age/null_rate@7d", "asset": "data_quality", "statistic": "null_rate@7d"}
        [(_, _, found)] = verdicts("data_quality", [COLUMN], Published(rows, [state(6, **there)], []))
        assert (found.level, found.text) == ("ok", "Watched over 7 days. Not enough data: 15 rows, 20 needed.")
        assert list(verdicts("data_quality", [COLUMN], Published(rows, [], []))) == []


class TestBoard:
    @pytest.fixture
    def spec(self, make_spec):
        return make_spec(columns={"score": "p", "features": {"age": "numeric"}}, alerts={"warmup": 14})

    def covered(self, spec, rows: list[Judgement], n: int):
        keys = [spec.key(day(k).replace(tzinfo=UTC)) for k in range(n)]
        return list(dict(coverage(spec, {"drift": [DRIFT]}, {"drift": Published(rows, [], [])}, keys)).values())

    def test_coverage_says_how_often(self, spec):
        rows = [row(k, "pooled") if k % 7 == 6 else later(k) for k in range(60)]
        found = self.covered(spec, rows, 60)
        assert {v.text for v in found} == {"Nothing has ceased to be judged. Judged every 7 days: drift__age."}
        assert found[0].facts == {"not judged": 0, "judged every 7 days": "drift__age"}

    def test_an_unclear_distance_is_judged(self, spec):
        rows = [row(k, "unclear", "insufficient_data") if k % 7 == 6 else later(k) for k in range(60)]
        assert {v.level for v in self.covered(spec, rows, 60)} == {"ok"}

    def test_stretches_without_enough_rows_are_told_once_and_stay_told_between(self, spec):
        few = ("too_few_rows", "insufficient_data", "over 7 days: 30 rows; 50 needed")
        rows = [row(k, *few) if k % 7 == 6 else later(k) for k in range(34)]
        found = self.covered(spec, [*rows, row(34, "pooled"), later(35)], 36)
        assert [k for k, v in enumerate(found) if v.level == "warn"] == [13]
        assert found[13].text.startswith("No longer judged: drift__age (too few rows). Judged every 7 days")
        assert all("Not judged, as before" in v.text for v in found[14:34])
        assert [v.text[:20] for v in found[34:]] == ["Nothing has ceased to"[:20]] * 2

    def test_a_check_whose_streams_are_over_stretches_is_judged_by_them(self, spec):
        few = {"status": "insufficient_data", "reason": "15 rows, 20 needed", "reason_code": "too_few_rows"}
        rows = [Judgement(window_start=day(k), column="age", metric="null_rate", value=0.0, **few) for k in range(30)]
        keys = [spec.key(day(k).replace(tzinfo=UTC)) for k in range(30)]
        every = "Nothing has ceased to be judged. Judged every 7 days: column__age."
        for long, text in ((["age"], every), ([], "Not judged")):
            published = {"data_quality": Published(rows, [], [], frozenset(long))}
            found = dict(coverage(spec, {"data_quality": [COLUMN]}, published, keys))
            assert found[keys[-1]].text.startswith(text)

    def test_silent_windows_begin_nothing_anew(self, spec):
        """A monitor of working days: what lacks on Friday lacks on Monday."""
        rows = [
            Judgement(window_start=day(k), column="age", metric="psi", value=None, status="insufficient_data",
                      reason="5 rows; 200 needed", reason_code="too_few_rows")
            for k in range(40) if k % 7 < 5
        ]  # fmt: skip
        keys = [spec.key(day(k).replace(tzinfo=UTC)) for k in range(40)]
        found = dict(coverage(spec, {"drift": [DRIFT]}, {"drift": Published(rows, [], [])}, keys))
        assert [key for key, verdict in found.items() if verdict.level == "warn"] == [keys[14]]

    def test_day_by_day_coverage_says_what_it_says_at_once(self, spec):
        few = ("too_few_rows", "insufficient_data", "over 7 days: 30 rows; 50 needed")
        rows = [row(k, *few) if k % 7 == 6 else later(k) for k in range(70)]
        at_once = self.covered(spec, rows, 70)
        reach = spec.warmup_windows + 7
        for k in range(70):
            key = spec.key(day(k).replace(tzinfo=UTC))
            known = Published(rows[max(k - reach, 0) : k + 1], [], [])
            [(_, alone)] = coverage(spec, {"drift": [DRIFT]}, {"drift": known}, [key])
            assert alone == at_once[k]

    def test_between_two_stretches_an_incident_stays_open(self, spec):
        frame = pl.DataFrame(
            {
                "stream": [STREAM, STREAM, *["drift/b/skew"] * 17],
                "window_start": [day(6), day(13), *(day(k) for k in range(17))],
                "in_incident": [False, True, *[False] * 17],
                "warns": [False, True, *[False] * 17],
            }
        )
        found = held(spec, frame).filter(stream=STREAM).sort("window_start")
        assert found["window_start"].to_list() == [day(6), *(day(k) for k in range(13, 17))], "day 17 is not decided"
        assert found["warns"].to_list() == [False, True, False, False, False]

    def test_weekly_windows_hold_nothing(self, make_spec):
        frame = pl.DataFrame({"stream": [STREAM], "window_start": [day(0)], "in_incident": [True]})
        assert held(make_spec(schedule="weekly"), frame).equals(frame)


def test_patterns_of_the_spec_mean_the_stream_over_seven_days_too(make_spec):
    spec = make_spec(alerts={"weights": {"drift/age/location": 0}, "spikes": {"*/income/*": 4}})
    assert decisions.is_silenced(spec, STREAM)
    config = decisions.config(make_spec())
    assert config.strides == {"@7d": 7} and config.reference(STREAM) == 0 and config.may_follow(STREAM)
    assert decisions.config(make_spec(schedule="hourly")).strides == {"@24h": 24}
    assert decisions.config(make_spec(schedule="weekly")).strides == {}


def test_words():
    assert stream_words(STREAM, 0.1, 0.9) == (
        "age: the mean, over 7 days, rose from 0.1 to 0.9 standard deviations from the reference's"
    )
    assert stream_words("drift/plan/log_psi@24h") == "plan: the distance from the reference (PSI), over 24 hours"


YAML = """\
version: 1
model: {id: churn, task: binary_classification}
columns: {score: p, features: {age: numeric}}
reference: {kind: window, start: 2026-01-05, end: 2026-02-02}
alerts: {budget: 1 per 90d}
"""
WEEKS = 24
MOVED = 20


def evidence() -> pl.DataFrame:
    """A usual stream of every day, and one of every week that moves in the week `MOVED`."""
    rng = np.random.default_rng(5)
    weekly = rng.normal(size=WEEKS) + np.where(np.arange(WEEKS) >= MOVED, 12.0, 0.0)
    streams = {
        ("age", "location@7d"): [(day(7 * k + 6), x) for k, x in enumerate(weekly)],
        ("age", "null_rate"): [(day(k), x) for k, x in enumerate(rng.normal(size=7 * WEEKS + 3))],
    }
    rows = [
        {
            "stream": f"drift/{column}/{statistic}",
            "asset": "drift",
            "column": column,
            "statistic": statistic,
            "window_key": f"{start:%Y-%m-%d}",
            "window_start": start,
            "value": float(value),
            "display_value": float(value),
            "n": 105.0,
            "variance": 0.01,
        }
        for (column, statistic), values in streams.items()
        for start, value in values
    ]
    return pl.DataFrame(rows)


def judgement_frame(rows: list[Judgement]) -> pl.DataFrame:
    one = {"monitor": "churn", "segment": "all", "model_version": "all"}
    return pl.DataFrame(
        [
            {name: getattr(each, name, None) for name in JUDGEMENT_SCHEMA}
            | one
            | {"window_end": each.window_start + timedelta(days=1)}
            for each in rows
        ],
        schema=JUDGEMENT_SCHEMA,
    )


class TestThroughTheStore:
    @pytest.fixture
    def monitor(self, home, monkeypatch):
        home.monitors.mkdir()
        (home.monitors / "churn.yaml").write_text(YAML)
        monkeypatch.setenv("SIGHTLINE_HOME", str(home.root))
        spec = load_monitor(home.monitors / "churn.yaml", home=home)
        append_evidence(home.monitor("churn"), evidence(), "history")
        decisions.run(spec, home.monitor("churn"))
        return spec, home.monitor("churn")

    def test_the_incident_is_found_in_its_first_week_and_stays_on_the_board_until_the_last_window(self, monitor):
        spec, paths = monitor
        [incident] = read_snapshot(paths, decisions.INCIDENTS).to_dicts()
        assert (incident["opened_at"], incident["change_point"]) == (day(7 * MOVED + 6), day(7 * MOVED))
        keys = [spec.key(day(k).replace(tzinfo=UTC)) for k in range(7 * MOVED, 7 * WEEKS + 3)]
        published = read_published(spec, paths, "drift", keys)
        found = dict(open_incidents(spec, published, keys))
        assert list(found) == keys
        levels = [verdict.level for verdict in found.values()]
        assert levels == ["ok"] * 6 + ["error"] * 14 + ["ok"] * 11, "red for `settle_after`, 14 days"
        told = found[keys[8]].text
        assert f"since {day(7 * MOVED):%Y-%m-%d} (open, 1 of 1 streams away): age: the mean, over 7 days, rose" in told
        assert "(settled, 1 of 1 streams away)" in found[keys[-1]].text

    def test_the_command_tells_the_warm_up_in_stretches_and_forgets_streams_by_window(self, home, monkeypatch):
        home.monitors.mkdir()
        (home.monitors / "churn.yaml").write_text(YAML)
        monkeypatch.setenv("SIGHTLINE_HOME", str(home.root))
        spec, paths = load_monitor(home.monitors / "churn.yaml", home=home), home.monitor("churn")
        early = evidence().filter(pl.col("window_start") < day(40))
        old = early.filter(statistic="null_rate").with_columns(
            stream=pl.lit("drift/age/location"),
            statistic=pl.lit("location"),
            value=pl.lit(None, dtype=pl.Float64),
            reason=pl.lit("15 rows in the window, 200 needed: judge longer windows"),
        )
        append_evidence(paths, pl.concat([early.with_columns(reason=pl.lit(None, dtype=pl.String)), old]), "history")
        decisions.run(spec, paths)
        out = CliRunner().invoke(cli, ["incidents", "churn", "--format", "json"]).output
        told = json.loads(out)
        assert told["streams"] == 2
        why = "warm-up, 12 stretches of 7 days with a value are needed"
        assert told["not_judged"] == [{"stream": STREAM, "reason": why}]

    def test_the_check_fails_where_the_stretch_ends_and_until_the_next_one(self, monitor):
        spec, paths = monitor
        rows = [later(k) if k % 7 != 6 else row(k, "pooled") for k in range(7 * MOVED, 7 * MOVED + 10)]
        append_judgements(paths, "drift", judgement_frame(rows), "run", datetime(2026, 7, 1, tzinfo=UTC))
        keys = [spec.key(day(k).replace(tzinfo=UTC)) for k in range(7 * MOVED, 7 * MOVED + 10)]
        assert self.levels(spec, paths, keys) == dict.fromkeys(map(day, range(7 * MOVED + 6, 7 * MOVED + 10)), "error")
        last = [v for _, _, v in verdicts("drift", [DRIFT], read_published(spec, paths, "drift", keys))][-1]
        assert last.text.startswith("In incident") and ". Judged over 7 days, with the window of " in last.text

    def levels(self, spec, paths, keys: list[str]) -> dict[datetime, str]:
        found = verdicts("drift", [DRIFT], read_published(spec, paths, "drift", keys))
        return {start: verdict.level for _, start, verdict in found}

    @pytest.mark.parametrize(("kind", "level"), [("acknowledge", "warn"), ("accept", "ok"), ("fixed", "ok")])
    def test_a_word_between_two_stretches_holds_at_once(self, home, monkeypatch, kind, level):
        """On a Wednesday Dagster shows the verdict of Wednesday, not for days that of Sunday."""
        home.monitors.mkdir()
        (home.monitors / "churn.yaml").write_text(YAML)
        monkeypatch.setenv("SIGHTLINE_HOME", str(home.root))
        spec, paths = load_monitor(home.monitors / "churn.yaml", home=home), home.monitor("churn")
        days = [day(k) for k in range(7 * MOVED + 6, 7 * MOVED + 10)]
        append_evidence(paths, evidence().filter(pl.col("window_start") <= days[-1]), "history")
        decisions.run(spec, paths)
        rows = [later(k) if k % 7 != 6 else row(k, "pooled") for k in range(7 * MOVED, 7 * MOVED + 10)]
        append_judgements(paths, "drift", judgement_frame(rows), "run", datetime(2026, 7, 1, tzinfo=UTC))
        keys = [spec.key(moment.replace(tzinfo=UTC)) for moment in days]
        assert self.levels(spec, paths, keys) == dict.fromkeys(days, "error")
        [incident] = read_snapshot(paths, decisions.INCIDENTS)["incident_id"]
        act(home, "churn", incident, kind)
        assert self.levels(spec, paths, keys) == dict.fromkeys(days, level)

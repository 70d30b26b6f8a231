"""The score is honest: found, missed, pending, quiet and false are told apart."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from fnmatch import fnmatchcase
from io import StringIO

import polars as pl
import pytest
from rich.console import Console

from demo import report
from demo.calendar import FIRST_DAY, LAST_DAY, Calendar
from demo.facts import FACTS, Fact, score
from demo.monitor_file import write_monitor
from sightline.home import Home
from sightline.spec.loader import load_monitor

CALENDAR = Calendar.before(date(2026, 11, 24))
STORM = Fact(
    "storm",
    "Storm",
    "find",
    date(2013, 2, 8),
    date(2013, 2, 9),
    ("*/wind_speed/*",),
    (("", "labelled_rate"),),
    slack_days=1,
)
SEASON = Fact(
    "season", "Season", "once", date(2013, 3, 1), date(2013, 12, 1), ("drift/temp/*",), at_most=2, also=("*/dewp/*",)
)
RAIN = Fact("rain", "Rain", "may", date(2013, 2, 19), date(2013, 2, 19), ("drift/precip/*",))
QUIET = Fact("quiet", "Quiet", "quiet", date(2013, 3, 11), date(2013, 3, 17), ("model_quality/*",), onset_days=0)
LAST = CALENDAR.last_day


def at(month: int, day: int) -> datetime:
    return datetime.combine(CALENDAR.replayed(date(2013, month, day)), time())


def members(*rows: tuple[str, str, datetime] | tuple[str, str, datetime, datetime]) -> pl.DataFrame:
    """Incident, stream, day of joining and (default: the same) change point."""
    schema = {
        "incident_id": pl.String,
        "stream": pl.String,
        "joined_at": pl.Datetime("us"),
        "change_point": pl.Datetime("us"),
    }
    return pl.DataFrame([row if len(row) == 4 else (*row, row[2]) for row in rows], schema=schema, orient="row")


def judgements(*rows: tuple[str, str, datetime, str], segment: str = "all") -> pl.DataFrame:
    schema = {"column": pl.String, "metric": pl.String, "window_start": pl.Datetime("us"), "status": pl.String}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(segment=pl.lit(segment), model_version=pl.lit("all"))


def outcome(fact: Fact, found: pl.DataFrame, judged: pl.DataFrame | None = None, last: date = LAST) -> str:
    return score(found, judgements() if judged is None else judged, CALENDAR, last, [fact]).findings[0].outcome


@pytest.mark.parametrize(
    ("day", "stream", "expected"),
    [
        ((2, 7), "drift/wind_speed/N1", "missed"),
        ((2, 8), "drift/wind_speed/N1", "found"),
        ((2, 10), "data_quality/wind_speed/null_rate", "found"),
        ((2, 11), "drift/wind_speed/N1", "missed"),
        ((2, 8), "drift/wind_gust/N1", "missed"),
        ((2, 8), "drift/carrier/wind_speed", "missed"),
    ],
)
def test_an_incident_counts_only_on_its_streams_and_days(day, stream, expected):
    assert outcome(STORM, members(("i1", stream, at(*day)))) == expected


@pytest.mark.parametrize(
    ("status", "metric", "day", "segment", "expected"),
    [
        ("alert", "labelled_rate", (2, 8), "all", "found"),
        ("warn", "labelled_rate", (2, 9), "all", "found"),
        ("ok", "labelled_rate", (2, 8), "all", "missed"),
        ("insufficient_data", "labelled_rate", (2, 8), "all", "missed"),
        ("warn", "labelled_rate", (2, 10), "all", "missed"),
        ("warn", "n_rows", (2, 8), "all", "missed"),
        ("warn", "labelled_rate", (2, 8), "origin=EWR", "missed"),
    ],
)
def test_a_judgement_counts_if_it_is_loud(status, metric, day, segment, expected):
    judged = judgements(("", metric, at(*day), status), segment=segment)
    assert outcome(STORM, members(), judged) == expected


def test_days_that_are_not_loaded_are_pending():
    before = CALENDAR.replayed(STORM.first) - timedelta(days=1)
    assert outcome(STORM, members(), last=before) == "pending"
    assert outcome(QUIET, members(), last=before) == "pending"


def test_seasons_may_make_a_few_incidents_not_many():
    rows = [(f"i{i}", "drift/temp/N1", at(4, i + 1)) for i in range(3)]
    assert outcome(SEASON, members()) == "missed"
    assert outcome(SEASON, members(*rows[:2])) == "found"
    assert outcome(SEASON, members(*rows)) == "false alarm"
    assert outcome(SEASON, members(("i0", "drift/temp/N1", at(4, 1)), ("i0", "drift/temp/N2", at(4, 2)))) == "found"


def test_a_change_point_long_before_is_another_story():
    stream = "drift/wind_speed/N1"
    assert outcome(STORM, members(("i1", stream, at(2, 9), at(2, 7)))) == "found"
    assert outcome(STORM, members(("i1", stream, at(2, 9), at(2, 6)))) == "missed"


def test_what_may_show_is_listed_only_if_it_does():
    assert score(members(), judgements(), CALENDAR, LAST, [RAIN]).findings == ()
    assert outcome(RAIN, members(("i", "drift/precip/atom_rate:0", at(2, 19)))) == "told"


def test_quiet_weeks():
    assert outcome(QUIET, members(("i", "drift/temp/N1", at(3, 13)))) == "kept quiet"
    assert outcome(QUIET, members(("i", "model_quality/f1", at(3, 18)))) == "kept quiet"
    assert outcome(QUIET, members(("i", "model_quality/f1", at(3, 13)))) == "false alarm"
    assert outcome(QUIET, members(("i", "model_quality/f1", at(3, 13), at(2, 1)))) == "false alarm"


def test_joining_an_open_incident_for_an_older_change_is_said_and_no_false_alarm():
    before = ("i", "drift/temp/N1", at(3, 1))
    old = score(members(before, ("i", "model_quality/f1", at(3, 13), at(2, 20))), judgements(), CALENDAR, LAST, [QUIET])
    assert old.findings[0].outcome == "kept quiet"
    assert old.findings[0].by == "model_quality/f1 joined for a change of 2013-02-20"
    new = score(members(before, ("i", "model_quality/f1", at(3, 13), at(3, 12))), judgements(), CALENDAR, LAST, [QUIET])
    assert new.findings[0].outcome == "false alarm"


def test_a_fact_explains_streams_that_do_not_count_for_it():
    result = score(members(("i", "data_quality/dewp/null_rate", at(6, 1))), judgements(), CALENDAR, LAST, [SEASON])
    assert result.findings[0].outcome == "missed"
    assert result.unexplained.is_empty()


def test_incidents_of_no_fact_are_listed():
    found = members(
        ("a", "drift/wind_speed/N1", at(2, 8)),
        ("a", "drift/carrier/log_psi", at(2, 8)),
        ("b", "drift/carrier/log_psi", at(6, 1)),
        ("c", "model_quality/f1", at(3, 13)),
    )
    result = score(found, judgements(), CALENDAR, LAST, [STORM, QUIET])
    assert result.n_incidents == 3
    assert result.unexplained["incident_id"].to_list() == ["b"]
    assert (result.count("found"), result.count("false alarm")) == (1, 1)


def test_facts_are_well_formed():
    assert len({fact.id for fact in FACTS}) == len(FACTS)
    for fact in FACTS:
        assert FIRST_DAY <= fact.first <= fact.last <= LAST_DAY
        assert fact.streams or fact.judgements
    assert {fact.kind for fact in FACTS} == {"find", "may", "once", "quiet"}


def test_facts_name_columns_streams_and_metrics_that_exist(tmp_path):
    from sightline.spec import plan
    from sightline.spec.judging_rules import judged_columns

    spec = load_monitor(write_monitor(Home(tmp_path), CALENDAR))
    columns = {*judged_columns(spec), ""}
    streams = [
        f"{asset}/{column}/x" for asset in ("drift", "data_quality", "model_quality") for column in columns if column
    ]
    streams += [f"model_quality/{metric}" for metric in plan.quality_metrics(spec)]
    streams += [f"model_quality/{plan.AUDITED_AS}{metric}" for metric in plan.quality_metrics(spec)]
    streams += [f"data_quality/{check.metric}" for check in plan.checks(spec) if check.metric]
    for fact in FACTS:
        assert {column for column, _ in fact.judgements} <= columns
        for pattern in (*fact.streams, *fact.also):
            loose = pattern.rpartition("/")[0] + "/x" if pattern.count("/") == 2 else pattern
            assert any(fnmatchcase(stream, pattern) or fnmatchcase(stream, loose) for stream in streams), pattern


@pytest.mark.parametrize("width", [80, 200])
def test_screen_gives_both_dates_and_every_outcome(tmp_path, width):
    spec = load_monitor(write_monitor(Home(tmp_path), CALENDAR))
    found = members(("a", "drift/wind_speed/N1", at(2, 8)), ("b", "drift/carrier/log_psi", at(6, 1)))
    result = score(found, judgements(), CALENDAR, CALENDAR.first_landing_day - timedelta(days=1))
    text = StringIO()
    console = Console(file=text, width=width)
    report.print_score(console, result, CALENDAR, spec)
    report.print_next(console, CALENDAR)
    shown = " ".join(text.getvalue().split())
    assert "2013-02-08" in shown and "Fri 2025-12-26" in shown
    for word in (
        "found",
        "missed",
        "pending",
        "kept quiet",
        "drift/wind_speed/N1",
        "not documented",
        "flown 2013-06-01",
    ):
        assert word in shown
    assert "the budget (1 per 90d) allows 4.0 false ones" in shown
    assert f"Incidents in 358 days: {result.n_incidents}" in shown

"""`sightline incidents`, `acknowledge`, `accept`, `fixed`, as a user types them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from sightline.alerts import decisions
from sightline.cli import cli
from sightline.durable import exclusive
from sightline.errors import SightlineError
from sightline.judging import board
from sightline.results.actions import read_actions
from sightline.results.evidence import append_evidence
from sightline.results.snapshots import read_snapshot
from sightline.spec import plan
from sightline.spec.loader import load_monitor

START = datetime(2026, 1, 5)
YAML = """\
version: 1
model: {id: churn, task: binary_classification}
columns: {score: p, features: {age: numeric}}
reference: {kind: window, start: 2026-01-05, end: 2026-02-01}
alerts: {budget: 1 per 90d}
"""


def evidence(days: int, shift_at: int) -> pl.DataFrame:
    rng = np.random.default_rng(5)
    frames = []
    for statistic in ("log_psi", "location"):
        windows = [START + timedelta(days=day) for day in range(days)]
        value = rng.normal(size=days) + 9.0 * (np.arange(days) >= shift_at)
        frames.append(
            pl.DataFrame(
                {
                    "stream": f"drift/age/{statistic}",
                    "asset": "drift",
                    "column": "age",
                    "statistic": statistic,
                    "window_key": [f"{window:%Y-%m-%d}" for window in windows],
                    "window_start": windows,
                    "value": value,
                    "display_value": value,
                    "n": 100.0,
                    "variance": 0.01,
                }
            )
        )
    return pl.concat(frames)


@pytest.fixture
def monitor(home, monkeypatch):
    """A monitor with one open incident that began on its day 60."""
    home.monitors.mkdir()
    (home.monitors / "churn.yaml").write_text(YAML)
    monkeypatch.setenv("SIGHTLINE_HOME", str(home.root))
    paths = home.monitor("churn")
    append_evidence(paths, evidence(64, 60), "history")
    decisions.run(load_monitor(home.monitors / "churn.yaml", home=home), paths)
    return home


def call(*arguments: str):
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)


def listed(*options: str) -> dict:
    return json.loads(call("incidents", "churn", "--format", "json", *options).output)


def test_json_lists_start_change_point_streams_evidence_and_budget(monitor):
    found = listed()
    assert found["monitor"] == "churn"
    assert found["budget"] == "1 per 90d"
    [incident] = found["incidents"]
    assert incident["status"] == "open"
    assert incident["change_point"] == "2026-03-06T00:00:00Z"
    assert incident["evidence_days"] > 90
    assert {"drift/age/location", "drift/age/log_psi"} >= {m["stream"] for m in incident["members"]}
    assert all({"change_point", "evidence", "effect", "status"} <= set(m) for m in incident["members"])


def test_the_table_says_it_in_words(monitor):
    text = call("incidents", "churn").output
    assert "1 incident; budget 1 per 90d" in text
    assert "began 2026-03-06" in text
    assert "appears by chance at most once in" in text
    told, named = next(
        (above, line) for above, line in pairwise(text.splitlines()) if line.endswith("drift/age/location")
    )
    assert "since 2026-03-06, +" in named and "open" in named
    moved = re.fullmatch(r" +age: the mean rose from (\S+) to (\S+) standard deviations from the reference's", told)
    assert moved
    before, after = (float(level) for level in moved.groups())
    assert abs(before) < 1 and after > 7, "the levels before and after, in the unit of the value"


def test_before_the_first_alerts_run_there_are_none(monitor):
    for file in (monitor.monitor("churn").results / "snapshots").iterdir():
        file.unlink()
    assert listed()["incidents"] == []


@pytest.mark.parametrize(("command", "status"), [("accept", "accepted"), ("fixed", "fixed")])
def test_an_action_ends_the_incident_is_kept_and_published_at_once(monitor, command, status):
    incident = listed()["incidents"][0]["incident_id"]
    assert f"{incident}: {status}" in call(command, "churn", incident, "--note", "spring").output
    assert [i["status"] for i in listed()["incidents"]] == [status]
    assert listed("--open")["incidents"] == []
    [action] = read_actions(monitor.monitor("churn"))
    assert (action["kind"], action["incident"], action["note"]) == (command, incident, "spring")
    with pytest.raises(SightlineError, match="has ended already"):
        call(command, "churn", incident)


def checked(home, *windows: str) -> list[str]:
    """Level of `open_incidents` in some windows."""
    spec = load_monitor(home.monitors / "churn.yaml", home=home)
    checks = [check for check in plan.checks(spec) if check.name == "open_incidents"]
    found = board.evaluate(spec, home.monitor("churn"), "alerts", checks, windows)
    return [verdict.level for _, _, verdict in found]


def test_an_acknowledged_incident_goes_on_and_warns_from_the_newest_window_on(monitor):
    paths = monitor.monitor("churn")
    incident = listed()["incidents"][0]["incident_id"]
    assert checked(monitor, "2026-03-08", "2026-03-09") == ["error", "error"]
    said = call("acknowledge", "churn", incident, "--note", "asked the feed's owner").output
    [now] = listed()["incidents"]
    assert f"{incident}: acknowledged by {now['acknowledged_by']}. From the newest window on" in said
    assert (now["status"], now["acknowledged_note"]) == ("open", "asked the feed's owner")
    assert {m["acknowledged_from"] for m in now["members"]} == {"2026-03-09T00:00:00Z"}
    assert f"by {now['acknowledged_by']}: asked the feed's owner" in call("incidents", "churn").output
    assert checked(monitor, "2026-03-08", "2026-03-09") == ["error", "warn"]
    more = evidence(66, 60).filter(pl.col("window_start") >= START + timedelta(days=64))
    append_evidence(paths, more, "later")
    decisions.run(load_monitor(monitor.monitors / "churn.yaml", home=monitor), paths)
    assert checked(monitor, "2026-03-08", "2026-03-09", "2026-03-10", "2026-03-11") == ["error", "warn", "warn", "warn"]


def test_who_acknowledges_a_settled_incident_is_promised_no_warning(monitor):
    paths, spec = monitor.monitor("churn"), load_monitor(monitor.monitors / "churn.yaml", home=monitor)
    more = evidence(85, 60).filter(pl.col("window_start") >= START + timedelta(days=64))
    append_evidence(paths, more, "later")
    decisions.run(spec, paths)
    [found] = listed("--open")["incidents"]
    assert found["settled_at"] is not None
    said = call("acknowledge", "churn", found["incident_id"]).output
    assert "It had settled before: no check fails or warns for it." in said
    last = spec.key(START + timedelta(days=84))
    assert checked(monitor, last) == ["ok"]


def test_nobody_publishes_what_another_one_is_deciding_on(monitor, monkeypatch):
    """A run that had read the actions before would else publish after the person, without the word."""
    paths, spec = monitor.monitor("churn"), load_monitor(monitor.monitors / "churn.yaml", home=monitor)
    monkeypatch.setenv("SIGHTLINE_LOCK_SECONDS", "0.1")
    with exclusive(paths.results / ".decisions.lock"), pytest.raises(SightlineError):
        decisions.run(spec, paths)
    assert len(decisions.run(spec, paths).incidents) == 1


@pytest.fixture
def late(home, monkeypatch):
    """A monitor whose quality is judged seven days after the inputs; both moved."""
    home.monitors.mkdir()
    (home.monitors / "churn.yaml").write_text(YAML)
    monkeypatch.setenv("SIGHTLINE_HOME", str(home.root))
    paths, spec = home.monitor("churn"), load_monitor(home.monitors / "churn.yaml", home=home)
    rows, end = evidence(74, 60), START + timedelta(days=74)
    one = pl.col("stream") == "drift/age/location"
    moved = {"stream": "model_quality/roc_auc", "asset": "model_quality", "column": "", "statistic": "roc_auc"}
    quality = rows.filter(one, pl.col("window_start") < end - timedelta(days=7))
    quality = quality.with_columns(pl.lit(value).alias(name) for name, value in moved.items())
    for day in range(60, 75):
        now = START + timedelta(days=day)
        known = [
            rows.filter(one, pl.col("window_start") < now),
            quality.filter(pl.col("window_start") < now - timedelta(days=7)),
        ]
        append_evidence(paths, pl.concat(known), f"run {day}")
        decisions.run(spec, paths)
    return home


@pytest.mark.parametrize("command", ["acknowledge", "accept", "fixed"])
def test_a_word_holds_from_the_newest_window_of_each_stream_on(late, command):
    """Quality of day 66 is the newest there is on day 73: what is said then is said of it, too."""
    paths = late.monitor("churn")
    for incident in listed("--open")["incidents"]:
        call(command, "churn", incident["incident_id"])
    members = read_snapshot(paths, decisions.MEMBERS)
    assert members is not None
    column = "acknowledged_from" if command == "acknowledge" else "answered_from"
    assert dict(members["stream", column].rows()) == {
        "drift/age/location": START + timedelta(days=73),
        "model_quality/roc_auc": START + timedelta(days=66),
    }


@pytest.mark.parametrize("command", ["accept", "fixed"])
def test_an_incident_that_somebody_has_ended_is_red_no_longer_in_the_newest_window(monitor, command):
    incident = listed()["incidents"][0]["incident_id"]
    call("acknowledge", "churn", incident)
    call(command, "churn", incident)
    assert checked(monitor, "2026-03-08", "2026-03-09") == ["error", "ok"]


def test_fixed_takes_the_moment_it_was_mended(monitor):
    incident = listed()["incidents"][0]["incident_id"]
    call("fixed", "churn", incident, "--at", "2026-03-09")
    [action] = read_actions(monitor.monitor("churn"))
    assert datetime.fromisoformat(action["effective_at"]) == datetime(2026, 3, 9, tzinfo=UTC)
    again = call("fixed", "churn", incident, "--at", "soon")
    assert again.exit_code == 2
    assert "'soon' is no date or time" in again.output


def test_a_moment_in_the_future_is_refused_and_not_kept(monitor):
    incident = listed()["incidents"][0]["incident_id"]
    later = datetime.now(UTC) + timedelta(days=2)
    with pytest.raises(SightlineError, match="lies in the future"):
        call("fixed", "churn", incident, "--at", later.isoformat())
    assert list(read_actions(monitor.monitor("churn"))) == []
    assert listed()["incidents"][0]["status"] == "open"


def test_accepting_starts_the_baseline_anew_so_that_the_new_level_does_not_alarm_again(monitor):
    paths = monitor.monitor("churn")
    incident = listed()["incidents"][0]["incident_id"]
    call("accept", "churn", incident)
    more = evidence(140, 60).filter(pl.col("window_start") >= START + timedelta(days=64))
    append_evidence(paths, more, "later")
    decisions.run(load_monitor(monitor.monitors / "churn.yaml", home=monitor), paths)
    assert len(listed()["incidents"]) == 1
    last = read_snapshot(paths, decisions.STREAMS).filter(pl.col("window_start") == START + timedelta(days=139))
    assert set(last["status"]) <= {"ok", "warn"}


def test_wrong_names_are_told_with_the_nearest_right_one(monitor):
    incident = listed()["incidents"][0]["incident_id"]
    with pytest.raises(SightlineError, match=f"(?s)no incident.*{incident}"):
        call("accept", "churn", incident[:-1])
    with pytest.raises(SightlineError, match="Did you mean 'churn'"):
        call("incidents", "chrun")


def test_streams_that_nobody_can_judge_are_named_beside_the_incidents(home, monkeypatch):
    """No incident says nothing about a stream without a value."""
    home.monitors.mkdir()
    (home.monitors / "churn.yaml").write_text(YAML)
    monkeypatch.setenv("SIGHTLINE_HOME", str(home.root))
    why = "15 rows in the window, 200 needed: judge longer windows"
    few = evidence(40, 99).with_columns(
        value=pl.when(pl.col("statistic") == "location").then(None).otherwise("value"),
        reason=pl.when(pl.col("statistic") == "location").then(pl.lit(why)),
    )
    append_evidence(home.monitor("churn"), few, "history")
    decisions.run(load_monitor(home.monitors / "churn.yaml", home=home), home.monitor("churn"))
    assert f"not judged: 1 of 2 streams: {why}\n  drift/age/location" in call("incidents", "churn").output
    assert listed()["not_judged"] == [{"stream": "drift/age/location", "reason": why}]


def story(home, window: str) -> str:
    spec = load_monitor(home.monitors / "churn.yaml", home=home)
    checks = [check for check in plan.checks(spec) if check.name == "open_incidents"]
    [(_, _, verdict)] = board.evaluate(spec, home.monitor("churn"), "alerts", checks, [window])
    return verdict.text


def test_one_incident_becomes_two_and_two_become_one(late):
    [found] = listed("--open")["incidents"]
    first = found["incident_id"]
    assert story(late, "2026-03-12").count("Incident ") == 1
    said = call("split", "churn", first, "model_quality/*", "--note", "two feeds").output
    new = next(i for i in listed("--open")["incidents"] if i["incident_id"] != first)
    second = new["incident_id"]
    assert said == f"{second}: split from {first}, with 1 stream.\n"
    assert (new["split_from"], new["streams"]) == (first, ["model_quality/roc_auc"])
    assert f"split from {first} by a person" in call("incidents", "churn").output
    assert story(late, "2026-03-12").count("Incident ") == 2
    call("acknowledge", "churn", second, "--note", "at it")
    said = call("merge", "churn", second, first).output
    assert said == f"{second}: moved to {first}, which has 2 streams now.\n"
    assert story(late, "2026-03-12").count("Incident ") == 1 and second not in story(late, "2026-03-12")
    both = {i["incident_id"]: i for i in listed()["incidents"]}
    assert (both[second]["status"], both[second]["moved_to"]) == ("moved", first)
    assert f"moved to {first}" in call("incidents", "churn").output
    assert sorted(m["stream"] for m in both[first]["members"]) == sorted(both[first]["streams"]), "each stream once"
    [line] = [line for line in call("incidents", "churn").output.splitlines() if line.startswith(second)]
    assert f"moved to {first}" in line and line.endswith(": see there")
    moved = next(m for m in both[first]["members"] if m["stream"] == "model_quality/roc_auc" and m["status"] == "open")
    assert moved["acknowledged_from"] is not None, "what was said of it holds"
    assert moved["moved_from"] == [first, second]
    assert [action["note"] for action in read_actions(late.monitor("churn"))] == ["two feeds", "at it", ""]
    call("accept", "churn", first)
    assert listed("--open")["incidents"] == []


def test_a_merger_or_split_that_cannot_be_is_refused_and_not_kept(late):
    [found] = listed("--open")["incidents"]
    first = found["incident_id"]
    with pytest.raises(SightlineError, match="into itself"):
        call("merge", "churn", first, first)
    with pytest.raises(SightlineError, match="no incident '2026-01-01-000000'"):
        call("merge", "churn", first, "2026-01-01-000000")
    with pytest.raises(SightlineError, match=r"no open stream of .* is called 'drift/none'"):
        call("split", "churn", first, "drift/none")
    with pytest.raises(SightlineError, match="nothing would be left"):
        call("split", "churn", first, "*")
    assert read_actions(late.monitor("churn")) == []
    call("split", "churn", first, "drift/*")
    second = next(i["incident_id"] for i in listed("--open")["incidents"] if i["incident_id"] != first)
    call("accept", "churn", second)
    with pytest.raises(SightlineError, match="has ended already"):
        call("merge", "churn", first, second)


@pytest.mark.parametrize(
    "more",
    [
        {"kind": "accept", "into": ["x"]},
        {"kind": "fixed", "into": {}},
        {"kind": "split", "streams": ["a"], "into": ["x"]},
        {"kind": "merge", "into": ["x"]},
        {"kind": "split", "streams": "drift/*"},
        {"kind": "accept", "at": "0001-01-01T00:00:00+14:00"},
    ],
)
def test_odd_lines_among_the_actions_stop_no_decision(monitor, more):
    paths, spec = monitor.monitor("churn"), load_monitor(monitor.monitors / "churn.yaml", home=monitor)
    line = {"at": "2026-03-08T00:00:00+00:00", "incident": "2026-03-06-000000", **more}
    with (paths.results / "actions.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    assert decisions.run(spec, paths).incidents["status"].to_list() == ["open"]


def test_a_word_about_an_incident_holds_for_a_stream_from_its_merger_on(late):
    """What was said of it before was said of others."""
    [found] = listed("--open")["incidents"]
    first = found["incident_id"]
    call("split", "churn", first, "model_quality/*")
    second = next(i["incident_id"] for i in listed("--open")["incidents"] if i["incident_id"] != first)
    call("acknowledge", "churn", first)
    members = {m["stream"]: m for i in listed("--open")["incidents"] for m in i["members"]}
    assert members["model_quality/roc_auc"]["acknowledged_from"] is None, "it had left before"
    paths, spec = late.monitor("churn"), load_monitor(late.monitors / "churn.yaml", home=late)
    one = pl.col("stream") == "drift/age/location"
    append_evidence(paths, evidence(80, 60).filter(one, pl.col("window_start") >= START + timedelta(days=74)), "on")
    decisions.run(spec, paths)
    call("merge", "churn", second, first)
    members = {m["stream"]: m for i in listed("--open")["incidents"] for m in i["members"]}
    assert members["drift/age/location"]["acknowledged_from"] == "2026-03-19T00:00:00Z"
    assert members["model_quality/roc_auc"]["acknowledged_from"] == "2026-03-12T00:00:00Z", "its newest by the merger"

"""`sightline history`, as a user types it: the revisions of one judgement, and the number on which it alerted."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from sightline.alerts import decisions
from sightline.cli import cli
from sightline.errors import SightlineError
from sightline.home import Home, MonitorPaths
from sightline.results.evidence import append_evidence
from sightline.results.judgements import append_judgements
from sightline.results.snapshots import read_snapshot, write_snapshot
from sightline.spec.loader import load_monitor

DAY = timedelta(days=1)
START = datetime(2026, 1, 5)
SHIFT, DELAY = 60, 7
YAML = """\
version: 1
model: {id: churn, task: binary_classification}
columns: {score: p, features: {age: numeric, tenure: numeric}}
reference: {kind: window, start: 2026-01-05, end: 2026-02-01}
schedule: SCHEDULE
alerts: {budget: 1 per 90d}
"""


def made(home: Home, monkeypatch: pytest.MonkeyPatch, schedule: str = "daily") -> Home:
    home.monitors.mkdir()
    (home.monitors / "churn.yaml").write_text(YAML.replace("SCHEDULE", schedule))
    monkeypatch.setenv("SIGHTLINE_HOME", str(home.root))
    return home


def publish(
    paths: MonitorPaths, start: datetime, at: datetime, run: str, *, asset: str = "model_quality", **row: Any
) -> None:
    """One revision of one judgement."""
    usual = {
        "monitor": "churn", "model_version": "all", "window_start": start, "window_end": start + DAY, "segment": "all",
        "column": "", "metric": "roc_auc", "value": 0.71, "ci_low": 0.68, "ci_high": 0.74, "n": 400,
        "reference_value": None, "bound_low": None, "bound_high": None, "status": "ok", "reason": None,
        "reason_code": None, "naive_value": None, "maturity": None,
    }  # fmt: skip
    append_judgements(paths, asset, pl.DataFrame([{**usual, **row}]), run, at.replace(tzinfo=UTC))


def evidence(day: int, value: float, display: float, written: datetime, stream: str = "roc_auc") -> pl.DataFrame:
    """Quality of one day, which is decided when its labels are due."""
    start = START + day * DAY
    row = {
        "stream": f"model_quality/{stream}", "asset": "model_quality", "column": "", "statistic": stream,
        "window_key": f"{start:%Y-%m-%d}", "window_start": start, "value": value, "display_value": display,
        "n": 400.0, "variance": 0.01, "decided_at": start + DELAY * DAY, "written_at": written,
    }  # fmt: skip
    return pl.DataFrame([row])


@pytest.fixture
def alerted(home, monkeypatch) -> tuple[Home, datetime]:
    """A monitor whose quality fell, and the window with which its incident was there, by running day by day."""
    paths = made(home, monkeypatch).monitor("churn")
    spec = load_monitor(home.monitors / "churn.yaml", home=home)
    rng = np.random.default_rng(41)
    for day in range(SHIFT + 6):
        value = rng.normal() - 9.0 * (day >= SHIFT)
        start = START + day * DAY
        labels_due = start + DELAY * DAY + timedelta(hours=6)
        if day >= SHIFT:
            early = {"value": 0.7, "naive_value": 0.66, "maturity": 0.412, "status": "provisional", "n": 165}
            publish(paths, start, start + 2 * DAY, f"early {day}", reason="41 % of the labels are in", **early)
            publish(paths, start, labels_due, f"due {day}")
        display = 0.71 if day >= SHIFT else 0.8 + 0.01 * value
        append_evidence(paths, evidence(day, value, display, labels_due + timedelta(minutes=1)), f"due {day}")
        if day < SHIFT:
            continue
        decisions.run(spec, paths)
        incidents = read_snapshot(paths, decisions.INCIDENTS)
        if incidents is not None and len(incidents):
            publish(paths, start, start + 20 * DAY + timedelta(minutes=90), "later", value=0.74321, ci_high=0.78)
            return home, start
    pytest.fail("no incident")


def call(*arguments: str) -> str:
    return CliRunner().invoke(cli, ["history", "churn", *arguments], catch_exceptions=False).output


def shown(*arguments: str) -> dict[str, Any]:
    return json.loads(call(*arguments, "--format", "json"))


def test_revisions_are_told_oldest_first_and_the_alert_beside_the_one_it_was_raised_on(alerted):
    _, start = alerted
    found = shown("roc_auc", "--window", f"{start:%Y-%m-%d}")
    rows = found["revisions"]
    told = ["revision", "value", "naive_value", "maturity", "n", "status", "reason"]
    assert [[row[name] for name in told] for row in rows] == [
        [0, 0.7, 0.66, 0.412, 165, "provisional", "41 % of the labels are in"],
        [1, 0.71, None, None, 400, "ok", None],
        [2, 0.74321, None, None, 400, "ok", None],
    ]
    assert rows[2]["computed_at"] == f"{start + 20 * DAY:%Y-%m-%d}T01:30:00Z"
    assert (rows[2]["ci_low"], rows[2]["ci_high"]) == (0.68, 0.78)
    [alert] = found["alerts"]
    assert [row["alerts"] for row in rows] == [[], [alert["incident_id"]], []]
    assert (alert["value"], alert["revision"], alert["value_now"]) == (0.71, 1, 0.74321)
    assert (alert["stream"], alert["status"]) == ("model_quality/roc_auc", "open")
    assert alert["joined_at"] == f"{start + DELAY * DAY:%Y-%m-%d}T00:00:00Z", "decided when the labels were due"
    assert (found["segment"], found["model_version"], found["column"]) == ("all", "all", None)


def test_the_table_says_on_which_number_it_alerted_and_what_it_is_now(alerted):
    _, start = alerted
    lines = call("roc_auc", "--window", f"{start:%Y-%m-%d}").splitlines()
    assert lines[0] == f"churn: roc_auc in window {start:%Y-%m-%d}, 3 revisions, times in UTC"
    assert lines[1].split() == [
        "revision", "computed_at", "value", "ci_low", "ci_high", "naive_value", "maturity", "n", "status", "alert",
        "reason",
    ]  # fmt: skip
    first, second, third = lines[3:6]
    assert first.split()[:9] == ["0", f"{start + 2 * DAY:%Y-%m-%d}", "00:00", "0.7", "0.68", "0.74", "0.66", "41", "%"]
    assert "provisional" in first and first.endswith("41 % of the labels are in")
    [incident] = shown("roc_auc", "--window", f"{start:%Y-%m-%d}")["revisions"][1]["alerts"]
    assert second.endswith(f"ok           {incident}") and incident not in first + third
    raised = f"{start + DELAY * DAY:%Y-%m-%d}"
    assert lines[7:] == [
        f"alerted on 0.71 ({raised}), now 0.7432",
        f"  incident {incident}, open; model_quality/roc_auc",
    ]


def test_no_other_window_of_the_incident_is_marked(alerted):
    """Not the one that was running when it was decided, and none before or after."""
    home, start = alerted
    paths = home.monitor("churn")
    for days in (-1, 1, DELAY):
        other = start + days * DAY
        publish(paths, other, other + 8 * DAY, "other", value=0.72)
        append_evidence(paths, evidence((other - START).days, -9.0, 0.72, other + 8 * DAY), "other")
    decisions.run(load_monitor(home.monitors / "churn.yaml", home=home), paths)
    for days in (-1, 1, DELAY):
        assert shown("roc_auc", "--window", f"{start + days * DAY:%Y-%m-%d}")["alerts"] == []
    assert len(shown("roc_auc", "--window", f"{start:%Y-%m-%d}")["alerts"]) == 1


def test_a_number_that_is_gone_is_told_with_the_reason(alerted):
    home, start = alerted
    why = "the labels were taken back"
    publish(
        home.monitor("churn"), start, start + 30 * DAY, "last", value=None, ci_low=None, ci_high=None, n=0,
        status="insufficient_data", reason=why, reason_code="no_labels",
    )  # fmt: skip
    text = call("roc_auc", "--window", f"{start:%Y-%m-%d}")
    assert f"alerted on 0.71 ({start + DELAY * DAY:%Y-%m-%d}), now without a value: {why}" in text


def test_of_a_segment_no_alert_is_told_and_why(alerted):
    home, start = alerted
    publish(home.monitor("churn"), start, start + 9 * DAY, "due", segment="plan=free", value=0.6)
    arguments = ["roc_auc", "--window", f"{start:%Y-%m-%d}", "--segment", "plan=free"]
    assert shown(*arguments)["alerts"] == []
    text = call(*arguments)
    assert "roc_auc (segment plan=free) in window" in text and "alerted on" not in text
    assert "Alerts are raised on all segments and versions together." in text


# ---------------------------------------------------------------- which revision and window an alert belongs to

WINDOW = START + SHIFT * DAY


def member(stream: str, joined: datetime, **changes: Any) -> dict[str, Any]:
    usual = {
        "incident_id": "i-1", "stream": stream, "joined_at": joined, "change_point": WINDOW, "status": "closed",
        "ended_at": joined + 9 * DAY, "ended_by": "recovered",
    }  # fmt: skip
    return {**usual, **changes}


def decided(stream: str, start: datetime, at: datetime, status: str, value: float | None = 1.0) -> dict[str, Any]:
    incident = "i-1" if status in ("alert", "muted") else None
    return {
        "stream": stream, "window_start": start, "decided_at": at, "value": value, "status": status,
        "incident_id": incident,
    }  # fmt: skip


def test_psi_tells_the_engines_number_and_the_judged_one(home, monkeypatch):
    """Judgements leave sampling noise out of a distance, the evidence holds it."""
    paths = made(home, monkeypatch).monitor("churn")
    publish(paths, WINDOW, WINDOW + DAY, "run", asset="drift", column="age", metric="psi", value=0.27)
    publish(paths, WINDOW, WINDOW + 3 * DAY, "again", asset="drift", column="age", metric="psi", value=0.25)
    stream = "drift/age/log_psi@7d"
    row = evidence(SHIFT, 3.0, 0.31, WINDOW + DAY, "log_psi@7d")
    append_evidence(paths, row.with_columns(stream=pl.lit(stream), asset=pl.lit("drift"), column=pl.lit("age")), "run")
    write_snapshot(paths, "incident_members", pl.DataFrame([member(stream, WINDOW)]))
    write_snapshot(paths, "alert_streams", pl.DataFrame([decided(stream, WINDOW, WINDOW, "alert")]))
    text = call("psi", "--window", "2026-03-06")
    assert "psi of age in window 2026-03-06, 2 revisions" in text
    assert "alerted on 0.31 (2026-03-07, judged 0.27 then), now 0.25" in text
    assert f"incident i-1, ended 2026-03-15 (recovered); {stream}" in text


def test_a_stream_that_is_rejected_without_news_alerted_on_its_newest_window(home, monkeypatch):
    """Others that moved make less evidence suffice on a day for which it has no value."""
    paths = made(home, monkeypatch).monitor("churn")
    stream, joined = "model_quality/roc_auc", WINDOW + 3 * DAY
    for day in (0, 1, 5):
        publish(paths, WINDOW + day * DAY, WINDOW + (day + 1) * DAY, f"run {day}")
        append_evidence(paths, evidence(SHIFT + day, 1.0, 0.71, WINDOW + (day + 1) * DAY), f"run {day}")
    write_snapshot(paths, "incident_members", pl.DataFrame([member(stream, joined)]))
    rows = [decided(stream, WINDOW + day * DAY, WINDOW + day * DAY, "warn") for day in (0, 1)]
    rows.append(decided(stream, WINDOW + 2 * DAY, WINDOW + 2 * DAY, "insufficient_data", None))
    rows.append(decided(stream, WINDOW + 5 * DAY, WINDOW + 5 * DAY, "muted"))
    write_snapshot(paths, "alert_streams", pl.DataFrame(rows))
    marked = {day: len(shown("roc_auc", "--window", f"{WINDOW + day * DAY:%Y-%m-%d}")["alerts"]) for day in (0, 1, 5)}
    assert marked == {0: 0, 1: 1, 5: 0}


@pytest.mark.parametrize(
    ("run", "written", "revision"),
    [
        ("first", WINDOW + 40 * DAY, 0),  # the run decides, whatever the clock
        ("without news", WINDOW + 2 * DAY, 0),
        ("without news", WINDOW + 10 * DAY, 1),
        ("without news", WINDOW, None),
    ],
)
def test_an_alert_belongs_to_its_runs_revision_else_to_the_newest_before(home, monkeypatch, run, written, revision):
    paths = made(home, monkeypatch).monitor("churn")
    publish(paths, WINDOW, WINDOW + DAY, "first")
    publish(paths, WINDOW, WINDOW + 9 * DAY, "second", value=0.74)
    append_evidence(paths, evidence(SHIFT, 1.0, 0.71, written), run)
    stream = "model_quality/roc_auc"
    write_snapshot(paths, "incident_members", pl.DataFrame([member(stream, WINDOW)]))
    write_snapshot(paths, "alert_streams", pl.DataFrame([decided(stream, WINDOW, WINDOW, "alert")]))
    found = shown("roc_auc", "--window", "2026-03-06")
    assert found["alerts"][0]["revision"] == revision
    assert [len(row["alerts"]) for row in found["revisions"]] == [int(n == revision) for n in (0, 1)]
    assert ("no revision is as old" in call("roc_auc", "--window", "2026-03-06")) == (revision is None)


# ---------------------------------------------------------------- what is asked for


@pytest.fixture
def several(home, monkeypatch) -> Home:
    """Two columns of one metric, an hour's judgement of a former schedule, and one metric by segment."""
    paths = made(home, monkeypatch).monitor("churn")
    for column in ("age", "tenure"):
        publish(paths, WINDOW, WINDOW + DAY, column, asset="drift", column=column, metric="psi", value=0.1)
    publish(paths, WINDOW, WINDOW + DAY, "hourly", window_end=WINDOW + DAY / 24, value=0.99)
    publish(paths, WINDOW, WINDOW + DAY, "daily")
    publish(paths, WINDOW, WINDOW + DAY, "plan", segment="plan=free", metric="f1")
    publish(paths, WINDOW, WINDOW + DAY, "plan", segment="plan=paid", metric="f1")
    return home


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["roc_auk", "--window", "2026-03-06"], r"results: no judgement has the metric 'roc_auk'\n.*mean 'roc_auc'"),
        (["roc_auc", "--window", "2026-3-6"], r"--window: '2026-3-6' is no daily window.*\n.*did you mean 2026-03-06"),
        (["roc_auc", "--window", "2026-03-06-05"], r"--window: .*\n.*did you mean 2026-03-06\?"),
        (["roc_auc", "--window", "soon"], r"--window: 'soon' is no daily window of churn\n.*start, such as 20"),
        (["roc_auc", "--window", "2026-03-06T05:00:00Z"], r"--window: .*\n.*did you mean 2026-03-06\?"),
        (["roc_auc", "--window", "0001-01-01T00:00:00+23:00"], r"--window: .*\n.*start, such as 20"),
        (
            ["roc_auc", "--window", "2026-03-09"],
            r"--window, churn: roc_auc was not judged in window 2026-03-09\n.*between 2026-03-06 and 2026-03-06",
        ),
        (["psi", "--window", "2026-03-06"], r"psi in window.*: .* of 2 columns\n.*with --column: age, tenure"),
        (["psi", "--window", "2026-03-06", "--column", "agee"], r"column 'agee'\n.*Did you mean 'age'"),
        (["roc_auc", "--window", "2026-03-06", "--column", "age"], r"column 'age'\n.*leave --column out"),
        (["f1", "--window", "2026-03-06"], r"of 2 segments\n.*with --segment: plan=free, plan=paid"),
        (["f1", "--window", "2026-03-06", "--segment", "plan=fre"], r"Did you mean 'plan=free'"),
        (["roc_auc", "--window", "2026-03-06", "--model-version", "v2"], r"model version 'v2'\n.*Allowed: all"),
    ],
)
def test_what_is_asked_wrongly_is_told_with_place_and_fix(several, arguments, message):
    with pytest.raises(SightlineError, match=message):
        call(*arguments)


def test_a_column_and_a_segment_are_chosen_and_another_schedule_is_another_judgement(several):
    assert shown("psi", "--window", "2026-03-06", "--column", "tenure")["column"] == "tenure"
    found = shown("f1", "--window", "2026-03-06", "--segment", "plan=paid")
    assert (found["segment"], len(found["revisions"])) == ("plan=paid", 1)
    assert [row["value"] for row in shown("roc_auc", "--window", "2026-03-06")["revisions"]] == [0.71]


def test_backfill_is_named_only_for_windows_that_exist(several):
    for key, is_named in (("2026-03-07", True), ("2100-01-01", False)):
        with pytest.raises(SightlineError) as told:
            call("roc_auc", "--window", key)
        assert (f"sightline backfill churn {key} {key}" in str(told.value)) == is_named


def test_without_judgements_the_command_that_makes_them_is_named(home, monkeypatch):
    made(home, monkeypatch)
    with pytest.raises(SightlineError, match=r"churn has no judgements yet\n.*sightline backfill churn"):
        call("roc_auc", "--window", "2026-03-06")


@pytest.mark.parametrize(
    ("schedule", "right", "wrong", "meant"),
    [
        ("hourly", "2026-03-06-05", "2026-03-06T05:30", "2026-03-06-05"),
        ("weekly", "2026-03-02", "2026-03-06", "2026-03-02"),
    ],
)
def test_keys_are_those_of_the_schedule(home, monkeypatch, schedule, right, wrong, meant):
    paths = made(home, monkeypatch, schedule).monitor("churn")
    spec = load_monitor(home.monitors / "churn.yaml", home=home)
    start = spec.window_start(right).replace(tzinfo=None)
    publish(paths, start, start + 8 * DAY, "run", window_end=start + spec.window)
    assert len(shown("roc_auc", "--window", right)["revisions"]) == 1
    with pytest.raises(SightlineError, match=f"no {schedule} window of churn\n.*did you mean {meant}"):
        call("roc_auc", "--window", wrong)

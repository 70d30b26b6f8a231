"""`sightline incident`, `assign`, `note`, `reopen` and the words of two people at once, as users type them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

import sightline
from sightline.alerts import decisions, word
from sightline.alerts.listing import history
from sightline.alerts.operational import Seen, record
from sightline.alerts.outbox import Outbox
from sightline.cli import cli
from sightline.errors import SightlineError
from sightline.results.actions import append_action, read_actions
from sightline.results.evidence import append_evidence
from sightline.results.snapshots import read_snapshot
from sightline.spec.loader import load_monitor
from tests.unit.commands.test_incidents import START, YAML, evidence

HOSTILE = "see \x1b[2J\x1b]0;owned\x07 \u202egnp.exe <script>alert(1)</script>\n'; DROP TABLE incidents; --"


@pytest.fixture
def monitor(home, monkeypatch):
    """A monitor with one open incident that began on its day 60."""
    home.monitors.mkdir()
    (home.monitors / "churn.yaml").write_text(YAML)
    monkeypatch.setenv("SIGHTLINE_HOME", str(home.root))
    append_evidence(home.monitor("churn"), evidence(64, 60), "history")
    decide(home)
    return home


def decide(home) -> None:
    decisions.run(load_monitor(home.monitors / "churn.yaml", home=home), home.monitor("churn"))


def go_on(home, days: int, back_at: int) -> None:
    """More days; from `back_at` on the streams are at their old level."""
    rows = evidence(days, 60).filter(pl.col("window_start") >= START + timedelta(days=64))
    is_back = pl.col("window_start") >= START + timedelta(days=back_at)
    rows = rows.with_columns(
        pl.when(is_back).then(pl.col(c) - 9.0).otherwise(c).alias(c) for c in ("value", "display_value")
    )
    append_evidence(home.monitor("churn"), rows, "later")
    decide(home)


def call(*arguments: str):
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)


def the_one(home) -> dict:
    [found] = sightline.incidents(home)
    return found


def test_one_incident_is_told_whole_with_and_without_its_monitor(monitor):
    name = the_one(monitor)["incident_id"]
    call("note", "churn", name, "asked the feed's owner")
    call("assign", "churn", name, "bob@example.com")
    text = call("incident", "churn", name).output
    assert text == call("incident", name).output
    for part in (
        "owner bob@example.com", "age: the mean rose from", "what happened (UTC)", "opened: it began 2026-03-06",
        "noted: asked the feed's owner", "assigned to bob@example.com", f"sightline fixed churn {name} --from A --to B",
        "appears by chance at most once in",
    ):  # fmt: skip
        assert part in text, part
    found = json.loads(call("incident", name, "--format", "json").output)
    assert found["owner"] == "bob@example.com" and found["causes"] is None and "accept" in found["actions"]
    kinds = [entry["kind"] for entry in found["timeline"]]
    assert kinds[0] == "opened" and kinds[-2:] == ["note", "assign"]
    assert call("incident", "a", "b", "c").exit_code == 2


def test_causes_are_told_where_they_are_published(monitor):
    from sightline.results.snapshots import write_snapshot

    name = the_one(monitor)["incident_id"]
    rows = {
        "incident_id": [name, "other"],
        "rank": [1, 1],
        "words": ["the weather feed stopped", "another cause of another"],
        "evidence": ["no file for 30 hours", ""],
    }
    write_snapshot(monitor.monitor("churn"), "incident_causes", pl.DataFrame(rows))
    text = call("incident", name).output
    assert "the weather feed stopped (no file for 30 hours)" in text and "another cause of another" not in text


def test_an_unknown_incident_is_refused_with_the_nearest_one(monitor):
    name = the_one(monitor)["incident_id"]
    for arguments in (("incident", name[:-1]), ("incident", "churn", name[:-1]), ("note", "churn", name[:-1], "x")):
        with pytest.raises(SightlineError, match=name):
            call(*arguments)
    with pytest.raises(SightlineError, match="no monitor"):
        call("incidents", "chrun")


def test_an_id_that_two_monitors_have_wants_its_monitor(monitor):
    (monitor.monitors / "other.yaml").write_text(YAML.replace("id: churn", "id: other"))
    append_evidence(monitor.monitor("other"), evidence(64, 60), "history")
    decisions.run(load_monitor(monitor.monitors / "other.yaml", home=monitor), monitor.monitor("other"))
    name = the_one_of(monitor, "churn")
    with pytest.raises(SightlineError, match=r"several monitors.*churn, other"):
        call("incident", name)
    text = call("incidents").output
    assert text.startswith("2 incidents of 2 monitors")
    assert {line.split()[0] for line in text.splitlines()[2:]} == {"churn", "other"}
    both = json.loads(call("incidents", "--format", "json", "--status", "open").output)
    assert [len(document["incidents"]) for document in both["monitors"]] == [1, 1]
    assert json.loads(call("incidents", "churn", "--owner", "bob", "--format", "json").output)["incidents"] == []


def the_one_of(home, monitor: str) -> str:
    [found] = sightline.incidents(home, monitor)
    return found["incident_id"]


def test_hostile_notes_and_names_steer_no_terminal_and_are_kept_whole_otherwise(monitor):
    name = the_one(monitor)["incident_id"]
    call("acknowledge", "churn", name, "--note", HOSTILE)
    call("assign", "churn", name, "bob\n\x1b[31m\u202eeve")
    for text in (call("incident", name).output, call("incidents", "churn").output, call("incidents").output):
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert "DROP TABLE incidents" in call("incident", name).output
    with pytest.raises(SightlineError, match="characters"):
        call("note", "churn", name, "x" * (word.MAX_NOTE + 1))
    with pytest.raises(SightlineError, match="empty"):
        call("note", "churn", name, " \n")
    with pytest.raises(SightlineError, match="no name"):
        call("assign", "churn", name, "\t ")
    assert len(read_actions(monitor.monitor("churn"))) == 2


def test_fixed_between_two_moments_keeps_only_these_windows_out(monitor):
    go_on(monitor, 68, 64)
    name = the_one(monitor)["incident_id"]
    said = call("fixed", "churn", name, "--from", "2026-03-06", "--to", "2026-03-10", "--note", "wrong unit").output
    assert "Only the windows you named" in said
    [action] = read_actions(monitor.monitor("churn"))
    assert (action["bad_from"], action["bad_to"]) == ("2026-03-06T00:00:00+00:00", "2026-03-10T00:00:00+00:00")
    row = the_one(monitor)
    assert (row["state"], row["status"]) == ("fixed", "fixed")
    assert "bad from 2026-03-06 to before 2026-03-10: wrong unit" in call("incident", name).output


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (("--from", "2026-03-08", "--to", "2026-03-07"), "nothing lies between"),
        (("--to", "2099-01-01"), "lies in the future"),
        (("--from", "2026-01-01", "--to", "2026-02-01"), "before .* began"),
    ],
)
def test_impossible_moments_are_refused_and_nothing_is_kept(monitor, options, wrong):
    name = the_one(monitor)["incident_id"]
    with pytest.raises(SightlineError, match=wrong):
        call("fixed", "churn", name, *options)
    assert read_actions(monitor.monitor("churn")) == [] and the_one(monitor)["state"] == "open"


def test_what_a_person_ended_is_taken_back_and_the_incident_goes_on_as_if_it_had_not_been_said(monitor):
    paths = monitor.monitor("churn")
    before = read_snapshot(paths, decisions.INCIDENTS)
    name = the_one(monitor)["incident_id"]
    with pytest.raises(SightlineError, match="is open"):
        call("reopen", "churn", name)
    call("accept", "churn", name)
    assert "reopened; its streams are judged against their old level" in call("reopen", "churn", name).output
    after = read_snapshot(paths, decisions.INCIDENTS)
    assert before is not None and after is not None and after.equals(before)
    row = the_one(monitor)
    assert (row["state"], row["is_open"], row["reopened_by"]) == ("reopened", True, word.user())
    spec = load_monitor(monitor.monitors / "churn.yaml", home=monitor)
    kinds = [entry["kind"] for entry in history(spec, paths, name)]
    assert kinds[-2:] == ["accept", "reopen"], "what was taken back stays in the history"
    call("fixed", "churn", name)
    assert the_one(monitor)["state"] == "fixed"


def test_what_ended_by_itself_is_open_again_until_somebody_says_what_it_was(monitor):
    go_on(monitor, 80, 64)
    name = the_one(monitor)["incident_id"]
    assert the_one(monitor)["state"] == "resolved"
    streams = read_snapshot(monitor.monitor("churn"), decisions.STREAMS)
    assert "its streams are judged as before" in call("reopen", "churn", name, "--note", "half of it is mended").output
    after = read_snapshot(monitor.monitor("churn"), decisions.STREAMS)
    assert streams is not None and streams.equals(after), "no decision changes"
    assert [row["incident_id"] for row in sightline.incidents(monitor, only_open=True)] == [name]
    with pytest.raises(SightlineError, match="was reopened by a person"):
        call("split", "churn", name, "drift/age/location")
    call("acknowledge", "churn", name)
    assert the_one(monitor)["state"] == "acknowledged"
    call("fixed", "churn", name)
    assert the_one(monitor)["state"] == "fixed" and sightline.incidents(monitor, only_open=True) == []


def test_an_end_is_not_taken_back_once_its_streams_are_in_another_incident(monitor):
    name = the_one(monitor)["incident_id"]
    call("fixed", "churn", name, "--at", "2026-03-10")
    go_on(monitor, 72, 72)
    first = [row for row in sightline.incidents(monitor) if row["incident_id"] != name]
    assert first and first[-1]["reopens"] == name and first[-1]["state"] == "reopened"
    with pytest.raises(SightlineError, match="have been part of the incident"):
        call("reopen", "churn", name)


def test_the_later_of_two_people_is_told_and_both_are_kept(monitor):
    name = the_one(monitor)["incident_id"]
    sightline.acknowledge(monitor, "churn", name, note="on it", by="ann")
    row = sightline.acknowledge(monitor, "churn", name, by="bob")
    assert len(row["told"]) == 1 and row["told"][0].startswith("ann acknowledged it ")
    ended = sightline.accept(monitor, "churn", name, by="ann")
    assert ended["told"][0].startswith("bob acknowledged it ")
    late = sightline.fixed(monitor, "churn", name, note="rolled back", by="bob")
    assert late["state"] == "accepted" and any(words.startswith("ann accepted it ") for words in late["told"])
    kept = read_actions(monitor.monitor("churn"))
    assert [(a["kind"], a["user"]) for a in kept] == [
        ("acknowledge", "ann"), ("acknowledge", "bob"), ("accept", "ann"), ("note", "bob"),
    ]  # fmt: skip
    assert kept[-1]["said"] == "fixed" and kept[-1]["note"].endswith("rolled back")
    with pytest.raises(SightlineError, match=r"has ended already \(accepted by ann\)"):
        sightline.accept(monitor, "churn", name, by="ann")


def test_a_late_word_is_refused_once_the_end_is_no_news(monitor):
    name = the_one(monitor)["incident_id"]
    long_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    append_action(monitor.monitor("churn"), {"kind": "accept", "incident": name, "user": "ann", "at": long_ago})
    decide(monitor)
    with pytest.raises(SightlineError, match="has ended already"):
        sightline.fixed(monitor, "churn", name, by="bob")


def test_two_processes_at_one_moment(monitor):
    """Both words are kept, one end counts, and whoever came second is told of the first."""
    name = the_one(monitor)["incident_id"]
    root = Path(sightline.__file__).parents[1]

    def start(who: str, *arguments: str) -> subprocess.Popen:
        environment = {**os.environ, "LOGNAME": who, "PYTHONPATH": str(root), "SIGHTLINE_HOME": str(monitor.root)}
        command = [sys.executable, "-m", "sightline.cli", *arguments, "churn", name]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    both = {"ann": start("ann", "accept"), "bob": start("bob", "fixed")}
    answers = {who: (*process.communicate(timeout=120), process.returncode) for who, process in both.items()}
    assert [code for *_, code in answers.values()] == [0, 0], answers
    kept = read_actions(monitor.monitor("churn"))
    assert {action["user"] for action in kept} == {"ann", "bob"} and len(kept) == 2
    first, second = (action["user"] for action in kept)
    assert kept[0]["kind"] in ("accept", "fixed") and kept[1]["kind"] == "note"
    assert answers[first][1] == "" and first in answers[second][1]
    assert the_one(monitor)["state"] == {"accept": "accepted", "fixed": "fixed"}[kept[0]["kind"]]


def test_operational_facts_are_told_beside_the_incidents(monitor):
    at = datetime(2026, 3, 8, 9, tzinfo=UTC)
    fact = Seen("r1:delayed", "run:delayed", "run", at, True, ("2026-03-07",), "runs of delayed failed", "r1")
    record(monitor.monitor("churn"), [fact], at)
    words = "FAILING: runs of delayed failed (since 2026-03-08 09:00)"
    name = the_one(monitor)["incident_id"]
    for arguments in (("incidents",), ("incidents", "churn"), ("incident", name)):
        assert words in call(*arguments).output
    assert json.loads(call("incidents", "churn", "--format", "json").output)["operations"][0]["n_items"] == 1


def test_pages_are_named_below_the_address_of_dagster_or_by_the_routes_of_the_home(monitor):
    name = the_one(monitor)["incident_id"]
    text = call("incident", name).output
    assert "pages (below the address of Dagster's UI)" in text and "lineage: /assets/churn/drift?view=lineage" in text
    assert "run: " not in text, "the evidence of this test is of no run of Dagster's"
    (monitor.root / "alerts").mkdir()
    (monitor.root / "alerts" / "routes.yaml").write_text(
        "version: 1\nlinks: {dagster: 'https://dagster.example.org', dashboard: 'https://bi.example.org/{monitor}/{incident}'}\n"
    )
    found = sightline.incident(monitor, None, name)
    assert found["links"] == {
        "lineage": "https://dagster.example.org/assets/churn/drift?view=lineage",
        "dashboard": f"https://bi.example.org/churn/{name}",
    }
    (monitor.root / "alerts" / "routes.yaml").write_text("links: [")
    assert sightline.incident(monitor, None, name)["links"]["lineage"].startswith("/assets/")


def test_what_a_person_says_is_handed_to_those_who_tell_others(monitor):
    name = the_one(monitor)["incident_id"]
    sightline.note(
        monitor, "churn", name, "first", by="ann"
    )  # what was there before the first delivery is told at once
    sightline.acknowledge(monitor, "churn", name, by="ann")
    sightline.assign(monitor, "churn", name, "bob", by="ann")
    with Outbox(monitor) as outbox:
        kinds = [change.kind for change in outbox.unrouted()]
    assert kinds.count("acknowledged") == kinds.count("assigned") == 1, kinds

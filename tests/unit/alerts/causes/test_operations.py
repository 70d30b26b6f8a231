"""Operational facts as causes: published ones, in the windows of an incident and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from metrics_py.alerting.tables import INCIDENTS_SCHEMA, MEMBERS_SCHEMA
from sightline.alerts.causes import publish
from sightline.alerts.causes.case import Cause
from sightline.alerts.causes.operations import below_feeds, facts_of, operations
from sightline.alerts.causes.rank import rank
from sightline.alerts.operational import LABELS, Seen, read, record
from sightline.results.snapshots import write_snapshot
from sightline.spec.loader import load_monitor
from tests.support.causes import BEFORE, DAY, START, draw

MONITOR = """
version: 1
model: {id: churn, task: binary_classification}
columns: {score: p, features: {age: {kind: numeric, nullable: false}}}
labels: {column: churned}
reference: {kind: window, start: 2026-01-01, end: 2026-01-11}
"""
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def quiet():
    return draw(np.random.default_rng(941), "none").case


@pytest.fixture
def spec(home):
    home.monitors.mkdir(exist_ok=True)
    (home.monitors / "churn.yaml").write_text(MONITOR)
    return load_monitor(home.monitors / "churn.yaml", home=home)


def at(day: float) -> datetime:
    return (START + day * DAY).replace(tzinfo=UTC)


def failed_test(day: float, name: str = "unique_events_id", failing: bool = True) -> Seen:
    cause = f"check:column_counts:{name}"
    words = f"the rule {name} of column_counts broke: 3 rows" if failing else ""
    return Seen(f"t{day}{name}{failing}", cause, "check", at(day), failing, words=words, assets=("column_counts",))


def failed_run(day: float, *windows: int, failing: bool = True) -> Seen:
    keys = tuple(f"{at(window):%Y-%m-%d}" for window in windows)
    words = "runs of immediate failed at inferences: no such file" if failing else ""
    return Seen(f"r{day}{failing}", "run:immediate", "run", at(day), failing, keys, words, "r")


def late(cause: str, day: float, failing: bool = True) -> Seen:
    words = "inferences is not fresh: its deadline has passed" if failing else ""
    return Seen(f"f{cause}{day}{failing}", cause, "freshness", at(day), failing, ("inferences",), words)


def found(quiet, spec, paths, *seen: Seen) -> list[Cause]:
    """Causes with what was seen, each looked at a minute after it happened."""
    for entry in sorted(seen, key=lambda one: one.at):
        record(paths, [entry], entry.at + timedelta(minutes=1))
    return rank(replace(quiet, operations=facts_of(spec, read(paths), set())))


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (failed_test(1.1), "the rule unique_events_id of column_counts broke: 3 rows"),
        (failed_run(2.1, 1), "runs of immediate failed at inferences: no such file"),
        (failed_run(40.0, 0), "runs of immediate failed at inferences: no such file"),
        (late("freshness:inferences", 0.5), "inferences is not fresh: its deadline has passed"),
        (late(LABELS, -0.5), "inferences is not fresh: its deadline has passed"),
    ],
)
def test_what_failed_in_the_windows_of_an_incident_is_told(quiet, spec, home, seen, words):
    [cause] = found(quiet, spec, home.monitor("churn"), seen)
    assert (cause.kind, cause.words, cause.rank) == ("operations", words, 1)
    assert "first seen 2026-" in cause.evidence


@pytest.mark.parametrize(
    "seen",
    [
        [],
        [failed_test(-1)],
        [failed_test(6)],
        [failed_run(2, -3)],
        [failed_run(2, 9)],
        [late("freshness:inferences", -5)],
        [late("freshness:inferences", -1), late("freshness:inferences", -0.5, failing=False)],
        [failed_test(day) for day in range(-12, 3)],
        [failed_run(1.1, *range(-BEFORE, 2))],
    ],
)
def test_what_failed_elsewhere_or_all_the_time_is_no_cause(quiet, spec, home, seen):
    [cause] = found(quiet, spec, home.monitor("churn"), *seen)
    assert (cause.kind, cause.words) == ("none", "no cause found")


def test_a_run_that_was_repeated_at_once_is_no_fact(spec, home):
    paths = home.monitor("churn")
    record(paths, [failed_run(1.1, 0, 1), failed_run(1.2, 0, failing=False)], at(1.3))
    [fact] = facts_of(spec, read(paths), set())
    assert fact.windows == (START + DAY,) and fact.until is None
    record(paths, [failed_run(1.5, 1, failing=False)], at(1.6))
    [fact] = facts_of(spec, read(paths), set())
    assert fact.until == START + 1.5 * DAY


def test_many_failures_of_a_kind_are_one_cause_with_its_evidence(quiet, spec, home):
    tests = [failed_test(1.1, f"test_{k}") for k in range(12)]
    causes = found(quiet, spec, home.monitor("churn"), *tests, failed_run(2.1, 1, 2), failed_run(3.1, 3))
    assert [cause.kind for cause in causes] == ["operations"] * 2
    assert causes[0].words == "the rule test_0 of column_counts broke: 3 rows (and 11 more failed checks)"
    assert causes[1].evidence == (
        "in 3 of the 4 windows since the change began; first seen 2026-03-03 02:24 UTC, 2 days after the change began; "
        "2 times"
    )


def test_a_feed_in_the_same_windows_comes_first_and_concept_and_covariate_shift_later(spec, home):
    paths = home.monitor("churn")
    causes = found(draw(np.random.default_rng(942), "feed").case, spec, paths, failed_test(1.1))
    kinds = [cause.kind for cause in causes]
    assert kinds.index("feed") < kinds.index("operations")
    causes = found(draw(np.random.default_rng(943), "concept").case, spec, paths)
    kinds = [cause.kind for cause in causes]
    assert kinds.index("operations") < kinds.index("concept")
    weak = [Cause("feed", "f", "", 0.6), Cause("operations", "o", "", 0.738), Cause("covariate", "c", "", 0.38)]
    assert [cause.score for cause in below_feeds(weak)] == [0.6, pytest.approx(0.59), 0.38]


def test_published_facts_reach_the_published_causes_and_own_hard_rules_are_told_once(spec, home):
    paths = home.monitor("churn")
    row = {"incident_id": "x", "opened_at": START + 3 * DAY, "change_point": START, "streams": ["data_quality/n_rows"]}
    member = {"incident_id": "x", "stream": "data_quality/n_rows", "joined_at": START + 3 * DAY, "evidence": 5000.0}
    incidents = pl.DataFrame([row | {"status": "open"}], schema_overrides=INCIDENTS_SCHEMA)
    members = pl.DataFrame([member | {"change_point": START}], schema_overrides=MEMBERS_SCHEMA)
    for name, frame, schema in (
        ("incidents", incidents, INCIDENTS_SCHEMA),
        ("incident_members", members, MEMBERS_SCHEMA),
    ):
        write_snapshot(paths, name, pl.concat([pl.DataFrame(schema=schema), frame], how="diagonal"))
    own = Seen("c", "check:data_quality:row_volume", "check", at(1.1), True, words="the rule row_volume broke")
    record(paths, [own], at(1.2))
    assert publish(spec, paths)["kind"].to_list() == ["none"]
    record(paths, [failed_test(1.3)], at(1.4))
    [told] = publish(spec, paths).to_dicts()
    assert told["kind"] == "operations" and "unique_events_id" in told["words"]
    assert "24 hours" not in told["evidence"] and "first seen 2026-03-02 07:12 UTC" in told["evidence"]


def test_no_fact_no_cause(quiet):
    assert list(operations(quiet)) == []
    assert "0 operational facts" in rank(quiet)[0].evidence

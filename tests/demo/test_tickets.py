"""The generated tickets: what is put in on which days, and nothing on the others."""

from __future__ import annotations

import itertools
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from demo.calendar import Calendar
from demo.facts import score
from demo.tickets import monitor_file, phrases, world
from sightline.home import Home
from sightline.spec.loader import load_monitor

START = date(2026, 8, 8)


@pytest.fixture(scope="module")
def tickets() -> pl.DataFrame:
    return world.generate(START)


def rate(tickets: pl.DataFrame, shown: pl.Expr) -> dict[int, float]:
    """Share of the tickets of each day (-1: the reference)."""
    return dict(tickets.group_by("day").agg(shown.mean()).iter_rows())


SIGNS = {
    "language": pl.col(world.TEXT).str.starts_with("Guten Tag"),
    "vocabulary": pl.col(world.TEXT).str.contains("|".join(phrases.NEW_PRODUCTS)),
    "length": pl.col(world.TEXT).str.contains("mobile application"),
    "copies": pl.col(world.TEXT).is_duplicated().over("day"),
}


@pytest.mark.parametrize("change", SIGNS)
def test_a_change_is_there_on_its_days_alone(tickets, change):
    found = rate(tickets, SIGNS[change])
    on = [found[day] for day in range(world.DAYS) if world.active(change, day)]
    off = [found[day] for day in (-1, *range(world.DAYS)) if not world.active(change, day)]
    assert min(on) > 0.15 and max(off) < 0.07


def test_changes_do_not_overlap_and_leave_the_warm_up_alone():
    days = [(change.first, change.last) for change in world.CHANGES]
    assert days[0][0] >= 42 and all(last + 7 < first for (_, last), (first, _) in itertools.pairwise(days))


def test_tickets_of_a_day_differ_and_come_in_the_order_of_time(tickets):
    assert tickets["ticket_id"].n_unique() == tickets.height
    assert tickets["at"].is_sorted() and tickets["at"].dt.date().max() == START + timedelta(days=world.DAYS - 1)
    quiet = tickets.filter(pl.col("day").is_between(0, 41))
    assert quiet.group_by("day").agg(pl.col(world.TEXT).n_unique() / pl.len())[world.TEXT].min() > 0.98


def test_the_model_files_tickets_well_and_its_last_embedding_has_other_axes(tickets):
    some = tickets.filter(pl.col("day").is_in([10, 110]))
    answered = world.answered(some)
    scores = answered.select(f"p_{queue}" for queue in phrases.QUEUES).to_numpy()
    assert scores.sum(axis=1) == pytest.approx(1)
    filed = np.array(phrases.QUEUES)[scores.argmax(axis=1)]
    assert 0.88 < (filed == answered["queue"].to_numpy()).mean() < 0.99
    before, after = (np.stack(answered.filter(day=day)["embedding"].to_list()).mean(axis=0) for day in (10, 110))
    cosine = before @ after / np.linalg.norm(before) / np.linalg.norm(after)
    assert before.shape == (world.SIZE,) and abs(cosine) < 0.8


def test_its_monitor_is_valid_and_its_files_hold_what_came(tickets, tmp_path):
    home = Home(tmp_path)
    answered = world.answered(tickets.filter(pl.col("day") < 15))
    monitor_file.write(home, START, answered)
    spec = load_monitor(home.monitors / f"{monitor_file.MONITOR_ID}.yaml", home=home)
    assert spec.alerts.budget.incidents == 1
    paths = home.monitor(monitor_file.MONITOR_ID)
    landed = pl.concat([pl.read_parquet(file) for file in sorted(paths.landing_inferences.glob("*.parquet"))])
    assert landed.height == answered.filter(pl.col("day") >= 0).height and "queue" not in landed.columns


def test_an_incident_on_days_without_a_change_counts_against_the_budget():
    at = {name: START + timedelta(days=day) for name, day in (("told", 43), ("stray", 30))}
    stream = "drift/message.language/log_psi"
    members = pl.DataFrame(
        {
            "incident_id": list(at),
            "stream": [stream, stream],
            "joined_at": list(at.values()),
            "change_point": list(at.values()),
        },
        schema_overrides={"joined_at": pl.Datetime("us"), "change_point": pl.Datetime("us")},
    )
    schema = dict.fromkeys(("column", "metric", "segment", "model_version", "status"), pl.String)
    judged = pl.DataFrame(schema={**schema, "window_start": pl.Datetime("us")})
    facts = [change.fact(START) for change in world.CHANGES]
    found = score(members, judged, Calendar(timedelta(0)), START + timedelta(days=world.DAYS), facts)
    outcomes = {finding.fact.id: finding.outcome for finding in found.findings}
    assert outcomes["language"] == "found" and outcomes["copies"] == "missed"
    assert found.unexplained["incident_id"].to_list() == ["stray"]

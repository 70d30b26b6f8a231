"""Documented causes are looked for among the first three of their facts' incidents."""

from __future__ import annotations

from datetime import date, datetime, time
from io import StringIO

import polars as pl
from rich.console import Console

from demo import report
from demo.calendar import Calendar
from demo.causes import DOCUMENTED, named
from demo.facts import FACTS, Finding

CALENDAR = Calendar.before(date(2026, 11, 24))
STORM, CONCEPT = (next(fact for fact in FACTS if fact.id == name) for name in ("storm_march", "concept_april"))


def at(month: int, day: int) -> datetime:
    return datetime.combine(CALENDAR.replayed(date(2013, month, day)), time())


def members() -> pl.DataFrame:
    rows = [("i", "drift/visib/skew", at(3, 7), at(3, 6)), ("j", "model_quality/brier", at(4, 20), at(4, 12))]
    schema = {"incident_id": pl.String, "stream": pl.String, "joined_at": pl.Datetime, "change_point": pl.Datetime}
    return pl.DataFrame(rows, schema=schema, orient="row")


def causes(*rows: tuple[str, int, str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["incident_id", "rank", "kind", "column", "words"], orient="row").with_columns(
        segment=pl.lit("")
    )


def test_a_cause_among_the_first_three_is_named_with_its_rank():
    found = causes(
        ("i", 1, "labels", "", "labels fell"),
        ("i", 2, "column", "wind_gust", "wind rose"),
        ("j", 1, "column", "temp", "[temp] rose"),
        ("j", 4, "concept", "", "too late"),
    )
    result = named([Finding(STORM, "found"), Finding(CONCEPT, "found")], members(), found, CALENDAR)
    assert [(item.fact.id, item.rank, item.words) for item in result] == [
        ("storm_march", 2, "wind rose"),
        ("concept_april", None, "[temp] rose"),
    ]
    console = Console(file=StringIO(), width=200)
    report.print_causes(console, result)
    text = console.file.getvalue()
    assert "1 of 2 facts that an incident shows have their documented cause" in text
    assert "not named, first is: [temp] rose" in text


def test_facts_without_an_incident_or_a_documented_cause_are_left_out():
    thanksgiving = next(fact for fact in FACTS if fact.id == "thanksgiving")
    findings = [Finding(STORM, "missed"), Finding(thanksgiving, "found"), Finding(CONCEPT, "found")]
    assert named(findings, members(), causes(("i", 1, "labels", "", "fell")), CALENDAR) == ()


def test_every_documented_cause_is_of_a_fact():
    assert set(DOCUMENTED) <= {fact.id for fact in FACTS}

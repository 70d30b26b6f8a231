"""What is documented to have caused the facts of 2013, against the likely causes of their incidents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

import polars as pl

from demo.calendar import Calendar
from demo.facts import Fact, Finding, matching

WEATHER = tuple(f"column/{name}" for name in ("wind_*", "precip", "visib", "pressure"))
SAME_INPUTS = ("concept/*", "slice/*")
"""Flights like those before are late more or less often: nothing that the model sees explains it."""

DOCUMENTED: dict[str, tuple[str, tuple[str, ...]]] = {
    **{
        f"storm_{month}": ("bad weather: wind, rain, sight", WEATHER)
        for month in ("february", "march", "may", "december")
    },
    "wind_1048": ("one wrong reading of the wind", ("column/wind_max_3h",)),
    "concept_april": ("no input: the same flights are late more often", SAME_INPUTS),
    "temperature_jfk": ("one wrong reading of the temperature", ("column/temp",)),
    "late_week_june": ("no input: the same flights are late more often", SAME_INPUTS),
    "overprediction_september": ("no input: the same flights are late less often", SAME_INPUTS),
    "late_december": ("no input: the same flights are late more often", SAME_INPUTS),
    "weather_ends": ("the weather feed", ("feed/*",)),
    "seasons": ("the seasons", ("column/temp", "column/dewp")),
}
"""Fact -> its cause in words, and as ``<kind>/<column or segment>``."""

FIRST = 3
"""So many of the likely causes are looked at."""


@dataclass(frozen=True)
class Named:
    """Whether the incident of a fact names its documented cause.

    Parameters
    ----------
    fact : Fact
    documented : str
        The cause, in words.
    rank : int or None
        Of the cause that fits, among the first three; None where none does.
    words : str
        What that cause says, else the first one.
    """

    fact: Fact
    documented: str
    rank: int | None
    words: str


def named(
    findings: Iterable[Finding], members: pl.DataFrame, causes: pl.DataFrame, calendar: Calendar
) -> tuple[Named, ...]:
    """Compare the causes of incidents with what is documented, for facts that were found by an incident.

    Parameters
    ----------
    findings : iterable of Finding
        Of `demo.facts.score`.
    members, causes : polars.DataFrame
        Snapshots ``incident_members`` and ``incident_causes``.
    calendar : Calendar
        Where 2013 lies.

    Returns
    -------
    tuple of Named
    """
    result: list[Named] = []
    for finding in findings:
        if finding.outcome != "found" or finding.fact.id not in DOCUMENTED:
            continue
        incidents = matching(finding.fact, members, calendar)
        own = causes.filter(pl.col("incident_id").is_in(incidents), pl.col("rank") <= FIRST).sort("rank", "incident_id")
        if own.is_empty():
            continue
        words, patterns = DOCUMENTED[finding.fact.id]
        fitting = [row for row in own.iter_rows(named=True) if any(fnmatchcase(_name(row), p) for p in patterns)]
        best = fitting[0] if fitting else None
        told = best or own.row(0, named=True)
        result.append(Named(finding.fact, words, best["rank"] if best else None, told["words"]))
    return tuple(result)


def _name(row: dict[str, object]) -> str:
    return f"{row['kind']}/{row['column'] or row['segment']}"

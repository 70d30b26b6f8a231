"""What is documented to have happened in 2013, as data: what a monitor must find, and what must not page anybody.

Each fact was established on the raw data, not on Sightline's output. `score` compares them with what was found.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from fnmatch import fnmatchcase
from typing import Literal

import polars as pl

from demo.calendar import Calendar

Kind = Literal["find", "once", "quiet"]
Outcome = Literal["found", "missed", "pending", "kept quiet", "false alarm"]

WEATHER_STREAMS = tuple(
    f"*/{name}/*" for name in ("wind_speed", "wind_gust", "wind_max_3h", "precip", "visib", "pressure", "humid", "dewp")
)


@dataclass(frozen=True)
class Fact:
    """One documented fact.

    Parameters
    ----------
    id, title : str
        Short name, and one sentence for people.
    kind : {"find", "once", "quiet"}
        ``find``: something must show in [first, last + slack]. ``once``: it must show, in at most `at_most` incidents over the
        whole span. ``quiet``: no incident may open on these streams in the span.
    first, last : date
        Days of 2013, both included.
    streams : tuple of str
        Patterns of evidence streams ``<asset>/<column>/<statistic>`` whose incident counts.
    judgements : tuple of (str, str)
        (column, metric) whose status ``warn`` or ``alert`` counts as well: hard rules and values beyond the reference's.
    slack_days : int
        So many days later still count (evidence needs days).
    at_most : int
        For ``once``.
    """

    id: str
    title: str
    kind: Kind
    first: date
    last: date
    streams: tuple[str, ...] = ()
    judgements: tuple[tuple[str, str], ...] = ()
    slack_days: int = 0
    at_most: int = 1


QUALITY = ("model_quality/*",)
CALIBRATION = (
    "model_quality/calibration_bias",
    "model_quality/calibration_error",
    "model_quality/brier_skill",
    "model_quality/brier",
    "model_quality/log_loss",
    "model_quality/@label/*",
)
CANCELLED = ("model_quality/labelled_rate",)

FACTS: tuple[Fact, ...] = (
    Fact(
        "storm_february",
        "Snowstorm: half of all flights cancelled, so half of the labels never come",
        "find",
        date(2013, 2, 8),
        date(2013, 2, 9),
        (*CANCELLED, *WEATHER_STREAMS),
        (("", "labelled_rate"),),
        slack_days=3,
    ),
    Fact(
        "wind_1048",
        "A wind reading of 1048 mph at Newark reaches the model",
        "find",
        date(2013, 2, 12),
        date(2013, 2, 12),
        ("data_quality/wind_max_3h/out_of_range_rate",),
        (("wind_max_3h", "contract_rate"), ("wind_max_3h", "maximum"), ("wind_max_3h", "out_of_range_rate")),
    ),
    Fact(
        "concept_april",
        "Concept drift: twice as many flights late as predicted, in good weather",
        "find",
        date(2013, 4, 16),
        date(2013, 4, 29),
        CALIBRATION,
        slack_days=5,
    ),
    Fact(
        "temperature_jfk",
        "13.1 F between two hours of 57 F at Kennedy, on three flights",
        "find",
        date(2013, 5, 8),
        date(2013, 5, 8),
        ("*/temp/*",),
        (("temp", "minimum"), ("temp", "out_of_range_rate")),
    ),
    Fact(
        "storm_may",
        "Thunderstorms: 22 % of the flights cancelled",
        "find",
        date(2013, 5, 23),
        date(2013, 5, 24),
        (*CANCELLED, *WEATHER_STREAMS),
        (("", "labelled_rate"),),
        slack_days=3,
    ),
    Fact(
        "late_week_june",
        "The worst week of the year: 48 % late",
        "find",
        date(2013, 6, 24),
        date(2013, 7, 1),
        CALIBRATION,
        slack_days=3,
    ),
    Fact(
        "overprediction_september",
        "Over-prediction: the best Brier score of the year, and the worst skill",
        "find",
        date(2013, 9, 3),
        date(2013, 9, 30),
        CALIBRATION,
        slack_days=5,
    ),
    Fact(
        "storm_december",
        "Snow: 22 % of the flights cancelled",
        "find",
        date(2013, 12, 10),
        date(2013, 12, 10),
        (*CANCELLED, *WEATHER_STREAMS),
        (("", "labelled_rate"),),
        slack_days=3,
    ),
    Fact(
        "weather_ends",
        "The weather feed has ended: all 776 flights of the day have no weather",
        "find",
        date(2013, 12, 31),
        date(2013, 12, 31),
        tuple(f"data_quality/{name}/null_rate" for name in ("temp", "dewp", "humid", "precip", "visib", "wind_speed")),
        tuple((name, "null_rate") for name in ("temp", "dewp", "humid", "precip", "visib", "wind_speed")),
    ),
    Fact(
        "seasons",
        "Temperature drifts with the seasons: known after the first incidents, not a page a day",
        "once",
        date(2013, 3, 1),
        date(2013, 12, 24),
        ("drift/temp/*",),
        at_most=4,
    ),
    Fact(
        "plane_year",
        "plane_year is missing for two airlines all year: constant",
        "quiet",
        date(2013, 2, 1),
        date(2013, 12, 31),
        ("data_quality/plane_year/null_rate",),
    ),
    Fact(
        "thanksgiving",
        "Few flights around Thanksgiving: normal",
        "quiet",
        date(2013, 11, 26),
        date(2013, 12, 2),
        ("data_quality/n_rows",),
    ),
    *(
        Fact(
            f"quiet_{end:%m%d}",
            f"The week to {end:%d %B}: nothing happened to the model",
            "quiet",
            end - timedelta(days=6),
            end,
            QUALITY,
        )
        for end in (date(2013, 3, 17), date(2013, 5, 12), date(2013, 8, 18), date(2013, 11, 24))
    ),
)


@dataclass(frozen=True)
class Finding:
    """What became of one fact.

    Parameters
    ----------
    fact : Fact
    outcome : {"found", "missed", "pending", "kept quiet", "false alarm"}
        ``pending``: its days are not loaded yet.
    day : date or None
        Day (as replayed) of the first evidence.
    by : str
        The streams or judgements that showed it.
    """

    fact: Fact
    outcome: Outcome
    day: date | None = None
    by: str = ""


@dataclass(frozen=True)
class Score:
    """Facts and what became of them; incidents that no fact explains, newest last."""

    findings: tuple[Finding, ...]
    unexplained: pl.DataFrame = field(default_factory=pl.DataFrame)
    n_incidents: int = 0

    def count(self, outcome: Outcome) -> int:
        """Number of facts with this outcome."""
        return sum(finding.outcome == outcome for finding in self.findings)


def score(
    members: pl.DataFrame,
    judgements: pl.DataFrame,
    calendar: Calendar,
    last_loaded: date,
    facts: Iterable[Fact] = FACTS,
) -> Score:
    """Compare what was found with what is documented.

    Parameters
    ----------
    members : polars.DataFrame
        Members of all incidents (snapshot ``incident_members``): ``incident_id, stream, joined_at``.
    judgements : polars.DataFrame
        Latest judgements: ``column, metric, segment, model_version, window_start, status``.
    calendar : Calendar
        Where 2013 lies.
    last_loaded : date
        Last window that is loaded (as replayed).
    facts : iterable of Fact

    Returns
    -------
    Score
    """
    joined = members.select("incident_id", "stream", day=pl.col("joined_at").dt.date())
    loud = judgements.filter(
        pl.col("status").is_in(["warn", "alert"]), pl.col("segment") == "all", pl.col("model_version") == "all"
    ).select("column", "metric", "status", day=pl.col("window_start").dt.date())
    facts = tuple(facts)
    findings = tuple(_finding(fact, joined, loud, calendar, last_loaded) for fact in facts)
    explained = {i for fact in facts if fact.kind != "quiet" for i in _matching(fact, joined, calendar)["incident_id"]}
    false = {
        i for f in findings if f.outcome == "false alarm" for i in _matching(f.fact, joined, calendar)["incident_id"]
    }
    rest = joined.filter(~pl.col("incident_id").is_in(sorted(explained | false)))
    unexplained = (
        rest.group_by("incident_id").agg(pl.col("day").min(), pl.col("stream").sort()).sort("day", "incident_id")
    )
    return Score(findings, unexplained, joined["incident_id"].n_unique())


def _matching(fact: Fact, joined: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Incident members that belong to a fact: its streams, its days."""
    first, last = calendar.replayed(fact.first), calendar.replayed(fact.last) + timedelta(days=fact.slack_days)
    streams = [name for name in joined["stream"].unique() if any(fnmatchcase(name, p) for p in fact.streams)]
    return joined.filter(pl.col("stream").is_in(streams), pl.col("day").is_between(first, last)).sort("day", "stream")


def _judged(fact: Fact, loud: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    first, last = calendar.replayed(fact.first), calendar.replayed(fact.last)
    wanted = pl.DataFrame(fact.judgements, schema={"column": pl.String, "metric": pl.String}, orient="row")
    return (
        loud.join(wanted, on=["column", "metric"], how="semi").filter(pl.col("day").is_between(first, last)).sort("day")
    )


def _finding(fact: Fact, joined: pl.DataFrame, loud: pl.DataFrame, calendar: Calendar, last_loaded: date) -> Finding:
    if calendar.replayed(fact.first) > last_loaded:
        return Finding(fact, "pending")
    members = _matching(fact, joined, calendar)
    judged = _judged(fact, loud, calendar)
    n_incidents = members["incident_id"].n_unique() if members.height else 0
    if fact.kind == "quiet":
        return (
            Finding(fact, "false alarm", members["day"][0], _streams(members))
            if n_incidents
            else Finding(fact, "kept quiet")
        )
    if members.is_empty() and judged.is_empty():
        return Finding(fact, "missed")
    if fact.kind == "once" and n_incidents > fact.at_most:
        return Finding(fact, "false alarm", members["day"][0], f"{n_incidents} incidents, {fact.at_most} allowed")
    days = [*members["day"].head(1), *judged["day"].head(1)]
    rows = judged.unique(["column", "metric"], maintain_order=True).head(3)
    told = [
        f"{column or 'all rows'} {metric} ({status})"
        for column, metric, status in rows.select("column", "metric", "status").iter_rows()
    ]
    parts = [f"incident: {_streams(members)}"] if members.height else []
    return Finding(fact, "found", min(days), "; ".join([*parts, *told]))


def _streams(members: pl.DataFrame) -> str:
    names = members["stream"].unique(maintain_order=True).to_list()
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

"""What is documented to have happened in 2013, as data.

A fact is what a monitor must find, what it may tell, or what must not page.

Each fact was established on the raw data (`tests/demo/test_demo_data.py` holds them), not on Sightline's output.
`score` compares them with what was found.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from fnmatch import fnmatchcase
from typing import Literal

import polars as pl

from demo.calendar import Calendar

Kind = Literal["find", "may", "once", "quiet"]
Outcome = Literal["found", "missed", "pending", "told", "kept quiet", "false alarm"]


@dataclass(frozen=True)
class Fact:
    """One documented fact.

    Parameters
    ----------
    id, title : str
        Short name, and one sentence for people.
    kind : {"find", "may", "once", "quiet"}
        ``find``: something must show. ``may``: it is real, and may show. ``once``: it must show, in at most `at_most`
        incidents over the whole span. ``quiet``: nothing may change on these streams in the span.
    first, last : date
        Days of 2013, both included.
    streams : tuple of str
        Patterns of evidence streams ``<asset>/<column>/<statistic>`` whose incident counts.
    judgements : tuple of (str, str)
        (column, metric) whose status ``warn`` or ``alert`` counts as well: hard rules and
        values beyond the reference's.
    slack_days : int
        A stream that joins an incident so many days after `last` still counts: evidence needs days.
    onset_days : int
        Its change point may lie so many days before `first`: it is an estimate.
    at_most : int
        For ``once``.
    also : tuple of str
        Streams whose incidents in the span the fact explains, without counting as finding it.
    """

    id: str
    title: str
    kind: Kind
    first: date
    last: date
    streams: tuple[str, ...] = ()
    judgements: tuple[tuple[str, str], ...] = ()
    slack_days: int = 0
    onset_days: int = 1
    at_most: int = 1
    also: tuple[str, ...] = ()


CANCELLED = ("model_quality/labelled_rate",)
STORM = tuple(f"*/{name}/*" for name in ("wind_speed", "wind_gust", "wind_max_3h", "precip", "visib"))
CALIBRATION = (
    "model_quality/calibration_bias",
    "model_quality/calibration_error",
    "model_quality/brier_skill",
    "model_quality/brier",
    "model_quality/log_loss",
    "model_quality/@label/*",
)
FEED = ("temp", "dewp", "humid", "precip", "visib", "wind_speed")
NO_WEATHER = tuple(f"data_quality/{name}/null_rate" for name in FEED)
QUALITY = ("model_quality/*",)


def _day(month: int, day: int) -> date:
    return date(2013, month, day)


def _storm(name: str, title: str, first: date, last: date) -> Fact:
    """Cancellations show as labels that never come, and the weather itself in the model's inputs."""
    return Fact(name, title, "find", first, last, (*CANCELLED, *STORM), (("", "labelled_rate"),), slack_days=3)


MUST_FIND: tuple[Fact, ...] = (
    _storm(
        "storm_february",
        "Snowstorm: half of all flights cancelled: half of the labels never come",
        _day(2, 8),
        _day(2, 9),
    ),
    Fact(
        "wind_1048",
        "A wind reading of 1048 mph at Newark reaches the model",
        "find",
        _day(2, 12),
        _day(2, 12),
        ("data_quality/wind_max_3h/out_of_range_rate",),
        (("wind_max_3h", "contract_rate"), ("wind_max_3h", "maximum"), ("wind_max_3h", "out_of_range_rate")),
    ),
    _storm("storm_march", "Snowstorm: 18 % of the flights cancelled on two of three days", _day(3, 6), _day(3, 8)),
    Fact(
        "concept_april",
        "Concept drift: twice as many flights late as predicted, in mild weather",
        "find",
        _day(4, 9),
        _day(4, 29),
        CALIBRATION,
        slack_days=5,
        onset_days=7,
    ),
    Fact(
        "temperature_jfk",
        "13.1 F between two hours of 57 F at Kennedy, on three flights",
        "find",
        _day(5, 8),
        _day(5, 8),
        ("data_quality/temp/*",),
        (("temp", "minimum"), ("temp", "out_of_range_rate")),
    ),
    _storm("storm_may", "Thunderstorms: 22 % of the flights cancelled", _day(5, 23), _day(5, 23)),
    Fact(
        "late_week_june",
        "The worst week of the year: 48 % late, 26 % predicted",
        "find",
        _day(6, 25),
        _day(7, 1),
        CALIBRATION,
        slack_days=5,
        onset_days=7,
    ),
    Fact(
        "overprediction_september",
        "Over-prediction: the best Brier score of the year, and the worst skill",
        "find",
        _day(8, 20),
        _day(10, 7),
        CALIBRATION,
        slack_days=5,
        onset_days=7,
    ),
    Fact(
        "late_december",
        "Three weeks of December: 36 % of the flights late, 23 % predicted",
        "find",
        _day(12, 2),
        _day(12, 22),
        CALIBRATION,
        slack_days=5,
        onset_days=7,
    ),
    _storm("storm_december", "Snow: 22 % of the flights cancelled", _day(12, 10), _day(12, 10)),
    Fact(
        "weather_ends",
        "The weather feed has ended: all 776 flights of the day have no weather",
        "find",
        _day(12, 31),
        _day(12, 31),
        NO_WEATHER,
        tuple((name, "null_rate") for name in FEED),
    ),
)

SEASONS = Fact(
    "seasons",
    "Temperature drifts with the seasons: one incident, then new normal; not a page a day",
    "once",
    _day(3, 1),
    _day(12, 31),
    ("drift/temp/*",),
    at_most=1,
    also=("*/temp/*", "*/dewp/*"),
)

MAY_TELL: tuple[Fact, ...] = (
    Fact("rain_february", "Rain on 42 % of the flights, on one day", "may", _day(2, 19), _day(2, 19), STORM),
    Fact("rain_end_february", "Rain on half of the flights, on two days of five", "may", _day(2, 23), _day(2, 27),
     STORM, onset_days=4),
    Fact("summer_timetable", "Scheduled durations fall by 7 minutes on the same routes until July", "may", _day(3, 4),
     _day(7, 1), ("drift/scheduled_minutes/*",), onset_days=7),
    Fact(
        "rain_march",
        "Rain on three days of four: pressure is missing, as always in bad weather",
        "may",
        _day(3, 16),
        _day(3, 19),
        (*STORM, "data_quality/pressure/null_rate"),
    ),
    Fact("dry_april", "Drier air than any in the reference: 13 % humidity", "may", _day(4, 5), _day(4, 9),
     ("data_quality/humid/*",)),
    Fact("dry_end_april", "Drier air than any in the reference: 12.7 % humidity", "may", _day(4, 25), _day(4, 27),
     ("data_quality/humid/*",)),
    Fact("mild_april", "Mild weather: scores of .17 on average instead of .23", "may", _day(3, 26), _day(5, 5),
     ("drift/@score/*",), onset_days=21),
    *(
        Fact(f"pressure_{first:%m%d}", "Higher pressure than any in the reference", "may", first, last,
         ("data_quality/pressure/out_of_range_rate",))
        for first, last in ((_day(4, 21), _day(4, 22)), (_day(11, 4), _day(11, 5)), (_day(11, 20), _day(11, 21)),
         (_day(11, 29), _day(11, 30)))
    ),
    Fact("calm_summer", "Weaker gusts than in the reference's winter", "may", _day(5, 13), _day(10, 3),
     ("*/wind_gust/*", "drift/wind_*"), onset_days=60),
    Fact("order_autumn", "Scores order the flights of a day worse: ROC AUC .58 on average, .65 in winter", "may",
     _day(9, 16), _day(11, 10), ("model_quality/roc_auc", "model_quality/average_precision",
     "model_quality/estimation_error_roc_auc"), slack_days=5, onset_days=14),
    Fact("feed_october", "The weather feed has gaps: 5 % of a day's flights without weather", "may", _day(10, 23),
     _day(10, 26), NO_WEATHER, onset_days=2),
    Fact("haze_december", "Visibility below 10 miles for three days without rain", "may", _day(12, 2), _day(12, 5),
     ("drift/visib/*",)),
)  # fmt: skip

MUST_BE_QUIET: tuple[Fact, ...] = (
    Fact(
        "plane_year",
        "plane_year is missing for two airlines all year: constant",
        "quiet",
        _day(2, 1),
        _day(12, 31),
        ("data_quality/plane_year/null_rate",),
    ),
    Fact(
        "thanksgiving",
        "Few flights around Thanksgiving: normal",
        "quiet",
        _day(11, 26),
        _day(12, 2),
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
            onset_days=0,
        )
        for end in (_day(3, 17), _day(5, 12), _day(8, 18), _day(11, 24))
    ),
)

FACTS: tuple[Fact, ...] = (*MUST_FIND, SEASONS, *MAY_TELL, *MUST_BE_QUIET)


@dataclass(frozen=True)
class Finding:
    """What became of one fact.

    Parameters
    ----------
    fact : Fact
    outcome : {"found", "missed", "pending", "told", "kept quiet", "false alarm"}
        ``pending``: its days are not loaded yet. ``told``: a fact that may show has shown.
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
    """Facts and what became of them; incidents that no fact explains, oldest first.

    Facts that may show are listed only if they did.
    """

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
        Members of all incidents (snapshot ``incident_members``): ``incident_id, stream, joined_at, change_point``.
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
    joined = _joined(members)
    loud = judgements.filter(
        pl.col("status").is_in(["warn", "alert"]), pl.col("segment") == "all", pl.col("model_version") == "all"
    ).select("column", "metric", "status", day=pl.col("window_start").dt.date())
    facts = tuple(facts)
    pairs = [(fact, _finding(fact, joined, loud, calendar, last_loaded)) for fact in facts]
    explained = {
        i for fact in facts if fact.kind != "quiet" for i in _matching(fact, joined, calendar, also=True)["incident_id"]
    }
    false = {
        i
        for fact, f in pairs
        if f and f.outcome == "false alarm"
        for i in _matching(fact, joined, calendar)["incident_id"]
    }
    rest = joined.filter(~pl.col("incident_id").is_in(sorted(explained | false)))
    unexplained = rest.group_by("incident_id").agg(pl.col("day").min(), pl.col("stream").unique().sort())
    findings = tuple(finding for _, finding in pairs if finding is not None)
    return Score(findings, unexplained.sort("day", "incident_id"), joined["incident_id"].n_unique())


def matching(fact: Fact, members: pl.DataFrame, calendar: Calendar) -> list[str]:
    """Ids of the incidents that show a fact, oldest first."""
    return _matching(fact, _joined(members), calendar)["incident_id"].unique(maintain_order=True).to_list()


def _joined(members: pl.DataFrame) -> pl.DataFrame:
    return members.select(
        "incident_id",
        "stream",
        day=pl.col("joined_at").dt.date(),
        change=pl.col("change_point").dt.date(),
        opened=pl.col("joined_at").min().over("incident_id").dt.date(),
    )


def _matching(fact: Fact, joined: pl.DataFrame, calendar: Calendar, *, also: bool = False) -> pl.DataFrame:
    """Incident members that belong to a fact: its streams, its days, and a change point that fits."""
    first, last = calendar.replayed(fact.first), calendar.replayed(fact.last) + timedelta(days=fact.slack_days)
    patterns = (*fact.streams, *fact.also) if also else fact.streams
    streams = [name for name in joined["stream"].unique() if any(fnmatchcase(name, p) for p in patterns)]
    rows = joined.filter(pl.col("stream").is_in(streams), pl.col("day").is_between(first, last)).sort("day", "stream")
    if fact.kind == "once":
        return rows
    return rows.filter(pl.col("change") >= first - timedelta(days=fact.onset_days))


def _judged(fact: Fact, loud: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    first, last = calendar.replayed(fact.first), calendar.replayed(fact.last)
    wanted = pl.DataFrame(fact.judgements, schema={"column": pl.String, "metric": pl.String}, orient="row")
    return (
        loud.join(wanted, on=["column", "metric"], how="semi").filter(pl.col("day").is_between(first, last)).sort("day")
    )


def _finding(
    fact: Fact, joined: pl.DataFrame, loud: pl.DataFrame, calendar: Calendar, last_loaded: date
) -> Finding | None:
    if calendar.replayed(fact.first) > last_loaded:
        return Finding(fact, "pending")
    members = _matching(fact, joined, calendar)
    if fact.kind == "quiet":
        return _disturbance(fact, joined, members, calendar)
    judged = _judged(fact, loud, calendar)
    if members.is_empty() and judged.is_empty():
        return None if fact.kind == "may" else Finding(fact, "missed")
    n_incidents = members["incident_id"].n_unique()
    if fact.kind == "once" and n_incidents > fact.at_most:
        return Finding(fact, "false alarm", members["day"][0], f"{n_incidents} incidents, {fact.at_most} allowed")
    days = [*members["day"].head(1), *judged["day"].head(1)]
    rows = judged.unique(["column", "metric"], maintain_order=True).head(3).select("column", "metric", "status")
    told = [f"{column or 'all rows'} {metric} ({status})" for column, metric, status in rows.iter_rows()]
    many = f"{n_incidents} incidents" if n_incidents > 1 else "incident"
    parts = [f"{many}: {_streams(members)}"] if members.height else []
    return Finding(fact, "told" if fact.kind == "may" else "found", min(days), "; ".join([*parts, *told]))


def _disturbance(fact: Fact, joined: pl.DataFrame, members: pl.DataFrame, calendar: Calendar) -> Finding:
    """Quiet days: a false alarm if an incident opened, or a stream joined one for a change within them.

    A stream that joins an open incident for an older change is no false alarm; it is said.
    """
    first, last = calendar.replayed(fact.first), calendar.replayed(fact.last)
    streams = [name for name in joined["stream"].unique() if any(fnmatchcase(name, p) for p in fact.streams)]
    rows = joined.filter(pl.col("stream").is_in(streams), pl.col("day").is_between(first, last)).sort("day", "stream")
    opened = rows.filter(pl.col("opened") >= first)
    false = pl.concat([members, opened]).unique(maintain_order=True)
    if false.height:
        return Finding(fact, "false alarm", false["day"][0], _streams(false))
    old = [
        f"{stream} joined for a change of {calendar.recorded(change)}"
        for stream, change in rows.select("stream", "change").iter_rows()
    ]
    return Finding(fact, "kept quiet", rows["day"][0] if old else None, "; ".join(old))


def _streams(members: pl.DataFrame) -> str:
    names = members["stream"].unique(maintain_order=True).to_list()
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

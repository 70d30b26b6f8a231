"""Which judgement an alert was raised on: the window, and the value as it was then, from published results."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from sightline.alerts.answers import MOVED
from sightline.home import MonitorPaths
from sightline.results.evidence import read_evidence
from sightline.results.snapshots import read_snapshot
from sightline.spec.stretches import split

METRICS = {"log_psi": "psi"}
"""Statistic of a stream -> the metric that it watches, where that has another name."""
OF_MEMBER = ("incident_id", "stream", "status", "ended_at", "ended_by", "joined_at", "change_point")


@dataclass(frozen=True)
class Raised:
    """A stream that joined an incident by what it was in one window.

    Parameters
    ----------
    incident_id, stream : str
        The incident and its member.
    status : str
        How the membership stands today.
    ended_at, ended_by : datetime and str, or None
        When and by what it ended.
    joined_at : datetime
        Window in which that was decided; of quality a later one than it was decided on.
    change_point : datetime
        First window after the stream's change.
    value : float or None
        As people read it, when the alert was raised.
    written_at : datetime
        When the engine was given the value (naive UTC).
    run_id : str
        By which run.
    """

    incident_id: str
    stream: str
    status: str
    ended_at: datetime | None
    ended_by: str | None
    joined_at: datetime
    change_point: datetime
    value: float | None
    written_at: datetime
    run_id: str


def raised_on(paths: MonitorPaths, metric: str, column: str, window_start: datetime) -> list[Raised]:
    """Alerts that were raised on a metric's value in one window, oldest first.

    Parameters
    ----------
    paths : MonitorPaths
        `paths.results`.
    metric : str
        As in the judgement table.
    column : str
        Empty where the metric has none.
    window_start : datetime
        Naive UTC.

    Returns
    -------
    list of Raised
        One per incident and stream; empty before the first alerts run. Streams are of all segments and versions.
    """
    members, decided = read_snapshot(paths, "incident_members"), read_snapshot(paths, "alert_streams")
    if members is None or decided is None:
        return []
    given = read_evidence(paths).filter(
        pl.col("window_start") == window_start, pl.col("column").fill_null("") == column
    )
    rows = {row["stream"]: row for row in given.iter_rows(named=True) if _watches(row["statistic"], metric, column)}
    found: list[Raised] = []
    for member in members.filter(pl.col("status") != MOVED).sort("joined_at").iter_rows(named=True):
        row = rows.get(member["stream"])
        if row is not None and _decisive_window(member, decided) == window_start:
            told = {name: member[name] for name in OF_MEMBER}
            found.append(Raised(**told, value=row["display_value"], written_at=row["written_at"], run_id=row["run_id"]))
    return found


def _watches(statistic: str, metric: str, column: str) -> bool:
    """A column's value over a stretch is told under the metric's own name, a sliding window has a metric of its own."""
    name = split(statistic)[0] if column else statistic
    return METRICS.get(name, name) == metric


def _decisive_window(member: dict[str, Any], decided: pl.DataFrame) -> datetime | None:
    """The window by which a stream joined its incident: the rejected one, else its newest with a value by then.

    A stream without news is rejected, too, when others that moved make less evidence suffice.
    """
    own = decided.filter(pl.col("stream") == member["stream"])
    is_member = pl.col("incident_id").is_in([member["incident_id"], *(member.get("moved_from") or ())]).fill_null(False)
    rejected = own.filter(is_member, pl.col("status") == "alert", pl.col("decided_at") == member["joined_at"])
    if len(rejected):
        return rejected["window_start"][0]
    before = own.filter(~is_member, pl.col("value").is_not_null(), pl.col("decided_at") <= member["joined_at"])
    newest: datetime | None = before["window_start"].max()  # pyright: ignore[reportAssignmentType]
    return newest

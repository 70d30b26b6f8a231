"""What people have said of incidents, beside what the alert engine found: from which window on a check is not red.

The engine dates an action by the clock, and a window that has closed before is decided already. A person looks at the
newest window of each stream, which is an older one where labels come late or several windows are judged together: from
that one on it is known that somebody is at it (`acknowledge`), or was (`accept`, `fixed`). Streams that join the
incident later are news.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

ENDS = ("accept", "fixed")
"""Actions that end an incident; the alert engine has to know them."""
ACKNOWLEDGE = "acknowledge"
MOVED = "moved"
"""Status of a membership that goes on in another incident."""
MOMENT = pl.Datetime("us")


def of_incidents(incidents: pl.DataFrame, actions: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Incidents with ``acknowledged_at`` (UTC), ``acknowledged_by`` and ``acknowledged_note`` of the first such word.

    Parameters
    ----------
    incidents : DataFrame
        With ``incident_id``.
    actions : sequence of mapping
        As from `sightline.results.actions.read_actions`.

    Returns
    -------
    DataFrame
        The same rows; null where nobody has acknowledged.
    """
    schema = {
        "incident_id": pl.String,
        "acknowledged_at": MOMENT,
        "acknowledged_by": pl.String,
        "acknowledged_note": pl.String,
    }
    rows = [
        (action["incident"], _naive(action["at"]), action.get("user", ""), action.get("note", ""))
        for action in actions
        if action["kind"] == ACKNOWLEDGE
    ]
    first = pl.DataFrame(rows, schema=schema, orient="row").unique("incident_id", keep="first", maintain_order=True)
    return incidents.join(first, on="incident_id", how="left", maintain_order="left")


def of_members(members: pl.DataFrame, streams: pl.DataFrame, actions: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Members with ``acknowledged_from`` and ``answered_from``: first window in which a person's word holds for them.

    Parameters
    ----------
    members : DataFrame
        With ``incident_id``, ``stream``, ``joined_at`` and ``moved_from``: what was said of an incident holds for those
        that have left it since.
    streams : DataFrame
        All decisions: ``stream, window_start, decided_at``.
    actions : sequence of mapping
        As from `sightline.results.actions.read_actions`.

    Returns
    -------
    DataFrame
        The same rows; null where no such word was said after the stream had joined.
    """
    said = {name: _first_windows(members, streams, actions, kinds) for name, kinds in _KINDS.items()}
    return members.with_columns(pl.Series(name, windows, dtype=MOMENT) for name, windows in said.items())


def in_current_incidents(streams: pl.DataFrame, members: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Decisions and members under the incidents that they are in by now: merged and split ones tell of all windows.

    Parameters
    ----------
    streams : DataFrame
        With ``stream`` and ``incident_id``.
    members : DataFrame
        With ``incident_id, stream, status, moved_from``.

    Returns
    -------
    streams, members : DataFrame
        The same rows; without memberships that have moved.
    """
    if "moved_from" not in members.columns:  # published by a release that moved none
        return streams, members
    now = members.filter(pl.col("status") != MOVED)
    moves = now.select("stream", now="incident_id", incident_id="moved_from").explode("incident_id").drop_nulls()
    moves = moves.unique(["stream", "incident_id"], keep="last", maintain_order=True)
    named = streams.join(moves, on=["stream", "incident_id"], how="left", maintain_order="left")
    return named.with_columns(incident_id=pl.coalesce("now", "incident_id")).drop("now"), now


_KINDS = {"acknowledged_from": (ACKNOWLEDGE,), "answered_from": ENDS}


def _first_windows(
    members: pl.DataFrame, streams: pl.DataFrame, actions: Sequence[Mapping[str, Any]], kinds: Sequence[str]
) -> list[datetime | None]:
    windows: dict[str, list[datetime]] = {}
    for action in actions:
        if action["kind"] in kinds and action.get("from_window"):
            windows.setdefault(action["incident"], []).append(_naive(action["from_window"]))
    found: list[datetime | None] = []
    for incident, stream, joined, former in members.select(
        "incident_id", "stream", "joined_at", "moved_from"
    ).iter_rows():
        told = [window for name in (incident, *(former or ())) for window in windows.get(name, [])]
        newest = min((window for window in told if window >= joined), default=None)
        found.append(None if newest is None else _newest_of(streams, stream, newest))
    return found


def _newest_of(streams: pl.DataFrame, stream: str, decided: datetime) -> datetime:
    """The newest window of a stream that was judged when that window was the newest of all."""
    own = streams.filter(pl.col("stream") == stream, pl.col("decided_at") <= decided)["window_start"].max()
    return own if isinstance(own, datetime) else decided


def _naive(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=None)

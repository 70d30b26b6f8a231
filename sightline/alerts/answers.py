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
        With ``incident_id``, ``stream`` and ``joined_at``.
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


_KINDS = {"acknowledged_from": (ACKNOWLEDGE,), "answered_from": ENDS}


def _first_windows(
    members: pl.DataFrame, streams: pl.DataFrame, actions: Sequence[Mapping[str, Any]], kinds: Sequence[str]
) -> list[datetime | None]:
    windows: dict[str, list[datetime]] = {}
    for action in actions:
        if action["kind"] in kinds and action.get("from_window"):
            windows.setdefault(action["incident"], []).append(_naive(action["from_window"]))
    found: list[datetime | None] = []
    for incident, stream, joined in members.select("incident_id", "stream", "joined_at").iter_rows():
        newest = min((window for window in windows.get(incident, []) if window >= joined), default=None)
        found.append(None if newest is None else _newest_of(streams, stream, newest))
    return found


def _newest_of(streams: pl.DataFrame, stream: str, decided: datetime) -> datetime:
    """The newest window of a stream that was judged when that window was the newest of all."""
    own = streams.filter(pl.col("stream") == stream, pl.col("decided_at") <= decided)["window_start"].max()
    return own if isinstance(own, datetime) else decided


def _naive(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=None)

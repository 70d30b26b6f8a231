"""What people have said of incidents, beside what the alert engine found: from which window on a check is not red.

The engine dates an action by the clock, and a window that has closed before is decided already. A person looks at the
newest window of each stream, which is an older one where labels come late or several windows are judged together: from
that one on it is known that somebody is at it (`acknowledge`), or was (`accept`, `fixed`). Streams that join the
incident later are news.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

ENDS = ("accept", "fixed")
"""Actions that end an incident; the alert engine has to know them."""
ACKNOWLEDGE = "acknowledge"
MERGE, SPLIT = "merge", "split"
REOPEN = "reopen"
"""It is not over: a person's word that ended it before is taken back."""
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
    dated = [(n, action) for n, action in enumerate(actions) if action.get("from_window")]
    found: list[datetime | None] = []
    for incident, stream, joined, former in members.select(
        "incident_id", "stream", "joined_at", "moved_from"
    ).iter_rows():
        said = _words(dated, stream, [*(former or ()), incident], kinds)
        told = [word for word in said if word[0] >= joined]
        found.append(_newest_of(streams, stream, *min(told)) if told else None)
    return found


def _words(
    actions: Sequence[tuple[int, Mapping[str, Any]]], stream: str, path: Sequence[str], kinds: Sequence[str]
) -> Iterator[tuple[datetime, datetime]]:
    """What had been decided, and judged, when something was said of the incidents that a stream was in, in turn.

    It counts while the stream was in each. What was said of one before the stream was merged into it was said of
    others: it holds from the merger on.
    """
    entered: tuple[int, Mapping[str, Any]] | None = None
    for name, following in zip(path, [*path[1:], None], strict=True):
        since = -1 if entered is None else entered[0]
        left = None
        if following is not None:
            left = next(
                (each for each in actions if each[0] > since and _moves(each[1], stream, name, following)), None
            )
        for n, action in actions:
            is_word = action["kind"] in kinds and action["incident"] == name and (left is None or n < left[0])
            if is_word:
                word = _moment(action)
                yield word if entered is None else max(word, _moment(entered[1]))
        entered = left


def _moment(action: Mapping[str, Any]) -> tuple[datetime, datetime]:
    """What was known when somebody said something; an older entry tells only with which window it was decided."""
    return _naive(action["from_window"]), _naive(action.get("newest_window") or action["from_window"])


def _moves(action: Mapping[str, Any], stream: str, source: str, target: str) -> bool:
    """Whether an action took a stream from one incident to another."""
    if action["incident"] != source:
        return False
    if action["kind"] == MERGE:
        return action.get("into") == target
    return action["kind"] == SPLIT and isinstance(action.get("streams"), list) and stream in action["streams"]


def _newest_of(streams: pl.DataFrame, stream: str, decided: datetime, newest: datetime) -> datetime:
    """The newest window of a stream that had been judged at a moment."""
    known = (pl.col("decided_at") <= decided) & (pl.col("window_start") <= newest)
    own = streams.filter(pl.col("stream") == stream, known)["window_start"].max()
    return own if isinstance(own, datetime) else newest


def _naive(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=None)

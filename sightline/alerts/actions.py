"""What a person says about an incident, and what there is to read of it.

It is being looked at, the new normal, mended (between two moments), part of another one, or two; it is somebody's; it
is not over. Each word is kept for good with who said it and when, one after the other, and takes effect at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import polars as pl

from sightline.alerts import decisions, listing
from sightline.alerts.answers import ACKNOWLEDGE, MERGE, REOPEN, SPLIT
from sightline.alerts.life import ASSIGN, NOTE
from sightline.alerts.listing import Wanted, naive
from sightline.alerts.word import StateError, Word, name_of, past_moment, require_open
from sightline.errors import SightlineError, nearest
from sightline.home import Home
from sightline.results.snapshots import read_snapshot

AnyHome = Home | Path | str | None


def incidents(
    home: AnyHome = None,
    monitor: str | None = None,
    *,
    only_open: bool = False,
    status: str | Sequence[str] = (),
    severity: str | Sequence[str] = (),
    owner: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    stream: str | None = None,
) -> list[dict[str, Any]]:
    """Incidents, newest first, from published results.

    Parameters
    ----------
    home : Home, Path or str, optional
        The home folder; default: `SIGHTLINE_HOME`, else the working directory.
    monitor : str, optional
        Id of a monitor; default: all.
    only_open : bool
        Without those that have ended.
    status, severity : str or sequence of str
        One of these, of `sightline.alerts.life.STATES` and ``error``, ``warn``, ``info``.
    owner : str, optional
        To whom it is assigned; an empty text: to nobody.
    since, until : datetime, optional
        Open at some moment from `since` to before `until` (UTC where no zone is given).
    stream : str, optional
        Name of a member, or a pattern with ``*``.

    Returns
    -------
    list of dict
        As from `sightline.alerts.listing.listed`.

    Raises
    ------
    SightlineError
        There is no such monitor.
    """
    folder = home_of(home)
    states, levels = ((name,) if isinstance(name, str) else tuple(name) for name in (status, severity))
    wanted = Wanted(only_open, states, levels, owner, naive(since), naive(until), stream)
    found = [
        row
        for spec in listing.monitors(folder, monitor)
        for row in listing.listed(spec, folder.monitor(spec.id), wanted)
    ]
    return sorted(found, key=lambda row: row["opened_at"], reverse=True)


def incident(home: AnyHome, monitor: str | None, incident: str) -> dict[str, Any]:
    """All that is known of one incident, from published results.

    Parameters
    ----------
    home : Home, Path, str or None
        As for `incidents`.
    monitor : str or None
        Id of its monitor; None: the only one that has it.
    incident : str
        Its id.

    Returns
    -------
    dict
        As from `sightline.alerts.listing.whole`.

    Raises
    ------
    SightlineError
        There is no such incident, or several monitors have one.
    """
    folder = home_of(home)
    spec = listing.find(folder, incident, monitor)
    return listing.whole(spec, folder.monitor(spec.id), incident)


def act(
    home: AnyHome,
    monitor: str,
    incident: str,
    kind: str,
    *,
    at: datetime | None = None,
    note: str = "",
    start: datetime | None = None,
    end: datetime | None = None,
    by: str | None = None,
) -> dict[str, Any]:
    """Record a word on an incident and publish what the engine makes of it.

    Parameters
    ----------
    home : Home, Path, str or None
        As for `incidents`.
    monitor : str
        Its id.
    incident : str
        Id of the incident, as `sightline incidents` lists it.
    kind : {'acknowledge', 'accept', 'fixed'}
        ``acknowledge``: somebody is at it; the incident goes on, its checks warn. ``accept``: the baseline starts anew
        at the change point. ``fixed``: the windows since the change point never taught it. See also `merge`, `split`,
        `assign`, `note`, `reopen`.
    at : datetime, optional
        From when on it holds (aware; default now).
    note : str
        Kept with the action; at most `MAX_NOTE` characters.
    start, end : datetime, optional
        Of ``fixed``: only windows from `start` (default: the change point) to before `end` (default: now) were bad.
    by : str, optional
        Who says it; default: the user of this process.

    Returns
    -------
    dict
        The incident as it is now, and ``told``: what others said of it just before. What somebody else ended just
        before keeps that end; the word is kept as a note.

    Raises
    ------
    SightlineError
        There is no such incident, it has ended already, a moment lies in the future, or a text is too long.
    """
    folder = home_of(home)
    with Word(folder, monitor, incident, kind, by, note) as word:
        moment = past_moment(at, incident) or word.now
        more = {"effective_at": moment.isoformat()}
        if start is not None or end is not None:
            more |= _between(word, start, end)
        if word.is_late:
            word.keep_as_note()
            return word.told()
        word.require_open()
        word.say(**more)
        return word.told()


def acknowledge(home: AnyHome, monitor: str, incident: str, *, note: str = "", by: str | None = None) -> dict[str, Any]:
    """Say that somebody is at an incident: its checks warn where they would fail.

    Parameters
    ----------
    home, monitor, incident, note, by
        As for `act`.

    Returns
    -------
    dict
        As from `act`.

    Raises
    ------
    SightlineError
        As for `act`.
    """
    return act(home, monitor, incident, ACKNOWLEDGE, note=note, by=by)


def accept(home: AnyHome, monitor: str, incident: str, *, note: str = "", by: str | None = None) -> dict[str, Any]:
    """Say that an incident is the new normal: the baselines of its streams restart at their change points.

    Parameters
    ----------
    home, monitor, incident, note, by
        As for `act`.

    Returns
    -------
    dict
        As from `act`.

    Raises
    ------
    SightlineError
        As for `act`.
    """
    return act(home, monitor, incident, "accept", note=note, by=by)


def fixed(
    home: AnyHome,
    monitor: str,
    incident: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    at: datetime | None = None,
    note: str = "",
    by: str | None = None,
) -> dict[str, Any]:
    """Say that the cause of an incident is mended: the bad windows never teach the baselines.

    Parameters
    ----------
    home, monitor, incident, start, end, at, note, by
        As for `act`; without `start` and `end` all windows since the change point were bad.

    Returns
    -------
    dict
        As from `act`.

    Raises
    ------
    SightlineError
        As for `act`; or the bad windows lie before the incident.
    """
    return act(home, monitor, incident, "fixed", at=at, note=note, start=start, end=end, by=by)


def assign(
    home: AnyHome, monitor: str, incident: str, person: str, *, note: str = "", by: str | None = None
) -> dict[str, Any]:
    """Say whose an incident is, open or ended.

    Parameters
    ----------
    home, monitor, incident, note, by
        As for `act`.
    person : str
        Who looks after it.

    Returns
    -------
    dict
        As from `act`.

    Raises
    ------
    SightlineError
        As for `act`; or nobody is named.
    """
    with Word(home_of(home), monitor, incident, ASSIGN, by, note) as word:
        word.require_here()
        word.say(to=name_of(person, "the person"))
        return word.told()


def note(home: AnyHome, monitor: str, incident: str, text: str, *, by: str | None = None) -> dict[str, Any]:
    """Keep a note with an incident, open or ended.

    Parameters
    ----------
    home, monitor, incident, by
        As for `act`.
    text : str
        At most `MAX_NOTE` characters.

    Returns
    -------
    dict
        As from `act`.

    Raises
    ------
    SightlineError
        As for `act`; or there is no text.
    """
    with Word(home_of(home), monitor, incident, NOTE, by, text) as word:
        if not word.note:
            raise SightlineError("the note is empty", fix="say what is to be known")
        word.say()
        return word.told()


def reopen(home: AnyHome, monitor: str, incident: str, *, note: str = "", by: str | None = None) -> dict[str, Any]:
    """Say that an incident is not over.

    What a person had ended goes on as if that had not been said: its streams are judged against their old level. What
    had ended by itself is listed as open until somebody says what it was; its streams are judged as before.

    Parameters
    ----------
    home, monitor, incident, note, by
        As for `act`.

    Returns
    -------
    dict
        As from `act`.

    Raises
    ------
    SightlineError
        As for `act`; it is open; or its streams have been part of another one since.
    """
    with Word(home_of(home), monitor, incident, REOPEN, by, note) as word:
        word.require_here()
        if word.row["is_open"]:
            raise SightlineError(
                f"the incident {incident} is open", fix=f"see `sightline incident {monitor} {incident}`"
            )
        if word.row["closed_by"] == "user":
            _require_free(word)
        word.say()
        return word.told()


def merge(
    home: AnyHome, monitor: str, incident: str, into: str, *, note: str = "", by: str | None = None
) -> dict[str, Any]:
    """Say that two open incidents are one: the members of `incident` go on in `into`.

    Parameters
    ----------
    home, monitor, incident, note, by
        As for `act`.
    into : str
        The open incident that takes them.

    Returns
    -------
    dict
        The incident `into` as it is now.

    Raises
    ------
    SightlineError
        As for `act`, of both incidents; or they are the same.
    """
    if incident == into:
        raise SightlineError(f"the incident {incident} cannot be merged into itself", fix="name two incidents")
    with Word(home_of(home), monitor, incident, MERGE, by, note) as word:
        word.require_open(of_engine=True)
        require_open(listing.one(word.spec, word.paths, into), of_engine=True)
        word.say(into=into, effective_at=word.now.isoformat())
        return word.told(into)


def split(
    home: AnyHome, monitor: str, incident: str, patterns: Sequence[str], *, note: str = "", by: str | None = None
) -> dict[str, Any]:
    """Say that an open incident is two: some of its members become one of their own.

    Parameters
    ----------
    home, monitor, incident, note, by
        As for `act`.
    patterns : sequence of str
        Names of streams, or patterns with ``*``.

    Returns
    -------
    dict
        The new incident.

    Raises
    ------
    SightlineError
        As for `act`; or a pattern means no open member, or all are meant.
    """
    with Word(home_of(home), monitor, incident, SPLIT, by, note) as word:
        word.require_open(of_engine=True)
        own = [member["stream"] for member in word.row["members"] if member["status"] == "open"]
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in own):
                raise SightlineError(f"no open stream of {incident} is called {pattern!r}", fix=nearest(pattern, own))
        leaving = [name for name in own if any(fnmatchcase(name, pattern) for pattern in patterns)]
        if len(leaving) == len(own):
            what = f"all {len(own)} open streams of {incident} are meant: nothing would be left"
            raise SightlineError(what, fix="name those of one cause only")
        before = {row["incident_id"] for row in listing.listed(word.spec, word.paths)}
        word.say(streams=leaving, effective_at=word.now.isoformat())
        rows = listing.listed(word.spec, word.paths)
        new = [row for row in rows if row["split_from"] == incident and row["incident_id"] not in before]
        if not new:
            what = f"{incident} was not split: new evidence has changed it since"
            raise SightlineError(what, fix=f"see `sightline incidents {monitor}`")
        return word.told(new[0]["incident_id"])


def home_of(home: AnyHome) -> Home:
    """A home folder from what a caller gives.

    Parameters
    ----------
    home : Home, Path, str or None
        None: `SIGHTLINE_HOME`, else the working directory.

    Returns
    -------
    Home
    """
    if isinstance(home, Home):
        return home
    return Home.from_env() if home is None else Home(Path(home).resolve())


def _require_free(word: Word) -> None:
    """Raise if streams of an ended incident have joined another one since."""
    members = read_snapshot(word.paths, decisions.MEMBERS)
    assert members is not None  # published with the incidents
    own, ended = [member["stream"] for member in word.row["members"]], word.row["closed_at"]
    since = members.filter(
        pl.col("incident_id") != word.incident, pl.col("stream").is_in(own), pl.col("joined_at") > ended
    )
    if len(since):
        other = since.sort("joined_at")["incident_id"][-1]
        what = f"streams of {word.incident} have been part of the incident {other} since it ended"
        raise StateError(what, fix=f"say it of that one: `sightline incident {word.spec.id} {other}`")


def _between(word: Word, start: datetime | None, end: datetime | None) -> dict[str, str]:
    """The bad windows of what is mended."""
    if word.kind != "fixed":
        raise SightlineError(f"{word.kind} has no beginning and no end", fix="`fixed` has")
    first, last = past_moment(start, word.incident), past_moment(end, word.incident) or word.now
    if first is not None and first >= last:
        what = f"nothing lies between {first:%Y-%m-%d %H:%M} and {last:%Y-%m-%d %H:%M} UTC"
        raise SightlineError(what, fix="give the first bad moment, and the first good one after it")
    if naive(last) <= word.row["change_point"] and word.row["status"] == "open":
        what = f"all windows before {last:%Y-%m-%d %H:%M} UTC lie before {word.incident} began"
        raise SightlineError(what, fix=f"it began {word.row['change_point']:%Y-%m-%d %H:%M} UTC")
    return {**({"bad_from": first.isoformat()} if first else {}), "bad_to": last.isoformat()}

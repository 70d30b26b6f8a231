"""What people and pipelines say was done to a model or its surroundings: one line each, durable, never changed."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

import polars as pl

from sightline.durable import exclusive, sync_folder
from sightline.errors import SightlineError
from sightline.home import MonitorPaths
from sightline.results.append_only import locked

MARKS = "marks.jsonl"
MOST_LETTERS = 500
SCHEMA = pl.Schema({"at": pl.Datetime("us"), "text": pl.String, "source": pl.String, "written_at": pl.Datetime("us")})


def append_mark(
    paths: MonitorPaths, text: str, *, at: datetime | None = None, source: str = "", now: datetime | None = None
) -> dict[str, str]:
    """Keep a mark, durably.

    Parameters
    ----------
    paths : MonitorPaths
        `paths.results`.
    text : str
        What was done, such as ``deployed 4.2``; at most 500 letters.
    at : datetime, optional
        When (aware); default now.
    source : str
        Who says so: a pipeline, a person.
    now : datetime, optional
        The time it is (aware).

    Returns
    -------
    dict
        ``at, text, source, written_at``, times in ISO 8601 (UTC).

    Raises
    ------
    SightlineError
        The text is empty or too long, or `at` has no zone.
    """
    entry = _entry(text, at, source, now)
    with locked(paths.results):
        _append(paths, entry)
    return entry


def append_mark_once(
    paths: MonitorPaths,
    text: str,
    *,
    id: str,
    at: datetime | None = None,
    source: str = "",
    now: datetime | None = None,
    seconds: float | None = None,
) -> bool:
    """Keep a mark that has an id, durably, unless one with the same id and source is kept already.

    Parameters
    ----------
    paths, text, at, source, now
        As for `append_mark`.
    id : str
        Given by the source; a mark that is sent again has the same.
    seconds : float, optional
        Wait no longer than this for another process that writes.

    Returns
    -------
    bool
        Whether it is new; if not, the one that is kept stays as it is.

    Raises
    ------
    SightlineError
        As for `append_mark`, or another process held the lock all the time.
    """
    entry = {"id": id.encode(errors="replace").decode(), **_entry(text, at, source, now)}
    with exclusive(paths.results / ".lock", seconds):
        is_new = (entry["id"], entry["source"]) not in _known(paths)
        _append(paths, entry if is_new else None)
    return is_new


def _known(paths: MonitorPaths) -> set[tuple[str, str]]:
    """Ids of marks that are kept, with their sources."""
    try:
        lines = (paths.results / MARKS).read_bytes().split(b"\n")
    except FileNotFoundError:
        return set()
    found = (json.loads(line.decode(errors="replace")) for line in lines if _read(line) is not None)
    return {(str(entry["id"]), str(entry.get("source", ""))) for entry in found if "id" in entry}


def _entry(text: str, at: datetime | None, source: str, now: datetime | None) -> dict[str, str]:
    text, written = " ".join(text.split()), now or datetime.now(UTC)
    at = at or written
    if not text:
        raise SightlineError("a mark needs words", fix='say what was done: sightline mark MONITOR "deployed 4.2"')
    if len(text) > MOST_LETTERS or len(source) > MOST_LETTERS:
        raise SightlineError(f"the mark has more than {MOST_LETTERS} letters", fix="keep details where they are; link")
    if at.tzinfo is None:
        raise SightlineError(f"{at} has no time zone", fix="write 2026-01-31T06:00:00Z")
    return {
        "at": at.astimezone(UTC).isoformat(timespec="microseconds"),
        "text": text.encode(errors="replace").decode(),
        "source": " ".join(source.split()).encode(errors="replace").decode(),
        "written_at": written.astimezone(UTC).isoformat(timespec="microseconds"),
    }


def _append(paths: MonitorPaths, entry: dict[str, str] | None) -> None:
    """Write a line, if any, and sync: what stands there may not be on the disk yet if its writer was killed."""
    with (paths.results / MARKS).open("ab+") as handle:
        size = handle.seek(0, os.SEEK_END)
        is_torn = False
        if size:
            handle.seek(-1, os.SEEK_END)
            is_torn = handle.read(1) != b"\n"
        if entry is not None:
            handle.write((b"\n" if is_torn else b"") + json.dumps(entry, ensure_ascii=False).encode() + b"\n")
        handle.flush()
        os.fsync(handle.fileno())
    sync_folder(paths.results)


def read_marks(paths: MonitorPaths) -> pl.DataFrame:
    """All marks by time (naive UTC); a line torn by a kill was never confirmed and is left out.

    Returns
    -------
    DataFrame
        Shape `SCHEMA`.
    """
    file = paths.results / MARKS
    lines = file.read_bytes().split(b"\n") if file.exists() else []
    rows = [row for line in lines if (row := _read(line)) is not None]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("at", maintain_order=True)


def _read(line: bytes) -> tuple[datetime, str, str, datetime] | None:
    try:
        entry = json.loads(line.decode(errors="replace"))
        at, written = (
            datetime.fromisoformat(entry[name]).astimezone(UTC).replace(tzinfo=None) for name in ("at", "written_at")
        )
        return at, str(entry["text"]), str(entry.get("source", "")), written
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None

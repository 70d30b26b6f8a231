"""What people and pipelines say was done to a model or its surroundings: one line each, durable, never changed."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

import polars as pl

from sightline.durable import sync_folder
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
    text, written = " ".join(text.split()), now or datetime.now(UTC)
    at = at or written
    if not text:
        raise SightlineError("a mark needs words", fix='say what was done: sightline mark MONITOR "deployed 4.2"')
    if len(text) > MOST_LETTERS or len(source) > MOST_LETTERS:
        raise SightlineError(f"the mark has more than {MOST_LETTERS} letters", fix="keep details where they are; link")
    if at.tzinfo is None:
        raise SightlineError(f"{at} has no time zone", fix="write 2026-01-31T06:00:00Z")
    entry = {
        "at": at.astimezone(UTC).isoformat(timespec="microseconds"),
        "text": text.encode(errors="replace").decode(),
        "source": " ".join(source.split()).encode(errors="replace").decode(),
        "written_at": written.astimezone(UTC).isoformat(timespec="microseconds"),
    }
    with locked(paths.results):
        with (paths.results / MARKS).open("ab+") as handle:
            size = handle.seek(0, os.SEEK_END)
            is_torn = False
            if size:
                handle.seek(-1, os.SEEK_END)
                is_torn = handle.read(1) != b"\n"
            handle.write((b"\n" if is_torn else b"") + json.dumps(entry, ensure_ascii=False).encode() + b"\n")
            handle.flush()
            os.fsync(handle.fileno())
        sync_folder(paths.results)
    return entry


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

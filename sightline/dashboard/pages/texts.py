"""A text column: what is computed of its texts, and some of them without what identifies somebody."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from sightline.dashboard.charts.chart import shown
from sightline.dashboard.library import state_of
from sightline.dashboard.masking import MASKED, redacted
from sightline.dashboard.pages.drifting import newest, verdicts
from sightline.dashboard.pages.page import Subject
from sightline.results.words import read_words

MOST_EXAMPLES, MOST_CHARACTERS = 6, 300
BACK, MOST_WORDS = 14, 15
"""Newest shown windows that are looked at for texts."""
SEED = 7


def text_facts(subject: Subject, column: str) -> dict[str, Any]:
    """What the page of a text column tells beyond that of another column.

    Returns
    -------
    dict
        ``descriptors``: features computed of it, the farthest from the reference first; ``words``: `moved_words`;
        ``examples``: texts of the newest window that has any, the same ones each time; ``examples_note``: of when they
        are, or why there are none.
    """
    examples, note = _examples(subject, column)
    words = moved_words(subject, column)
    return {
        "descriptors": _descriptors(subject, column),
        "words": words,
        "examples": examples,
        "examples_note": note,
    }


def moved_words(subject: Subject, column: str) -> list[dict[str, Any]]:
    """Words that stand in more or fewer texts than in the reference, of the newest shown window that has any."""
    end = subject.selection.end
    assert end is not None
    is_hidden = subject.library.masking.hides(subject.spec, column)
    for back in range(1, BACK + 1):
        key = subject.spec.key((end - back * subject.window).replace(tzinfo=UTC))
        rows = read_words(subject.library.paths(subject.spec.id), [key]).filter(column=column, is_moved=True)
        if not rows.is_empty():
            strongest = rows.sort("q_value", pl.col("z").abs(), descending=[False, True]).head(MOST_WORDS)
            return [_word(row, is_hidden=is_hidden) for row in strongest.iter_rows(named=True)]
    return []


def _word(row: dict[str, Any], *, is_hidden: bool) -> dict[str, Any]:
    now, before = (
        row[n] / row[of] if row[n] is not None and row[of] else None
        for n, of in (("n", "n_texts"), ("n_reference", "n_texts_reference"))
    )
    return {
        "word": MASKED if is_hidden else redacted(row["word"]),
        "window": row["window_key"],
        "share": now,
        "share_reference": before,
        "difference": row["difference"],
        "q_value": row["q_value"],
        "example": None if is_hidden or not row["example"] else _short(redacted(row["example"])),
    }


def _descriptors(subject: Subject, column: str) -> list[dict[str, Any]]:
    own = {name for name, (text, _) in subject.spec.columns.derived.items() if text == column}
    own |= {f"{column}.embedding"}
    rows = verdicts(subject.judgements(asset="drift"), subject.spec).filter(pl.col("column").is_in(sorted(own)))
    far = rows.filter(pl.col("status").is_in(["warn", "alert"])).group_by("column").len()
    counts = dict(far.iter_rows())
    found: list[dict[str, Any]] = [
        {
            "column": row["column"],
            "name": row["column"].removeprefix(f"{column}."),
            "distance": row["value"],
            "shown": shown(row["value"]),
            "status": row["status"],
            "reason": row["reason"],
            "window_start": row["window_start"],
            "windows_far": counts.get(row["column"], 0),
        }
        for row in newest(rows).iter_rows(named=True)
    ]
    found.sort(key=lambda row: (-row["windows_far"], -(row["distance"] or 0.0), row["column"]))
    return found


def _examples(subject: Subject, column: str) -> tuple[list[str], str]:
    """Texts of accepted rows, read from the lake without a lock."""
    if subject.library.masking.hides(subject.spec, column):
        return [], "The texts of this column are not shown."
    end = subject.selection.end
    assert end is not None
    for back in range(1, BACK + 1):
        start = end - back * subject.window
        files = _files(subject, start)
        if not files:
            continue
        key = ("texts", subject.spec.id, column, start)
        found = subject.library.kept(key, state_of(files), lambda files=files: _read(files, column))
        if found:
            told = f"Of the window {subject.spec.key(start.replace(tzinfo=UTC))}"
            return found, f"{told}, without addresses, account numbers and long numbers; {MOST_CHARACTERS} characters."
    return [], f"No texts in the {BACK} newest windows shown."


def _files(subject: Subject, start: datetime) -> list[Path]:
    folder = (
        subject.library.paths(subject.spec.id).lake
        / "inferences"
        / f"window={subject.spec.key(start.replace(tzinfo=UTC))}"
    )
    return sorted(file for file in folder.glob("*.parquet") if not file.name.startswith("."))


def _read(files: list[Path], column: str) -> list[str]:
    """The same few texts each time, by the hash of their prediction's id."""
    name = f"f_{column}"
    known = [file for file in files if name in pl.read_parquet_schema(file)]
    if not known:
        return []
    rows = pl.scan_parquet(known, glob=False, hive_partitioning=False, missing_columns="insert", extra_columns="ignore")
    chosen = (
        rows.select("prediction_id", text=pl.col(name))
        .filter(pl.col("text").str.strip_chars().str.len_chars() > 0)
        .select("text", order=pl.col("prediction_id").hash(SEED))
        .sort("order")
        .head(MOST_EXAMPLES)
        .collect()
    )
    return [_short(redacted(text)) for text in chosen["text"]]


def _short(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}… ({len(text):,} characters)"

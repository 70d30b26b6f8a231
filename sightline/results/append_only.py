"""Append-only folders of Parquet files that readers open without a lock.

A file is written under a hidden name, synced and renamed; its name begins with the stamp of the append. A merged file
names the range of stamps it holds, and whatever lies within that range no longer counts: a kill between writing it and
deleting the merged ones counts nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import polars as pl

from sightline.durable import exclusive, replace_file
from sightline.lake.store.parts import write_synced

COMPACT_FROM_FILES, COMPACT_FROM_MERGED = 64, 16
"""So many appends are merged into one file; so many of those into one again."""
STAMP = "%Y%m%dT%H%M%S%f"
READ_ATTEMPTS = 5


def locked(folder: Path) -> AbstractContextManager[None]:
    """One writer per folder at a time."""
    return exclusive(folder / ".lock")


def publish(frame: pl.DataFrame, file: Path) -> None:
    """Write a file so that readers see all of it or nothing, durably."""
    replace_file(file, lambda beside: write_synced(frame, beside))


def span_of(file: Path) -> tuple[str, str]:
    """First and last stamp of the appends a file holds."""
    first, _, rest = file.stem.partition("-")
    last = rest.removeprefix("to-") if rest.startswith("to-") else first
    return first, last


def live_files(folder: Path) -> list[Path]:
    """Files that count, oldest first: those inside the range of a compacted file are left out."""
    if not folder.is_dir():
        return []
    files = sorted(folder.glob("*.parquet"))
    spans = [span_of(file) for file in files if "-to-" in file.name]
    kept: list[Path] = []
    for file in files:
        first, last = span_of(file)
        if not any(low <= first and last <= high and (low, high) != (first, last) for low, high in spans):
            kept.append(file)
    return kept


def next_stamp(folder: Path, moment: datetime) -> str:
    """A stamp after all there are: file order is append order even if the clock went back."""
    stamp = moment.strftime(STAMP)
    last = max((span_of(file)[1] for file in folder.glob("*.parquet")), default="")
    if stamp > last:
        return stamp
    return (datetime.strptime(last, STAMP).replace(tzinfo=UTC) + timedelta(microseconds=1)).strftime(STAMP)


def scan_folders(
    folders: Sequence[Path], schema: dict[str, pl.DataType], use: Callable[[pl.LazyFrame], pl.LazyFrame]
) -> pl.DataFrame:
    """Collect `use` of all rows of some folders; if a merge removes a listed file meanwhile, list again."""
    for _ in range(READ_ATTEMPTS - 1):
        files = [file for folder in folders for file in live_files(folder)]
        try:
            return _collect(files, schema, use)
        except (pl.exceptions.PolarsError, OSError):
            if all(file.exists() for file in files):
                raise
    return _collect([file for folder in folders for file in live_files(folder)], schema, use)


def _collect(
    files: list[Path], schema: dict[str, pl.DataType], use: Callable[[pl.LazyFrame], pl.LazyFrame]
) -> pl.DataFrame:
    if not files:
        return use(pl.LazyFrame(schema=schema)).collect()
    return use(_scan(files, schema)).collect()


def _scan(files: list[Path], schema: dict[str, pl.DataType]) -> pl.LazyFrame:
    """All rows; a column that a file written by an earlier version lacks is null."""
    return pl.scan_parquet(files, schema=schema, glob=False, hive_partitioning=False, missing_columns="insert")


def safe_name(name: str) -> str:
    """A name as part of a file name."""
    return "".join(c if c.isalnum() or c in "_." else "_" for c in name) or "_"


Keep = Literal["first", "last"]
"""Which of several rows with one key counts."""


def merge_if_many(folder: Path, schema: dict[str, pl.DataType], key: list[str], keep: Keep = "first") -> None:
    """Merge the small files once there are many; called under the folder's lock."""
    files = live_files(folder)
    stale = set(folder.glob("*.parquet")) - set(files)
    for file in (*stale, *folder.glob(".*.tmp")):
        file.unlink(missing_ok=True)
    small = [file for file in files if "-to-" not in file.name]
    if len(files) - len(small) >= COMPACT_FROM_MERGED:
        merge(folder, files, schema, key, keep)
    elif len(small) >= COMPACT_FROM_FILES:
        merge(folder, small, schema, key, keep)


def merge(
    folder: Path, files: list[Path], schema: dict[str, pl.DataType], key: list[str], keep: Keep = "first"
) -> None:
    """Put consecutive files into one, sorted by window."""
    merged = _scan(files, schema).unique(key, keep=keep, maintain_order=True)
    merged = merged.sort("window_start", maintain_order=True).collect()
    target = folder / f"{span_of(files[0])[0]}-to-{span_of(files[-1])[1]}.parquet"
    publish(merged, target)
    for file in files:
        if file != target:
            file.unlink(missing_ok=True)

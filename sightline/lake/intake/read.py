"""Batches to chunks of native columns under their role names; nothing is converted here, only decoded."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from metrics_py.comparison.tables import csv_dialect, partition_values
from metrics_py.profile.texts import typed
from sightline.arrow import from_arrow
from sightline.home import Home
from sightline.lake.intake.chunks import (
    BadRecord,
    Chunk,
    UnreadableError,
    field_names,
    gather,
    no_gc,
    to_json,
    typed_series,
)
from sightline.lake.intake.convert import convert
from sightline.lake.intake.json_lines import object_rows
from sightline.lake.intake.normalize import Normalized, normalize
from sightline.lake.intake.roles import Role, roles, succeeded
from sightline.lake.intake.segments import read_segment_chunks
from sightline.lake.intake.sources import Batch
from sightline.lake.intake.unpack import plain
from sightline.spec.model import MonitorSpec

CHUNK_ROWS = 250_000
"""Rows per chunk at most (memory)."""
MAX_UNKNOWN = 1_000
"""So many unknown columns are noted."""


def decoded(spec: MonitorSpec, batch: Batch, home: Home) -> Iterator[tuple[Chunk, Normalized]]:
    """Chunks of one batch and what they become in the lake; see `read_chunks` for the errors."""
    for chunk in read_chunks(spec, batch, home):
        try:
            ready = normalize(spec, chunk)
        except Exception as error:  # as in `read_chunks`: one file's content stops no other
            raise UnreadableError("unreadable_file", f"{type(error).__name__}: {error}") from error
        yield chunk, ready


def read_chunks(spec: MonitorSpec, batch: Batch, home: Home) -> Iterator[Chunk]:
    """Decode one batch of inferences or labels, `CHUNK_ROWS` at a time.

    Parameters
    ----------
    spec, batch, home
        What to read and where.

    Yields
    ------
    Chunk
        At least one, possibly empty.

    Raises
    ------
    UnreadableError
        The file is damaged, empty of columns, of no known format, or lacks a required column.
    """
    if batch.flaw:
        raise UnreadableError("unsupported_file", batch.flaw)
    if batch.format == "segment":
        yield from read_segment_chunks(spec, batch, home, CHUNK_ROWS)
        return
    reader = {"parquet": _parquet, "csv": _csv, "duckdb": _duckdb}.get(batch.format)
    try:
        if batch.format == "ndjson":
            for rows, bad in object_rows(batch, home, CHUNK_ROWS):
                with no_gc():
                    chunk = _json_chunk(spec, batch, rows, bad)
                yield chunk
        elif reader is None:
            raise UnreadableError(
                "unsupported_format",
                "no Parquet, CSV or NDJSON file by its name (.parquet, .csv, .ndjson, .jsonl, .json)",
            )
        else:
            first = 0
            for frame in reader(batch, home, CHUNK_ROWS):
                yield _file_chunk(spec, batch, frame, first, parse=batch.format == "csv")
                first += len(frame)
    except UnreadableError:
        raise
    except Exception as error:  # whatever a file's bytes bring about is that file's fault and stops no other
        raise UnreadableError("unreadable_file", f"{type(error).__name__}: {error}") from error


def _parquet(batch: Batch, home: Home, chunk_rows: int) -> Iterator[pl.DataFrame]:
    file = batch.file(home)
    scan = pl.scan_parquet(file, glob=False, hive_partitioning=False)
    n_rows = scan.select(pl.len()).collect().item()
    if n_rows <= chunk_rows:
        yield scan.collect()
        return
    for start in range(0, n_rows, chunk_rows):
        yield scan.slice(start, chunk_rows).collect()


def scan_csv(batch: Batch, home: Home) -> pl.LazyFrame:
    """A CSV file as text columns; Polars leaves quotes doubled in quoted headers."""
    file = batch.file(home)
    skipped, separator = csv_dialect(file)
    scan = pl.scan_csv(
        file, infer_schema=False, truncate_ragged_lines=True, glob=False, encoding="utf8-lossy",
        separator=separator, skip_lines=skipped,
    )  # fmt: skip
    awkward = [name for name in scan.collect_schema().names() if '""' in name]
    return scan.rename({name: name.replace('""', '"') for name in awkward}) if awkward else scan


def _csv(batch: Batch, home: Home, chunk_rows: int) -> Iterator[pl.DataFrame]:
    with plain(batch, home) as unpacked:
        scan = scan_csv(unpacked, home)
        held: list[pl.DataFrame] = []
        empty = True
        for piece in scan.collect_batches(chunk_size=chunk_rows, maintain_order=True):
            held.append(piece)
            if sum(map(len, held)) >= chunk_rows:
                yield pl.concat(held)
                held, empty = [], False
        if held or empty:
            yield pl.concat(held) if held else scan.head(0).collect()


def _duckdb(batch: Batch, home: Home, chunk_rows: int) -> Iterator[pl.DataFrame]:
    import duckdb

    file = batch.file(home)
    deadline = time.monotonic() + 30
    while True:
        try:
            con = duckdb.connect(str(file), read_only=True)
            break
        except duckdb.IOException as error:
            if time.monotonic() > deadline:
                raise UnreadableError(
                    "locked_source", f"the DuckDB file is held by another process: {error}"
                ) from error
            time.sleep(0.25)
    try:
        relation = con.sql("SELECT * FROM query_table($table)", params={"table": batch.table})
        reader = relation.to_arrow_reader(chunk_rows)
        empty = True
        for piece in reader:
            empty = False
            yield from_arrow(piece)
        if empty:
            yield from_arrow(reader.schema.empty_table())
    except duckdb.Error as error:
        raise UnreadableError("unreadable_table", f"{type(error).__name__}: {error}") from error
    finally:
        con.close()


def _with_partitions(batch: Batch, frame: pl.DataFrame, wanted: Sequence[Role]) -> pl.DataFrame:
    """Columns that only the folders name: those below ``country=DE`` hold the rows of country DE."""
    kinds = {role.column: role.kind for role in wanted}
    named = partition_values(Path(batch.path))
    added = [
        typed(pl.Series(name, [value], dtype=pl.String), kinds[name]).new_from_index(0, len(frame))
        for name, value in named.items()
        if name in kinds and name not in frame.columns
    ]
    return frame.with_columns(added)


def _file_chunk(spec: MonitorSpec, batch: Batch, frame: pl.DataFrame, first: int, *, parse: bool) -> Chunk:
    wanted = roles(spec, batch.kind)
    frame = _with_partitions(batch, frame, wanted)
    if lacking := [role for role in wanted if role.is_lacking(frame.columns)]:
        status = frame[spec.columns.status] if spec.columns.status in frame.columns else None
        _refuse_lacking(lacking, frame.columns, status, len(frame))
    present = [role for role in wanted if role.column in frame.columns]
    chosen = frame.select(pl.col(role.column).alias(role.name) for role in present)
    chosen = chosen.with_columns(pl.int_range(first, first + len(frame), dtype=pl.Int64).alias("row_number"))
    return Chunk(
        batch,
        chosen,
        parse,
        lambda rows: [to_json(row) for row in frame[list(rows)].to_dicts()],
        unknown=_unknown(spec, batch.kind, frame.columns, wanted),
        missing=tuple(
            role
            for role in wanted
            if role not in present and not role.is_optional and role.instead not in frame.columns
        ),
    )


def _refuse_lacking(lacking: Sequence[Role], columns: Sequence[str], status: pl.Series | None, n_rows: int) -> None:
    """Refuse a file that lacks required columns, unless these are the answers of calls that all failed."""
    only_failures = status is not None and len(status) and not succeeded(convert(status, "text").values).any()
    if only_failures and all(role.of_answer for role in lacking):
        return
    role = lacking[0]
    told = " and ".join(repr(role.column) for role in lacking)
    listed = ", ".join(map(repr, columns[:50]))
    raise UnreadableError(
        "missing_column", f"there is no column {told}; the file has {listed}", column=role.column, n_rows=n_rows
    )


def _unknown(spec: MonitorSpec, kind: str, columns: Sequence[str], wanted: Sequence[Role]) -> tuple[str, ...]:
    """Columns nobody asked for, the first thousand; those of the other kind of data are known."""
    known = {role.column for role in wanted}
    known |= {role.column for other in ("inferences", "labels") if other != kind for role in roles(spec, other)}
    return tuple(name for name in columns if name not in known)[:MAX_UNKNOWN]


def _json_chunk(spec: MonitorSpec, batch: Batch, rows: list[tuple[int, Any]], bad: list[BadRecord]) -> Chunk:
    wanted = roles(spec, batch.kind)
    objects = [row for _, row in rows]
    names = field_names(objects)
    if objects and (lacking := [role for role in wanted if role.is_lacking(names)]):
        statuses = [row.get(spec.columns.status) for row in objects] if spec.columns.status in names else None
        status = None if statuses is None else typed_series("status", statuses, "text")
        _refuse_lacking(lacking, list(names), status, len(rows))
    present = [role for role in wanted if role.column in names or (role.required and role.instead not in names)]
    values = gather(objects, [role.column for role in present])
    columns = [typed_series(role.name, values[role.column], role.kind) for role in present]
    columns.append(pl.Series("row_number", [number for number, _ in rows], dtype=pl.Int64))
    return Chunk(
        batch,
        pl.DataFrame(columns),
        False,
        lambda positions: [to_json(objects[i]) for i in positions],
        unknown=_unknown(spec, batch.kind, list(names), wanted),
        missing=tuple(
            role for role in wanted if role.column not in names and not role.is_optional and not role.required
        ),
        bad=bad,
    )

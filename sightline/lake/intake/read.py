"""Batches to chunks of native columns under their role names; nothing is converted here, only decoded."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import polars as pl

from sightline.arrow import from_arrow
from sightline.home import Home
from sightline.lake.intake.chunks import (
    MAX_PAYLOAD_BYTES,
    OBJECT_ROWS,
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
from sightline.lake.intake.roles import Role, roles, succeeded
from sightline.lake.intake.segments import read_segment_chunks
from sightline.lake.intake.sources import Batch
from sightline.narrowing import Json
from sightline.spec.model import MonitorSpec

CHUNK_ROWS = 250_000
"""Rows per chunk at most (memory)."""


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
    if batch.format == "segment":
        yield from read_segment_chunks(spec, batch, home, CHUNK_ROWS)
        return
    reader = {"parquet": _parquet, "csv": _csv, "duckdb": _duckdb}.get(batch.format)
    try:
        if batch.format == "ndjson":
            yield from _ndjson(spec, batch, home, CHUNK_ROWS)
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
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, EOFError, ValueError) as error:
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
    scan = pl.scan_csv(
        batch.file(home), infer_schema=False, truncate_ragged_lines=True, glob=False, encoding="utf8-lossy"
    )
    awkward = [name for name in scan.collect_schema().names() if '""' in name]
    return scan.rename({name: name.replace('""', '"') for name in awkward}) if awkward else scan


def _csv(batch: Batch, home: Home, chunk_rows: int) -> Iterator[pl.DataFrame]:
    scan = scan_csv(batch, home)
    pieces = scan.collect_batches(chunk_size=chunk_rows, maintain_order=True)
    held: list[pl.DataFrame] = []
    empty = True
    for piece in pieces:
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


def _file_chunk(spec: MonitorSpec, batch: Batch, frame: pl.DataFrame, first: int, *, parse: bool) -> Chunk:
    wanted = roles(spec, batch.kind)
    if lacking := [role for role in wanted if role.required and role.column not in frame.columns]:
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
        missing=tuple(role for role in wanted if role not in present and not role.is_optional),
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
    """Columns nobody asked for. Label data may repeat inference columns and the other way round: those are known."""
    known = {role.column for role in wanted}
    known |= {role.column for other in ("inferences", "labels") if other != kind for role in roles(spec, other)}
    return tuple(name for name in columns if name not in known)


def json_rows(data: bytes, first: int) -> tuple[list[tuple[int, Any]], list[BadRecord]]:
    """Objects of an NDJSON text (or of one JSON array) with their line numbers, and the lines that are none."""
    items: list[tuple[int, Json]]
    if data.lstrip()[:1] == b"[":
        try:
            elements: list[Any] = msgspec.json.decode(data)
            items = list(enumerate(elements, first))
        except msgspec.DecodeError as error:
            raise UnreadableError("unreadable_file", f"no JSON array: {error}") from error
    else:
        try:
            items = list(enumerate(msgspec.json.Decoder().decode_lines(data), first))
        except (msgspec.DecodeError, UnicodeDecodeError):
            items = []
    bad: list[BadRecord] = []
    if not items:
        lines = [line for line in data.splitlines() if line.strip()]
        for number, line in enumerate(lines, first):
            try:
                items.append((number, json.loads(line)))
            except (ValueError, RecursionError) as error:
                bad.append(
                    BadRecord(
                        number, "corrupt_record", f"no JSON: {error}", line[:MAX_PAYLOAD_BYTES].decode(errors="replace")
                    )
                )
    rows = [(number, row) for number, row in items if isinstance(row, dict)]
    bad += [
        BadRecord(n, "corrupt_record", "no JSON object", to_json(row)) for n, row in items if not isinstance(row, dict)
    ]
    return rows, bad


def _text_of(batch: Batch, home: Home) -> bytes:
    file = batch.file(home)
    data = file.read_bytes()
    if file.name.lower().endswith(".gz"):
        return gzip.decompress(data)
    if file.name.lower().endswith(".zst"):
        import zstandard

        try:
            with zstandard.ZstdDecompressor().stream_reader(data) as stream:
                return stream.read()
        except zstandard.ZstdError as error:
            raise UnreadableError("unreadable_file", f"ZstdError: {error}") from error
    return data


def json_field(batch: Batch, home: Home, column: str) -> list[Any] | None:
    """One field of every object of an NDJSON file, skipping over the others.

    None if a line needs the forgiving reader.
    """
    row = msgspec.defstruct("Row", [("value", Any, None)], rename={"value": column}, gc=False)
    try:
        return [
            value
            for (value,) in map(msgspec.structs.astuple, msgspec.json.Decoder(row).decode_lines(_text_of(batch, home)))
        ]
    except (msgspec.MsgspecError, OSError, EOFError, ValueError):
        return None


def _ndjson(spec: MonitorSpec, batch: Batch, home: Home, chunk_rows: int) -> Iterator[Chunk]:
    data = _text_of(batch, home)
    if data.lstrip()[:1] == b"[":
        with no_gc():
            chunk = _json_chunk(spec, batch, *json_rows(data, 0))
        yield chunk
        return
    start, first = 0, 0
    chunk_rows = min(chunk_rows, OBJECT_ROWS)
    while True:
        end, seen = start, 0
        while seen < chunk_rows and end < len(data):
            found = data.find(b"\n", end)
            end = len(data) if found == -1 else found + 1
            seen += 1
        with no_gc():
            rows, bad = json_rows(data[start:end], first)
            chunk = _json_chunk(spec, batch, rows, bad)
        yield chunk
        first += len(rows) + len(bad)
        start = end
        if start >= len(data):
            return


def _json_chunk(spec: MonitorSpec, batch: Batch, rows: list[tuple[int, Any]], bad: list[BadRecord]) -> Chunk:
    wanted = roles(spec, batch.kind)
    objects = [row for _, row in rows]
    names = field_names(objects)
    if objects and (lacking := [role for role in wanted if role.required and role.column not in names]):
        statuses = [row.get(spec.columns.status) for row in objects] if spec.columns.status in names else None
        status = None if statuses is None else typed_series("status", statuses, "text")
        _refuse_lacking(lacking, list(names), status, len(rows))
    present = [role for role in wanted if role.column in names or role.required]
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

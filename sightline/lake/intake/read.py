"""Batches to chunks of native columns under their role names; nothing is converted here, only decoded."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from metrics_py.comparison.csv_files import MORE, NUMBER, FieldCounts, csv_shape, scan_csv
from metrics_py.comparison.folders import partition_values
from metrics_py.comparison.parquet_files import parquet_frames
from metrics_py.comparison.text_files import FORMATS
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
from sightline.lake.intake.json_lines import HOPELESS, object_rows
from sightline.lake.intake.normalize import Normalized, normalize
from sightline.lake.intake.roles import Role, roles, succeeded
from sightline.lake.intake.segments import read_segment_chunks
from sightline.lake.intake.sources import Batch
from sightline.lake.intake.unpack import is_utf8, plain
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
        except (
            Exception,
            pl.exceptions.PanicException,
        ) as error:  # as in `read_chunks`: one file's content stops no other
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
    reader = {"parquet": _parquet, "duckdb": _duckdb}.get(batch.format)
    try:
        if batch.format == "ndjson":
            for rows, bad in object_rows(batch, home, CHUNK_ROWS):
                with no_gc():
                    chunk = _json_chunk(spec, batch, rows, bad)
                yield chunk
        elif batch.format == "csv":
            for frame, bad in _csv(batch, home, CHUNK_ROWS, roles(spec, batch.kind)):
                yield _file_chunk(spec, batch, frame.drop(NUMBER), frame[NUMBER], bad)
        elif reader is None:
            raise UnreadableError(
                "unsupported_format",
                f"no Parquet, CSV or NDJSON file by its name ({', '.join(sorted(FORMATS))})",
            )
        else:
            first = 0
            for frame in reader(batch, home, CHUNK_ROWS):
                yield _file_chunk(spec, batch, frame, pl.int_range(first, first + len(frame), eager=True))
                first += len(frame)
    except UnreadableError:
        raise
    except (Exception, pl.exceptions.PanicException) as error:  # a file's bytes are its own fault and stop no other
        raise UnreadableError("unreadable_file", f"{type(error).__name__}: {error}") from error


def _parquet(batch: Batch, home: Home, chunk_rows: int) -> Iterator[pl.DataFrame]:
    yield from parquet_frames(batch.file(home), chunk_rows)


def _csv(
    batch: Batch, home: Home, chunk_rows: int, wanted: Sequence[Role]
) -> Iterator[tuple[pl.DataFrame, list[BadRecord]]]:
    """Frames with a column `NUMBER` for the place of a row in the file, and the rows that are broken."""
    with plain(batch, home) as unpacked:
        file = unpacked.file(home)
        shape = csv_shape(file)
        for role in wanted:
            if role.column in shape.repeated:
                raise UnreadableError("unreadable_file", f"the column {role.column!r} occurs twice: rename one of them")
        scan = scan_csv(file, shape, "utf8-lossy").with_row_index(NUMBER)
        held: list[pl.DataFrame] = []
        empty = True
        broken = _BrokenRows(unpacked, home, FieldCounts(file, shape))
        for piece in scan.collect_batches(chunk_size=chunk_rows, maintain_order=True):
            held.append(piece)
            if sum(map(len, held)) >= chunk_rows:
                yield broken.sorted_out(pl.concat(held))
                held, empty = [], False
        if held or empty:
            yield broken.sorted_out(pl.concat(held) if held else scan.head(0).collect())


@dataclass
class _BrokenRows:
    """Rows of a CSV file that would be read wrongly: values in other columns, or other ones than were written."""

    batch: Batch
    home: Home
    counts: FieldCounts
    is_text: bool | None = None

    def sorted_out(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, list[BadRecord]]:
        """The rows that are whole, without `MORE`, and those that are not; blank lines are neither."""
        texts = frame.drop(NUMBER, MORE)
        shifted = frame[MORE].is_not_null()
        garbled = self._garbled(texts)
        blank, short = self.counts.uneven(texts, frame[NUMBER])
        columns = f"fields than the {texts.width} columns of the header"
        bad = [
            *self._records(texts, frame[NUMBER], shifted, f"more {columns}"),
            *self._records(texts, frame[NUMBER], short, f"fewer {columns}"),
            *self._records(
                texts, frame[NUMBER], garbled & ~(shifted | short), "bytes that are no UTF-8: save the file as UTF-8"
            ),
        ]
        whole = ~(shifted | short | garbled | blank)
        if len(bad) >= HOPELESS and not whole.any():
            raise UnreadableError("unreadable_file", f"every row has {bad[0].message}", n_rows=len(bad))
        return (frame if whole.all() else frame.filter(whole)).drop(MORE), bad

    def _garbled(self, texts: pl.DataFrame) -> pl.Series:
        """Rows with the sign that stands for bytes that are no UTF-8, unless the file itself holds that sign."""
        none = pl.Series([False]).new_from_index(0, len(texts))
        found = none
        for values in texts.iter_columns():
            plain_name = values.alias("values")  # a name such as `^a.*$` is a pattern to Polars
            found = found | plain_name.str.contains("\ufffd", literal=True).fill_null(value=False)
        if self.is_text is None and found.any():
            self.is_text = is_utf8(self.batch, self.home)
        return none if self.is_text else found

    @staticmethod
    def _records(texts: pl.DataFrame, numbers: pl.Series, where: pl.Series, told: str) -> Iterator[BadRecord]:
        rows = texts.filter(where).to_dicts()
        for number, row in zip(numbers.filter(where).to_list(), rows, strict=True):
            yield BadRecord(number, "corrupt_record", told, to_json(row))


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


def named_by_folders(batch: Batch, wanted: Sequence[Role], columns: Collection[str]) -> dict[str, pl.Series]:
    """Columns that only the folders name, a value each: files below ``country=DE`` hold the rows of country DE."""
    asked = {role.column for role in wanted}.difference(columns)
    named = partition_values(Path(batch.path))
    return {name: pl.Series(name, [named[name]], dtype=pl.String) for name in named if name in asked}


def _roles_of(added: Collection[str], wanted: Sequence[Role]) -> frozenset[str]:
    return frozenset(role.name for role in wanted if role.column in added)


def _file_chunk(
    spec: MonitorSpec, batch: Batch, frame: pl.DataFrame, numbers: pl.Series, bad: Sequence[BadRecord] = ()
) -> Chunk:
    parse = batch.format == "csv"
    wanted = roles(spec, batch.kind)
    added = named_by_folders(batch, wanted, frame.columns)
    frame = frame.with_columns(value.new_from_index(0, len(frame)) for value in added.values())
    if lacking := [role for role in wanted if role.is_lacking(frame.columns)]:
        status = frame[spec.columns.status] if spec.columns.status in frame.columns else None
        _refuse_lacking(lacking, frame.columns, status, len(frame))
    present = [role for role in wanted if role.column in frame.columns]
    chosen = frame.select(frame[role.column].alias(role.name) for role in present)  # a name may look like a pattern
    chosen = chosen.with_columns(numbers.cast(pl.Int64).alias("row_number"))
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
        bad=list(bad),
        of_folders=_roles_of(added, wanted),
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
    added = named_by_folders(batch, wanted, names)
    names |= dict.fromkeys(added)
    if objects and (lacking := [role for role in wanted if role.is_lacking(names)]):
        statuses = [row.get(spec.columns.status) for row in objects] if spec.columns.status in names else None
        status = None if statuses is None else typed_series("status", statuses, "text")
        _refuse_lacking(lacking, list(names), status, len(rows))
    present = [role for role in wanted if role.column in names or (role.required and role.instead not in names)]
    values = gather(objects, [role.column for role in present])
    columns = [
        added[role.column].new_from_index(0, len(rows)).alias(role.name)
        if role.column in added
        else typed_series(role.name, values[role.column], role.kind)
        for role in present
    ]
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
        of_folders=_roles_of(added, wanted),
    )

"""Parquet files, also those whose times carry a zone that Polars does not know, such as ``+05:30``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import polars as pl

PIECE_ROWS = 250_000


def parquet_frames(file: str | Path, rows: int = PIECE_ROWS) -> Iterator[pl.DataFrame]:
    """A Parquet file in frames of so many rows.

    Parameters
    ----------
    file : str or Path
        Its path, which is taken as it is.
    rows : int
        Rows per frame at most.

    Yields
    ------
    polars.DataFrame
        At least one, possibly empty; columns that folders name are left out. Times with an offset that is no whole
        number of hours are in UTC.

    Raises
    ------
    polars.exceptions.PolarsError
        The file cannot be read.
    """
    try:
        scan = pl.scan_parquet(file, glob=False, hive_partitioning=False)
        start, frame = 0, scan.head(rows).collect()
    except pl.exceptions.PanicException as error:  # no Exception: it would end the process
        if "time zone" not in str(error):
            raise pl.exceptions.ComputeError(str(error)) from error
        yield from _in_utc(file, rows)
        return
    while start == 0 or len(frame):
        yield frame
        start += len(frame)
        if len(frame) < rows:
            return
        frame = scan.slice(start, rows).collect()


def parquet_frame(file: str | Path, rows: int | None = None) -> pl.DataFrame:
    """All of a Parquet file, or its first rows; see `parquet_frames`.

    Parameters
    ----------
    file : str or Path
        Its path, which is taken as it is.
    rows : int, optional
        So many rows at most.

    Returns
    -------
    polars.DataFrame
        Its columns.
    """
    if rows is not None:
        return next(parquet_frames(file, rows)).head(rows)
    try:
        return pl.read_parquet(file, glob=False, hive_partitioning=False)
    except pl.exceptions.PanicException:  # no Exception: it would end the process
        return pl.concat(parquet_frames(file))


def _in_utc(file: str | Path, rows: int) -> Iterator[pl.DataFrame]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow, parquet, polars = cast("Any", pa), cast("Any", pq), cast("Any", pl)  # pyarrow has no types
    content = parquet.ParquetFile(file)
    fields = [
        field.with_type(arrow.timestamp(field.type.unit, "UTC")) if getattr(field.type, "tz", None) else field
        for field in content.schema_arrow
    ]
    schema = arrow.schema(fields)
    is_empty = True
    for batch in content.iter_batches(batch_size=rows):
        is_empty = False
        yield polars.from_arrow(arrow.Table.from_batches([batch]).cast(schema))
    if is_empty:
        yield polars.from_arrow(schema.empty_table())

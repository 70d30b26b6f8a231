"""What all published tables share: types, and fitting a frame to a schema."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

import polars as pl

from sightline.errors import SightlineError

TEXT, NUMBER = pl.String(), pl.Float64()


def conform(frame: pl.DataFrame, schema: dict[str, pl.DataType], optional: Sequence[str], where: str) -> pl.DataFrame:
    """Cast to the published schema; times with a zone become naive UTC, absent optional columns null."""
    missing = [name for name in schema if name not in frame.columns and name not in optional]
    unknown = [name for name in frame.columns if name not in schema]
    if missing or unknown:
        raise SightlineError(
            f"columns do not fit: missing {missing}, unknown {unknown}", where=where, fix=f"pass {', '.join(schema)}"
        )
    columns: list[pl.Expr] = []
    for name, dtype in schema.items():
        column = pl.col(name) if name in frame.columns else pl.lit(None).alias(name)
        found = frame.schema.get(name)
        if isinstance(found, pl.Datetime) and found.time_zone is not None:
            column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        columns.append(column.cast(dtype))
    done = frame.select(columns)
    bad = [name for name, dtype in schema.items() if dtype == NUMBER and done[name].is_finite().not_().any()]
    if bad:
        raise SightlineError(
            f"NaN or infinite values in {bad}", where=where, fix="publish null with a status and reason instead"
        )
    return done


def naive_utc(moment: datetime | date) -> datetime:
    """A moment as the tables hold it: naive, UTC; a date is its midnight."""
    if not isinstance(moment, datetime):
        return datetime(moment.year, moment.month, moment.day)
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)

"""Reports as files: written whole or not at all, with a clear message where they cannot be."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl

from sightline.durable import replace_file
from sightline.errors import SightlineError


def write_report(file: Path | str, content: str | bytes) -> None:
    """Write a file in place of what stands there.

    Parameters
    ----------
    file : path
        Its folder is made.
    content : str or bytes

    Raises
    ------
    SightlineError
        It cannot be written.
    """
    try:
        replace_file(Path(file), content)
    except OSError as error:
        fix = "name a file that may be written"
        raise SightlineError(f"the report cannot be written: {error.strerror}", where=str(file), fix=fix) from error


def parquet_bytes(frame: pl.DataFrame) -> bytes:
    """A table as a Parquet file."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()

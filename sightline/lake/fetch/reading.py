"""What every reader of a source gives and needs: pieces with the cursor behind them, secrets, packages, errors."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, quote_plus, unquote

import polars as pl

from sightline.durable import naming
from sightline.errors import SightlineError

BATCH_ROWS = 200_000
"""Rows of one fetched file at most."""
BATCH_BYTES = 128 << 20
"""Bytes of columns that are held at once: fewer rows where they are wide."""


@dataclass(frozen=True)
class Piece:
    """Something that was read, and the cursor behind it.

    Attributes
    ----------
    state : mapping or None
        The cursor behind this piece; None where the cursor cannot stand here, so that it counts with the next ones.
    origin, format, name : str
        As of `FetchedFile`; `name` ends as the format is told by. Without `write` there is no file.
    write : callable or None
        Writes the content to the path it is given; returns False if there is none any more.
    n_rows : int
        Rows of it; 0 where nobody knows.
    signature : str
        What tells this state of the origin from others; empty: nothing does, it is one of a kind.
    size : int or None
        Bytes by which the origin is known; default those of the file.
    received_at : datetime or None
        When the origin was written; default now.
    counts : mapping of str to int
        Of the reader.
    note : mapping
        As of `FetchedFile`.
    """

    state: Mapping[str, Any] | None
    origin: str = ""
    format: str = "parquet"
    name: str = ".parquet"
    write: Callable[[Path], object] | None = None
    n_rows: int = 0
    signature: str = ""
    received_at: datetime | None = None
    size: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    note: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Reader(Protocol):
    """A source that can be read on from a cursor."""

    secrets: Collection[str]
    """Texts that nobody may see."""
    place: str
    """Where it is, without credentials."""
    known: Mapping[str, str]
    """Origin -> size and signature of what was read of it; set before `read`."""
    loaded: Sequence[Mapping[str, Any]]
    """Notes of what was fetched and is in the lake, in order; set before `read`."""
    present: Collection[str] | None
    """Origins that are there; None before all was read, or if what was read cannot be taken away."""

    def read(self, state: Mapping[str, Any]) -> Generator[Piece]:
        """Pieces behind a cursor (empty: from the start), until nothing more is there."""
        ...

    def columns(self) -> dict[str, str]:
        """Columns and types found there now; of objects and messages those of one of them."""
        ...


Needs = Callable[[Collection[str]], None]
"""Raises `SightlineError` when columns that the monitor needs are not among some names."""


def secret(name: str, *, where: str, required: bool = True) -> str:
    """Value of an environment variable, or of the file that ``<name>_FILE`` names; read anew each time.

    Raises
    ------
    SightlineError
        Neither is set, or the file cannot be read.
    """
    if value := os.environ.get(name):
        return value
    if file := os.environ.get(f"{name}_FILE"):
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            fix = "let it name a readable file"
            raise SightlineError(f"{name}_FILE cannot be read: {error.strerror}", where=where, fix=fix) from error
    if required:
        fix = f"export {name} (or {name}_FILE, a file that holds it) where Sightline is started, then start it again"
        raise SightlineError(f"the environment variable {name} is not set", where=where, fix=fix)
    return ""


def package(module: str, extra: str, where: str) -> Any:
    """A module of an optional package.

    Raises
    ------
    SightlineError
        It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        fix = f"pip install 'sightline[{extra}]'"
        raise SightlineError(f"the package of {module} is not installed", where=where, fix=fix) from error


_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*:[^@\s]*@")


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """A library's words without secrets."""
    for value in sorted({part for known in secrets for part in _parts(known)}, key=len, reverse=True):
        for spelled in {value, quote(value, safe=""), quote_plus(value), repr(value)[1:-1]}:
            text = text.replace(spelled, "***")
    return _CREDENTIALS.sub("***@", text)


def _parts(known: str) -> Iterator[str]:
    """A secret; of a URL also its password, which libraries tell without the rest."""
    if known:
        yield known
    if "://" in known:
        password = known.partition("://")[2].rpartition("@")[0].partition(":")[2]
        yield from filter(None, (password, unquote(password)))


def batched(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Frames of one schema as such of at most `BATCH_ROWS` rows and about `BATCH_BYTES`; no empty ones."""
    held: list[pl.DataFrame] = []
    n_rows = n_bytes = 0
    for frame in frames:
        rest = frame
        while len(rest):
            taken = rest.head(BATCH_ROWS - n_rows)
            rest = rest.slice(len(taken))
            held.append(taken)
            n_rows, n_bytes = n_rows + len(taken), n_bytes + int(taken.estimated_size())
            if n_rows >= BATCH_ROWS or n_bytes >= BATCH_BYTES:
                yield pl.concat(held)
                held, n_rows, n_bytes = [], 0, 0
    if held:
        yield pl.concat(held)


def parquet_piece(
    frame: pl.DataFrame, origin: str, state: Mapping[str, Any] | None, counts: Mapping[str, int] | None = None
) -> Piece:
    """Rows as a piece."""

    def write(file: Path) -> None:
        with naming(file):
            frame.write_parquet(file, compression="zstd", compression_level=1)

    return Piece(state, origin, write=write, n_rows=len(frame), counts=counts or {})

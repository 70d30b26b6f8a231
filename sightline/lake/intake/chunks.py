"""What reading a batch gives: chunks of native columns, records that could not be decoded.

Also how Python objects become columns.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import polars as pl

from metrics_py.profile.resolution import EXACT_UP_TO
from sightline.lake.intake.roles import Role
from sightline.lake.intake.rounding import is_whole
from sightline.lake.intake.sources import Batch
from sightline.log.events import InferenceEvent
from sightline.narrowing import Json

OBJECT_ROWS = 50_000
"""Rows per chunk while they are Python objects: these take ten times the memory of columns."""
GATHER_ROWS = 256
MAX_PAYLOAD_BYTES = 4096
NESTS = frozenset({list, dict})
NATIVE = {
    "numeric": pl.Float64,
    "categorical": pl.String,
    "text": pl.String,
    "boolean": pl.Boolean,
    "embedding": pl.List(pl.Float32),
}


class UnreadableError(Exception):
    """A batch that cannot be loaded: `reason` is the quarantine's word, `column` the one that is missing."""

    def __init__(self, reason: str, message: str, *, column: str | None = None, n_rows: int = 0) -> None:
        super().__init__(message)
        self.reason, self.column, self.n_rows = reason, column, n_rows


@dataclass(frozen=True)
class BadRecord:
    """A record that could not be decoded: line or event number, reason, what is left of it."""

    row_number: int
    reason: str
    message: str
    payload: str = ""
    n_rows: int = 1


@dataclass
class Chunk:
    """Some consecutive rows of one batch.

    Attributes
    ----------
    frame : polars.DataFrame
        Native columns named by role; ``row_number`` (position in the batch) and, for segments, ``received_at``.
    parse : bool
        All columns are text (CSV).
    payload : callable
        Row positions in `frame` -> their original content as JSON.
    unknown : tuple of str
        Columns or fields the spec does not know.
    missing : tuple of Role
        Roles whose column is absent from the whole chunk.
    bad : list of BadRecord
        Records that could not be decoded.
    halves : list of (int, InferenceEvent)
        Requests and responses logged apart, with their positions in the batch.
    of_folders : frozenset of str
        Roles whose value the folders of the file name (``country=DE``): text, read as that of CSV.
    """

    batch: Batch
    frame: pl.DataFrame
    parse: bool
    payload: Callable[[Sequence[int]], list[str]]
    unknown: tuple[str, ...] = ()
    missing: tuple[Role, ...] = ()
    bad: list[BadRecord] = field(default_factory=list[BadRecord])
    halves: list[tuple[int, InferenceEvent]] = field(default_factory=list[tuple[int, InferenceEvent]])
    of_folders: frozenset[str] = frozenset()

    def parses(self, name: str) -> bool:
        """Whether numbers, booleans, times and vectors of a role are read out of text."""
        return self.parse or name in self.of_folders


def to_json(row: Any) -> str:
    """A rejected row as JSON, at most 4 kB."""
    try:
        return msgspec.json.encode(row, enc_hook=str).decode()[:MAX_PAYLOAD_BYTES]
    except RecursionError:
        return '"nested too deeply to be shown"'


@contextmanager
def no_gc() -> Generator[None]:
    """Decoding makes millions of objects that hold no cycles; the collector would walk them again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _is_nested(value: Json) -> bool:
    """Whether a value is neither one thing nor a list of such."""
    return isinstance(value, dict) or (isinstance(value, list) and not NESTS.isdisjoint(map(type, value)))


def typed_series(name: str, values: list[Any], kind: str) -> pl.Series:
    """Python values to a column.

    It has the kind's own type if all fit, one common type else, ``Object`` when they are mixed or nested.
    """
    is_nested = any(map(_is_nested, values)) if kind == "embedding" else not NESTS.isdisjoint(map(type, values))
    for dtype in () if is_nested else (NATIVE.get(kind), None):  # Polars takes minutes to refuse a list nested deeply
        try:
            column = pl.Series(name, values, dtype=dtype, strict=True)
        except (TypeError, OverflowError, pl.exceptions.PolarsError):
            continue
        if dtype == pl.Float64 and (column.abs() >= EXACT_UP_TO).any() and any(map(is_whole, values)):
            return _whole_series(name, values)
        return column
    return pl.Series(name, values, dtype=pl.Object)


def _whole_series(name: str, values: list[Any]) -> pl.Series:
    """Numbers of which a DOUBLE rounds some: they stay what they are until that is noted."""
    try:
        return pl.Series(name, values, dtype=pl.Int128, strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        return pl.Series(name, values, dtype=pl.Object)


def gather(objects: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, list[Any]]:
    """One list per key; block by block, so that a row's memory is visited once while it is in the processor's cache."""
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for start in range(0, len(objects), GATHER_ROWS):
        block = objects[start : start + GATHER_ROWS]
        for name, values in columns.items():
            values += [row.get(name) for row in block]
    return columns


def field_names(objects: Sequence[Mapping[str, Any]]) -> dict[str, None]:
    """All keys of some dictionaries in order of appearance; rows mostly have the same keys in the same order."""
    return dict.fromkeys(name for keys in dict.fromkeys(map(tuple, objects)) for name in keys)

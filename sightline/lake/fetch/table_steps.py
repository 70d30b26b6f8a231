"""Tables that grow by steps (versions, snapshots), each of which adds files: their rows in bounded pieces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from sightline.errors import SightlineError
from sightline.lake.fetch import reading
from sightline.lake.fetch.reading import Piece, parquet_piece

RESTART = "sightline sources {monitor} --restart {side}: the table is read once more, known rows count as duplicates"


@dataclass(frozen=True)
class Position:
    """Behind so many rows of the file of this number in a step; ``is_whole`` of the table as it was then."""

    step: int
    is_whole: bool = False
    file: int = 0
    rows: int = 0

    def told(self) -> dict[str, int | bool]:
        """As it lies in the cursor."""
        return {"step": self.step, "is_whole": self.is_whole, "file": self.file, "rows": self.rows}


@dataclass(frozen=True)
class Step:
    """What one step adds, where reading begins in it, and what is counted besides."""

    start: Position
    files: Sequence[Any]
    counts: Counter[str] = field(default_factory=Counter[str])


def pieces(
    steps: Sequence[Step],
    frames: Callable[[Step, int], Iterator[tuple[pl.DataFrame, int]]],
    origin: Callable[[int], str],
    base: Mapping[str, Any],
) -> Generator[Piece]:
    """Rows of some steps in bounded frames, each with the cursor behind it.

    Parameters
    ----------
    steps : sequence of Step
        Oldest first.
    frames : callable
        Step and number of a file -> its rows, each frame with the number of rows of the file behind it; all of one
        schema.
    origin : callable
        Step -> where its rows come from.
    base : mapping
        The cursor before the steps; ``pass`` is added to it.
    """
    held: list[pl.DataFrame] = []
    n_rows = n_bytes = 0
    counts = Counter[str]()
    behind = base
    at = 0
    for step in steps:
        if step.start.file == step.start.rows == 0:
            counts += step.counts
        for number in range(step.start.file, len(step.files)):
            first = step.start.rows if number == step.start.file else 0
            for frame, n_read in frames(step, number):
                if n_read <= first or frame.is_empty():
                    continue
                if held and (n_rows + len(frame) > reading.BATCH_ROWS or n_bytes > reading.BATCH_BYTES):
                    yield parquet_piece(pl.concat(held), origin(at), behind, counts)
                    held, n_rows, n_bytes, counts = [], 0, 0, Counter[str]()
                held.append(frame)
                n_rows, n_bytes = n_rows + len(frame), n_bytes + int(frame.estimated_size())
                at = step.start.step
                behind = {**base, "pass": Position(at, step.start.is_whole, number, n_read).told()}
    if held:
        yield parquet_piece(pl.concat(held), origin(at), behind, counts)
    elif counts:
        yield Piece(behind, counts=counts)


def lost(what: str, where: str, place: str) -> SightlineError:
    """Rows can no longer be told from those that were read: the table has to be read once more."""
    monitor, _, rest = where.partition(": sources.")
    fix = RESTART.format(monitor=monitor, side=rest.partition(".")[0])
    return SightlineError(what, where=f"{where} ({place})", fix=fix)

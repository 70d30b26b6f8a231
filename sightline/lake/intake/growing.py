"""Files that somebody is writing: they are waited for, and a row that was cut at their end before is taken back."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from metrics_py.comparison.csv_files import count_fields, csv_shape
from metrics_py.comparison.text_files import packing_of
from sightline.home import Home
from sightline.lake.intake.label_revisions import WAITING
from sightline.lake.intake.sources import Batch, same_now
from sightline.lake.store.ledger import BatchRow
from sightline.lake.store.parts import Staging
from sightline.lake.store.schema import row_of_revision
from sightline.lake.store.supersede import take_out

SETTLED_SECONDS = 10.0
"""A CSV file that ends in the middle of a line counts as written once it has not changed for so long."""
OPEN = ":open@"
"""Stands in the ledger before the number of a row that was perhaps cut."""
NEVER_CHANGE = ("segment", "duckdb")
"""Formats of which each read sees one state."""


def is_being_written(batch: Batch, home: Home) -> bool:
    """Whether a CSV file ends in the middle of a line and was written to a moment ago.

    Parameters
    ----------
    batch : Batch
        As it was listed.
    home : Home
        Its paths start here.

    Returns
    -------
    bool
        False of packed files and other formats, whose cut end cannot be read.
    """
    age = time.time() - batch.received_at.timestamp()
    if batch.flaw or batch.copy or batch.format != "csv" or not batch.size or abs(age) > SETTLED_SECONDS:
        return False
    try:
        return not packing_of(batch.file(home)) and _bytes_at(batch.file(home), batch.size - 1) != b"\n"
    except OSError:
        return False


def has_changed(batch: Batch, home: Home) -> bool:
    """Whether a file is another one than when it was listed.

    Parameters
    ----------
    batch : Batch
        As it was listed.
    home : Home
        Its paths start here.

    Returns
    -------
    bool
        False of log segments and databases.
    """
    return batch.format not in NEVER_CHANGE and not batch.flaw and not same_now(batch, home)


def cut_rows(batch: Batch, home: Home, earlier: Iterable[BatchRow]) -> dict[str, int]:
    """Rows that were cut in earlier states of a CSV file that has grown since.

    Parameters
    ----------
    batch : Batch
        The file as it is now.
    home : Home
        Its paths start here.
    earlier : iterable of BatchRow
        What is known of its path.

    Returns
    -------
    dict of str to int
        Batch id -> number of its last row.
    """
    file = batch.file(home)
    if batch.format != "csv" or batch.flaw or packing_of(file):
        return {}
    found: dict[str, int] = {}
    for known in earlier:
        signature, is_open, row = known.signature.partition(OPEN)
        size = int(signature.partition(":")[0])
        if known.status != "loaded" or not is_open or not size < batch.size:
            continue
        if _bytes_at(file, size - 1) != b"\n" and _bytes_at(file, size) not in (b"\n", b"\r"):
            found[known.batch_id] = int(row)
    return found


def open_end(batch: Batch, home: Home) -> str:
    """What the ledger notes beside the signature of a CSV file that ends in the middle of a line; else nothing."""
    file = batch.file(home)
    try:
        if batch.format != "csv" or packing_of(file) or _bytes_at(file, batch.size - 1) == b"\n":
            return ""
        return f"{OPEN}{len(count_fields(file, csv_shape(file), batch.size)) - 1}"
    except (OSError, ValueError):  # taken away or written anew since: it is another batch then
        return ""


def take_back(staging: Staging, kind: str, cut: dict[str, int]) -> list[tuple[str | None, pl.DataFrame]]:
    """Take rows that were cut out of the lake, as part of an open commit; the file brings them anew.

    Parameters
    ----------
    staging : Staging
        The open commit.
    kind : str
        ``inferences`` or ``labels``.
    cut : dict of str to int
        As of `cut_rows`.

    Returns
    -------
    list of (str or None, polars.DataFrame)
        What was taken out, as of `sightline.lake.store.supersede.take_out`.
    """
    number = row_of_revision(pl.col("revision_order")) if kind == "labels" else pl.col("row_number")
    gone = pl.any_horizontal((pl.col("batch_id") == batch) & (number == row) for batch, row in cut.items())
    kinds = ("labels", *WAITING) if kind == "labels" else ("inferences", "replaced")
    taken = [found for each in kinds for found in take_out(staging, each, gone)]
    counts = Counter(batch for _, rows in taken for batch in rows["batch_id"])
    staging.rematched += [(0, -n, n, batch_id) for batch_id, n in counts.items()]
    return taken


def told(paths: Sequence[str]) -> str:
    """A sentence about files that are waited for."""
    more = f" and {len(paths) - 3} others" if len(paths) > 3 else ""
    return f"still being written, so not loaded yet: {', '.join(paths[:3])}{more}"


def _bytes_at(file: Path, at: int) -> bytes:
    with file.open("rb") as text:
        text.seek(max(at, 0))
        return text.read(1)

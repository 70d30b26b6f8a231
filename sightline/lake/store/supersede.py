"""Taking rows out of the lake again: they are moved into a history beside it, counted, and never deleted.

``lake/superseded_inferences/window=KEY/``, ``lake/superseded_labels/window=KEY/`` and ``lake/superseded_quarantine/``
hold them in the columns they had; no reader of the lake looks there.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from sightline.lake.store.parts import Staging

HISTORY = "superseded_"
COUNTED = ("inferences", "labels")
"""Kinds whose rows the ledger counts by window."""


def take_out(
    staging: Staging,
    kind: str,
    gone: pl.Expr | pl.DataFrame,
    keys: Iterable[str] | None = None,
    *,
    keep: bool = True,
) -> list[tuple[str | None, pl.DataFrame]]:
    """Take rows out of the parts of a kind, as part of an open commit.

    Parameters
    ----------
    staging : Staging
        The open commit.
    kind : str
        ``inferences``, ``labels``, ``unmatched``, ``halves`` or ``quarantine``.
    gone : polars.Expr or polars.DataFrame
        Which rows: a condition, or rows with some of the kind's columns to be found again.
    keys : iterable of str, optional
        Windows to look in; default all.
    keep : bool
        Put them into the history; otherwise the caller has another place for them.

    Returns
    -------
    list of (str or None, polars.DataFrame)
        Window key and what was taken out of one of its parts, in the part's own columns.
    """
    moved: list[tuple[str | None, pl.DataFrame]] = []
    for part in staging.live(kind, keys):
        frame = pl.read_parquet(staging.file(part), hive_partitioning=False, glob=False)
        marked = _marked(frame, gone)
        if not marked.any():
            continue
        rest, out = frame.filter(~marked), frame.filter(marked)
        staging.replace(part)
        if len(rest):
            staging.add(kind, part.window_key, rest, part.seq)
        if keep:
            staging.add(f"{HISTORY}{kind}", part.window_key, out, part.seq)
        moved.append((part.window_key, out))
        if kind in COUNTED and part.window_key is not None:
            counts = out.group_by("batch_id").len().sort("batch_id")
            staging.changes += [(kind, part.window_key, batch_id, -n) for batch_id, n in counts.iter_rows()]
    return moved


def _marked(frame: pl.DataFrame, gone: pl.Expr | pl.DataFrame) -> pl.Series:
    if isinstance(gone, pl.Expr):
        return frame.select(gone.fill_null(value=False).alias("gone")).to_series()
    names = gone.columns
    wanted = gone.unique().with_columns(gone=pl.lit(value=True))
    found = frame.select(names).join(wanted, on=names, how="left", maintain_order="left", nulls_equal=True)
    return found["gone"].fill_null(value=False)

"""Rows of both tables per bin, for pictures: of all rows together, and of the segments that stand out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from metrics_py.comparison.column_pairs import Side
from metrics_py.comparison.result import BINS, beyond_tolerance
from metrics_py.drift.pair import ColumnPair

MOST_PICTURED = 30
"""Segments of a column whose rows per bin are kept."""
SHOWN_STATES = {"drift": 0, "unclear": 1}


def bins_of(
    name: str, pair: ColumnPair, sides: tuple[Side, Side], labels: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> pl.DataFrame:
    """Rows per bin of one column, in the order of its profile.

    Parameters
    ----------
    name : str
        Of the column.
    pair : ColumnPair
        Counts of both sides, of every segment.
    sides : (Side, Side)
        Reference and current.
    labels : sequence of str, length T
        Of the segments; ``all`` where there is but one.
    rows : sequence of mapping
        Result rows of the column.

    Returns
    -------
    polars.DataFrame
        `BINS`: first ``all``, then the segments that drifted or are unclear, the farthest first, `MOST_PICTURED` at
        most.
    """
    both = zip((pair.reference, pair.current), sides, strict=True)
    whole = tuple(counts[0] if side.groups is None else counts.sum(axis=0) for counts, side in both)
    bins: dict[str, Any] = {
        "column": name,
        "bin_kind": list(pair.profile.bin_kind),
        "label": list(pair.profile.label),
    }
    parts = [bins | {"segment": "all", "n_reference": whole[0], "n_current": whole[1]}]
    if len(labels) > 1 or labels[0] != "all":
        place = {label: t for t, label in enumerate(labels)}
        for label in _standing_out(rows)[:MOST_PICTURED]:
            counts = {"n_reference": pair.reference[place[label]], "n_current": pair.current[place[label]]}
            parts.append(bins | {"segment": label} | counts)
    return pl.concat([pl.DataFrame(part, schema=BINS) for part in parts])


def _standing_out(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Segments that drifted, then those that are unclear, each the farthest first."""
    far = [row for row in rows if row["state"] in SHOWN_STATES]
    far.sort(key=lambda row: (SHOWN_STATES[row["state"]], -beyond_tolerance(row)))
    return list(dict.fromkeys(row["segment"] for row in far))

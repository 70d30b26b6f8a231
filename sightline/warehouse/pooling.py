"""What has too few rows in a window and is judged over several windows together, by what is usual for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from metrics_py.profile.column_profile import ColumnProfile
from sightline.spec.model import MonitorSpec
from sightline.spec.multivariate import JOINT, embedding_columns, joint_columns, text_embeddings
from sightline.spec.stretches import Stretch, stretch_of
from sightline.spec.words import text_columns

USUAL = 0.5
"""Share of `drift.min_rows` that a stretch usually holds at least (effective rows): it cannot be pooled again."""
MISSING = "null_rate"


@dataclass(frozen=True)
class Pooling:
    """What of one column is judged over stretches.

    Parameters
    ----------
    values, missing : bool
        What looks at the values; the share of missing ones.
    rows : float
        Usual rows of a window.
    since : datetime
        First stretch of which this is known (start of its last window, naive UTC); before, all is by window.
    """

    values: bool
    missing: bool
    rows: float
    since: datetime = datetime.min

    def holds(self, statistic: str) -> bool:
        """Whether a statistic is over stretches."""
        return self.missing if statistic == MISSING else self.values


def pooling_of(spec: MonitorSpec, stretch: Stretch, profile: ColumnProfile, rows: float, since: datetime) -> Pooling:
    """By what is usual: too few effective rows for a window, enough for a stretch.

    Parameters
    ----------
    spec : MonitorSpec
        `drift.min_rows`.
    stretch : Stretch
    profile : ColumnProfile
        Of the column: its share of values, and how dependent rows are.
    rows, since
        As of `Pooling`.
    """
    n = int(profile.n_reference.sum())
    known = 1 - float(profile.n_reference[profile.where("null", "not_finite")].sum()) / n if n else 0.0
    needed = spec.drift.min_rows
    usual = {"values": rows * known / profile.design_effect, "missing": rows / profile.design_effect}
    is_long = {part: each < needed and stretch.n * each >= USUAL * needed for part, each in usual.items()}
    return Pooling(**is_long, rows=rows, since=since)


def frozen_poolings(spec: MonitorSpec, profiles: Mapping[str, ColumnProfile]) -> dict[str, Pooling]:
    """How each column is pooled of which the reference knows the usual rows of a window (a reference file does not).

    Parameters
    ----------
    spec : MonitorSpec
    profiles : mapping of column to ColumnProfile
    """
    stretch = stretch_of(spec)
    return {
        name: pooling_of(spec, stretch, profile, profile.rows_per_window, datetime.min)
        for name, profile in profiles.items()
        if stretch is not None and profile.rows_per_window is not None
    }


def pooled_since(
    spec: MonitorSpec, profiles: Mapping[str, ColumnProfile], poolings: Mapping[str, Pooling]
) -> dict[str, datetime]:
    """What is made of whole rows (texts, vectors, the features together) and is judged over stretches: since when.

    Parameters
    ----------
    spec : MonitorSpec
    profiles : mapping of column to ColumnProfile
    poolings : mapping of column to Pooling
        Of columns alone. The features together are pooled where most of them have too few rows, missing values or not.

    Returns
    -------
    dict of str to datetime
        Text columns, embeddings, `JOINT`: as `Pooling.since`. What is judged by window is left out.
    """
    made = text_embeddings(spec)
    sources = {
        name: made[name][0] if name in made else name for name in (*text_columns(spec), *embedding_columns(spec))
    }
    found = {name: poolings[of].since for name, of in sources.items() if of in poolings and poolings[of].values}
    known = [name for name in joint_columns(spec) if name in profiles]
    thin = [poolings[name].since for name in known if name in poolings and poolings[name].missing]
    if 2 * len(thin) > len(known):
        found[JOINT] = max(thin)
    return found


def grouped(spec: MonitorSpec, keys: Sequence[str], *, pooled: bool) -> dict[str, list[str]]:
    """Windows by the key under which they are judged together.

    Parameters
    ----------
    spec : MonitorSpec
    keys : sequence of str
        In time order.
    pooled : bool
        False: each window alone.

    Returns
    -------
    dict of str to list of str
        Key of the last window of each stretch -> those of `keys` that it holds.
    """
    stretch = stretch_of(spec)
    if not pooled or stretch is None:
        return {key: [key] for key in keys}
    starts = pl.Series([spec.window_start(key).replace(tzinfo=None) for key in keys], dtype=pl.Datetime("us"))
    found: dict[str, list[str]] = {}
    for key, end in zip(keys, pl.select(stretch.last(spec, pl.lit(starts))).to_series(), strict=True):
        found.setdefault(spec.key(end), []).append(key)
    return found

"""Merge small parts, size by size (as log-structured merge trees do): near-real-time intake appends many of them.

Parts of one window whose row counts lie in the same power of eight form a tier; a tier of eight parts is merged
into one. So a row is rewritten at most once per tier, and a window holds a few dozen parts at most. Merged
parts have the current schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from sightline.home import MonitorPaths
from sightline.lake.store.ledger import Ledger, Part, open_ledger
from sightline.lake.store.parts import Staging, lake_lock, recover, scan_parts
from sightline.lake.store.schema import QUARANTINE_SCHEMA, lake_schema
from sightline.spec.model import MonitorSpec

FANOUT = 8
LARGEST_MERGED_ROWS = 2_000_000
COMMIT_PARTS = 64
UNWINDOWED = ("unmatched", "given_up", "revisions", "quarantine")


def compact(spec: MonitorSpec, paths: MonitorPaths, *, everything: bool = False) -> int:
    """Merge small parts of all windows, of the unmatched labels and of the quarantine.

    Parameters
    ----------
    spec, paths
        The monitor.
    everything : bool
        Leave one part per window, whatever the sizes (up to two million rows).

    Returns
    -------
    int
        Parts fewer than before.
    """
    with lake_lock(paths), open_ledger(paths.ledger) as ledger:
        recover(paths, ledger)
        groups = [("inferences", key) for key in ledger.window_keys("inferences")]
        groups += [("labels", key) for key in ledger.window_keys("labels")]
        groups += [("replaced", key) for key in ledger.window_keys("replaced")]
        groups += [(name, None) for name in UNWINDOWED]
        return _compact(spec, paths, ledger, groups, everything)


def compact_touched(spec: MonitorSpec, paths: MonitorPaths, ledger: Ledger, kind: str, keys: Iterable[str]) -> int:
    """The same for the windows an intake has just added to; call under `lake_lock`."""
    groups: list[tuple[str, str | None]] = [(kind, key) for key in keys]
    return _compact(spec, paths, ledger, [*groups, *((name, None) for name in UNWINDOWED)], False)


def _compact(
    spec: MonitorSpec, paths: MonitorPaths, ledger: Ledger, groups: Sequence[tuple[str, str | None]], everything: bool
) -> int:
    saved = 0
    staging = Staging(paths, ledger)
    for kind, key in groups:
        parts = ledger.parts(kind, None if key is None else [key])
        for tier in _tiers(parts, everything):
            schema = QUARANTINE_SCHEMA if kind == "quarantine" else lake_schema(spec, kind)
            order = (
                ["received_at", "batch_id", "row_number"]
                if kind in ("inferences", "replaced", "revisions", "quarantine")
                else ["revision_order"]
            )
            frame = scan_parts([staging.file(part) for part in tier], schema).collect().sort(order, maintain_order=True)
            staging.add(kind, key, _kept_columns(frame, staging, tier), max(part.seq for part in tier))
            staging.obsolete += tier
            saved += len(tier) - 1
        if len(staging.parts) >= COMMIT_PARTS:
            staging.commit()
            staging = Staging(paths, ledger)
    staging.commit()
    return saved


def _kept_columns(frame: pl.DataFrame, staging: Staging, tier: Sequence[Part]) -> pl.DataFrame:
    """Keep columns the spec no longer names: they are what was logged."""
    dropped: dict[str, pl.DataType] = {}
    for part in tier:
        for name, dtype in pl.read_parquet_schema(staging.file(part)).items():
            if name not in frame.columns:
                dropped.setdefault(name, dtype)
    if not dropped:
        return frame
    key = ["batch_id", "row_number"]
    old = scan_parts(
        [staging.file(part) for part in tier], {**{name: frame.schema[name] for name in key}, **dropped}
    ).collect()
    return frame.join(old, on=key, how="left", maintain_order="left")


def _tiers(parts: Sequence[Part], everything: bool) -> list[list[Part]]:
    """Groups of parts to merge."""
    if everything:
        small = [part for part in parts if part.n_rows < LARGEST_MERGED_ROWS]
        groups: list[list[Part]] = [[]]
        for part in small:
            if sum(p.n_rows for p in groups[-1]) + part.n_rows > LARGEST_MERGED_ROWS:
                groups.append([])
            groups[-1].append(part)
        return [group for group in groups if len(group) > 1]
    tiers: dict[int, list[Part]] = {}
    for part in parts:
        tiers.setdefault(_tier(part.n_rows), []).append(part)
    largest = _tier(LARGEST_MERGED_ROWS) - 1
    return [members for tier, members in tiers.items() if len(members) >= FANOUT and tier < largest]


def _tier(n_rows: int) -> int:
    tier = 0
    while n_rows >= FANOUT:
        n_rows //= FANOUT
        tier += 1
    return tier

"""The contract of what lands: a window whose rows were all refused is broken, and nothing may be built on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from sightline.home import MonitorPaths
from sightline.judging.verdicts import Verdict
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.parts import recover_if_needed, scan_parts, window_starts
from sightline.lake.store.progress import open_progress
from sightline.lake.store.schema import QUARANTINE_SCHEMA
from sightline.spec.model import MonitorSpec
from sightline.spec.plan import PlannedCheck

SHOWN_REASONS = 5
REPEATED = "duplicate"
"""Reason of rows that are known already with the same content: nothing is lost, but somebody sent them twice."""


def intake_verdicts(
    spec: MonitorSpec, paths: MonitorPaths, asset: str, checks: Sequence[PlannedCheck], keys: Sequence[str]
) -> Iterator[tuple[PlannedCheck, str, Verdict]]:
    """Verdicts of the check ``contract`` on `inferences` or `labels`."""
    counted = quarantined_rows(spec, paths, asset, keys)
    with open_progress(paths.ledger) as progress:
        accepted = progress.rows(asset, keys)
    for check in checks:
        for key in keys:
            reasons = dict(counted.get(key, {}))
            n_repeated = reasons.pop(REPEATED, 0)
            n_accepted, n_refused = accepted.get(key, 0), sum(reasons.values())
            facts: dict[str, Any] = {"rows accepted": n_accepted, "rows refused": n_refused}
            facts |= {"rows repeated": n_repeated} if n_repeated else {}
            worst = sorted(reasons.items(), key=lambda item: -item[1])[:SHOWN_REASONS]
            if worst:
                facts["reasons"] = ", ".join(f"{reason} ({n})" for reason, n in worst)
            if n_refused and not n_accepted:
                facts["what to do"] = f"Read data/{spec.id}/quarantine, mend the sender, and land the corrected file."
                yield check, key, Verdict("error", f"All {n_refused} rows were refused: {worst[0][0]}.", facts)
            else:
                again = f", {n_repeated} repeated (known already, left out)" if n_repeated else ""
                yield check, key, Verdict("ok", f"{n_accepted} rows accepted, {n_refused} refused{again}.", facts)


def quarantined_rows(
    spec: MonitorSpec, paths: MonitorPaths, kind: str, keys: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Window key -> reason -> rows not taken (refused, or `REPEATED`).

    Rows without a usable time count in the window in which they arrived.
    """
    recover_if_needed(paths)
    with open_ledger(paths.ledger, create=False) as ledger:
        files = [paths.root / part.path for part in ledger.parts("quarantine")]
    rows = scan_parts(files, QUARANTINE_SCHEMA)
    wanted = {spec.window_start(key).replace(tzinfo=None): key for key in keys}
    start = pl.coalesce("window_start", window_starts(pl.col("received_at"), spec)).alias("window_start")
    kinds = ["inferences", "rejected"] if kind == "inferences" else [kind]
    counted = (
        rows.filter(pl.col("kind").is_in(kinds), (pl.col("severity") == "row") | (pl.col("reason") == REPEATED))
        .select(start, "reason")
        .filter(pl.col("window_start").is_in(list(wanted)))
        .group_by("window_start", "reason")
        .len()
        .collect()
    )
    found: dict[str, dict[str, int]] = {}
    for moment, reason, n in counted.iter_rows():
        found.setdefault(wanted[moment], {})[reason] = n
    return found

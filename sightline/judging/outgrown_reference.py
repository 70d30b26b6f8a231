"""A reference that was frozen before most of its rows had come, as where the newest files of a history land first.

It stays what it was frozen from; so what is usual is told by a part of its time, and nothing else would say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta

from sightline.home import MonitorPaths
from sightline.judging.verdicts import Verdict
from sightline.lake.store.progress import open_progress
from sightline.spec.model import MonitorSpec
from sightline.spec.windows import keys_between

KNOWN_SHARE = 0.75
"""A reference that was frozen from less than this share of the rows that its time holds now is told."""


def outgrown(spec: MonitorSpec, paths: MonitorPaths) -> str:
    """What is to be said of the frozen reference; empty where it knows most of its rows.

    Parameters
    ----------
    spec : MonitorSpec
        Only a reference of a fixed window outgrows its profile. Rows of `shadows` are no part of it: with some, nothing
        is told.
    paths : MonitorPaths
        Profile and ledger.

    Returns
    -------
    str
    """
    from sightline.warehouse.reference import load_reference  # loads DuckDB, which most calls do without

    start, end = spec.reference.start, spec.reference.end
    if spec.reference.kind != "window" or start is None or end is None or spec.shadows:
        return ""
    profile = load_reference(paths)
    if profile is None:
        return ""
    keys = keys_between(spec, spec.key(max(start, spec.first_window)), spec.key(end - timedelta(microseconds=1)))
    with open_progress(paths.ledger) as progress:
        n = sum(progress.rows("inferences", keys).values())
    if profile.n_rows >= KNOWN_SHARE * n:
        return ""
    return (
        f"The reference was frozen from {profile.n_rows:,} rows, and its time holds {n:,} now: materialize `reference` "
        "with the config `rebuild: true`, and every window is judged anew."
    )


def with_reference(found: Iterable[tuple[str, Verdict]], told: str) -> Iterator[tuple[str, Verdict]]:
    """Verdicts of the check `coverage` that warn of an outgrown reference.

    Parameters
    ----------
    found : iterable of (window key, Verdict)
        What the check says otherwise.
    told : str
        From `outgrown`.

    Yields
    ------
    (window key, Verdict)
    """
    for key, verdict in found:
        if told:
            facts = {**verdict.facts, "reference": told}
            yield key, replace(verdict, level="warn", text=f"{told} {verdict.text}", facts=facts, cause="evidence")
        else:
            yield key, verdict

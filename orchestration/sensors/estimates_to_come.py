"""Windows that were judged before the reference had labels, and can have their quality estimated since."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import polars as pl

from orchestration.monitor import Monitor
from orchestration.sensors.stale_windows import Taught
from sightline.lake.store.progress import Done, Progress
from sightline.results.judgements import read_judgements
from sightline.results.label_completion import mature_after
from sightline.spec.flows import DELAYED, is_estimated
from sightline.spec.windows import matures_at, reference_keys

ASSET, NO_LABELS = "estimated_quality", "no_labels"


def taught(monitor: Monitor, progress: Progress, now: datetime) -> Taught | None:
    """That the reference has labels, of which all that have come are worked up.

    Parameters
    ----------
    monitor : Monitor
    progress : Progress
        Its ledger.
    now : datetime

    Returns
    -------
    Taught or None
        None while labels of the reference are not due or not worked up, or none has come; and for references that are
        no range of windows: a file has its labels from the start, a rolling one is each window's own.
    """
    spec = monitor.spec
    if not is_estimated(spec) or spec.reference.kind != "window":
        return None
    keys, labels, done = reference_keys(spec), progress.changes(["labels"]), progress.done(DELAYED.name)
    labelled = {key: labels[key] for key in keys if key in labels}
    known_after = mature_after(monitor.paths, spec.window) or timedelta(0)
    at = max(max(matures_at(spec, key), spec.window_start(key) + known_after) for key in keys)
    is_worked_up = all(key in done and done[key].position >= position for key, position in labelled.items())
    return Taught(at, max(labelled.values())) if labelled and is_worked_up and now >= at else None


def unestimated(monitor: Monitor, done: Mapping[str, Done], since: Taught | None) -> set[str]:
    """Windows worked up before the reference had labels whose latest judgement says that it had none.

    Parameters
    ----------
    monitor : Monitor
    done : mapping of window key to Done
        Of the immediate flow.
    since : Taught or None
        Result of `taught`.
    """
    before = sorted(key for key, known in done.items() if since is not None and since.after(known))
    if not before:
        return set()
    spec = monitor.spec
    end = spec.window_start(before[-1]) + spec.window
    told = read_judgements(monitor.paths, asset=ASSET, segment="all", start=spec.window_start(before[0]), end=end)
    untold = told.filter(pl.col("reason_code") == NO_LABELS)["window_start"].unique()
    return {spec.key(start.replace(tzinfo=UTC)) for start in untold} & set(before)

"""How long labels take, as far as a monitor's file leaves it open: learnt from its own labels, kept beside its results.

The latest run of the delayed flow that knows the delay law publishes it. Until then labels are taken to be due after
`UNLEARNT`, and none is given up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from metrics_py.quality.delay_law import DelayLaw
from sightline.home import MonitorPaths
from sightline.results.snapshots import read_snapshot, write_snapshot
from sightline.spec.data_sections import Labels
from sightline.spec.durations import format_duration
from sightline.spec.field_types import UNLEARNT
from sightline.spec.judging_sections import Freshness
from sightline.spec.model import MonitorSpec

SNAPSHOT = "learnt_delays"
DUE_SHARE = 0.8
"""Share of the labels of every kind of row that is in when a window's labels count as due."""

FINAL_SHARE = 0.99
"""Share from which on the rest is not waited for."""

MIN_LABELS = 200
"""Labels from which on a delay is told."""


@dataclass(frozen=True)
class LearntDelays:
    """Delays of a monitor's labels.

    Attributes
    ----------
    expected_delay : timedelta
        From the end of a window until `DUE_SHARE` of its labels, of every kind of row, are in.
    give_up_after : timedelta or None
        From the end of a window until `FINAL_SHARE` are; None while the last labels are still to be seen.
    silence : timedelta
        Silence between two hours with new labels in which, or in shorter ones, nine tenths of the time pass.
    n_labels : int
        Labels that it was learnt from.
    """

    expected_delay: timedelta
    give_up_after: timedelta | None
    silence: timedelta
    n_labels: int


def learnt_from(law: DelayLaw, silence: timedelta, window: timedelta) -> LearntDelays | None:
    """Read the delays off the law.

    Parameters
    ----------
    law : DelayLaw
    silence : timedelta
        Usual longest time between two hours with new labels.
    window : timedelta
        Length of one window.

    Returns
    -------
    LearntDelays or None
        None from fewer than `MIN_LABELS` labels.
    """
    if law.n_labels < MIN_LABELS:
        return None

    def reached(share: float) -> timedelta:
        age = next(age for age in law.starts.tolist() if law.slowest(age) >= share)
        return max(math.ceil(4 * (age - 1)) / 4, 0.0) * window

    give_up = None if law.hides_a_tail else max(reached(FINAL_SHARE), window)
    return LearntDelays(reached(DUE_SHARE), give_up, silence, law.n_labels)


def publish_delays(paths: MonitorPaths, learnt: LearntDelays | None) -> None:
    """Keep what was learnt; nothing is forgotten where a run knows nothing."""
    if learnt is None:
        return
    row = {
        "expected_delay": [learnt.expected_delay],
        "give_up_after": [learnt.give_up_after],
        "silence": [learnt.silence],
        "n_labels": [learnt.n_labels],
    }
    of_time = dict.fromkeys(("expected_delay", "give_up_after", "silence"), pl.Duration("us"))
    write_snapshot(paths, SNAPSHOT, pl.DataFrame(row, schema={**of_time, "n_labels": pl.Int64}))


def read_delays(paths: MonitorPaths) -> LearntDelays | None:
    """What the latest run that knew published, or None."""
    kept = read_snapshot(paths, SNAPSHOT)
    return None if kept is None else LearntDelays(**kept.row(0, named=True))


def left_open(spec: MonitorSpec) -> MonitorSpec:
    """The spec as if its file said nothing of delays: what is learnt must not depend on what is given."""
    if spec.labels is None:
        return spec
    labels = Labels.model_validate({**dict(spec.labels), "expected_delay": None, "give_up_after": None})
    return spec.model_copy(update={"labels": labels})


def with_learnt_delays(spec: MonitorSpec, paths: MonitorPaths) -> MonitorSpec:
    """The spec with what its file leaves open filled in: `labels.expected_delay`, `give_up_after`, `freshness.labels`.

    Parameters
    ----------
    spec : MonitorSpec
    paths : MonitorPaths
        Of the same monitor.

    Returns
    -------
    MonitorSpec
        `spec` itself where nothing is open, or nothing is known yet.
    """
    learnt = read_delays(paths) if spec.labels is not None else None
    if learnt is None or spec.labels is None:
        return spec
    labels, freshness = spec.labels, spec.freshness
    expected = labels.expected_delay
    if expected is None:
        limit = labels.give_up_after
        expected = learnt.expected_delay if limit is None else min(learnt.expected_delay, limit)
    give_up = labels.give_up_after
    if give_up is None and learnt.give_up_after is not None:
        give_up = max(learnt.give_up_after, expected)
    deadline = freshness.labels
    if deadline is None:
        deadline = spec.window + 2 * max(spec.window, learnt.silence)
        deadline = deadline if labels.expected_delay is None else max(deadline, spec.deadlines["labels"])
    return spec.model_copy(
        update={
            "labels": Labels.model_validate({**dict(labels), "expected_delay": expected, "give_up_after": give_up}),
            "freshness": Freshness.model_validate({**dict(freshness), "labels": deadline}),
        }
    )


def delay_words(spec: MonitorSpec, paths: MonitorPaths) -> list[str]:
    """When labels are due and when they are given up, and whether that is given or learnt, in words.

    Parameters
    ----------
    spec : MonitorSpec
        As its file says.
    paths : MonitorPaths

    Returns
    -------
    list of str
        Empty without labels.
    """
    if spec.labels is None:
        return []
    learnt, given, limit = read_delays(paths), spec.labels.expected_delay, spec.labels.give_up_after
    if learnt is None:
        due = f"due {format_duration(given or UNLEARNT)} after the end of their window"
        late = "none is given up" if limit is None else f"given up after {format_duration(limit)}"
        left = [name for name, value in (("expected_delay", given), ("give_up_after", limit)) if value is None]
        taken = f"{due}, {late}" if not left else f"until that is learnt taken to be {due}, and {late}"
        lines = [taken]
        if left:
            lines.append(f"{' and '.join(left)} will be learnt from {MIN_LABELS} labels that were watched as they came")
        return [*lines, *_silence_words(spec)]
    last = "how late the last ones come is not known yet"
    if learnt.give_up_after is not None:
        last = f"99 % {format_duration(learnt.give_up_after)} after it"
    seen = (
        f"80 % of every kind of row are in {format_duration(learnt.expected_delay)} after their window's end, {last} "
        f"(learnt from {learnt.n_labels:,} labels)"
    )
    told = with_learnt_delays(spec, paths).labels
    assert told is not None
    due = format_duration(told.expected_delay or UNLEARNT)
    late = "none is given up until that is learnt"
    if told.give_up_after is not None:
        late = f"given up after {format_duration(told.give_up_after)}"
    whose = [name for name, value in (("expected_delay", given), ("give_up_after", limit)) if value is not None]
    return [
        seen,
        f"taken to be due after {due}, {late} ({', '.join(whose) or 'nothing of it'} given by the file)",
        *_silence_words(spec),
    ]


def _silence_words(spec: MonitorSpec) -> list[str]:
    """What a prediction of which nothing is heard counts as."""
    if not spec.is_silence_negative or spec.labels is None or spec.labels.give_up_after is None:
        return []
    limit = format_duration(spec.labels.give_up_after)
    if spec.model.task == "ranking":
        return [
            f"silence is negative: without a label by {limit} after the end of its window a row is irrelevant, if "
            "labels were seen to come in until then; younger windows have no quality"
        ]
    return [
        f"silence is negative: without a label by {limit} after the end of its window a prediction counts as negative, "
        "if reports were seen to come in until then; younger windows count the positives to come by those that came"
    ]


def delay_warnings(spec: MonitorSpec, paths: MonitorPaths) -> list[str]:
    """Given delays that do not fit how labels come."""
    learnt = read_delays(paths) if spec.labels is not None else None
    limit = spec.labels.give_up_after if spec.labels is not None else None
    if learnt is None or limit is None:
        return []
    if learnt.give_up_after is None or limit < learnt.give_up_after:
        late = "later than is known yet"
        if learnt.give_up_after is not None:
            late = f"for {format_duration(learnt.give_up_after)} until 99 % are in"
        return [
            f"labels.give_up_after {format_duration(limit)} is shorter than labels take: they come {late}; numbers of "
            "older windows count as final without them"
        ]
    return []

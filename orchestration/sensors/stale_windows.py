"""Which windows must be worked up, or worked up again: a pure function of what a sensor sees.

A window needs a run of a flow when data for it waits in the landing folder, when the ledger holds changes its latest
complete run did not know (late labels among them), when it has closed (or its labels have become due, or complete as
far as their delay is learnt) since it was last judged, when its aggregates were binned by another reference, or, the
newest one, when somebody has said something of an incident since. One without an estimate of its quality needs one,
too, when the reference has got the labels that estimates learn from.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from sightline.lake.store.progress import Done
from sightline.spec.flows import DELAYED, IMMEDIATE
from sightline.spec.model import MonitorSpec
from sightline.spec.stretches import sliding_windows
from sightline.spec.windows import closes_at, keys_between, matures_at, next_key

MAX_SILENCE = {"hourly": 72, "daily": 14, "weekly": 4}
"""So many empty windows after the last data are still judged (and alarm); from then on freshness alone tells."""


class RunState(Enum):
    """State of a requested run, as far as a sensor cares."""

    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class Taught:
    """That all windows of the reference have been judged with their labels.

    Parameters
    ----------
    at : datetime
        When the labels of the last of them were due.
    position : int
        Their newest label in the ledger.
    """

    at: datetime
    position: int

    def after(self, done: Done) -> bool:
        """Whether a window was worked up before."""
        return done.at < self.at or done.position < self.position


@dataclass(frozen=True)
class Listing:
    """What a sensor sees at one moment.

    Parameters
    ----------
    pending : mapping of batch id to window keys
        Batches not yet loaded and the windows they touch (empty: nothing could be read or routed).
    changes : mapping of window key to position
        Newest change in the ledger that concerns this flow.
    done : mapping of window key to Done
        What the latest complete run of this flow knew.
    with_data : collection of window keys
        Windows that hold inferences.
    reference : str
        Id of the current reference profile; empty when there is none.
    runs : mapping of run key to RunState
        Requested runs that exist.
    now : datetime
        The clock, UTC.
    fed_at : datetime or None
        When the data of the newest window that holds some were received.
    inputs_wait : collection of window keys
        Delayed flow: windows whose inferences the immediate flow has never judged, and has not given up.
    mature_after : timedelta or None
        Delayed flow: how long after its start a window has nearly all of its labels, as far as that is learnt.
    provisional : collection of window keys
        Delayed flow: windows whose latest judgement still waits for labels.
    taught : Taught or None
        Immediate flow: that the reference has labels for estimates to learn from.
    unestimated : collection of window keys
        Immediate flow: windows judged before that, whose latest judgement says that it had none.
    acted_at : datetime or None
        When somebody last said something of an incident: the newest window is to be checked again.
    being_written : sequence of str
        Paths of files that are waited for.
    """

    pending: Mapping[str, frozenset[str]]
    changes: Mapping[str, int]
    done: Mapping[str, Done]
    with_data: Collection[str]
    reference: str
    runs: Mapping[str, RunState]
    now: datetime
    fed_at: datetime | None = None
    inputs_wait: Collection[str] = ()
    mature_after: timedelta | None = None
    acted_at: datetime | None = None
    provisional: Collection[str] = ()
    taught: Taught | None = None
    unestimated: Collection[str] = ()
    being_written: Sequence[str] = ()


@dataclass(frozen=True)
class Why:
    """Why a window needs a run."""

    has_data: bool
    token: str
    """Changes whenever the cause changes."""


def stale_windows(spec: MonitorSpec, flow: str, listing: Listing) -> dict[str, Why]:
    """Windows that need a run, in time order."""
    first, current = spec.key(spec.first_window), spec.key(listing.now)
    batches: dict[str, list[str]] = {}
    for batch, keys in sorted(listing.pending.items()):
        for key in {k for k in keys if first <= k <= current} or {current}:
            batches.setdefault(key, []).append(batch)
    tokens: dict[str, Why] = {}
    newest = max(listing.done, default=None)
    for key in sorted({*_judged_windows(spec, flow, listing), *batches}):
        done, change = listing.done.get(key), listing.changes.get(key, 0)
        passed = [moment for moment in _due(spec, flow, listing, key) if listing.now >= moment]
        waits = batches.get(key, [])
        changed = change > (done.position if done else 0)
        unclosed = bool(passed) and (done is None or done.at < max(passed))
        other_reference = done is not None and done.reference != listing.reference
        answered = key == newest and done is not None and listing.acted_at is not None and done.at < listing.acted_at
        can_be_estimated = key in listing.unestimated
        if waits or changed or unclosed or other_reference or answered or can_be_estimated:
            token = f"{change}|{','.join(waits)}|{_named(passed)}|{listing.reference}"
            token += f"|{listing.acted_at}" if answered else ""
            token += f"|{listing.taught}" if can_be_estimated else ""
            tokens[key] = Why(bool(waits) or changed, token)
    return tokens


def _due(spec: MonitorSpec, flow: str, listing: Listing, key: str) -> list[datetime]:
    """When a window is to be judged even if nothing came: closed; labels due, complete if that is later, given up."""
    if flow == IMMEDIATE.name:
        return [closes_at(spec, key)]
    due = matures_at(spec, key)
    complete = spec.window_start(key) + (listing.mature_after or timedelta(0))
    moments = [due, complete] if complete > due else [due]
    if spec.labels is not None and spec.labels.give_up_after is not None and key in listing.provisional:
        moments.append(max(*moments, spec.window_start(key) + spec.window + spec.labels.give_up_after))
    return moments


def _named(passed: Sequence[datetime]) -> str:
    return ("False", "True", "mature", "given up")[len(passed)]


def _judged_windows(spec: MonitorSpec, flow: str, listing: Listing) -> list[str]:
    """Windows that must be judged when they close.

    Those with data and, without labels to wait for, the silent ones between them and, where data were received as they
    were made, for a while after them: the end of a history that was received later is no outage. When they were loaded
    plays no part: the windows are the same however often and late somebody looked. With labels the silent ones between
    are judged where sliding windows (`quality.windows`) end with them.
    """
    first, current = spec.key(spec.first_window), spec.key(listing.now)
    known = sorted(key for key in {*listing.changes, *listing.with_data} if first <= key <= current)
    if not known:
        return []
    if flow == DELAYED.name:
        return keys_between(spec, known[0], known[-1]) if sliding_windows(spec) else known
    is_history = listing.fed_at is not None and listing.fed_at > late(spec, known[-1])
    silent_until = next_key(spec, known[-1], 0 if is_history else MAX_SILENCE[spec.schedule])
    return keys_between(spec, known[0], min(current, silent_until))


def late(spec: MonitorSpec, key: str) -> datetime:
    """Data of a window that are received after this moment are history."""
    return closes_at(spec, key) + spec.deadlines["inferences"]

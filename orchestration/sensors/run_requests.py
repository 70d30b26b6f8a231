"""What a sensor should start: a pure function of its cursor and of what it sees.

`stale_windows` says which windows need a run; those under way are left alone, a failed run is tried again twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from orchestration.sensors.stale_windows import Listing, RunState, Why, stale_windows
from sightline.lake.intake.growing import told
from sightline.spec.flows import DELAYED, IMMEDIATE
from sightline.spec.model import MonitorSpec
from sightline.spec.windows import contiguous, is_key, keys_between

MAX_ATTEMPTS = 3
MAX_OPEN = 4
MAX_WINDOWS_PER_RUN = 400
MAX_BRIDGED = 30
"""So many windows in a row that need nothing are worked up along with those around them by the delayed flow.

A run costs as much as 90 windows, and sparse labels touch every other day.
"""

HISTORY = 3
"""So many windows in one range that were never judged are history: their labels may have come with them."""


@dataclass(frozen=True)
class Request:
    """One run: a flow over the windows `first` to `last`, both included."""

    run_key: str
    first: str
    last: str
    attempt: int
    cause: str
    has_data: bool
    """Something arrived for these windows; otherwise they are only judged anew, and no intake is recorded."""
    batches: tuple[str, ...] = ()
    is_history: bool = False
    """Several of its windows were never judged: one run works up inputs and labels, so both are decided in order."""


@dataclass(frozen=True)
class Cursor:
    """What a sensor remembers: runs under way, and ranges it has given up until something about them changes."""

    open: tuple[Request, ...] = ()
    given_up: tuple[Request, ...] = ()

    @classmethod
    def load(cls, text: str | None) -> Cursor:
        """Read a cursor; an absent or unknown one is an empty one (the ledger holds the truth)."""
        try:
            data = json.loads(text) if text else {}
            parts = {
                name: tuple(Request(**{**r, "batches": tuple(r["batches"])}) for r in data.get(name, ()))
                for name in ("open", "given_up")
            }
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()
        return cls(**parts)

    def of(self, spec: MonitorSpec) -> Cursor:
        """Without requests for windows of another schedule."""
        kept = [
            tuple(r for r in rs if is_key(spec, r.first) and is_key(spec, r.last)) for rs in (self.open, self.given_up)
        ]
        return Cursor(*kept)

    def dump(self) -> str:
        """The cursor as JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))


@dataclass(frozen=True)
class Plan:
    """Runs to start now, the cursor to keep, and what to tell when nothing starts."""

    requests: tuple[Request, ...]
    cursor: Cursor
    reason: str


def open_batches(cursor: Cursor, runs: Mapping[str, RunState]) -> set[str]:
    """Batches that a run under way will load: no need to look into them again until it has ended."""
    under_way = [r for r in cursor.open if runs.get(r.run_key, RunState.ACTIVE) is RunState.ACTIVE]
    return {batch for request in under_way for batch in request.batches}


def plan(spec: MonitorSpec, flow: str, cursor: Cursor, listing: Listing) -> Plan:
    """Decide which runs of a flow to start.

    Parameters
    ----------
    spec : MonitorSpec
    flow : {'immediate', 'delayed'}
    cursor : Cursor
        As returned by the previous call.
    listing : Listing

    Returns
    -------
    Plan
        Deterministic: the same cursor and listing give the same run keys, so that a request repeated after a crash
        starts nothing twice.
    """
    if flow == DELAYED.name and not listing.with_data and not listing.changes:
        return Plan((), cursor, "labels wait: no predictions are loaded yet")
    needed = tokens = stale_windows(spec, flow, listing)
    if listing.inputs_wait:  # labels must not overtake inputs: the alert engine dates what it learns by its last window
        tokens = {key: why for key, why in needed.items() if key < min(listing.inputs_wait)}
    requests, still_open, given_up = _settle(spec, cursor, listing, tokens)
    taken = {key for r in (*still_open, *requests) for key in keys_between(spec, r.first, r.last)}
    given_up = [r for r in given_up if _cause(spec, r.first, r.last, tokens) == r.cause]
    refused = {key for r in given_up for key in keys_between(spec, r.first, r.last)}
    for first, last, has_data in _ranges(spec, flow, tokens, taken | refused):
        if len(still_open) + len(requests) >= MAX_OPEN or _must_wait(spec, first, (*still_open, *requests), listing):
            break
        requests.append(_request(spec, flow, first, last, has_data, tokens, listing))
    asked = {key for r in requests for key in keys_between(spec, r.first, r.last)}
    waiting = [key for key in needed if key not in taken | refused | asked]
    reason = _reason(still_open, given_up, waiting, listing)
    return Plan(tuple(requests), Cursor((*still_open, *requests), tuple(given_up)), reason)


def _must_wait(spec: MonitorSpec, first: str, under_way: Collection[Request], listing: Listing) -> bool:
    """Whether an earlier range is under way that holds windows never judged before.

    The alert engine goes forward in time: were the later range to end first, or the earlier one to fail and be tried
    again, the earlier windows would teach nothing. A range given up holds nobody up.
    """
    return any(
        key not in listing.done
        for request in under_way
        if request.last < first
        for key in keys_between(spec, request.first, request.last)
    )


def _settle(
    spec: MonitorSpec, cursor: Cursor, listing: Listing, tokens: Mapping[str, Why]
) -> tuple[list[Request], list[Request], list[Request]]:
    """Follow up the runs under way: (to start again, still under way, given up)."""
    again, still_open, given_up = [], [], list(cursor.given_up)
    for request in cursor.open:
        state = listing.runs.get(request.run_key)
        if state is RunState.ACTIVE:
            still_open.append(request)
        elif state is None:
            again.append(request)  # asked for, but never started: ask with the same key
        elif state is RunState.FAILED and request.attempt < MAX_ATTEMPTS:
            if any(key in tokens for key in keys_between(spec, request.first, request.last)):
                again.append(_retry(spec, request, tokens))
        elif _cause(spec, request.first, request.last, tokens) == request.cause:
            given_up.append(request)
    return again, still_open, given_up


def _retry(spec: MonitorSpec, request: Request, tokens: Mapping[str, Why]) -> Request:
    stem = request.run_key.rpartition("#")[0]
    cause = _cause(spec, request.first, request.last, tokens)
    attempt = request.attempt + 1
    return replace(request, run_key=f"{stem}#{attempt}", attempt=attempt, cause=cause)


def _ranges(
    spec: MonitorSpec, flow: str, tokens: Mapping[str, Why], excluded: Collection[str]
) -> list[tuple[str, str, bool]]:
    """Ranges oldest first, none holding an excluded window.

    Windows that are due without new data go along with those around
    them that have some; before and after those they have ranges of their own.
    """
    bridge = MAX_BRIDGED if flow == DELAYED.name else 0
    found: list[tuple[str, str, bool]] = []
    taken = set(excluded)
    for has_data in (True, False):
        keys = [key for key, why in tokens.items() if why.has_data is has_data and key not in taken]
        ranges = contiguous(spec, keys, MAX_WINDOWS_PER_RUN, bridge=bridge, free=tokens, never=taken)
        found += [(first, last, has_data) for first, last in ranges]
        taken |= {key for first, last in ranges for key in keys_between(spec, first, last)}
    return sorted(found)


def _request(
    spec: MonitorSpec, flow: str, first: str, last: str, has_data: bool, tokens: Mapping[str, Why], listing: Listing
) -> Request:
    cause = _cause(spec, first, last, tokens)
    keys = set(keys_between(spec, first, last))
    current = spec.key(listing.now)
    batches = tuple(
        sorted(b for b, windows in listing.pending.items() if windows & keys or (not windows and current in keys))
    )
    fresh = [key for key in keys if key not in listing.done]
    is_history = flow == IMMEDIATE.name and spec.labels is not None and has_data and len(fresh) >= HISTORY
    return Request(f"{spec.id}|{flow}|{first}|{last}|{cause}#1", first, last, 1, cause, has_data, batches, is_history)


def _cause(spec: MonitorSpec, first: str, last: str, tokens: Mapping[str, Why]) -> str:
    """Digest of why the windows of a range need a run."""
    parts = [f"{key}={tokens[key].token}" for key in keys_between(spec, first, last) if key in tokens]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16] if parts else ""


def _reason(
    still_open: Sequence[Request], given_up: Sequence[Request], waiting: Sequence[str], listing: Listing
) -> str:
    """What to tell when nothing starts; "nothing new" only if nothing waits."""
    parts: list[str] = []
    if still_open:
        parts.append("under way: " + ", ".join(_span(r) for r in still_open))
    for r in given_up:
        how = f"failed {r.attempt} times" if r.attempt >= MAX_ATTEMPTS else "ended, but changed nothing"
        parts.append(
            f"given up: {_span(r)} ({how}; mend the cause and materialize these partitions or name them to "
            "`sightline backfill`, or land new data for them)"
        )
    held = [key for key in waiting if listing.inputs_wait and key >= min(listing.inputs_wait)]
    if held:
        parts.append(f"labels of {_between(held)} wait until the inferences of {min(listing.inputs_wait)} are judged")
    others = [key for key in waiting if key not in held]
    if others:
        parts.append(f"waiting for a run to end: {_between(others)}")
    if listing.being_written:
        parts.append(told(listing.being_written))
    return "; ".join(parts) or "nothing new"


def _between(keys: Sequence[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{min(keys)} to {max(keys)}"


def _span(request: Request) -> str:
    return request.first if request.first == request.last else f"{request.first} to {request.last}"

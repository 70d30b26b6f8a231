"""A monitor's windows as keys: neighbours, ranges, and when a window is closed and its labels are due."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from sightline.spec.field_types import UNLEARNT
from sightline.spec.model import MonitorSpec


def is_key(spec: MonitorSpec, key: str) -> bool:
    """Whether a text is the key of one of the monitor's windows, and not of another schedule's."""
    try:
        return spec.key(spec.window_start(key)) == key
    except ValueError:
        return False


def next_key(spec: MonitorSpec, key: str, steps: int = 1) -> str:
    """The key `steps` windows later (earlier if negative)."""
    return spec.key(spec.window_start(key) + steps * spec.window)


def keys_between(spec: MonitorSpec, first: str, last: str) -> list[str]:
    """All window keys from `first` to `last`, both included; empty if `last` is before `first`."""
    start, end = spec.window_start(first), spec.window_start(last)
    return [spec.key(start + i * spec.window) for i in range((end - start) // spec.window + 1)]


def contiguous(
    spec: MonitorSpec,
    keys: Iterable[str],
    longest: int,
    *,
    bridge: int = 0,
    free: Collection[str] = (),
    never: Collection[str] = (),
) -> list[tuple[str, str]]:
    """Group keys into ranges, in time order, none longer than `longest` windows.

    Parameters
    ----------
    spec : MonitorSpec
    keys : iterable of str
    longest : int
    bridge : int, default 0
        So many windows in a row that are no keys may lie inside a range.
    free : collection of str
        Windows that do not count for `bridge`.
    never : collection of str
        Windows that no range may hold.

    Returns
    -------
    list of (first, last)
        Both included.
    """
    ranges: list[tuple[str, str]] = []
    for key in sorted(set(keys)):
        if ranges:
            first, last = ranges[-1]
            between = keys_between(spec, next_key(spec, last), next_key(spec, key, -1))
            size = (spec.window_start(key) - spec.window_start(first)) // spec.window + 1
            if size <= longest and len(set(between) - set(free)) <= bridge and not set(between) & set(never):
                ranges[-1] = (first, key)
                continue
        ranges.append((key, key))
    return ranges


def reference_keys(spec: MonitorSpec) -> list[str]:
    """Windows of a reference that is a range of them (`reference.kind: window`)."""
    start, end = spec.reference.start, spec.reference.end
    assert start is not None and end is not None
    return [key for key in keys_between(spec, spec.key(start), spec.key(end)) if spec.window_start(key) < end]


def closes_at(spec: MonitorSpec, key: str) -> datetime:
    """When a window is complete: its end and the time that it waits for its last rows."""
    return spec.window_start(key) + spec.window + spec.closing_time


def matures_at(spec: MonitorSpec, key: str) -> datetime:
    """When the labels of a window are due: its end, their usual delay, and the time the window waits."""
    delay = spec.labels.expected_delay or UNLEARNT if spec.labels else timedelta(0)
    return closes_at(spec, key) + delay


def settled_at(spec: MonitorSpec, key: str) -> datetime:
    """When the labels of a window stand for all of its rows, as they are.

    Where silence is negative (`labels.silence`), once it has lasted; else when labels are due.
    """
    limit = spec.labels.give_up_after if spec.labels is not None and spec.is_silence_negative else None
    due = matures_at(spec, key)
    return due if limit is None else max(due, closes_at(spec, key) + limit)

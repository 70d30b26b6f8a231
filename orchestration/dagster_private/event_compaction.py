"""What is kept of a long range's events: the newest windows whole, of older ones what pages show, without what repeats.

Dagster stores a check result three times: in the run's own log, in the log over all runs, and as the latest execution of the
check. A year of days with fifty checks would be 370 MB. Of older windows the run's log keeps nothing, the log over all runs
the bare result, and the check's execution (the check's page) everything when it failed, the value when it passed.
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg
from dagster._core.events import StepMaterializationData
from dagster._core.events.log import EventLogEntry
from dagster_shared.record import copy

NEWEST_WINDOWS = 30
"""So many windows of every asset and check in a batch are stored whole."""

FACTS_OF_A_PASS = frozenset({"value", "n", "unit", "window"})
SAME_FOR_ALL_WINDOWS = frozenset({"Execution Duration", "unique_id", "invocation_id", "status"})
"""Metadata that dagster-dbt copies to every window of a range."""


def split(events: Sequence[EventLogEntry]) -> tuple[list[EventLogEntry], list[EventLogEntry]]:
    """The events of the newest windows of each asset or check and kind of event, and those of older windows.

    Events without a window count as new; both keep their order.
    """
    windows: dict[tuple[str, str, str], set[str]] = {}
    for event in events:
        windows.setdefault(_series(event), set()).add(_window(event))
    oldest = {key: sorted(found)[-NEWEST_WINDOWS:][0] for key, found in windows.items()}
    is_new = [not _window(event) or _window(event) >= oldest[_series(event)] for event in events]
    new = [event for event, new in zip(events, is_new, strict=True) if new]
    return new, [event for event, new in zip(events, is_new, strict=True) if not new]


def older(event: EventLogEntry) -> EventLogEntry:
    """An event of an older window as the pages of its asset or check need it."""
    inner = event.get_dagster_event()
    data = inner.event_specific_data
    if isinstance(data, dg.AssetCheckEvaluation) and data.passed:
        kept = {name: value for name, value in data.metadata.items() if name in FACTS_OF_A_PASS}
        data = copy(data, metadata=kept)
    elif isinstance(data, StepMaterializationData):
        found = data.materialization
        kept = {name: value for name, value in found.metadata.items() if name not in SAME_FOR_ALL_WINDOWS}
        data = data._replace(materialization=found.with_metadata(kept))
    return _with(event, data)


def bare(event: EventLogEntry) -> EventLogEntry:
    """A check result of an older window in the log over all runs: whether it passed."""
    data = event.get_dagster_event().event_specific_data
    if not isinstance(data, dg.AssetCheckEvaluation):
        return older(event)
    return _with(event, copy(data, metadata={}, description=None))


def _with(event: EventLogEntry, data: object) -> EventLogEntry:
    inner = event.get_dagster_event()._replace(event_specific_data=data, logging_tags={}, message=None)
    return event._replace(dagster_event=inner, user_message="")


def _series(event: EventLogEntry) -> tuple[str, str, str]:
    inner = event.get_dagster_event()
    data = inner.event_specific_data
    if isinstance(data, dg.AssetCheckEvaluation):
        return inner.event_type_value, data.asset_key.to_string(), data.check_name
    return inner.event_type_value, inner.asset_key.to_string() if inner.asset_key else "", ""


def _window(event: EventLogEntry) -> str:
    inner = event.get_dagster_event()
    data = inner.event_specific_data
    return (data.partition if isinstance(data, dg.AssetCheckEvaluation) else inner.partition) or ""

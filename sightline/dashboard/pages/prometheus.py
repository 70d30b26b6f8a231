"""How all monitors are, as numbers for Prometheus: one series per monitor and name, nothing per column or segment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

PREFIX = "sightline_monitor"
LEVELS = ("ok", "warn", "bad", "none")
GAUGES = {
    "open_incidents": ("open_incidents", "Incidents that are open."),
    "predictions": ("rows", "Predictions in the newest window."),
    "drifting_columns": ("drifting", "Columns beyond their tolerance by their newest verdict."),
    "provisional_windows": ("n_provisional", "Windows whose labels are still coming."),
}
"""Name -> what the overview tells, and help."""


def exposition(rows: list[Mapping[str, Any]]) -> str:
    """The exposition text.

    Parameters
    ----------
    rows : list of mapping
        ``monitors`` of the overview.

    Returns
    -------
    str
        What is not known has no sample.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(rows))
    return generate_latest(registry).decode()


class _Families(Collector):
    def __init__(self, rows: list[Mapping[str, Any]]) -> None:
        self._rows = rows

    def collect(self) -> Iterator[Metric]:
        state = GaugeMetricFamily(f"{PREFIX}_state", "1 for the state a monitor is in.", labels=["monitor", "state"])
        newest = GaugeMetricFamily(
            f"{PREFIX}_newest_window_timestamp_seconds", "Start of the newest window.", labels=["monitor"]
        )
        quality = GaugeMetricFamily(
            f"{PREFIX}_quality", "Newest realised quality by its first metric.", labels=["monitor", "metric"]
        )
        for row in self._rows:
            for level in LEVELS:
                state.add_metric([row["monitor"], level], float(row["level"] == level))
            at = row.get("newest_window")
            if isinstance(at, datetime):
                newest.add_metric([row["monitor"]], at.replace(tzinfo=UTC).timestamp())
            if row.get("quality") is not None:
                quality.add_metric([row["monitor"], row["quality_metric"]], row["quality"])
        yield from (state, newest, quality)
        for name, (key, text) in GAUGES.items():
            family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=["monitor"])
            for row in self._rows:
                if row.get(key) is not None:
                    family.add_metric([row["monitor"]], float(row[key]))
            yield family

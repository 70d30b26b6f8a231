"""Counters and histograms of the collector, shown by `prometheus_client` in its text format.

They are plain dictionaries of one event loop: a labelled counter of `prometheus_client` costs 1.6 us per count, a
dictionary 0.1 (a request counts five times and takes 45 us in all), so only what is shown is made with it, at a scrape.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from prometheus_client import CollectorRegistry, generate_latest, utils
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector as Source

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PREFIX = "sightline_collector"

_number_text: Callable[[float], str] = cast("Any", utils).floatToGoString  # it has no types

Labels = tuple[tuple[str, str], ...]
Gauges = Iterable[tuple[str, str, Labels, float]]


class Histogram:
    """Counts per bucket of one quantity in seconds."""

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def family(self, name: str, text: str) -> Metric:
        """As Prometheus knows it: cumulative counts per upper bound."""
        buckets: list[tuple[str, float]] = []
        running = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            running += count
            buckets.append((_number_text(bound), running))
        return HistogramMetricFamily(name, text, buckets=buckets, sum_value=self.total)


class Metrics:
    """All metrics of one collector process; used by its event loop alone."""

    def __init__(self) -> None:
        self.events: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        """(monitor, kind, outcome) -> number; outcome: accepted, duplicate, rejected."""
        self.rejections: defaultdict[tuple[str, str], int] = defaultdict(int)
        """(monitor, reason) -> number."""
        self.responses: defaultdict[tuple[str, int], int] = defaultdict(int)
        """(format, status) -> number."""
        self.received_bytes = 0
        self.observer_errors = 0
        self.recovered_events = 0
        self.seconds = Histogram()
        self.commit_seconds = Histogram()

    def note(self, name: str, status: int, seconds: float) -> None:
        """Count one answer to a POST of a format."""
        self.responses[name, status] += 1
        self.seconds.observe(seconds)

    def render(self, gauges: Gauges) -> str:
        """The exposition text.

        Parameters
        ----------
        gauges : iterable of (name, help, labels, value)
            Values known elsewhere; names ending in ``_total`` are counters.
        """
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Families([*self._families(), *_told(gauges)]))
        return generate_latest(registry).decode()

    def _families(self) -> Iterator[Metric]:
        counted: tuple[tuple[str, str, Sequence[str], Mapping[tuple[Any, ...], int]], ...] = (
            ("events", "Rows of requests by what became of them.", ("monitor", "kind", "outcome"), self.events),
            ("rejections", "Rejected rows by reason.", ("monitor", "reason"), self.rejections),
            ("responses", "Answers to POST requests.", ("format", "status"), self.responses),
        )
        for name, text, labels, values in counted:
            family = CounterMetricFamily(f"{PREFIX}_{name}", text, labels=labels)
            for key, value in sorted(values.items()):
                family.add_metric([str(part) for part in key], value)
            yield family
        for name, text, value in (
            ("received_bytes", "Bytes of request bodies as sent.", self.received_bytes),
            ("observer_errors", "Batches a guard failed on.", self.observer_errors),
            ("recovered_events", "Events in segments recovered from killed writers.", self.recovered_events),
        ):
            yield CounterMetricFamily(f"{PREFIX}_{name}", text, value=value)
        yield self.seconds.family(f"{PREFIX}_request_seconds", "Time of POST requests, body to answer.")
        yield self.commit_seconds.family(f"{PREFIX}_commit_seconds", "Time from parsed to durable.")


def _told(gauges: Gauges) -> Iterator[Metric]:
    families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for name, text, labels, value in gauges:
        if name not in families:
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            families[name] = kind(name, text, labels=[label for label, _ in labels])
        families[name].add_metric([value for _, value in labels], value)
    yield from families.values()


class _Families(Source):
    """What is shown at one scrape."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families

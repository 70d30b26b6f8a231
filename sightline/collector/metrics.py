"""Counters and histograms of the collector, written in the Prometheus text format."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

Labels = tuple[tuple[str, str], ...]


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

    def render(self, gauges: Iterable[tuple[str, str, Labels, float]]) -> str:
        """The exposition text.

        Parameters
        ----------
        gauges : iterable of (name, help, labels, value)
            Values known elsewhere; names ending in ``_total`` are counters.
        """
        lines: list[str] = []
        events = {_labels(monitor=m, kind=k, outcome=o): n for (m, k, o), n in self.events.items()}
        _family(
            lines, "sightline_collector_events_total", "counter", "Rows of requests by what became of them.", events
        )
        rejections = {_labels(monitor=m, reason=r): n for (m, r), n in self.rejections.items()}
        _family(lines, "sightline_collector_rejections_total", "counter", "Rejected rows by reason.", rejections)
        responses = {_labels(format=f, status=str(s)): n for (f, s), n in self.responses.items()}
        _family(lines, "sightline_collector_responses_total", "counter", "Answers to POST requests.", responses)
        for name, text, value in (
            ("received_bytes", "Bytes of request bodies as sent.", self.received_bytes),
            ("observer_errors", "Batches a guard failed on.", self.observer_errors),
            ("recovered_events", "Events in segments recovered from killed writers.", self.recovered_events),
        ):
            _family(lines, f"sightline_collector_{name}_total", "counter", text, {(): value})
        _histogram(lines, "sightline_collector_request_seconds", "Time of POST requests, body to answer.", self.seconds)
        _histogram(lines, "sightline_collector_commit_seconds", "Time from parsed to durable.", self.commit_seconds)
        families: dict[str, tuple[str, dict[Labels, float]]] = {}
        for name, text, labels, value in gauges:
            families.setdefault(name, (text, {}))[1][labels] = value
        for name, (text, values) in families.items():
            _family(lines, name, "counter" if name.endswith("_total") else "gauge", text, values)
        return "\n".join(lines) + "\n"


def _labels(**labels: str) -> Labels:
    return tuple(labels.items())


def _family(lines: list[str], name: str, kind: str, text: str, values: Mapping[Labels, float]) -> None:
    lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{_braces(labels)} {value:.17g}" for labels, value in sorted(values.items())]


def _histogram(lines: list[str], name: str, text: str, histogram: Histogram) -> None:
    lines += [f"# HELP {name} {text}", f"# TYPE {name} histogram"]
    running = 0
    for bound, count in zip((*histogram.bounds, "+Inf"), histogram.counts, strict=True):
        running += count
        lines.append(f'{name}_bucket{{le="{bound}"}} {running}')
    lines += [f"{name}_sum {histogram.total:.17g}", f"{name}_count {running}"]


def _braces(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')

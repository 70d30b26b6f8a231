"""Row guards: the contract of the spec and of the reference, checked on every event as it comes in.

A broken *hard* rule (type, contract range, allowed values, missing where none may be) raises an alert at once. *Soft*
rules (missing, outside the reference's range, unseen category, stale or future timestamp, duplicate) are rates: each
minute their counts go through the same e-SR evidence as the daily alerts, under the monitor's own budget, and an alert
is raised when that evidence rejects. Counts per minute, column and rule are kept for `/metrics` and written for the
checks of the asset `inferences`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from metrics_py.alerting import Engine, EngineConfig, Statistic
from sightline.collector.screening import ROWS, UNKNOWN, Findings, KnownColumn, Screen
from sightline.log.events import InferenceEvent
from sightline.spec.model import MonitorSpec

HARD = ("bad_type", "missing_required", "out_of_contract", "not_allowed")
SOFT = ("missing", "out_of_range", "unseen", "stale", "future", "duplicate")
MAX_UNKNOWN = 100
OTHER = "@other"
"""A sender may invent names of columns without end: so many unknown ones are counted by name, the rest under this one.
"""

QUIET = timedelta(minutes=10)
"""An alert closes after this long without a new violation, and may then be raised again."""


@dataclass(frozen=True)
class GuardAlert:
    """One line of the alert log."""

    at: datetime
    monitor: str
    column: str
    rule: str
    state: str
    n: int
    n_events: int
    message: str
    example: str | None = None
    evidence: float | None = None


class RowGuards:
    """Checks events of one monitor; a single writer (the collector's event loop) calls it.

    Parameters
    ----------
    spec : MonitorSpec
        The contract.
    reference : mapping, optional
        Column name -> `KnownColumn`; without it only the spec's own rules apply.
    stale_after : timedelta
        A prediction older than this on arrival is stale.
    """

    def __init__(
        self,
        spec: MonitorSpec,
        reference: Mapping[str, KnownColumn] | None = None,
        *,
        stale_after: timedelta = timedelta(days=1),
    ) -> None:
        self.spec = spec
        self._stale_after = stale_after
        self.learn(reference or {})
        self.totals: Counter[tuple[str, str]] = Counter()
        self.n_events = 0
        self._minute: datetime | None = None
        self._counts: Counter[tuple[str, str]] = Counter()
        self._minute_events = 0
        self._open: dict[tuple[str, str], datetime] = {}
        self._unknown: set[str] = set()

    def learn(self, reference: Mapping[str, KnownColumn]) -> None:
        """From now on check against this reference."""
        self._screen = Screen(self.spec, reference, self._stale_after)

    def screen(self, events: Sequence[InferenceEvent], received_at: datetime) -> Findings:
        """Look at a batch without counting it yet."""
        return self._screen.look(events, received_at)

    def observe(self, events: Sequence[InferenceEvent], received_at: datetime, duplicates: int = 0) -> list[GuardAlert]:
        """Look at a batch and count it; see `apply`."""
        return self.apply(self.screen(events, received_at), received_at, duplicates)

    def apply(self, findings: Findings, received_at: datetime, duplicates: int = 0) -> list[GuardAlert]:
        """Count what was found in a batch; returns the alerts of hard rules that are broken for the first time."""
        found: Counter[tuple[str, str]] = Counter()
        for (column, rule), n in findings.counts.items():
            found[self._unknown_name(column) if rule == UNKNOWN else column, rule] += n
        if duplicates:
            found[ROWS, "duplicate"] += duplicates
        self.n_events += findings.n_events
        self._minute_events += findings.n_events
        self._counts.update(found)
        self.totals.update(found)
        raised = (
            self._raise(received_at, column, rule, n, findings.n_events, findings.examples)
            for (column, rule), n in found.items()
            if rule in HARD
        )
        return [alert for alert in raised if alert is not None]

    def _unknown_name(self, name: str) -> str:
        """The name under which an unknown column is counted."""
        if name not in self._unknown:
            if len(self._unknown) >= MAX_UNKNOWN:
                return OTHER
            self._unknown.add(name)
        return name

    def _raise(
        self,
        at: datetime,
        column: str,
        rule: str,
        n: int,
        n_events: int,
        examples: Mapping[tuple[str, str], Any],
        evidence: float | None = None,
    ) -> GuardAlert | None:
        """An alert, unless the same one is still open and was raised in this window: each window shows its own."""
        last = self._open.get((column, rule))
        self._open[column, rule] = at
        if last is not None and at - last < QUIET and self.spec.floor(last) == self.spec.floor(at):
            return None
        example = examples.get((column, rule))
        text = None if example is None else str(example)[:200]
        return GuardAlert(
            at,
            self.spec.id,
            column,
            rule,
            "open",
            n,
            n_events,
            _message(self.spec, column, rule, n, n_events),
            text,
            evidence,
        )

    def close_minute(self, now: datetime) -> tuple[list[dict[str, Any]], int] | None:
        """Counts of the last finished minute, once.

        They are rows ``{minute, column, rule, n, n_events}`` and its number of events.

        Returns None while the minute still runs, or when nothing came in.
        """
        minute = now.replace(second=0, microsecond=0)
        if self._minute is None:
            self._minute = minute
        if minute == self._minute:
            return None
        finished, counts, n_events = self._minute, self._counts, self._minute_events
        self._minute, self._counts, self._minute_events = minute, Counter(), 0
        if n_events == 0 and not counts:
            return None
        rows = [
            {"minute": finished, "column": column, "rule": rule, "n": n, "n_events": n_events}
            for (column, rule), n in sorted(counts.items())
        ]
        return rows or [{"minute": finished, "column": ROWS, "rule": "none", "n": 0, "n_events": n_events}], n_events

    def close_quiet(self, now: datetime) -> list[GuardAlert]:
        """Alerts whose rule has not been broken for `QUIET` are closed."""
        quiet = [key for key, last in self._open.items() if now - last >= QUIET]
        for key in quiet:
            del self._open[key]
        return [
            GuardAlert(
                now,
                self.spec.id,
                column,
                rule,
                "closed",
                0,
                0,
                f"{rule} of {column}: none for {QUIET.seconds // 60} minutes",
            )
            for column, rule in quiet
        ]

    def soft_alert(
        self, at: datetime, column: str, rule: str, n: int, n_events: int, evidence: float
    ) -> GuardAlert | None:
        """The alert of a rate that left its bound."""
        return self._raise(at, column, rule, n, n_events, {}, evidence)


def _message(spec: MonitorSpec, column: str, rule: str, n: int, n_events: int) -> str:
    feature = spec.columns.features.get(column)
    bounds = {
        "bad_type": f"expected {feature.kind}" if feature else "wrong type",
        "missing_required": "nullable: false",
        "out_of_contract": f"contract {feature.min} to {feature.max}" if feature else "contract 0 to 1",
        "not_allowed": f"allowed: {', '.join((feature.allowed or ())[:10])}" if feature else "",
    }.get(rule, "rate left its usual level")
    return f"{rule} in column {column!r}: {n} of {n_events} events ({bounds})"


class RateGuard:
    """Evidence on minute counts: the engine of the daily alerts at a window of a minute.

    There is one stream per (column, soft rule).

    The budget is as large as the monitor's and held beside it. A stream starts when its rule is first broken and may
    alarm after `warmup` minutes in which events came in.
    """

    def __init__(self, spec: MonitorSpec, warmup: int = 120) -> None:
        minute = timedelta(minutes=1)
        config = EngineConfig(
            threshold_windows=spec.alerts.budget.windows(minute),
            window=minute,
            season=None,
            warmup=warmup,
            new_normal_after=60,
        )
        self._engine = Engine(config)
        self._keys: dict[str, tuple[str, str]] = {}

    def update(
        self, minute: datetime, rows: Iterable[Mapping[str, Any]], n_events: int
    ) -> list[tuple[str, str, int, float]]:
        """One finished minute -> the rates that left their bound: (column, rule, n, evidence in minutes)."""
        counts: Counter[str] = Counter()
        for row in rows:
            if row["rule"] in SOFT:
                name = f"{row['column']}\x1f{row['rule']}"
                self._keys[name] = (row["column"], row["rule"])
                counts[name] += int(row["n"])
        if not self._keys or n_events == 0:
            return []
        variance = 1 / (4 * n_events)
        stats = {
            name: Statistic(math.asin(math.sqrt((min(counts[name], n_events) + 0.375) / (n_events + 0.75))), variance)
            for name in self._keys
        }
        decision = self._engine.update(minute, stats)
        position = {int(stream): k for k, stream in enumerate(decision.streams)}
        found: list[tuple[str, str, int, float]] = []
        for stream in decision.rejected:
            name = self._engine.streams[int(stream)]
            evidence = float(decision.evidence[position[int(stream)]])
            found.append((*self._keys[name], counts[name], evidence))
        return found

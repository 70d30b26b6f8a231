"""Operational facts in the windows of an incident: failed data tests, freshness that was missed, failed runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sightline.alerts.causes.case import Case, Cause, OperationalFact
from sightline.alerts.causes.events import NEAR_BEFORE, OFTEN_BROKEN, when
from sightline.alerts.operational import Seen
from sightline.spec.model import MonitorSpec
from sightline.spec.windows import is_key

SCORES = {"check": 0.738, "freshness": 0.736, "run": 0.734}
"""Kind of a fact -> score: below what was done and broken rules, above slices and concept and covariate shift."""
BELOW_FEED = 0.01
"""A feed in the same windows is what the failure did to the data: it comes first."""
MORE = {"check": "failed checks", "freshness": "missed deadlines", "run": "failed flows"}


def facts_of(
    spec: MonitorSpec, seen: Iterable[tuple[datetime, Seen]], told_as_rules: set[str]
) -> list[OperationalFact]:
    """Failures among what was seen, oldest first.

    What failed and was seen well again in the same look is left out, as nobody is told of it.

    Parameters
    ----------
    spec : MonitorSpec
        Of the monitor.
    seen : iterable of (datetime, Seen)
        As `sightline.alerts.operational.read` gives it.
    told_as_rules : set of str
        Causes that the judgements tell as broken rules already.

    Returns
    -------
    list of OperationalFact
    """
    by_cause: dict[str, list[tuple[datetime, Seen]]] = {}
    for looked, entry in seen:
        if entry.cause not in told_as_rules:
            by_cause.setdefault(entry.cause, []).append((looked, entry))
    found: list[OperationalFact] = []
    for entries in by_cause.values():
        for i, (looked, entry) in enumerate(entries):
            if not entry.is_failing:
                continue
            items, until = _left(entry, looked, entries[i + 1 :])
            if items:
                windows = tuple(_naive(spec.window_start(item)) for item in sorted(items) if is_key(spec, item))
                found.append(OperationalFact(_naive(entry.at), until, entry.kind, entry.cause, entry.words, windows))
    return sorted(found, key=lambda fact: fact.at)


def _left(entry: Seen, looked: datetime, later: Sequence[tuple[datetime, Seen]]) -> tuple[set[str], datetime | None]:
    """Items that still failed when it was looked at, and when the last of them was well again."""
    items = set(entry.items)
    for look, other in later:
        if look == looked and not other.is_failing:
            items -= set(other.items)
    failing = set(items)
    for look, other in later:
        if look != looked and not other.is_failing:
            failing -= set(other.items)
            if not failing:
                return items, _naive(other.at)
    return items, None


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def operations(case: Case) -> Iterator[Cause]:
    """One cause per kind of fact that fell into the windows since the change, and not in most of those before."""
    by_kind: dict[str, list[list[OperationalFact]]] = {}
    by_cause: dict[str, list[OperationalFact]] = {}
    for fact in case.operations:
        by_cause.setdefault(fact.cause, []).append(fact)
    for facts in by_cause.values():
        since = [fact for fact in facts if _lies_in(case, fact)]
        if since and len(_before(case, facts)) <= OFTEN_BROKEN * case.before_windows:
            by_kind.setdefault(facts[0].kind, []).append(since)
    for kind, causes in by_kind.items():
        causes.sort(key=lambda facts: (facts[0].at, facts[0].cause))
        more = f" (and {len(causes) - 1} more {MORE[kind]})" if len(causes) > 1 else ""
        yield Cause("operations", causes[0][0].words + more, _evidence(case, causes[0]), SCORES[kind])


def below_feeds(found: Sequence[Cause]) -> list[Cause]:
    """Causes of which those by operational facts rank below every feed."""
    feeds = [cause.score for cause in found if cause.kind == "feed"]
    most = min(feeds, default=1.0) - BELOW_FEED
    return [replace(c, score=min(c.score, most)) if c.kind == "operations" else c for c in found]


def _lies_in(case: Case, fact: OperationalFact) -> bool:
    """Whether a fact is about a window since the change; without windows its time tells."""
    if fact.windows:
        return any(case.began <= window <= case.last_after for window in fact.windows)
    end = case.last_after + 2 * case.window  # a window is worked up when it is over
    if fact.kind == "freshness":  # what is late was late before its windows moved, and as long as it lasts
        is_over = fact.until is not None and fact.until <= case.began
        return case.began - NEAR_BEFORE * case.window <= fact.at < end and not is_over
    return case.began <= fact.at < end


def _before(case: Case, facts: Sequence[OperationalFact]) -> set[int]:
    """Windows before the change, counted from the first that is looked at, in which the same failed."""
    moments = [moment for fact in facts if not fact.windows and not _lies_in(case, fact) for moment in (fact.at,)]
    moments += [window for fact in facts for window in fact.windows]
    return {(at - case.first_before) // case.window for at in moments if case.first_before <= at < case.began}


def _evidence(case: Case, facts: Sequence[OperationalFact]) -> str:
    first = facts[0]
    own = sorted({w for fact in facts for w in fact.windows if case.began <= w <= case.last_after})
    total = (case.last_after - case.began) // case.window + 1
    told = f"in {len(own)} of the {total} windows since the change began; " if own else ""
    told += f"first seen {when(case, first.at)}"
    if len(facts) > 1:
        told += f"; {len(facts)} times"
    until = facts[-1].until
    return told if until is None else f"{told}; well again since {until:%Y-%m-%d %H:%M} UTC"

"""What every check of a monitor says of every window, and the checks of `alerts`, the traffic light.

`open_incidents` fails while an incident is open and has not settled, and warns where it is acknowledged; `hard_rules`
fails while a rule of the monitor's file is broken; `coverage` warns when something ceases to be judged, or is left out
for another reason than before. Where labels are expected a fourth, `label_freshness`, fails while none has come for
longer than is usual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase

from metrics_py.reasons import ReasonCode
from metrics_py.wording import day
from sightline.home import MonitorPaths
from sightline.judging import label_freshness, row_guards
from sightline.judging.intake_contract import intake_verdicts
from sightline.judging.label_freshness import LabelFeed, freshness_verdicts, label_feed
from sightline.judging.outgrown_reference import outgrown, with_reference
from sightline.judging.published import IncidentMember, Judgement, Published, StreamState, read_published
from sightline.judging.row_guards import guard_verdicts
from sightline.judging.standing import Standing, is_away, standing
from sightline.judging.verdicts import FactTable, Verdict, judged, speaker, verdicts
from sightline.spec import plan
from sightline.spec.flows import DELAYED, INTAKE_ASSETS
from sightline.spec.model import MonitorSpec
from sightline.spec.plan import PlannedCheck
from sightline.spec.stretches import is_over_stretch, stretch_of

ALERTS = "alerts"
Found = Iterator[tuple[PlannedCheck, str, Verdict]]
LOUD: frozenset[ReasonCode | str] = frozenset({"no_reference", "column_named_later", "no_labels", "imprecise"})
"""Reasons that somebody should look into at once; all others count when they last as long as the warm-up."""
SILENT = ("no_predictions", "pause")
"""Reasons of windows in which nothing came."""
SHOWN = 6
TO_DO = (
    "Follow the streams that moved first upstream. You are at it: `sightline acknowledge`. Mended: `sightline fixed`. "
    "A new normal: `sightline accept`."
)
STANDINGS: dict[Standing, str] = {
    "open": "open",
    "acknowledged": "acknowledged",
    "near": "near its old level in this window",
    "holiday": "not judged on a listed day",
    "withdrawn": "what was decided on this window was withdrawn: nothing is left of it",
    "settled": "settled",
    "answered": "answered",
}
"""What is said of an incident in one window: the first of these that one of its streams has."""
ADVICE = (
    "Judge longer windows (`schedule`), ask for fewer rows (`drift.min_rows`, `quality.min_labels`), mend what the "
    "reason names, or list it under `alerts.not_judged`."
)


def evaluate(
    spec: MonitorSpec, paths: MonitorPaths, asset: str, checks: Sequence[PlannedCheck], keys: Sequence[str]
) -> Found:
    """Verdicts of some checks of one asset for some windows.

    Parameters
    ----------
    spec : MonitorSpec
    paths : MonitorPaths
    asset : str
        Name of the asset.
    checks : sequence of PlannedCheck
        Those of the asset to evaluate.
    keys : sequence of str
        Windows, at least one.

    Yields
    ------
    (check, window key, Verdict)
        Nothing where there is too little for a verdict.
    """
    if asset in INTAKE_ASSETS:
        guards = [check for check in checks if check.name == row_guards.CHECK]
        yield from intake_verdicts(spec, paths, asset, [check for check in checks if check not in guards], keys)
        yield from guard_verdicts(spec, paths, guards, keys)
        return
    if asset == ALERTS:
        found = _traffic_light(spec, paths, checks, keys)
    else:
        found = _judged(spec, asset, checks, keys, read_published(spec, paths, asset, keys))
    for check, key, verdict in found:
        tell = {"tell": ", ".join(spec.alerts.notify)} if verdict.level == "error" and spec.alerts.notify else {}
        yield check, key, replace(verdict, facts={**verdict.facts, **tell})


def _judged(
    spec: MonitorSpec, asset: str, checks: Sequence[PlannedCheck], keys: Sequence[str], known: Published
) -> Found:
    wanted = set(keys)
    for check, start, verdict in verdicts(asset, checks, known):
        key = spec.key(start)
        if key in wanted:
            yield check, key, verdict


def _traffic_light(
    spec: MonitorSpec, paths: MonitorPaths, checks: Sequence[PlannedCheck], keys: Sequence[str]
) -> Found:
    by_asset: dict[str, list[PlannedCheck]] = {}
    for check in plan.checks(spec):
        if check.asset != ALERTS:
            by_asset.setdefault(check.asset, []).append(check)
    published = {asset: read_published(spec, paths, asset, keys) for asset in by_asset if asset not in INTAKE_ASSETS}
    feed = label_feed(spec, paths, keys)
    for check in checks:
        if check.name == "open_incidents":
            found = open_incidents(spec, next(iter(published.values())), keys)
        elif check.name == "hard_rules":
            found = _hard_rules(spec, paths, by_asset, published, keys)
        elif check.name == label_freshness.CHECK:
            found = freshness_verdicts(spec, feed, keys)
        else:
            found = with_reference(coverage(spec, by_asset, published, keys, feed), outgrown(spec, paths))
        for key, verdict in found:
            yield check, key, verdict


# ---------------------------------------------------------------- open_incidents


def open_incidents(spec: MonitorSpec, published: Published, keys: Sequence[str]) -> Iterator[tuple[str, Verdict]]:
    """Verdicts of the check `open_incidents`: it fails on windows in which a member of an open incident is away.

    So it does on those in which the member is not judged yet, as its labels are still to come.

    Parameters
    ----------
    spec : MonitorSpec
    published : Published
        Streams of all assets and all members, as from `read_published` for any asset.
    keys : sequence of str
        Windows.

    Yields
    ------
    (window key, Verdict)
        Nothing for windows that the alert engine has not decided.
    """
    members: dict[str, list[IncidentMember]] = {}
    for member in published.members:
        members.setdefault(member.incident_id, []).append(member)
    states: dict[datetime, list[StreamState]] = {}
    for state in (*published.streams, *published.waiting):
        states.setdefault(state.window_start, []).append(state)
    for key in keys:
        here = states.get(spec.window_start(key).replace(tzinfo=None))
        if here is not None:
            yield key, _of_window(here, members)


def _of_window(states: Sequence[StreamState], members: dict[str, list[IncidentMember]]) -> Verdict:
    by_incident: dict[str, list[StreamState]] = {}
    for state in states:
        if state.in_incident and state.incident_id:
            by_incident.setdefault(state.incident_id, []).append(state)
    at = states[0].window_start
    stories: list[tuple[datetime, str, str]] = []
    for incident, inside in by_incident.items():
        own = [m for m in members.get(incident, []) if m.stream in {s.stream for s in inside}]
        standings = [standing(s, members) for s in inside]
        state = next((words for name, words in STANDINGS.items() if name in standings), "open")
        began = min((m.began or m.change_point for m in own), default=at)
        stories.append((began, state, _story(incident, own, inside, f"{state}, {_how_many(inside, members)}")))
    stories.sort(key=lambda story: story[0], reverse=True)
    n_open, n_seen = (sum(state == STANDINGS[name] for _, state, _ in stories) for name in ("open", "acknowledged"))
    facts = {"open": n_open, "acknowledged": n_seen, "waiting for a word": len(stories) - n_open - n_seen}
    if not stories:
        return Verdict("ok", "No incident is open.", facts)
    text = " ".join(story for _, _, story in stories)
    if n_seen and not n_open:
        return Verdict("warn", text, facts, cause="incident")
    if not n_open:
        return Verdict("ok", f"No check fails for these. {text}", facts)
    return Verdict("error", text, {**facts, "what to do": TO_DO}, cause="incident")


def _how_many(inside: Sequence[StreamState], members: dict[str, list[IncidentMember]]) -> str:
    """How many of the streams are away, and of how many that is not known yet."""
    judged_here = [s for s in inside if s.known_to is None]
    waiting = [s.known_to for s in inside if s.known_to is not None]
    n_away = sum(is_away(s, members) for s in judged_here)
    away = f"{n_away} of {len(judged_here)} streams away" if judged_here else ""
    still = f"{len(waiting)} not judged yet after {day(max(waiting))}" if waiting else ""
    return ", ".join(filter(None, (away, still)))


def _story(incident: str, own: Sequence[IncidentMember], inside: Sequence[StreamState], state: str) -> str:
    ranked = sorted(own, key=lambda m: m.rank)
    names = [m.words for m in ranked[:SHOWN]] or sorted(s.stream for s in inside)[:SHOWN]
    rest = f" and {len(inside) - len(names)} more" if len(inside) > len(names) else ""
    began = min((m.began or m.change_point for m in own), default=None)
    since = f" since {day(began)}" if began else ""
    return f"Incident {incident}{since} ({state}): {'; '.join(names)}{rest}."


# ---------------------------------------------------------------- hard_rules


def _hard_rules(
    spec: MonitorSpec,
    paths: MonitorPaths,
    by_asset: dict[str, list[PlannedCheck]],
    published: dict[str, Published],
    keys: Sequence[str],
) -> Iterator[tuple[str, Verdict]]:
    broken: dict[str, list[tuple[str, str]]] = {}
    for asset, checks in by_asset.items():
        found = (
            evaluate(spec, paths, asset, checks, keys)
            if asset in INTAKE_ASSETS
            else _judged(spec, asset, checks, keys, published[asset])
        )
        for check, key, verdict in found:
            told = broken.setdefault(key, [])
            if verdict.level == "error" and verdict.cause == "rule":
                told.append((check.name, verdict.text))
    for key, found in sorted(broken.items()):
        if not found:
            yield key, Verdict("ok", "No hard rule is broken.", {"broken": 0})
            continue
        text = " ".join(f"{name}: {said}" for name, said in found[:SHOWN])
        rest = f" And {len(found) - SHOWN} more." if len(found) > SHOWN else ""
        table = FactTable(("check", "what it says"), tuple(found))
        yield key, Verdict("error", text + rest, {"broken": len(found), "rules": table}, cause="rule")


# ---------------------------------------------------------------- coverage


def coverage(
    spec: MonitorSpec,
    by_asset: dict[str, list[PlannedCheck]],
    published: dict[str, Published],
    keys: Sequence[str],
    feed: LabelFeed | None = None,
) -> Iterator[tuple[str, Verdict]]:
    """Verdicts of the check `coverage`: it warns where a check ceases to be judged, or lacks for another reason.

    Parameters
    ----------
    spec : MonitorSpec
    by_asset : dict
        Asset -> its checks.
    published : dict
        Asset -> what was published of it, also of the windows before.
    keys : sequence of str
        Windows, at least one.
    feed : LabelFeed, optional
        When labels came: what waits for labels that are overdue says so.

    Yields
    ------
    (window key, Verdict)
        Nothing for windows of which nothing was judged.
    """
    seen = label_freshness.seen_at(spec, max(keys))
    found = _covered(spec, by_asset, published, lambda key: feed.waits(key, seen) if feed is not None else "")
    for key in keys:
        here = found.get(spec.window_start(key).replace(tzinfo=None))
        if here is not None:
            yield key, _coverage_verdict(spec, here)


def _coverage_verdict(spec: MonitorSpec, here: _Coverage) -> Verdict:
    now, fresh, long = here.lacking, here.fresh, sorted(here.long)
    facts: dict[str, object] = {"not judged": len(now)}
    stretch = stretch_of(spec)
    every = ""
    if long and stretch:
        facts[f"judged every {stretch.words}"] = ", ".join(long)
        rest = f" and {len(long) - SHOWN} more" if len(long) > SHOWN else ""
        every = f" Judged every {stretch.words}: {', '.join(long[:SHOWN])}{rest}."
    if now:
        facts |= {"checks": FactTable(("check", "why"), tuple(sorted(now.items()))), "what to do": ADVICE}
    if fresh:
        return Verdict("warn", f"No longer judged: {_listed(fresh)}{every}", facts, cause="evidence")
    text = (
        "Nothing has ceased to be judged." if not here.is_silent else "Nothing came: there is only the volume to judge."
    )
    text = f"Not judged, as before: {_listed(now)}" if now else text
    return Verdict("ok", text + every, facts)


def _listed(reasons: dict[str, str]) -> str:
    by_reason: dict[str, list[str]] = {}
    for name, reason in sorted(reasons.items()):
        by_reason.setdefault(reason, []).append(name)
    parts = [
        f"{', '.join(names[:SHOWN])}{f' and {len(names) - SHOWN} more' if len(names) > SHOWN else ''} ({reason})"
        for reason, names in by_reason.items()
    ]
    return "; ".join(parts) + "."


@dataclass
class _Coverage:
    """What is not judged in one window: check -> kind of reason, which does not change with the numbers."""

    lacking: dict[str, str] = field(default_factory=dict[str, str])
    fresh: dict[str, str] = field(default_factory=dict[str, str])
    """Those that were judged, or lacked for another reason, when the check was last looked at."""
    long: list[str] = field(default_factory=list[str])
    """Checks that are judged over several windows together."""
    is_silent: bool = False
    """Whether nothing came."""


def _covered(
    spec: MonitorSpec,
    by_asset: dict[str, list[PlannedCheck]],
    published: dict[str, Published],
    waits: Callable[[str], str],
) -> dict[datetime, _Coverage]:
    found = {row.window_start: _Coverage() for known in published.values() for row in known.judgements}
    for asset, known in published.items():
        for check, rows in judged(by_asset[asset], known):
            if _is_known(spec, check):
                continue
            lasting = _Lasting(spec, is_long=check.column in known.long)
            for start, candidates in sorted(rows.items()):
                main, before = speaker(check, candidates), lasting.told
                reason = lasting.reason(main, waits(spec.key(start)) if asset in DELAYED.judges else "")
                here = found[start]
                here.is_silent |= main.reason_code in SILENT
                if lasting.is_over_stretches(main):
                    here.long.append(check.name)
                if reason:
                    here.lacking[check.name] = reason
                if reason and reason != before:
                    here.fresh[check.name] = reason
    return found


class _Lasting:
    """Since when one check has lacked, window by window.

    Parameters
    ----------
    spec : MonitorSpec
    is_long : bool
        Whether streams of the check are over stretches: they judge what a window has too few rows for.
    """

    def __init__(self, spec: MonitorSpec, *, is_long: bool) -> None:
        self.patience = (spec.warmup_windows - 1) * spec.window
        self.is_long = is_long
        self.since: datetime | None = None
        self.told = ""

    def is_over_stretches(self, row: Judgement) -> bool:
        """Whether the check is judged over stretches, by what it says of one window."""
        is_short = self.is_long and row.status == "insufficient_data" and row.reason_code == "too_few_rows"
        return is_short or row.reason_code == "judged_later" or is_over_stretch(row.reason)

    def reason(self, row: Judgement, waits: str = "") -> str:
        """Why the check is not judged, empty while that is not known: between two stretches it is as it was.

        `waits` says what it waits for, if for something that does not come: that is the reason then.
        """
        code, is_over = row.reason_code or "", is_over_stretch(row.reason)
        is_told_by_streams = (is_over and code == "unclear") or (
            self.is_long and not is_over and code == "too_few_rows"
        )
        if row.status != "insufficient_data" or is_told_by_streams:
            self.since, self.told = None, ""
            return ""
        self.since = self.since or row.window_start
        if code != "judged_later":
            is_lasting = code in LOUD or row.window_start - self.since >= self.patience
            self.told = (waits or code.replace("_", " ") or "not enough data") if is_lasting else ""
        return self.told


def _is_known(spec: MonitorSpec, check: PlannedCheck) -> bool:
    names = [name for name in (check.name, check.column, check.metric) if name]
    return any(fnmatchcase(name, pattern) for pattern in spec.alerts.not_judged for name in names)

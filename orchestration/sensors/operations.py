"""What a finished run says of a monitor's operations: failed or well again, and which hard rules broke."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from dagster import DagsterEventType, DagsterRunStatus

from orchestration import partitions
from sightline.alerts.operational import LABELS, Seen
from sightline.judging import label_freshness
from sightline.spec.flows import BACKFILL, DELAYED, IMMEDIATE
from sightline.spec.model import MonitorSpec

ENDED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
CHOSEN = "chosen assets"
"""Stands for a flow: what somebody materialized by hand."""
COVERS = {BACKFILL: (BACKFILL, IMMEDIATE.name, DELAYED.name, CHOSEN)}
"""Flow -> flows whose failed windows are well again where a run of it succeeded; others: itself."""
UNTOLD = frozenset({"open_incidents", "hard_rules", "coverage", "row_guards"})
"""Checks that sum up others, or that others tell of."""
CANDIDATES = "evaluation"
"""The asset whose checks are about candidates: what is not in production calls nobody."""
OVERLAP = timedelta(seconds=60)
"""Runs that ended so long before the newest one seen are looked for again: another process may have been slower."""
FIRST_LOOK = timedelta(days=1)
"""A sensor that has never looked begins so long ago."""
MAX_RUNS, MAX_EVENTS, MAX_WORDS = 500, 200_000, 400
CLASS_PATH = re.compile(r"^(?:\w+\.)+(?:(?:Failure|SightlineError): |(?=\w+:))")
"""The module of an error's class, and the class where it says no more than that something failed."""
FEEDS = {"labels": "labels", "model_quality": "labels"}
"""Asset -> the feed whose standstill makes it stale; all others: `inferences`."""


@dataclass(frozen=True)
class Cursor:
    """What the sensor remembers: how far it has looked, and which runs of the last minute it has seen.

    Parameters
    ----------
    at : float
        When the newest run seen was last updated (seconds since 1970).
    recent : tuple of str
        Ids of runs updated within `OVERLAP` before.
    event : int
        The newest change of freshness seen.
    """

    at: float
    recent: tuple[str, ...] = ()
    event: int = -1

    @classmethod
    def load(cls, text: str | None, now: datetime) -> Cursor:
        """Read a cursor; an absent or unknown one begins `FIRST_LOOK` ago."""
        try:
            data: dict[str, Any] = json.loads(text) if text else {}
            return cls(float(data["at"]), tuple(map(str, data["recent"])), int(data["event"]))
        except (ValueError, TypeError, KeyError):
            return cls((now - FIRST_LOOK).timestamp())

    def dump(self) -> str:
        """The cursor as JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))


@dataclass(frozen=True)
class EndedRun:
    """A run that has ended.

    Parameters
    ----------
    id, monitor, flow : str
    updated, ended : datetime
        When its record was last changed, and when it ended (aware).
    status : str
        ``SUCCESS``, ``FAILURE`` or ``CANCELED``.
    windows : tuple of str
        Its partitions; none: empty text.
    failures : tuple of (str, str)
        Steps that failed, with the first line of the error.
    checks : tuple
        The last evaluation of each check, as `CheckResult`.
    """

    id: str
    monitor: str
    flow: str
    updated: datetime
    ended: datetime
    status: str
    windows: tuple[str, ...] = ("",)
    failures: tuple[tuple[str, str], ...] = ()
    checks: tuple[CheckResult, ...] = ()


@dataclass(frozen=True)
class CheckResult:
    """The last evaluation of a check in a run."""

    asset: str
    name: str
    is_broken: bool
    blocking: bool
    window: str
    words: str


@dataclass
class Listing:
    """Runs in the order in which their records changed, and how far that goes."""

    runs: list[EndedRun]
    cursor: Cursor


def look(instance: dg.DagsterInstance, cursor: Cursor, specs: Mapping[str, MonitorSpec]) -> Listing:
    """Runs that have ended since the cursor, a bounded number of them; it goes on from there next time.

    Works with every storage of Dagster: events are read by run, never across runs.
    """
    after = datetime.fromtimestamp(cursor.at, UTC) - OVERLAP
    filters = dg.RunsFilter(statuses=ENDED, updated_after=after)
    records = instance.get_run_records(filters, limit=MAX_RUNS, order_by="update_timestamp", ascending=True)
    if len(records) == MAX_RUNS and _aware(records[-1].update_timestamp).timestamp() <= cursor.at:
        filters = dg.RunsFilter(statuses=ENDED, updated_after=datetime.fromtimestamp(cursor.at, UTC))
        records = instance.get_run_records(filters, limit=MAX_RUNS, order_by="update_timestamp", ascending=True)
    found: list[EndedRun] = []
    for record in records:
        run = record.dagster_run
        monitor = _monitor_of(run)
        if run.run_id not in cursor.recent and monitor in specs:
            found.append(_ended_run(instance, record, monitor, specs[monitor]))
    newest = max([cursor.at, *(_aware(record.update_timestamp).timestamp() for record in records)])
    since = newest - OVERLAP.total_seconds()
    recent = [r.dagster_run.run_id for r in records if _aware(r.update_timestamp).timestamp() >= since]
    return Listing(found, Cursor(newest, tuple(recent), cursor.event))


def _ended_run(instance: dg.DagsterInstance, record: Any, monitor: str, spec: MonitorSpec) -> EndedRun:
    run = record.dagster_run
    failures: dict[str, str] = {}
    checks: dict[tuple[str, str], CheckResult] = {}
    kinds = {DagsterEventType.ASSET_CHECK_EVALUATION, DagsterEventType.STEP_FAILURE, DagsterEventType.RUN_FAILURE}
    page: str | None = None
    for _ in range(MAX_EVENTS // 1000):
        found = instance.get_records_for_run(run.run_id, cursor=page, of_type=kinds, limit=1000)
        for entry in found.records:
            event = entry.event_log_entry.get_dagster_event()
            if event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION:
                evaluation = event.event_specific_data
                assert isinstance(evaluation, dg.AssetCheckEvaluation)
                result = _check(evaluation)
                checks[result.asset, result.name] = result
            elif event.event_type is DagsterEventType.STEP_FAILURE:
                failures[event.step_key or ""] = _error_of(event)
            elif not failures:
                failures[""] = _error_of(event)
        page = found.cursor
        if not found.has_more:
            break
    ended = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else _aware(record.update_timestamp)
    return EndedRun(
        run.run_id,
        monitor,
        run.tags.get("sightline/flow", CHOSEN),
        _aware(record.update_timestamp),
        ended,
        run.status.value,
        tuple(partitions.windows_in(spec, run.tags)) or ("",),
        tuple(failures.items()),
        tuple(checks.values()),
    )


def _monitor_of(run: dg.DagsterRun) -> str:
    """The monitor that a run is about; empty where it is about none, or several."""
    if tagged := run.tags.get("sightline/monitor"):
        return tagged
    keys = [*(run.asset_selection or ()), *(check.asset_key for check in run.asset_check_selection or ())]
    firsts = {key.path[0] for key in keys}
    return firsts.pop() if len(firsts) == 1 else ""


def _check(evaluation: dg.AssetCheckEvaluation) -> CheckResult:
    """A check is broken if it failed by a hard rule: Sightline's own say why they failed, others are rules."""
    facts = {name: getattr(value, "value", None) for name, value in evaluation.metadata.items()}
    is_rule = facts.get("cause", "rule") == "rule" and ("window" not in facts or "cause" in facts)
    is_error = not evaluation.passed and evaluation.severity is dg.AssetCheckSeverity.ERROR
    return CheckResult(
        asset="/".join(evaluation.asset_key.path[1:]) or evaluation.asset_key.path[0],
        name=evaluation.check_name,
        is_broken=is_error and is_rule,
        blocking=bool(evaluation.blocking),
        window=str(facts.get("window") or evaluation.partition or ""),
        words=_one_line(evaluation.description or ""),
    )


def _error_of(event: Any) -> str:
    """The innermost error of a failed step or run, on one line."""
    error = getattr(event.event_specific_data, "error", None)
    while error is not None and error.cause is not None:
        error = error.cause
    text = _one_line(error.message if error is not None else event.message or "")
    return CLASS_PATH.sub("", text, count=1)


def _one_line(text: str) -> str:
    line = " ".join("".join(c if c.isprintable() or c.isspace() else "\ufffd" for c in text).split())
    return line if len(line) <= MAX_WORDS else f"{line[: MAX_WORDS - 3]}..."


def seen_in(run: EndedRun) -> list[Seen]:
    """What a run says of the causes that it is about.

    A run that failed because a check that blocks broke a rule is told by that check alone. Cancelled runs say nothing.
    """
    found = [_of_check(run, check) for check in run.checks if check.name not in UNTOLD and check.asset != CANDIDATES]
    if run.status == DagsterRunStatus.SUCCESS.value:
        found += [
            Seen(f"{run.id}:{flow}", f"run:{flow}", "run", run.ended, is_failing=False, items=run.windows)
            for flow in COVERS.get(run.flow, (run.flow,))
        ]
    elif run.status == DagsterRunStatus.FAILURE.value and not any(c.is_broken and c.blocking for c in run.checks):
        words = f"runs of {run.flow} failed{_steps(run)}{_windows(run.windows)}"
        assets = tuple(sorted({_asset_of(step, run.monitor) for step, _ in run.failures if step}))
        found.append(
            Seen(f"{run.id}:{run.flow}", f"run:{run.flow}", "run", run.ended, True, run.windows, words, run.id, assets)
        )
    return found


def _of_check(run: EndedRun, check: CheckResult) -> Seen:
    if check.name == label_freshness.CHECK:  # one cause, whoever sees it: Dagster's freshness of labels says the same
        return overdue_labels(f"{run.id}:{LABELS}", run.ended, check.words if check.is_broken else "", run.id)
    cause = f"check:{check.asset}:{check.name}"
    words = f"the rule {check.name} of {check.asset} broke{_windows((check.window,))}: {check.words}"
    return Seen(
        f"{run.id}:{cause}", cause, "check", run.ended, check.is_broken,
        words=words if check.is_broken else "", run_id=run.id, assets=(check.asset,),
    )  # fmt: skip


def overdue_labels(name: str, at: datetime, words: str, run_id: str = "") -> Seen:
    """What the check `label_freshness` says: labels are overdue, in `words`; none: they are not."""
    told = words.rstrip(".")
    return Seen(name, LABELS, "freshness", at, bool(words), (label_freshness.CHECK,), told, run_id, ("labels",))


def _steps(run: EndedRun) -> str:
    if not run.failures:
        return ""
    step, error = run.failures[0]
    more = f" and {len(run.failures) - 1} more" if len(run.failures) > 1 else ""
    at = f" at {_asset_of(step, run.monitor)}{more}" if step else ""
    return f"{at}: {error}" if error else at


def _asset_of(step: str, monitor: str) -> str:
    return step.removeprefix(f"{monitor}__")


def _windows(windows: Sequence[str]) -> str:
    known = sorted(window for window in windows if window)
    if not known:
        return ""
    return f" ({known[0]})" if len(known) == 1 else f" ({len(known)} windows, {known[0]} to {known[-1]})"


def seen_of_freshness(changes: Iterable[tuple[int, Any]], specs: Mapping[str, MonitorSpec]) -> dict[str, list[Seen]]:
    """What changes of freshness say, by monitor: (event, FreshnessStateChange)."""
    found: dict[str, list[Seen]] = {}
    for number, change in changes:
        monitor, *rest = change.key.path
        state = change.new_state.value
        if monitor not in specs or state not in ("PASS", "FAIL"):
            continue  # a warning comes before it fails, and no news is known of what was never materialized
        asset = "/".join(rest)
        feed = FEEDS.get(asset, "inferences")
        at = datetime.fromtimestamp(change.state_change_timestamp, UTC)
        words = f"{asset} is not fresh: its deadline has passed" if state == "FAIL" else ""
        cause = f"freshness:{feed}"
        seen = Seen(f"event {number}", cause, "freshness", at, state == "FAIL", (asset,), words, assets=(asset,))
        found.setdefault(monitor, []).append(seen)
    return found


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment

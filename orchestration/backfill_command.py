"""What ``sightline backfill`` becomes: ranges of windows through `materialize_range`, and what their checks say."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import dagster as dg

from orchestration import partitions
from orchestration.backfill import dagster_instance, materialize_range
from orchestration.monitor import Monitor
from orchestration.monitor_definitions import models_of
from orchestration.resources import ensure_manifest
from orchestration.sensors.alert_sensor import tell as hand_over
from orchestration.sensors.flow_sensors import look
from orchestration.sensors.operations import overdue_labels
from orchestration.sensors.run_requests import MAX_BRIDGED, MAX_WINDOWS_PER_RUN, Cursor
from orchestration.sensors.stale_windows import stale_windows
from sightline.alerts.delivery.sending import tell
from sightline.alerts.operational import record
from sightline.clock import utc_now
from sightline.durable import exclusive_if_free
from sightline.errors import SightlineError, error_of_place
from sightline.home import Home
from sightline.judging import label_freshness
from sightline.judging.label_freshness import freshness_verdicts, label_feed
from sightline.judging.verdicts import Verdict
from sightline.lake.intake.fetching import fetch_all
from sightline.lake.intake.growing import SETTLED_SECONDS, is_being_written, told
from sightline.lake.intake.sources import KINDS, pending
from sightline.lake.store.progress import open_progress
from sightline.lake.store.stored_spec import require_current
from sightline.spec.flows import flows_of
from sightline.spec.loader import find_monitor
from sightline.spec.model import MonitorSpec
from sightline.spec.windows import contiguous, is_key, keys_between


@dataclass
class Outcome:
    """What some runs did.

    Attributes
    ----------
    windows : set of str
        Those worked up.
    failed : dict
        (asset, check) -> window -> what a failed check says. A later run's verdict replaces an earlier one.
    """

    windows: set[str] = field(default_factory=set[str])
    failed: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict[tuple[str, str], dict[str, str]])


def backfill(home: Home, spec: MonitorSpec, window_range: Sequence[str] = ()) -> Outcome:
    """Work up a range of windows, or all that are stale, oldest first.

    Parameters
    ----------
    home, spec
        The monitor.
    window_range : sequence of str
        Keys of the first and last window. Empty: every window a sensor would start a run for.

    Returns
    -------
    Outcome

    Raises
    ------
    SightlineError
        A run failed, or the stored data were made under another file of the monitor.
    """
    require_current(spec, home.monitor(spec.id))
    outcome = Outcome()
    if window_range:
        keys = keys_between(spec, *window_range)
        for first, last in contiguous(spec, keys, MAX_WINDOWS_PER_RUN):
            _work_up(home, spec, first, last, outcome)
        return outcome
    _fetch(home, spec)
    _let_files_settle(home, spec)
    seen: set[tuple[str, str, tuple[str, ...]]] = set()
    while found := _next_range(home, spec):
        if found in seen:
            first, last, _ = found
            raise SightlineError(
                f"{first} to {last} are still stale after a run",
                where=spec.id,
                fix="data come in while they are worked up, or a file cannot be loaded: see their check `contract`",
            )
        seen.add(found)
        _work_up(home, spec, found[0], found[1], outcome)
    return outcome


def _fetch(home: Home, spec: MonitorSpec) -> None:
    """Fetch all that the monitor's sources hold; one that cannot be read stops nothing else."""
    for kind in KINDS if spec.labels else KINDS[:1]:
        found = fetch_all(spec, home.monitor(spec.id), kind, home)
        if found is not None and found.problem:
            print(f"warning: {found.problem}", flush=True)


def _let_files_settle(home: Home, spec: MonitorSpec) -> None:
    """Wait until nobody writes to a file that ends in the middle of a line, but not for a writer that goes on."""
    deadline = time.monotonic() + 2 * SETTLED_SECONDS
    paths = home.monitor(spec.id)
    kinds = KINDS if spec.labels else KINDS[:1]
    while unfinished := [
        batch.path for kind in kinds for batch in pending(spec, paths, kind, home) if is_being_written(batch, home)
    ]:
        if time.monotonic() > deadline:
            print(told(unfinished), flush=True)
            return
        time.sleep(0.25)


def _next_range(home: Home, spec: MonitorSpec) -> tuple[str, str, tuple[str, ...]] | None:
    """The earliest range of stale windows and why they are; a run may change what is stale, so it is asked again."""
    monitor = Monitor(spec, home, models_of(ensure_manifest(home)))
    causes: dict[str, list[str]] = {}
    with dagster_instance(home) as instance:
        for flow in flows_of(spec):
            listing = look(monitor, flow, Cursor(), instance)
            for key, why in stale_windows(spec, flow, listing).items():
                causes.setdefault(key, []).append(f"{flow}|{why.token}")
    never = _after_history(spec, causes)
    ranges = contiguous(spec, causes, MAX_WINDOWS_PER_RUN, bridge=MAX_BRIDGED, never=never)
    if not ranges:
        return None
    first, last = ranges[0]
    return first, last, tuple(f"{key}={why}" for key in sorted(causes) if key <= last for why in causes[key])


def _after_history(spec: MonitorSpec, stale: Collection[str]) -> set[str]:
    """Windows between the last but one stale window and the last: nothing asks for them.

    The last one may stand for files whose windows are not known before they are loaded (labels of predictions that wait
    beside them), and what lies between it and the end of a history would be judged as silent.
    """
    if len(stale) < 2:
        return set()
    before, last = sorted(stale)[-2:]
    return set(keys_between(spec, before, last)) - {before, last}


def _work_up(home: Home, spec: MonitorSpec, first: str, last: str, outcome: Outcome) -> None:
    """One range, with what its runs say."""
    print(f"working up {_span(first, last)}", flush=True)
    run_ids = materialize_range(home, spec, first, last)
    with dagster_instance(home) as instance:
        for run_id in run_ids:
            _read(instance, spec, run_id, outcome)


def _read(instance: dg.DagsterInstance, spec: MonitorSpec, run_id: str, outcome: Outcome) -> None:
    run = instance.get_run_by_id(run_id)
    keys = partitions.windows_in(spec, run.tags if run else {})
    outcome.windows |= set(keys)
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        found = entry.dagster_event.event_specific_data if entry.dagster_event else None
        if not isinstance(found, dg.AssetCheckEvaluation) or found.partition not in keys:
            continue
        windows = outcome.failed.setdefault((found.asset_key.path[-1], found.check_name), {})
        windows.pop(found.partition, None)
        if not found.passed and found.severity is dg.AssetCheckSeverity.ERROR:
            windows[found.partition] = (found.description or "").strip().partition("\n")[0]


def _span(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"


def _count(n: int) -> str:
    return f"{n} window{'' if n == 1 else 's'}"


def add_overdue_labels(home: Home, spec: MonitorSpec, outcome: Outcome) -> str:
    """Add to what failed the check `label_freshness` of the newest window with data, worked up or not; and tell it.

    Parameters
    ----------
    home : Home
    spec : MonitorSpec
    outcome : Outcome
        Is added to.

    Returns
    -------
    str
        Its warning; empty where it passes or fails.
    """
    paths = home.monitor(spec.id)
    with open_progress(paths.ledger) as progress:
        known = [key for key in progress.changes(["inferences"]) if is_key(spec, key)]
    newest = [max(known)] if known else []
    feed = label_feed(spec, paths, newest) if newest else None
    for key, verdict in freshness_verdicts(spec, feed, newest):
        _keep(home, spec, key, verdict)
        if verdict.level == "error":
            outcome.failed.setdefault(("alerts", label_freshness.CHECK), {})[key] = verdict.text
        elif verdict.level == "warn":
            return verdict.text
    return ""


def _keep(home: Home, spec: MonitorSpec, key: str, verdict: Verdict) -> None:
    """Keep whether labels are overdue, under the cause by which Dagster's freshness of labels is told."""
    now = utc_now()
    seen = overdue_labels(f"backfill:{key}:{now.isoformat()}", now, verdict.text if verdict.level == "error" else "")
    record(home.monitor(spec.id), [seen], now)
    hand_over(home, {spec.id: spec}, [spec.id], now)


def report(spec: MonitorSpec, outcome: Outcome, warning: str = "") -> list[str]:
    """The lines that tell an outcome.

    Parameters
    ----------
    spec : MonitorSpec
    outcome : Outcome
    warning : str, optional
        Result of `add_overdue_labels`.

    Returns
    -------
    list of str
    """
    keys = sorted(outcome.windows)
    lines = [f"{spec.id}: nothing to work up: no window has data newer than its judgement"]
    if keys:
        lines = [f"{spec.id}: {_count(len(keys))} worked up ({_span(keys[0], keys[-1])})"]
    failed = {check: windows for check, windows in sorted(outcome.failed.items()) if windows}
    if keys or failed:
        lines.append(f"checks that failed: {len(failed) or 'none'}")
    for (asset, check), windows in failed.items():
        first, last = min(windows), max(windows)
        lines.append(f"  {asset}/{check} in {_count(len(windows))} ({_span(first, last)}): {windows[last]}")
    return [*lines, *filter(None, [warning])]


@contextmanager
def _alone(home: Home, spec: MonitorSpec) -> Generator[None]:
    """One backfill of a monitor at a time: a second one would wait for its tables, and give up."""
    with exclusive_if_free(home.monitor(spec.id).root / ".backfill.lock") as is_held:
        if not is_held:
            what, fix = f"another backfill of {spec.id} runs", "wait until it has ended: it works up all that is stale"
            raise SightlineError(what, where=str(home.root), fix=fix)
        yield


def main(monitor_id: str, *window_range: str) -> int:
    """Work up and tell; the exit code: 0 done, 1 a check failed, 2 a run failed."""
    home = Home.from_env()
    try:
        spec = find_monitor(home, monitor_id)
        with _alone(home, spec):
            try:
                outcome = backfill(home, spec, window_range)
                warning = add_overdue_labels(home, spec, outcome)
            finally:
                told = tell(home, spec, home.monitor(spec.id))
    except SightlineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if (told := error_of_place(error)) is None:
            raise
        print(f"error: {told}", file=sys.stderr)
        return 2
    print("\n".join(report(spec, outcome, warning)))
    if told:
        print(f"warning: {told}", file=sys.stderr)
    return 1 if any(outcome.failed.values()) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

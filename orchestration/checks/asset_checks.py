"""The asset checks of a monitor, one Dagster step per asset.

A result is stored for every window, also after a ranged run; the UI shows that of the newest window judged.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from orchestration import partitions
from orchestration.dagster_private import event_storage
from orchestration.metadata import markdown_table
from orchestration.monitor import Monitor
from sightline.dashboard.addresses import dashboard_base, page_of_check
from sightline.judging import board
from sightline.judging.verdicts import FactTable, Verdict
from sightline.lake.store.progress import open_progress
from sightline.spec import plan
from sightline.spec.flows import DELAYED, IMMEDIATE, INTAKE_ASSETS
from sightline.spec.plan import PlannedCheck
from sightline.spec.windows import is_key

WITHOUT_PARTITION = 30
"""Windows that "Execute all" in the UI, which names no partition, evaluates: the latest ones worked up."""
NO_VERDICT = "No verdict: what was judged of this window is not there any more (withdrawn or corrected)."


def build(monitor: Monitor) -> list[dg.AssetChecksDefinition]:
    """One `multi_asset_check` per asset that has checks."""
    planned: dict[str, list[PlannedCheck]] = {}
    for check in plan.checks(monitor.spec):
        planned.setdefault(check.asset, []).append(check)
    return [_build(monitor, asset, checks) for asset, checks in planned.items()]


def _build(monitor: Monitor, asset: str, planned: list[PlannedCheck]) -> dg.AssetChecksDefinition:
    specs = [_spec(monitor, check) for check in planned]
    by_name = {check.name: check for check in planned}

    @dg.multi_asset_check(name=f"{monitor.id}__{asset}_checks", specs=specs, can_subset=True, pool=monitor.pool)
    def evaluate(context: dg.AssetCheckExecutionContext) -> Iterator[Any]:
        selected = context.selected_asset_check_keys
        keys = windows_to_check(context, monitor, asset)
        wanted = [by_name[name] for name in sorted(key.name for key in selected)]
        found = list(board.evaluate(monitor.spec, monitor.paths, asset, wanted, keys)) if keys else []
        stored = evaluations(context, monitor, asset, found) + still_shown(context, monitor, asset, wanted, found, keys)
        stored = _once(stored)
        event_storage.forget_planned(context, selected)
        event_storage.store_evaluations(context, stored)
        for spec in specs:
            if spec.key in selected:
                yield dg.Output(None, output_name=spec.get_python_identifier())
        blocked = [
            (check, key, verdict)
            for check, key, verdict in found
            if check.blocking and verdict.level == "error" and verdict.stops
        ]
        if blocked and len(keys) == 1:
            raise dg.Failure(
                description="; ".join(f"{check.asset} {key}: {verdict.text}" for check, key, verdict in blocked),
                allow_retries=False,
            )

    return evaluate


def _once(stored: Iterable[dg.AssetCheckEvaluation]) -> list[dg.AssetCheckEvaluation]:
    """One result per check and window, in the order in which each was said last: a window of this run may be shown."""
    last: dict[tuple[str, str | None], dg.AssetCheckEvaluation] = {}
    for result in stored:
        last.pop((result.check_name, result.partition), None)
        last[result.check_name, result.partition] = result
    return list(last.values())


def _spec(monitor: Monitor, check: PlannedCheck) -> dg.AssetCheckSpec:
    """One check, without partitions.

    Of a partitioned check the UI shows the worst of all windows, however old; of others the result stored last, and
    that is the verdict on the newest window judged.
    """
    return dg.AssetCheckSpec(
        name=check.name,
        asset=monitor.key(check.asset),
        description=check.description,
        blocking=check.blocking,
        additional_deps=[] if check.asset in {*INTAKE_ASSETS, "alerts"} else [monitor.key("alerts")],
        metadata={name: value for name, value in (("column", check.column), ("metric", check.metric)) if value},
    )


def windows_to_check(context: dg.AssetCheckExecutionContext, monitor: Monitor, asset: str) -> Sequence[str]:
    """Windows of this run; of a run that names none ("Execute all") the latest ones that were worked up."""
    keys = partitions.windows_in(monitor.spec, context.run.tags)
    if keys:
        return keys
    return worked_up(monitor, asset)[-WITHOUT_PARTITION:]


def worked_up(monitor: Monitor, asset: str) -> list[str]:
    """Windows of which the flow of an asset is complete, in time order."""
    flow = DELAYED if asset in (DELAYED.intake, *DELAYED.judges) else IMMEDIATE
    with open_progress(monitor.paths.ledger) as progress:
        known = progress.done(flow.name)
    return sorted(key for key in known if is_key(monitor.spec, key))


def evaluations(
    context: dg.AssetCheckExecutionContext,
    monitor: Monitor,
    asset: str,
    found: Iterable[tuple[PlannedCheck, str, Verdict]],
) -> list[dg.AssetCheckEvaluation]:
    """Verdicts as Dagster's evaluations, one per check and window, in the order of time."""
    asset_key, found = monitor.key(asset), sorted(found, key=lambda item: item[1])
    keys, base = {key for _, key, _ in found}, dashboard_base(monitor.home)
    stored = (
        context.instance.get_latest_storage_id_by_partition(asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION, keys)
        if keys
        else {}
    )
    return [
        dg.AssetCheckEvaluation(
            asset_key=asset_key,
            check_name=check.name,
            passed=verdict.level == "ok",
            severity=dg.AssetCheckSeverity.WARN if verdict.level == "warn" else dg.AssetCheckSeverity.ERROR,
            partition=key,
            blocking=check.blocking,
            description=verdict.text,
            metadata={name: _shown(fact) for name, fact in verdict.facts.items()}
            | {"window": key}
            | ({"cause": verdict.cause} if verdict.cause else {})
            | ({"page": dg.MetadataValue.url(page_of_check(base, monitor.spec, check, key))} if base else {}),
            target_materialization_data=(
                event_storage.target(stored[key], context.run.run_id) if key in stored else None
            ),
        )
        for check, key, verdict in found
    ]


def still_shown(
    context: dg.AssetCheckExecutionContext,
    monitor: Monitor,
    asset: str,
    wanted: Sequence[PlannedCheck],
    found: Iterable[tuple[PlannedCheck, str, Verdict]],
    keys: Sequence[str],
) -> list[dg.AssetCheckEvaluation]:
    """What the checks say now of the newest window judged before, where this run did not say it of a newer one.

    The UI shows the result that was stored last; a backfill must not put an old window in the place of the newest.
    Where that window has no verdict any more, as its rows were withdrawn, the newest one before it with one is shown.
    """
    judged = {check.name: key for check, key, _ in sorted(found, key=lambda item: item[1])}
    shown = event_storage.shown_evaluations(context.instance, [monitor.check_key(check) for check in wanted])
    newer = {
        key.name: result
        for key, result in shown.items()
        if result.partition
        and is_key(monitor.spec, result.partition)
        and result.partition > judged.get(key.name, "")
        and (key.name in judged or result.partition in keys)
    }
    if not newer:
        return []
    checks = [check for check in wanted if check.name in newer]
    windows = sorted({result.partition for result in newer.values() if result.partition})
    again = board.evaluate(monitor.spec, monitor.paths, asset, checks, windows)
    same = {check.name: (check, key, v) for check, key, v in again if newer[check.name].partition == key}
    gone = [check for check in checks if check.name not in same]
    said = evaluations(context, monitor, asset, [*same.values(), *_latest_before(monitor, asset, gone, newer)])
    return said + [_without_verdict(newer[c.name]) for c in gone if c.name not in {e.check_name for e in said}]


def _latest_before(
    monitor: Monitor, asset: str, checks: Sequence[PlannedCheck], shown: Mapping[str, dg.AssetCheckEvaluation]
) -> list[tuple[PlannedCheck, str, Verdict]]:
    """The newest verdicts on windows before those that are shown, as far back as `WITHOUT_PARTITION`."""
    if not checks:
        return []
    last = {check.name: shown[check.name].partition or "" for check in checks}
    keys = [key for key in worked_up(monitor, asset) if key < max(last.values())][-WITHOUT_PARTITION:]
    found = board.evaluate(monitor.spec, monitor.paths, asset, checks, keys) if keys else ()
    latest: dict[str, tuple[PlannedCheck, str, Verdict]] = {}
    for check, key, verdict in sorted(found, key=lambda item: item[1]):
        if key < last[check.name]:
            latest[check.name] = (check, key, verdict)
    return list(latest.values())


def _without_verdict(shown: dg.AssetCheckEvaluation) -> dg.AssetCheckEvaluation:
    """A result in the place of one on a window of which nothing is left, nor of any before it."""
    return shown._replace(passed=True, description=NO_VERDICT, metadata={"window": shown.partition or ""})


def _shown(fact: Any) -> Any:
    return markdown_table(fact.header, fact.rows) if isinstance(fact, FactTable) else fact

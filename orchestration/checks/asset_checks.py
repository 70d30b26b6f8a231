"""The asset checks of a monitor, one Dagster step per asset; results for every partition, also after a ranged run."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from orchestration import partitions
from orchestration.dagster_private import event_storage
from orchestration.metadata import markdown_table
from orchestration.monitor import Monitor
from sightline.judging import board
from sightline.judging.verdicts import FactTable, Verdict
from sightline.spec import plan
from sightline.spec.flows import INTAKE_ASSETS
from sightline.spec.plan import PlannedCheck
from sightline.spec.windows import is_key

DAY = timedelta(days=1)
WITHOUT_PARTITION = 30
"""Windows that "Execute all" in the UI, which names no partition, evaluates: the latest materialized ones."""


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
        selected = {key.name for key in context.selected_asset_check_keys}
        keys, has_partition = windows_to_check(context, monitor, asset)
        wanted = [by_name[name] for name in sorted(selected)]
        found = list(board.evaluate(monitor.spec, monitor.paths, asset, wanted, keys)) if keys else []
        event_storage.store_evaluations(
            context, evaluations(context, monitor, asset, found, with_latest=not has_partition)
        )
        for spec in specs:
            if spec.name in selected:
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


def _spec(monitor: Monitor, check: PlannedCheck) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        name=check.name,
        asset=monitor.key(check.asset),
        description=check.description,
        blocking=check.blocking,
        additional_deps=[] if check.asset in {*INTAKE_ASSETS, "alerts"} else [monitor.key("alerts")],
        partitions_def=monitor.partitions,
        metadata={name: value for name, value in (("column", check.column), ("metric", check.metric)) if value},
    )


def windows_to_check(
    context: dg.AssetCheckExecutionContext, monitor: Monitor, asset: str
) -> tuple[Sequence[str], bool]:
    """Windows of this run, and whether it names any; without, the latest materialized ones."""
    keys = partitions.windows_of(context)
    if keys:
        return keys, True
    known = context.instance.get_materialized_partitions(monitor.key(asset))
    return sorted(key for key in known if is_key(monitor.spec, key))[-WITHOUT_PARTITION:], False


def evaluations(
    context: dg.AssetCheckExecutionContext,
    monitor: Monitor,
    asset: str,
    found: Sequence[tuple[PlannedCheck, str, Verdict]],
    *,
    with_latest: bool,
) -> Iterator[dg.AssetCheckEvaluation]:
    """Verdicts as Dagster's evaluations, one per check and partition.

    With `with_latest` the latest one without a partition too, because that is what was asked for.
    """
    asset_key = monitor.key(asset)
    keys = {key for _, key, _ in found}
    stored = (
        context.instance.get_latest_storage_id_by_partition(asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION, keys)
        if keys
        else {}
    )
    latest: dict[str, tuple[PlannedCheck, str, Verdict]] = {}
    for item in found:
        check, key, _ = item
        yield _evaluation(context, asset_key, item, key, stored)
        if check.name not in latest or key > latest[check.name][1]:
            latest[check.name] = item
    if with_latest:
        for item in latest.values():
            yield _evaluation(context, asset_key, item, None, stored)


def _evaluation(
    context: dg.AssetCheckExecutionContext,
    asset_key: dg.AssetKey,
    item: tuple[PlannedCheck, str, Verdict],
    partition: str | None,
    stored: Mapping[str, int],
) -> dg.AssetCheckEvaluation:
    check, key, verdict = item
    return dg.AssetCheckEvaluation(
        asset_key=asset_key,
        check_name=check.name,
        passed=verdict.level == "ok",
        severity=dg.AssetCheckSeverity.WARN if verdict.level == "warn" else dg.AssetCheckSeverity.ERROR,
        partition=partition,
        blocking=check.blocking,
        description=verdict.text,
        metadata={name: _shown(fact) for name, fact in verdict.facts.items()} | {"window": key},
        target_materialization_data=event_storage.target(stored[key], context.run.run_id) if key in stored else None,
    )


def _shown(fact: Any) -> Any:
    return markdown_table(fact.header, fact.rows) if isinstance(fact, FactTable) else fact

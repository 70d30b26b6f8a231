"""dbt's models as assets: one instance of the same models per monitor and flow."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, dbt_assets

from metrics_py.wording import count
from orchestration import partitions, silent_windows
from orchestration.assets.reference import describe
from orchestration.dagster_private import event_storage
from orchestration.dagster_private.in_process_dbt import InProcessDbt, asset_events
from orchestration.monitor import Monitor
from orchestration.resources import IS_QUIET, dbt_environment, environment, share_parsed_project
from sightline.clock import utc_now
from sightline.durable import exclusive
from sightline.engines import Told, build_models
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.progress import open_progress
from sightline.lake.store.stored_spec import require_current
from sightline.spec import names
from sightline.spec.flows import DELAYED
from sightline.warehouse import connect, ensure_reference, prepare, write_control
from sightline.warehouse.reference import reference_id

SOURCES = {"inferences": "inferences", "labels": "labels", "quarantine": "inferences"}
"""Which asset fills a dbt source of schema ``raw``."""

SHARED_VIEWS = ("stg_inferences", "stg_quarantine")
"""Views that both flows read, and an asset of the immediate one: either flow may be the first to run."""

WITHOUT_PARTITION = 30
READ_REFERENCE = {f"macro.sightline.{name}" for name in ("bins_table", "cuts_table", "categories_table")}
"""dbt macros that read the control tables made from the reference profile."""


class MonitorTranslator(DagsterDbtTranslator):
    """Puts the shared dbt nodes under one monitor's name: keys, group, owners, tags.

    Control tables come from `reference`.
    """

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(
            DagsterDbtTranslatorSettings(enable_duplicate_source_asset_keys=True, enable_source_metadata=False)
        )
        self.monitor = monitor

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: Any) -> dg.AssetSpec:
        """The default, and a dependency on `reference` for models that read its bins, which are no dbt nodes."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        macros = set(self.get_resource_props(manifest, unique_id).get("depends_on", {}).get("macros", ()))
        return spec.merge_attributes(deps=[self.monitor.key("reference")]) if macros & READ_REFERENCE else spec

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """``[monitor id, model]``; a source is the asset that fills it."""
        name = dbt_resource_props["name"]
        if dbt_resource_props["resource_type"] == "source":
            is_raw = dbt_resource_props["source_name"] == "raw"
            name = SOURCES.get(name, "inferences") if is_raw else "reference"
        return self.monitor.key(name)

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """A group of their own, folded inside the monitor's."""
        return names.tables_group_name(self.monitor.spec)

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        """The monitor's owner."""
        return self.monitor.owners

    def get_tags(self, dbt_resource_props: Mapping[str, Any]) -> dict[str, str]:
        """The monitor's tags, and dbt's."""
        return {**self.monitor.tags, **super().get_tags(dbt_resource_props)}

    def get_code_version(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Changes with the model's SQL and with the monitor's spec."""
        return f"{(super().get_code_version(dbt_resource_props) or '')[:12]}-{self.monitor.code_version}"

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """The description in the model's YAML, without the SQL (the manifest has it)."""
        return dbt_resource_props.get("description") or dbt_resource_props["name"].replace("_", " ")

    def get_metadata(self, dbt_resource_props: Mapping[str, Any]) -> dict[str, Any]:
        """Column schema as written in the model's contract."""
        columns = [
            dg.TableColumn(name=c["name"], type=c.get("data_type") or "", description=c.get("description") or None)
            for c in dbt_resource_props.get("columns", {}).values()
        ]
        return {"dagster/column_schema": dg.TableSchema(columns=columns)} if columns else {}


@cache
def read_manifest(path: Path, mtime_ns: int) -> Mapping[str, Any]:
    """The manifest as a dictionary, shared by all monitors; `mtime_ns` tells its versions apart."""
    return json.loads(path.read_text())


def build(monitor: Monitor, flow: str, manifest_path: Path) -> dg.AssetsDefinition:
    """The dbt models tagged `flow` (``immediate`` or ``delayed``) as assets of one monitor."""
    manifest = read_manifest(manifest_path, manifest_path.stat().st_mtime_ns)

    @dbt_assets(
        manifest=manifest,
        name=f"{monitor.id}__dbt_{flow}",
        select=f"tag:{flow}",
        partitions_def=monitor.partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=monitor.pool,
        dagster_dbt_translator=MonitorTranslator(monitor),
    )
    def aggregates(context: dg.AssetExecutionContext, sightline_dbt: InProcessDbt) -> Iterator[Any]:
        keys = windows(context, monitor)
        with exclusive(monitor.paths.root / ".writer.lock"):
            position, reference, single = prepare_run(context, monitor, flow, keys)
            events, error = run_dbt(context, monitor, flow, sightline_dbt, manifest)
            if may_repeat_labels(monitor, single):  # another process loaded revisions while dbt read the lake
                position, reference, _ = prepare_run(context, monitor, flow, keys, knows_labels=False)
                events, error = run_dbt(context, monitor, flow, sightline_dbt, manifest)
        silent_windows.report(context, monitor, flow, context.selected_asset_keys, keys)
        describe_partitions(context, monitor, keys, events)
        if error is None:
            event_storage.forget_planned(context, context.selected_asset_check_keys)
        yield from events
        if error is not None:
            raise error
        with open_progress(monitor.paths.ledger) as progress:
            progress.write_aggregated(flow, keys, position, reference)

    return aggregates


def prepare_run(
    context: dg.AssetExecutionContext, monitor: Monitor, flow: str, keys: list[str], *, knows_labels: bool = True
) -> tuple[int, str, set[str]]:
    """Freeze the reference if its rows have come, and write the control tables.

    Parameters
    ----------
    context, monitor, flow
        The run.
    keys : list of str
        Its windows.
    knows_labels : bool
        Go by what the ledger knows of repeated labels; otherwise every window may have some.

    Returns
    -------
    position : int
        The ledger's, as the aggregates will know it.
    reference : str
        Id of the reference.
    single : set of str
        Windows in which no label is searched for other rows of its prediction.
    """
    spec, paths = monitor.spec, monitor.paths
    require_current(spec, paths)
    with open_progress(paths.ledger) as progress:
        position = progress.position()
    with connect(paths) as con:
        prepare(con, spec, paths)
        profile = ensure_reference(spec, paths, monitor.home, now=utc_now(), con=con)
        may_repeat = may_repeat_labels(monitor, keys) if knows_labels else set(keys)
        write_control(con, spec, profile, keys, may_repeat)
    if profile is not None and profile.is_new:
        context.log_event(dg.AssetMaterialization(monitor.key("reference"), metadata=describe(profile)))
        rows = count(profile.n_rows, "rows")
        context.log.info(f"the reference is frozen now: {profile.id}, {rows} from {profile.source}")
    return position, reference_id(paths, with_label=flow == DELAYED.name), set(keys) - may_repeat


def may_repeat_labels(monitor: Monitor, keys: Iterable[str]) -> set[str]:
    """Those of some windows in which a prediction may have several rows of labels now."""
    with open_ledger(monitor.paths.ledger, create=False) as ledger:
        return ledger.may_repeat_labels(keys)


def windows(context: dg.AssetExecutionContext, monitor: Monitor) -> list[str]:
    """Windows of the run; started without a partition (dbt's tests by hand) the latest ones that hold data."""
    keys = list(partitions.windows_of(context))
    if not keys:
        with open_progress(monitor.paths.ledger) as progress:
            keys = sorted(progress.changes(["inferences"]))[-WITHOUT_PARTITION:]
    return keys


def run_dbt(
    context: dg.AssetExecutionContext, monitor: Monitor, flow: str, dbt: InProcessDbt, manifest: Mapping[str, Any]
) -> tuple[list[Any], Exception | None]:
    """Run ``dbt build`` of the whole flow, also when some of its models are asked for.

    They share tables made in the same run.

    Returns
    -------
    events : list
        Dagster's events of what was asked for and succeeded.
    error : Exception or None
        Why dbt failed.
    """
    target_path = monitor.paths.dbt / "target"
    args = ["build", "--select", f"tag:{flow}", *SHARED_VIEWS, "--exclude-resource-type", "unit_test"]
    args += ["--no-write-json", *(["--quiet"] if IS_QUIET.get() else [])]

    def in_process(args: Sequence[str]) -> Told:
        share_parsed_project(monitor.home, target_path)
        with environment(dbt_environment(monitor.paths)):
            return dbt.invoke(args, target_path, monitor.paths.root)

    told, error = build_models(
        monitor.home, monitor.spec, args, in_process=in_process, project=Path(dbt.project_dir), manifest=manifest
    )
    outputs = set(context.op_execution_context.selected_output_names)
    checks = context.selected_asset_check_keys
    translator = MonitorTranslator(monitor)
    events: list[Any] = []
    for event in asset_events(told, context=context, manifest=manifest, translator=translator, target_path=target_path):
        is_output = isinstance(event, dg.Output) and event.output_name in outputs
        is_check = (
            isinstance(event, dg.AssetCheckResult) and dg.AssetCheckKey(event.asset_key, event.check_name) in checks
        )
        if is_output or is_check:
            events.append(event)
    return events, error


def describe_partitions(
    context: dg.AssetExecutionContext, monitor: Monitor, keys: list[str], events: list[Any]
) -> None:
    """Give every partition of every model its row count."""
    outputs = {event.output_name for event in events if isinstance(event, dg.Output)}
    keys_by_output = {key.to_python_identifier(): key for key in context.selected_asset_keys}
    built = [keys_by_output[name] for name in outputs if name in keys_by_output]
    with connect(monitor.paths, read_only=True) as con:
        tables = {
            name
            for (name,) in con.sql(
                "select table_name from information_schema.tables where table_schema = 'marts'"
            ).fetchall()
        }
        for key in built:
            if key.path[-1] not in tables:
                continue
            rows = con.sql(
                f"select window_key, count(*) from marts.{key.path[-1]} "  # noqa: S608 (our own name)
                "where window_key between ? and ? group by 1",
                params=[keys[0], keys[-1]],
            ).fetchall()
            counts = dict(rows)
            for window in keys:
                context.add_asset_metadata(
                    {"dagster/partition_row_count": counts.get(window, 0)}, asset_key=key, partition_key=window
                )

"""`report`: one HTML file per window with its summary in Dagster, where the monitor's file has a section `report`."""

import dagster as dg

from orchestration import partitions
from orchestration.monitor import Monitor
from sightline.dashboard.library import Library
from sightline.errors import SightlineError
from sightline.reports.window import outputs
from sightline.reports.window.collect import collect, said_of
from sightline.spec import plan

ASSET = "report"


def build(monitor: Monitor) -> dg.AssetsDefinition:
    """The asset ``report``: it reads published results alone, so it waits for no run and no run waits for it."""

    @dg.asset(
        **{**monitor.asset_args(ASSET), "pool": None},
        deps=[monitor.key("alerts")],
        description=plan.assets(monitor.spec)[ASSET],
    )
    def report(context: dg.AssetExecutionContext) -> None:
        keys = list(partitions.windows_of(context))
        library = Library(monitor.home)
        written = 0
        kept = _to_keep(monitor, keys)
        said = said_of(monitor.spec, monitor.home, kept)
        for key in kept:
            try:
                found = collect(monitor.home, monitor.id, key, library=library, said=said)
            except SightlineError as error:
                context.log.warning(str(error))
                continue
            file = outputs.publish(monitor.paths, monitor.spec, found)
            metadata = {
                "report": dg.MetadataValue.md(outputs.to_markdown(found)),
                "kept in": str(file.relative_to(monitor.home.root)),
            }
            context.add_asset_metadata(metadata, partition_key=key)
            written += 1
        context.log.info(f"{written} reports of {len(keys)} windows written")

    return report


def _to_keep(monitor: Monitor, keys: list[str]) -> list[str]:
    """Windows of a run whose reports would not be removed at once."""
    assert monitor.spec.report is not None  # else there is no such asset
    limit = monitor.spec.window_start(max(keys)) - monitor.spec.report.keep
    return [key for key in keys if monitor.spec.window_start(key) >= limit]

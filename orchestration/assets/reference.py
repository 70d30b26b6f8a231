"""`reference`: the frozen profile that production is compared with."""

from typing import Any

import dagster as dg

from metrics_py.wording import number
from orchestration.metadata import markdown_table
from orchestration.monitor import Monitor
from sightline.clock import utc_now
from sightline.spec import plan
from sightline.warehouse.reference import ReferenceProfile, build_reference, ensure_reference


class ReferenceConfig(dg.Config):
    """What to do with a reference that is frozen already."""

    rebuild: bool = False


def build(monitor: Monitor) -> dg.AssetsDefinition:
    """The asset ``reference``.

    The aggregates freeze it by themselves when its rows have come; materialize it by hand to
    do so earlier, or with ``rebuild: true`` to profile it anew (every window is then worked up again).
    """

    @dg.asset(
        **monitor.asset_args("reference", partitioned=False),
        deps=[monitor.key("inferences")],
        description=f"{plan.assets(monitor.spec)['reference']} Frozen once: config `rebuild: true` profiles it anew.",
        metadata={"profile": f"data/{monitor.id}/reference/profile.json"},
    )
    def reference(context: dg.AssetExecutionContext, config: ReferenceConfig) -> None:
        spec, paths, home, now = monitor.spec, monitor.paths, monitor.home, utc_now()
        if config.rebuild:
            profile = build_reference(spec, paths, home, force=True, now=now)
        else:
            profile = ensure_reference(spec, paths, home, now=now)
        if profile is None:
            what = "the rows of the reference have not all come: its windows must have ended and hold inferences"
            raise dg.Failure(description=what, allow_retries=False)
        context.add_asset_metadata(describe(profile))

    return reference


def describe(profile: ReferenceProfile) -> dict[str, Any]:
    """Facts of a profile as metadata."""
    rows = [
        (
            f"`{name}`",
            p.kind,
            p.n_distinct,
            number(p.mean),
            number(p.minimum),
            number(p.maximum),
            number(p.design_effect, 3),
        )
        for name, p in profile.columns.items()
    ]
    header = ("column", "judged as", "distinct values", "mean", "smallest", "largest", "design effect")
    return {
        "id": profile.id,
        "source": profile.source,
        "dagster/row_count": profile.n_rows,
        "rows refused": profile.n_rejected,
        "labels refused": profile.n_bad_labels,
        "windows": profile.n_windows,
        "columns": markdown_table(header, rows),
    }

"""`evaluation`: one partition per candidate version, and the check `promote` that a deployment can hang on."""

import dagster as dg

from orchestration.monitor import Monitor
from sightline.clock import utc_now
from sightline.errors import SightlineError
from sightline.evaluation.landed import candidate, publish
from sightline.evaluation.render import WORDS, to_json, to_markdown
from sightline.evaluation.run import evaluate
from sightline.spec import names, plan

ASSET, CHECK = "evaluation", "promote"


def versions(monitor: Monitor) -> dg.DynamicPartitionsDefinition:
    """Candidate versions of a monitor."""
    return dg.DynamicPartitionsDefinition(name=names.sensor_name(monitor.spec, "candidates"))


def build(monitor: Monitor) -> dg.AssetsDefinition:
    """The asset; its check blocks: what depends on the asset does not run for a version that may not be promoted."""
    check = dg.AssetCheckSpec(
        CHECK,
        asset=monitor.key(ASSET),
        blocking=True,
        description="May this version take the champion's place? Fails where it is inferior, or cannot be told yet.",
    )

    @dg.asset(
        **monitor.asset_args(ASSET, partitioned=False),
        partitions_def=versions(monitor),
        deps=[monitor.key("reference")],
        check_specs=[check],
        description=(
            f"{plan.assets(monitor.spec)[ASSET]} A folder `data/{monitor.id}/landing/candidates/<version>/` with a "
            "scored, labelled file makes a partition."
        ),
    )
    def evaluation(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        version, now = context.partition_key, utc_now()
        try:
            landed = candidate(monitor.paths, version)
            found = evaluate(monitor.spec, monitor.paths, landed.path, version, now=now, training=landed.training)
        except SightlineError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error
        file = publish(monitor.paths, version, to_json(found), now)
        verdict = found.verdict
        facts = {
            "outcome": verdict.outcome.replace("_", " "),
            "why": verdict.reason,
            "labelled rows": len(found.compared.challenger),
            "champion": found.compared.source,
            "more labelled rows needed": dg.MetadataValue.int(verdict.more_rows) if verdict.more_rows else "–",
        }
        result = dg.AssetCheckResult(
            check_name=CHECK,
            passed=verdict.may_promote,
            severity=dg.AssetCheckSeverity.ERROR,
            description=f"{version}: {WORDS[verdict.outcome]}. {verdict.reason}",
            metadata=facts,
        )
        card = {
            "model card": dg.MetadataValue.md(to_markdown(found)),
            "kept in": str(file.relative_to(monitor.home.root)),
        }
        return dg.MaterializeResult(metadata={**facts, **card}, check_results=[result])

    return evaluation

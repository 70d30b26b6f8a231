"""`evaluation`: one partition per candidate version, and the check `promote` that a deployment can hang on."""

from functools import partial

import dagster as dg

from orchestration.assets import live_evaluation
from orchestration.monitor import Monitor
from sightline.clock import utc_now
from sightline.durable import replace_file
from sightline.errors import SightlineError
from sightline.evaluation.landed import candidate, publish, publish_failure
from sightline.evaluation.metric_checks import check_name, compared_metrics, metric_checks, untold
from sightline.evaluation.page import to_html
from sightline.evaluation.render import WORDS, to_json, to_markdown
from sightline.evaluation.run import Evaluation, evaluate
from sightline.evaluation.spelling import OUTCOMES
from sightline.spec import names, plan

ASSET, CHECK = "evaluation", "promote"


def versions(monitor: Monitor) -> dg.DynamicPartitionsDefinition:
    """Candidate versions of a monitor."""
    return dg.DynamicPartitionsDefinition(name=names.sensor_name(monitor.spec, "candidates"))


def build(monitor: Monitor) -> dg.AssetsDefinition:
    """The asset; its check blocks: what depends on the asset does not run for a version that may not be promoted."""
    checks = [
        dg.AssetCheckSpec(
            CHECK,
            asset=monitor.key(ASSET),
            blocking=True,
            description="May this version take the champion's place? Fails where it is inferior or cannot be told yet.",
        ),
        *_metric_specs(monitor),
    ]

    @dg.asset(
        **monitor.asset_args(ASSET, partitioned=False),
        partitions_def=versions(monitor),
        deps=[monitor.key("reference")],
        check_specs=checks,
        description=(
            f"{plan.assets(monitor.spec)[ASSET]} A folder `data/{monitor.id}/landing/candidates/<version>/` with a "
            "scored, labelled file makes a partition."
        ),
    )
    def evaluation(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        version, now = context.partition_key, utc_now()
        try:
            if live_evaluation.is_live(context, monitor):
                of_metrics = partial(_metric_results, monitor)
                return live_evaluation.result(monitor, version, now, CHECK, of_metrics)
            landed = candidate(monitor.paths, version)
            found = evaluate(monitor.spec, monitor.paths, landed.path, version, now=now, training=landed.training)
        except SightlineError as error:
            publish_failure(monitor.paths, version, error, now)
            context.log.error(str(error))
            return _not_evaluated(monitor, version, error)
        file = publish(monitor.paths, version, to_json(found), now)
        replace_file(file.with_suffix(".html"), to_html(found))
        verdict = found.verdict
        facts = {
            "outcome": OUTCOMES[verdict.outcome],
            "why": verdict.reason,
            "labelled rows": len(found.compared.challenger),
            "champion": found.compared.source,
            "more labelled rows needed": dg.MetadataValue.int(verdict.more_rows) if verdict.more_rows else "–",
        }
        if verdict.more_rows_champion:
            facts["more labelled rows of the champion needed"] = dg.MetadataValue.int(verdict.more_rows_champion)
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
            "page": str(file.with_suffix(".html").relative_to(monitor.home.root)),
        }
        return dg.MaterializeResult(
            metadata={**facts, **card}, check_results=[result, *_metric_results(monitor, found)]
        )

    return evaluation


def _not_evaluated(monitor: Monitor, version: str, error: SightlineError) -> dg.MaterializeResult:
    """A version that cannot be evaluated is not promoted: `promote` fails, as for one that is rejected.

    A partition that fails instead would keep the asset red in the lineage after later versions passed. Its other checks
    warn: not enough data is no pass, and without a result they would show that of the version before.
    """
    facts = {"outcome": "cannot tell", "why": str(error)}
    told = dg.AssetCheckResult(
        check_name=CHECK,
        passed=False,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{version}: it cannot be evaluated: {error}",
        metadata=facts,
    )
    text = untold(version, "it cannot be evaluated")
    others = [
        dg.AssetCheckResult(
            check_name=check_name(metric), passed=False, severity=dg.AssetCheckSeverity.WARN, description=text
        )
        for metric in compared_metrics(monitor.spec)
    ]
    return dg.MaterializeResult(metadata=facts, check_results=[told, *others])


def _metric_specs(monitor: Monitor) -> list[dg.AssetCheckSpec]:
    """One per metric of which one way is better; only `promote` blocks."""
    return [
        dg.AssetCheckSpec(
            check_name(metric),
            asset=monitor.key(ASSET),
            description=f"{metric.replace('_', ' ')} of the version evaluated last: fails where it is lost by more "
            "than its margin (`quality.primary`, `evaluation.guardrails`), warns where another metric is worse and "
            "where there is not enough data.",
            metadata={"metric": metric},
        )
        for metric in compared_metrics(monitor.spec)
    ]


def _metric_results(monitor: Monitor, found: Evaluation) -> list[dg.AssetCheckResult]:
    return [
        dg.AssetCheckResult(
            check_name=check_name(check.metric),
            passed=check.level == "ok",
            severity=dg.AssetCheckSeverity.WARN if check.level == "warn" else dg.AssetCheckSeverity.ERROR,
            description=check.text,
            metadata=dict(check.facts),
        )
        for check in metric_checks(monitor.spec, found)
    ]

"""A version that runs beside another one, as a partition of `evaluation`: its verdict may be read at every look."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from orchestration.monitor import Monitor
from sightline.evaluation.landed import candidates, publish
from sightline.evaluation.live import LiveEvaluation, evaluate_live
from sightline.evaluation.live_render import WORDS, to_json, to_markdown
from sightline.evaluation.spelling import OUTCOMES

TAG = "sightline/live"
"""Tag of a run that judges a version by the log, whether or not a file of it has landed."""


def is_live(context: dg.AssetExecutionContext, monitor: Monitor) -> bool:
    """Whether a run judges its version by the log: it was asked to, or no file of the version has landed."""
    if TAG in context.run.tags:
        return True
    landed = {each.version for each in candidates(monitor.paths)[0]}
    return monitor.spec.evaluation.live and context.partition_key not in landed


def result(
    monitor: Monitor,
    version: str,
    now: datetime,
    check: str,
    of_metrics: Callable[[Any], Sequence[dg.AssetCheckResult]] = lambda _: (),
) -> dg.MaterializeResult[Any]:
    """Judge a version by the log, and keep what was found.

    Raises
    ------
    SightlineError
        It cannot be judged, such as one that the log does not have.
    """
    found = evaluate_live(monitor.spec, monitor.paths, version, now=now)
    file = publish(monitor.paths, version, to_json(found), now)
    facts, verdict = _facts(found), found.verdict
    beside = f"Compared live with {found.champion or 'no other version'}; the verdict is valid at every look."
    told = dg.AssetCheckResult(
        check_name=check,
        passed=verdict.may_promote,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{version}: {WORDS[verdict.outcome]}. {verdict.reason}. {beside}",
        metadata=facts,
    )
    card = {
        "comparison": dg.MetadataValue.md(to_markdown(found)),
        "kept in": str(file.relative_to(monitor.home.root)),
    }
    return dg.MaterializeResult(metadata={**facts, **card}, check_results=[told, *of_metrics(found)])


def _facts(found: LiveEvaluation) -> dict[str, Any]:
    more = found.more_days
    return {
        "outcome": OUTCOMES[found.verdict.outcome],
        "why": found.verdict.reason,
        "how": "live in production, valid at every look",
        "champion": found.champion or "–",
        f"{found.unit}s on which both ran": found.n_days,
        f"more {found.unit}s needed": dg.MetadataValue.int(more) if more else "–",
    }

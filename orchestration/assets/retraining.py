"""`retraining`: how fast the model ages and whether a retraining pays; it runs on request, in no job of the flows."""

import dagster as dg

from orchestration.monitor import Monitor
from sightline.clock import utc_now
from sightline.errors import SightlineError
from sightline.retraining.advise import Advice, advise
from sightline.retraining.render import publish, to_markdown
from sightline.retraining.words import sections, verdict
from sightline.spec import plan

ASSET = CHECK = "retraining"


def build(monitor: Monitor) -> dg.AssetsDefinition:
    """The asset and its check, which warns where a retraining pays now.

    It reads the lake and writes no warehouse, so it waits for no run and no run waits for it: a backtest takes minutes.
    """
    check = dg.AssetCheckSpec(
        CHECK,
        asset=monitor.key(ASSET),
        description=(
            "Does a retraining pay now? Warns where it does; passes where it does not, and where it cannot be said, "
            "with the reason."
        ),
    )
    has_backtest = monitor.spec.retraining is not None and monitor.spec.retraining.estimator is not None
    how = "trains `retraining.estimator` at past moments" if has_backtest else "compares versions on the same windows"

    @dg.asset(
        **{**monitor.asset_args(ASSET, partitioned=False), "pool": None},
        deps=[monitor.key(name) for name in ("inferences", "labels")],
        check_specs=[check],
        description=f"{plan.assets(monitor.spec)[ASSET]} It {how}.",
    )
    def retraining(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        now = utc_now()

        def tell(done: int, total: int) -> None:
            context.log.info(f"{done} of {total} trainings")

        try:
            found = advise(monitor.spec, monitor.paths, now=now, with_backtest=has_backtest, tell=tell)
        except SightlineError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error
        file = publish(monitor.paths, found, now)
        words = [text for _, sentences in sections(found) for text in sentences]
        result = dg.AssetCheckResult(
            check_name=CHECK,
            passed=found.state != "pays",
            severity=dg.AssetCheckSeverity.WARN,
            description=verdict(found).capitalize(),
            metadata={"in words": dg.MetadataValue.md("\n".join(f"- {text}" for text in words)), **_numbers(found)},
        )
        card = {"advice": dg.MetadataValue.md(to_markdown(found)), "kept in": str(file.relative_to(monitor.home.root))}
        return dg.MaterializeResult(metadata={**card, **_numbers(found)}, check_results=[result])

    return retraining


def _numbers(found: Advice) -> dict[str, float | str]:
    """Those that are known; the decay as a loss: positive is worse."""
    known: dict[str, float | None] = {
        "loss per week of age": found.decay.slope,
        "versions": float(found.decay.n_versions),
        "age in weeks": found.age,
        "weeks between retrainings": found.cadence.interval if found.cadence else None,
        "gain until the horizon": found.saving.value if found.saving else None,
    }
    return {"state": found.state.replace("_", " "), **{name: x for name, x in known.items() if x is not None}}

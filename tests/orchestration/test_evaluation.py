"""Candidates in Dagster: a folder lands, the sensor asks for its evaluation, `promote` stops what hangs on it."""

import json

import dagster as dg
import polars as pl

from orchestration.definitions import build
from sightline.evaluation.landed import candidates, evaluations
from tests.support.workshop import Workshop


def land(workshop: Workshop, version: str, better: float) -> pl.DataFrame:
    """Production's own rows, scored a little nearer to the truth (or farther from it)."""
    paths = workshop.home.monitor("churn")
    rows = pl.read_parquet(paths.lake / "inferences" / "**" / "*.parquet", missing_columns="insert")
    truth = pl.read_parquet(paths.lake / "labels" / "**" / "*.parquet", missing_columns="insert")
    truth = truth.select("prediction_id", "label_value").unique("prediction_id", keep="last")
    spec = workshop.churn.columns
    scored = rows.unique("prediction_id").join(truth, on="prediction_id")
    nearer = (pl.col("score") + better * (pl.col("label_value") - 0.5)).clip(0.001, 0.999)
    named = {f"f_{name}": name for name in spec.features} | {
        "prediction_id": spec.prediction_id,
        "predicted_at": spec.timestamp,
    }
    label = workshop.churn.labels
    assert label is not None
    out = scored.with_columns(nearer.alias("score"), pl.col("label_value").cast(pl.Int64).alias(label.column))
    out = out.rename(
        {**{old: new for old, new in named.items() if old in out.columns and old != new}, "score": str(spec.score)}
    )
    folder = paths.landing_candidates / version
    folder.mkdir(parents=True, exist_ok=True)
    out.write_parquet(folder / "scored.parquet")
    return out


def definitions(workshop: Workshop, *more: dg.AssetsDefinition) -> dg.Definitions:
    return dg.Definitions.merge(build(workshop.home), dg.Definitions(assets=list(more)))


def run_version(
    workshop: Workshop, instance: dg.DagsterInstance, version: str
) -> tuple[dg.ExecuteInProcessResult, list[str]]:
    """Evaluate a version with a deployment of the user's behind it; what was deployed."""
    deployed: list[str] = []
    versions = dg.DynamicPartitionsDefinition(name="churn__candidates")

    @dg.asset(partitions_def=versions, deps=[dg.AssetKey(["churn", "evaluation"])])
    def deployment(context: dg.AssetExecutionContext) -> None:
        deployed.append(context.partition_key)

    instance.add_dynamic_partitions("churn__candidates", [version])
    keys = dg.AssetSelection.assets(dg.AssetKey(["churn", "evaluation"]), dg.AssetKey("deployment"))
    job = dg.define_asset_job("deploy", keys)
    made = dg.Definitions.merge(definitions(workshop, deployment), dg.Definitions(jobs=[job]))
    done = made.resolve_job_def("deploy").execute_in_process(
        instance=instance, partition_key=version, raise_on_error=False
    )
    return done, deployed


def test_a_better_version_passes_and_a_worse_one_stops_what_hangs_on_it(workshop):
    with dg.DagsterInstance.from_config(str(workshop.home.dagster)) as instance:
        land(workshop, "2.0", 0.4)
        done, deployed = run_version(workshop, instance, "2.0")
        assert done.success
        assert deployed == ["2.0"]
        checks = {check.check_name: check for check in done.get_asset_check_evaluations()}
        check = checks["promote"]
        assert check.passed
        assert "superior" in str(check.description)
        assert {"evaluation__roc_auc", "evaluation__log_loss"} <= set(checks)
        assert checks["evaluation__roc_auc"].passed
        assert "champion" in str(checks["evaluation__roc_auc"].description)
        land(workshop, "2.1", -0.4)
        done, deployed = run_version(workshop, instance, "2.1")
        assert not done.success
        assert deployed == []
        checks = {check.check_name: check for check in done.get_asset_check_evaluations()}
        check = checks["promote"]
        assert not check.passed
        assert "inferior" in str(check.description)
        primary, other = checks["evaluation__roc_auc"], checks["evaluation__log_loss"]
        assert (primary.passed, primary.severity, primary.blocking) == (False, dg.AssetCheckSeverity.ERROR, False)
        assert (other.passed, other.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert "worse, but it decides nothing" in str(other.description)
    paths = workshop.home.monitor("churn")
    assert len(list((paths.results / "evaluations").glob("*.html"))) == 2
    kept = evaluations(paths)
    assert [(each["version"], each["may_promote"]) for each in kept] == [("2.0", True), ("2.1", False)]


def test_the_sensor_asks_once_per_file_and_again_when_it_changes(workshop):
    sensor = definitions(workshop).get_repository_def().get_sensor_def("churn__candidates")
    with dg.DagsterInstance.from_config(str(workshop.home.dagster)) as instance:

        def tick(cursor: str | None) -> dg.SensorResult:
            context = dg.build_sensor_context(instance=instance, cursor=cursor)
            found = sensor(context)
            assert isinstance(found, dg.SensorResult)
            return found

        nothing = tick(None)
        assert not nothing.run_requests
        land(workshop, "2.0", 0.1)
        growing = tick(nothing.cursor)
        assert not growing.run_requests, "it may still be copied"
        first = tick(growing.cursor)
        assert [request.partition_key for request in first.run_requests or []] == ["2.0"]
        assert not tick(first.cursor).run_requests
        land(workshop, "2.0", 0.2)
        changed = tick(first.cursor)
        assert not changed.run_requests
        again = tick(changed.cursor)
        assert [request.partition_key for request in again.run_requests or []] == ["2.0"]
        assert again.run_requests[0].run_key != first.run_requests[0].run_key


def test_what_is_no_candidate_is_named_and_stops_no_other(workshop):
    paths = workshop.home.monitor("churn")
    land(workshop, "2.0", 0.1)
    (paths.landing_candidates / "loose.parquet").write_bytes(b"PAR1")
    (paths.landing_candidates / "a,b").mkdir()
    (paths.landing_candidates / "half").mkdir()
    (paths.landing_candidates / "half" / "scored.parquet.tmp").write_bytes(b"")
    found, refused = candidates(paths)
    assert [each.version for each in found] == ["2.0"]
    assert set(refused) == {"loose.parquet", "a,b"}


def test_the_asset_follows_the_version_evaluated_last(workshop):
    """Rejected, broken, then a better one: as the lineage asks Dagster, nothing red is left."""
    folder = workshop.home.monitor("churn").landing_candidates / "3.0"
    folder.mkdir(parents=True)
    (folder / "scored.parquet").write_bytes(b"PAR1 half a file")
    land(workshop, "2.1", -0.4)
    land(workshop, "2.0", 0.4)
    with dg.DagsterInstance.from_config(str(workshop.home.dagster)) as instance:
        for version, told in (("2.1", "inferior"), ("3.0", "scored.parquet")):
            done, deployed = run_version(workshop, instance, version)
            assert not done.success and deployed == []
            [check] = [each for each in done.get_asset_check_evaluations() if each.check_name == "promote"]
            assert not check.passed and told in str(check.description)
        done, deployed = run_version(workshop, instance, "2.0")
        assert done.success and deployed == ["2.0"]
        key = dg.AssetKey(["churn", "evaluation"])
        found = {dg.AssetCheckKey(key, each.check_name): each for each in done.get_asset_check_evaluations()}
        latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(found))
        shown = {key: record.status.value == "SUCCEEDED" for key, record in latest.items()}
        assert shown == {key: each.passed for key, each in found.items()}, "the lineage shows the last version's"
        red = [key.name for key, each in found.items() if not each.passed and each.severity.value == "ERROR"]
        assert not red and shown[dg.AssetCheckKey(key, "promote")]
        assert {record.run_id for record in latest.values()} == {done.run_id}
        failed = (
            instance.event_log_storage.get_latest_asset_partition_materialization_attempts_without_materializations(key)
        )
        assert not failed
    kept = workshop.home.monitor("churn").results / "evaluations" / "failed"
    [file] = kept.glob("*.json")
    assert json.loads(file.read_text())["outcome"] == "cannot_tell"

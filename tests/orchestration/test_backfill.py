"""Real runs on a real (SQLite) Dagster instance: a range of windows, one window, by hand, again, and on broken data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from orchestration import jobs, partitions
from orchestration.backfill import dagster_instance, materialize_range
from sightline.errors import SightlineError
from sightline.home import MonitorPaths
from sightline.lake.intake.migrate import migrate
from sightline.lake.store.progress import open_progress
from sightline.results.evidence import read_evidence
from sightline.results.judgements import read_judgements
from sightline.results.snapshots import read_snapshot
from sightline.spec import names, plan
from sightline.spec.model import MonitorSpec
from sightline.spec.windows import keys_between
from sightline.warehouse import connect
from tests.support.workshop import (
    AWKWARD,
    DAYS,
    HOURS,
    REFERENCE_DAYS,
    ROWS_PER_DAY,
    SHIFT_DAY,
    Workshop,
    churn_rows,
    land,
)

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def instance(workshop: Workshop) -> Iterator[dg.DagsterInstance]:
    with dagster_instance(workshop.home) as opened:
        yield opened


@pytest.fixture
def built(workshop: Workshop) -> dg.Definitions:
    from orchestration.definitions import build

    return build(workshop.home)


def run(
    built: dg.Definitions,
    instance: dg.DagsterInstance,
    spec: MonitorSpec,
    flow: str,
    first: str,
    last: str | None = None,
    *,
    only: Sequence[str] | None = None,
    must_succeed: bool = True,
) -> dg.ExecuteInProcessResult:
    """Run a job over a window or a range."""
    keys = [dg.AssetKey([spec.id, name]) for name in only] if only else None
    result = built.resolve_job_def(names.job_name(spec, flow)).execute_in_process(
        instance=instance,
        tags=partitions.run_tags(first, last or first),
        run_config=QUIET,
        raise_on_error=False,
        asset_selection=keys,
    )
    assert result.success or not must_succeed, [e.message for e in result.all_events if e.is_failure]
    return result


def states(instance: dg.DagsterInstance, spec: MonitorSpec, asset: str, check: str) -> dict[str, str]:
    """Partition -> latest status of a check, as the UI shows it."""
    key = dg.AssetCheckKey(dg.AssetKey([spec.id, asset]), check)
    infos = instance.event_log_storage.get_asset_check_partition_info([key])
    return {info.partition_key: info.latest_execution_status.value for info in infos if info.partition_key}


def evaluation(
    instance: dg.DagsterInstance, spec: MonitorSpec, asset: str, check: str, partition: str
) -> dg.AssetCheckEvaluation:
    """The latest result of a check for a partition."""
    key = dg.AssetCheckKey(dg.AssetKey([spec.id, asset]), check)
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=2000)
    for record in records:
        found = record.event.dagster_event.event_specific_data if record.event else None
        if isinstance(found, dg.AssetCheckEvaluation) and found.partition == partition:
            return found
    raise AssertionError(f"no result of {check} for {partition}")


def marts(paths: MonitorPaths) -> dict[str, pl.DataFrame]:
    """All marts of a monitor."""
    with connect(paths, read_only=True) as con:
        names = con.sql("select table_name from information_schema.tables where table_schema = 'marts'").fetchall()
        return {name: con.sql(f"select * from marts.{name}").pl() for (name,) in names}


class TestHistory:
    """What the ranged runs of `materialize_range` left."""

    def test_every_partition_is_materialized_with_its_own_numbers(self, workshop, instance):
        spec = workshop.churn
        for name in (
            "inferences",
            "labels",
            "data_quality",
            "drift",
            "estimated_quality",
            "model_quality",
            "alerts",
            "column_bins",
        ):
            found = instance.get_materialized_partitions(dg.AssetKey([spec.id, name]))
            assert {workshop.day(n) for n in range(DAYS)} <= found, name
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(
                asset_key=dg.AssetKey([spec.id, "drift"]), asset_partitions=[workshop.day(3), workshop.day(SHIFT_DAY)]
            ),
            limit=2,
        ).records
        psi = {r.partition_key: r.asset_materialization.metadata["psi: age"].value for r in records}
        assert psi[workshop.day(3)] < 0.2
        assert psi[workshop.day(SHIFT_DAY)] > 1

    def test_row_counts_are_those_landed(self, workshop, instance):
        key = dg.AssetKey([workshop.churn.id, "inferences"])
        [record] = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, asset_partitions=[workshop.day(5)]), limit=1
        ).records
        assert record.asset_materialization.metadata["dagster/partition_row_count"].value == ROWS_PER_DAY

    def test_the_change_is_one_incident_and_fails_the_check_of_its_column_from_that_day_on(self, workshop, instance):
        spec = workshop.churn
        incidents = read_snapshot(workshop.home.monitor(spec.id), "incidents")
        assert incidents["change_point"].to_list() == [spec.window_start(workshop.day(SHIFT_DAY)).replace(tzinfo=None)]
        found = states(instance, spec, "drift", "drift__age")
        assert {found[workshop.day(n)] for n in range(SHIFT_DAY, DAYS)} == {"FAILED"}
        failed = evaluation(instance, spec, "drift", "drift__age", workshop.day(DAYS - 1))
        assert failed.severity is dg.AssetCheckSeverity.ERROR
        assert failed.metadata["change point"].value.startswith(workshop.day(SHIFT_DAY))
        assert "higher by" in failed.metadata["reason"].value
        assert failed.target_materialization_data is not None

    def test_the_traffic_light_is_red_on_the_days_of_the_incident_and_tells_its_streams(self, workshop, instance):
        spec = workshop.churn
        found = states(instance, spec, "alerts", "open_incidents")
        assert {key for key, state in found.items() if state == "FAILED"} == {
            workshop.day(n) for n in range(SHIFT_DAY, DAYS)
        }
        last = evaluation(instance, spec, "alerts", "open_incidents", workshop.day(DAYS - 1))
        assert f"since {workshop.day(SHIFT_DAY)} (open, " in last.description
        assert "drift/age/" in last.description
        assert set(states(instance, spec, "alerts", "hard_rules").values()) == {"SUCCEEDED"}

    def test_checks_below_the_engine_only_warn(self, workshop, instance):
        spec = workshop.churn
        for check in plan.checks(spec):
            overdue = check.metric == "labelled_rate"
            if check.column in ("age", "@features") or overdue or check.asset in ("inferences", "labels", "alerts"):
                continue
            for key, state in states(instance, spec, check.asset, check.name).items():
                if state == "FAILED":
                    assert (
                        evaluation(instance, spec, check.asset, check.name, key).severity is dg.AssetCheckSeverity.WARN
                    )

    def test_days_whose_labels_are_overdue_say_so(self, workshop, instance):
        last = workshop.day(DAYS - 1)
        assert last not in states(instance, workshop.churn, "model_quality", "quality__roc_auc"), "no verdict"
        found = evaluation(instance, workshop.churn, "alerts", "coverage", last)
        assert "quality__accuracy" in found.description and "(no labels)" in found.description

    def test_awkward_names_an_always_missing_column_and_another_schedule(self, workshop, instance):
        spec = workshop.price
        judged = read_judgements(workshop.home.monitor(spec.id), metric="psi", segment="all")
        assert set(AWKWARD) | {"@prediction", "@label"} <= set(
            judged.filter(pl.col("status") != "insufficient_data")["column"]
        )
        assert judged.filter(pl.col("column") == "nothing")["status"].unique().to_list() in ([], ["insufficient_data"])
        assert judged["window_start"].n_unique() == HOURS
        missing = read_judgements(workshop.home.monitor(spec.id), metric="null_rate", column="nothing", segment="all")
        assert missing["value"].unique().to_list() == [1.0]
        assert states(instance, spec, "drift", "drift__nothing") == {}, "no verdict"
        found = evaluation(instance, spec, "alerts", "coverage", workshop.hour(HOURS - 1))
        assert "drift__nothing" in found.description

    def test_custom_metrics_live_like_the_others(self, workshop):
        judged = read_judgements(workshop.home.monitor("price"), metric="dear", segment="all")
        assert len(judged) == HOURS
        assert judged["value"].is_between(0.3, 0.7).all()
        assert judged["ci_low"].is_not_null().all()

    def test_custom_metrics_in_python_too_and_a_missing_one_says_why_and_stops_nothing(self, workshop, instance):
        spec, paths = workshop.price, workshop.home.monitor("price")
        judged = read_judgements(paths, metric="typical_error", segment="all", asset="model_quality")
        assert len(judged) == HOURS and judged["status"].is_in(["ok", "warn"]).all()
        assert judged["value"].is_between(2, 5).all()  # the median of |N(0, 5)| is 3.4
        assert (judged["ci_low"] < judged["value"]).all() and (judged["value"] < judged["ci_high"]).all()
        assert judged["bound_high"].is_not_null().any() and judged["bound_low"].is_null().all()
        evidence = read_evidence(paths).filter(pl.col("stream") == "model_quality/typical_error")
        assert evidence["value"].is_not_null().sum() > 0 and len(evidence) == evidence["window_key"].n_unique()
        assert set(states(instance, spec, "model_quality", "quality__typical_error").values()) == {"SUCCEEDED"}
        lost = read_judgements(paths, metric="lost", asset="data_quality")
        assert lost["status"].unique().to_list() == ["insufficient_data"] and len(lost) == HOURS
        assert lost["reason"].str.contains("metrics_of_price has no lost").all()
        assert set(states(instance, spec, "data_quality", "metric__lost").values()) == {"FAILED"}
        found = evaluation(instance, spec, "data_quality", "metric__lost", workshop.hour(HOURS - 1))
        assert found.severity is dg.AssetCheckSeverity.WARN and "the metric failed: " in str(found.description)

    def test_quality_is_estimated_for_every_day_and_audited_once_the_labels_are_in(self, workshop, instance):
        spec, paths = workshop.churn, workshop.home.monitor("churn")
        whole = {"segment": "all"}
        estimated = read_judgements(paths, metric="estimated_roc_auc", asset="estimated_quality", **whole)
        estimated = estimated.filter(model_version="all").sort("window_start")
        assert len(estimated) == DAYS and set(estimated["status"]) == {"ok"}
        assert estimated["reason"].str.starts_with("estimated without labels: assumes P(y | score)").all()
        realised = read_judgements(paths, metric="roc_auc", asset="model_quality", **whole)
        realised = realised.filter(pl.col("value").is_not_null(), model_version="all").sort("window_start")
        both = realised.join(estimated, on="window_start", suffix="_before")
        inside = both["value"].is_between(both["ci_low_before"], both["ci_high_before"])
        assert len(both) == DAYS - 2 and inside.mean() > 0.85
        audited = read_judgements(paths, metric="estimation_error_roc_auc", asset="model_quality", **whole)
        audited = audited.filter(model_version="all").sort("window_start")
        assert audited["value"].to_list() == pytest.approx((both["value"] - both["value_before"]).to_list(), abs=1e-12)
        evidence = read_evidence(paths).filter(pl.col("stream") == "model_quality/estimation_error_roc_auc")
        assert len(evidence) == DAYS - 2
        assert set(states(instance, spec, "estimated_quality", "estimate__roc_auc").values()) == {"SUCCEEDED"}
        found = evaluation(instance, spec, "estimated_quality", "estimate__roc_auc", workshop.day(DAYS - 1))
        assert found.description.startswith("Estimated without labels: assumes P(y | score) as in the reference. ")

    def test_errors_are_estimated_for_every_hour_and_audited(self, workshop, instance):
        spec, paths = workshop.price, workshop.home.monitor("price")
        estimated = read_judgements(paths, metric="estimated_mae", asset="estimated_quality", segment="all")
        realised = read_judgements(paths, metric="mae", asset="model_quality", segment="all")
        both = realised.filter(pl.col("status").is_in(["ok", "warn"])).join(
            estimated, on=["window_start", "model_version"], suffix="_before"
        )
        assert len(estimated) == HOURS and set(both["status_before"]) == {"ok"} and len(both) > HOURS / 2
        assert both["value"].is_between(both["ci_low_before"], both["ci_high_before"]).mean() > 0.85
        assert estimated["reason"].str.starts_with("estimated without labels: assumes errors at each predicted").all()
        assert set(states(instance, spec, "estimated_quality", "estimate__mae").values()) == {"SUCCEEDED"}
        assert not read_judgements(paths, metric="estimation_error_mae", asset="model_quality").is_empty()

    def test_the_run_can_be_found_from_the_ui(self, workshop, instance):
        [run] = [r for r in instance.get_runs() if r.job_name == "churn__backfill"]
        assert run.is_success
        assert run.remote_job_origin.location_name == "sightline"
        assert run.tags[partitions.RANGE_START] == workshop.day(0)

    def test_sensors_find_nothing_left_to_do(self, workshop, instance, built):
        for name in ("churn__inferences", "price__labels"):
            assert not requests(built, instance, name)


def requests(
    built: dg.Definitions, instance: dg.DagsterInstance, name: str, cursor: str | None = None
) -> list[dg.RunRequest]:
    """One tick of a sensor; closing windows (no new data) are left out, because the clock goes on during the tests."""
    found = tick(built, instance, name, cursor)
    return [request for request in found.run_requests or [] if request.asset_selection is None]


def tick(built: dg.Definitions, instance: dg.DagsterInstance, name: str, cursor: str | None = None) -> dg.SensorResult:
    repository = built.get_repository_def()
    context = dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=repository, sensor_name=name)
    return repository.get_sensor_def(name)(context)


class TestNewLabels:
    @pytest.fixture
    def landed(self, workshop: Workshop) -> str:
        """Labels of the last day but one, all wrong."""
        spec, day = workshop.churn, DAYS - 2
        labels = churn_rows(spec.first_window)[1].filter(pl.col("day") == day).drop("day")
        land(workshop.home, "churn", "labels", "late", labels.with_columns(churned=1 - pl.col("churned")))
        return workshop.day(day)

    def test_start_one_run_of_just_their_window_which_changes_quality_and_the_check(
        self, workshop, instance, built, landed
    ):
        spec, paths = workshop.churn, workshop.home.monitor("churn")
        first = tick(built, instance, "churn__labels")
        [request] = [r for r in first.run_requests if r.asset_selection is None]
        assert request.tags["dagster/partition"] == landed
        others = read_judgements(paths, asset="model_quality").filter(
            pl.col("window_start") != spec.window_start(landed).replace(tzinfo=None)
        )

        result = built.resolve_job_def("churn__delayed").execute_in_process(
            instance=instance, tags=request.tags, run_config=QUIET
        )
        assert result.success
        auc = read_judgements(paths, metric="roc_auc", segment="all").filter(pl.col("model_version") == "all")
        value = auc.filter(pl.col("window_start") == spec.window_start(landed).replace(tzinfo=None))["value"].item()
        assert value < 0.4
        found = evaluation(instance, spec, "model_quality", "quality__roc_auc", landed)
        assert found.passed is False
        assert "is below fail_below: 0.5. " in found.description
        after = read_judgements(paths, asset="model_quality").filter(
            pl.col("window_start") != spec.window_start(landed).replace(tzinfo=None)
        )
        assert after.equals(others), "no other window was touched"

        second = tick(built, instance, "churn__labels", first.cursor)
        assert not [r for r in second.run_requests or [] if r.asset_selection is None]

    def test_a_failed_run_is_asked_for_again_with_another_key(self, workshop, instance, built, landed):
        first = tick(built, instance, "churn__labels")
        [request] = [r for r in first.run_requests if r.asset_selection is None]
        instance.add_run(failed_run(request))
        second = tick(built, instance, "churn__labels", first.cursor)
        [again] = [r for r in second.run_requests if r.asset_selection is None]
        assert again.run_key != request.run_key
        assert again.tags["dagster/partition"] == landed

    def test_labels_whose_prediction_comes_later_are_matched_then(self, workshop, instance, built):
        spec = workshop.churn
        rows = churn_rows(spec.first_window)[0].filter(pl.col("id") == "c000005").with_columns(id=pl.lit("latecomer"))
        land(workshop.home, "churn", "labels", "early", pl.DataFrame({"id": ["latecomer"], "churned": [1]}))
        run(built, instance, spec, "delayed", workshop.day(DAYS - 1), only=["labels"])
        assert not requests(built, instance, "churn__labels")
        land(workshop.home, "churn", "inferences", "late", rows)
        [request] = requests(built, instance, "churn__inferences")
        assert request.tags["dagster/partition"] == workshop.day(0)
        run(built, instance, spec, "immediate", workshop.day(0), only=["inferences"])
        [request] = requests(built, instance, "churn__labels")
        assert request.tags["dagster/partition"] == workshop.day(0)


def failed_run(request: dg.RunRequest) -> dg.DagsterRun:
    return dg.DagsterRun(job_name="churn__delayed", tags=dict(request.tags), status=dg.DagsterRunStatus.FAILURE)


class TestAgain:
    def test_running_a_window_again_adds_no_judgement_and_no_evidence(self, workshop, instance, built):
        paths, day = workshop.home.monitor("churn"), workshop.day(REFERENCE_DAYS + 2)
        before = read_judgements(paths, latest=False), read_evidence(paths)
        run(built, instance, workshop.churn, "immediate", day)
        assert read_judgements(paths, latest=False).equals(before[0])
        assert read_evidence(paths).equals(before[1])
        with open_progress(paths.ledger) as progress:
            assert progress.done("immediate")[day].at > workshop.churn.window_start(day)

    @pytest.mark.long
    def test_one_mart_alone_is_made_with_all_it_shares_tables_with(self, workshop, instance, built):
        result = run(built, instance, workshop.churn, "immediate", workshop.day(4), only=["column_bins"])
        materialized = {e.asset_key.path[-1] for e in result.get_asset_materialization_events() if e.asset_key}
        assert materialized == {"column_bins"}

    def test_checks_without_a_partition_take_the_latest_windows(self, workshop, instance, built):
        """What "Execute all" in the UI starts."""
        spec = workshop.churn
        checks = built.get_repository_def().asset_graph.asset_check_keys
        wanted = [key for key in checks if key.asset_key == dg.AssetKey([spec.id, "drift"])]
        job = dg.define_asset_job("checks", dg.AssetSelection.checks(*wanted))
        merged = dg.Definitions.merge(built, dg.Definitions(jobs=[job]))
        result = merged.resolve_job_def("checks").execute_in_process(instance=instance, run_config=QUIET)
        assert result.success
        records = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey([spec.id, "drift"]), "drift__age"), limit=50
        )
        assert records[0].run_id == result.run_id and records[0].partition == workshop.day(DAYS - 1), (
            "what the UI shows"
        )
        by_partition = {r.partition: r.status.value for r in records if r.run_id == result.run_id}
        assert by_partition[workshop.day(DAYS - 1)] == "FAILED"
        assert by_partition[workshop.day(DAYS - 20)] == "SUCCEEDED"


class TestBadData:
    def test_a_window_whose_rows_are_all_refused_stops_there(self, workshop, instance, built):
        spec, day = workshop.churn, workshop.day(DAYS)
        start = spec.window_start(day).replace(tzinfo=None)
        rows = pl.DataFrame(
            {"id": [None, None], "at": [start + timedelta(hours=1)] * 2, "p": [0.1, 0.2]},
            schema_overrides={"id": pl.String},
        )
        land(workshop.home, "churn", "inferences", "bad", rows)
        result = run(built, instance, spec, "immediate", day, must_succeed=False)
        assert not result.success
        found = evaluation(instance, spec, "inferences", "contract", day)
        assert not found.passed
        assert found.blocking
        assert "missing_id" in found.metadata["reasons"].value
        done = {e.step_key for e in result.all_events if e.is_step_success}
        assert "churn__drift" not in done, "nothing is built on it"

    def test_an_unreadable_file_is_told_and_stops_no_other(self, workshop, instance, built):
        spec, paths = workshop.churn, workshop.home.monitor("churn")
        (paths.landing_inferences / "damaged.parquet").write_bytes(b"PAR1 no parquet")
        good = churn_rows(spec.first_window)[0].head(3).with_columns(id=pl.format("n{}", "id"))
        land(workshop.home, "churn", "inferences", "good", good)
        found = requests(built, instance, "churn__inferences")
        keys = {r.tags.get("dagster/partition") or r.tags[partitions.RANGE_END] for r in found}
        assert workshop.day(0) in keys
        run(built, instance, spec, "immediate", workshop.day(0))
        with open_progress(paths.ledger) as progress:
            assert progress.rows("inferences", [workshop.day(0)]) == {workshop.day(0): ROWS_PER_DAY + len(good)}
            assert progress.con.execute("SELECT status FROM batches WHERE path LIKE '%damaged.parquet'").fetchone() == (
                "refused",
            )
        found = evaluation(instance, spec, "inferences", "contract", workshop.day(0))
        assert not found.passed
        assert "damaged.parquet: unreadable_file (" in found.description

    def test_one_run_and_two_make_the_same_marts(self, workshop):
        spec, paths = workshop.churn, workshop.home.monitor("churn")
        known = churn_rows(spec.first_window)[1].head(6).drop("day")
        flipped = pl.Series([1, 1, 1, 1, 0, 0])
        odd = known.with_columns(churned=(pl.col("churned") - flipped).abs())
        land(workshop.home, "churn", "labels", "odd", odd)
        repeated = churn_rows(spec.first_window)[0].head(4)
        land(workshop.home, "churn", "inferences", "again", repeated)
        made = []
        for _ in range(2):
            materialize_range(workshop.home, spec, workshop.day(0), workshop.day(1))
            made.append(marts(paths))
        assert made[0].keys() == made[1].keys() and {"rejections", "label_rejections"} <= made[0].keys()
        for name, frame in made[0].items():
            assert_frame_equal(frame, made[1][name], check_row_order=False, rel_tol=1e-9)
        labels = made[0]["label_rejections"].select("kind", "reason", "n").rows()
        assert sorted(labels) == [("labels", "conflicting_label", 4), ("labels", "duplicate", 2)]
        assert made[0]["rejections"].select("kind", "reason", "n").rows() == [("inferences", "duplicate", 4)]

    def test_a_closed_window_without_predictions_fails_the_volume_check(self, workshop, instance, built):
        spec, day = workshop.churn, workshop.day(DAYS)
        run(built, instance, spec, "immediate", day, only=[key.path[-1] for key in _judged(built, spec)])
        found = evaluation(instance, spec, "data_quality", "row_volume", day)
        assert found.severity is dg.AssetCheckSeverity.ERROR
        assert not found.passed
        assert "No predictions" in found.description
        evidence = read_evidence(workshop.home.monitor("churn")).filter(
            pl.col("window_key") == day, pl.col("stream") == "data_quality/n_rows"
        )
        assert evidence["display_value"].to_list() == [0.0]


def test_another_schedule_is_refused_until_the_stored_data_are_migrated(workshop):
    paths = workshop.home.monitor("churn")
    weekly = workshop.churn.model_copy(update={"schedule": "weekly"})
    first, last = weekly.key(weekly.first_window), weekly.key(workshop.churn.window_start(workshop.day(DAYS - 1)))
    with pytest.raises(SightlineError, match=r"schedule was daily, is weekly(.|\n)*sightline migrate churn"):
        materialize_range(workshop.home, weekly, first, last)
    report = migrate(weekly, paths, workshop.home)
    assert (report.repeated, report.kept) == (0, [])
    materialize_range(workshop.home, weekly, first, last)
    judged = read_judgements(paths, metric="n_rows", segment="all").filter(pl.col("model_version") == "all")
    assert judged["value"].sum() == DAYS * ROWS_PER_DAY
    assert {weekly.key(at) for at in judged["window_start"]} == set(keys_between(weekly, first, last))
    assert (judged["window_end"] - judged["window_start"]).unique().to_list() == [timedelta(days=7)]
    assert report.archive is not None and list((report.archive / "results" / "judgements").iterdir())


def _judged(built: dg.Definitions, spec: MonitorSpec) -> list[dg.AssetKey]:
    """What a run for a window that has only closed selects."""
    from orchestration.monitor import Monitor
    from orchestration.monitor_definitions import models_of
    from orchestration.resources import ensure_manifest
    from sightline.home import Home

    home = Home.from_env()
    return jobs.asset_keys(Monitor(spec, home, models_of(ensure_manifest(home))), "immediate", with_intake=False)

"""Runs that are out of the ordinary.

Nothing there, no reference, labels that come late or change, windows that empty.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sightline.errors import SightlineError
from sightline.home import Home
from sightline.lake.intake.load import intake
from sightline.spec.judging_sections import CustomMetric
from sightline.warehouse import build_reference, connect, ensure_reference, load_reference, prepare, write_control
from tests.dbt.support import ROOT, START, Bench, spec_of

NAIVE = START.replace(tzinfo=None)
DAY = timedelta(days=1)


@pytest.fixture
def bench(tmp_path) -> Bench:
    """Two days of ten predictions, nothing landed, in a folder whose name would be a pattern."""
    n = 20
    inferences = pl.DataFrame(
        {
            "prediction_id": [f"p{i}" for i in range(n)],
            "timestamp": [NAIVE + timedelta(hours=2.4 * i) for i in range(n)],
            "score": [i / n for i in range(n)],
            "x": [float(i) for i in range(n)],
        }
    )
    labels = inferences.select("prediction_id", label=(pl.col("score") > 0.5).cast(pl.Int64))
    spec = spec_of(
        model={"id": "small", "task": "binary_classification"},
        columns={"score": "score", "features": {"x": "numeric"}},
        labels={"column": "label"},
        reference={"kind": "window", "start": START.isoformat(), "end": (START + DAY).isoformat()},
    )
    return Bench(spec, Home(tmp_path / "home [1] *"), inferences, labels)


def test_an_empty_lake_and_no_reference_give_empty_marts_and_unit_tests_pass(bench):
    bench.control(["2026-01-05"])
    statuses = bench.build()
    assert set(statuses.values()) <= {"success", "pass", "no-op"}
    assert all(mart.is_empty() for mart in bench.all_marts().values())
    assert len(bench.all_marts()) == 24
    done = bench.dbt("test --select test_type:unit")
    assert done.is_success, done.output[-4000:]
    written = sum(file.read_text().count("    model: ") for file in (ROOT / "dbt_project" / "models").rglob("*.yml"))
    assert written >= 4 and f"PASS={written} WARN=0 ERROR=0 SKIP=0" in done.output


def test_labels_arrive_late_change_and_meet_bins_frozen_later(bench):
    bench.land("inferences", "all", bench.inferences)
    bench.control()
    bench.build()
    assert ensure_reference(bench.spec, bench.paths, bench.home) is not None
    assert "@label" not in load_reference(bench.paths).columns
    before = bench.mart("column_moments")
    assert bench.mart("column_bins").is_empty() and bench.mart("label_counts")["n_labelled"].sum() == 0

    bench.land("labels", "first", bench.labels.head(10), START + DAY / 2)
    late = START + 3 * DAY
    changed = pl.DataFrame({"prediction_id": ["p0"], "label": [1]})
    bench.land("labels", "changed", changed, late)
    first_id = load_reference(bench.paths).id
    extended = ensure_reference(bench.spec, bench.paths, bench.home)
    assert extended.is_new and extended.id != first_id and "@label" in extended.columns
    bench.control(["2026-01-05"])
    bench.build()
    counts = bench.mart("label_counts")
    assert counts.filter(pl.col("window_key") == "2026-01-05").select("n_predictions", "n_labelled", "n_revised").row(
        0
    ) == (10, 10, 1)
    confusion = bench.mart("confusion")
    assert confusion.filter(actual_class="1").select(pl.col("n").sum()).item() == 1
    with connect(bench.paths, read_only=True) as con:
        current = con.sql("SELECT label_class, count(*) FROM raw.current_labels GROUP BY 1 ORDER BY 1").fetchall()
    assert confusion.group_by("actual_class").agg(pl.col("n").sum()).sort("actual_class").rows() == current
    assert bench.mart("label_arrivals").group_by("delay_bin").agg(pl.col("n").sum()).rows() == [(2, 10)]
    assert bench.mart("label_bins")["n"].sum() == 10
    bins = bench.mart("column_bins")
    assert set(bins["window_key"]) == {"2026-01-05"}  # the other day keeps its rows until it is run with the new bins
    assert bins.filter(column_name="x")["n"].sum() == 10
    assert_frame_equal(before, bench.mart("column_moments"))


def test_a_window_that_has_become_empty_loses_its_rows(bench):
    bench.land("inferences", "all", bench.inferences)
    bench.land("labels", "all", bench.labels)
    bench.control()
    bench.build()
    assert set(bench.mart("quality_sums")["window_key"]) == {"2026-01-05", "2026-01-06"}
    for kind in ("inferences", "labels"):
        for part in (bench.paths.lake / kind / "window=2026-01-06").glob("*.parquet"):
            part.unlink()
    bench.control(["2026-01-06"])
    bench.build()
    for name, mart in bench.all_marts().items():
        assert set(mart["window_key"]) <= {"2026-01-05"}, name


def test_a_window_of_too_many_labels_has_no_score_areas_and_loses_those_it_had(bench):
    bench.land("inferences", "all", bench.inferences)
    bench.land("labels", "most", bench.labels.head(13))
    bench.control()
    bench.build()
    areas = bench.mart("score_areas")
    assert areas.select("window_key", "model_version").rows() == [
        (key, version) for key in ("2026-01-05", "2026-01-06") for version in ("all", "unversioned")
    ]
    bench.control()
    with connect(bench.paths) as con:
        con.execute("INSERT INTO control.settings(key, value) VALUES ('exact_rows', '9')")
    bench.build()
    assert_frame_equal(bench.mart("score_areas"), areas.filter(window_key="2026-01-06"))


def test_rejected_rows_are_counted_in_their_window(bench):
    rows = bench.inferences.with_columns(pl.col("x").cast(pl.String)).with_columns(
        x=pl.when(pl.col("prediction_id") == "p3").then(pl.lit("many")).otherwise("x"),
        prediction_id=pl.when(pl.col("prediction_id") == "p4").then(None).otherwise("prediction_id"),
    )
    folder = bench.paths.landing_inferences
    folder.mkdir(parents=True)
    rows.write_csv(folder / "rows.csv")
    intake(bench.spec, bench.paths, "inferences", bench.home)
    bench.control()
    bench.build("--select", "tag:immediate")
    found = bench.mart("rejections").select("window_key", "kind", "column_name", "reason", "severity", "n").rows()
    assert ("2026-01-05", "inferences", "x", "bad_type", "value", 1) in found
    assert ("2026-01-05", "inferences", "prediction_id", "missing_id", "row", 1) in found
    assert bench.mart("service_health")["n_rows"].sum() == 19


def test_a_broken_custom_metric_is_left_out_and_one_without_value_has_no_rows(bench):
    metrics = (
        CustomMetric(name="broken", sql="no_such_column + 1", needs_label=True),
        CustomMetric(name="fails_on_rows", sql="cast(prediction_id || 'x' as double)", needs_label=True),
        CustomMetric(name="good", sql="cast(label as double) -- a comment", needs_label=True),
    )
    spec = bench.spec.model_copy(update={"metrics": metrics})
    bench = Bench(spec, bench.home, bench.inferences, bench.labels)
    bench.land("inferences", "all", bench.inferences)
    bench.land("labels", "all", bench.labels)
    bench.control()
    bench.build()
    sums = bench.mart("custom_sums")
    assert set(sums["metric"]) == {"good"}
    assert sums.filter(metric="good", segment="all")["n"].sum() == 20
    assert bench.mart("quality_sums")["n"].sum() == 20


@pytest.mark.long
def test_ranking_has_its_inference_side_and_label_drift(bench):
    columns = bench.spec.columns.model_copy(update={"query_id": "query"})
    model = bench.spec.model.model_copy(update={"task": "ranking"})
    spec = bench.spec.model_copy(update={"model": model, "columns": columns})
    rows = bench.inferences.with_columns(query=pl.lit("q"))
    bench = Bench(spec, bench.home, rows, bench.labels)
    bench.land("inferences", "all", bench.inferences)
    bench.land("labels", "all", bench.labels)
    build_reference(bench.spec, bench.paths, bench.home)
    bench.control()
    bench.build()
    assert bench.mart("column_bins").filter(column_name="@score")["n"].sum() == 20
    assert bench.mart("label_bins")["n"].sum() == bench.mart("label_counts")["n_labelled"].sum() == 20
    assert bench.mart("label_moments")["sum_x"].sum() == bench.labels["label"].sum()
    assert bench.mart("confusion").is_empty() and bench.mart("score_label_bins").is_empty()
    ndcg = bench.mart("custom_sums").filter(metric="ndcg")
    assert ndcg.select("window_key", "n", "sum_value").rows() == [("2026-01-06", 1, pytest.approx(1.0))]


def test_control_refuses_keys_of_another_schedule(bench):
    with connect(bench.paths) as con:
        prepare(con, bench.spec, bench.paths)
        with pytest.raises(SightlineError, match="no window of a monitor with schedule daily"):
            write_control(con, bench.spec, None, ["2026-01-05-03"])


def test_dbt_says_what_is_missing_without_control_tables(bench):
    with connect(bench.paths) as con:
        prepare(con, bench.spec, bench.paths)
    done = bench.dbt("run --select stg_inferences int_numeric_columns_aggregated")
    assert not done.is_success
    assert "call sightline.warehouse.control.write_control before dbt" in done.output


@pytest.mark.long
def test_sources_have_freshness(bench):
    bench.land("inferences", "all", bench.inferences)
    bench.land("labels", "all", bench.labels, START + DAY)
    bench.control(["2026-01-05"])
    done = bench.dbt("source freshness")
    assert done.is_success, done.output[-3000:]
    assert "PASS freshness of raw.inferences" in done.output and "WARN freshness of raw.labels" in done.output


def test_a_window_without_a_single_value_of_a_bounded_column(bench):
    written = bench.spec.model_dump(mode="json")
    written["columns"]["features"] = {"x": {"kind": "numeric", "min": 0.0, "max": 100.0}}
    bench.spec = bench.spec.model_validate(written)
    gone = pl.when(pl.col("timestamp") >= NAIVE + DAY).then(None).otherwise(pl.col("x"))
    bench.land("inferences", "all", bench.inferences.with_columns(x=gone))
    assert ensure_reference(bench.spec, bench.paths, bench.home) is not None
    bench.control()
    bench.build()
    moments = bench.mart("column_moments").filter(column_name="x", window_key="2026-01-06", segment="all")
    assert moments.select("n_rows", "n_null", "n_not_finite", "n_contract", "sum_x").rows() == [(10, 10, 0, 0, None)]
    bins = bench.mart("column_bins").filter(column_name="x", window_key="2026-01-06", segment="all")
    kinds = load_reference(bench.paths).bins.filter(column_name="x").select("bin_id", "bin_kind")
    assert bins.join(kinds, on="bin_id").select("bin_kind", "n").rows() == [("null", 10)]

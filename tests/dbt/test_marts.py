"""The real dbt on a warehouse made by real intake: every mart equals what Polars finds in the landed rows."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn import metrics as sk

from metrics_py.quality.table import quality_table
from sightline.warehouse import load_reference
from tests.dbt import expected, worlds
from tests.dbt.expected import KEYS, aggregate, labelled, rows
from tests.dbt.support import Bench

N = pl.len().cast(pl.Int64)
WORLDS = ["binary_hourly", "regression_weekly", "multiclass_daily"]


@pytest.fixture(scope="module")
def benches(tmp_path_factory) -> dict[str, Bench]:
    return {name: getattr(worlds, name)(tmp_path_factory.mktemp(name)) for name in WORLDS}


@pytest.fixture
def binary(benches) -> Bench:
    return benches["binary_hourly"]


@pytest.fixture
def regression(benches) -> Bench:
    return benches["regression_weekly"]


@pytest.fixture
def multiclass(benches) -> Bench:
    return benches["multiclass_daily"]


def check(bench: Bench, mart: str, wanted: pl.DataFrame) -> None:
    """The mart holds exactly these rows (sums to 1e-12 relative), and window_start belongs to window_key."""
    found = bench.mart(mart)
    starts = [bench.spec.window_start(key).replace(tzinfo=None) for key in found["window_key"].to_list()]
    assert found["window_start"].to_list() == starts
    found = found.drop("window_start")
    assert found.columns == wanted.columns
    keys = [c for c in wanted.columns if wanted[c].dtype != pl.Float64]
    assert len(wanted) > 0
    assert_frame_equal(found.sort(keys), wanted.sort(keys), rel_tol=1e-12, abs_tol=1e-9)


@pytest.mark.parametrize("name", WORLDS)
def test_service_health(benches, name):
    bench = benches[name]
    columns = bench.spec.columns
    at = pl.col(columns.timestamp).dt.cast_time_unit("us")
    is_error = pl.col("status") == "500" if columns.status else pl.lit(False)
    ms = pl.col("ms") if columns.latency_ms else pl.lit(None, pl.Float64)
    wanted = aggregate(
        rows(bench),
        [],
        n_rows=N,
        n_errors=is_error.fill_null(False).sum().cast(pl.Int64) if columns.status else pl.lit(0, pl.Int64),
        n_latency=ms.count().cast(pl.Int64) if columns.latency_ms else pl.lit(0, pl.Int64),
        sum_latency_ms=ms.sum() if columns.latency_ms else ms,
        max_latency_ms=ms.max() if columns.latency_ms else ms,
        sum_weight=pl.col("w").sum() if columns.weight else pl.len().cast(pl.Float64),
        first_predicted_at=at.min(),
        last_predicted_at=at.max(),
    )
    found = bench.mart("service_health").drop("window_start", "last_received_at")
    assert_frame_equal(found.sort(KEYS), wanted.sort(KEYS), rel_tol=1e-12)


def test_latency_bins(binary):
    bin_ = (pl.col("ms").log() / np.log(1.02)).ceil().cast(pl.Int32)
    check(binary, "latency_bins", aggregate(rows(binary).with_columns(bin=bin_), ["bin"], n=N))


def test_moments_of_awkward_columns_and_their_contracts(binary):
    frame, wind, category, flag = rows(binary), pl.col(worlds.NUMERIC), pl.col(worlds.CATEGORY), pl.col(worlds.JINJA)
    none = pl.lit(None, pl.Float64)
    bad_category = category.is_null() | ~category.is_in(["a", "b's", 'c"d'])
    parts = [
        expected.moments(frame, worlds.NUMERIC, wind, contract=(wind < 0) | (wind > 15)),
        expected.moments(frame, "@score", pl.col("score")),
        expected.moments(frame, worlds.JINJA, flag.cast(pl.Float64), is_true=True),
    ]
    for name, column, contract in ((worlds.CATEGORY, category, bad_category), ("When", pl.col("When"), None)):
        part = expected.moments(frame, name, column.is_null().cast(pl.Float64), contract=contract)
        counts = aggregate(frame, [], n_null=column.is_null().sum().cast(pl.Int64))
        part = part.drop("n_null").join(counts, on=KEYS).with_columns(sum_x=none, sum_xx=none, min_x=none, max_x=none)
        parts.append(part.select(parts[0].columns))
    check(binary, "column_moments", pl.concat(parts).sort([*KEYS, "column_name"]))


def test_moments_of_texts_and_embeddings(regression):
    frame = rows(regression)
    norm = pl.col("Vector").list.eval((pl.element().cast(pl.Float32).cast(pl.Float64) ** 2).sum().sqrt()).list.first()
    wanted = pl.concat(
        [
            expected.moments(frame, "Text", pl.col("Text").str.len_chars().cast(pl.Float64)),
            expected.moments(frame, "Vector", norm),
            expected.moments(frame, "@prediction", pl.col("Preis €")),
        ]
    )
    check(regression, "column_moments", wanted)


def test_bins(binary, regression, multiclass):
    readings = {name: pl.col(name) for name in (worlds.NUMERIC, worlds.CATEGORY, worlds.JINJA, "When")}
    check(binary, "column_bins", expected.bins(binary, rows(binary), readings | {"@score": pl.col("score")}))
    norm = pl.col("Vector").list.eval((pl.element().cast(pl.Float32).cast(pl.Float64) ** 2).sum().sqrt()).list.first()
    readings = {"Text": pl.col("Text").str.len_chars(), "Vector": norm, "@prediction": pl.col("Preis €")}
    check(regression, "column_bins", expected.bins(regression, rows(regression), readings))
    readings = {f"@class_score:{c}": pl.col(column) for c, column in multiclass.spec.columns.class_scores.items()}
    check(multiclass, "column_bins", expected.bins(multiclass, rows(multiclass), readings))


def test_label_bins(benches):
    for bench in benches.values():
        check(bench, "label_bins", expected.bins(bench, labelled(bench), {"@label": pl.col("_label")}))


def test_label_moments(binary, regression, multiclass):
    positive = (pl.col("_label") == "yes").cast(pl.Float64)
    check(binary, "label_moments", expected.moments(labelled(binary), "@label", positive, is_true=True))
    check(regression, "label_moments", expected.moments(labelled(regression), "@label", pl.col("_label")))
    assert multiclass.mart("label_moments")["sum_x"].null_count() == 4


def test_label_counts(benches):
    for bench in benches.values():
        wanted = aggregate(
            rows(bench),
            [],
            n_predictions=N,
            n_labelled=pl.col("_label").count().cast(pl.Int64),
            n_revised=pl.lit(0, pl.Int64),
            n_retracted=pl.lit(0, pl.Int64),
        )
        check(bench, "label_counts", wanted)


def test_confusion(binary, multiclass, regression):
    decided = pl.when(pl.col("score") >= 0.4).then(pl.lit("yes")).when(pl.col("score") < 0.4).then(pl.lit("no"))
    frame = labelled(binary).with_columns(predicted_class=decided, actual_class="_label").drop_nulls("predicted_class")
    by = ["bucket", "predicted_class", "actual_class"]
    check(binary, "confusion", aggregate(frame, by, n=N))
    scores = multiclass.spec.columns.class_scores
    top = labelled(multiclass).select(list(scores.values())).to_numpy().argmax(axis=1)
    predicted = pl.Series(np.array(list(scores))[top])
    check(
        multiclass,
        "confusion",
        aggregate(labelled(multiclass).with_columns(predicted_class=predicted, actual_class="_label"), by, n=N),
    )
    assert regression.mart("confusion").is_empty()


def test_score_bins(binary, multiclass, regression):
    score, clipped = pl.col("score"), pl.col("score").clip(1e-15, 1 - 1e-15)
    frame = rows(binary).drop_nulls("score").filter(score.is_finite())
    frame = frame.with_columns(
        predicted_class=pl.when(score >= 0.4).then(pl.lit("yes")).otherwise(pl.lit("no")),
        score_bin=(score * 256).floor().clip(0, 255).cast(pl.Int32),
    )
    sums = {
        "sum_score": score.sum(),
        "sum_squared_score": (score * score).sum(),
        "sum_log_loss_positive": -clipped.log().sum(),
        "sum_log_loss_negative": -(1 - score).clip(1e-15, 1 - 1e-15).log().sum(),
    }
    check(binary, "score_bins", aggregate(frame, ["predicted_class", "score_bin"], n=N, **sums))
    assert multiclass.mart("score_bins").is_empty() and regression.mart("score_bins").is_empty()


def test_class_bins(binary, multiclass, regression):
    """Each probability under what its row is decided to be, the largest; labelled rows by what they are."""
    scores = multiclass.spec.columns.class_scores

    def by_class(frame: pl.DataFrame) -> pl.DataFrame:
        top = frame.select(list(scores.values())).to_numpy().argmax(axis=1)
        decided = pl.Series(np.array(list(scores))[top])
        parts = [
            frame.with_columns(
                predicted_class=decided,
                class_name=pl.lit(name),
                score_bin=(pl.col(column) * 256).floor().clip(0, 255).cast(pl.Int32),
                is_positive=pl.col("_label") == name,
                _score=pl.col(column),
            )
            for name, column in scores.items()
        ]
        return pl.concat(parts)

    by, score = ["predicted_class", "class_name", "score_bin"], pl.col("_score")
    sums = {
        "sum_log_loss": -score.clip(1e-15, 1 - 1e-15).log().sum(),
        "sum_score": score.sum(),
        "sum_squared_score": (score**2).sum(),
    }
    whole = aggregate(by_class(rows(multiclass)), by, n=N, **sums).with_columns(n_improper=pl.lit(0, pl.Int64))
    check(multiclass, "class_score_bins", whole)
    check(multiclass, "class_label_bins", aggregate(by_class(labelled(multiclass)), [*by, "is_positive"], n=N))
    for bench in (binary, regression):
        assert bench.mart("class_score_bins").is_empty() and bench.mart("class_label_bins").is_empty()


def test_prediction_and_error_bins(binary, regression):
    """In the bins in which drift counts predictions: all of them, and the errors of the labelled ones."""
    ends, bins = load_reference(regression.paths).columns["@prediction"].cuts()
    price, error = pl.col("Preis €"), pl.col("Preis €") - pl.col("_label")

    def binned(frame: pl.DataFrame) -> pl.DataFrame:
        frame = frame.drop_nulls("Preis €").filter(price.is_finite())
        at = np.asarray(bins)[np.searchsorted(ends, frame["Preis €"].to_numpy(), side="left")]
        return frame.with_columns(prediction_bin=pl.Series(at, dtype=pl.Int32))

    by, mean = ["prediction_bin"], {"n": N, "sum_prediction": price.sum()}
    check(regression, "prediction_bins", aggregate(binned(rows(regression)), by, **mean))
    sums = {
        "sum_abs_error": error.abs().sum(),
        "sum_squared_error": (error**2).sum(),
        "sum_fourth_error": (error**4).sum(),
    }
    check(regression, "error_bins", aggregate(binned(labelled(regression)), by, **mean, **sums))
    assert binary.mart("error_bins").is_empty() and binary.mart("prediction_bins").is_empty()


def test_score_label_bins(binary, multiclass):
    by = ["bucket", "class_name", "score_bin", "is_positive"]

    def binned(frame: pl.DataFrame, name: str, score: str, positive: str) -> pl.DataFrame:
        return frame.drop_nulls(score).with_columns(
            class_name=pl.lit(name),
            score_bin=(pl.col(score) * 256).floor().clip(0, 255).cast(pl.Int32),
            is_positive=pl.col("_label") == positive,
        )

    own, score = binned(labelled(binary), "", "score", "yes"), pl.col("score").sum()
    check(binary, "score_label_bins", aggregate(own, by, n=N, sum_score=score))
    columns = multiclass.spec.columns.class_scores
    parts = [binned(labelled(multiclass), c, p, c).with_columns(score=pl.col(p)) for c, p in columns.items()]
    check(multiclass, "score_label_bins", aggregate(pl.concat(parts), by, n=N, sum_score=score))


def test_the_calibration_error_of_production_is_that_of_its_rows(binary, multiclass):
    """Distance of mean score and share of positives over sixteen bins, by a loop over the rows themselves."""

    def of_rows(score: np.ndarray, is_positive: np.ndarray) -> float:
        place = np.minimum((score * 16).astype(int), 15)
        inside = [place == k for k in range(16) if (place == k).any()]
        return sum(abs(is_positive[rows].mean() - score[rows].mean()) * rows.mean() for rows in inside)

    for bench, named in ((binary, {"yes": "score"}), (multiclass, multiclass.spec.columns.class_scores)):
        table = quality_table(
            score_bins=bench.mart("score_label_bins").filter(segment="all"),
            task=bench.spec.model.task,
            positive="yes",
            by=["window_key", "model_version"],
        ).filter(metric="calibration_error")
        assert len(table) >= 2 and (table["binning_bound"] == 0).all()
        for key, version, value in table.select("window_key", "model_version", "value").iter_rows():
            own = labelled(bench).filter(window_key=key, model_version=version, segment="all")
            errors = []
            for name, column in named.items():
                known = own.drop_nulls(column)
                errors.append(of_rows(known[column].to_numpy(), (known["_label"] == name).to_numpy()))
            assert value == pytest.approx(np.mean(errors), abs=1e-12)


def test_score_areas(binary, multiclass):
    """Every area is that of scikit-learn on the rows themselves; all versions together are a group of their own."""

    def areas(frame: pl.DataFrame, name: str, score: str, positive: str) -> pl.DataFrame:
        scored = frame.drop_nulls(score)
        together = scored.with_columns(model_version=pl.lit("all"))
        found: list[dict[str, object]] = []
        for key, part in pl.concat([scored, together]).group_by(KEYS):
            y, p = (part["_label"] == positive).to_numpy(), part[score].to_numpy()
            row = dict(zip(KEYS, key, strict=True)) | {"class_name": name}
            row |= {"n_positive": int(y.sum()), "n_negative": int((~y).sum())}
            row |= {"roc_auc": sk.roc_auc_score(y, p) if 0 < y.sum() < len(y) else None}
            found.append(row | {"average_precision": sk.average_precision_score(y, p) if y.any() else None})
        return pl.DataFrame(found, infer_schema_length=None)

    check(binary, "score_areas", areas(labelled(binary), "", "score", "yes"))
    parts = [areas(labelled(multiclass), c, column, c) for c, column in multiclass.spec.columns.class_scores.items()]
    check(multiclass, "score_areas", pl.concat(parts))


def sums(
    frame: pl.DataFrame, outcome: pl.Expr | None, forecast: pl.Expr, log_loss: pl.Expr, brier: pl.Expr
) -> pl.DataFrame:
    frame = frame.with_columns(
        f=forecast, l=log_loss, b=brier, y=outcome if outcome is not None else pl.lit(None, pl.Float64)
    )
    error = pl.col("f") - pl.col("y")
    scored = pl.when(pl.col("f").is_not_null()).then(pl.col("y"))
    return aggregate(
        frame,
        ["bucket"],
        n=N,
        sum_label=scored.sum(),
        sum_label_sq=(scored**2).sum(),
        sum_score=pl.col("f").sum(),
        sum_error=error.sum(),
        sum_abs_error=error.abs().sum(),
        sum_squared_error=(error**2).sum(),
        sum_log_loss=pl.col("l").sum(),
        sum_brier=pl.col("b").sum(),
        n_score=pl.col("f").count().cast(pl.Int64),
    ).with_columns(n_improper=pl.lit(None if outcome is not None else 0, pl.Int64))


def test_quality_sums(binary, regression, multiclass):
    y, p = (pl.col("_label") == "yes").cast(pl.Float64), pl.col("score")
    loss = -pl.when(y == 1).then(p).otherwise(1 - p).clip(1e-15, 1 - 1e-15).log()
    check(binary, "quality_sums", sums(labelled(binary), y, p, loss, (p - y) ** 2))
    zero = pl.lit(0.0)
    check(regression, "quality_sums", sums(labelled(regression), pl.col("_label"), pl.col("Preis €"), zero, zero))
    scores = multiclass.spec.columns.class_scores
    given = pl.coalesce(*(pl.when(pl.col("_label") == c).then(pl.col(column)) for c, column in scores.items()))
    brier = pl.sum_horizontal(
        (pl.col(column) - (pl.col("_label") == c).cast(pl.Float64)) ** 2 for c, column in scores.items()
    )
    check(multiclass, "quality_sums", sums(labelled(multiclass), None, given, -given.log(), brier))


def custom(frame: pl.DataFrame, values: dict[str, pl.Expr]) -> pl.DataFrame:
    parts = []
    for name, value in values.items():
        known = frame.with_columns(metric=pl.lit(name), v=value).drop_nulls("v")
        parts.append(
            aggregate(
                known, ["bucket", "metric"], n=N, sum_value=pl.col("v").sum(), sum_value_sq=(pl.col("v") ** 2).sum()
            )
        )
    return pl.concat(parts).sort([*KEYS, "bucket", "metric"])


def test_custom_metrics_value_matrix_and_pinball(binary, regression):
    p, y = pl.col("score"), pl.col("_label")
    decided = pl.when(p >= 0.4).then(pl.lit("yes")).when(p < 0.4).then(pl.lit("no"))
    matrix = binary.spec.value_matrix
    value = pl.coalesce(
        *(pl.when((decided == a) & (y == b)).then(pl.lit(v)) for a, row in matrix.items() for b, v in row.items())
    )
    hit = pl.when(y == "yes").then(p).otherwise(1 - p)
    check(binary, "custom_sums", custom(labelled(binary), {"hit": hit, "value": value}))
    check(binary, "custom_input_sums", custom(rows(binary), {"mean_wind": pl.col(worlds.NUMERIC)}))
    gap = pl.col("_label") - pl.col("Preis €")
    losses = {f"pinball_{q:g}": pl.max_horizontal(q * gap, (q - 1) * gap) for q in (0.5, 0.9)}
    check(regression, "custom_sums", custom(labelled(regression), losses))


def test_quality_cells_add_up_to_the_sums(benches):
    keys = ["window_key", "window_start", "model_version", "segment", "bucket"]
    for bench in benches.values():
        cells, totals = bench.mart("quality_cells"), bench.mart("quality_sums").sort(keys)
        totals = totals.with_columns(pl.col("n_improper").fill_null(0))
        added = cells.group_by(keys).agg(pl.col(pl.Int64, pl.Float64).sum()).select(totals.columns).sort(keys)
        assert_frame_equal(added, totals, check_exact=False, rel_tol=1e-9)
        confusion = bench.mart("confusion")
        decided = cells.filter(pl.col("predicted_class") != "", pl.col("label_class") != "")
        assert decided["n"].sum() == confusion["n"].sum()


def test_cells_of_own_metrics_and_of_class_scores_add_up(binary, regression, multiclass):
    """And they are of the same kinds of rows as the cells of all metrics."""
    keys, kinds = [*KEYS, "bucket", "metric"], ["label_class", "score_group"]
    for bench in (binary, regression):
        cells, totals = bench.mart("custom_cells"), bench.mart("custom_sums").filter(pl.col("metric") != "value")
        added = cells.group_by(keys).agg(pl.col("n", "sum_value").sum()).sort(keys)
        assert len(added) > 100
        assert_frame_equal(added, totals.select(added.columns).sort(keys), check_exact=False, rel_tol=1e-9)
        quality = bench.mart("quality_cells").group_by(*KEYS, *kinds).agg(pl.col("n_score").sum())
        quality = quality.filter(pl.col("n_score") > 0).sort(*KEYS, *kinds)
        [name] = {"hit"} & set(cells["metric"]) or {"pinball_0.5"}
        own = cells.filter(metric=name).group_by(*KEYS, *kinds).agg(n_score=pl.col("n").sum()).sort(*KEYS, *kinds)
        assert_frame_equal(own, quality, check_exact=False)
    shape = [*KEYS, "bucket", "class_name", "score_bin", "is_positive"]
    bins = multiclass.mart("score_label_bins").with_columns(pl.col("bucket") % 16)
    cells = multiclass.mart("class_score_cells").with_columns(is_positive=pl.col("label_class") == pl.col("class_name"))
    added, wanted = (table.group_by(shape).agg(pl.col("n", "sum_score").sum()).sort(shape) for table in (cells, bins))
    assert len(added) > 100
    assert_frame_equal(added, wanted, abs_tol=1e-9)


def test_label_arrivals_count_every_labelled_row(benches):
    for bench in benches.values():
        delays = bench.mart("label_arrivals")
        wanted = aggregate(labelled(bench), [], n=N)
        assert_frame_equal(aggregate(delays, [], n=pl.col("n").sum()), wanted)
        received = bench.paths.landing_labels / "all.parquet"
        waited = [
            max(0.0, received.stat().st_mtime - bench.spec.window_start(key).timestamp())
            / bench.spec.window.total_seconds()
            for key in delays["window_key"].to_list()
        ]
        assert delays["delay_bin"].to_list() == [int(4 * d) if d < 4 else 12 + int(d) for d in waited]
        most = 9 if bench.spec.model.task == "multiclass_classification" else 31
        assert delays["score_group"].is_between(-1, most).all()


def test_a_second_run_over_some_windows_changes_nothing(binary):
    before = binary.all_marts()
    binary.control(binary.keys[2:4])
    binary.build()
    after = binary.all_marts()
    assert before.keys() == after.keys()
    for name, frame in before.items():
        assert_frame_equal(frame, after[name], rel_tol=1e-12)


def test_a_mart_refuses_an_intermediate_table_of_another_run(binary):
    binary.control(binary.keys[:1])
    done = binary.dbt("build --select confusion")
    assert not done.is_success
    assert "was built by another run" in done.output and "--select +confusion" in done.output


def test_flows_are_tagged_and_each_runs_alone(regression):
    regression.control()
    immediate = regression.build("--select", "tag:immediate")
    delayed = regression.build("--select", "tag:delayed")
    models = set(regression.all_marts())
    assert {"column_bins", "rejections", "service_health"} <= immediate.keys()
    assert {"confusion", "label_bins", "quality_sums"} <= delayed.keys()
    assert models <= immediate.keys() | delayed.keys() and not models & immediate.keys() & delayed.keys()


def test_reference_spans_its_windows_only(binary):
    profile = load_reference(binary.paths)
    start = binary.spec.reference.start.replace(tzinfo=None)
    inside = binary.inferences.filter(pl.col("order").is_between(start, start + timedelta(hours=4), closed="left"))
    assert profile.n_rows == len(inside) == int(profile.columns[worlds.NUMERIC].n_reference.sum())
    assert profile.n_windows == 4

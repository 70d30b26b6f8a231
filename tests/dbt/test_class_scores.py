"""Scores of several classes on every path: a label without a score of its own, and scores that do not sum to 1."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

from metrics_py.evaluation.daily_differences import daily_differences
from metrics_py.quality.rows import Roles, quality_of_rows
from sightline.alerts.causes import reading
from sightline.evaluation.run import evaluate
from sightline.home import Home
from sightline.judging import estimated_quality, model_quality
from sightline.judging.frames import Work
from sightline.warehouse import build_reference, connect
from sightline.warehouse.reference import load_reference
from tests.dbt.support import START, Bench, spec_of

SCORED, ALL = ["a", "b", "c"], ["a", "b", "c", "other"]
PER_DAY, OFF = 400, 3
NOW = START + timedelta(days=30)
COLUMNS = {"class_scores": {name: f"P {name}" for name in SCORED}, "segments": ["site"], "features": {"x": "numeric"}}
PROBABILITIES = ("log_loss", "brier", "brier_skill")
TOLD = f"the class scores of {OFF} rows do not sum to 1: they are no probabilities"


def drawn(seed: int, n: int) -> pl.DataFrame:
    """Rows of which one in twelve is of a class that has no score."""
    rng = np.random.default_rng([611, seed])
    p = rng.dirichlet([2, 1, 1], n)
    truth = np.array(SCORED)[[rng.choice(3, p=row) for row in p]]
    truth = np.where(rng.random(n) < 1 / 12, "other", truth)
    return pl.DataFrame({f"P {c}": p[:, i] for i, c in enumerate(SCORED)}).with_columns(
        label=pl.Series(truth),
        site=pl.Series(rng.choice(["north", "south"], n)),
        x=pl.Series(rng.normal(size=n)),
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> tuple[Bench, pl.DataFrame, pl.DataFrame]:
    """Two days, and on the second three rows of the north whose scores say more than is there."""
    rows = drawn(1, 2 * PER_DAY).with_columns(
        prediction_id=pl.format("s{}", pl.int_range(pl.len())),
        timestamp=START.replace(tzinfo=None) + pl.duration(seconds=216 * pl.int_range(pl.len())),
    )
    north = (pl.col("site") == "north") & (pl.col("timestamp") >= START.replace(tzinfo=None) + timedelta(days=1))
    is_off = north & (north.cum_sum() <= OFF)
    rows = rows.with_columns(pl.when(is_off).then(0.9).otherwise(f"P {c}").alias(f"P {c}") for c in SCORED)
    labels = rows.select("prediction_id", "label", known=pl.col("timestamp") + timedelta(hours=1))
    spec = spec_of(
        model={"id": "several", "task": "multiclass_classification"},
        columns=COLUMNS,
        labels={"column": "label", "observed_at": "known", "classes": ALL, "expected_delay": "1d"},
        reference={"kind": "file", "path": "reference.parquet"},
        start=START.isoformat(),
        quality={"windows": ["2d"]},
    )
    bench = Bench(spec, Home(Path(tmp_path_factory.mktemp("several"))), rows.drop("label"), labels)
    rows.head(PER_DAY).write_parquet(bench.home.root / "reference.parquet")
    bench.land("inferences", "all", bench.inferences)
    bench.land("labels", "all", labels)
    build_reference(spec, bench.paths, bench.home)
    bench.control()
    bench.build()
    with connect(bench.paths, read_only=True) as con:
        work = Work(spec, bench.paths, con, bench.keys, {}, NOW)
        judged = [judge(work).judgements for judge in (model_quality.judge, estimated_quality.judge)]
    return bench, pl.concat(judged).filter(model_version="all"), rows


def wanted(rows: pl.DataFrame) -> dict[str, float]:
    """By scikit-learn, with the probability 0 for the class that has no score."""
    y = rows["label"].to_numpy()
    p = np.column_stack([rows.select(f"P {c}" for c in SCORED).to_numpy(), np.zeros(len(rows))])
    brier = brier_score_loss(y, p, labels=ALL)
    shares = np.array([(y == c).mean() for c in ALL])
    loss = log_loss(y, np.clip(p, 1e-15, 1 - 1e-15), labels=ALL)
    return {"log_loss": loss, "brier": brier, "brier_skill": 1 - brier / (1 - (shares**2).sum())}


def of(table: pl.DataFrame, metric: str, segment: str = "all", **more: object) -> dict:
    return table.filter(metric=metric, segment=segment, **more).row(0, named=True)


@pytest.mark.filterwarnings("ignore:The y_prob values do not sum to one")
def test_a_class_without_a_score_has_the_probability_0_on_every_path(world, tmp_path):
    bench, judged, rows = world
    day = rows.head(PER_DAY)
    expected = wanted(day)
    first = judged.filter(window_start=START.replace(tzinfo=None))
    for metric, value in expected.items():
        assert of(first, metric)["value"] == pytest.approx(value, rel=1e-9)
        north = day.filter(site="north")
        assert of(first, metric, "site=north")["value"] == pytest.approx(wanted(north)[metric], rel=1e-9)
        assert of(first, metric)["n"] == PER_DAY and of(first, metric)["reference_value"] == pytest.approx(value)
    roles = Roles("multiclass_classification", "label", class_scores=COLUMNS["class_scores"], classes=tuple(ALL))
    plain = quality_of_rows(day, roles)
    assert {name: plain.filter(metric=name)["value"].item() for name in expected} == pytest.approx(expected, rel=1e-9)
    assert plain.filter(metric="accuracy")["n"].item() == PER_DAY
    frozen = load_reference(bench.paths)
    assert frozen is not None
    sums = frozen.quality["quality_sums"].filter(segment="all")
    assert sums["sum_log_loss"].sum() / sums["n_score"].sum() == pytest.approx(expected["log_loss"], rel=1e-9)
    new = drawn(2, PER_DAY).with_columns(prediction_id=pl.format("s{}", pl.int_range(pl.len())), label=day["label"])
    found = compared(bench, tmp_path, new, day)
    for metric in ("log_loss", "brier"):
        row = of(found.table, metric)
        assert (row["champion"], row["challenger"]) == pytest.approx((expected[metric], wanted(new)[metric]), rel=1e-9)


def compared(bench: Bench, folder: Path, new: pl.DataFrame, old: pl.DataFrame):
    new.write_parquet(folder / "new.parquet")
    old.write_parquet(folder / "old.parquet")
    files = folder / "new.parquet", "2"
    return evaluate(bench.spec, bench.paths, *files, now=NOW, against=folder / "old.parquet")


def test_scores_that_do_not_sum_to_1_have_no_log_loss_in_any_table(world, tmp_path):
    bench, judged, rows = world
    second = judged.filter(window_start=START.replace(tzinfo=None) + timedelta(days=1))
    numbers = ("value", "ci_low", "ci_high")
    for metric in (*PROBABILITIES, *(f"{name}@2d" for name in PROBABILITIES if name != "brier_skill")):
        row = of(second, metric)
        assert (row["status"], row["reason_code"], row["reason"]) == ("insufficient_data", "improper_scores", TOLD)
        assert [row[name] for name in numbers] == [None] * 3
        assert of(second, metric, "site=north")["reason"] == TOLD
    for metric in ("estimated_log_loss", "estimated_brier"):
        assert of(second, metric)["status"] == "insufficient_data"
    south = rows.tail(PER_DAY).filter(site="south")
    for metric, value in wanted(south).items():  # the last labels of the second day count for those that may come
        row = of(second, metric, "site=south")
        assert row["naive_value"] == pytest.approx(value, rel=1e-9)
        assert row["reason_code"] in ("provisional", "not_identifiable")
    decided = rows.tail(PER_DAY).select(pl.concat_list(f"P {c}" for c in SCORED).list.arg_max())
    names = [SCORED[k] for k in decided.to_series()]
    assert of(second, "accuracy")["naive_value"] == pytest.approx(accuracy_score(rows.tail(PER_DAY)["label"], names))
    roles = Roles("multiclass_classification", "label", class_scores=COLUMNS["class_scores"], classes=tuple(ALL))
    plain = quality_of_rows(rows.tail(PER_DAY), roles)
    assert set(plain.filter(pl.col("metric").is_in(PROBABILITIES))["reason"]) == {TOLD}
    assert plain.filter(metric="accuracy")["status"].item() == "ok"
    found = compared(bench, tmp_path, rows.tail(PER_DAY), rows.tail(PER_DAY))
    both = TOLD.replace(" do not", " of the champion do not").split(":", maxsplit=1)[0]
    assert of(found.table, "log_loss")["reason"].startswith(f"{both} and {both.replace('champion', 'challenger')}:")
    assert of(found.table, "log_loss")["ci_low"] is None
    assert of(found.table, "log_loss", "site=south")["status"] == "ok"


def test_improper_rows_are_counted_once_by_what_they_are_of(world):
    bench, _, _ = world
    for mart in ("quality_sums", "quality_cells", "class_score_bins"):
        table = bench.mart(mart)
        table = table.filter(class_name="a") if "class_name" in table.columns else table
        counts = table.group_by("window_key", "segment").agg(pl.col("n_improper").sum()).sort("window_key", "segment")
        assert counts.filter(pl.col("n_improper") > 0).rows() == [
            (bench.keys[1], "all", OFF),
            (bench.keys[1], "site=north", OFF),
        ]


def test_a_warehouse_of_an_earlier_release_is_read_and_gets_the_count(world):
    bench, judged, _ = world
    marts = ("quality_sums", "quality_cells", "class_score_bins")
    with connect(bench.paths) as con:
        for mart in marts:
            con.execute(f"alter table marts.{mart} drop column n_improper")
    with connect(bench.paths, read_only=True) as con:
        before = model_quality.judge(Work(bench.spec, bench.paths, con, bench.keys, {}, NOW)).judgements
    kept = judged.filter(metric="accuracy", segment="all").sort("window_start")["value"].to_list()
    before = before.filter(model_version="all", segment="all")
    assert before.filter(metric="accuracy").sort("window_start")["value"].to_list() == kept
    assert before.filter(metric="log_loss")["value"].null_count() == 0, "an earlier release did not count them"
    bench.control(keys=bench.keys[1:])
    bench.build("--select", "stg_inferences stg_quarantine stg_labels tag:delayed tag:immediate")
    for mart in marts:
        of_first = pl.col("window_key") == bench.keys[0]
        counts = bench.mart(mart)
        assert counts.filter(of_first)["n_improper"].null_count() == len(counts.filter(of_first)) > 0
        assert counts.filter(~of_first)["n_improper"].sum() > 0
    with connect(bench.paths, read_only=True) as con:
        after = model_quality.judge(Work(bench.spec, bench.paths, con, bench.keys, {}, NOW)).judgements
    assert of(after, "log_loss", model_version="all", window_start=START.replace(tzinfo=None) + timedelta(days=1))[
        "reason"
    ].endswith(TOLD)


def test_versions_that_ran_side_by_side_say_whose_scores_are_no_probabilities():
    rng = np.random.default_rng(612)
    days = pl.DataFrame({"day": range(9)}).join(pl.DataFrame({"bucket": range(64)}), how="cross")
    parts = [
        days.with_columns(
            segment=pl.lit("all"),
            version=pl.lit(version),
            n=10,
            n_score=10,
            sum_log_loss=pl.Series(rng.gamma(8, 1, len(days))),
            sum_brier=pl.Series(rng.gamma(4, 1, len(days))),
            n_improper=pl.Series((np.arange(len(days)) < off).astype(int)),
        )
        for version, off in (("champion", 0), ("challenger", 5))
    ]
    task = "multiclass_classification"
    found = daily_differences({"sums": pl.concat(parts)}, task=task)
    assert found["status"].to_list() == ["insufficient_data"] * 2
    told = "the class scores of 5 rows of the challenger do not sum to 1: they are no probabilities"
    assert set(found["reason"]) == {told} and found["challenger"].null_count() == 2
    proper = daily_differences({"sums": pl.concat(parts).drop("n_improper")}, task=task)
    assert proper["status"].to_list() == ["ok", "ok"]


def test_a_metric_that_is_undefined_between_versions_says_by_what():
    sums = pl.DataFrame({"day": range(9)}).join(pl.DataFrame({"bucket": range(64)}), how="cross")
    sums = sums.join(pl.DataFrame({"version": ["champion", "challenger"]}), how="cross").with_columns(
        segment=pl.lit("all"), n=2, n_score=2, sum_label=2.0, sum_label_sq=2.0, sum_squared_error=pl.col("bucket") + 1.0
    )
    found = daily_differences({"sums": sums}, task="regression", metrics=["r2"])
    assert found["reason"].item().endswith("days: the labels are constant, or vary too little beside their mean")


def test_causes_do_not_compare_brier_scores_of_what_are_no_probabilities(world):
    bench, _, _ = world
    first = START.replace(tzinfo=None)
    with connect(bench.paths, read_only=True) as con:
        found = [reading._sums(bench.spec, con, [first, first + timedelta(days=d)]) for d in (0, 1)]
    assert [("brier" in set(sums["outcome"])) for sums in found] == [True, False]

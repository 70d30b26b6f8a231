"""Monitors of which only positives are reported: marts, judgements, and what silence may be taken for."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.special import expit
from sklearn.metrics import brier_score_loss, log_loss, precision_score, recall_score, roc_auc_score

from sightline.home import Home
from sightline.judging import maturity, model_quality, silence
from sightline.judging.as_of import judgements_as_of
from sightline.judging.frames import Work
from sightline.results.judgements import append_judgements
from sightline.warehouse import connect
from sightline.warehouse.reference_data import lake_data
from tests.dbt.support import START, Bench, spec_of

DAYS, PER_DAY, GIVE_UP = 60, 300, 20
DAY = timedelta(days=1)
NOW = START + DAYS * DAY
LATER = NOW + 3 * GIVE_UP * DAY
STILL = ("f0", "f1")
"""Cleared late: reports came in until `LATER`."""

MODULE = """
from metrics_py.registry import metric


@metric(name="share_of_fraud", task="custom", needs="rows", direction="none", range=(0, 1))
def share_of_fraud(rows):
    return rows["is_positive"].mean()
"""


def frauds(root: Path) -> Bench:
    """A fifth is fraud, reported within weeks, the surer the sooner; some of the rest is cleared."""
    rng = np.random.default_rng(33)
    n = DAYS * PER_DAY
    score = expit(-2 + 1.6 * rng.normal(size=n))
    truth = rng.random(n) < score
    delay = np.where(truth, rng.exponential(2 + 5 * (1 - score)), rng.exponential(4, n)) + rng.random(n)
    is_said = np.where(truth, delay < GIVE_UP, rng.random(n) < 0.05)
    start = START.replace(tzinfo=None)
    made = [start + (i // PER_DAY) * DAY + timedelta(seconds=float(s)) for i, s in enumerate(86_000 * rng.random(n))]
    ids = [f"f{i}" for i in range(n)]
    known = [at + float(d) * DAY for at, d in zip(made, delay, strict=True)]
    root.mkdir(parents=True, exist_ok=True)
    (root / "metrics_of_fraud.py").write_text(MODULE, encoding="utf-8")
    spec = spec_of(
        model={"id": "silent", "task": "binary_classification"},
        columns={"score": "score"},
        labels={
            **{"column": "label", "observed_at": "known", "positive": "fraud", "negative": ["fine", "cleared"]},
            **{"give_up_after": f"{GIVE_UP}d", "silence": "negative"},
        },
        quality={"threshold": 0.4, "windows": ["1d", "7d"]},
        metrics=[
            {"name": "fraud_in_sql", "sql": "case when is_positive then 1 else 0 end", "needs_label": True},
            {"name": "share_of_fraud", "python": "metrics_of_fraud:share_of_fraud", "needs_label": True},
        ],
        reference={"kind": "window", "start": START.isoformat(), "end": (START + 5 * DAY).isoformat()},
    )
    inferences = pl.DataFrame({"prediction_id": ids, "timestamp": made, "score": score})
    said = pl.DataFrame({"prediction_id": ids, "label": np.where(truth, "fraud", "cleared"), "known": known})
    return Bench(spec, Home(root), inferences, said.filter(pl.Series(is_said)))


def judge(bench: Bench, now: datetime, keys: list[str] | None = None) -> pl.DataFrame:
    with connect(bench.paths, read_only=True) as con:
        work = Work(bench.spec, bench.paths, con, bench.keys if keys is None else keys, {}, now)
        return model_quality.judge(work).judgements.filter(column="")


def made(root: Path, labels: pl.DataFrame | None, now: datetime) -> tuple[Bench, pl.DataFrame]:
    bench = frauds(root)
    bench.land("inferences", "all", bench.inferences)
    if labels is not None:
        bench.land("labels", "all", labels)
    bench.control()
    bench.build("--select", "tag:delayed stg_inferences stg_quarantine")
    return bench, judge(bench, now)


def until(bench: Bench, moment: datetime) -> pl.DataFrame:
    return bench.labels.filter(pl.col("known") <= moment.replace(tzinfo=None))


def whole(judged: pl.DataFrame, metric: str) -> pl.DataFrame:
    return judged.filter(metric=metric, segment="all", model_version="all").sort("window_start")


@pytest.fixture(scope="module")
def final(tmp_path_factory) -> tuple[Bench, pl.DataFrame]:
    """All labels, judged when the silence of every window has lasted and others have still been reported."""
    root = tmp_path_factory.mktemp("final")
    bench = frauds(root / "rows")
    still = pl.DataFrame(
        {
            "prediction_id": STILL,
            "label": ["cleared"] * 2,
            "known": [(LATER - k * DAY).replace(tzinfo=None) for k in (0, 1)],
        }
    )
    return made(root / "home", pl.concat([bench.labels, still]), LATER)


@pytest.fixture(scope="module")
def now(tmp_path_factory) -> tuple[Bench, pl.DataFrame]:
    root = tmp_path_factory.mktemp("now")
    return made(root / "home", until(frauds(root / "rows"), NOW), NOW)


def truth_of(bench: Bench) -> pl.DataFrame:
    """Every prediction with what it is at last, by day."""
    said = bench.labels.select("prediction_id", is_fraud=pl.col("label") == "fraud")
    joined = bench.inferences.join(said, on="prediction_id", how="left")
    return joined.with_columns(pl.col("is_fraud").fill_null(value=False), day=pl.col("timestamp").dt.truncate("1d"))


def test_what_was_not_reported_is_negative_in_every_metric_once_given_up(final):
    bench, judged = final
    rows = truth_of(bench)
    for metric, of in {
        "roc_auc": roc_auc_score,
        "log_loss": log_loss,
        "brier": brier_score_loss,
        "precision": lambda y, p: precision_score(y, p >= 0.4),
        "recall": lambda y, p: recall_score(y, p >= 0.4),
        "positive_rate": lambda y, _: y.mean(),
        "fraud_in_sql": lambda y, _: y.mean(),
        "share_of_fraud": lambda y, _: y.mean(),
    }.items():
        found = whole(judged, metric).filter(pl.col("window_start") > START.replace(tzinfo=None))
        days = rows.filter(pl.col("day") > START.replace(tzinfo=None)).sort("day").partition_by("day")
        expected = [of(part["is_fraud"].to_numpy(), part["score"].to_numpy()) for part in days]
        assert found["status"].unique().to_list() == ["ok"], metric
        assert found["value"].to_list() == pytest.approx(expected, rel=1e-9), metric
        assert found["n"].gt(250).all() or metric in ("precision", "recall")


def test_only_what_was_reported_is_a_label_in_counts_and_delays(final):
    bench, judged = final
    counts = bench.mart("label_counts").filter(segment="all")
    assert counts["n_predictions"].sum() == DAYS * PER_DAY
    n_said = len({*bench.labels["prediction_id"], *STILL})
    assert counts["n_labelled"].sum() == n_said
    assert bench.mart("label_arrivals").filter(segment="all")["n"].sum() == n_said
    assert bench.mart("confusion").filter(segment="all")["n"].sum() == DAYS * PER_DAY
    assert set(bench.mart("confusion")["actual_class"]) == {"fraud", "fine", "cleared"}, "silence is the first negative"
    rate = whole(judged, "labelled_rate")["value"]
    assert rate.mean() == pytest.approx(n_said / (DAYS * PER_DAY), rel=1e-9)
    assert not judged["reason"].fill_null("").str.contains("never came").any(), "there are no labels to wait for"


METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier", "positive_rate")


@pytest.mark.parametrize("ending", ["", "@7d"])
def test_young_windows_are_corrected_and_hold_what_silence_says_at_last(now, final, ending):
    told = now[1].filter(pl.col("metric").is_in([m + ending for m in METRICS]), status="provisional")
    key = ["window_start", "segment", "model_version", "metric"]
    rows = told.join(final[1].select(*key, final="value"), on=key)
    assert rows["window_start"].n_unique() >= 10
    inside = rows["final"].is_between(rows["ci_low"], rows["ci_high"])
    assert inside.mean() >= 0.95
    of_all = rows.filter(segment="all", model_version="all")
    bias = of_all.group_by("metric").agg(
        ours=(pl.col("value") - pl.col("final")).mean().abs(),
        naive=(pl.col("naive_value") - pl.col("final")).mean().abs(),
    )
    precision = bias.filter(metric="precision" + ending).row(0, named=True) if not ending else None
    assert precision is None or precision["ours"] < precision["naive"] / 3
    words = r"of the positives that are expected are in; corrected for those to come by the \d+ that came"
    assert rows["reason"].str.contains(words).all()
    assert rows["maturity"].is_between(0, 1).all() and rows["naive_value"].is_not_null().all()


def test_the_newest_windows_have_no_value_and_no_evidence(now):
    bench, judged = now
    newest = judged.filter(pl.col("window_start") == (NOW - DAY).replace(tzinfo=None))
    told = newest.filter(pl.col("metric").is_in(METRICS), segment="all", model_version="all")
    assert set(told["status"]) == {"insufficient_data"} and told["value"].null_count() == len(told) > 5
    own = newest.filter(pl.col("metric").is_in(["fraud_in_sql", "share_of_fraud"]), segment="all")
    assert set(own["status"]) == {"insufficient_data"} and own["value"].null_count() == len(own)
    with connect(bench.paths, read_only=True) as con:
        known = maturity.delays(bench.spec, con, NOW)
        late = maturity.immature(bench.spec, bench.keys, NOW, known)
        evidence = model_quality.judge(Work(bench.spec, bench.paths, con, bench.keys, {}, NOW)).evidence
    assert 8 < len(late) <= GIVE_UP and known.law is not None
    young = evidence.filter(pl.col("window_start").is_in(late))
    assert not {"fraud_in_sql", "share_of_fraud", "labelled_rate"} & set(young["statistic"])
    for name, why in (("share_of_fraud", "a Python function sees rows"), ("fraud_in_sql", "as positives is not known")):
        young = judged.filter(pl.col("maturity").is_not_null(), metric=name, segment="all")
        young = young.filter(pl.col("reason").str.contains(f"{silence.NOT_CORRECTED}: .*{why}"))
        assert len(young) >= 5 and set(young["status"]) == {"insufficient_data"}
        assert young["value"].null_count() == len(young) and young["naive_value"].is_not_null().all()


def test_a_window_judged_alone_says_the_same(now):
    bench, judged = now
    key = bench.keys[-6]
    alone = judge(bench, NOW, [key])
    columns = ["metric", "segment", "value", "ci_low", "ci_high", "status", "reason"]
    at = pl.col("window_start") == bench.spec.window_start(key).replace(tzinfo=None)
    is_own = ~pl.col("metric").str.starts_with("estimation_error")
    mine, all_of_it = (t.filter(at, is_own).select(columns).sort("metric", "segment") for t in (alone, judged))
    assert_frame_equal(mine, all_of_it, rel_tol=1e-12)


def test_a_feed_that_stops_makes_no_negatives(tmp_path):
    stopped = NOW - 25 * DAY
    rows = frauds(tmp_path / "rows")
    bench, judged = made(tmp_path / "home", until(rows, stopped), LATER)
    with connect(bench.paths, read_only=True) as con:
        known = maturity.delays(bench.spec, con, LATER)
    assert abs(known.until - stopped) < 2 * DAY
    waits = pl.col("window_start") > (stopped - (GIVE_UP - 2) * DAY).replace(tzinfo=None)
    told = judged.filter(pl.col("metric").is_in(METRICS), segment="all", model_version="all").filter(waits)
    since = told.filter(pl.col("window_start") >= stopped.replace(tzinfo=None))
    assert set(since["status"]) == {"insufficient_data"} and since["value"].null_count() == len(since) > 50
    done = told.filter(pl.col("status") == "ok")
    assert (done["window_start"] < (stopped - 10 * DAY).replace(tzinfo=None)).all(), "nearly all was reported before"


def test_one_report_of_1970_hides_neither_the_others_nor_that_a_feed_stopped(tmp_path):
    stopped = NOW - 25 * DAY
    bench = frauds(tmp_path / "rows")
    slip = pl.when(pl.int_range(pl.len()) == 900).then(datetime(1970, 1, 1)).otherwise("known")
    bench, judged = made(tmp_path / "home", until(bench, stopped).with_columns(known=slip), NOW)
    with connect(bench.paths, read_only=True) as con:
        at_stop, later = (maturity.delays(bench.spec, con, moment) for moment in (stopped, NOW))
    assert at_stop.silence < DAY and abs(later.until - stopped) < 2 * DAY
    assert at_stop.law is not None and later.law is not None
    old = whole(judged, "precision").filter(pl.col("window_start") < (stopped - GIVE_UP * DAY).replace(tzinfo=None))
    assert set(old["status"]) == {"ok"}


def test_reports_that_are_taken_back_later_are_not_counted_as_final(tmp_path):
    """Half as many false reports as there are frauds come within days, and are taken back a week later."""
    bench = frauds(tmp_path / "rows")
    rng = np.random.default_rng(34)
    silent = bench.inferences.filter(~pl.col("prediction_id").is_in(bench.labels["prediction_id"].implode()))
    wrong = silent.sample(len(bench.labels) // 2, seed=35)
    soon = [at + float(d) * DAY for at, d in zip(wrong["timestamp"], rng.exponential(2, len(wrong)), strict=True)]
    false = pl.DataFrame({"prediction_id": wrong["prediction_id"], "label": "fraud", "known": soon, "retracted": False})
    back = false.with_columns(known=pl.col("known") + 7 * DAY, retracted=pl.lit(value=True))
    bench.labels = pl.concat([bench.labels.with_columns(retracted=False), false, back])
    _, judged = made(tmp_path / "home", until(bench, NOW), NOW)
    rows = whole(judged, "precision")
    young = rows.filter(pl.col("window_start") >= (NOW - 8 * DAY).replace(tzinfo=None))
    assert set(young["status"]) == {"insufficient_data"} and young["value"].null_count() == len(young)
    assert young["reason"].str.contains("taken back").any() and young["naive_value"].is_not_null().any()
    provisional = rows.filter(status="provisional")
    is_unsettled = provisional["reason"].str.contains("taken back")
    assert provisional.filter(is_unsettled)["ci_low"].null_count() == is_unsettled.sum()


def test_where_no_label_ever_came_nothing_is_known(tmp_path):
    _, judged = made(tmp_path, None, LATER)
    told = judged.filter(~pl.col("metric").is_in(["labelled_rate"]))
    assert set(told["status"]) == {"insufficient_data"} and told["value"].null_count() == len(told)
    assert silence.NOTHING_CAME in set(told["reason"])
    assert set(whole(judged, "labelled_rate")["status"]) == {"provisional"}


def test_labels_that_were_loaded_at_once_say_what_was_silent_until_then(tmp_path):
    """Nobody knows when each came: windows given up by then are final, the others have no value."""
    bench = frauds(tmp_path)
    labels = bench.spec.labels.model_copy(update={"observed_at": None})
    bench.spec = bench.spec.model_copy(update={"labels": labels})
    bench.land("inferences", "all", bench.inferences)
    bench.land("labels", "all", until(bench, NOW).drop("known"), received_at=NOW)
    bench.control()
    bench.build("--select", "tag:delayed stg_inferences stg_quarantine")
    told = whole(judge(bench, LATER), "precision")
    given_up = pl.col("window_start") <= (NOW - (GIVE_UP + 1) * DAY).replace(tzinfo=None)
    assert set(told.filter(given_up)["status"]) == {"ok"}
    young = told.filter(~given_up)
    assert set(young["status"]) == {"insufficient_data"} and young["value"].null_count() == len(young) == GIVE_UP
    assert set(young["reason"]) == {silence.NOT_LEARNT} and young["naive_value"].is_not_null().all()


def test_as_of_a_moment_it_is_what_was_known_then(now, final):
    bench, judged = final
    rows = judged.with_columns(monitor=pl.lit("silent"), window_end=pl.col("window_start") + DAY)
    append_judgements(bench.paths, "model_quality", rows, "run", LATER)
    found = judgements_as_of(bench.spec, bench.paths, NOW, start=NOW - 15 * DAY, end=NOW)
    key = ["window_start", "metric", "segment"]
    columns = [*key, "value", "ci_low", "ci_high", "naive_value", "status"]
    chosen = pl.col("metric").is_in(["precision", "roc_auc", "fraud_in_sql", "roc_auc@7d"])
    then = now[1].filter(chosen).filter(pl.col("window_start") >= (NOW - 15 * DAY).replace(tzinfo=None))
    assert "provisional" in set(then["status"])
    assert_frame_equal(found.filter(chosen).select(columns).sort(key), then.select(columns).sort(key), rel_tol=1e-9)


def test_a_report_that_is_taken_back_is_silence_again(tmp_path):
    bench = frauds(tmp_path)
    bench.inferences = bench.inferences.head(PER_DAY)
    bench.land("inferences", "all", bench.inferences)
    fraud = bench.labels.filter(label="fraud").head(20).with_columns(retracted=False)
    back = fraud.head(5).with_columns(retracted=True, label=pl.lit(None, pl.String), known=pl.col("known") + DAY)
    bench.land("labels", "all", pl.concat([fraud, back]))
    bench.control()
    bench.build("--select", "tag:delayed stg_inferences stg_quarantine")
    actual = bench.mart("confusion").filter(segment="all").group_by("actual_class").agg(pl.col("n").sum())
    assert dict(actual.iter_rows()) == {"fraud": 15, "fine": PER_DAY - 15}
    assert bench.mart("label_counts").filter(segment="all")["n_retracted"].sum() == 5


def test_the_reference_takes_silence_for_an_answer_once_it_has_lasted(final, now):
    end = START + 5 * DAY
    for bench, of, expected in ((final[0], end, 5 * PER_DAY), (now[0], NOW, 0)):
        with connect(bench.paths, read_only=True) as con:
            data = lake_data(con, bench.spec, START if of is end else NOW - 5 * DAY, of)
            assert data.n_labelled == expected
            if expected:
                classes = data.select("label_class", True)["label_class"].value_counts()
                assert classes["count"].sum() == expected and {"fraud", "fine"} <= set(classes["label_class"])


def test_a_warehouse_of_an_earlier_release_gets_the_new_sum(tmp_path):
    bench = frauds(tmp_path)
    bench.inferences = bench.inferences.head(2 * PER_DAY)
    bench.land("inferences", "all", bench.inferences)
    bench.control()
    bench.build("--select", "tag:delayed stg_inferences stg_quarantine")
    before = bench.mart("quality_cells")
    with connect(bench.paths) as con:
        con.execute("alter table marts.quality_cells drop column sum_log_loss_negative")
    bench.control(keys=bench.keys[1:])
    bench.build("--select", "tag:delayed stg_inferences stg_quarantine")
    after = bench.mart("quality_cells")
    is_old = pl.col("window_key") == bench.keys[0]
    # a column that is added to an older table stands last
    assert_frame_equal(after.filter(~is_old), before.filter(~is_old), rel_tol=1e-12, check_column_order=False)
    assert after.filter(is_old)["sum_log_loss_negative"].null_count() == len(before.filter(is_old))

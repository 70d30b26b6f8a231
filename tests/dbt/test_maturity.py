"""Quality of windows whose labels are still coming, through lake, marts and judge: corrected, or said to be unknown."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from scipy.stats import gamma

from sightline.commands.history import history
from sightline.home import Home
from sightline.judging import maturity, model_quality
from sightline.judging.frames import Work
from sightline.judging.reference_bounds import with_bounds
from sightline.results.judgements import append_judgements
from sightline.results.label_completion import mature_after, publish_law
from sightline.results.learnt_delays import delay_words, left_open, publish_delays, with_learnt_delays
from sightline.spec.windows import closes_at, matures_at
from sightline.warehouse import connect
from tests.dbt.support import START, Bench, spec_of

DAYS, PER_DAY = 90, 300
NOW = START + timedelta(days=DAYS)
LATER = NOW + timedelta(days=400)
LABELS = {"column": "label", "observed_at": "known", "expected_delay": "10d", "give_up_after": "60d"}


def times(rng: np.random.Generator) -> list[datetime]:
    first = START.replace(tzinfo=None)
    seconds = np.sort(rng.random(DAYS * PER_DAY)) * 86_400
    return [first + timedelta(days=i // PER_DAY, seconds=float(s)) for i, s in enumerate(seconds)]


def bench_of(root: Path, task: str, inferences: pl.DataFrame, truth: np.ndarray, delay: np.ndarray) -> Bench:
    known = [at + timedelta(days=float(d)) for at, d in zip(inferences["timestamp"], delay, strict=True)]
    labels = pl.DataFrame({"prediction_id": inferences["prediction_id"], "label": truth, "known": known})
    column = "prediction" if task == "regression" else "score"
    spec = spec_of(
        model={"id": "late", "task": task},
        columns={column: column, "features": {"x": "numeric"}},
        labels=LABELS,
        reference={"kind": "window", "start": START.isoformat(), "end": (START + timedelta(days=5)).isoformat()},
    )
    return Bench(spec, Home(root), inferences, labels)


def bookings(root: Path) -> Bench:
    """Cancellations are known early, the likelier the sooner; that a guest came is known late."""
    rng = np.random.default_rng(81)
    n = DAYS * PER_DAY
    x = rng.normal(size=n)
    score = expit(-1 + 1.2 * x)
    truth = (rng.random(n) < score).astype(int)
    delay = rng.gamma(2, np.where(truth == 1, 2 + 8 * (1 - score), 12) / 2)
    made = pl.DataFrame({"prediction_id": [f"b{i}" for i in range(n)], "timestamp": times(rng), "score": score, "x": x})
    return bench_of(root, "binary_classification", made, truth, delay)


def claims(root: Path) -> Bench:
    """Large errors are known late: the early labels praise the model."""
    rng = np.random.default_rng(82)
    n = DAYS * PER_DAY
    x = rng.normal(size=n)
    error = rng.normal(size=n) * np.exp(0.5 * rng.normal(size=n))
    delay = rng.exponential(2 + 4 * np.minimum(np.abs(error), 3))
    made = pl.DataFrame(
        {"prediction_id": [f"c{i}" for i in range(n)], "timestamp": times(rng), "prediction": 3 * x, "x": x}
    )
    return bench_of(root, "regression", made, 3 * x - error, delay)


def judged(bench: Bench, labels: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Quality by what labels were there."""
    bench.land("inferences", "all", bench.inferences)
    bench.land("labels", "all", labels)
    bench.control()
    bench.build("--select", "tag:delayed stg_inferences stg_quarantine")
    with connect(bench.paths, read_only=True) as con:
        publish_law(bench.paths, maturity.delays(bench.spec, con, now).law)
        found = model_quality.judge(Work(bench.spec, bench.paths, con, bench.keys, {}, now)).judgements
    return found.filter(segment="all", model_version="all", column="")


def publish(bench: Bench, rows: pl.DataFrame, now: datetime) -> None:
    rows = rows.with_columns(monitor=pl.lit("late"), window_end=pl.col("window_start") + bench.spec.window)
    append_judgements(bench.paths, "model_quality", rows, f"{now:%Y-%m-%d}", now)


MAKERS = {"bookings": bookings, "claims": claims}


@pytest.fixture(scope="module", params=list(MAKERS))
def world(request, tmp_path_factory) -> tuple[str, Bench, pl.DataFrame]:
    """What is known now beside what all labels say."""
    make, root = MAKERS[request.param], tmp_path_factory.mktemp(request.param)
    early, late = make(root / "now"), make(root / "later")
    known = early.labels.filter(pl.col("known") <= NOW.replace(tzinfo=None))
    now = judged(early, known, NOW)
    later = judged(late, late.labels, LATER)
    publish(early, now, NOW)
    publish(early, later, LATER)
    final = later.select("window_start", "metric", final="value")
    return request.param, early, now.join(final, on=["window_start", "metric"], how="left")


METRICS = {
    "bookings": {"accuracy", "precision", "recall", "f1", "roc_auc", "average_precision", "log_loss", "brier"},
    "claims": {"mae", "rmse", "mean_error"},
}


def test_provisional_windows_are_corrected_and_hold_what_all_labels_say(world):
    name, _, found = world
    rows = found.filter(pl.col("metric").is_in(METRICS[name]), status="provisional")
    assert set(rows["metric"]) == METRICS[name]
    held = rows.filter(pl.col("ci_low").is_not_null())
    inside = (held["ci_low"] <= held["final"]) & (held["final"] <= held["ci_high"])
    assert inside.mean() >= 0.93
    assert rows["maturity"].is_between(0, 1).all() and rows["naive_value"].is_not_null().all()
    told = rows["reason"].unique().to_list()
    words = re.compile(
        r"of the labels that are expected are in( \(\d+ % of class \w+\))?; corrected for which come first"
    )
    assert all(words.search(reason) for reason in told)
    if name == "bookings":
        late = found.filter(metric="labelled_rate", status="provisional")["reason"].to_list()
        assert any(
            re.search(r"labels are still coming, \d+ % of the labels that are expected are in \(\d+ %", r) for r in late
        )
    off = pl.col("final").neg()
    bias = rows.group_by("metric").agg(
        ours=(pl.col("value") + off).mean().abs(), naive=(pl.col("naive_value") + off).mean().abs()
    )
    worst = bias.sort("naive").tail(1).row(0, named=True)
    assert worst["ours"] < worst["naive"] / 2, "where the naive value is off most, the corrected one is not"


def test_labels_came_as_fast_as_was_expected(world):
    _, _, found = world
    rows = found.filter(metric="label_arrivals")
    told = rows.filter(status="ok")
    due = [START.replace(tzinfo=None) + timedelta(days=k) for k in range(4, DAYS - 11)]
    assert told["window_start"].to_list() == due, "fourteen days of the calendar go before; the last ones are not due"
    assert ((told["value"] - 1).abs() < 0.3).all() and abs(told["value"].mean() - 1) < 0.03
    assert (told["ci_low"] < told["value"]).all() and (told["value"] < told["ci_high"]).all()
    assert ((told["ci_low"] <= 1) & (told["ci_high"] >= 1)).mean() > 0.85
    first = told["reason"][0]
    assert (
        first.endswith("were expected")
        and "labels came, of whatever windows, in that of 2026-01-19, in which those of this one were due; " in first
    )
    assert set(rows.filter(status="insufficient_data")["reason"]) == {
        "fewer than 14 windows with labels that were watched as they came lie before"
    }


def test_the_delays_that_a_file_leaves_open_are_learnt(world):
    name, bench, _ = world
    # Of the slowest kind of row, from the end of a window on: those of all kinds for 80 and 99 %, in days
    slowest = {"bookings": 6 * gamma.ppf([0.8, 0.99], 2), "claims": 14 * -np.log([0.2, 0.01])}[name]
    with connect(bench.paths, read_only=True) as con:
        learnt = maturity.delays(left_open(bench.spec), con, NOW).learnt(bench.spec.window)
    assert learnt is not None and learnt.n_labels > 10_000
    assert learnt.expected_delay / timedelta(days=1) == pytest.approx(slowest[0], abs=4)
    if learnt.give_up_after is not None:
        assert learnt.give_up_after / timedelta(days=1) == pytest.approx(slowest[1], abs=15)
    publish_delays(bench.paths, learnt)
    told = with_learnt_delays(left_open(bench.spec), bench.paths)
    assert told.labels is not None and told.labels.expected_delay == learnt.expected_delay
    assert matures_at(told, "2026-01-05") == closes_at(told, "2026-01-05") + learnt.expected_delay
    assert with_learnt_delays(bench.spec, bench.paths).labels == bench.spec.labels, "what is given stands"
    words = " ".join(delay_words(left_open(bench.spec), bench.paths))
    assert f"learnt from {learnt.n_labels:,} labels" in words and "nothing of it given" in words


def test_a_mature_window_is_ok_and_hardly_moves(world):
    name, bench, found = world
    mature = found.filter(pl.col("metric").is_in(METRICS[name]), status="ok")
    assert mature["window_start"].n_unique() > 30
    half = (mature["ci_high"] - mature["ci_low"]) / 2
    assert ((mature["value"] - mature["final"]).abs() > half / 2).mean() <= 0.05
    ripe = mature_after(bench.paths, bench.spec.window)
    assert ripe is not None and timedelta(days=10) < ripe < timedelta(days=60)


def test_its_history_tells_the_provisional_number_and_that_of_all_labels(world):
    name, bench, found = world
    metric = {"bookings": "roc_auc", "claims": "mae"}[name]
    row = found.filter(metric=metric, status="provisional").row(0, named=True)
    key = bench.spec.key(row["window_start"])
    first, last = history(bench.spec, bench.paths, metric, key)["revisions"]
    told = ("value", "ci_low", "ci_high", "naive_value", "maturity", "n", "status", "reason")
    assert {name: first[name] for name in told} == {name: row[name] for name in told}
    assert (last["value"], last["status"], last["n"]) == (row["final"], "ok", PER_DAY)
    assert (last["naive_value"], last["maturity"]) == (None, None)
    assert [revision["computed_at"] for revision in (first, last)] == [at.replace(tzinfo=None) for at in (NOW, LATER)]


def test_the_newest_windows_give_no_number_and_say_why(world):
    name, _, found = world
    newest = found.filter(pl.col("metric").is_in(METRICS[name])).filter(
        pl.col("window_start") == pl.col("window_start").max()
    )
    assert len(newest) and newest["value"].null_count() == len(newest)
    assert set(newest["reason_code"]) <= {"labels_not_due", "not_identifiable"}


def test_a_value_without_an_interval_keeps_what_it_is(world):
    """Heavy tails take the interval of RMSE, not its value, also while labels are still coming."""
    _, _, found = world
    heavy = found.filter(reason_code="heavy_tail")
    assert heavy["value"].is_not_null().all()


def test_r2_is_not_corrected_by_a_law_that_does_not_know_the_labels(world):
    """How fast labels come may depend on their size: the sum of squares around their mean would be too small."""
    name, _, found = world
    young = found.filter(pl.col("maturity").is_not_null(), pl.col("value").is_not_null(), metric="r2")
    if name == "claims":
        assert len(young) and (young["value"] == young["naive_value"]).all()
        waiting = young.filter(status="provisional")
        assert waiting["ci_low"].is_null().all() and waiting["reason"].str.contains(maturity.NOT_CORRECTED).all()


def test_what_cannot_be_corrected_is_told_and_gives_no_evidence(world):
    _, bench, found = world
    rates = found.filter(metric="labelled_rate").sort("window_start")
    assert rates["status"].to_list()[-10:] == ["provisional"] * 10 and rates["status"][0] == "ok"
    with connect(bench.paths, read_only=True) as con:
        evidence = model_quality.judge(Work(bench.spec, bench.paths, con, bench.keys, {}, NOW)).evidence
        late = maturity.immature(bench.spec, bench.keys, NOW, maturity.delays(bench.spec, con, NOW))
    rate = evidence.filter(statistic="labelled_rate")
    assert len(rate) and not set(rate["window_start"]) & set(late)
    waiting = evidence.filter(pl.col("window_start").is_in(late))
    assert len(waiting) and waiting["value"].is_not_null().all(), "only corrected values are evidence before the time"


def test_the_label_rate_of_a_young_window_is_no_loss_of_labels(world):
    """Some of its labels are still to come, of an old one none: the engine sees both at one age."""
    _, bench, found = world
    with connect(bench.paths, read_only=True) as con:
        known = maturity.delays(bench.spec, con, NOW)
        found = model_quality.judge(Work(bench.spec, bench.paths, con, bench.keys, {}, NOW))
        late = maturity.immature(bench.spec, bench.keys, NOW, known)
    raw = found.judgements.filter(metric="labelled_rate", segment="all", model_version="all")
    raw = raw.filter(~pl.col("window_start").is_in(late)).sort("window_start")["value"]
    seen = found.evidence.filter(statistic="labelled_rate").sort("window_start")
    assert raw[:20].mean() - raw[-10:].mean() > 0.003, "by what is there, labels go missing"
    old, young = seen["display_value"][:-10], seen["display_value"][-10:]
    noise = seen["display_value"].std() / np.sqrt(10)
    assert abs(old.mean() - young.mean()) < 3 * noise
    assert old.mean() > 0.97, "nearly all of them came in the end"
    stated = np.arcsin(np.sqrt(seen["display_value"].to_numpy()))
    assert np.abs(stated - seen["value"].to_numpy()).max() < 0.06


def test_a_kind_of_row_without_any_label_yet_is_missed(world):
    """What is not there cannot be weighed: the law says that it is still to come."""
    name, bench, found = world
    with connect(bench.paths, read_only=True) as con:
        known = maturity.delays(bench.spec, con, NOW)
    young = found.filter(pl.col("metric").is_in(METRICS[name]), reason_code="not_identifiable")
    for start in young["window_start"].unique():
        assert known.slowest(bench.spec, start.replace(tzinfo=UTC)) < 0.10


def test_nights_are_waited_through_and_an_unusual_silence_stops_the_clock(world):
    _, bench, _ = world
    with connect(bench.paths, read_only=True) as con:
        seen = maturity.delays(bench.spec, con, NOW).until
        much_later = maturity.delays(bench.spec, con, NOW + timedelta(days=5)).until
    assert seen == NOW
    assert NOW - timedelta(days=1) < much_later <= NOW, "nothing came for five days: nothing is known of them"


def test_labels_with_an_impossible_time_stop_no_clock(tmp_path):
    """One was known in 1970, one will be in two months: what is usual, and a feed that stops, shows all the same."""
    bench = bookings(tmp_path)
    slips = {"b6000": datetime(1970, 1, 1), "b9000": (NOW + timedelta(days=60)).replace(tzinfo=None)}
    known = pl.col("prediction_id").replace_strict(slips, default=pl.col("known"), return_dtype=pl.Datetime("us"))
    is_told = (pl.col("known") <= NOW.replace(tzinfo=None)) | pl.col("prediction_id").is_in(list(slips))
    judged(bench, bench.labels.filter(is_told).with_columns(known=known), NOW)
    with connect(bench.paths, read_only=True) as con:
        now, later = (maturity.delays(bench.spec, con, NOW + timedelta(days=k)) for k in (0, 5))
    assert now.until == NOW and now.silence <= timedelta(hours=6)
    assert NOW - timedelta(days=1) < later.until <= NOW, "nothing came for five days"
    assert now.law is not None and now.law.starts[-1] <= DAYS + 1, "no delay is longer than what has passed"


def test_labels_that_are_revised_later_are_not_final_until_then(tmp_path):
    """All are 0 after half a day; charge-backs make a fifth of them 1 after days or weeks."""
    made, truth, rng = scored(DAYS, 200, 354)
    at = made["timestamp"]
    first = pl.DataFrame({"prediction_id": made["prediction_id"], "label": 0, "known": at + timedelta(hours=12)})
    late = [t + timedelta(days=float(d)) for t, d in zip(at, 1 + rng.exponential(4, len(at)), strict=True)]
    second = first.with_columns(label=pl.lit(1), known=pl.Series(late)).filter(pl.Series(truth == 1))
    labels = pl.concat([first.cast({"label": pl.Int64}), second.cast({"label": pl.Int64})])
    bench = Bench(open_spec(observed_at="known", give_up_after="40d"), Home(tmp_path), made, labels)
    found = judged(bench, labels.filter(pl.col("known") <= NOW.replace(tzinfo=None)).sort("known"), NOW)
    rows = found.filter(metric="accuracy").sort("window_start")
    final = made.with_columns(right=pl.Series((made["score"].to_numpy() >= 0.5) == truth), day=at.dt.truncate("1d"))
    rows = rows.join(final.group_by(window_start="day").agg(final=pl.col("right").mean()), on="window_start")
    good = rows.filter(status="ok")
    assert len(good) > 55 and ((good["value"] - good["final"]).abs() < 0.02).all()
    waits = rows.filter(pl.col("status") != "ok").sort("window_start")
    assert len(waits) >= 15 and waits["window_start"].max() == rows["window_start"].max()
    assert waits["ci_low"].null_count() == len(waits) and waits["reason"].str.contains("labels are revised").all()
    newest = waits.tail(10)
    assert set(newest["status"]) == {"insufficient_data"} and newest["value"].null_count() == 10
    told = waits.filter(status="provisional")
    assert len(told) and ((told["value"] - told["final"]).abs() < 0.05).all()
    ripe = mature_after(bench.paths, bench.spec.window)
    assert ripe is not None and timedelta(days=15) < ripe < timedelta(days=30), "judged again when they are settled"


def test_several_classes_are_corrected_where_the_sums_are_kept(tmp_path):
    """Class b is known late: its share, and accuracy with it, is too low among the early labels."""
    rng = np.random.default_rng(83)
    n = DAYS * PER_DAY
    truth = rng.choice(np.array(["a", "b"]), n, p=[0.6, 0.4])
    right = rng.random(n) < np.where(truth == "a", 0.9, 0.6)
    guess = np.where(right, truth, np.where(truth == "a", "b", "a"))
    delay = rng.exponential(np.where(truth == "a", 3.0, 12.0))
    moments = times(rng)
    made = pl.DataFrame(
        {"prediction_id": [f"m{i}" for i in range(n)], "timestamp": moments, "prediction": guess, "x": rng.random(n)}
    )
    known = [at + timedelta(days=float(d)) for at, d in zip(moments, delay, strict=True)]
    labels = pl.DataFrame({"prediction_id": made["prediction_id"], "label": truth, "known": known})
    spec = spec_of(
        model={"id": "late", "task": "multiclass_classification"},
        columns={"prediction": "prediction", "features": {"x": "numeric"}},
        labels=LABELS,
        reference={"kind": "window", "start": START.isoformat(), "end": (START + timedelta(days=5)).isoformat()},
    )
    bench = Bench(spec, Home(tmp_path), made, labels)
    found = judged(bench, labels.filter(pl.col("known") <= NOW.replace(tzinfo=None)), NOW)
    rows = found.filter(metric="accuracy", status="provisional")
    assert len(rows) >= 8
    assert abs(rows["value"].mean() - 0.78) < 0.015 < rows["naive_value"].mean() - 0.78


def test_a_history_loaded_without_times_leaves_old_windows_alone(tmp_path):
    """Its labels came at one moment: nothing is learnt from it, and what was due long ago is no less ok."""
    bench = bookings(tmp_path)
    spec = bench.spec.model_copy(update={"labels": bench.spec.labels.model_copy(update={"observed_at": None})})
    plain = Bench(spec, bench.home, bench.inferences, bench.labels.drop("known"))
    found = judged(plain, plain.labels, NOW)
    quality = found.filter(metric="roc_auc").sort("window_start")
    assert quality["status"].to_list()[:75] == ["ok"] * 75
    assert quality["naive_value"].null_count() == len(quality)


def two_classes(root: Path, positives_known: str) -> tuple[Bench, pl.Series]:
    """Labels are known after a day; when those of positives come, in days since the start, is another matter."""
    rng = np.random.default_rng(85)
    n = DAYS * PER_DAY
    score = expit(-1 + 1.2 * rng.normal(size=n))
    truth = (rng.random(n) < score).astype(int)
    made = pl.DataFrame({"prediction_id": [f"p{i}" for i in range(n)], "timestamp": times(rng), "score": score})
    day, delay = np.arange(n) // PER_DAY, rng.gamma(2, 0.5, n)
    if positives_known == "slower":
        delay = np.where((truth == 1) & (day >= 76), 12 * delay, delay)
    seen = day + 1 + delay
    if positives_known == "in weekly files":
        seen = np.where(truth == 1, np.ceil(seen / 7) * 7, seen)
    made = made.with_columns(x=pl.Series(rng.normal(size=n)))
    return bench_of(root, "binary_classification", made, truth, delay), pl.Series(seen)


@pytest.mark.parametrize("positives_known", ["in weekly files", "slower"])
def test_ok_stands_on_no_number_that_lacks_a_class(tmp_path, positives_known):
    """The delays learnt say that all is in; that there are fewer labels than usual says that it is not."""
    bench, seen = two_classes(tmp_path / "now", positives_known)
    now = NOW if positives_known == "in weekly files" else NOW - timedelta(days=1)
    found = judged(bench, bench.labels.filter(seen <= (now - START) / timedelta(days=1)), now)
    later, _ = two_classes(tmp_path / "later", positives_known)
    final = judged(later, later.labels, NOW + timedelta(days=400)).select("window_start", "metric", final="value")
    rows = found.filter(pl.col("metric").is_in(["accuracy", "brier", "log_loss"])).join(
        final, on=["window_start", "metric"]
    )
    old = pl.col("window_start") < (START + timedelta(days=70)).replace(tzinfo=None)
    assert set(rows.filter(old)["status"]) == {"ok"}
    good = rows.filter(~old, status="ok")
    assert good.filter(~pl.col("final").is_between("ci_low", "ci_high")).is_empty()
    accuracy = rows.filter(~old, metric="accuracy")
    lacking = accuracy.filter(pl.col("reason").str.contains("fewer than is usual by now"))
    assert len(lacking) >= 5
    assert set(lacking["status"]) == {"provisional"} and lacking["ci_low"].null_count() == len(lacking)
    rates = found.filter(metric="labelled_rate").select("window_start", rate="value")
    share = lacking.join(rates, on="window_start")
    assert (share["maturity"] - share["rate"]).abs().max() < 0.02, "all of the labels used to come"
    drifted = found.filter(metric="labelled_rate", status="ok").filter(~old)
    assert len(drifted) > 0, "the share of labels itself is a fact"


def scored(n_days: int, per_day: int, seed: int) -> tuple[pl.DataFrame, np.ndarray, np.random.Generator]:
    """Calibrated scores of some days, and which are positive."""
    rng = np.random.default_rng(seed)
    n, first = n_days * per_day, START.replace(tzinfo=None)
    score = rng.beta(2, 3, n)
    at = [first + timedelta(days=i // per_day, hours=1 + 20 * (i % per_day) / per_day) for i in range(n)]
    made = pl.DataFrame({"prediction_id": [f"p{i}" for i in range(n)], "timestamp": at, "score": score})
    return made.with_columns(x=pl.col("score") * 2), (rng.random(n) < score).astype(int), rng


def open_spec(**labels: str):
    return spec_of(
        model={"id": "late", "task": "binary_classification"},
        columns={"score": "score", "features": {"x": "numeric"}},
        labels={"column": "label", **labels},
        reference={"kind": "window", "start": START.isoformat(), "end": (START + timedelta(days=5)).isoformat()},
    )


def test_labels_that_come_later_than_the_law_looks_back_are_not_taken_for_none(tmp_path):
    """60 % come within a day, the rest after 200: the latest 180 windows alone show no label that is late."""
    n_days = 230
    made, truth, rng = scored(n_days, 40, 351)
    delay = np.where(rng.random(len(made)) < 0.6, 0.5 * rng.random(len(made)), 200 + rng.random(len(made)))
    known = [at + timedelta(days=float(d)) for at, d in zip(made["timestamp"], delay, strict=True)]
    labels = pl.DataFrame({"prediction_id": made["prediction_id"], "label": truth, "known": known})
    now = START + timedelta(days=n_days)
    bench = Bench(open_spec(observed_at="known"), Home(tmp_path), made, labels)
    found = judged(bench, labels.filter(pl.col("known") <= now.replace(tzinfo=None)), now)
    newest = found.filter(metric="roc_auc").sort("window_start").tail(100)
    assert not (newest["status"] == "ok").any(), "two fifths of their labels are still to come"
    with connect(bench.paths, read_only=True) as con:
        learnt = maturity.delays(bench.spec, con, now).learnt(bench.spec.window)
    assert learnt is not None and learnt.give_up_after is None


def test_of_a_history_that_was_loaded_at_once_the_newest_windows_are_not_final(tmp_path):
    """Nothing is known of when its labels came; that the newest windows have fewer of them shows."""
    made, truth, rng = scored(60, 150, 352)
    delay = np.where(truth == 1, rng.exponential(1, len(made)), rng.exponential(8, len(made)))
    has_come = made["timestamp"].to_numpy() + (delay * 86_400e6).astype("timedelta64[us]") <= np.datetime64(
        (START + timedelta(days=60)).replace(tzinfo=None)
    )
    labels = pl.DataFrame({"prediction_id": made["prediction_id"], "label": truth}).filter(pl.Series(has_come))
    bench = Bench(open_spec(), Home(tmp_path), made, labels)
    now = datetime.now(UTC)
    rows = judged(bench, labels, now).filter(metric="accuracy").sort("window_start")
    assert set(rows["status"][-3:]) <= {"provisional", "insufficient_data"}
    assert set(rows["status"][:20]) == {"ok"}
    with connect(bench.paths, read_only=True) as con:
        evidence = model_quality.judge(Work(bench.spec, bench.paths, con, bench.keys, {}, now)).evidence
    given = evidence.filter(statistic="accuracy").drop_nulls("value")["window_start"]
    assert not set(given) & set(rows["window_start"][-3:])


def test_batches_farther_apart_than_a_season_are_not_judged_by_window(tmp_path):
    """Each delivery of a monthly file would be an alarm."""
    n_days = 100
    made, truth, _ = scored(n_days, 40, 353)
    first = START.replace(tzinfo=None)
    known = [first + timedelta(days=30 * (1 + (at - first).days // 30), hours=2) for at in made["timestamp"]]
    labels = pl.DataFrame({"prediction_id": made["prediction_id"], "label": truth, "known": known})
    now = START + timedelta(days=n_days)
    bench = Bench(open_spec(observed_at="known"), Home(tmp_path), made, labels)
    found = judged(bench, labels.filter(pl.col("known") <= now.replace(tzinfo=None)), now)
    rows = found.filter(metric="label_arrivals")
    assert len(rows) and rows["value"].null_count() == len(rows)
    assert any("labels come in batches, 30 windows apart" in reason for reason in rows["reason"])


def test_a_provisional_value_beyond_the_reference_says_so(world, tmp_path):
    """Nobody need wait for the last labels to read that a number is bad."""
    _, bench, found = world
    ends = {"kind": "window", "start": START.isoformat(), "end": (START + timedelta(days=20)).isoformat()}
    spec = bench.spec.model_copy(update={"reference": type(bench.spec.reference).model_validate(ends)})
    row = found.filter(metric="labelled_rate").head(1).with_columns(metric=pl.lit("accuracy"))
    starts = [spec.window_start(key).replace(tzinfo=None) for key in bench.keys]
    known = [
        row.with_columns(
            window_start=pl.lit(start, dtype=pl.Datetime("us")),
            value=pl.lit(0.9 + 0.01 * (k % 3)),
            status=pl.lit("ok"),
            reason=pl.lit(None, dtype=pl.String),
        )
        for k, start in enumerate(starts[:20])
    ]
    late = row.with_columns(
        window_start=pl.lit(starts[-1], dtype=pl.Datetime("us")),
        value=pl.lit(0.5),
        ci_low=pl.lit(0.4),
        ci_high=pl.lit(0.6),
        status=pl.lit("provisional"),
        reason=pl.lit("51 % in"),
        reason_code=pl.lit("provisional"),
    )
    judgements = pl.concat([*known, late])
    paths = Home(tmp_path).monitor("late")
    told = with_bounds(spec, paths, "model_quality", judgements, {"accuracy": -1}, {"accuracy": (0, 1)})
    last = told.filter(window_start=starts[-1]).row(0, named=True)
    assert (last["status"], last["reason_code"]) == ("provisional", "provisional")
    assert last["reason"] == "below what the reference's windows show; 51 % in"
    assert set(told.filter(status="ok")["reason"]) == {None}

"""Metrics written as Python functions, from the rows of a window to judgements and evidence.

A broken one stops nothing.
"""

from __future__ import annotations

import re
import signal
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from metrics_py.intervals import t_quantile
from sightline.judging import custom_python, model_quality
from sightline.judging.frames import quality_evidence
from sightline.lake.intake.load import intake
from sightline.spec.model import MonitorSpec
from sightline.warehouse import connect
from sightline.warehouse.views import prepare

START = datetime(2026, 1, 1, tzinfo=UTC)
N, N_DAYS, REVISED = 600, 3, 40
MODULE = '''
import polars as pl
from metrics_py.registry import metric

@metric(name="mean_age", task="custom", needs="rows", direction="lower_is_better", range=(0, 150))
def mean_age(rows):
    """Mean age."""
    return rows["f_age"].mean()

@metric(name="churn_value", task="custom", needs="rows", direction="higher_is_better")
def churn_value(rows):
    """Score given to the churned, less that given to the others."""
    return rows.select((pl.when("is_positive").then("score").otherwise(-pl.col("score"))).mean()).item()

@metric(name="fails", task="custom", needs="rows")
def fails(rows):
    """Always wrong."""
    return rows["no_such_column"].sum()

@metric(name="nan", task="custom", needs="rows")
def nan(rows):
    """Never a number."""
    return float("nan")

@metric(name="text", task="custom", needs="rows")
def text(rows):
    """A number as text."""
    return "0.5"

@metric(name="leaves", task="custom", needs="rows")
def leaves(rows):
    """Ends the process."""
    raise SystemExit(3)

@metric(name="panics", task="custom", needs="rows")
def panics(rows):
    """As Polars does where it has a bug."""
    raise pl.exceptions.PanicException("a bug")

@metric(name="seen", task="custom", needs="rows")
def seen(rows):
    """How many columns it was given."""
    return float(rows.width)

@metric(name="hangs", task="custom", needs="rows")
def hangs(rows):
    """Never returns, whatever is raised in it."""
    import time
    while True:
        try:
            time.sleep(60)
        except Exception:
            pass

def plain(rows):
    return 1.0
'''


def metrics(*names: str, **options: object) -> list[dict[str, object]]:
    return [{"name": name, "python": f"my_metrics_of_churn:{name}", **options} for name in names]


def spec_of(entries: list[dict[str, object]]) -> MonitorSpec:
    return MonitorSpec.model_validate(
        {
            "model": {"id": "churn", "task": "binary_classification"},
            "columns": {
                "prediction_id": "id",
                "timestamp": "at",
                "score": "p",
                "model_version": "version",
                "features": {"age": {"kind": "numeric"}, "note": {"kind": "text"}},
                "segments": ["plan"],
            },
            "labels": {"column": "churned", "expected_delay": "1d"},
            "reference": {"kind": "window", "start": "2026-01-01", "end": "2026-01-03"},
            "metrics": entries,
        }
    )


@pytest.fixture
def rows() -> pl.DataFrame:
    """Three days; on the third none is labelled."""
    rng = np.random.default_rng(71)
    day = np.repeat(np.arange(N_DAYS), N // N_DAYS)
    return pl.DataFrame(
        {
            "id": [f"r{i}" for i in range(N)],
            "at": [
                START.replace(tzinfo=None) + timedelta(days=int(d), minutes=int(i)) for i, d in enumerate(day % N_DAYS)
            ],
            "p": rng.random(N),
            "version": rng.choice(["v1", "v2"], N),
            "age": rng.normal(40, 10, N),
            "note": ["hello"] * N,
            "plan": rng.choice(["basic", "plus", "rare"], N, p=[0.6, 0.38, 0.02]),
            "churned": rng.integers(0, 2, N),
        }
    ).with_columns(at=pl.col("at").dt.truncate("1d") + pl.duration(minutes=pl.int_range(pl.len()) % 1440))


@pytest.fixture
def warehouse(home, rows):
    """The monitor's lake, its views and the top segments."""
    spec, paths = spec_of([]), home.monitor("churn")
    (home.root / "my_metrics_of_churn.py").write_text(MODULE, encoding="utf-8")
    for folder, frame in (
        (paths.landing_inferences, rows.drop("churned")),
        (paths.landing_labels, rows.filter(pl.col("at") < datetime(2026, 1, 3)).select("id", "churned")),
    ):
        folder.mkdir(parents=True)
        frame.write_parquet(folder / "rows.parquet")
    for kind in ("inferences", "labels"):
        intake(spec, paths, kind, home)
    rows.head(REVISED).select("id", churned=1 - pl.col("churned")).write_parquet(paths.landing_labels / "later.parquet")
    intake(spec, paths, "labels", home)
    with connect(paths) as con:
        prepare(con, spec, paths)
        con.execute("create schema control")
        con.execute(
            "create table control.segments as select 'plan' as segment_column, unnest(['basic', 'plus']) as value"
        )
    with connect(paths, read_only=True) as con:
        yield paths, con


def evaluate(warehouse, entries, *, needs_label: bool = False, min_rows: int = 20) -> custom_python.Own:
    paths, con = warehouse
    keys = ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"]
    return custom_python.evaluate(spec_of(entries), paths, con, keys, needs_label=needs_label, min_rows=min_rows)


def whole(own: custom_python.Own, metric: str) -> pl.DataFrame:
    where = (pl.col("metric") == metric) & (pl.col("model_version") == "all") & (pl.col("segment") == "all")
    return own.table.filter(where).sort("window_start")


class TestValue:
    def test_is_the_function_of_that_window_s_rows_with_its_jackknife_interval(self, warehouse, rows):
        own = evaluate(warehouse, metrics("mean_age"))
        found = whole(own, "mean_age")
        days = rows.with_columns(day=pl.col("at").dt.truncate("1d")).group_by("day").agg(pl.col("age")).sort("day")
        assert found["window_start"].to_list() == days["day"].to_list()
        assert found["value"].to_list() == pytest.approx([ages.mean() for ages in days["age"]])
        error = np.sqrt(found["variance"].to_numpy())
        expected = np.array([ages.std() / np.sqrt(ages.len()) for ages in days["age"]])
        assert error == pytest.approx(expected, rel=0.35)
        half = (found["ci_high"] - found["ci_low"]).to_numpy() / 2
        assert (half / error >= t_quantile(63) - 1e-9).all() and (half / error < t_quantile(30)).all()

    def test_by_version_and_by_segment_as_the_marts_name_them(self, warehouse, rows):
        table = evaluate(warehouse, metrics("mean_age"), min_rows=1).table
        day = table.filter(pl.col("window_start") == datetime(2026, 1, 1))
        own = rows.filter(pl.col("at") < datetime(2026, 1, 2))
        versions = dict(day.filter(pl.col("segment") == "all").select("model_version", "value").iter_rows())
        assert set(versions) == {"all", "v1", "v2"}
        assert versions["v1"] == pytest.approx(own.filter(pl.col("version") == "v1")["age"].mean())
        segments = dict(day.filter(pl.col("model_version") == "all").select("segment", "value").iter_rows())
        assert set(segments) == {"all", "plan=basic", "plan=plus", "plan=(other)"}
        assert segments["plan=plus"] == pytest.approx(own.filter(pl.col("plan") == "plus")["age"].mean())

    def test_with_labels_uses_the_labelled_rows_and_the_latest_label(self, warehouse, rows):
        own = evaluate(warehouse, metrics("churn_value", needs_label=True), needs_label=True)
        found = whole(own, "churn_value")
        first = rows.filter(pl.col("at") < datetime(2026, 1, 2))
        current = pl.Series(first["churned"].to_numpy() ^ (np.arange(len(first)) < REVISED))
        expected = np.where(current == 1, first["p"], -first["p"]).mean()
        assert found["value"][0] == pytest.approx(expected)
        assert found["status"].to_list() == ["ok", "ok", "insufficient_data"]
        assert found["reason"][2] == "no labelled rows"

    def test_only_named_columns_are_read(self, warehouse):
        own = evaluate(warehouse, metrics("seen", columns=["score"]))
        assert whole(own, "seen")["value"].to_list() == [2.0] * N_DAYS  # and the bucket

    def test_the_decorator_s_direction_and_range_hold_unless_the_monitor_says_otherwise(self, warehouse):
        own = evaluate(warehouse, [*metrics("mean_age"), *metrics("seen", direction="higher_is_better")])
        assert own.directions == {"mean_age": 1, "seen": -1}
        assert own.limits["mean_age"] == (0, 150)


class TestBroken:
    def test_one_metric_says_why_and_the_others_go_on(self, warehouse):
        entries = [
            *metrics("fails", "nan", "text", "leaves", "panics", "plain", "absent", "mean_age"),
            {"name": "gone", "python": "no_such_mod:f"},
        ]
        own = evaluate(warehouse, entries)
        reasons = {
            name: whole(own, name)["reason"][0]
            for name in [entry["name"] for entry in entries if entry["name"] != "mean_age"]
        }
        assert re.fullmatch(r"the metric failed: SystemExit in line \d+ of my_metrics_of_churn.py", reasons["leaves"])
        assert re.fullmatch(
            r"the metric failed: PanicException in line \d+ of my_metrics_of_churn.py", reasons["panics"]
        )
        assert "the function returned str; return one number" in reasons["text"]
        assert reasons["fails"].startswith("the metric failed: ColumnNotFoundError")
        assert reasons["nan"] == "the metric is undefined on these rows"
        assert "decorate the function with @metric" in reasons["plain"]
        assert "my_metrics_of_churn has no absent" in reasons["absent"]
        assert "module no_such_mod cannot be imported" in reasons["gone"]
        for name in reasons:
            assert set(whole(own, name)["status"]) == {"insufficient_data"}
            assert whole(own, name)["value"].null_count() == N_DAYS
        assert whole(own, "mean_age")["status"].to_list() == ["ok"] * N_DAYS

    def test_one_that_hangs_is_interrupted_once_and_the_others_go_on(self, warehouse, monkeypatch):
        monkeypatch.setenv("SIGHTLINE_METRIC_SECONDS", "3")
        started = time.monotonic()
        own = evaluate(warehouse, metrics("hangs", "mean_age"))
        assert time.monotonic() - started < 3 * N_DAYS
        hung = whole(own, "hangs")
        assert set(hung["status"]) == {"insufficient_data"} and hung["value"].null_count() == N_DAYS
        assert len(set(hung["reason"])) == 1
        assert hung["reason"][0].startswith("the metric failed: no end of its window 2026-01-01 within 3 s")
        assert whole(own, "mean_age")["status"].to_list() == ["ok"] * N_DAYS
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)

    def test_too_few_rows_keep_their_value_but_are_not_judged(self, warehouse):
        found = whole(evaluate(warehouse, metrics("mean_age"), min_rows=500), "mean_age")
        assert set(found["reason"]) == {"200 rows, 500 needed"}
        assert found["value"].is_not_null().all() and found["variance"].null_count() == N_DAYS

    def test_a_window_that_does_not_fit_into_memory_is_not_read(self, warehouse, monkeypatch):
        monkeypatch.setattr(custom_python, "MAX_CELLS", 100)
        found = whole(evaluate(warehouse, metrics("mean_age")), "mean_age")
        assert (
            found["reason"][0].startswith("the metric failed: 200 rows x ")
            and "name those it reads" in found["reason"][0]
        )

    def test_modules_of_another_home_folder_are_not_mistaken_for_this_one_s(self, warehouse, tmp_path):
        from sightline.user_metrics import python_metrics

        other = tmp_path / "other"
        other.mkdir()
        (other / "my_metrics_of_churn.py").write_text(MODULE.replace(".mean()", ".max()"), encoding="utf-8")
        with python_metrics.importable(other):
            function = python_metrics.load("my_metrics_of_churn:mean_age").function
            assert function(pl.DataFrame({"f_age": [1.0, 3.0]})) == 3.0
        assert whole(evaluate(warehouse, metrics("mean_age")), "mean_age")["value"].is_between(35, 45).all()


def test_evidence_is_one_stream_per_metric(warehouse):
    found = quality_evidence(evaluate(warehouse, metrics("mean_age", "fails")).table, "data_quality")
    assert len(found) == 2 * N_DAYS
    good = found.filter(pl.col("statistic") == "mean_age")
    assert good["value"].is_not_null().all() and (good["variance"] > 0).all()
    assert found.filter(pl.col("statistic") == "fails")["value"].null_count() == N_DAYS


class TestDirections:
    def test_come_from_the_registry(self, make_spec):
        spec = make_spec(
            value_matrix={"1": {"1": 5, "0": -1}, "0": {"1": -5, "0": 0}},
            metrics=[{"name": "refund", "sql": "1", "direction": "lower_is_better", "needs_label": True}],
        )
        better = ["accuracy", "precision", "recall", "f1", "roc_auc", "average_precision", "brier_skill"]
        assert model_quality.directions(spec) == {
            **dict.fromkeys([*better, "business_value", "labelled_rate"], -1),
            **dict.fromkeys(["log_loss", "brier", "calibration_error", "refund"], 1),
            **dict.fromkeys(["calibration_bias", "label_arrivals"], 0),
        }

    def test_of_every_task(self, make_spec):
        regression = make_spec(
            model={"id": "m", "task": "regression"}, columns={"prediction": "y"}, quality={"quantiles": [0.1]}
        )
        found = model_quality.directions(regression)
        assert found == {
            "mae": 1,
            "rmse": 1,
            "r2": -1,
            "mean_error": 0,
            "pinball_0.1": 1,
            "labelled_rate": -1,
            "label_arrivals": 0,
        }
        multiclass = make_spec(
            model={"id": "m", "task": "multiclass_classification"},
            columns={"class_scores": {"a": "pa", "b": "pb"}},
        )
        worse_above = {name for name, side in model_quality.directions(multiclass).items() if side == 1}
        assert worse_above == {"log_loss", "brier"}
        assert set(model_quality.directions(multiclass).values()) == {1, 0, -1}

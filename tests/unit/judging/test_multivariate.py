"""Judgements and evidence of several columns at once and of embeddings, from rows in a lake."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from sightline.errors import SightlineError
from sightline.judging import multivariate
from sightline.judging.frames import Judged, Work
from sightline.lake.intake.load import intake
from sightline.results.window_sums import read_window_sums
from sightline.spec.multivariate import JOINT
from sightline.warehouse import connect, ensure_reference, prepare
from sightline.warehouse.joint_reference import ensure_joint_reference
from tests.support.marts import create_marts

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAYS, REFERENCE = 14, 10
ROWS, DIMENSION = 300, 6
LAST = DAYS - 1
NOW = FIRST + timedelta(days=60)
COLUMNS = {"prediction_id": "id", "timestamp": "at", "score": "p"}


def day_rows(k: int, change: str = "") -> pl.DataFrame:
    rng = np.random.default_rng([17, k])
    a, b, c = rng.standard_normal((3, ROWS))
    b = b if change == "correlation" else 0.8 * a + 0.6 * b
    v = rng.standard_normal((ROWS, DIMENSION)) + 1
    vectors = v.astype(np.float32).tolist()
    if change == "model":
        vectors = (v @ np.diag([1, -1, 1, -1, 1, -1])).tolist()
    elif change == "dimension":
        vectors = [x[:4] for x in vectors[:60]] + vectors[60:]
    elif change == "all other dimension":
        vectors = [[*x, 0.0] for x in vectors]
    elif change == "zero and twice":
        vectors = [[0.0] * DIMENSION] * 30 + [vectors[0]] * 45 + vectors[75:]
    elif change == "bad":
        vectors = [None, [], [float("nan")] * DIMENSION, [1e38] * DIMENSION, *vectors[4:]]
    elif change == "none":
        vectors = [None] * ROWS
    return pl.DataFrame(
        {
            "id": [f"{k}-{i}" for i in range(ROWS)],
            "at": [FIRST.replace(tzinfo=None) + timedelta(days=k, seconds=i) for i in range(ROWS)],
            "p": rng.random(ROWS), "a": a, "b": b, "c": c, "v": pl.Series(vectors, dtype=pl.List(pl.Float32)),
        }
    )  # fmt: skip


@pytest.fixture
def judge(home, make_spec):
    """Judges a world whose last day has changed; returns what was found, and the monitor's folders."""

    def run(change: str = "", days: int = DAYS, **sections) -> Judged:
        features = {"a": {"kind": "numeric"}, "b": {"kind": "numeric"}, "c": {"kind": "numeric"}}
        columns = {**COLUMNS, "features": {**features, "v": {"kind": "embedding"}}}
        spec = make_spec(**{"columns": columns, "start": FIRST.isoformat(), **sections})
        paths = home.monitor(spec.id)
        paths.landing_inferences.mkdir(parents=True, exist_ok=True)
        for k in range(days):
            day_rows(k, change if k == days - 1 else "").write_parquet(paths.landing_inferences / f"{k}.parquet")
        intake(spec, paths, "inferences", home, now=NOW)
        with connect(paths) as con:
            prepare(con, spec, paths)
            create_marts(con)
            profile = ensure_reference(spec, paths, home, now=NOW, con=con)
            keys = [spec.key(FIRST + timedelta(days=k)) for k in range(days)]
            return multivariate.judge(Work(spec, paths, con, keys, profile.columns if profile else {}, NOW))

    return run


def of(judged: Judged, column: str, metric: str, k: int = LAST) -> dict:
    start = (FIRST + timedelta(days=k)).replace(tzinfo=None)
    found = judged.judgements.filter(column=column, metric=metric, window_start=start)
    assert len(found) == 1
    return found.row(0, named=True)


def test_a_lost_correlation_is_told_by_its_pair(judge):
    found = judge("correlation")
    row = of(found, JOINT, "correlation_distance")
    assert row["status"] == "warn"
    assert row["reason_code"] == "drift"
    assert row["reason"].startswith("above what is usual for a day: correlation of a and b 0.8 -> ")
    quiet = [of(found, JOINT, "correlation_distance", k) for k in range(LAST)]
    assert {r["status"] for r in quiet} == {"ok"}
    assert row["value"] == pytest.approx(0.8, abs=0.15)
    assert max(r["value"] for r in quiet) < 0.3


def test_each_stream_has_evidence_in_every_window(judge):
    evidence = judge().evidence
    names = evidence.group_by("column", "statistic").len().sort("column", "statistic").rows()
    joint = [(JOINT, name, DAYS) for name in ("correlation_distance", "domain_auc", "pca_error", "rff_distance")]
    own = ("centroid_distance", "domain_auc", "duplicate_rate", "hotelling", "norm", "rff_distance")
    vectors = [("v", name, DAYS) for name in (*own, "wrong_dimension_rate", "zero_vector_rate")]
    assert names == [*joint, *vectors]
    assert evidence["value"].is_finite().all()
    assert evidence["value"].null_count() == 0


def test_another_model_of_equal_norms_is_far(judge):
    found = judge("model")
    for metric in ("rff_distance", "centroid_distance", "hotelling", "centroid_cosine"):
        assert of(found, "v", metric)["status"] == "warn", metric
    assert of(found, "v", "norm")["status"] == "ok"


def test_vectors_of_another_dimension_break_the_contract(judge):
    row = of(judge("dimension"), "v", "wrong_dimension_rate")
    assert (row["status"], row["reason_code"], row["value"]) == ("alert", "broken_contract", 0.2)
    told = "60 of 300 vectors (20 %) have not the 6 numbers of the reference's (4: 60); they are left out"
    assert row["reason"] == told


def test_only_vectors_of_another_dimension(judge):
    found = judge("all other dimension")
    assert of(found, "v", "wrong_dimension_rate")["status"] == "alert"
    row = of(found, "v", "rff_distance")
    assert (row["status"], row["value"], row["n"]) == ("insufficient_data", None, 0)
    last = found.evidence.filter(pl.col("statistic") == "wrong_dimension_rate").sort("window_start").row(-1, named=True)
    assert last["display_value"] == 1.0


def test_zero_and_repeated_vectors_are_counted(judge):
    found = judge("zero and twice")
    assert of(found, "v", "zero_vector_rate")["value"] == pytest.approx(30 / 300)
    assert of(found, "v", "duplicate_rate")["value"] == pytest.approx(44 / 300)
    assert of(found, "v", "zero_vector_rate")["status"] == "warn"


def test_bad_vectors_do_not_stop_a_window(judge):
    found = judge("bad")
    assert of(found, "v", "rff_distance")["n"] == 297  # null, empty and NaN are left out
    assert of(found, "v", "wrong_dimension_rate")["value"] == pytest.approx(1 / 298)
    assert of(found, "v", "wrong_dimension_rate")["status"] == "ok"
    assert of(found, "v", "norm")["value"] > 1e30


def test_a_window_without_vectors_has_no_verdict(judge):
    row = of(judge("none"), "v", "rff_distance")
    assert (row["status"], row["reason"]) == (
        "insufficient_data",
        "0 vectors in the window, 200 needed",
    )


def test_a_reference_without_vectors_is_told(judge, make_spec):
    columns = {**COLUMNS, "features": {"a": {"kind": "numeric"}, "later": {"kind": "embedding"}}}
    found = judge(columns=columns)
    row = of(found, "later", "rff_distance")
    assert (row["status"], row["reason_code"]) == ("insufficient_data", "no_reference")
    assert "no vectors of this column" in row["reason"]
    assert found.evidence.is_empty()


def test_the_file_can_leave_them_out(judge):
    features = {"a": {"kind": "numeric"}, "b": {"kind": "numeric"}, "v": {"kind": "embedding", "drift": False}}
    found = judge(columns={**COLUMNS, "features": features}, drift={"multivariate": False})
    assert found.judgements.is_empty()
    assert found.evidence.is_empty()


def test_before_the_reference_nothing_is_judged(judge):
    assert judge(days=5).judgements.is_empty()


def test_judging_again_gives_the_same_numbers(judge, home):
    first = judge("model")
    stored = next(home.monitor("churn").reference.glob("multivariate-*.npz")).read_bytes()
    again = judge("model")
    assert again.evidence.equals(first.evidence)
    assert next(home.monitor("churn").reference.glob("multivariate-*.npz")).read_bytes() == stored


def test_the_sums_of_windows_merge(judge, home, make_spec):
    judge()
    keys = [f"2026-01-{k + 1:02d}" for k in range(DAYS)]
    found = read_window_sums(home.monitor("churn"), keys)
    assert set(found) == {JOINT, "v"}
    days = found["v"]
    assert list(days) == keys
    total = sum(float(sums["n"]) for sums in days.values())
    mean = sum(sums["total"] for sums in days.values()) / total
    rows = np.concatenate([np.array(day_rows(k)["v"].to_list()) for k in range(DAYS)])
    assert mean == pytest.approx(rows.mean(axis=0), rel=1e-6)


def test_a_broken_model_file_is_named(judge, home, make_spec):
    judge()
    paths = home.monitor("churn")
    file = next(paths.reference.glob("multivariate-*.npz"))
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(SightlineError, match="cannot be read") as error:
        judge()
    assert file.name in str(error.value)


def test_a_reference_file_has_no_windows(judge, home):
    pl.concat([day_rows(100 + k) for k in range(5)]).drop("at").write_parquet(home.root / "reference.parquet")
    found = judge("correlation", reference={"kind": "file", "path": "reference.parquet"})
    row = of(found, JOINT, "correlation_distance")
    assert row["bound_high"] is None
    assert row["value"] == pytest.approx(0.8, abs=0.15)
    assert row["reason_code"] == "unclear"
    assert row["reason"].startswith("correlation of a and b 0.81 -> ")
    assert "(by rows alone): the reference has too few windows to tell what is usual" in row["reason"]
    assert found.evidence.filter(pl.col("column") == "v")["value"].null_count() == 0


def test_models_are_not_fitted_before_the_reference(home, make_spec):
    spec = make_spec()
    assert ensure_joint_reference(spec, home.monitor(spec.id), None) is None  # pyright: ignore[reportArgumentType]

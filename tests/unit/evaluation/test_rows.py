"""Rows of an evaluation that used to give, or would easily give, a wrong number: each compared with sklearn."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
import yaml
from scipy import stats
from sklearn import metrics as sk

from sightline.errors import SightlineError
from sightline.evaluation.run import Evaluation, evaluate
from sightline.lake.intake.load import intake
from sightline.spec.loader import find_monitor
from tests.support.lake import START, land, make_paths
from tests.unit.evaluation.test_evaluate import MONITOR, NOW, scored

N = 800
LABELS = {"column": "y", "expected_delay": "2d", "give_up_after": "3d"}
TICKETS = {
    "model": {"id": "m", "task": "multiclass_classification"},
    "columns": {
        "prediction_id": "id",
        "timestamp": "ts",
        "prediction": "said",
        "class_scores": {"a b": "p_a", "c|d": "p_c", "e": "p_e"},
    },
    "labels": LABELS,
    "reference": {"kind": "window", "start": "2026-01-05", "end": "2026-01-07"},
}
DEMAND = {
    "model": {"id": "m", "task": "regression"},
    "columns": {"prediction_id": "id", "timestamp": "ts", "prediction": "q"},
    "labels": LABELS,
    "quality": {"quantiles": [0.9]},
    "reference": {"kind": "window", "start": "2026-01-05", "end": "2026-01-07"},
}


def make(tmp_path, content, rows: pl.DataFrame, truth: pl.DataFrame, labels_at=START + timedelta(days=12)):
    """A monitor whose production has some rows, and some labels."""
    home, paths = make_paths(tmp_path / "home")
    home.monitors.mkdir(exist_ok=True, parents=True)
    (home.monitors / "m.yaml").write_text(yaml.safe_dump(content))
    land(paths.landing_inferences, "all.parquet", rows, START + timedelta(days=9))
    land(paths.landing_labels, "truth.parquet", truth, labels_at)
    for kind in ("inferences", "labels"):
        intake(find_monitor(home, "m"), paths, kind, home)
    return home, paths


def judged(made, tmp_path, rows: pl.DataFrame, against: pl.DataFrame | None = None, name="new.parquet") -> Evaluation:
    home, paths = made
    file, other = tmp_path / name, tmp_path / "old.parquet"
    {"parquet": rows.write_parquet, "csv": rows.write_csv, "ndjson": rows.write_ndjson}[name.split(".")[-1]](file)
    if against is not None:
        against.write_parquet(other)
    return evaluate(find_monitor(home, "m"), paths, file, "v2", now=NOW, against=None if against is None else other)


def value(found: Evaluation, metric: str, whose: str = "challenger") -> float:
    return found.table.filter(metric=metric, segment="all")[whose].item()


@pytest.fixture
def reported(tmp_path):
    """Only positives are ever reported."""
    rows = scored(8, 0.5, N)
    content = {**MONITOR, "labels": {**LABELS, "silence": "negative"}}
    return make(tmp_path, content, rows.drop("y"), rows.filter(y=1).select("id", "y"))


def test_silence_of_production_is_a_negative_label_of_shared_rows(reported, tmp_path):
    rows = scored(8, 0.1, N)
    found = judged(reported, tmp_path, rows.drop("y"))
    assert found.compared.how == "paired"
    assert len(found.compared.challenger) == N
    assert value(found, "accuracy") == pytest.approx(sk.accuracy_score(rows["y"], rows["p"] >= 0.5), abs=1e-12)
    old = scored(8, 0.5, N)["p"]
    assert value(found, "precision", "champion") == pytest.approx(sk.precision_score(rows["y"], old >= 0.5), abs=1e-12)


def test_silence_of_production_is_a_negative_label_of_other_rows(reported, tmp_path):
    found = judged(reported, tmp_path, scored(9, 0.1, N).with_columns(id=pl.format("n{}", "id")))
    assert found.compared.how == "unpaired"
    rows = scored(8, 0.5, N)
    assert len(found.compared.champion) == N
    assert value(found, "roc_auc", "champion") == pytest.approx(sk.roc_auc_score(rows["y"], rows["p"]), abs=1e-12)


def test_silence_counts_only_once_labels_were_seen_for_long_enough(tmp_path):
    rows = scored(8, 0.5, N)
    content = {**MONITOR, "labels": {**LABELS, "silence": "negative"}}
    some = rows.filter(y=1).select("id", "y")
    made = make(tmp_path, content, rows.drop("y"), some, labels_at=START + timedelta(days=2))
    with pytest.raises(SightlineError, match="no window with all of its labels"):
        judged(made, tmp_path, rows.drop("y"))


def rare(seed: int, noise: float, n: int = 6000) -> pl.DataFrame:
    """Calibrated scores of a rare event: nearly all lie in the lowest of 256 bins, a few stand out for both models."""
    rows = scored(seed, noise, n)
    rank = rows["p"].rank().to_numpy() / n
    known = np.random.default_rng(seed).random(n) < 0.01
    p = np.where(known & rows["y"].cast(bool).to_numpy(), 0.5 + rank / 10, rank / 300)
    ts = [(START + timedelta(minutes=1.2 * i)).replace(tzinfo=None) for i in range(n)]
    return rows.with_columns(p=p, ts=pl.Series(ts))


def test_scores_within_one_bin_have_the_interval_of_the_scores_themselves(tmp_path):
    old, new = rare(11, 1.0), rare(11, 0.9)
    made = make(tmp_path, MONITOR, old.drop("y"), old.select("id", "y"))
    found = judged(made, tmp_path, new)
    row = found.table.filter(metric="roc_auc", segment="all").row(0, named=True)
    from metrics_py.quality.champion import delong_test

    wanted = delong_test(old["y"], old["p"], new["p"])
    assert row["difference"] == pytest.approx(wanted.effect, abs=1e-12)
    assert row["ci_high"] - row["ci_low"] == pytest.approx(wanted.effect_ci_high - wanted.effect_ci_low, rel=0.3)
    assert row["p_value"] < 0.05 or row["ci_low"] < 0 < row["ci_high"]


def test_scores_within_one_bin_of_other_rows(tmp_path):
    old, new = rare(11, 1.0), rare(12, 0.9).with_columns(id=pl.format("n{}", "id"))
    made = make(tmp_path, MONITOR, old.drop("y"), old.select("id", "y"))
    row = judged(made, tmp_path, new).table.filter(metric="roc_auc", segment="all").row(0, named=True)
    areas = [sk.roc_auc_score(rows["y"], rows["p"]) for rows in (old, new)]
    assert row["difference"] == pytest.approx(areas[1] - areas[0], abs=1e-12)
    # Hanley & McNeil (1982): standard error of one area, of 6,000 rows of which 40 % are positive
    n, m = 2400, 3600
    variance = sum(
        (a * (1 - a) + (n - 1) * (a / (2 - a) - a**2) + (m - 1) * (2 * a**2 / (1 + a) - a**2)) / (n * m) for a in areas
    )
    assert row["ci_high"] - row["ci_low"] == pytest.approx(2 * 1.96 * variance**0.5, rel=0.35)


def test_rows_without_a_score_of_one_model_count_for_neither(tmp_path):
    old = scored(8, 0.5, N).with_columns(said=(pl.col("p") >= 0.5).cast(pl.Int64))
    content = {**MONITOR, "columns": {**MONITOR["columns"], "prediction": "said"}}
    made = make(tmp_path, content, old.drop("y"), old.select("id", "y"))
    new = scored(8, 0.4, N).with_columns(said=(pl.col("p") >= 0.5).cast(pl.Int64))
    easy = (new["p"] - 0.5).abs() > 0.3  # it scores only what is easy, and decides about all
    new = new.with_columns(p=pl.when(easy).then("p").otherwise(None))
    row = judged(made, tmp_path, new).table.filter(metric="roc_auc", segment="all").row(0, named=True)
    both = easy.to_numpy()
    assert row["n_champion"] == row["n_challenger"] == both.sum()
    assert row["champion"] == pytest.approx(sk.roc_auc_score(old["y"].to_numpy()[both], old["p"].to_numpy()[both]))
    assert row["challenger"] == pytest.approx(sk.roc_auc_score(new["y"].to_numpy()[both], new["p"].to_numpy()[both]))


def tickets(seed: int, noise: float, n: int = N) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    names = np.array(["a b", "c|d", "e"])
    truth = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    logits = 1.5 * np.eye(3)[truth] + rng.normal(size=(n, 3))
    logits += noise * np.random.default_rng(seed + 1).normal(size=(n, 3))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return pl.DataFrame(
        {
            "id": [f"id-{i}" for i in range(n)],
            "ts": [(START + timedelta(minutes=14 * i)).replace(tzinfo=None) for i in range(n)],
            "said": names[p.argmax(axis=1)].tolist(),
            "p_a": p[:, 0],
            "p_c": p[:, 1],
            "p_e": p[:, 2],
            "y": names[truth].tolist(),
        }
    )


def of_tickets(tmp_path):
    rows = tickets(21, 0.5)
    return make(tmp_path, TICKETS, rows.drop("y"), rows.select("id", "y")), rows


def test_several_classes_equal_sklearn(tmp_path):
    made, old = of_tickets(tmp_path)
    new = tickets(21, 0.2)
    found = judged(made, tmp_path, new)
    for whose, rows in (("champion", old), ("challenger", new)):
        y, said, p = rows["y"].to_list(), rows["said"].to_list(), rows.select("p_a", "p_c", "p_e").to_numpy()
        wanted = {
            "accuracy": sk.accuracy_score(y, said),
            "f1_macro": sk.f1_score(y, said, average="macro"),
            "precision_macro": sk.precision_score(y, said, average="macro"),
            "roc_auc_macro": sk.roc_auc_score(y, p, multi_class="ovr", average="macro"),
            "log_loss": sk.log_loss(y, p),
        }
        for metric, number in wanted.items():
            assert value(found, metric, whose) == pytest.approx(number, abs=1e-12), (metric, whose)


def test_a_class_that_the_candidate_never_decides_for(tmp_path):
    made, _ = of_tickets(tmp_path)
    new = tickets(21, 0.2).with_columns(said=pl.when(pl.col("said") == "e").then(pl.lit("a b")).otherwise("said"))
    found = judged(made, tmp_path, new)
    wanted = sk.precision_score(new["y"].to_list(), new["said"].to_list(), average="macro", zero_division=0)
    assert value(found, "precision_macro") == pytest.approx(wanted, abs=1e-12)
    wanted = sk.f1_score(new["y"].to_list(), new["said"].to_list(), average="macro", zero_division=0)
    assert value(found, "f1_macro") == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("are_others", [False, True])
def test_a_class_without_scores_of_one_model_has_scores_of_neither(tmp_path, are_others):
    made, old = of_tickets(tmp_path)
    new = tickets(21, 0.2).with_columns(p_e=pl.lit(None, pl.Float64))
    new = new.with_columns(id=pl.format("n{}", "id")) if are_others else new
    found = judged(made, tmp_path, new)
    assert found.compared.how == ("unpaired" if are_others else "paired")
    for whose, rows in (("champion", old), ("challenger", new)):
        pairs = [(rows["y"] == name, rows[column]) for name, column in (("a b", "p_a"), ("c|d", "p_c"))]
        wanted = np.mean([sk.roc_auc_score(y, p) for y, p in pairs])
        assert value(found, "roc_auc_macro", whose) == pytest.approx(wanted, abs=1e-12)
    assert any("p_e" in note for note in found.notes)


def test_files_without_ids_are_not_paired_by_their_row_numbers(tmp_path):
    made, old = of_tickets(tmp_path)
    shuffled = tickets(21, 0.5).sample(fraction=1.0, shuffle=True, seed=3).drop("id")
    found = judged(made, tmp_path, tickets(21, 0.5).drop("id"), against=shuffled)
    assert found.compared.how == "unpaired"
    assert any("no prediction ids" in note for note in found.notes)
    row = found.table.filter(metric="accuracy", segment="all").row(0, named=True)
    assert row["difference"] == 0.0
    numbered = old.with_columns(id=pl.int_range(pl.len()))
    assert judged(made, tmp_path, tickets(21, 0.5).drop("id"), against=numbered).compared.how == "unpaired"


@pytest.mark.parametrize("name", ["new.csv", "new.ndjson"])
def test_formats_and_the_order_of_rows_give_the_same_numbers(tmp_path, name):
    made, _ = of_tickets(tmp_path)
    wanted = judged(made, tmp_path, tickets(21, 0.2))
    found = judged(made, tmp_path, tickets(21, 0.2).sample(fraction=1.0, shuffle=True, seed=5), name=name)
    assert found.verdict.outcome == wanted.verdict.outcome
    for column in ("champion", "challenger", "difference", "ci_low", "ci_high"):
        assert found.table[column].to_list() == pytest.approx(wanted.table[column].to_list(), abs=1e-12, nan_ok=True)


def test_entities_and_segments_that_the_file_does_not_have_are_those_of_production(tmp_path):
    old = scored(8, 0.5, N).with_columns(who=pl.format("u{}", pl.int_range(pl.len()) // 20))
    columns = {**MONITOR["columns"], "entity_id": "who"}
    content = {**MONITOR, "columns": columns, "evaluation": {"margin": 0.03, "segments": ["c"]}}
    made = make(tmp_path, content, old.drop("y"), old.select("id", "y"))
    new = scored(8, 0.4, N).with_columns(old["who"])
    whole = judged(made, tmp_path, new)
    bare = judged(made, tmp_path, new.drop("who", "c"))
    assert bare.table.equals(whole.table)
    assert [c.name for c in bare.verdict.criteria] == ["roc_auc", "roc_auc | c=north", "roc_auc | c=south"]
    others = judged(made, tmp_path, new.drop("who").with_columns(id=pl.format("n{}", "id")))
    assert any("independent" in note for note in others.notes)


def demand(seed: int, noise: float) -> pl.DataFrame:
    """Heavy tails."""
    y = 50 + 10 * np.random.default_rng(41).standard_t(1.5, N)
    times = [(START + timedelta(minutes=14 * i)).replace(tzinfo=None) for i in range(N)]
    q = y + np.random.default_rng(seed).normal(2, noise, N)
    return pl.DataFrame({"id": range(N), "ts": times, "q": q, "y": y})


def test_errors_equal_sklearn(tmp_path):
    old, new = demand(42, 5), demand(43, 4)
    made = make(tmp_path, DEMAND, old.drop("y"), old.select("id", "y"))
    found = judged(made, tmp_path, new.with_columns(pl.col("id").cast(pl.String)))
    for whose, rows in (("champion", old), ("challenger", new)):
        y, q = rows["y"].to_numpy(), rows["q"].to_numpy()
        assert value(found, "mae", whose) == pytest.approx(sk.mean_absolute_error(y, q), rel=1e-12)
        assert value(found, "rmse", whose) == pytest.approx(sk.root_mean_squared_error(y, q), rel=1e-12)
        assert value(found, "r2", whose) == pytest.approx(sk.r2_score(y, q), rel=1e-9)
        assert value(found, "pinball_0.9", whose) == pytest.approx(sk.mean_pinball_loss(y, q, alpha=0.9), rel=1e-12)
    row = found.table.filter(metric="mae", segment="all").row(0, named=True)
    loss = [np.abs(rows["q"] - rows["y"]).to_numpy() for rows in (old, new)]
    wanted = stats.ttest_rel(loss[1], loss[0]).confidence_interval()
    assert row["ci_low"] == pytest.approx(wanted.low, abs=0.08)
    assert row["ci_high"] == pytest.approx(wanted.high, abs=0.08)


def test_numbers_whose_squares_overflow_are_left_out_and_told(tmp_path):
    old = demand(42, 5)
    made = make(tmp_path, DEMAND, old.drop("y"), old.select("id", "y"))
    huge = old.with_columns(q=pl.when(id=3).then(1e200).otherwise("q"))
    found = judged(made, tmp_path, huge)
    assert any("1 labelled row without an output" in note for note in found.notes)
    (section,) = [each for each in found.sections if each.key == "answers"]
    assert "1 of" in section.findings[0].reason and section.status == "ok"
    assert value(found, "mae") == pytest.approx(value(judged(made, tmp_path, old), "mae"), rel=0.01)


def test_what_the_numbers_leave_out_is_said(tmp_path):
    old = scored(8, 0.5, N).with_columns(said=(pl.col("p") >= 0.7).cast(pl.Int64), w=pl.lit(2.0))
    content = {**MONITOR, "columns": {**MONITOR["columns"], "prediction": "said", "weight": "w"}}
    made = make(tmp_path, content, old.drop("y"), old.select("id", "y"))
    found = judged(made, tmp_path, scored(8, 0.4, N))
    assert "decisions of the challenger are those of its score and the threshold 0.5" in found.notes
    assert any("'w' weighs nothing" in note for note in found.notes)
    assert value(found, "accuracy", "champion") == pytest.approx(sk.accuracy_score(old["y"], old["said"]), abs=1e-12)

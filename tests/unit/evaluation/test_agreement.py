"""Candidates that differ in nothing, or in nothing that was seen: what passes, what stays open, and how much more."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import polars as pl
import pytest
import yaml
from scipy.stats import binomtest
from sklearn.metrics import log_loss

from metrics_py.evaluation.agreement import units_needed, unseen_share
from metrics_py.evaluation.verdict import Outcome
from sightline.errors import SightlineError
from sightline.evaluation.render import criterion_row, to_table
from sightline.evaluation.run import Evaluation, evaluate
from sightline.home import Home
from sightline.spec.loader import find_monitor
from tests.support.lake import START, make_paths

BINARY = {"score": "p", "features": {"x": "numeric"}}
DECISIONS = {"prediction": "p", "features": {"x": "numeric"}}
CLASSES = {"class_scores": {"a": "pa", "b": "pb", "c": "pc"}, "prediction": "d", "features": {"x": "numeric"}}
RANKING = {"score": "p", "query_id": "q"}
REGIONS = [3 if k < 40 else k % 3 for k in range(2000)]


def judged(tmp_path, task: str, columns: dict, new: pl.DataFrame, old: pl.DataFrame, **more: object) -> Evaluation:
    home, paths = make_paths(tmp_path)
    home.monitors.mkdir(exist_ok=True)
    content = {
        "model": {"id": "m", "task": task},
        "columns": {"prediction_id": "id", "timestamp": "ts", **columns},
        "labels": {"column": "y"},
        "reference": {"kind": "window", "start": "2026-01-05", "end": "2026-01-07"},
        **more,
    }
    (home.monitors / "m.yaml").write_text(yaml.safe_dump(content))
    new.write_parquet(tmp_path / "new.parquet")
    old.write_parquet(tmp_path / "old.parquet")
    spec = find_monitor(home, "m")
    return evaluate(spec, paths, tmp_path / "new.parquet", "2", now=START, against=tmp_path / "old.parquet")


def scored(seed: int, n: int, noise: float = 0.5, name: str = "i") -> pl.DataFrame:
    rng = np.random.default_rng([71, seed])
    truth = rng.random(n) < 0.4
    signal = np.where(truth, 1.0, -1.0) + rng.normal(0, 1, n) + noise * rng.normal(size=n)
    ids = [f"{name}{k}" for k in range(n)]
    return pl.DataFrame({"id": ids, "p": 1 / (1 + np.exp(-signal)), "x": rng.normal(size=n), "y": truth.astype(int)})


def row(found: Evaluation, metric: str) -> dict:
    return found.table.filter(metric=metric, segment="all").row(0, named=True)


@pytest.mark.parametrize("n", [1, 30, 736, 5000])
def test_the_share_that_could_stay_unseen_is_the_exact_binomial_bound(n):
    exact = binomtest(0, n).proportion_ci(0.95, method="exact").high
    assert unseen_share(n) == pytest.approx(exact, rel=1e-9)
    assert units_needed(exact * 1.0001) == n


def test_a_recalibrated_candidate_is_not_inferior_and_never_superior(tmp_path):
    old = scored(1, 1000)
    new = old.with_columns(p=(pl.col("p") ** 3 * 0.7).round(12))
    found = judged(tmp_path, "binary_classification", BINARY, new, old)
    assert found.verdict.outcome == "non_inferior"
    for metric in ("roc_auc", "average_precision"):
        own = row(found, metric)
        assert (own["difference"], own["ci_low"], own["ci_high"], own["status"]) == (0, 0, 0, "ok")
    assert row(found, "log_loss")["difference"] != 0
    assert any("order all rows alike" in note for note in found.notes)


def test_a_candidate_that_changes_one_region_does_not_differ_in_the_others(tmp_path):
    old = scored(8, 2000).with_columns(region=pl.Series(["east", "north", "west", "tiny"]).gather(REGIONS))
    columns = {**BINARY, "segments": ["region"]}
    is_east = pl.col("region") == "east"
    shrunk = pl.when(pl.col("region") == "north").then(pl.col("p") ** 2).otherwise("p")
    better = pl.when(is_east).then((pl.col("p") + pl.col("y")) / 2).otherwise(shrunk)
    rules = {"evaluation": {"segments": ["region=east", "region=north", "region=west"]}}
    found = judged(tmp_path, "binary_classification", columns, old.with_columns(p=better), old, **rules)
    rows = {r["segment"]: r for r in found.table.filter(metric="roc_auc").iter_rows(named=True)}
    for name in ("region=north", "region=west"):
        assert (rows[name]["difference"], rows[name]["ci_low"], rows[name]["ci_high"]) == (0, 0, 0)
    assert rows["region=east"]["ci_low"] > 0 and rows["all"]["ci_low"] > 0
    assert rows["region=tiny"]["status"] == "insufficient_data"
    losses = {r["segment"]: r for r in found.table.filter(metric="log_loss").iter_rows(named=True)}
    assert losses["region=west"]["ci_high"] == 0 and losses["region=north"]["ci_low"] != 0
    assert found.verdict.outcome == "superior"
    assert any(note.endswith("do not differ, in: region=north, region=west") for note in found.notes)


def test_outcomes_are_told_in_the_words_of_the_docs(tmp_path):
    old = scored(1, 1000)
    new = old.with_columns(p=(pl.col("p") ** 3 * 0.7).round(12))
    found = judged(tmp_path, "binary_classification", BINARY, new, old)
    (criterion,) = found.verdict.criteria
    told = [criterion_row(replace(criterion, outcome=outcome))[-1] for outcome in get_args(Outcome)]
    assert told == ["superior", "not inferior", "inferior", "cannot tell"]
    assert "not inferior" in to_table(found) and "non inferior" not in to_table(found)


def test_a_recalibration_that_swaps_a_few_rows_has_an_interval_of_its_own(tmp_path):
    old = scored(2, 1000)
    swapped = old.with_columns(p=pl.when(pl.int_range(pl.len()) < 10).then(1 - pl.col("p")).otherwise("p"))
    own = row(judged(tmp_path, "binary_classification", BINARY, swapped, old), "roc_auc")
    assert own["ci_low"] < own["difference"] < own["ci_high"] and own["n_agreeing"] is None


@pytest.mark.parametrize(("n", "outcome"), [(150, "cannot_tell"), (3000, "non_inferior")])
def test_the_same_decisions_prove_what_that_many_rows_prove(tmp_path, n, outcome):
    rows = scored(3, n).with_columns(p=(pl.col("p") > 0.5).cast(pl.Int64))
    found = judged(tmp_path, "binary_classification", DECISIONS, rows, rows, quality={"primary": "accuracy"})
    own = row(found, "accuracy")
    assert own["n_agreeing"] == n
    assert (own["ci_low"], own["ci_high"]) == pytest.approx((-unseen_share(n), unseen_share(n)))
    assert found.verdict.outcome == outcome
    if outcome == "cannot_tell":
        assert found.verdict.more_rows == units_needed(0.005) - n
        assert "586 more labelled rows without a difference needed" in found.verdict.reason


def test_entities_count_and_not_their_rows(tmp_path):
    rows = scored(4, 3000).with_columns(p=(pl.col("p") > 0.5).cast(pl.Int64), user=pl.int_range(pl.len()) % 200)
    columns = {**DECISIONS, "entity_id": "user"}
    found = judged(tmp_path, "binary_classification", columns, rows, rows, quality={"primary": "accuracy"})
    assert row(found, "accuracy")["n_agreeing"] == 200
    assert found.verdict.outcome == "cannot_tell"


def test_two_models_without_a_mistake_are_not_known_to_be_equal(tmp_path):
    """Both separate the classes, in another order: ROC AUC is 1 without each bucket, which is no certainty."""
    rows = scored(5, 200)
    side = pl.when(pl.col("y") == 1).then(0.8).otherwise(0.2)
    old, new = (rows.with_columns(p=side + sign * pl.col("x").clip(-2, 2) * 0.05) for sign in (1, -1))
    found = judged(tmp_path, "binary_classification", BINARY, new, old)
    fewest = min(rows["y"].sum(), len(rows) - rows["y"].sum())
    assert row(found, "roc_auc")["n_agreeing"] == fewest
    assert found.verdict.outcome == "cannot_tell"
    needed = units_needed(0.005) / fewest * 200 - 200
    assert found.verdict.more_rows == pytest.approx(needed, abs=1)


def test_the_rounding_of_sums_is_no_difference(tmp_path):
    old = scored(6, 800)
    new = old.with_columns(p=pl.col("p") * (1 + 4e-16))
    found = judged(tmp_path, "binary_classification", BINARY, new, old, quality={"primary": "log_loss"})
    own = row(found, "log_loss")
    assert (own["difference"], own["ci_low"], own["ci_high"]) == (0, 0, 0)
    assert found.verdict.outcome == "non_inferior"


def test_rankings_in_the_same_order_do_not_differ(tmp_path):
    rng = np.random.default_rng(77)
    rows = pl.DataFrame(
        {
            "id": [f"i{k}" for k in range(2400)],
            "q": np.repeat(np.arange(300), 8),
            "p": rng.normal(size=2400),
            "y": (rng.random(2400) < 0.2).astype(float),
        }
    )
    found = judged(tmp_path, "ranking", RANKING, rows.with_columns(p=pl.col("p") * 3 + 10), rows)
    assert found.verdict.outcome == "non_inferior"
    assert (row(found, "ndcg")["ci_low"], row(found, "ndcg")["ci_high"]) == (0, 0)


def classes(seed: int, noise: float, n: int = 1500) -> pl.DataFrame:
    rng = np.random.default_rng([78, seed])
    z = rng.normal(size=(n, 3))
    y = (z + rng.gumbel(size=(n, 3))).argmax(axis=1)
    z = z + noise * np.random.default_rng([79, int(noise * 10)]).normal(size=z.shape)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    names = np.array(list("abc"))
    return pl.DataFrame(p, schema=["pa", "pb", "pc"]).with_columns(
        id=pl.format("i{}", pl.int_range(n)), d=pl.Series(names[p.argmax(axis=1)]), x=pl.lit(0.0), y=pl.Series(names[y])
    )


def test_scores_that_are_no_probabilities_have_no_log_loss(tmp_path):
    """A model that gives every class the score 1 would win by log loss."""
    old, new = classes(1, 0.8), classes(1, 0.1)
    quality = {"primary": "log_loss"}
    task = "multiclass_classification"
    fair = judged(tmp_path, task, CLASSES, new, old, quality=quality)
    assert fair.verdict.outcome == "superior"
    p = new.select("pa", "pb", "pc").to_numpy()
    assert row(fair, "log_loss")["challenger"] == pytest.approx(log_loss(new["y"].to_numpy(), p), abs=1e-12)
    rounded = new.with_columns(pl.col("pa", "pb", "pc").round(2))
    assert judged(tmp_path, task, CLASSES, rounded, old, quality=quality).verdict.outcome == "superior"
    cheat = new.with_columns(pa=1.0, pb=1.0, pc=1.0)
    found = judged(tmp_path, task, CLASSES, cheat, old, quality=quality)
    assert found.verdict.outcome == "cannot_tell"
    assert "1,500 rows of the challenger do not sum to 1" in found.verdict.reason
    assert row(found, "accuracy")["status"] == "ok" and row(found, "brier")["ci_low"] is None


def test_the_champion_of_many_rows_needs_no_more(tmp_path):
    old, new = scored(8, 6000, 0.5), scored(9, 400, 0.5, name="new")
    found = judged(tmp_path, "binary_classification", BINARY, new, old, evaluation={"margin": 0.03})
    assert found.compared.how == "unpaired" and found.verdict.outcome == "cannot_tell"
    assert found.verdict.more_rows_champion == 0
    assert f"{found.verdict.more_rows:,} more labelled rows of the candidate needed" in found.verdict.reason
    own = row(found, "roc_auc")
    assert own["se_challenger"] > 2 * own["se_champion"] > 0


def ranked(noise: float, n: int = 300) -> pl.DataFrame:
    rng = np.random.default_rng(80)
    liked = rng.normal(size=8 * n)
    y = (liked + rng.normal(0, 0.5, 8 * n) > 1).astype(float)
    p = liked + noise * np.random.default_rng(81).normal(size=8 * n)
    ids = [f"i{k}" for k in range(8 * n)]
    return pl.DataFrame({"id": ids, "q": np.repeat(np.arange(n), 8), "p": p, "y": y})


def test_a_ranking_without_queries_or_relevant_rows_is_named(tmp_path):
    new, old = ranked(0.2), ranked(0.8)
    with pytest.raises(SightlineError, match=r"candidate file says which query .*\n?.*it needs the column 'q'"):
        judged(tmp_path, "ranking", RANKING, new.drop("q"), old)
    with pytest.raises(SightlineError, match=r"champion's \(--against\) file says which query"):
        judged(tmp_path, "ranking", RANKING, new, old.drop("q"))
    nothing = judged(tmp_path, "ranking", RANKING, new.with_columns(y=0.0), old.with_columns(y=0.0))
    assert nothing.verdict.outcome == "cannot_tell"
    assert "no compared query has a relevant row ('y' above 0)" in nothing.verdict.reason


def test_the_file_that_is_missing_is_named(tmp_path):
    judged(tmp_path, "binary_classification", BINARY, scored(10, 300), scored(10, 300))
    spec = find_monitor(Home(tmp_path), "m")
    paths = Home(tmp_path).monitor("m")
    with pytest.raises(SightlineError, match=r"the champion's \(--against\) file does not exist"):
        evaluate(spec, paths, tmp_path / "new.parquet", "2", now=START, against=tmp_path / "none.parquet")
    with pytest.raises(SightlineError, match="the candidate file does not exist"):
        evaluate(spec, paths, tmp_path / "none.parquet", "2", now=START, against=tmp_path / "old.parquet")


def test_one_row_is_one_labelled_row(tmp_path):
    found = judged(tmp_path, "binary_classification", BINARY, scored(11, 1), scored(11, 300))
    assert "1 labelled row, 100 needed" in found.verdict.reason


def test_numbers_as_text_are_read_from_parquet_as_from_csv(tmp_path):
    old = scored(12, 900)
    better = scored(12, 900, noise=0.1)
    texts = [*map(repr, better["p"][:-4]), "oops", "", "nan", "1.5"]
    told, tables = [], []
    for name in ("parquet", "csv", "ndjson"):
        frame = better.with_columns(p=pl.Series(texts), x=pl.col("x").cast(pl.String), y=pl.col("y").cast(pl.String))
        judged(tmp_path, "binary_classification", BINARY, better, old)  # the monitor's file
        path = tmp_path / f"text.{name}"
        {"parquet": frame.write_parquet, "csv": frame.write_csv, "ndjson": frame.write_ndjson}[name](path)
        spec, paths = find_monitor(Home(tmp_path), "m"), Home(tmp_path).monitor("m")
        found = evaluate(spec, paths, path, "2", now=START, against=tmp_path / "old.parquet")
        told.append([note for note in found.notes if "of 'p'" in note])
        tables.append(found.table.drop("trivial"))
    assert tables[0].equals(tables[1]) and tables[0].equals(tables[2])
    assert row(found, "roc_auc")["n_challenger"] == 896
    assert told[0] == told[1] == told[2] and len(told[0]) == 3
    assert any("1 value of 'p' cannot be used (bad type)" in note for note in told[0])


def test_a_guardrail_that_cannot_be_computed_leaves_it_open(tmp_path):
    """A function that returns None, and SQL that reads what one file does not have: the reason, in its own words."""
    (tmp_path / "of_this_test.py").write_text(
        "from metrics_py.registry import metric\n\n\n"
        '@metric(name="silent", task="custom", needs="rows", direction="higher_is_better")\n'
        "def silent(rows):\n    return None\n"
    )
    metrics = [
        {"name": "silent", "python": "of_this_test:silent", "needs_label": True},
        {"name": "typo", "sql": "f_amuont", "needs_label": True, "direction": "higher_is_better"},
    ]
    new, old = scored(13, 900, noise=0.1), scored(13, 900)
    for name, told in (("silent", "undefined on these rows"), ("typo", "f_amuont")):
        rules = {"margin": 0.02, "guardrails": {name: 0.1}}
        found = judged(tmp_path, "binary_classification", BINARY, new, old, metrics=metrics, evaluation=rules)
        assert found.verdict.outcome == "cannot_tell"
        assert found.verdict.reason.startswith(f"{name}: ") and told in found.verdict.reason
        assert not any("Binder Error" in note for note in found.notes)

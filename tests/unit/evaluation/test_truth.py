"""Files of the same rows that say another truth, other lists or another unit: no verdict stands on them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import mean_absolute_error

from sightline.errors import SightlineError
from tests.unit.evaluation.test_agreement import judged, ranked, row

NUMBERS = {"prediction": "p", "features": {"x": "numeric"}}
CLASSES = {"score": "p", "features": {"x": "numeric"}}
LISTS = {"score": "p", "query_id": "q"}
N = 600


def priced(seed: int, noise: float, name: str = "i") -> pl.DataFrame:
    """Predictions of one truth, which is the same for all seeds."""
    y = np.random.default_rng(641).normal(50, 3, N)
    rng = np.random.default_rng([642, seed])
    ids = [f"{name}{k}" for k in range(N)]
    return pl.DataFrame({"id": ids, "p": y + rng.normal(0, noise, N), "x": rng.normal(size=N), "y": y})


def test_a_candidate_in_another_unit_is_refused_with_its_labels_or_loses_without(tmp_path):
    """Labels and predictions in thousandths: the champion would look a thousand times worse than it is."""
    old, new = priced(1, 1.0), priced(2, 0.8)
    with pytest.raises(SightlineError, match=r"600 of the labels of 600 shared rows .*mean 50,\d+ and 50\.18") as told:
        judged(tmp_path, "regression", NUMBERS, new.with_columns(pl.col("p", "y") * 1000), old)
    assert told.value.where == "y" and "in the same unit" in str(told.value.fix)
    found = judged(tmp_path, "regression", NUMBERS, new.with_columns(pl.col("p") * 1000), old)
    assert found.verdict.outcome == "inferior"
    others = priced(3, 0.8, "other").with_columns(pl.col("p", "y") / 1000)
    found = judged(tmp_path, "regression", NUMBERS, others, old)
    assert found.compared.how == "unpaired" and found.verdict.outcome == "cannot_tell"
    assert found.verdict.reason.startswith(
        "the labels are those of another unit or population: half of the champion's lie"
    )
    [section] = [section for section in found.sections if section.key == "labels"]
    assert section.findings[0].status == "fail"


def test_corrected_and_rounded_labels_are_one_truth(tmp_path):
    old, new = priced(1, 1.0), priced(2, 0.8)
    outlier = pl.when(pl.int_range(pl.len()) == 7).then(1e9).otherwise("y").alias("y")
    found = judged(tmp_path, "regression", NUMBERS, new, old.with_columns(outlier))
    assert any(note.startswith("1 label against that of the champion's row") for note in found.notes)
    narrow = judged(tmp_path, "regression", NUMBERS, new.with_columns(pl.col("y").cast(pl.Float32)), old)
    assert not any("against that of the champion's row" in note for note in narrow.notes)
    for each in (found, narrow):
        assert each.verdict.outcome == "superior"
        expected = mean_absolute_error(old["y"], old["p"])
        assert row(each, "mae")["champion"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("share", "is_refused"), [(0.05, False), (0.3, True)])
def test_classes_that_another_file_calls_otherwise(tmp_path, share, is_refused):
    rng = np.random.default_rng(643)
    y = rng.integers(0, 2, N)
    old, new = (
        pl.DataFrame({"id": [f"i{k}" for k in range(N)], "p": np.clip(y * 0.5 + rng.random(N) / 2, 0, 1), "y": y})
        for _ in range(2)
    )
    rows = new.with_columns(y=pl.when(pl.int_range(pl.len()) < share * N).then(1 - pl.col("y")).otherwise("y"), x=0.0)
    if is_refused:
        with pytest.raises(SightlineError, match="180 of the labels of 600 shared rows are not those of"):
            judged(tmp_path, "binary_classification", CLASSES, rows, old.with_columns(x=0.0))
    else:
        found = judged(tmp_path, "binary_classification", CLASSES, rows, old.with_columns(x=0.0))
        assert any("30 labels against" in note for note in found.notes)


def test_lists_may_have_other_names_and_no_other_rows(tmp_path):
    old, new = ranked(0.8), ranked(0.2)
    plain = row(judged(tmp_path, "ranking", LISTS, new, old), "ndcg")
    named = row(judged(tmp_path, "ranking", LISTS, new.with_columns(q=pl.format("query {}", "q")), old), "ndcg")
    for name in ("champion", "challenger", "n_champion"):
        assert named[name] == pytest.approx(plain[name], rel=1e-12)
    shuffled = new.with_columns(q=pl.col("q").shuffle(seed=5))
    with pytest.raises(SightlineError, match=r"stand in other lists than those of the file old\.parquet") as told:
        judged(tmp_path, "ranking", LISTS, shuffled, old)
    assert told.value.where == "q"
    with pytest.raises(SightlineError, match=r"labels of [\d,]+ shared rows are not those"):
        judged(tmp_path, "ranking", LISTS, new.with_columns(y=1 - pl.col("y").clip(0, 1)), old)


def test_a_ranker_that_leaves_rows_out_is_in_doubt(tmp_path):
    old, new = ranked(0.8), ranked(0.2)
    silent = new.with_columns(p=pl.when(pl.int_range(pl.len()) % 17 == 0).then(float("nan")).otherwise("p"))
    assert judged(tmp_path, "ranking", LISTS, new, old).verdict.outcome == "superior"
    found = judged(tmp_path, "ranking", LISTS, silent, old)
    assert found.verdict.outcome == "cannot_tell"
    assert "the champion leaves 0 % of the labelled rows unanswered, the challenger 5.9 %" in found.verdict.reason


@pytest.mark.parametrize("scale", [1e-13, 1.0, 1e100])
def test_the_default_margin_and_the_trivial_answer_know_the_unit(tmp_path, scale):
    """A margin of 1e-12 would pass any model of numbers that are as small."""
    old, new = (each.with_columns(pl.col("p", "y") * scale) for each in (priced(1, 1.0), priced(2, 1.4)))
    found = judged(tmp_path, "regression", NUMBERS, new, old)
    assert found.verdict.outcome == "inferior"
    [primary] = [c for c in found.verdict.criteria if c.name == "mae"]
    assert primary.margin == pytest.approx(0.01 * mean_absolute_error(old["y"], old["p"]), rel=1e-9)
    middle = np.full(N, new["y"].mean())
    assert row(found, "mae")["trivial"] == pytest.approx(mean_absolute_error(new["y"], middle), rel=1e-9)
    assert row(found, "mean_error")["trivial"] == 0

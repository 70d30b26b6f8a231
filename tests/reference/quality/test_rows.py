"""Quality from rows agrees with scikit-learn and says what is missing."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from sklearn import metrics as sk

from metrics_py.quality.rows import Roles, quality_of_rows
from metrics_py.suite.draft import draft_suite


def by_metric(table):
    return {row["metric"]: row for row in table.to_dicts()}


@pytest.mark.parametrize("spelling", ["integer", "boolean", "float", "text"])
def test_binary(spelling):
    rng = np.random.default_rng(12)
    score = rng.random(3000)
    y = rng.random(3000) < score
    label = {"integer": y.astype(int), "boolean": y, "float": y.astype(float), "text": np.where(y, "late", "on time")}
    positive = {"integer": "1", "boolean": "true", "float": "1", "text": "late"}
    rows = pl.DataFrame({"truth": label[spelling], "p": score})
    rows = pl.concat([rows, rows.head(50).with_columns(truth=pl.lit(None, rows["truth"].dtype))])
    found = by_metric(
        quality_of_rows(rows, Roles("binary_classification", "truth", score="p", positive=positive[spelling]))
    )
    assert_allclose(found["accuracy"]["value"], sk.accuracy_score(y, score >= 0.5), atol=1e-12)
    assert_allclose(found["log_loss"]["value"], sk.log_loss(y, score), atol=1e-9)
    assert_allclose(found["brier"]["value"], sk.brier_score_loss(y, score), atol=1e-12)
    assert abs(found["roc_auc"]["value"] - sk.roc_auc_score(y, score)) <= found["roc_auc"]["binning_bound"] + 1e-12
    assert found["accuracy"]["n"] == 3000
    assert all(row["status"] == "ok" for row in found.values())


SPELLED = {
    "boolean": [True, False],
    "python": ["True", "False"],
    "float": ["1.0", "0.0"],
    "blank": [" 1", "0 "],
    "exponent": ["1.000000000000000000e+00", "0.000000000000000000e+00"],
    "number": [1.0, 0.0],
}


@pytest.mark.parametrize("spelling", SPELLED)
def test_every_spelling_of_two_classes_gives_the_same_quality(spelling):
    rng = np.random.default_rng(15)
    score = rng.random(600)
    y = rng.random(600) < score
    values = SPELLED[spelling]
    rows = pl.DataFrame({"y": [values[0] if truth else values[1] for truth in y], "p": score})
    guess = pl.Series("guess", [values[0] if s >= 0.5 else values[1] for s in score])
    for roles in (
        Roles("binary_classification", "y", score="p"),
        Roles("binary_classification", "y", score="p", prediction="guess"),
        Roles("binary_classification", "y", score="p", positive="true"),
    ):
        found = by_metric(quality_of_rows(rows.with_columns(guess), roles))
        assert_allclose(found["accuracy"]["value"], sk.accuracy_score(y, score >= 0.5), atol=1e-12)
        assert_allclose(found["positive_rate"]["value"], y.mean(), atol=1e-12)
        assert found["accuracy"]["reason"] is None


def test_labels_that_are_no_class_are_left_out_and_told():
    rng = np.random.default_rng(16)
    score = rng.random(400)
    y = rng.random(400) < score
    labels = [str(int(truth)) for truth in y]
    rows = pl.DataFrame({"y": [*labels, "unknown", "yes", None], "p": [*score, 0.9, 0.9, 0.9]})
    found = by_metric(quality_of_rows(rows, Roles("binary_classification", "y", score="p")))
    assert_allclose(found["accuracy"]["value"], sk.accuracy_score(y, score >= 0.5), atol=1e-12)
    assert found["accuracy"]["n"] == 400
    assert found["accuracy"]["reason"] == "2 of 403 values of 'y' are no class, such as 'unknown': left out"


def test_numbers_and_texts_of_several_classes_are_one():
    rng = np.random.default_rng(17)
    guess, y = rng.integers(0, 3, 500), rng.integers(0, 3, 500)
    rows = pl.DataFrame({"y": [f"{k}.0" for k in y], "guess": guess})
    found = by_metric(quality_of_rows(rows, Roles("multiclass_classification", "y", prediction="guess")))
    assert_allclose(found["accuracy"]["value"], sk.accuracy_score(y, guess), atol=1e-12)


def test_a_word_for_no_answer_is_no_class_of_several():
    rng = np.random.default_rng(19)
    names = np.array(["a", "b", "c"])
    guess, y = names[rng.integers(0, 3, 300)], names[rng.integers(0, 3, 300)]
    extra = ["unknown", "N/A", "?", "null", "", "c2"]
    rows = pl.DataFrame({"y": [*y, *extra], "guess": [*guess, *"aaaaaa"]})
    roles = Roles("multiclass_classification", "y", prediction="guess")
    suite = draft_suite(rows.head(300), roles)
    assert suite.roles is not None and suite.roles.classes == ("a", "b", "c")
    found = by_metric(quality_of_rows(rows, suite.roles))["f1_macro"]
    assert found["value"] == pytest.approx(sk.f1_score(y, guess, average="macro"))
    assert found["n"] == 300
    assert found["reason"] == "5 of 306 values of 'y' are no class, such as 'unknown': left out"
    assert by_metric(quality_of_rows(rows, roles))["accuracy"]["n"] == 301, "only what no class is called is left out"


def test_multiclass_from_probabilities_and_from_predictions():
    rng = np.random.default_rng(13)
    names = ["a", "b", "c"]
    scores = rng.dirichlet([1, 1, 1], 2000)
    y = np.array([rng.choice(3, p=p) for p in scores])
    rows = pl.DataFrame({"y": np.array(names)[y]} | {f"p_{name}": scores[:, i] for i, name in enumerate(names)})
    roles = Roles("multiclass_classification", "y", class_scores={name: f"p_{name}" for name in names})
    found = by_metric(quality_of_rows(rows, roles))
    predicted = scores.argmax(axis=1)
    assert_allclose(found["f1_macro"]["value"], sk.f1_score(y, predicted, average="macro"), atol=1e-12)
    assert_allclose(found["log_loss"]["value"], sk.log_loss(y, scores), atol=1e-9)
    exact = sk.roc_auc_score(y, scores, multi_class="ovr", average="macro")
    assert found["roc_auc_macro"]["value"] == pytest.approx(exact, abs=1e-12)
    assert found["roc_auc_macro"]["binning_bound"] == 0
    weighted = sk.roc_auc_score(y, scores, multi_class="ovr", average="weighted")
    assert found["roc_auc_weighted"]["value"] == pytest.approx(weighted, abs=1e-12)
    truth = y[:, None] == np.arange(3)
    ap = sk.average_precision_score(truth, scores, average="macro")
    assert found["average_precision_macro"]["value"] == pytest.approx(ap, abs=1e-12)
    decided = rows.select("y", guess=pl.Series(np.array(names)[predicted]))
    only = by_metric(quality_of_rows(decided, Roles("multiclass_classification", "y", prediction="guess")))
    assert only["f1_macro"]["value"] == found["f1_macro"]["value"]
    assert "log_loss" not in only


def test_regression_leaves_out_rows_without_a_side():
    rng = np.random.default_rng(14)
    y, f = rng.normal(5, 2, 800), rng.normal(5, 2, 800)
    rows = pl.DataFrame({"y": [*y, None, 1.0], "f": [*f, 1.0, float("nan")]})
    found = by_metric(quality_of_rows(rows, Roles("regression", "y", prediction="f")))
    assert_allclose(found["mae"]["value"], sk.mean_absolute_error(y, f), rtol=1e-9)
    assert_allclose(found["r2"]["value"], sk.r2_score(y, f), atol=1e-9)
    assert found["mae"]["n"] == 800


def test_entities_stay_together():
    rng = np.random.default_rng(15)
    user = rng.integers(0, 100, 4000)
    skill = rng.normal(0, 2, 100)
    right = rng.random(4000) < 1 / (1 + np.exp(-skill[user]))
    rows = pl.DataFrame({"y": right.astype(int), "f": 1, "user": user})
    roles = Roles("binary_classification", "y", prediction="f")
    single = by_metric(quality_of_rows(rows, roles))["accuracy"]
    together = by_metric(quality_of_rows(rows, Roles("binary_classification", "y", prediction="f", entity="user")))[
        "accuracy"
    ]
    assert together["value"] == single["value"]
    assert together["ci_high"] - together["ci_low"] > 2 * (single["ci_high"] - single["ci_low"])


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        (Roles("rank", "y", score="p"), "task='rank' is unknown"),
        (Roles("ranking", "y", score="p"), "needs the column query"),
        (Roles("binary_classification", "z", score="p"), "no column 'z'"),
        (Roles("binary_classification", "y"), "needs the column score or prediction"),
        (Roles("regression", "y", score="p"), "needs the column prediction"),
        (Roles("binary_classification", "y", score="big"), "holds 3.0 to 4.0"),
        (Roles("binary_classification", "y", score="text"), "does not hold numbers"),
    ],
)
def test_mistakes_are_named(roles, message):
    rows = pl.DataFrame({"y": [0, 1], "p": [0.1, 0.9], "big": [3, 4], "text": ["a", "b"]})
    with pytest.raises(ValueError, match=message):
        quality_of_rows(rows, roles)


def test_no_labels_is_a_result():
    rows = pl.DataFrame({"y": [None] * 5, "p": [0.5] * 5}, schema={"y": pl.Int64, "p": pl.Float64})
    table = quality_of_rows(rows, Roles("binary_classification", "y", score="p"))
    assert table["reason"].unique().to_list() == ["no labelled rows"]
    assert table.height == 14


@pytest.mark.parametrize("n", [200, 3000])
def test_the_interval_of_the_calibration_error_holds_for_a_calibrated_model(n):
    """A mean of distances is above 0 by noise alone: without allowing for it the interval never holds the truth, 0."""
    rng = np.random.default_rng(61)
    covered, runs = 0, 60
    for _ in range(runs):
        score = rng.random(n)
        rows = pl.DataFrame({"y": (rng.random(n) < score).astype(int), "p": score})
        found = quality_of_rows(rows, Roles("binary_classification", "y", score="p"))
        row = found.filter(metric="calibration_error").to_dicts()[0]
        covered += row["ci_low"] <= 1e-3
        assert row["ci_high"] >= row["value"] > 0
    assert covered >= 54
    overconfident = pl.DataFrame({"y": (rng.random(5000) < 0.5).astype(int), "p": rng.choice([0.1, 0.9], 5000)})
    found = quality_of_rows(overconfident, Roles("binary_classification", "y", score="p"))
    row = found.filter(metric="calibration_error").to_dicts()[0]
    assert row["ci_low"] > 0.35 and row["ci_high"] < 0.43


def ece(score, outcome):
    """Naeini's definition over sixteen equal-width bins, row by row."""
    place = np.minimum((score * 16).astype(int), 15)
    bins = [place == k for k in range(16) if (place == k).any()]
    return sum(abs(outcome[rows].mean() - score[rows].mean()) * rows.mean() for rows in bins)


@pytest.mark.parametrize("largest", [1e-4, 0.02, 1.0])
def test_the_calibration_error_is_that_of_the_scores_themselves(largest):
    """Scores that all lie in one bin of the histogram are not taken for its middle."""
    rng = np.random.default_rng([92, int(largest * 1e4)])
    score = rng.random(5000) * largest
    y = (rng.random(5000) < score).astype(int)
    y[:2] = [0, 1]
    found = quality_of_rows(pl.DataFrame({"y": y, "p": score}), Roles("binary_classification", "y", score="p"))
    row = found.filter(metric="calibration_error").to_dicts()[0]
    assert_allclose(row["value"], ece(score, y), atol=1e-12)
    assert row["binning_bound"] == 0


def test_the_calibration_error_of_several_classes_is_the_mean_of_theirs():
    rng = np.random.default_rng(93)
    p = rng.dirichlet([0.2, 1, 3], 3000)
    y = np.array(["a", "b", "c"])[(rng.random(3000)[:, None] > p.cumsum(axis=1)).sum(axis=1)]
    rows = pl.DataFrame(p, schema=["pa", "pb", "pc"]).with_columns(y=pl.Series(y))
    roles = Roles("multiclass_classification", "y", class_scores={"a": "pa", "b": "pb", "c": "pc"})
    row = quality_of_rows(rows, roles).filter(metric="calibration_error").to_dicts()[0]
    assert_allclose(row["value"], np.mean([ece(p[:, k], y == name) for k, name in enumerate("abc")]), atol=1e-12)


@pytest.mark.parametrize("n", [60, 1039, 40_000])
@pytest.mark.parametrize("concentration", [1.0, 60.0])
def test_areas_of_a_binary_model_are_exact(n, concentration):
    """Scores crowded into a few of 256 bins, with ties; scikit-learn on the same rows."""
    rng = np.random.default_rng([91, n])
    label = rng.random(n) < 0.2
    score = np.where(label, rng.beta(2, concentration, n), rng.beta(1, concentration, n))
    score[: n // 5] = np.round(score[: n // 5], 3)
    rows = pl.DataFrame({"p": score, "y": label.astype(int)})
    found = {
        row["metric"]: row
        for row in quality_of_rows(rows, Roles("binary_classification", "y", score="p"), min_labels=1).to_dicts()
    }
    expected = {
        "roc_auc": sk.roc_auc_score(label, score),
        "average_precision": sk.average_precision_score(label, score),
    }
    for name, value in expected.items():
        assert found[name]["value"] == pytest.approx(value, abs=1e-12)
        assert found[name]["ci_low"] < value < found[name]["ci_high"]
        assert found[name]["binning_bound"] == 0


def test_classes_that_differ_only_in_case_are_two():
    truth = ["a", "A"] * 150
    said = ["A"] * 300
    roles = Roles("binary_classification", "y", prediction="p", positive="A", negative=("a",))
    found = quality_of_rows(pl.DataFrame({"y": truth, "p": said}), roles).filter(metric="accuracy").row(0, named=True)
    assert (found["value"], found["n"]) == (0.5, 300)


def test_words_for_no_value_are_told_where_they_stand_for_a_label():
    truth = ["None", "crack"] * 200
    roles = Roles("multiclass_classification", "y", prediction="p")
    found = quality_of_rows(pl.DataFrame({"y": truth, "p": truth}), roles).filter(metric="accuracy").row(0, named=True)
    assert found["n"] == 200
    assert "200 of 400 values of 'y' are no class, such as 'None': left out" in found["reason"]

"""Estimated quality of several classes, beside isotonic regression and metrics of scikit-learn on the rows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.special import softmax
from sklearn import metrics as sk
from sklearn.isotonic import IsotonicRegression

from metrics_py.estimation.class_calibration import calibrate_classes
from metrics_py.estimation.multiclass import ALIKE, ASSUMED, ESTIMATED, MIN_EXPECTED, between_windows, estimate
from metrics_py.quality.business_value import business_value
from metrics_py.quality.multiclass_metrics import MULTICLASS
from tests.support.class_scores import NAMES, class_label_bins, class_score_bins, draw_classes

SETTINGS = {"min_rows": 100, "by": ["window"]}
VALUES = np.array([[1.0, -4.0, 0.0], [-2.0, 3.0, -1.0], [0.0, -1.0, 2.0]])


@pytest.fixture(scope="module")
def model():
    return calibrate_classes(class_label_bins(*draw_classes(np.random.default_rng(31), 400_000)), NAMES)


def told(frame: pl.DataFrame, column: str = "value") -> dict[str, float]:
    return dict(frame.select("metric", column).iter_rows())


def test_the_values_are_those_of_isotonic_calibration_by_row(model):
    """Rows one by one: isotonic regressions of the scores by decision, scaled to one beside what is decided."""
    reference, classes = draw_classes(np.random.default_rng(31), 400_000)
    scores, _ = draw_classes(np.random.default_rng(32), 200_000, shift=0.4)
    p = np.zeros_like(scores)
    decided, taught = scores.argmax(axis=1), reference.argmax(axis=1)
    for k in range(3):
        for side in (True, False):
            known, here = (taught == k) == side, (decided == k) == side
            fitted = IsotonicRegression(out_of_bounds="clip").fit(reference[known, k], classes[known] == k)
            p[here, k] = fitted.predict(scores[here, k])
    right = np.eye(3, dtype=bool)[decided]
    for c in range(3):  # all rows of a decision together, as the aggregates do
        rows = decided == c
        scale = (1 - p[rows, c]).sum() / p[rows][:, np.arange(3) != c].sum()
        p[rows] = np.where(right[rows], p[rows], p[rows] * scale)
    confusion = np.stack([p[decided == c].sum(axis=0) for c in range(3)])
    tp, chosen, actual = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    areas = [
        sk.roc_auc_score(np.repeat([1, 0], len(p)), np.tile(scores[:, k], 2), sample_weight=np.r_[w, 1 - w])
        for k in range(3)
        if (w := np.clip(p[:, k], 0, 1)) is not None
    ]
    wanted = {
        "accuracy": tp.sum() / len(p),
        "precision_macro": (tp / chosen).mean(),
        "recall_macro": (tp / actual).mean(),
        "balanced_accuracy": (tp / actual).mean(),
        "f1_macro": (2 * tp / (chosen + actual)).mean(),
        "f1_weighted": (2 * tp / (chosen + actual)) @ actual / len(p),
        "precision_weighted": (tp / chosen) @ actual / len(p),
        "recall_micro": tp.sum() / len(p),
        "specificity_macro": (1 - (chosen - tp) / (len(p) - actual)).mean(),
        "roc_auc_macro": np.mean(areas),
        "log_loss": (p * -np.log(scores)).sum() / len(p),
        "brier": ((scores**2).sum() - 2 * (p * scores).sum() + len(p)) / len(p),
        "business_value": (confusion * VALUES).sum() / len(p),
    }
    found = estimate(class_score_bins(scores, window=1), model, more=[business_value(VALUES)], **SETTINGS)
    assert set(found["status"]) == {"ok"} and set(found["reason"]) == {ASSUMED}
    values = told(found)
    assert set(values) == {*ESTIMATED, "business_value"}
    assert 0 <= values.pop("log_loss") - wanted.pop("log_loss") < 0.01, (
        "of the lowest bin, whose width its interval has"
    )
    for name, value in wanted.items():
        assert values[name] == pytest.approx(value, abs=1.5e-3), name


def test_without_a_change_the_values_are_those_of_the_labels(model):
    scores, classes = draw_classes(np.random.default_rng(33), 400_000)
    found = told(estimate(class_score_bins(scores, window=1), model, **SETTINGS))
    decided = scores.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(classes, decided), abs=0.003)
    assert found["precision_macro"] == pytest.approx(sk.precision_score(classes, decided, average="macro"), abs=0.003)
    assert found["f1_macro"] == pytest.approx(sk.f1_score(classes, decided, average="macro"), abs=0.003)
    area = sk.roc_auc_score(classes, scores, multi_class="ovr")
    assert found["roc_auc_macro"] == pytest.approx(area, abs=0.003)
    assert found["log_loss"] == pytest.approx(sk.log_loss(classes, scores), abs=0.01)


def test_the_reference_tells_itself_exactly():
    """Sums of an isotonic regression are those of the data: accuracy and recall of the reference are the realised."""
    scores, classes = draw_classes(np.random.default_rng(34), 60_000)
    model = calibrate_classes(class_label_bins(scores, classes), NAMES)
    found = told(estimate(class_score_bins(scores, window=1), model, **SETTINGS))
    decided = scores.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(classes, decided), abs=2e-3)
    assert found["recall_macro"] == pytest.approx(sk.recall_score(classes, decided, average="macro"), abs=2e-3)


def test_the_variance_is_that_of_drawn_outcomes_and_references(model):
    """Outcomes drawn again and again for the same scores; the reference is large, so that they are all."""
    rng = np.random.default_rng(35)
    scores, _ = draw_classes(rng, 3_000)
    big = estimate(class_score_bins(scores, window=1), model, **SETTINGS)
    decided = scores.argmax(axis=1)
    truth = softmax(np.log(scores) / 1.5, axis=1)
    drawn = []
    for _ in range(300):
        classes = (truth.cumsum(axis=1) < rng.random((3_000, 1))).sum(axis=1)
        drawn.append(
            (
                sk.accuracy_score(classes, decided),
                sk.f1_score(classes, decided, average="macro"),
                sk.roc_auc_score(classes, scores, multi_class="ovr"),
                sk.log_loss(classes, scores),
            )
        )
    for name, spread in zip(("accuracy", "f1_macro", "roc_auc_macro", "log_loss"), np.std(drawn, axis=0), strict=True):
        assert np.sqrt(told(big, "variance")[name]) == pytest.approx(spread, rel=0.25), name


def test_two_classes_are_as_likely_as_with_one_score():
    """Of two classes the second is decided where the first is not: accuracy as by the calibration of one score."""
    rng = np.random.default_rng(36)
    p = rng.beta(2, 2, 50_000)
    outcome = (rng.random(50_000) < p).astype(int)
    scores = np.stack([1 - p, p], axis=1)
    model = calibrate_classes(class_label_bins(scores, outcome, names=("no", "yes")), ("no", "yes"))
    found = told(estimate(class_score_bins(scores[:20_000], names=("no", "yes"), window=1), model, **SETTINGS))
    chosen = p[:20_000] >= 0.5
    assert found["accuracy"] == pytest.approx(np.where(chosen, p[:20_000], 1 - p[:20_000]).mean(), abs=0.006)
    assert found["roc_auc_macro"] == pytest.approx(sk.roc_auc_score(outcome, p), abs=0.01)


class TestNotTold:
    def test_few_rows_of_a_window_or_of_the_reference(self, model):
        scores, classes = draw_classes(np.random.default_rng(40), 2_000)
        few = estimate(class_score_bins(scores[:10], window=1), model, **SETTINGS)
        assert set(few["reason"]) == {"10 rows, 100 needed"} and few["value"].null_count() == len(few)
        young = calibrate_classes(class_label_bins(scores[:200], classes[:200]), NAMES)
        found = estimate(class_score_bins(scores, window=1), young, **SETTINGS)
        assert set(found["reason_code"]) == {"too_few_rows"} and found["reason"][0].startswith("200 labelled rows")

    def test_a_reference_of_one_class_or_none(self):
        scores, classes = draw_classes(np.random.default_rng(41), 1_000)
        assert calibrate_classes(class_label_bins(scores, np.zeros_like(classes)), NAMES) is None
        assert calibrate_classes(class_label_bins(scores, classes).clear(), NAMES) is None

    def test_a_class_that_the_reference_never_decided(self):
        """It is decided for a third of the rows here: nothing is known of these."""
        scores, classes = draw_classes(np.random.default_rng(42), 20_000)
        known = scores.argmax(axis=1) != 1
        model = calibrate_classes(class_label_bins(scores[known], classes[known]), NAMES)
        found = estimate(class_score_bins(scores, window=1), model, **SETTINGS)
        assert set(found["reason_code"]) == {"not_identifiable"}
        assert found["reason"].str.contains("of the decisions or their scores lie beyond those of the reference").all()

    def test_a_class_of_few_rows_counts_in_no_mean_over_the_classes(self):
        """In the reference it was decided thirty times."""
        scores, classes = draw_classes(np.random.default_rng(43), 20_000)
        rare = np.flatnonzero(scores.argmax(axis=1) == 1)[30:]
        kept = np.delete(np.arange(20_000), rare)
        model = calibrate_classes(class_label_bins(scores[kept], classes[kept]), NAMES)
        here = np.r_[kept[:5_000], rare[:40]]
        found = estimate(class_score_bins(scores[here], window=1), model, **SETTINGS)
        lost = found.filter(pl.col("status") == "insufficient_data")
        assert set(lost["metric"]) == set(ALIKE)
        assert set(lost["reason"]) == {"30 labelled reference rows were predicted cat, 50 needed"}
        assert set(found.filter(pl.col("status") == "ok")["metric"]) == set(ESTIMATED) - set(ALIKE)

    def test_a_class_of_which_few_are_expected(self, model):
        """Rows that are surely of the first class: nine in all of the third."""
        scores, _ = draw_classes(np.random.default_rng(44), 60_000)
        sure = scores[scores[:, 0] > 0.985][:400]
        found = estimate(class_score_bins(sure, window=1), model, **SETTINGS)
        lost = found.filter(pl.col("status") == "insufficient_data")
        assert set(lost["metric"]) >= set(ALIKE)
        assert lost["reason"].str.contains(f"rows are expected to be .*, {MIN_EXPECTED} needed").any()

    def test_classes_that_only_labels_name(self):
        scores, classes = draw_classes(np.random.default_rng(45), 5_000)
        classes[:100] = 3
        model = calibrate_classes(class_label_bins(scores, classes), NAMES)
        found = estimate(class_score_bins(scores, window=1), model, **SETTINGS)
        assert set(found["reason"]) == {"2 % of the labelled reference rows are of classes without a score"}


def test_a_class_that_is_nowhere_is_no_class(model):
    """A fourth score, next to nothing, of a class that neither reference nor window has: as of three classes."""
    rng = np.random.default_rng(46)
    names = (*NAMES, "eel")

    def widened(scores: np.ndarray) -> np.ndarray:
        return np.c_[scores, np.full(len(scores), 1e-4)]

    scores, classes = draw_classes(rng, 100_000)
    new, _ = draw_classes(rng, 5_000)
    three = calibrate_classes(class_label_bins(scores, classes), NAMES)
    four = calibrate_classes(class_label_bins(widened(scores), classes, names=names), names)
    a = estimate(class_score_bins(new, window=1), three, **SETTINGS)
    b = estimate(class_score_bins(widened(new), names=names, window=1), four, **SETTINGS)
    assert set(b["status"]) == {"ok"}
    for column in ("value", "ci_low", "ci_high", "variance"):
        for name, value in told(a, column).items():
            assert told(b, column)[name] == pytest.approx(value, rel=2e-3), (column, name)


def test_decisions_that_are_logged_are_those_that_count(model):
    """A service that never answers cat, and one answer of another name."""
    scores, classes = draw_classes(np.random.default_rng(47), 40_000)
    logged = np.where(scores[:, 0] >= scores[:, 2], "bird", "dog").astype("<U7")
    logged[:20] = "unicorn"
    taught = calibrate_classes(class_label_bins(scores, classes, decided=logged), NAMES)
    found = estimate(
        class_score_bins(scores, decided=logged, window=1), taught, more=[business_value(VALUES)], **SETTINGS
    )
    assert set(found["status"]) == {"ok"}
    actual = np.array(NAMES)[classes]
    values = told(found)
    assert values["accuracy"] == pytest.approx((logged == actual).mean(), abs=2e-3)
    assert values["recall_macro"] == pytest.approx(
        sk.recall_score(actual, logged, average="macro", zero_division=0), abs=4e-3
    )
    places = np.array([NAMES.index(name) for name in logged[20:]])
    assert values["business_value"] == pytest.approx(VALUES[places, classes[20:]].mean(), abs=0.01)


def test_equal_scores_have_one_probability():
    classes = np.random.default_rng(48).choice(3, 3_000, p=[0.5, 0.3, 0.2])
    scores = np.tile([0.4, 0.3, 0.3], (3_000, 1))
    model = calibrate_classes(class_label_bins(scores, classes), NAMES)
    found = estimate(class_score_bins(scores[:1_000], window=1), model, **SETTINGS)
    values = told(found)
    assert values["accuracy"] == pytest.approx((classes == 0).mean())
    assert values["recall_macro"] == pytest.approx(1 / 3), "the other two are never found"
    assert values["roc_auc_macro"] is None or values["roc_auc_macro"] == pytest.approx(0.5)


def test_groups_are_apart_and_many_at_once_are_as_one_by_one(model):
    rng = np.random.default_rng(49)
    windows = [class_score_bins(draw_classes(rng, 400)[0], window=k) for k in range(70)]
    together = estimate(pl.concat(windows), model, **SETTINGS)
    alone = pl.concat([estimate(window, model, **SETTINGS) for window in windows])
    assert_frame_equal(together, alone.sort("window", "metric"), rel_tol=1e-9)


def test_variance_between_windows():
    """None of independent rows; of rows that share an effect, that of the realised values beyond chance."""
    for effect, low, high in ((0.0, 0.0, 3e-5), (0.8, 1.0e-3, 6e-3)):
        drawn = [draw_classes(np.random.default_rng([50, k]), 2_000, effect=effect) for k in range(40)]
        labels = pl.concat([class_label_bins(s, y, window_start=k) for k, (s, y) in enumerate(drawn)])
        scores = pl.concat([class_score_bins(s, window_start=k) for k, (s, _) in enumerate(drawn)])
        model = calibrate_classes(labels, NAMES)
        found = between_windows(scores, labels, model, min_rows=100)
        realised = np.array([(s.argmax(axis=1) == y).mean() for s, y in drawn])
        assert low <= found["accuracy"] <= high
        assert found["accuracy"] == pytest.approx(max(realised.var() - 0.2 / 2_000, 0), abs=3e-4)
        assert set(found) == set(ESTIMATED)
    few = labels.filter(pl.col("window_start") < 7)
    assert between_windows(scores, few, model, min_rows=100) is None


def test_every_watched_metric_but_the_calibration_is_estimated():
    left_out = {metric.name for metric in MULTICLASS} - set(ESTIMATED)
    assert left_out == {"roc_auc_weighted", "average_precision_macro", "brier_skill", "calibration_error"}
    assert not [metric.name for metric in MULTICLASS if metric.is_watched and metric.name in left_out]

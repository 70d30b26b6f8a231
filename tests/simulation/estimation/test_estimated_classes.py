"""Quality of several classes estimated before labels: how often the realised value lies inside; what is not seen."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from metrics_py.estimation.cbpe import Z95
from metrics_py.estimation.class_calibration import calibrate_classes
from metrics_py.estimation.multiclass import between_windows, estimate
from metrics_py.quality.business_value import business_value
from tests.support.acceptance import check
from tests.support.class_scores import NAMES, class_label_bins, class_score_bins, draw_classes
from tests.support.measured import record

SECTION = "Quality before labels"
PROMISE = "the realised value lies within the interval in 0.90 or more"
CHUNKS = 3
CASES = [(n_reference, n, shift) for n_reference in (3_000, 20_000) for n in (1_000, 5_000) for shift in (0.0, 1.0)]
VALUES = np.array([[1.0, -4.0, 0.0], [-2.0, 3.0, -1.0], [0.0, -1.0, 2.0]])
ASKED = {"min_rows": 100, "by": ["window"], "more": [business_value(VALUES)]}


def realised(scores: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    decided = scores.argmax(axis=1)
    macro = {"average": "macro", "zero_division": 0}
    return {
        "accuracy": sk.accuracy_score(classes, decided),
        "precision_macro": sk.precision_score(classes, decided, **macro),
        "recall_macro": sk.recall_score(classes, decided, **macro),
        "f1_macro": sk.f1_score(classes, decided, **macro),
        "f1_weighted": sk.f1_score(classes, decided, average="weighted"),
        "roc_auc_macro": sk.roc_auc_score(classes, scores, multi_class="ovr"),
        "brier": ((scores - np.eye(3)[classes]) ** 2).sum(axis=1).mean(),
        "log_loss": sk.log_loss(classes, scores, labels=[0, 1, 2]),
        "business_value": VALUES[decided, classes].mean(),
    }


def simulate(runs: int, seed: int, case: tuple[int, int, float], slope: float = 1.0) -> pl.DataFrame:
    """Estimates of `CHUNKS` windows per reference, beside what their labels said."""
    n_reference, n, shift = case
    rows = []
    for run in range(runs):
        rng = np.random.default_rng([seed, run, n_reference, n, int(shift)])
        model = calibrate_classes(class_label_bins(*draw_classes(rng, n_reference)), NAMES)
        assert model is not None
        chunks = [draw_classes(rng, n, shift=shift, slope=slope) for _ in range(CHUNKS)]
        bins = pl.concat([class_score_bins(scores, window=k) for k, (scores, _) in enumerate(chunks)])
        truth = [realised(*chunk) for chunk in chunks]
        found = estimate(bins, model, **ASKED).filter(pl.col("metric").is_in(list(truth[0])))
        rows += [{**row, "run": run, "final": truth[row["window"]][row["metric"]]} for row in found.to_dicts()]
    return pl.DataFrame(rows)


def judge(runs: int, seed: int) -> None:
    measured: dict[str, float] = {}
    for case in CASES:
        found = simulate(runs, seed, case)
        assert set(found["status"]) == {"ok"}
        name = f"reference {case[0]:,}, window {case[1]:,}, input moved by {case[2]:g} sd"
        inside = found.with_columns(inside=pl.col("final").is_between("ci_low", "ci_high"))
        for (metric,), own in inside.group_by(["metric"], maintain_order=True):
            measured[f"{name}, {metric}"] = round(float(own["inside"].mean()), 3)
            check(int((~own["inside"]).sum()), len(own), 0.1, (case, metric))
    record("estimates_of_classes", PROMISE, measured, runs, SECTION)


def test_the_realised_value_lies_within_the_interval_of_its_estimate():
    judge(8, seed=111)


@pytest.mark.full
def test_the_realised_value_lies_within_the_interval_of_its_estimate_in_full():
    judge(80, seed=112)


def rare(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated scores; the third class is that of two rows in a hundred, and decided for less than one."""
    logits = rng.normal(size=(n, 3)) * [1.0, 1.0, 1.6] + [0.5, 0.0, -4.2]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    drawn = (scores.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return scores, np.minimum(drawn, 2)


@pytest.mark.parametrize(("n_reference", "n"), [(20_000, 4_000), (3_000, 2_000)])
def test_the_interval_holds_the_realised_value_where_a_class_is_rare(n_reference, n):
    """Where it is told: of a small reference no mean over the classes is."""
    missed, told = dict.fromkeys(realised(*rare(np.random.default_rng(1), 4_000)), 0), {}
    for run in range(30):
        rng = np.random.default_rng([113, run, n])
        model = calibrate_classes(class_label_bins(*rare(rng, n_reference)), NAMES)
        assert model is not None
        scores, classes = rare(rng, n)
        truth = realised(scores, classes)
        for row in estimate(class_score_bins(scores, window=1), model, **ASKED).filter(status="ok").to_dicts():
            if row["metric"] in truth:
                told[row["metric"]] = told.get(row["metric"], 0) + 1
                missed[row["metric"]] += not row["ci_low"] <= truth[row["metric"]] <= row["ci_high"]
    assert ("f1_macro" in told) == (n_reference > 3_000)
    measured = {name: round(1 - missed[name] / told[name], 3) for name in told}
    for name in measured:
        check(missed[name], told[name], 0.1, (n, name))
    record(f"estimates_of_classes_rare_{n_reference}", PROMISE, measured, 30, SECTION)


def test_a_change_of_the_concept_is_not_seen_before_the_labels():
    """What the audit is for: the inputs tell less than they did, and the estimate stays where it was."""
    found = simulate(20, 114, (20_000, 5_000, 0.0), slope=0.5).filter(metric="roc_auc_macro")
    inside = float(found["final"].is_between(found["ci_low"], found["ci_high"]).mean())
    measured = {"inside, P(y | x) changed": inside}
    record("estimates_of_classes_concept", "none: no estimate can see it", measured, 20, SECTION)
    assert inside < 0.05
    assert float((found["value"] - found["final"]).mean()) > 0.05


def days(rng: np.random.Generator, n_reference: int, effect: float) -> float:
    """Share of 20 days whose accuracy lies outside of the interval, that knows of the days of the reference."""
    reference = [draw_classes(rng, 900, effect=effect) for _ in range(n_reference)]
    labels = pl.concat([class_label_bins(s, y, window_start=k) for k, (s, y) in enumerate(reference)])
    scores = pl.concat([class_score_bins(s, window_start=k) for k, (s, _) in enumerate(reference)])
    model = calibrate_classes(labels, NAMES)
    assert model is not None
    between = between_windows(scores, labels, model, min_rows=100)
    assert between is not None
    new = [draw_classes(rng, 900, effect=effect) for _ in range(20)]
    bins = pl.concat([class_score_bins(s, window=k) for k, (s, _) in enumerate(new)])
    found = estimate(bins, model, min_rows=100, by=["window"]).filter(metric="accuracy").sort("window")
    half = Z95 * np.sqrt(found["variance"].to_numpy() + between["accuracy"])
    final = np.array([(s.argmax(axis=1) == y).mean() for s, y in new])
    return float((np.abs(final - found["value"].to_numpy()) > half).mean())


def test_days_that_differ_as_a_whole_lie_within_the_interval():
    runs, measured = 10, {}
    for n_reference, effect in ((28, 0.0), (28, 0.5), (60, 0.5)):
        drawn = [days(np.random.default_rng([115, k, n_reference]), n_reference, effect) for k in range(runs)]
        lost = float(np.mean(drawn))
        measured[f"{n_reference} reference days, effect of a day {effect:g} on the logit scale"] = round(1 - lost, 3)
        check(round(lost * runs * 20), runs * 20, 0.1, (n_reference, effect))
    promise = "the realised accuracy lies within the interval in 0.90 or more"
    record("estimates_of_classes_of_days", promise, measured, 200, SECTION)

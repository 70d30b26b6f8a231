"""The metrics of binary classification, one entry each; add one here."""

from __future__ import annotations

import numpy as np

from metrics_py.quality import classification, score_histograms
from metrics_py.quality.definition import Aggregates, FloatArray, QualityMetric, proportion
from metrics_py.quality.probabilities import of_probabilities

NO_POSITIVES = "no positive labels"
ONE_CLASS = "only one class among the labels"
VAN_RIJSBERGEN = "van Rijsbergen (1979), Information Retrieval"
ALTMAN = "Altman & Bland (1994), BMJ 308:1552"
SAITO = "Saito & Rehmsmeier (2015), PLoS ONE"
NAEINI = "Naeini et al. (2015), AAAI"
ACCURACY = "Share of rows whose predicted class is the actual one."
PRECISION = "Share of rows predicted positive that are positive."
RECALL = "Share of positive rows that are predicted positive."
SPECIFICITY = "Share of negative rows that are predicted negative."
F1 = "Harmonic mean of precision and recall."
BALANCED_ACCURACY = "Mean recall over the classes."
ROC_AUC = "Probability that a positive row scores above a negative one, ties counting half."
AVERAGE_PRECISION = "Precision averaged over the recall gained at each score."
BRIER_SKILL = "1 - Brier score / Brier score of the base rate."
CALIBRATION_ERROR = "Mean gap between score and frequency over score bins."
MURPHY = "Murphy (1973), J. Applied Meteorology 12:215"
BRODERSEN = "Brodersen et al. (2010), ICPR"


def _rarer_class(a: Aggregates) -> FloatArray:
    return np.minimum(a["positives"].sum(axis=-1), a["negatives"].sum(axis=-1))


def _positive_scores(a: Aggregates) -> FloatArray:
    return a["positives"].sum(axis=-1)


def _auc_bound(a: Aggregates) -> tuple[FloatArray, FloatArray]:
    bound = score_histograms.roc_auc_bound(a["positives"], a["negatives"])
    return bound, bound


def _ap_bound(a: Aggregates) -> tuple[FloatArray, FloatArray]:
    value = score_histograms.average_precision(a["positives"], a["negatives"])
    low, high = score_histograms.average_precision_bounds(a["positives"], a["negatives"])
    return value - low, high - value


def middle_bound(a: Aggregates) -> tuple[FloatArray, FloatArray]:
    """Half a score bin: how far a mean score taken at the middle of its bin can be off; 0 where the sums are known.

    Parameters
    ----------
    a : mapping
        Aggregates.

    Returns
    -------
    below, above : ndarray, shape ()
        As for `QualityMetric.binning`.
    """
    bound = np.asarray(0.0 if "score_sums" in a else 0.5 / score_histograms.N_SCORE_BINS)
    return bound, bound


LOG_LOSS = QualityMetric(
    name="log_loss",
    summary="Mean negative log probability of the actual class.",
    direction="lower_is_better",
    value=of_probabilities(lambda a: classification.log_loss(a["sum_log_loss"], a["n_score"])),
    needs=("n_score",),
    scale="error",
    references=("Good (1952), JRSS B 14:107",),
    is_watched=True,
    needs_probabilities=True,
)
BRIER = QualityMetric(
    name="brier",
    summary="Mean squared error of the probabilities.",
    direction="lower_is_better",
    value=of_probabilities(lambda a: classification.brier(a["sum_brier"], a["n_score"])),
    needs=("n_score",),
    scale="error",
    references=("Brier (1950), Monthly Weather Review 78:1",),
    is_watched=True,
    needs_probabilities=True,
)

BINARY: tuple[QualityMetric, ...] = (
    proportion("accuracy", ACCURACY, classification.accuracy_counts, is_watched=True),
    proportion(
        "precision",
        PRECISION,
        classification.precision_counts,
        undefined="no row was predicted positive",
        references=(VAN_RIJSBERGEN,),
        is_watched=True,
    ),
    proportion(
        "recall",
        RECALL,
        classification.recall_counts,
        undefined=NO_POSITIVES,
        references=(VAN_RIJSBERGEN,),
        is_watched=True,
    ),
    proportion(
        "specificity",
        SPECIFICITY,
        classification.specificity_counts,
        undefined="no negative labels",
        references=(ALTMAN,),
    ),
    proportion(
        "positive_rate",
        "Share of rows that are positive: the base rate.",
        classification.positive_rate_counts,
        direction="none",
    ),
    QualityMetric(
        name="f1",
        summary=F1,
        direction="higher_is_better",
        value=lambda a: classification.f1(a["confusion"]),
        needs=("confusion",),
        scale="unit",
        references=(VAN_RIJSBERGEN,),
        is_watched=True,
        undefined="no row is positive, predicted or actual",
        size=lambda a: a["confusion"][..., 1, :].sum(axis=-1) + a["confusion"][..., 0, 1],
    ),
    QualityMetric(
        name="balanced_accuracy",
        summary=BALANCED_ACCURACY,
        direction="higher_is_better",
        value=lambda a: classification.balanced_accuracy(a["confusion"]),
        needs=("confusion",),
        scale="unit",
        references=(BRODERSEN,),
        undefined=ONE_CLASS,
        size=lambda a: a["confusion"].sum(axis=-2).min(axis=-1),
    ),
    QualityMetric(
        name="roc_auc",
        summary=ROC_AUC,
        direction="higher_is_better",
        value=lambda a: score_histograms.roc_auc(a["positives"], a["negatives"]),
        needs=("scores",),
        scale="unit",
        references=("Hanley & McNeil (1982)",),
        is_watched=True,
        undefined=ONE_CLASS,
        size=_rarer_class,
        formula_variance=lambda a: score_histograms.delong_variance(a["positives"], a["negatives"]),
        binning=_auc_bound,
    ),
    QualityMetric(
        name="average_precision",
        summary=AVERAGE_PRECISION,
        direction="higher_is_better",
        value=lambda a: score_histograms.average_precision(a["positives"], a["negatives"]),
        needs=("scores",),
        scale="unit",
        references=(SAITO,),
        is_watched=True,
        undefined=NO_POSITIVES,
        size=_positive_scores,
        binning=_ap_bound,
    ),
    LOG_LOSS,
    BRIER,
    QualityMetric(
        name="brier_skill",
        summary=BRIER_SKILL,
        direction="higher_is_better",
        value=lambda a: classification.brier_skill(
            a["sum_brier"], np.stack([a["negatives"].sum(axis=-1), a["positives"].sum(axis=-1)], axis=-1)
        ),
        needs=("scores", "n_score"),
        scale="skill",
        references=(MURPHY,),
        is_watched=True,
        undefined=ONE_CLASS,
    ),
    QualityMetric(
        name="calibration_error",
        summary=CALIBRATION_ERROR,
        direction="lower_is_better",
        value=lambda a: score_histograms.calibration_error(a["positives"], a["negatives"], a.get("score_sums")),
        needs=("scores",),
        scale="error",
        references=(NAEINI,),
        is_watched=True,
        binning=middle_bound,
        noise=lambda a: score_histograms.calibration_noise(a["positives"], a["negatives"], a.get("score_sums")),
    ),
    QualityMetric(
        name="calibration_bias",
        summary="Mean score minus share of positives.",
        direction="none",
        value=lambda a: classification.calibration_bias(a["sum_score"], _positive_scores(a), a["n_score"]),
        needs=("scores", "n_score"),
        scale="identity",
        references=("Cox (1958), Biometrika 45:562",),
        is_watched=True,
        possible=(-1, 1),
    ),
)

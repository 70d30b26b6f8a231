"""Expected confusion matrices, losses and score histograms of several classes, and their slopes by each probability."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.estimation.calibration import N_SCORE_BINS, Calibration
from metrics_py.estimation.cbpe import STEP
from metrics_py.estimation.class_calibration import ClassCalibrations
from metrics_py.quality import score_histograms
from metrics_py.quality.definition import Aggregates, QualityMetric
from metrics_py.quality.multiclass_metrics import MULTICLASS

FloatArray = NDArray[np.float64]

CELLS_AT_ONCE = 4_000_000
SUMS = ("n", "sum_log_loss", "sum_score", "sum_squared_score")
Sides = Sequence[tuple[tuple[int, bool], Calibration]]


@dataclass(frozen=True, eq=False)
class Evaluated:
    """Metrics of some groups, as expected, with P probabilities: one of each block of each calibration.

    Attributes
    ----------
    values : mapping of str to ndarray, shape (groups,)
        By metric; NaN where undefined.
    slopes : mapping of str to ndarray, shape (groups, P)
        Derivatives by the probabilities, but for their signs.
    blurs : mapping of str to (ndarray, ndarray), each of shape (groups,)
        How far below and above its value a metric can be for what is not known within score bins.
    here : ndarray, shape (groups, P)
        Rows of each block.
    spread, known : ndarray, shape (P,)
        Variance of one row's outcome in each block, and its rows in the reference.
    expected : ndarray, shape (groups, C)
        Rows of each class.
    """

    values: Mapping[str, FloatArray]
    slopes: Mapping[str, FloatArray]
    blurs: Mapping[str, tuple[FloatArray, FloatArray]]
    here: FloatArray
    spread: FloatArray
    known: FloatArray
    expected: FloatArray

    def variance(self, metric: str, *, with_calibration: bool) -> FloatArray:
        """Variance of one metric.

        Parameters
        ----------
        metric : str
            Its name.
        with_calibration : bool
            Also for how well the probabilities are known, not only for which outcomes happen.

        Returns
        -------
        ndarray, shape (groups,)
            Not below 0.
        """
        error = self.spread / np.maximum(self.here, 1.0)
        return (self.slopes[metric] ** 2 * (error + self.spread / self.known * with_calibration)).sum(axis=1)


def own_classes(at: Aggregates, model: ClassCalibrations) -> Aggregates:
    """Aggregates without decisions for classes that have no score.

    Parameters
    ----------
    at : Aggregates
        With a confusion matrix whose first classes are those of the model.
    model : ClassCalibrations
        Of the reference.

    Returns
    -------
    Aggregates
        The others are the same.
    """
    n = len(model.classes)
    return {**at, "confusion": at["confusion"][..., :n, :n]}


def dense_sums(
    cells: pl.DataFrame, n_groups: int, names: Sequence[str], model: ClassCalibrations
) -> Iterator[tuple[int, FloatArray]]:
    """Sums as arrays, some groups at a time.

    Parameters
    ----------
    cells : DataFrame
        ``_group, predicted_class, class_name, score_bin`` and those of `SUMS` that it has; others are 0.
    n_groups : int
        They are numbered from 0.
    names : sequence of str
        Decided classes, those with a score first.
    model : ClassCalibrations
        Of the reference.

    Yields
    ------
    (int, ndarray of shape (4, groups, decided, classes, 256))
        The first of the groups, and their sums.
    """
    decided = pl.DataFrame({"predicted_class": names}).with_row_index("_decided")
    classes = pl.DataFrame({"class_name": list(model.classes)}).with_row_index("_class")
    cells = cells.join(decided, on="predicted_class").join(classes, on="class_name")
    n_blocks = sum(len(side.n) for side in model.sides.values())
    size = len(names) * max(len(SUMS) * len(model.classes) * N_SCORE_BINS, 3 * (1 + n_blocks) * len(names))
    at_once = max(1, CELLS_AT_ONCE // size)
    for first in range(0, n_groups, at_once):
        part = cells.filter(pl.col("_group").is_between(first, first + at_once - 1))
        shape = (len(SUMS), min(at_once, n_groups - first), len(names), len(model.classes), N_SCORE_BINS)
        dense = np.zeros(shape)
        group, *at = (part[name].to_numpy().astype(np.int64) for name in ("_group", "_decided", "_class", "score_bin"))
        for i, name in enumerate(SUMS):
            if name in part.columns:
                np.add.at(dense[i], (group - first, *at), part[name].to_numpy().astype(np.float64))
        yield first, dense


def evaluate(dense: FloatArray, model: ClassCalibrations, metrics: Sequence[QualityMetric]) -> Evaluated:
    """Metrics as expected, and their slopes.

    Parameters
    ----------
    dense : ndarray, shape (4, groups, decided, classes, 256)
        As of `dense_sums`.
    model : ClassCalibrations
        Of the reference.
    metrics : sequence of QualityMetric
        Of several classes.

    Returns
    -------
    Evaluated
        Of each metric.
    """
    sides = list(model.sides.items())
    expected, moved = _expected(dense, sides)
    spread, known = (np.concatenate(parts) for parts in zip(*((c.spread, c.n) for _, c in sides), strict=True))
    present = np.concatenate([np.full(len(c.n), model.n_actual[k] > 0) for (k, _), c in sides])
    at = _aggregates(moved, dense)
    own = own_classes(at, model)
    hits = _scaled_hits(dense[0], expected, moved)
    negatives = dense[0].sum(axis=1) - hits
    values: dict[str, FloatArray] = {}
    slopes: dict[str, FloatArray] = {}
    blurs: dict[str, tuple[FloatArray, FloatArray]] = {}
    nothing = np.zeros(dense.shape[1])
    for metric in metrics:
        with np.errstate(invalid="ignore", divide="ignore"):
            if metric.needs == ("scores",):
                scored = {"positives": hits[:, None], "negatives": negatives[:, None]}
                values[metric.name] = metric.value(scored)[:, 0]
                slopes[metric.name] = _area_slopes(hits, negatives, dense[0], expected, moved, sides)
                blurs[metric.name] = _first(metric, scored)
            else:
                found = metric.value(at if metric in MULTICLASS else own)
                values[metric.name] = found[:, 0]
                slopes[metric.name] = (found[:, 1:] - found[:, :1]) / STEP
                blurs[metric.name] = _tails(dense, sides) if metric.name == "log_loss" else (nothing, nothing)
        slopes[metric.name] = np.where(present, slopes[metric.name], 0.0)
    return Evaluated(values, slopes, blurs, _rows_of_blocks(dense[0], sides), spread, known, hits.sum(axis=-1))


def _rows(k: int, n_decided: int, *, is_decided: bool) -> NDArray[np.int64]:
    """Decisions that one side of a class's calibrations is for."""
    return np.array([k]) if is_decided else np.delete(np.arange(n_decided), k)


def _expected(dense: FloatArray, sides: Sides) -> tuple[FloatArray, FloatArray]:
    """Expected sums by decision and class, not scaled: per score bin, and summed over them with each probability moved.

    Shapes (groups, decided, classes, 256), of the rows, and (4 - 1, groups, 1 + P, decided, classes): of the rows, the
    log loss and the score.
    """
    _, n_groups, n_decided, n_classes, _ = dense.shape
    n_blocks = sum(len(c.n) for _, c in sides)
    expected = np.zeros(dense.shape[1:])
    changes = np.zeros((3, n_groups, n_blocks, n_decided, n_classes))
    base = np.zeros((3, n_groups, n_decided, n_classes))
    first = 0
    for (k, is_decided), calibration in sides:
        rows, weights = _rows(k, n_decided, is_decided=is_decided), calibration.weights
        part = dense[:3][:, :, rows, k]
        by_block = part @ weights.T
        expected[:, rows, k] = part[0] * (calibration.probability @ weights)
        base[:, :, rows, k] = by_block @ calibration.probability
        steps = np.where(calibration.probability > 0.5, -STEP, STEP)
        last = first + len(calibration.n)
        changes[:, :, first:last, rows, k] = np.moveaxis(by_block * steps, -1, 2)
        first = last
    return expected, np.concatenate([base[:, :, None], base[:, :, None] + changes], axis=2)


def _scales(confusion: FloatArray, n: FloatArray) -> FloatArray:
    """By how much what is beside the diagonal is too much or too little: all rows of a decision are of some class.

    Parameters
    ----------
    confusion : ndarray, shape (groups, 1 + P, decided, classes)
    n : ndarray, shape (groups, decided)

    Returns
    -------
    ndarray, shape (groups, 1 + P, decided, classes)
        1 on the diagonal.
    """
    diagonal = np.eye(*confusion.shape[-2:], dtype=bool)
    right = np.where(diagonal, confusion, 0.0).sum(axis=-1)
    wrong = np.where(diagonal, 0.0, confusion).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.where(wrong > 0, (n[:, None] - right) / wrong, 1.0)
    return np.where(diagonal, 1.0, np.maximum(scale, 0.0)[..., None])


def _aggregates(moved: FloatArray, dense: FloatArray) -> Aggregates:
    """What metrics of decisions and losses read, with leading axes (groups, 1 + P)."""
    n = dense[0, :, :, 0].sum(axis=-1)
    confusion, log_loss, score = moved * _scales(moved[0], n)
    return _summed(confusion, log_loss, score, dense)


def aggregates_of(hits: FloatArray, dense: FloatArray) -> Aggregates:
    """What metrics read of outcomes that have happened, with leading axes (groups, 1).

    Parameters
    ----------
    hits, dense : ndarray, shape (4, groups, decided, classes, 256)
        Sums of the rows that are of the class, and of all rows.

    Returns
    -------
    Aggregates
        With the histograms of scores.
    """
    confusion, log_loss, score = hits[:3].sum(axis=-1)[:, :, None]
    positives = hits[0].sum(axis=1)
    return {
        **_summed(confusion, log_loss, score, dense),
        "positives": positives[:, None],
        "negatives": (dense[0].sum(axis=1) - positives)[:, None],
    }


def _summed(confusion: FloatArray, log_loss: FloatArray, score: FloatArray, dense: FloatArray) -> Aggregates:
    n_decided, n_classes = confusion.shape[-2:]
    n = dense[0, :, :, 0].sum(axis=(1, 2))[:, None]
    squares = dense[3].sum(axis=(1, 2, 3))[:, None]
    square = np.concatenate([confusion, np.zeros((*confusion.shape[:-1], n_decided - n_classes))], axis=-1)
    return {
        "confusion": square,
        "sum_log_loss": log_loss.sum(axis=(-2, -1)),
        "sum_brier": squares - 2 * score.sum(axis=(-2, -1)) + n,
        "n_score": n + 0 * score.sum(axis=(-2, -1)),
    }


def _scaled_hits(n: FloatArray, expected: FloatArray, moved: FloatArray) -> FloatArray:
    """Expected rows of each class by its score, shape (groups, classes, 256)."""
    scale = _scales(moved[0][:, :1], n[:, :, 0].sum(axis=-1))[:, 0]
    hits: FloatArray = np.minimum(expected * scale[..., None], n).sum(axis=1)
    return hits


def _area_slopes(
    hits: FloatArray, negatives: FloatArray, n: FloatArray, expected: FloatArray, moved: FloatArray, sides: Sides
) -> FloatArray:
    """Slopes of the mean area over the classes that occur: a row more of one class is a row less of the others."""
    area = score_histograms.roc_auc(hits, negatives)
    by_row = (
        np.nan_to_num(_area_by_row(hits, negatives, area)) / np.maximum(np.isfinite(area).sum(axis=1), 1)[:, None, None]
    )
    scales = _scales(moved[0], n[:, :, 0].sum(axis=-1))
    of_scales = np.einsum("gjrk,grk->gj", scales[:, 1:] - scales[:, :1], np.einsum("grkb,gkb->grk", expected, by_row))
    found: list[FloatArray] = []
    for (k, is_decided), calibration in sides:
        rows = _rows(k, n.shape[1], is_decided=is_decided)
        step = np.where(calibration.probability > 0.5, -STEP, STEP)
        changed = (n[:, rows, k] * scales[:, 0, rows, k, None]).sum(axis=1) * by_row[:, k]
        found.append(changed @ (calibration.weights * step[:, None]).T)
    return (np.concatenate(found, axis=1) + of_scales) / STEP


def _area_by_row(hits: FloatArray, negatives: FloatArray, area: FloatArray) -> FloatArray:
    """What one row more among the positives of a score bin, and less among its negatives, makes of the area."""
    n_hits, n_negatives = hits.sum(axis=-1, keepdims=True), negatives.sum(axis=-1, keepdims=True)
    below = np.cumsum(negatives, axis=-1) - negatives / 2
    above = n_hits - np.cumsum(hits, axis=-1) + hits / 2
    return (below - above) / (n_hits * n_negatives) - area[..., None] * (1 / n_hits - 1 / n_negatives)


def _first(metric: QualityMetric, scored: Aggregates) -> tuple[FloatArray, FloatArray]:
    assert metric.binning is not None
    below, above = metric.binning(scored)
    return below[:, 0], above[:, 0]


def _tails(dense: FloatArray, sides: Sides) -> tuple[FloatArray, FloatArray]:
    """How far below its value the log loss can be: of the lowest bin, higher scores are likelier of their class."""
    n, losses, more = dense[0, ..., 0], dense[1, ..., 0], np.zeros(dense.shape[1])
    for (k, is_decided), calibration in sides:
        rows = _rows(k, dense.shape[2], is_decided=is_decided)
        beyond = np.maximum(losses[:, rows, k] - n[:, rows, k] * np.log(N_SCORE_BINS), 0).sum(axis=1)
        more += beyond * (calibration.probability @ calibration.weights)[0]
    return more / np.maximum(dense[0, :, :, 0].sum(axis=(1, 2)), 1.0), np.zeros(len(more))


def _rows_of_blocks(n: FloatArray, sides: Sides) -> FloatArray:
    """Rows here of each block of each side, shape (groups, P)."""
    found: list[FloatArray] = []
    for (k, is_decided), calibration in sides:
        rows = n[:, _rows(k, n.shape[1], is_decided=is_decided), k].sum(axis=1)
        found.append(np.stack([np.bincount(calibration.block, row, len(calibration.n)) for row in rows]).astype(float))
    return np.concatenate(found, axis=1)

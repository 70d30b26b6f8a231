"""How often rows are of each of several classes, by its score and by whether it is the one decided on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.estimation.calibration import N_SCORE_BINS, Calibration, fit

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ClassCalibrations:
    """Probabilities of each class, one versus the rest.

    Attributes
    ----------
    classes : tuple of str
        Those with a score.
    sides : mapping of (int, bool) to Calibration
        By place of the class and whether rows are decided to be of it. Where the reference has none that are decided
        so, the calibration is that of all its rows.
    n_decided : ndarray, shape (C,)
        Labelled reference rows that are decided to be of each class.
    n_actual : ndarray, shape (C,)
        Labelled reference rows that are of each class.
    n : int
        Labelled reference rows.
    """

    classes: tuple[str, ...]
    sides: Mapping[tuple[int, bool], Calibration]
    n_decided: FloatArray
    n_actual: FloatArray
    n: int

    @property
    def unscored(self) -> float:
        """Share of the labelled reference rows that are of a class without a score."""
        return 1 - float(self.n_actual.sum()) / self.n


def calibrate_classes(class_label_bins: pl.DataFrame, classes: Sequence[str]) -> ClassCalibrations | None:
    """Learn the calibrations.

    Parameters
    ----------
    class_label_bins : DataFrame
        ``predicted_class, class_name, score_bin, is_positive, n`` of labelled reference rows, each counted once for
        every class; rows with equal keys are added up.
    classes : sequence of str
        Those with a score.

    Returns
    -------
    ClassCalibrations or None
        None without rows of two classes.

    Notes
    -----
    Of the rows that are decided to be of a class, the share that is so by its score: the calibration of the top label.
    Of the others likewise. One calibration for both would take rows that another class has won for as likely of this
    one as rows of the same score that it has won itself.

    References
    ----------
    Zadrozny & Elkan (2002), KDD. Gupta & Ramdas (2022), "Top-label calibration and multiclass-to-binary reductions",
    ICLR.

    Examples
    --------
    >>> bins = pl.DataFrame(
    ...     {
    ...         "predicted_class": ["a", "a", "a", "a", "b", "b"],
    ...         "class_name": ["a", "a", "b", "b", "a", "b"],
    ...         "score_bin": [200, 200, 50, 50, 20, 230],
    ...         "is_positive": [True, False, True, False, False, True],
    ...         "n": [80, 20, 20, 80, 50, 50],
    ...     }
    ... )
    >>> found = calibrate_classes(bins, ["a", "b"])
    >>> [found.sides[0, True].probability.tolist(), found.sides[0, False].probability.tolist()]
    [[0.8], [0.0]]
    """
    place = pl.DataFrame({"class_name": list(classes)}).with_row_index("_class")
    bins = class_label_bins.drop_nulls().join(place, on="class_name")
    counts = np.zeros((len(classes), 2, 2, N_SCORE_BINS))
    at = (
        bins["_class"].to_numpy().astype(np.int64),
        (bins["predicted_class"] == bins["class_name"]).to_numpy().astype(np.int64),
        bins["is_positive"].to_numpy().astype(np.int64),
        bins["score_bin"].to_numpy().astype(np.int64),
    )
    np.add.at(counts, at, bins["n"].to_numpy().astype(np.float64))
    n_actual: FloatArray = counts[:, :, 1].sum(axis=(1, 2))
    if (n_actual > 0).sum() < 2:
        return None
    sides: dict[tuple[int, bool], Calibration] = {}
    for k, (of_class, together) in enumerate(zip(counts, counts.sum(axis=1), strict=True)):
        for is_decided in (False, True):
            known = of_class[int(is_decided)] if of_class[int(is_decided)].any() else together
            sides[k, is_decided] = fit(known.sum(axis=0), known[1])
    n_decided: FloatArray = counts[:, 1].sum(axis=(1, 2))
    return ClassCalibrations(tuple(classes), sides, n_decided, n_actual, int(counts[0].sum()))

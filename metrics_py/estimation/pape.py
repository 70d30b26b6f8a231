"""How often rows of a score are positive among inputs like a window's: the calibration for where inputs have moved.

Probabilistic adaptive performance estimation (PAPE): the calibration is learnt from the reference's labelled rows with
weights that make their inputs those of the window; with it quality is estimated as by `metrics_py.estimation.cbpe`.
That assumes that P(y | inputs) is as in the reference, where CBPE assumes that P(y | score) is: in an area in which the
score is wrong by more than elsewhere the latter moves with the inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from metrics_py.estimation.calibration import N_SCORE_BINS, Calibration, score_groups
from metrics_py.estimation.cbpe import MIN_REFERENCE, MOST_UNSEEN
from metrics_py.estimation.density_ratio import MOST_WEIGHT, DensityRatio
from metrics_py.reasons import ReasonCode

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

ASSUMED = "estimated without labels (PAPE): assumes P(y | inputs) as in the reference"


def fit_weighted(
    n: FloatArray, positive: FloatArray, score_bin: IntArray, is_positive: BoolArray, weight: FloatArray
) -> Calibration:
    """The calibration of the reference for other inputs.

    Parameters
    ----------
    n, positive : ndarray, shape (256,)
        All labelled rows of the reference by score bin, and those of them that are positive.
    score_bin : integer ndarray, shape (rows,)
        Score bin of each row of a sample of them, at least one.
    is_positive : boolean ndarray, shape (rows,)
        Whether its label is the positive class.
    weight : ndarray, shape (rows,)
        Of each row of the sample, above 0 (`metrics_py.estimation.density_ratio.density_ratio`).

    Returns
    -------
    Calibration
        Its rows are effective ones: as many rows of equal weight tell as much.

    Notes
    -----
    In each group of score bins the share of positives of all rows is moved by the difference that the weights make in
    the sample, ``sum w y / sum w - mean y``. Given their scores the outcomes are independent, so that its variance is
    ``p (1 - p) (1 / n + sum w^2 / (sum w)^2 - 1 / m)`` with `n` rows of which `m` are in the sample: without weights it
    is that of all rows, and where all rows are in the sample that of the weighted share alone. Then the shares are made
    monotone, as in `metrics_py.estimation.calibration.fit`, each group with the sum of its weights: by its precision a
    group with a few heavy rows, which are what is different in the window, would count for less.

    References
    ----------
    Bialek, Kivimaki, Kuberski & Perrakis (2024), arXiv:2401.08348.

    Examples
    --------
    Of two rows of each score that differ in their inputs, those that are positive come three times as often.

    >>> bins, outcomes = np.repeat([64, 192], 400), np.tile([False, True], 400)
    >>> n = np.bincount(bins, minlength=256).astype(float)
    >>> fit_weighted(n, n / 2, bins, outcomes, np.where(outcomes, 1.5, 0.5)).probability.tolist()
    [0.75]
    """
    from scipy.optimize import isotonic_regression  # pyright: ignore[reportMissingTypeStubs] (scipy has none)

    mass = np.bincount(score_bin, weight, N_SCORE_BINS)
    group = score_groups(mass * weight.sum() / (weight**2).sum())
    of_row = group[score_bin]
    rows, hits = np.bincount(group, n), np.bincount(group, positive)
    sampled, total = np.bincount(of_row).astype(np.float64), np.bincount(of_row, weight)
    alike = np.bincount(of_row, is_positive) / sampled
    moved = np.bincount(of_row, weight * is_positive) / total - alike
    extra = np.maximum(np.bincount(of_row, weight**2) / total**2 - 1 / sampled, 0)
    effective = 1 / (1 / np.maximum(rows, sampled) + extra)
    share = np.where(rows > 0, hits / np.maximum(rows, 1), alike) + moved
    found = cast("Any", isotonic_regression)(share, weights=total)
    starts: IntArray = found.blocks
    pooled: FloatArray = found.x
    of_group = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    block = of_group[group]
    block_mass = np.bincount(block, mass)
    block_rows = block_mass**2 / np.bincount(of_group, total**2 / effective)
    probability, bin_rows = pooled[starts[:-1]].clip(0, 1), (block_rows / block_mass)[block] * mass
    centre = np.bincount(block, mass * np.arange(N_SCORE_BINS)) / block_mass
    return Calibration(block, probability, block_rows, centre, bin_rows, bin_rows * probability[block])


def not_told(ratio: DensityRatio) -> tuple[str, ReasonCode] | None:
    """Why nothing is estimated from such weights, and its code; None where they tell enough.

    Parameters
    ----------
    ratio : DensityRatio
        Of a window.

    Returns
    -------
    tuple of str, or None
        A sentence, and the code of the reason.
    """
    if ratio.unseen > MOST_UNSEEN:
        values = f"values of {ratio.unseen_column} that the reference does not have"
        return f"{_percent(ratio.unseen)} of the window's rows have {values}", "not_identifiable"
    if ratio.rare > MOST_UNSEEN:
        like = f"inputs that are {MOST_WEIGHT:g} times as rare in the reference"
        return f"{_percent(ratio.rare)} of the window's rows have {like}", "not_identifiable"
    if ratio.effective_n < MIN_REFERENCE:
        few = f"{ratio.effective_n:.0f} of {len(ratio.weight):,} once they are weighted to the window's inputs"
        return f"too few labelled reference rows: effective n = {few}, {MIN_REFERENCE} needed", "too_few_rows"
    return None


def assumed(ratio: DensityRatio, left_out: Sequence[str] = (), *, of_part: bool = False) -> str:
    """What an estimate assumes and what it rests on, in words.

    Parameters
    ----------
    ratio : DensityRatio
        Of the window.
    left_out : sequence of str, optional
        Inputs by which rows are not weighted.
    of_part : bool
        It is one of a segment or a model version of the window.

    Returns
    -------
    str
        Parts of a sentence, divided by semicolons.
    """
    whole = "the whole window's inputs" if of_part else "the window's inputs"
    weighted = f"reference rows weighted to {whole}, effective n = {ratio.effective_n:,.0f} of {len(ratio.weight):,}"
    if not ratio.is_moved:
        weighted = f"no movement of {whole} is found, all reference rows count alike"
    cut = f"{ratio.cut} weights cut at {MOST_WEIGHT:g}" if ratio.cut else ""
    blind = f"not weighted by {', '.join(left_out)}" if left_out else ""
    return "; ".join(part for part in (ASSUMED, weighted, cut, blind) if part)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"

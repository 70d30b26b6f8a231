"""Quality of a regression before any label has come, from its predictions and the size of the reference's errors.

Direct loss estimation in its plainest form: a prediction of some size errs as much as predictions of this size did in
the reference. What else decides how large an error is (a feature that the prediction does not show) it does not read:
where that moves, and where the concept changes, the estimate is wrong, whatever its interval says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.estimation.cbpe import ESTIMATE_SCHEMA, MIN_REFERENCE, MOST_UNSEEN, Z95
from metrics_py.estimation.dispersion import FEWEST_WINDOWS
from metrics_py.reasons import ReasonCode

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ESTIMATED = ("mae", "rmse")
ASSUMED = "estimated without labels: assumes errors at each predicted value as large as in the reference"
ROWS_PER_GROUP = 30
"""Labelled reference rows that a range of predictions has at least."""

FEWEST_BEHIND = 30
"""Rows, weighted by the size of their errors, that decide a value at least, here and in the reference."""

SHARED = 500
"""Rows of all groups by whose errors the shape of those of a single group is known."""

HEAVIEST = 25
"""Most rows per one that decides (the kurtosis, where errors are squared): in heavier tails no interval holds."""

TRUSTED = 0.5
"""Part of what moves within bins make of the value by which it may be off: between centres it need not be linear."""

HEAVY_TAIL = "a few large errors decide the value and no interval holds"
NO_SPREAD = "all errors of the reference are alike: how much they vary is not known"


@dataclass(frozen=True, eq=False)
class ErrorSizes:
    """Size of the errors by the bin of the prediction.

    Attributes
    ----------
    group : integer ndarray, shape (K,)
        Group of each prediction bin: neighbours are joined until each has `ROWS_PER_GROUP` rows.
    is_seen : ndarray of bool, shape (K,)
        Has the reference labelled rows in this bin?
    n : ndarray, shape (G,)
        Labelled reference rows of the group.
    centre : ndarray, shape (G,)
        Mean of their predictions.
    absolute, squared, fourth : ndarray, shape (G,)
        Means of the absolute errors and of their second and fourth powers.
    """

    group: IntArray
    is_seen: NDArray[np.bool_]
    n: FloatArray
    centre: FloatArray
    absolute: FloatArray
    squared: FloatArray
    fourth: FloatArray

    def moments(self, metric: str) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Mean loss of the groups, the mean of its square, and its variance between rows.

        Parameters
        ----------
        metric : {"mae", "rmse"}
            Absolute or squared errors.

        Returns
        -------
        mean, second, variance : ndarray, shape (G,)
            The variance is that of a sample, ``n / (n - 1)`` times the mean squared deviation.

        Notes
        -----
        Of a small group the mean square hangs on its largest error. So the ratio of mean square and squared mean is
        that of the group together with `SHARED` rows of all groups: errors are taken to be of one shape, if not of one
        size.
        """
        mean, second = (self.absolute, self.squared) if metric == "mae" else (self.squared, self.fourth)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # powers may be beyond all floats
            own = np.where(mean > 0, second / mean**2, 1.0)
            shared = (self.n @ own) / self.n.sum()
            ratio = (self.n * own + SHARED * shared) / (self.n + SHARED)
            spread = np.where(ratio <= 1 + 1e-12, 0.0, (ratio - 1) * mean**2)
            return mean, ratio * mean**2, spread * self.n / np.maximum(self.n - 1, 1)

    def weights(self, n: FloatArray, sum_prediction: FloatArray) -> FloatArray:
        """How often the mean loss of each group counts, for rows that lie in it elsewhere than the reference's.

        Parameters
        ----------
        n, sum_prediction : ndarray, shape (W, G)
            Rows of each window, and the sum of their predictions.

        Returns
        -------
        ndarray, shape (W, G)
            Between the centres of two groups the mean loss is linear; beyond the outermost ones it goes on, at most
            as far as the next centre lies.

        Examples
        --------
        >>> one = np.ones(2)
        >>> sizes = ErrorSizes(np.array([0, 1]), one > 0, 50 * one, np.array([0.0, 10.0]), one, one, one)
        >>> sizes.weights(np.array([[0.0, 8.0]]), np.array([[0.0, 100.0]])).tolist()
        [[-2.0, 10.0]]
        """
        last, group = len(self.n) - 1, np.arange(len(self.n))
        if not last:
            return n
        moved = sum_prediction - n * self.centre
        up, down = np.where(group < last, group + 1, last - 1), np.where(group > 0, group - 1, 1)
        neighbour = np.where(moved > 0, up, down)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.clip(moved / (self.centre[neighbour] - self.centre) / n, -1, 1)
        part = n * np.where(np.isfinite(share), share, 0.0)
        found = n - part
        np.add.at(found, (np.arange(len(n))[:, None], neighbour), part)
        return found


def learn_errors(error_bins: pl.DataFrame) -> ErrorSizes | None:
    """Learn the size of the errors.

    Parameters
    ----------
    error_bins : DataFrame
        ``prediction_bin, n, sum_prediction, sum_abs_error, sum_squared_error, sum_fourth_error`` of labelled reference
        rows (the mart `error_bins`); those of equal bins are added up. Bins are numbered as the predictions rise.

    Returns
    -------
    ErrorSizes or None
        None without rows.

    Examples
    --------
    >>> bins = pl.DataFrame(
    ...     {
    ...         "prediction_bin": [0, 1],
    ...         "n": [100, 50],
    ...         "sum_prediction": [500.0, 750.0],
    ...         "sum_abs_error": [100.0, 100.0],
    ...         "sum_squared_error": [120.0, 240.0],
    ...         "sum_fourth_error": [200.0, 2000.0],
    ...     }
    ... )
    >>> learn_errors(bins).absolute.tolist()
    [1.0, 2.0]
    """
    bins = error_bins.filter(pl.col("n") > 0)
    if bins.is_empty():
        return None
    at = bins["prediction_bin"].to_numpy().astype(np.int64)
    rows = np.bincount(at, bins["n"].to_numpy()).astype(np.float64)
    group = _groups(rows)
    n = np.bincount(group, rows).astype(np.float64)
    sums = (
        np.bincount(group[at], bins[name].to_numpy().astype(np.float64))
        for name in ("sum_prediction", "sum_abs_error", "sum_squared_error", "sum_fourth_error")
    )
    centre, absolute, squared, fourth = (part / n for part in sums)
    return ErrorSizes(group, rows > 0, n, centre, absolute, squared, fourth)


def _groups(rows: FloatArray) -> IntArray:
    """Group of each bin; the last one joins its neighbour where it has too few rows."""
    starts, held = [0], 0.0
    for k, more in enumerate(rows):
        if held >= ROWS_PER_GROUP:
            starts.append(k)
            held = 0.0
        held += more
    if held < ROWS_PER_GROUP and len(starts) > 1:
        starts.pop()
    return np.searchsorted(starts, np.arange(len(rows)), side="right") - 1


def estimate(counts: pl.DataFrame, sizes: ErrorSizes, *, min_rows: int, by: Sequence[str]) -> pl.DataFrame:
    """Estimated MAE and RMSE with intervals for the realised values, one row per group and metric.

    Parameters
    ----------
    counts : DataFrame
        `by`, then ``prediction_bin, n, sum_prediction`` of all rows with a prediction (the mart `prediction_bins`).
    sizes : ErrorSizes
        Of the reference.
    min_rows : int
        Fewer rows give ``insufficient_data``.
    by : sequence of str
        Key columns.

    Returns
    -------
    DataFrame
        `by`, ``metric, value, ci_low, ci_high, n, status, reason, reason_code, variance``. The interval is one of
        95 % for the value that all labels will give; a value that is not told has none.

    Notes
    -----
    With the weight `N_g` of group g here (its rows, see `ErrorSizes.weights`) and `n_g` rows in the reference, the mean
    loss is ``sum_g N_g m_g / N``, its variance ``sum_g (N_g + N_g^2 / n_g) v_g / N^2``: which errors happen, and how
    well their mean size is known. The interval is one on the log scale. The RMSE is the root of the mean squared error,
    and so are the ends of its interval. Errors are taken as independent.

    Half of what moves within groups make of the value widens the interval (`TRUSTED`). Nothing is told where few rows
    decide the value, ``(sum loss)^2 / sum loss^2``, here or in the reference: of a heavy tail the largest error that
    will happen is not known.

    References
    ----------
    NannyML (2022), documentation, "Direct Loss Estimation" (with a boosted model of the features in place of groups of
    the prediction, and without these intervals).

    Examples
    --------
    >>> bins = pl.DataFrame({"prediction_bin": [0], "n": [400], "sum_prediction": [800.0], "sum_abs_error": [400.0]})
    >>> bins = bins.with_columns(sum_squared_error=pl.lit(600.0), sum_fourth_error=pl.lit(2500.0))
    >>> rows = pl.DataFrame({"window": [1], "prediction_bin": [0], "n": [100], "sum_prediction": [210.0]})
    >>> estimate(rows, learn_errors(bins), min_rows=50, by=["window"]).select("metric", "value").rows()
    [('mae', 1.0), ('rmse', 1.224744871391589)]
    """
    keys = list(by)
    groups = counts.select(keys).unique().sort(keys).with_row_index("_group")
    cells = counts.join(groups, on=keys, nulls_equal=True)
    n, weights, unseen = _dense(cells, len(groups), sizes)
    total = n.sum(axis=1)
    rows: list[tuple[Any, ...]] = []
    for metric in ESTIMATED:
        value, low, high, variance, heavy = _intervals(metric, n, weights, sizes)
        for k in range(len(groups)):
            told = _state(int(total[k]), unseen[k], int(sizes.n.sum()), float(variance[k]), bool(heavy[k]), min_rows)
            numbers = (float(value[k]), float(low[k]), float(high[k])) if told is None else (None,) * 3
            told = told or ("ok", ASSUMED, "estimated")
            more = float(variance[k]) if told[0] == "ok" else None
            rows.append((k, metric, *numbers, int(total[k]), *told, more))
    found = pl.DataFrame(rows, schema={"_group": pl.UInt32, **ESTIMATE_SCHEMA}, orient="row")
    return groups.join(found, on="_group").drop("_group").sort([*keys, "metric"])


def _intervals(
    metric: str, n: FloatArray, weights: FloatArray, sizes: ErrorSizes
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, NDArray[np.bool_]]:
    """Value, ends of the interval, variance, and whether the tail is too heavy, by group of the table."""
    mean, second, spread = sizes.moments(metric)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        total = n.sum(axis=1)
        value = np.maximum(weights @ mean, 0.0) / total
        variance = (np.maximum(weights, 0) + weights**2 / sizes.n) @ spread / total**2
        times = np.exp(Z95 * np.sqrt(variance) / value)
        more = TRUSTED * np.abs((weights - n) @ mean) / total
        low, high = np.maximum(value / times - more, 0.0), value * times + more
        here = (n @ mean) ** 2 / (n @ second)
        taught = (weights @ mean) ** 2 / (weights**2 / sizes.n @ second)
        holds = (here >= FEWEST_BEHIND) & (taught >= FEWEST_BEHIND) & (total <= HEAVIEST * here)
        if metric == "rmse":
            variance = variance / (4 * value)
            value, low, high = np.sqrt(value), np.sqrt(low), np.sqrt(high)
    return value, low, high, variance, ~holds


def _dense(cells: pl.DataFrame, n_groups: int, sizes: ErrorSizes) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Rows and weights by group of the table and of the errors, and the share of rows in bins the reference lacks."""
    bins = cells["prediction_bin"].to_numpy().astype(np.int64)
    rows, sums = (cells[name].to_numpy().astype(np.float64) for name in ("n", "sum_prediction"))
    known = np.clip(bins, 0, len(sizes.group) - 1)
    n, sum_prediction, lost = *np.zeros((2, n_groups, len(sizes.n))), np.zeros(n_groups)
    at = cells["_group"].to_numpy().astype(np.int64)
    np.add.at(n, (at, sizes.group[known]), rows)
    np.add.at(sum_prediction, (at, sizes.group[known]), sums)
    np.add.at(lost, at, rows * ((known != bins) | ~sizes.is_seen[known]))
    return n, sizes.weights(n, sum_prediction), lost / np.maximum(n.sum(axis=1), 1.0)


def _state(
    n: int, unseen: float, n_reference: int, variance: float, is_heavy: bool, min_rows: int
) -> tuple[str, str, ReasonCode] | None:
    """Status, reason and its code where there is no estimate."""
    if n < min_rows:
        return "insufficient_data", f"{n} rows, {min_rows} needed", "too_few_rows"
    if n_reference < MIN_REFERENCE:
        few = f"{n_reference:,} labelled rows in the reference, {MIN_REFERENCE} needed to know the size of the errors"
        return "insufficient_data", few, "too_few_rows"
    if unseen > MOST_UNSEEN:
        beyond = f"{100 * unseen:.3g} % of the predictions lie where the reference has no labelled rows"
        return "insufficient_data", beyond, "not_identifiable"
    if variance == 0:
        return "insufficient_data", NO_SPREAD, "not_identifiable"
    if is_heavy:
        return "insufficient_data", HEAVY_TAIL, "heavy_tail"
    return None


def between_windows(outcomes: pl.DataFrame, sizes: ErrorSizes, *, min_rows: int) -> Mapping[str, float] | None:
    """Variance of MAE and RMSE between windows, beyond that of independent errors.

    Parameters
    ----------
    outcomes : DataFrame
        ``window_start`` and the columns of `learn_errors`, of the reference's windows.
    sizes : ErrorSizes
        Learnt from them.
    min_rows : int
        Windows with fewer labelled rows tell nothing.

    Returns
    -------
    mapping of metric name to variance, or None
        Not below 0. None with fewer than `metrics_py.estimation.dispersion.FEWEST_WINDOWS` windows.

    Notes
    -----
    Mean over the windows of the squared difference of realised and expected value, less the variance that independent
    errors have.

    References
    ----------
    DerSimonian & Laird (1986), Controlled Clinical Trials 7:177.
    """
    sums = ["n", "sum_abs_error", "sum_squared_error"]
    whole = outcomes.group_by("window_start").agg(pl.col(sums).sum()).filter(pl.col("n") >= min_rows)
    if len(whole) < FEWEST_WINDOWS:
        return None
    whole = whole.sort("window_start").with_row_index("_group")
    cells = outcomes.join(whole.select("window_start", "_group"), on="window_start")
    n, weights, _ = _dense(cells, len(whole), sizes)
    total = n.sum(axis=1)
    found: dict[str, float] = {}
    for metric, name in zip(ESTIMATED, sums[1:], strict=True):
        mean, _, spread = sizes.moments(metric)
        expected, variance = weights @ mean / total, n @ spread / total**2
        realised = whole[name].to_numpy() / total
        if metric == "rmse":
            with np.errstate(invalid="ignore", divide="ignore"):
                variance = variance / (4 * expected)
            expected, realised = np.sqrt(expected), np.sqrt(realised)
        found[metric] = max(float(((realised - expected) ** 2 - variance).mean()), 0.0)
    return found

"""How fast models age: the loss of several versions on the same windows against how long ago each was trained.

One served model cannot tell its age from the weather: its loss rises in a hard season, too. Versions of different ages
that judge the same windows can, as what made a window hard is common to all of them.

References
----------
Cameron & Miller (2015), Journal of Human Resources 50:317 (fixed effects, few clusters). Efron & Tibshirani (1993), An
Introduction to the Bootstrap, ch. 11 (the jackknife). Fannon & Nielsen (2019), Oxford Research Encyclopedia of
Economics and Finance (age, period and cohort).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.confidence import check_confidence
from metrics_py.intervals import t_quantile

FloatArray = NDArray[np.float64]
Change = Literal["worse", "better", "not_measurable"]
COLUMNS = ("version", "window", "age", "loss")
FEWEST_VERSIONS = 3
FEWEST_FOR_CURVE = 6
"""Fewer versions say nothing of how the loss bends with age."""


@dataclass(frozen=True)
class Decay:
    """Change of the loss per unit of age, and how precisely it is known.

    Attributes
    ----------
    slope : float or None
        Loss per unit of age; positive where models get worse with age. None where it is not defined.
    ci_low, ci_high : float or None
        Interval; None where there is none.
    n_versions, n_windows, n_cells : int
        Versions, windows and pairs of both that tell something: windows that at least two ages share.
    longest_age : float or None
        The oldest that any version was in these windows.
    is_bent : bool or None
        Whether the loss rises faster or slower at first (the interval of the curvature excludes 0); None where too few
        versions say it.
    reason : str or None
        Why there is no interval.
    """

    slope: float | None
    ci_low: float | None
    ci_high: float | None
    n_versions: int
    n_windows: int
    n_cells: int
    longest_age: float | None
    is_bent: bool | None = None
    reason: str | None = None

    @property
    def change(self) -> Change | None:
        """What age does to the model; None where nothing can be said.

        Returns
        -------
        {"worse", "better", "not_measurable"} or None
            Not measurable where the interval holds 0.
        """
        if self.ci_low is None or self.ci_high is None:
            return None
        if self.ci_low > 0:
            return "worse"
        return "better" if self.ci_high < 0 else "not_measurable"


def decay(cells: pl.DataFrame, *, confidence: float = 0.95) -> Decay:
    """Slope of the loss against age, with an effect of its own for every window.

    Parameters
    ----------
    cells : DataFrame
        ``version, window, age, loss``: one row per version and window, the age in whatever unit the slope shall have
        (weeks), the loss such that less is better. Rows with a null or a negative age (the version was trained on that
        window) are left out.
    confidence : float, default 0.95
        Two-sided coverage.

    Returns
    -------
    Decay
        Without an interval, and with the reason, where no window is shared by two ages, where fewer than three versions
        share windows with others, or where without one of them nothing is left to be compared.

    Raises
    ------
    ValueError
        If a column is missing, a version has two rows of one window, or `confidence` does not lie between 0 and 1.

    Notes
    -----
    ``loss[m, t] = effect[t] + slope * age[m, t] + error``, by least squares: within each window the losses and ages are
    taken from their means. The effects absorb whatever makes a window hard for all versions: season, mix, noise in the
    labels. The interval is the delete-one-version jackknife, ``slope -+ t_(M-1) * se`` of M versions, as the errors of
    one version belong together (one training may succeed better than another).

    Assumptions: versions differ by their age only, not in kind or in the amount of data; the loss rises linearly; the
    versions are independent of each other. Where training sets overlap, they are not quite.

    Not identifiable: effects of the versions beside those of the windows. ``age = t - trained_at``, so a version's own
    level and a linear rise with age are one and the same to such data: that newer recipes are better than older ones
    would look like decay.

    Examples
    --------
    Three versions, two windows that differ in difficulty, 0.01 more loss per week:

    >>> cells = pl.DataFrame(
    ...     {
    ...         "version": ["a", "b", "c"] * 2,
    ...         "window": [1, 1, 1, 2, 2, 2],
    ...         "age": [9.0, 5.0, 1.0, 10.0, 6.0, 2.0],
    ...         "loss": [0.29, 0.25, 0.21, 0.50, 0.46, 0.42],
    ...     }
    ... )
    >>> found = decay(cells)
    >>> round(found.slope, 6), found.n_versions, found.n_windows
    (0.01, 3, 2)
    """
    check_confidence(confidence)
    missing = [name for name in COLUMNS if name not in cells.columns]
    if missing:
        raise ValueError(f"decay: the column {missing[0]!r} is missing; it needs {', '.join(COLUMNS)}")
    known = cells.select(COLUMNS).drop_nulls().filter((pl.col("age") >= 0) & pl.col("loss").is_finite())
    if known.select(pl.struct("version", "window").is_duplicated().any()).item():
        raise ValueError("decay: a version has two rows of one window; give one row per version and window")
    known = known.filter(pl.col("age").n_unique().over("window") > 1).sort("window", "version")
    versions: list[object] = known["version"].unique(maintain_order=True).to_list()
    counts = (len(versions), known["window"].n_unique(), len(known))
    if known.is_empty():
        return Decay(None, None, None, 0, 0, 0, None, reason="no window was judged by two versions of different ages")
    longest = float(known["age"].to_numpy().max())
    whole = _slope(known)
    reason = None
    if len(versions) < FEWEST_VERSIONS:
        reason = f"{len(versions)} versions share windows, at least {FEWEST_VERSIONS} are needed"
    without = [_slope(known.filter(pl.col("version") != version)) for version in versions]
    error = _standard_error(without)
    if reason is None and error is None:
        reason = "without one of the versions no window is left that two share: how precise the slope is cannot be said"
    if reason is None and not error:
        reason = "the slope is the same without each version: that does not say how precise it is"
    if reason is not None or not error or whole is None:
        return Decay(whole, None, None, *counts, longest, reason=reason)
    half = float(t_quantile(len(versions) - 1, confidence)) * error
    bent = _is_bent(known, versions, confidence)
    return Decay(whole, whole - half, whole + half, *counts, longest, bent)


def _standard_error(replicates: list[float | None]) -> float | None:
    values = [value for value in replicates if value is not None]
    n = len(replicates)
    if len(values) < n or n < 2:
        return None
    spread = np.array(values)
    if np.ptp(spread) <= 1e-12 * np.abs(spread).max(initial=0.0):
        return 0.0
    return float(np.sqrt((n - 1) / n * ((spread - spread.mean()) ** 2).sum()))


def _within(cells: pl.DataFrame, *names: str) -> FloatArray:
    """Columns minus their means in each window, shape (rows, columns)."""
    return cells.select(pl.col(name) - pl.col(name).mean().over("window") for name in names).to_numpy()


def _slope(cells: pl.DataFrame) -> float | None:
    shared = cells.filter(pl.col("age").n_unique().over("window") > 1)
    if shared.is_empty():
        return None
    age, loss = _within(shared, "age", "loss").T
    return float(age @ loss / (age @ age))


def _curvature(cells: pl.DataFrame) -> float | None:
    squared = cells.with_columns(square=pl.col("age") ** 2)
    table = _within(squared, "age", "square", "loss")
    if np.linalg.matrix_rank(table[:, :2]) < 2:
        return None
    return float(np.linalg.lstsq(table[:, :2], table[:, 2], rcond=None)[0][1])


def _is_bent(cells: pl.DataFrame, versions: list[object], confidence: float) -> bool | None:
    if len(versions) < FEWEST_FOR_CURVE:
        return None
    whole = _curvature(cells)
    error = _standard_error([_curvature(cells.filter(pl.col("version") != version)) for version in versions])
    if whole is None or not error:
        return None
    return abs(whole) > float(t_quantile(len(versions) - 1, confidence)) * error

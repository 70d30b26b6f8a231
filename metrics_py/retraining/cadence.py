"""How often retraining pays, and whether it pays now.

References
----------
Harris (1913), Factory, The Magazine of Management 10:135 (economic order quantity). Barlow & Hunter (1960), Operations
Research 8:90 (optimum preventive maintenance).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Cadence:
    """The age at which a model should be replaced.

    Attributes
    ----------
    interval, ci_low, ci_high : float
        Best time from one retraining to the next, in the unit of age of the slope, and its interval.
    rate : float
        What retraining and the loss by age cost together per unit of time, at that interval.
    """

    interval: float
    ci_low: float
    ci_high: float
    rate: float


@dataclass(frozen=True)
class Saving:
    """What retraining now is worth until the horizon, its cost taken off.

    Attributes
    ----------
    value, ci_low, ci_high : float
        In units of the cost; positive where retraining pays.
    pays : bool
        The saving is positive, and so is the whole interval of the gap: what may be chance pays nobody.
    is_sure : bool
        The whole interval of the saving lies on one side of 0.
    """

    value: float
    ci_low: float
    ci_high: float
    pays: bool
    is_sure: bool


def best_interval(slope: ArrayLike, *, cost: float, value: float) -> FloatArray:
    """Time between retrainings with the least cost per unit of time.

    Parameters
    ----------
    slope : array_like
        Loss per unit of age; positive.
    cost : float
        Of one retraining, review included.
    value : float
        What one unit of the loss costs per unit of time.

    Returns
    -------
    ndarray
        ``sqrt(2 cost / (value slope))``, infinite where the slope is not positive.

    Raises
    ------
    ValueError
        If `cost` or `value` is not positive.

    Notes
    -----
    A model of age a costs ``value * slope * a`` more per unit of time than a fresh one, so retraining every T costs
    ``cost / T + value * slope * T / 2``. It is the formula of the economic order quantity. Assumes that age does the
    same to every model and that a retrained model starts anew.

    Examples
    --------
    A retraining costs 500, a unit of loss 20,000 a week, and 0.002 of it are lost per week:

    >>> best_interval([0.002, 0.0], cost=500, value=20_000).tolist()
    [5.0, inf]
    """
    for name, amount in (("cost", cost), ("value", value)):
        if not amount > 0 or not np.isfinite(amount):
            raise ValueError(f"best_interval: {name}={amount} must be a positive number")
    slopes = np.asarray(slope, dtype=float)
    positive = slopes > 0
    return np.where(positive, np.sqrt(2 * cost / (value * np.where(positive, slopes, 1.0))), np.inf)


def cadence(slope: float, ci_low: float, ci_high: float, *, cost: float, value: float) -> Cadence:
    """Best interval between retrainings with its own interval.

    Parameters
    ----------
    slope, ci_low, ci_high : float
        Loss per unit of age and its interval, all positive: without a measurable decay there is no cadence.
    cost, value : float
        As of `best_interval`.

    Returns
    -------
    Cadence
        The interval is the slope's, transformed: it has the same coverage, as the transformation is monotone.

    Raises
    ------
    ValueError
        If the lower bound of the slope is not positive, the bounds are not in order, or as `best_interval`.

    Examples
    --------
    >>> found = cadence(0.002, 0.001, 0.004, cost=500, value=20_000)
    >>> round(found.interval, 2), round(found.ci_low, 2), round(found.ci_high, 2), round(found.rate, 1)
    (5.0, 3.54, 7.07, 200.0)
    """
    if not 0 < ci_low <= slope <= ci_high:
        raise ValueError(f"cadence: {ci_low} <= {slope} <= {ci_high} must hold, with a positive lower bound")
    middle, longest, shortest = best_interval([slope, ci_low, ci_high], cost=cost, value=value).tolist()
    return Cadence(middle, shortest, longest, float(np.sqrt(2 * cost * value * slope)))


def saving(gap: float, ci_low: float, ci_high: float, *, cost: float, value: float, horizon: float) -> Saving:
    """Whether a loss gap over what is left of the horizon is worth a retraining.

    Parameters
    ----------
    gap, ci_low, ci_high : float
        Loss of the model in service minus that of a fresh one, and its interval.
    cost : float
        Of one retraining.
    value : float
        What one unit of the loss costs per unit of time.
    horizon : float
        For how long the fresh model would serve.

    Returns
    -------
    Saving
        With its interval, in units of the cost.

    Raises
    ------
    ValueError
        If `cost`, `value` or `horizon` is not positive, or the bounds are not in order.

    Notes
    -----
    ``gap * value * horizon - cost``: under a linear decay both models age alike, so the gap stays what it is. With half
    of the best interval as the horizon, the rule asks for a retraining exactly at the end of that interval.

    Examples
    --------
    >>> found = saving(0.02, 0.01, 0.03, cost=500, value=20_000, horizon=2.5)
    >>> found.value, found.pays, found.is_sure
    (500.0, True, False)
    """
    for name, amount in (("cost", cost), ("value", value), ("horizon", horizon)):
        if not amount > 0 or not np.isfinite(amount):
            raise ValueError(f"saving: {name}={amount} must be a positive number")
    if not ci_low <= gap <= ci_high:
        raise ValueError(f"saving: {ci_low} <= {gap} <= {ci_high} must hold")
    middle, low, high = (each * value * horizon - cost for each in (gap, ci_low, ci_high))
    return Saving(middle, low, high, pays=middle > 0 and ci_low > 0, is_sure=low > 0 or high < 0)

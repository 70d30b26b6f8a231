"""What every statistic returns: estimates with their interval, tests with their effect. Undefined is a result, never NaN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EstimateStatus = Literal["ok", "insufficient_data"]


@dataclass(frozen=True)
class Estimate:
    """A number, how precisely it is known, and from how many rows.

    Attributes
    ----------
    value : float or None
        None when undefined.
    ci_low, ci_high : float or None
        95 % interval unless the function says otherwise; None when it cannot be given.
    n : int
        Rows behind the value.
    status : {"ok", "insufficient_data"}
        "insufficient_data" always comes with a reason.
    reason : str or None
        Why there is no (trustworthy) value.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    status: EstimateStatus = "ok"
    reason: str | None = None


@dataclass(frozen=True)
class TestResult:
    """A two-sample test: statistic, p-value and effect are different things and have fields of their own.

    Attributes
    ----------
    statistic, p_value : float or None
        None when the test is undefined on these data.
    effect, effect_ci_low, effect_ci_high : float or None
        Size of the difference on a scale that does not grow with the number of rows.
    n_reference, n_current : int
        Rows compared.
    method : str
        Name and variant of the test.
    """

    __test__ = False  # not a test case for pytest

    statistic: float | None
    p_value: float | None
    effect: float | None
    effect_ci_low: float | None
    effect_ci_high: float | None
    n_reference: int
    n_current: int
    method: str

"""What every statistic returns: estimates with their interval, tests with their effect.

Undefined is a result, never NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from metrics_py.reasons import ReasonCode

EstimateStatus = Literal["ok", "insufficient_data"]
Decision = Literal["different", "not_different"]


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
        Why there is no (trustworthy) value, for people.
    reason_code : str or None
        The same for code, one of `metrics_py.reasons.MEANINGS`; None also where nobody decides by it.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    status: EstimateStatus = "ok"
    reason: str | None = None
    reason_code: ReasonCode | None = None


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
    status : {"ok", "insufficient_data"}
        "insufficient_data" when there is no p-value; it comes with a reason.
    reason : str or None
        Why the test is undefined on these data.
    decision : {"different", "not_different"} or None
        None until `decide` has been asked, or when there is no p-value.
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
    status: EstimateStatus = "ok"
    reason: str | None = None
    decision: Decision | None = None

    def decide(self, alpha: float = 0.05) -> TestResult:
        """The same result with a decision at level `alpha`; "not_different" is no proof of equality, see the effect.

        Parameters
        ----------
        alpha : float, default 0.05
            Level of the test.

        Returns
        -------
        TestResult
            With `decision` set; None where there is no p-value.

        Raises
        ------
        ValueError
            If `alpha` does not lie between 0 and 1.

        Examples
        --------
        >>> from metrics_py.drift.categorical_tests import two_proportion_z
        >>> two_proportion_z(48, 80, 56, 70).decide(alpha=0.01).decision
        'different'
        """
        if not 0 < alpha < 1:
            raise ValueError(f"decide: alpha={alpha} must lie between 0 and 1, e.g. 0.05")
        if self.p_value is None:
            return replace(self, decision=None)
        return replace(self, decision="different" if self.p_value <= alpha else "not_different")

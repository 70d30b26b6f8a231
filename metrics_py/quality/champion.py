"""Champion against challenger on the same rows: paired differences, exact paired tests, and the rule of promotion.

Pairing matters more than any formula: two models err on the same hard rows, so the interval of their difference is far
narrower than the two intervals side by side suggest. Rows that belong together (one user, one plane) are kept together
by the bucket jackknife; McNemar's and DeLong's tests assume independent rows and are for data without such entities.

References
----------
McNemar (1947), Psychometrika 12:153. Bonett & Price (2012), J. Educ. Behav. Stat. 37:479 (paired proportions).
DeLong et al. (1988), Biometrics 44:837; Sun & Xu (2014), IEEE Signal Processing Letters 21:1389 (midranks).
Berger (1982), Technometrics 24:295 (intersection-union tests need no correction).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, ndtr, ndtri, stdtr

from metrics_py.confidence import check_confidence
from metrics_py.intervals import ONE_BUCKET, ROUNDING, JackknifeInterval, jackknife
from metrics_py.results import TestResult
from metrics_py.scipy_functions import rankdata

FloatArray = NDArray[np.float64]
SAME = "the difference is the same without each bucket of entities, which does not say how precise it is: no interval"
VARIANCE_ROUNDING = 1e-14
NO_VARIANCE = "the scores rank every pair so that no row differs from another: there is no variance to judge by"
Direction = Literal["higher_is_better", "lower_is_better"]
Criterion = Literal["superior", "non_inferior", "not_shown", "worse", "insufficient_data"]


@dataclass(frozen=True)
class RowSet:
    """Rows that one model alone judged, and how precisely they tell its metric.

    Attributes
    ----------
    n : int
        Rows.
    standard_error : float
        Of the metric.
    """

    n: int
    standard_error: float


@dataclass(frozen=True)
class PairedDifference:
    """Challenger minus champion of one metric on the same rows.

    Attributes
    ----------
    champion, challenger, difference : float or None
        None when undefined.
    ci_low, ci_high : float or None
        Two-sided 95 % interval of the difference; its ends are the one-sided 97.5 % bounds.
    p_value : float or None
        Two-sided, of no difference.
    n : int
        Rows compared.
    status : {"ok", "insufficient_data"}
    reason : str or None
    sets : pair of RowSet, optional
        Champion's and challenger's, where they judged different rows.
    n_agreeing : int, optional
        Where the models agree on all rows: independent units (rows, entities, queries) that the interval rests on, see
        `metrics_py.evaluation.agreement`.
    """

    champion: float | None
    challenger: float | None
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    n: int
    status: Literal["ok", "insufficient_data"] = "ok"
    reason: str | None = None
    sets: tuple[RowSet, RowSet] | None = None
    n_agreeing: int | None = None


def paired_difference(
    statistic: Callable[..., ArrayLike],
    champion: Sequence[ArrayLike],
    challenger: Sequence[ArrayLike],
    *,
    n: int,
    confidence: float = 0.95,
) -> PairedDifference:
    """Difference of any metric between two models by the delete-one-bucket jackknife.

    Only the marginal aggregates of each model are needed: because both use the same buckets, leaving one out moves both
    metrics together, and what they share cancels.

    Parameters
    ----------
    statistic : callable
        The metric as a function of aggregates, as for `metrics_py.intervals.jackknife`.
    champion, challenger : sequence of array_like, shape (B, ...)
        Bucket aggregates of the two models over the same rows, in the order of the statistic's arguments.
    n : int
        Rows compared.
    confidence : float, default 0.95
        Two-sided.

    Returns
    -------
    PairedDifference
        Challenger minus champion. ``insufficient_data`` where the metric of a model is undefined, undefined without one
        of the buckets, or where the difference is the same without each of them.

    Raises
    ------
    ValueError
        If the two models' aggregates differ in number or buckets, an entry is not finite, or `confidence` does not lie
        between 0 and 1.

    Notes
    -----
    The statistic of the jackknife is the difference itself; its t with B - 1 degrees of freedom gives interval and
    p-value. Rows of one entity stand in one bucket and may depend on each other, buckets may not.

    Both models must have judged the same rows. Where only one of them did (an A/B test), compare two independent
    intervals instead. A difference that is the same without each bucket has no interval and no p-value: rows that all
    agree are no certainty, and two models with the same outputs have nothing to compare. Differences and errors below
    1e-12 of the metric are the rounding of its sums and count as 0.

    References
    ----------
    Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 11.

    Examples
    --------
    Correct answers and rows in four buckets of entities; the paired t test of the rates' differences 0.1, 0, 0.2, 0:

    >>> found = paired_difference(lambda c, n: c / n, [[7, 8, 6, 9], [10] * 4], [[8, 8, 8, 9], [10] * 4], n=40)
    >>> round(found.difference, 3), round(found.p_value, 3)
    (0.075, 0.215)
    """
    champion = [np.asarray(a, dtype=float)[None] for a in champion]
    challenger = [np.asarray(a, dtype=float)[None] for a in challenger]
    if len(champion) != len(challenger):
        raise ValueError(
            f"paired_difference: {len(champion)} aggregates of the champion, {len(challenger)} of the challenger; "
            "pass the statistic's arguments for both"
        )
    split = len(champion)

    def difference(*arrays: FloatArray) -> FloatArray:
        return np.asarray(statistic(*arrays[split:])) - np.asarray(statistic(*arrays[:split]))

    found = jackknife(difference, *champion, *challenger, confidence=confidence)
    with np.errstate(divide="ignore", invalid="ignore"):
        old = float(np.asarray(statistic(*(a.sum(axis=1) for a in champion)))[0])
        new = float(np.asarray(statistic(*(a.sum(axis=1) for a in challenger)))[0])
    return difference_of(found, old, new, n=n)


def difference_of(found: JackknifeInterval, old: float, new: float, *, n: int) -> PairedDifference:
    """Difference of two models whose jackknife is known.

    Parameters
    ----------
    found : JackknifeInterval
        Of the difference; one group.
    old, new : float
        The metric of champion and challenger; NaN where undefined.
    n : int
        Rows compared.

    Returns
    -------
    PairedDifference
        As of `paired_difference`.
    """
    known = [value if np.isfinite(value) else None for value in (old, new)]
    if None in known:
        whose = "champion" if known[0] is None else "challenger"
        reason = f"the metric of the {whose} is undefined on these rows"
        return PairedDifference(known[0], known[1], None, None, None, None, n, "insufficient_data", reason)
    value, error = float(found.value[0]), float(found.standard_error[0])
    noise = ROUNDING * max(abs(old), abs(new))  # what is left where equal sums of floats were subtracted
    if error <= noise:
        value, error = (0.0 if abs(value) <= noise else value), 0.0
    if not error > 0:
        reason = ONE_BUCKET if np.isnan(error) else SAME
        return PairedDifference(old, new, value, None, None, None, n, "insufficient_data", reason)
    p_value = float(2 * stdtr(float(found.degrees_of_freedom[0]), -abs(value) / error))
    return PairedDifference(old, new, value, float(found.ci_low[0]), float(found.ci_high[0]), p_value, n)


def mcnemar(only_champion: int, only_challenger: int, n: int, *, confidence: float = 0.95) -> TestResult:
    """McNemar's exact test of equal accuracy on the same, independent rows.

    Parameters
    ----------
    only_champion, only_challenger : int
        Rows that only the one model got right.
    n : int
        All rows.
    confidence : float, default 0.95
        Of the interval of the effect.

    Returns
    -------
    TestResult
        Statistic: `only_challenger`, binomial(only_champion + only_challenger, 1/2) when the models are equal. Effect:
        difference in accuracy, challenger minus champion. ``insufficient_data`` without rows.

    Raises
    ------
    ValueError
        If a count is negative, the counts outnumber the rows, or `confidence` does not lie between 0 and 1.

    Notes
    -----
    Only rows on which the models disagree tell them apart. The p-value is twice the smaller tail of the binomial, at
    most 1. The interval is that of Bonett and Price: one row is added to both counts and two to n, then
    ``d -+ z sqrt((p + q - d^2) / (n + 2))`` with d = q - p. It is made differently from the test and can disagree with
    it at the border.

    Rows are independent of each other: with several rows per user take `paired_difference`. The test sees accuracy
    only; two models with equal accuracy can err in ways that cost very different amounts.

    References
    ----------
    McNemar (1947), Psychometrika 12:153. Bonett & Price (2012), Journal of Educational and Behavioral Statistics
    37:479. Agresti (2002), Categorical Data Analysis, table 10.1 (the second example).

    Examples
    --------
    ``2 (1 + 12 + 66) / 2^12``:

    >>> result = mcnemar(10, 2, 100)
    >>> round(result.p_value, 5), result.effect
    (0.03857, -0.08)

    Approval of a prime minister in two surveys of the same 1,600 people, 150 lost and 86 won:

    >>> result = mcnemar(150, 86, 1600)
    >>> result.effect, round(result.effect_ci_low, 3), round(result.effect_ci_high, 3)
    (-0.04, -0.059, -0.021)
    """
    check_confidence(confidence)
    if min(only_champion, only_challenger) < 0 or only_champion + only_challenger > n:
        raise ValueError(
            f"mcnemar: counts {only_champion} and {only_challenger} must be at least 0 and together at most n={n}"
        )
    if n == 0:
        method = "McNemar, exact"
        return TestResult(None, None, None, None, None, 0, 0, method, "insufficient_data", "no rows to compare")
    discordant = only_champion + only_challenger
    p_value = min(1.0, 2 * float(bdtr(min(only_champion, only_challenger), discordant, 0.5))) if discordant else 1.0
    lost, won = (only_champion + 1) / (n + 2), (only_challenger + 1) / (n + 2)
    half = ndtri(0.5 + confidence / 2) * np.sqrt((lost + won - (won - lost) ** 2) / (n + 2))
    low, high = max(won - lost - half, -1.0), min(won - lost + half, 1.0)
    effect = (only_challenger - only_champion) / n
    return TestResult(float(only_challenger), p_value, effect, float(low), float(high), n, n, "McNemar, exact")


def _placements(positive: FloatArray, negative: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Share of the other class that each row beats, ties counting half (from midranks, O(n log n))."""
    joint = rankdata(np.concatenate([positive, negative]))
    wins = (joint[: len(positive)] - rankdata(positive)) / len(negative)
    losses = 1 - (joint[len(positive) :] - rankdata(negative)) / len(positive)
    return wins, losses


def delong_test(
    labels: ArrayLike, champion_scores: ArrayLike, challenger_scores: ArrayLike, *, confidence: float = 0.95
) -> TestResult:
    """DeLong's test of equal ROC AUC of two scores of the same, independent rows.

    Parameters
    ----------
    labels : array_like of {0, 1}, shape (n,)
        1 is positive.
    champion_scores, challenger_scores : array_like, shape (n,)
        Finite scores, higher for positives; the two need no common scale.
    confidence : float, default 0.95
        Of the interval of the effect.

    Returns
    -------
    TestResult
        Statistic: z. Effect: AUC of the challenger minus that of the champion. ``insufficient_data`` with fewer than
        two rows of either class, and without an interval where the variance is 0.

    Raises
    ------
    ValueError
        If lengths differ, labels are not 0 and 1, a score is not finite, or `confidence` does not lie between 0 and 1.

    Notes
    -----
    With V_i the share of negatives that positive row i beats (ties counting half), and W_j the share of positives that
    beat negative row j, the variance of the effect is that of the differences of V between the scores over the
    positives, plus the same of W over the negatives. V and W come from midranks, in O(n log n).

    Rows are independent: with several rows per entity take `paired_difference` of
    `metrics_py.quality.score_histograms.roc_auc`. The law is a limit, rough below some 20 rows of either class. Where
    the scores rank all pairs in the same way, or one of them every pair wrong and the other every pair right, the
    variance is 0 whatever n is: that is no certainty, so there is an effect, but no test.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837. Sun & Xu (2014), IEEE Signal Processing Letters 21:1389.

    Examples
    --------
    Of nine pairs the champion orders 7 right and the challenger 8. The positives' shares differ by 1/3, 0, 0, with
    variance 1/27 and so over three rows 1/81; the negatives' do the same: ``z = (1/9) / sqrt(2 / 81)``.

    >>> labels = [0, 0, 0, 1, 1, 1]
    >>> found = delong_test(labels, [0.1, 0.4, 0.6, 0.3, 0.7, 0.8], [0.1, 0.2, 0.6, 0.5, 0.7, 0.8])
    >>> round(found.effect, 4), round(found.statistic, 4), round(0.5**0.5, 4)
    (0.1111, 0.7071, 0.7071)
    """
    check_confidence(confidence)
    labels = np.asarray(labels).astype(float)
    scores = [np.asarray(s, dtype=float) for s in (champion_scores, challenger_scores)]
    if labels.ndim != 1 or any(s.shape != labels.shape for s in scores):
        raise ValueError("delong_test: labels and both scores must be one-dimensional and of equal length")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("delong_test: labels must be 0 and 1; compare with the positive class first")
    if not all(np.isfinite(s).all() for s in scores):
        raise ValueError("delong_test: scores hold NaN or infinity; drop those rows for both models")
    n = len(labels)
    n_positive = int(labels.sum())
    if min(n_positive, n - n_positive) < 2:
        method, reason = "DeLong, paired", f"{n_positive} positive and {n - n_positive} negative rows, 2 of each needed"
        return TestResult(None, None, None, None, None, n, n, method, "insufficient_data", reason)
    placements = [_placements(s[labels == 1], s[labels == 0]) for s in scores]
    effect = float(placements[1][0].mean() - placements[0][0].mean())
    variance = sum(np.var(placements[1][c] - placements[0][c], ddof=1) / len(placements[0][c]) for c in (0, 1))
    error = float(np.sqrt(variance))
    if error <= VARIANCE_ROUNDING:
        method = "DeLong, paired"
        return TestResult(None, None, effect, None, None, n, n, method, "insufficient_data", NO_VARIANCE)
    z = effect / error
    p_value = float(2 * ndtr(-abs(z)))
    half = float(ndtri(0.5 + confidence / 2)) * error
    return TestResult(z, p_value, effect, effect - half, effect + half, n, n, "DeLong, paired")


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger may replace the champion.

    Attributes
    ----------
    decision : {"promote", "keep", "insufficient_data"}
    is_superior : bool
        The primary metric is better, not merely not worse.
    criteria : dict of str to str
        Per metric or segment: superior, non_inferior, not_shown, worse or insufficient_data.
    reason : str
        One sentence for people.
    """

    decision: Literal["promote", "keep", "insufficient_data"]
    is_superior: bool
    criteria: dict[str, Criterion]
    reason: str


def promotion(
    primary: PairedDifference,
    guardrails: Mapping[str, PairedDifference] | None = None,
    *,
    margin: float,
    direction: Direction = "higher_is_better",
    guardrail_margins: Mapping[str, float] | None = None,
    guardrail_directions: Mapping[str, Direction] | None = None,
) -> Verdict:
    """Rule for one evaluation of fixed size: no worse than a margin, on the primary metric and on every guardrail.

    Parameters
    ----------
    primary : PairedDifference
        Of the metric that decides.
    guardrails : mapping of name to PairedDifference, optional
        Segments or other metrics that must not suffer.
    margin : float
        Loss that does not matter, in units of the metric; half of the smallest effect that matters is a good choice.
    direction : {"higher_is_better", "lower_is_better"}
        Of the primary metric, and of guardrails that name none.
    guardrail_margins, guardrail_directions : mapping, optional
        Where they differ from the primary's.

    Returns
    -------
    Verdict
        Decision, criteria by name and the reason in words.

    Raises
    ------
    ValueError
        If a margin is not positive (with margin 0 an equally good challenger would never pass), names no guardrail, or
        a direction is unknown.

    Notes
    -----
    Each one-sided 97.5 % bound of the gain (an end of the two-sided 95 % interval) must lie above -margin. All must
    hold at once, so no correction for their number is needed: a truly worse challenger passes with at most 2.5 %.
    Superiority is claimed only if the bound lies above 0. Worse by more than the margin wins over not enough data, and
    that over not shown.

    For one evaluation whose size was fixed before. Evaluating daily until it passes promotes worse models too: watch
    `metrics_py.intervals.daily_confidence_sequence` of the differences instead.

    References
    ----------
    Berger (1982), Technometrics 24:295 (intersection-union tests).

    Examples
    --------
    >>> gain = PairedDifference(0.80, 0.81, 0.01, -0.002, 0.022, 0.1, n=5000)
    >>> segment = PairedDifference(0.78, 0.77, -0.01, -0.04, 0.02, 0.5, n=400)
    >>> promotion(gain, margin=0.005).decision
    'promote'
    >>> verdict = promotion(gain, {"new users": segment}, margin=0.005)
    >>> verdict.decision, verdict.criteria
    ('keep', {'primary': 'non_inferior', 'new users': 'not_shown'})
    """
    guardrails = dict(guardrails or {})
    margins: dict[str, float] = dict(guardrail_margins or {})
    directions: dict[str, Direction] = dict(guardrail_directions or {})
    for name in (*margins, *directions):
        if name not in guardrails:
            raise ValueError(
                f"promotion: {name!r} is no guardrail; there are: {', '.join(sorted(guardrails)) or 'none'}"
            )
    for name, given in (("primary", margin), *margins.items()):
        if not given > 0:
            raise ValueError(f"promotion: margin {given} of {name} must be positive")
    criteria: dict[str, Criterion] = {"primary": _criterion(primary, margin, direction)}
    for name, found in guardrails.items():
        criteria[name] = _criterion(found, margins.get(name, margin), directions.get(name, direction))
    by_state = {state: [name for name, c in criteria.items() if c == state] for state in set(criteria.values())}
    is_superior = criteria["primary"] == "superior"
    if worse := by_state.get("worse"):
        return Verdict("keep", is_superior, criteria, f"worse by more than the margin: {', '.join(worse)}")
    if unknown := by_state.get("insufficient_data"):
        return Verdict("insufficient_data", is_superior, criteria, f"not enough data: {', '.join(unknown)}")
    if not_shown := by_state.get("not_shown"):
        reason = f"not shown to be within the margin, more rows are needed: {', '.join(not_shown)}"
        return Verdict("keep", is_superior, criteria, reason)
    claim = "better than the champion" if is_superior else "not worse than the champion by more than the margin"
    return Verdict("promote", is_superior, criteria, claim)


def _criterion(found: PairedDifference, margin: float, direction: Direction) -> Criterion:
    if found.status != "ok" or found.ci_low is None or found.ci_high is None:
        return "insufficient_data"
    if direction not in ("higher_is_better", "lower_is_better"):
        raise ValueError(f"promotion: direction={direction!r} is unknown; allowed: higher_is_better, lower_is_better")
    low, high = (found.ci_low, found.ci_high) if direction == "higher_is_better" else (-found.ci_high, -found.ci_low)
    if low > 0:
        return "superior"
    if low > -margin:
        return "non_inferior"
    return "worse" if high < -margin else "not_shown"

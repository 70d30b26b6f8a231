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

from metrics_py.intervals import jackknife
from metrics_py.results import TestResult

FloatArray = NDArray[np.float64]
Direction = Literal["higher_is_better", "lower_is_better"]
Criterion = Literal["superior", "non_inferior", "not_shown", "worse", "insufficient_data"]


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

    Raises
    ------
    ValueError
        If the two models' aggregates differ in number or buckets.

    Examples
    --------
    Correct answers and rows in four buckets of entities:

    >>> found = paired_difference(lambda c, n: c / n, [[7, 8, 6, 9], [10] * 4], [[8, 8, 8, 9], [10] * 4], n=40)
    >>> round(found.difference, 3)
    0.075
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

    occupied = np.zeros(champion[0].shape[:2], dtype=bool)
    for array in (*champion, *challenger):
        if array.shape[:2] == occupied.shape:
            occupied |= (array != 0).reshape(*occupied.shape, -1).any(axis=2)
    found = jackknife(difference, *champion, *challenger, occupied=occupied, confidence=confidence)
    with np.errstate(divide="ignore", invalid="ignore"):
        old = float(np.asarray(statistic(*(a.sum(axis=1) for a in champion)))[0])
        new = float(np.asarray(statistic(*(a.sum(axis=1) for a in challenger)))[0])
    known = [value if np.isfinite(value) else None for value in (old, new)]
    if None in known:
        whose = "champion" if known[0] is None else "challenger"
        reason = f"the metric of the {whose} is undefined on these rows"
        return PairedDifference(known[0], known[1], None, None, None, None, n, "insufficient_data", reason)
    value, error = float(found.value[0]), float(found.standard_error[0])
    if not np.isfinite(error):
        reason = "everything the metric needs stands in one bucket of entities: no interval"
        return PairedDifference(old, new, value, None, None, None, n, "insufficient_data", reason)
    t = abs(value) / error if error > 0 else (0.0 if value == 0 else np.inf)
    p_value = float(2 * stdtr(float(found.degrees_of_freedom[0]), -t)) if np.isfinite(t) else 0.0
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
        difference in accuracy, challenger minus champion, with the Bonett-Price interval. ``insufficient_data`` without rows.

    Examples
    --------
    >>> result = mcnemar(10, 2, 100)
    >>> round(result.p_value, 5), result.effect
    (0.03857, -0.08)
    """
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
    from scipy.stats import rankdata

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
    champion_scores, challenger_scores : array_like, shape (n,)
    confidence : float, default 0.95
        Of the interval of the effect.

    Returns
    -------
    TestResult
        Statistic: z. Effect: AUC of the challenger minus that of the champion. With fewer than two rows of either class
        all are None and the status is ``insufficient_data``.

    Raises
    ------
    ValueError
        If lengths differ, labels are not 0 and 1, or a score is not finite.
    """
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
    if error == 0:
        p_value, z = (1.0, 0.0) if effect == 0 else (0.0, float(np.copysign(np.inf, effect)))
    else:
        z = effect / error
        p_value = float(2 * ndtr(-abs(z)))
    half = float(ndtri(0.5 + confidence / 2)) * error
    return TestResult(z, p_value, effect, effect - half, effect + half, n, n, "DeLong, paired")


@dataclass(frozen=True)
class Verdict:
    """May the challenger replace the champion?

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
    """Rule for one evaluation of fixed size: not worse by more than a margin, on the primary metric and on every guardrail.

    Each one-sided 97.5 % bound of the gain must lie above -margin. All must hold at once, so no correction for their number
    is needed: a truly worse challenger passes with at most 2.5 %. Superiority is claimed only if the bound lies above 0.

    Parameters
    ----------
    primary : PairedDifference
    guardrails : mapping of name to PairedDifference, optional
        Segments or other metrics that must not suffer.
    margin : float
        Loss that does not matter, in units of the metric; half of the smallest effect that matters is a good choice.
    direction : {"higher_is_better", "lower_is_better"}
    guardrail_margins, guardrail_directions : mapping, optional
        Where they differ from the primary's.

    Raises
    ------
    ValueError
        If a margin is not positive (with margin 0 an equally good challenger would never pass), or names no guardrail.
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

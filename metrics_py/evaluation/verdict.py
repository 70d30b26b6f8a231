"""May a candidate take the champion's place? Superior, non-inferior, inferior, or how many more rows would tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from scipy.special import ndtri

from metrics_py.quality.champion import Direction, PairedDifference, promotion

Outcome = Literal["superior", "non_inferior", "inferior", "cannot_tell"]
POWER = 0.8
MOST_ROWS = 1e12
"""More rows than this are no advice."""


@dataclass(frozen=True)
class Criterion:
    """One thing that a candidate must not lose by more than a margin.

    Attributes
    ----------
    name : str
        Metric, of a segment with ``metric | segment``.
    found : PairedDifference
        Challenger minus champion.
    margin : float
        Loss that does not matter, in units of the metric.
    direction : {"higher_is_better", "lower_is_better"}
        Of the metric.
    outcome : {"superior", "non_inferior", "inferior", "cannot_tell"}
        By the one-sided 97.5 % bounds of the gain.
    more_rows : int or None
        Where it cannot be told: further labelled rows with which it will be in 80 % of cases if the difference stays
        what it is; None where no number of rows is known.
    reason : str
        One sentence for people.
    """

    name: str
    found: PairedDifference
    margin: float
    direction: Direction
    outcome: Outcome
    more_rows: int | None
    reason: str


@dataclass(frozen=True)
class EvaluationVerdict:
    """Whether a candidate may take the champion's place.

    Attributes
    ----------
    outcome : {"superior", "non_inferior", "inferior", "cannot_tell"}
        ``inferior`` if any criterion is; else ``cannot_tell`` if any is; else that of the primary metric.
    criteria : tuple of Criterion
        The primary metric first, then the guardrails.
    more_rows : int or None
        The most that any criterion needs.
    reason : str
        One sentence for people.
    """

    outcome: Outcome
    criteria: tuple[Criterion, ...]
    more_rows: int | None
    reason: str

    @property
    def may_promote(self) -> bool:
        """Neither inferior nor open."""
        return self.outcome in ("superior", "non_inferior")


def judge(
    primary: PairedDifference,
    guardrails: Mapping[str, PairedDifference] | None = None,
    *,
    margin: float,
    direction: Direction,
    margins: Mapping[str, float] | None = None,
    directions: Mapping[str, Direction] | None = None,
    name: str = "primary",
    counted: str = "labelled rows",
) -> EvaluationVerdict:
    """Apply the rule of promotion, and say how many more rows would decide what is open.

    Parameters
    ----------
    primary : PairedDifference
        Of the metric that decides.
    guardrails : mapping of name to PairedDifference, optional
        Metrics and segments that must not suffer.
    margin : float
        Loss of the primary metric that does not matter, in its units; positive.
    direction : {"higher_is_better", "lower_is_better"}
        Of the primary metric, and of guardrails that name none.
    margins, directions : mapping, optional
        Of guardrails, where they differ.
    name : str, default "primary"
        What the primary metric is called.
    counted : str, default "labelled rows"
        What the differences are of, for people.

    Returns
    -------
    EvaluationVerdict
        Outcome, criteria and reason.

    Raises
    ------
    ValueError
        As `metrics_py.quality.champion.promotion`.

    Notes
    -----
    All criteria must hold at once (intersection-union), so a candidate that is truly worse than the margin in one of
    them passes with a probability of at most 2.5 %, however many there are. The rule is for one evaluation whose size
    was fixed before.

    The rows needed follow from the standard error, which shrinks with the root of their number: n (2.8 se / gap)^2 for
    a gap between the difference and the margin (1.96 for the bound, .84 for a power of 80 %).

    References
    ----------
    Berger (1982), Technometrics 24:295. Piaggio et al. (2012), JAMA 308:2594 (non-inferiority).

    Examples
    --------
    >>> from metrics_py.quality.champion import PairedDifference
    >>> open_still = PairedDifference(0.80, 0.80, 0.0, -0.02, 0.02, 1.0, n=1000)
    >>> found = judge(open_still, margin=0.01, direction="higher_is_better")
    >>> found.outcome, found.more_rows
    ('cannot_tell', 7173)
    """
    guardrails, margins, directions = dict(guardrails or {}), dict(margins or {}), dict(directions or {})
    decided = promotion(
        primary,
        guardrails,
        margin=margin,
        direction=direction,
        guardrail_margins=margins,
        guardrail_directions=directions,
    ).criteria
    criteria = [_criterion(name, primary, margin, direction, decided["primary"], counted)]
    for each, found in guardrails.items():
        own = (margins.get(each, margin), directions.get(each, direction))
        criteria.append(_criterion(each, found, *own, decided[each], counted))
    return verdict_of(criteria)


def verdict_of(criteria: Sequence[Criterion]) -> EvaluationVerdict:
    """What all criteria say together.

    Parameters
    ----------
    criteria : sequence of Criterion
        The primary metric first.

    Returns
    -------
    EvaluationVerdict
        Inferior if any of them is; else open if any is; else as the first one.

    Examples
    --------
    >>> gain = PairedDifference(0.80, 0.81, 0.01, 0.002, 0.018, 0.01, n=5000)
    >>> verdict_of([Criterion("roc_auc", gain, 0.005, "higher_is_better", "superior", None, "better")]).outcome
    'superior'
    """
    worse = [c.name for c in criteria if c.outcome == "inferior"]
    still_open = [c for c in criteria if c.outcome == "cannot_tell"]
    if worse:
        return EvaluationVerdict(
            "inferior", tuple(criteria), None, f"worse by more than the margin: {', '.join(worse)}"
        )
    if still_open:
        needed = [c.more_rows for c in still_open]
        known = [n for n in needed if n is not None]
        more = max(known) if len(known) == len(needed) else None
        told = "; ".join(f"{c.name}: {c.reason}" for c in still_open[:3])
        rest = f"; and {len(still_open) - 3} more" if len(still_open) > 3 else ""
        return EvaluationVerdict("cannot_tell", tuple(criteria), more, f"{told}{rest}")
    first = criteria[0]
    return EvaluationVerdict(first.outcome, tuple(criteria), None, first.reason)


def _criterion(
    name: str, found: PairedDifference, margin: float, direction: Direction, state: str, counted: str
) -> Criterion:
    outcome: Outcome
    more, reason = None, ""
    match state:
        case "superior":
            outcome, reason = "superior", f"{name} is better than the champion's"
        case "non_inferior":
            outcome, reason = "non_inferior", f"{name} is not worse than the champion's by {margin:g} or more"
        case "worse":
            outcome, reason = "inferior", f"{name} is worse than the champion's by more than {margin:g}"
        case "insufficient_data":
            outcome, reason = "cannot_tell", found.reason or "not enough data"
        case _:
            outcome, more = "cannot_tell", more_rows_needed(found, margin, direction)
            reason = "its difference lies at the margin: no number of rows would tell"
            if more is not None:
                reason = f"{more:,} more {counted} needed, if the difference stays {found.difference:+.3g}"
    return Criterion(name, found, margin, direction, outcome, more, reason)


def more_rows_needed(found: PairedDifference, margin: float, direction: Direction) -> int | None:
    """Rows beyond those compared with which the difference, as it is, will be told from the margin.

    Parameters
    ----------
    found : PairedDifference
        With an interval.
    margin : float
        In units of the metric.
    direction : {"higher_is_better", "lower_is_better"}
        Of the metric.

    Returns
    -------
    int or None
        In 80 % of cases; None where no number of rows is known.

    Examples
    --------
    >>> more_rows_needed(PairedDifference(0.80, 0.80, 0.0, -0.02, 0.02, 1.0, n=1000), 0.01, "higher_is_better")
    7173
    """
    if found.difference is None or found.ci_low is None or found.ci_high is None or not found.n:
        return None
    gain = found.difference if direction == "higher_is_better" else -found.difference
    gap = abs(gain + margin)
    bound = float(ndtri(0.975))
    error = (found.ci_high - found.ci_low) / 2 / bound
    if not gap > 0 or error / gap > MOST_ROWS**0.5:
        return None
    needed = found.n * ((bound + float(ndtri(POWER))) * error / gap) ** 2
    return max(ceil(needed) - found.n, 1) if needed < MOST_ROWS else None

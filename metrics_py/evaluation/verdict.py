"""May a candidate take the champion's place? Superior, non-inferior, inferior, or how many more rows would tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from scipy.special import ndtri

from metrics_py.evaluation.agreement import units_needed, unseen_share
from metrics_py.quality.champion import Direction, PairedDifference, promotion
from metrics_py.wording import count

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
        what it is; None where no number of rows is known. Of different rows: the challenger's.
    reason : str
        One sentence for people.
    more_rows_champion : int or None
        Further labelled rows of the champion that are needed beside those of the challenger; None on the same rows.
    """

    name: str
    found: PairedDifference
    margin: float
    direction: Direction
    outcome: Outcome
    more_rows: int | None
    reason: str
    more_rows_champion: int | None = None


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
    more_rows_champion : int or None
        As of the criteria.
    """

    outcome: Outcome
    criteria: tuple[Criterion, ...]
    more_rows: int | None
    reason: str
    more_rows_champion: int | None = None

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
    a gap between the difference and the margin (1.96 for the bound, .84 for a power of 80 %). Where the models judged
    different rows, the variance is the sum of both sets': see `rows_of_sets`.

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
        of_champion = [c.more_rows_champion for c in still_open if c.more_rows_champion is not None]
        champion = max(of_champion) if of_champion and more is not None else None
        told = "; ".join(f"{c.name}: {c.reason}" for c in still_open[:3])
        rest = f"; and {len(still_open) - 3} more" if len(still_open) > 3 else ""
        return EvaluationVerdict("cannot_tell", tuple(criteria), more, f"{told}{rest}", champion)
    first = criteria[0]
    return EvaluationVerdict(first.outcome, tuple(criteria), None, first.reason)


def _criterion(
    name: str, found: PairedDifference, margin: float, direction: Direction, state: str, counted: str
) -> Criterion:
    outcome: Outcome
    more = champion = None
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
            outcome, reason = "cannot_tell", "its difference lies at the margin: no number of rows would tell"
            sets = rows_of_sets(found, margin, direction) if found.sets else None
            if sets is not None:
                champion, more = sets
                reason = f"{_of_sets(champion, more, counted)} needed, if the difference stays {found.difference:+.3g}"
            elif not found.sets:
                more = more_rows_needed(found, margin, direction)
            if more is not None and found.n_agreeing is not None:
                told = count(more, f"more {counted}")
                reason = f"the models agree on all {found.n:,} {counted}; {told} without a difference needed"
            elif more is not None and sets is None:
                reason = f"{count(more, f'more {counted}')} needed, if the difference stays {found.difference:+.3g}"
    return Criterion(name, found, margin, direction, outcome, more, reason, champion)


def _of_sets(champion: int, challenger: int, counted: str) -> str:
    """Which set needs how many more rows."""
    if not champion:
        return f"{count(challenger, f'more {counted}')} of the candidate"
    if not challenger:
        return f"{count(champion, f'more {counted}')} of the champion"
    return f"{count(challenger, f'more {counted}')} of the candidate and {champion:,} of the champion"


def more_rows_needed(found: PairedDifference, margin: float, direction: Direction) -> int | None:
    """Rows beyond those compared with which the difference, as it is, will be told from the margin.

    Parameters
    ----------
    found : PairedDifference
        With an interval; of the same rows, or a value that has a limit.
    margin : float
        In units of the metric.
    direction : {"higher_is_better", "lower_is_better"}
        Of the metric.

    Returns
    -------
    int or None
        In 80 % of cases; None where no number of rows is known. Where the models agree on all rows, so many more
        without a difference.

    Examples
    --------
    >>> more_rows_needed(PairedDifference(0.80, 0.80, 0.0, -0.02, 0.02, 1.0, n=1000), 0.01, "higher_is_better")
    7173
    """
    if found.difference is None or found.ci_low is None or found.ci_high is None or not found.n:
        return None
    if found.n_agreeing is not None:
        units = units_needed(margin * unseen_share(found.n_agreeing) / found.ci_high)
        return max(ceil(found.n * units / found.n_agreeing) - found.n, 1)
    gap, error = _gap_and_error(found, margin, direction)
    if not gap > 0 or error / gap > MOST_ROWS**0.5:
        return None
    needed = found.n * (error / gap) ** 2
    return max(ceil(needed) - found.n, 1) if needed < MOST_ROWS else None


def rows_of_sets(found: PairedDifference, margin: float, direction: Direction) -> tuple[int, int] | None:
    """Rows beyond those of two different sets with which their difference, as it is, will be told from the margin.

    Parameters
    ----------
    found : PairedDifference
        With an interval and its `sets`.
    margin : float
        In units of the metric.
    direction : {"higher_is_better", "lower_is_better"}
        Of the metric.

    Returns
    -------
    (int, int) or None
        Further rows of champion and challenger, in 80 % of cases, the fewest together; None where no number is known.

    Notes
    -----
    With n rows the variance of a set is ``s^2 / n``. Of all pairs of sizes with
    ``s_1^2 / n_1 + s_2^2 / n_2 = (gap / 2.8)^2`` those with ``n_1 : n_2 = s_1 : s_2`` are the fewest together (Neyman);
    where one set has more rows than that already, the other alone grows.

    References
    ----------
    Neyman (1934), JRSS 97:558 (allocation).

    Examples
    --------
    A champion that is known from many rows needs no more of them:

    >>> from metrics_py.quality.champion import RowSet
    >>> sets = RowSet(20000, 0.002), RowSet(500, 0.0126)
    >>> half = 1.96 * (0.002**2 + 0.0126**2) ** 0.5
    >>> open_still = PairedDifference(0.80, 0.80, 0.0, -half, half, 1.0, n=500, sets=sets)
    >>> rows_of_sets(open_still, 0.02, "higher_is_better")
    (0, 1191)
    """
    if found.difference is None or found.ci_low is None or found.ci_high is None or found.sets is None:
        return None
    gap, error = _gap_and_error(found, margin, direction)
    squares = [each.standard_error**2 for each in found.sets]
    if not gap > 0 or not sum(squares) > 0 or error / gap > MOST_ROWS**0.5:
        return None
    wanted = sum(squares) * (gap / error) ** 2
    spreads = [each.standard_error * each.n**0.5 for each in found.sets]
    rows = [spread * sum(spreads) / wanted for spread in spreads]
    for one, other in ((0, 1), (1, 0)):
        if rows[one] < found.sets[one].n:
            rows = [float(found.sets[one].n)] * 2
            rows[other] = spreads[other] ** 2 / (wanted - squares[one])
    more = [max(ceil(n) - each.n, 0) for n, each in zip(rows, found.sets, strict=True)]
    return (more[0], more[1]) if max(rows) < MOST_ROWS else None


def _gap_and_error(found: PairedDifference, margin: float, direction: Direction) -> tuple[float, float]:
    """Distance from the margin, and the one that is told in 80 % of cases with the rows there are."""
    assert found.difference is not None and found.ci_low is not None and found.ci_high is not None
    gain = found.difference if direction == "higher_is_better" else -found.difference
    bound = float(ndtri(0.975))
    return abs(gain + margin), (found.ci_high - found.ci_low) / 2 / bound * (bound + float(ndtri(POWER)))

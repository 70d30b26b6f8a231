"""Fixed limits that a candidate must keep whatever the champion does: they join the criteria of its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metrics_py.evaluation.verdict import Criterion, EvaluationVerdict, Outcome, more_rows_needed, verdict_of
from metrics_py.quality.champion import Direction, PairedDifference
from metrics_py.wording import count


@dataclass(frozen=True)
class Limit:
    """A value of the candidate and how far it may go.

    Attributes
    ----------
    name : str
        What it is.
    value, ci_low, ci_high : float or None
        With its two-sided 95 % interval.
    n : int
        Rows behind it.
    limit : float
        In units of the value.
    direction : {"lower_is_better", "higher_is_better"}
        The value must lie below the limit, or above it.
    champion : float or None
        That of the champion.
    reason : str or None
        Why there is no interval.
    """

    name: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    limit: float
    direction: Direction = "lower_is_better"
    champion: float | None = None
    reason: str | None = None


def with_limits(verdict: EvaluationVerdict, limits: Sequence[Limit]) -> EvaluationVerdict:
    """The verdict with further criteria.

    Parameters
    ----------
    verdict : EvaluationVerdict
        Of the comparison with the champion.
    limits : sequence of Limit
        They must hold, too.

    Returns
    -------
    EvaluationVerdict
        Each limit is a criterion: ``inferior`` where the whole interval lies beyond it, ``non_inferior`` where it lies
        within, else ``cannot_tell``.

    Notes
    -----
    All must hold at once, as in `metrics_py.evaluation.verdict.judge`: a candidate that is truly beyond one of them
    passes with a probability of at most 2.5 %.

    Examples
    --------
    >>> from metrics_py.evaluation.verdict import judge
    >>> gain = PairedDifference(0.80, 0.81, 0.01, 0.002, 0.018, 0.01, n=5000)
    >>> found = judge(gain, margin=0.005, direction="higher_is_better")
    >>> gap = Limit("gap", 0.15, 0.12, 0.18, 5000, limit=0.1)
    >>> found.outcome, with_limits(found, [gap]).outcome
    ('superior', 'inferior')
    """
    return verdict_of([*verdict.criteria, *map(_criterion, limits)]) if limits else verdict


def _criterion(limit: Limit) -> Criterion:
    outcome: Outcome = "cannot_tell"
    more, side = None, "below" if limit.direction == "lower_is_better" else "above"
    found = PairedDifference(
        limit.champion,
        limit.value,
        limit.value,
        limit.ci_low,
        limit.ci_high,
        None,
        limit.n,
        "insufficient_data" if limit.ci_low is None else "ok",
        limit.reason,
    )
    if limit.ci_low is None or limit.ci_high is None:
        reason = limit.reason or "not enough data"
    elif limit.ci_high < limit.limit if side == "below" else limit.ci_low > limit.limit:
        outcome, reason = "non_inferior", f"{limit.name} lies {side} {limit.limit:g}"
    elif limit.ci_low > limit.limit if side == "below" else limit.ci_high < limit.limit:
        outcome, reason = "inferior", f"{limit.name} does not lie {side} {limit.limit:g}"
        if limit.champion is not None:
            reason += f" (the champion's: {limit.champion:.3g})"
    else:
        more = more_rows_needed(found, limit.limit if side == "below" else -limit.limit, limit.direction)
        reason = f"it lies at its limit of {limit.limit:g}: no number of rows would tell"
        if more is not None:
            reason = f"{count(more, 'more labelled rows')} needed, if it stays {limit.value:.3g}"
    return Criterion(limit.name, found, limit.limit, limit.direction, outcome, more, reason)

"""Rows that a model does not answer: one that is silent where it would be wrong looks better than it is."""

from __future__ import annotations

from dataclasses import replace

from metrics_py.wording import percent
from sightline.evaluation.sets.rows import Compared
from sightline.evaluation.suite.findings import Finding, Section

MORE, STANDARD_ERRORS = 0.01, 4.0
"""Shares of unanswered rows that differ by more, and beyond chance: who answers what is part of the difference."""


def differs(silent: tuple[int, int], silent_new: tuple[int, int], by: float = MORE) -> bool:
    """Whether two models leave different shares of rows unanswered.

    Parameters
    ----------
    silent, silent_new : (int, int)
        Rows without an output, and all rows.
    by : float
        Difference that does not matter.
    """
    (few, n), (few_new, m) = silent, silent_new
    if not n or not m:
        return False
    pooled = (few + few_new) / (n + m)
    error = (pooled * (1 - pooled) * (1 / n + 1 / m)) ** 0.5
    return abs(few_new / m - few / n) > max(by, STANDARD_ERRORS * error)


def words(silent: tuple[int, int], silent_new: tuple[int, int]) -> str:
    """What is said where they do."""
    old, new = (percent(few / n) for few, n in (silent, silent_new))
    return (
        f"the champion leaves {old} of the labelled rows unanswered, the challenger {new}: "
        "which rows a model answers is part of the difference"
    )


def other_truth(compared: Compared) -> Section | None:
    """Labels of different rows that cannot be of one unit; None where they can."""
    if not compared.doubt:
        return None
    found = Finding(name="labels", n=len(compared.challenger), status="fail", reason=compared.doubt)
    return Section(key="labels", title="Labels of both sets", findings=(found,), doubts=(compared.doubt,))


def answers(compared: Compared) -> Section | None:
    """The share of rows without an output; None where both answer all."""
    old, new = compared.silent
    if not old[1] or not new[1] or old[0] + new[0] == 0:
        return None
    found = Finding(
        name="unanswered_rate",
        value=new[0] / new[1],
        champion=old[0] / old[1],
        n=new[1],
        method="share of labelled rows without any output",
        reason=f"{new[0]:,} of {new[1]:,} labelled rows have no output of the challenger, {old[0]:,} of the champion",
    )
    if not differs(old, new):
        return Section(key="answers", title="Rows without an answer", findings=(found,))
    doubt = words(old, new)
    failed = replace(found, status="fail", reason=doubt)
    return Section(key="answers", title="Rows without an answer", findings=(failed,), doubts=(doubt,))

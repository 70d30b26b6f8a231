"""What a section of the suite finds: a value with its interval, and whether it is as it should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from metrics_py.evaluation.limits import Limit, with_limits
from metrics_py.evaluation.verdict import EvaluationVerdict

Status = Literal["ok", "warn", "fail", "insufficient_data"]
RANK: dict[Status, int] = {"fail": 0, "warn": 1, "insufficient_data": 2, "ok": 3}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
        What is measured, by its name in the field.
    of : str
        Column, slice, class or file it is about; empty for the whole.
    value, ci_low, ci_high : float or None
        Of the candidate, with its 95 % interval.
    champion : float or None
        The champion's.
    n : int
        Rows behind it.
    method : str
        How interval and status come about.
    status : {"ok", "warn", "fail", "insufficient_data"}
    reason : str
        One sentence for people; always there but for ``ok``.
    parts : tuple of mapping
        What it is made of, such as the values of groups.
    """

    name: str
    of: str = ""
    value: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    champion: float | None = None
    n: int = 0
    method: str = ""
    status: Status = "ok"
    reason: str = ""
    parts: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Section:
    """Findings of one kind.

    Attributes
    ----------
    key, title : str
        Name in JSON, and for people.
    findings : tuple of Finding
        What matters most first.
    notes : tuple of str
        What could not be looked at and why, and how to read it.
    limits : tuple of Limit
        Limits that the monitor's file names: criteria of the verdict.
    doubts : tuple of str
        Facts for which the comparison with the champion means nothing: the verdict cannot be told.
    """

    key: str
    title: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        """The worst of the findings; without any there was not enough data."""
        found: list[Status] = [finding.status for finding in self.findings]
        if found and set(found) != {"insufficient_data"}:
            found = [status for status in found if status != "insufficient_data"]
        return found[int(np.argmin([RANK[status] for status in found]))] if found else "insufficient_data"


def judged(verdict: EvaluationVerdict, sections: tuple[Section, ...]) -> EvaluationVerdict:
    """The verdict with the limits that the monitor's file names, and in doubt where a fact makes it meaningless."""
    found = with_limits(verdict, [limit for section in sections for limit in section.limits])
    doubts = [doubt for section in sections for doubt in section.doubts]
    if not doubts or found.outcome == "inferior":
        return found
    return EvaluationVerdict("cannot_tell", found.criteria, None, "; ".join(doubts))

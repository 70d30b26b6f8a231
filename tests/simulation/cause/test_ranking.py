"""The known cause of an incident is ranked first, and where nothing changed none is found."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from sightline.alerts.causes.case import Cause
from sightline.alerts.causes.rank import rank
from tests.support.acceptance import check
from tests.support.causes import Kind, draw
from tests.support.measured import record

SECTION = "Causes"
MEMBERS = ("model_quality/calibration_bias", "model_quality/brier", "drift/@score/location")
WANTED: dict[Kind, tuple[str, str, str]] = {
    "segment": ("segment", "", "region=south"),
    "column": ("column", "a", ""),
    "missing": ("column", "a", ""),
    "feed": ("feed", "b", ""),
    "upstream": ("upstream", "", ""),
    "concept": ("concept", "", ""),
    "volume": ("volume", "", ""),
    "share": ("segment", "", "region=centre"),
}


def is_right(cause: Cause, kind: Kind) -> bool:
    """The kind, and the column or segment where it has one."""
    return (cause.kind, cause.column, cause.segment) == WANTED[kind]


def test_the_known_cause_is_ranked_first():
    known(5, seed=921)


@pytest.mark.full
def test_the_known_cause_is_ranked_first_in_full():
    known(60, seed=922)


def known(runs: int, seed: int) -> None:
    measured: dict[str, float] = {}
    for number, kind in enumerate(WANTED):
        wrong: Counter[str] = Counter()
        for run in range(runs):
            rng = np.random.default_rng([seed, number, run])
            found = rank(draw(rng, kind, opened=int(rng.integers(1, 6)), late=int(rng.integers(-1, 2))).case)
            if not is_right(found[0], kind):
                wrong[f"{found[0].kind} {found[0].column}{found[0].segment}"] += 1
        measured[kind] = 1 - wrong.total() / runs
        check(wrong.total(), runs, 0.2, (kind, dict(wrong)))
    record("known_causes", "the known cause is ranked first in 0.80 or more", measured, runs, SECTION)


def test_no_cause_is_found_where_nothing_changed():
    nothing(18, seed=923)


@pytest.mark.full
def test_no_cause_is_found_where_nothing_changed_in_full():
    nothing(180, seed=924)


def nothing(runs: int, seed: int) -> None:
    found: Counter[str] = Counter()
    for run in range(runs):
        rng = np.random.default_rng([seed, run])
        case = draw(rng, "none", MEMBERS[run % len(MEMBERS)], opened=int(rng.integers(1, 6))).case
        first = rank(case)[0]
        found[first.kind] += 1
    failures = runs - found["none"]
    measured = {kind: n / runs for kind, n in found.items()}
    record("no_cause", "of null data no cause is found in 0.88 or more", measured, runs, SECTION)
    check(failures, runs, 0.12, dict(found))

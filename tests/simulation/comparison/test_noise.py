"""`compare` on data without drift and at the boundary: how often is each verdict wrong?

Small and unequal samples are included.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from metrics_py import compare
from metrics_py.suite.checks import run_suite
from metrics_py.suite.draft import draft_suite
from tests.support import acceptance
from tests.support.measured import interval, record

SECTION = "Ad hoc comparison"
WINDOWS = 48
REFERENCES = [pytest.param(8, id="short"), pytest.param(60, id="full", marks=pytest.mark.full)]


def zipf(rng, n, moved=0.0):
    """50 categories; a share `moved` of the first one goes to the next five."""
    p = 1 / np.arange(1, 51)
    p /= p.sum()
    q = p.copy()
    q[0] *= 1 - moved
    q[1:6] *= 1 + moved * p[0] / p[1:6].sum()
    return rng.choice(50, n, p=q).astype(str)


def ints(rng, n, rate):
    return rng.binomial(20, rate, n)


def psi_of(a, b):
    return float(((b - a) * np.log(b / a)).sum())


# column -> (reference, without drift, at a true PSI of 0.1)
WORLDS = {
    "normal": (lambda r, n: r.normal(size=n), lambda r, n: r.normal(size=n), lambda r, n: r.normal(0.3165, 1, n)),
    "heavy tail": (
        lambda r, n: np.exp(5 * r.normal(size=n)),
        lambda r, n: np.exp(5 * r.normal(size=n)),
        lambda r, n: np.exp(5 * r.normal(0.3165, 1, n)),
    ),
    "50 categories": (zipf, zipf, lambda r, n: zipf(r, n, 0.4794)),
    "rare flag": (lambda r, n: r.random(n) < 0.02, lambda r, n: r.random(n) < 0.02, lambda r, n: r.random(n) < 0.08563),
}


@pytest.mark.parametrize("references", REFERENCES)
@pytest.mark.parametrize("world", WORLDS)
def test_wrong_verdicts_are_rare(world, references):
    runs = references * WINDOWS
    make, same, boundary = WORLDS[world]
    rng = np.random.default_rng([701, list(WORLDS).index(world)])
    rates = {}
    worst_drift = worst_stable = (0, runs)
    for n in (30, 60, 150, 200, 300, 2000):
        by = np.repeat(np.arange(WINDOWS), n).astype(str)
        for name, draw in (("no drift", same), ("PSI 0.1", boundary)):
            counts = {"drift": 0, "stable": 0}
            for _ in range(references):
                current = {"x": draw(rng, WINDOWS * n), "g": by}
                states = compare({"x": make(rng, 5000)}, current, by="g", metrics=["psi"]).frame["state"]
                for state in counts:
                    counts[state] += int((states == state).sum())
            rates[f"n={n}, {name}: drift"] = counts["drift"] / runs
            if name == "no drift":
                assert interval(counts["drift"], runs)[0] <= 0.005, rates
            else:
                rates[f"n={n}, {name}: stable"] = counts["stable"] / runs
                worst_drift = max(worst_drift, (counts["drift"], runs))
                worst_stable = max(worst_stable, (counts["stable"], runs))
    record(
        f"compare_verdicts_{world.replace(' ', '_')}",
        "no drift: at most 0.005; PSI 0.1: either at most 0.05",
        rates,
        runs,
        SECTION,
    )
    for hits, n_runs in (worst_drift, worst_stable):
        assert interval(hits, n_runs)[0] <= 0.05, rates


def test_twenty_columns_without_drift_are_left_alone():
    """2000 against 200 rows: other tools flag 5 to 13 of 20 such columns."""
    rng = np.random.default_rng(702)
    flagged = significant = 0
    for _ in range(60):

        def table(n):
            columns = {f"x{i}": rng.normal(size=n) for i in range(10)}
            return columns | {f"c{i}": rng.choice(list("abcdefghij"), n) for i in range(10)}

        result = compare(table(2000), table(200))
        flagged += len(result.drifted)
        significant += int((result.frame["q_value"] <= 0.05).any())
    record("compare_twenty_columns", "no column flagged", flagged / 60, 60, SECTION)
    assert flagged <= 2
    assert interval(significant, 60)[0] <= 0.06


@pytest.mark.parametrize("n", [100, 400, 3000])
def test_a_generated_suite_passes_fresh_data_of_the_same_kind(n):
    rng = np.random.default_rng(703)

    def table(rows):
        score = rng.random(rows)
        return pl.DataFrame(
            {
                "amount": np.where(rng.random(rows) < 0.05, np.nan, rng.lognormal(3, 1, rows)),
                "visits": ints(rng, rows, 0.2),
                "city": zipf(rng, rows),
                "flag": rng.random(rows) < 0.1,
                "late": pl.Series(rng.normal(size=rows)).set(pl.Series(rng.random(rows) < 0.1), None),
                "score": score,
                "label": (rng.random(rows) < score).astype(int),
            }
        )

    from metrics_py.quality.rows import Roles

    roles = Roles("binary_classification", "label", score="score")
    failures: dict[str, int] = {}
    runs = 40
    for _ in range(runs):
        reference = table(4000)
        result = run_suite(draft_suite(reference, roles), reference, table(n))
        bad = result.frame.filter(
            pl.col("status").is_in(["fail", "insufficient_data"]) & (pl.col("severity") == "error")
        )
        for check in set(bad["check"]):
            failures[check] = failures.get(check, 0) + 1
    record(
        f"generated_suite_{n}", "runs with a failed check at most 0.05", sum(failures.values()) / runs, runs, SECTION
    )
    assert sum(failures.values()) <= 3, failures


MOVES = {"3 % to 12 %": (0.03, 0.12), "10 % to 1 %": (0.10, 0.01), "97 % to 88 %": (0.97, 0.88)}


@pytest.mark.parametrize("size", [pytest.param(0.03, id="small"), pytest.param(1.0, id="full", marks=pytest.mark.full)])
def test_a_generated_suite_finds_a_flag_that_changes_its_rate(size):
    """Either way: what a flag means is unknown. A flag that keeps its rate is left alone."""
    promise, n = 0.05, 500
    runs = round(acceptance.repetitions(promise) * size)
    rng = np.random.default_rng(704)
    wrong = {}
    for name, (before, after) in MOVES.items():
        reference = pl.DataFrame({"flag": rng.random(4000) < before})
        suite = draft_suite(reference)
        rates = [check for check in suite.checks if check.metric == "minority_rate"]
        assert [check.columns for check in rates] == [("flag",)]
        only = replace(suite, checks=tuple(rates))
        for rate, is_moved in ((after, True), (before, False)):
            failed = 0
            for _ in range(runs):
                result = run_suite(only, reference, pl.DataFrame({"flag": rng.random(n) < rate}))
                failed += result.frame["status"][0] == "fail"
            wrong[f"{name}: {'missed' if is_moved else 'failed without a change'}"] = (
                runs - failed if is_moved else failed
            )
    record(
        "generated_suite_flag",
        f"500 rows against 4,000: a change is missed, and no change fails, in at most {promise}",
        {case: n_wrong / runs for case, n_wrong in wrong.items()},
        runs,
        SECTION,
    )
    for case, n_wrong in wrong.items():
        acceptance.check(n_wrong, runs, promise, case)

"""How often an ordinary candidate is warned of: slices, calibration and fairness of models without any weakness."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.special import expit, logit

from sightline.evaluation.sets.rows import Candidate, Compared
from sightline.evaluation.suite.build import suite_of
from sightline.evaluation.suite.findings import Section
from sightline.spec.model import MonitorSpec
from tests.support.measured import interval, record

SECTION = "Sections of the evaluation"
SPEC = MonitorSpec.model_validate(
    {
        "model": {"id": "m", "task": "binary_classification"},
        "columns": {
            "score": "p",
            "features": {"a": "numeric", "b": "numeric", "c": "categorical", "d": "categorical", "e": "boolean"},
            "segments": ["g"],
        },
        "labels": {"column": "y"},
        "reference": {"path": "r.parquet"},
        "fairness": {"columns": ["g"]},
    }
)


def compared(rng: np.random.Generator, n: int, lost: float = 0.0) -> Compared:
    """Two models of the same rows that are as good as each other, true to their scores; `lost`: worse where c = x."""
    frame = pl.DataFrame(
        {
            "f_a": rng.normal(size=n),
            "f_b": rng.gamma(2, 2, n),
            "f_c": rng.choice(["x", "y", "z"], n, p=[0.2, 0.3, 0.5]),
            "f_d": rng.choice([f"v{k}" for k in range(8)], n),
            "f_e": rng.random(n) < 0.3,
            "g_g": rng.choice(["m", "f"], n),
            "bucket": rng.integers(0, 64, n).astype(np.uint8),
        }
    )
    z = 0.8 * frame["f_a"].to_numpy() + 0.2 * frame["f_b"].to_numpy() - 1.2 + 0.6 * (frame["f_c"] == "x").to_numpy()
    y = rng.random(n) < expit(z)
    scores = [expit(z + rng.normal(0, 0.3, n)) for _ in range(2)]
    bad = (frame["f_c"] == "x").to_numpy()
    scores[1] = np.where(bad, expit(logit(scores[1]) + lost * rng.normal(size=n)), scores[1])
    base = frame.with_columns(
        predicted_class=pl.lit(None, pl.String),
        prediction=pl.lit(None, pl.Float64),
        label_class=pl.Series(np.where(y, "1", "0")),
        label_value=pl.Series(y.astype(float)),
    )
    old, new = (base.with_columns(score=pl.Series(each)) for each in scores)
    return Compared("paired", old, new, "the file")


def sections(rows: Compared) -> tuple[Section, ...]:
    candidate = Candidate(rows.challenger, 0, 0, 0, has_ids=False, has_entities=True)
    return suite_of(SPEC, rows, candidate)


@pytest.mark.parametrize("runs", [30, pytest.param(300, marks=pytest.mark.full)])
def test_an_ordinary_candidate_is_seldom_warned_of(runs):
    """Each section by itself: slices are at 10 % by Benjamini-Hochberg, gaps at 5 % by Holm."""
    rng = np.random.default_rng(51)
    warned: dict[str, int] = {"slices": 0, "calibration": 0, "fairness": 0}
    for _ in range(runs):
        for section in sections(compared(rng, 4000)):
            if section.key in warned:
                warned[section.key] += section.status in ("warn", "fail")
    rates = {name: count / runs for name, count in warned.items()}
    promise = "an equal candidate without a weakness is warned of in at most 0.1 by each section"
    record("evaluation-sections-warn", promise, rates, runs, SECTION)
    for name, count in warned.items():
        assert interval(count, runs)[0] <= 0.1, (name, rates)


@pytest.mark.parametrize("runs", [20, pytest.param(200, marks=pytest.mark.full)])
def test_a_slice_in_which_the_candidate_loses_is_found(runs):
    rng = np.random.default_rng(52)
    found = 0
    for _ in range(runs):
        [section] = [each for each in sections(compared(rng, 4000, lost=1.5)) if each.key == "slices"]
        told = [each.of for each in section.findings if each.status == "warn"]
        found += any("c = x" in each for each in told)
    promise = "a fifth of 4,000 rows in which the candidate's scores are blurred is named in at least 0.8"
    record("evaluation-slice-found", promise, {"named": found / runs}, runs, SECTION)
    assert interval(found, runs)[1] >= 0.8, found / runs

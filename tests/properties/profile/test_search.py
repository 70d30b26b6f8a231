"""Counting by sorted blocks finds what a search for each number finds, for any cuts and any numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_py.profile.search import BLOCK_ROWS, locate, tally

FINITE = st.floats(allow_nan=False, allow_infinity=False)
AWKWARD = st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 1.0, -1.0, np.finfo(float).max, -np.finfo(float).max, 2.0**969])
PLACES = FINITE | AWKWARD | st.integers(-50, 50).map(float)


def searched(cuts, numbers):
    return np.where(np.isfinite(numbers), np.searchsorted(cuts, numbers), len(cuts))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(places=st.lists(PLACES, max_size=40), others=st.lists(PLACES, max_size=40), is_open=st.booleans())
def test_counting_agrees_with_a_search_for_each(places, others, is_open):
    cuts = np.append(np.unique(np.array(places, dtype=float)), np.inf)
    if is_open:
        cuts = np.append(-np.inf, cuts)
    with np.errstate(over="ignore"):
        near = [np.nextafter(cuts, -np.inf), cuts, np.nextafter(cuts, np.inf), np.array(others), -cuts]
    numbers = np.concatenate([*near, [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0]])
    expected = searched(cuts, numbers)
    assert (locate(cuts, numbers) == expected).all()
    assert (tally(cuts, numbers) == np.bincount(expected, minlength=len(cuts) + 1)).all()


@pytest.mark.parametrize("rows", [0, 1, BLOCK_ROWS - 1, BLOCK_ROWS, 2 * BLOCK_ROWS + 7])
@pytest.mark.parametrize("n_cuts", [2, 33, 40_000])
def test_blocks_join_to_the_whole(rows, n_cuts):
    rng = np.random.default_rng(rows + n_cuts)
    cuts = np.append(np.unique(rng.normal(1e6, 1, n_cuts)), np.inf)
    numbers = rng.normal(1e6, 1, rows)
    numbers[::7] = np.nan
    expected = searched(cuts, numbers)
    assert (locate(cuts, numbers) == expected).all()
    assert (tally(cuts, numbers) == np.bincount(expected, minlength=len(cuts) + 1)).all()

"""What stands in for functions of ``scipy.stats``, which is slow to import, equals them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import bdtrc, stdtrit

from metrics_py.scipy_functions import rankdata


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_midranks(n: int):
    values = np.random.default_rng(711).integers(0, 40, n).astype(float)
    np.testing.assert_array_equal(rankdata(values), stats.rankdata(values))


def test_quantiles_of_t_and_tails_of_binomials():
    degrees = np.array([1.0, 2.0, 13.0, 400.0])
    np.testing.assert_allclose(stdtrit(degrees, 0.9973), stats.t.ppf(0.9973, degrees), rtol=1e-12)
    misses, windows = np.array([0, 1, 3, 8, 5]), np.array([0, 8, 8, 8, 5])
    np.testing.assert_allclose(bdtrc(misses - 1, windows, 0.05), stats.binom.sf(misses - 1, windows, 0.05), atol=1e-15)

"""How many repetitions a simulation needs, and how many failures it bears, so that it can fail.

A promise "at most p" is tested by counting failures: it is kept when at most `most` of `n` repetitions fail. `most` is
the smallest number that a rate of exactly p exceeds with a probability of at most `LEVEL`; `n` is the smallest number
for which a rate of 1.3 times p exceeds it with a probability of at least 0.9. A run of fewer repetitions (the tenth in
`make test`) has the same level and finds only larger faults: `found_rate` says which.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.stats import binom

LEVEL, FACTOR, POWER = 0.01, 1.3, 0.9


def most(n: int, promise: float) -> int:
    """Most failures of n repetitions with which the promise counts as kept."""
    return int(binom.isf(LEVEL, n, promise))


@cache
def repetitions(promise: float, factor: float = FACTOR) -> int:
    """Fewest repetitions in which a rate of `factor` times the promise fails with a probability of 0.9.

    The power goes up and down with n, because failures are whole numbers: from this n on it stays above.
    """
    if not 0 < promise < factor * promise < 1:
        raise ValueError(f"promise={promise} and factor={factor} must leave the rate below 1 and above the promise")
    width = (factor - 1) * promise
    rough = (
        2.33 * np.sqrt(promise * (1 - promise)) + 1.29 * np.sqrt(factor * promise * (1 - factor * promise))
    ) / width
    candidates = np.arange(max(int(rough**2 / 2), 2), int(rough**2 * 2) + 50)
    cut = binom.isf(LEVEL, candidates, promise)
    weak = binom.sf(cut, candidates, factor * promise) < POWER
    return int(candidates[np.flatnonzero(weak)[-1] + 1])


def found_rate(n: int, promise: float) -> float:
    """Rate that n repetitions find with a probability of 0.9."""
    rates = np.linspace(promise, 1, 20_001)
    return float(rates[np.argmax(binom.sf(most(n, promise), n, rates) >= POWER)])


def check(failures: int, n: int, promise: float, case: object = "") -> None:
    """Fail the test where more repetitions failed than the promise bears."""
    bearable = most(n, promise)
    assert failures <= bearable, (
        f"{case}: {failures} of {n} failed ({failures / n:.4f}), at most {bearable} are borne by a rate of {promise}"
    )

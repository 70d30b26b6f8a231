"""Sums of texts as they would be had other texts come in the place of some: what a rehearsal puts into them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metrics_py.multivariate.window_sums import Sums


def in_unknown_words(sums: Sums, k: int) -> dict[str, NDArray[np.float64]]:
    """Sums of a window in which k of its texts are replaced by texts of which the reference knows no word.

    Parameters
    ----------
    sums : mapping of str to ndarray
        As of `metrics_py.text.window_texts.WordModel.window`.
    k : int
        Texts, at most all with words of letters.

    Returns
    -------
    dict of str to ndarray
        Whichever they are: what k texts of the usual kind add is taken away. Copies stay as they are.

    Examples
    --------
    >>> names = ("n_spelled", "n_unknown", "unknown_squares")
    >>> sums = {name: np.array(x) for name, x in zip(names, (10.0, 1.0, 0.5))} | {"present": np.array([5.0, 10.0])}
    >>> found = in_unknown_words(sums, 5)
    >>> float(found["n_unknown"]), float(found["unknown_squares"]), found["present"].tolist()
    (5.5, 5.25, [2.5, 5.0])
    """
    left = 1 - k / max(float(sums["n_spelled"]), 1.0)
    found = dict(sums)
    found["present"] = sums["present"] * left
    for name in ("n_unknown", "unknown_squares"):
        if name in sums:
            found[name] = sums[name] * left + k
    return found


def sent_again(sums: Sums, k: int) -> dict[str, NDArray[np.float64]]:
    """Sums of a window in which k of its texts are replaced by copies of others of it.

    Parameters
    ----------
    sums : mapping of str to ndarray
        As of `metrics_py.text.window_texts.WordModel.window`.
    k : int
        Texts, at most all among which copies are looked for.

    Returns
    -------
    dict of str to ndarray
        Words stay as they are.
    """
    n = max(float(sums["n_looked"]), 1.0)
    found = dict(sums)
    found["n_copies"] = sums["n_copies"] * (1 - k / n) + k
    found["n_near"] = sums["n_near"] * (1 - k / n)
    return found

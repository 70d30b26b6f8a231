"""The words that moved in a window, where days differ: tests of texts, widened by how the reference's days scatter.

All write about the same thing on one day, so shares of texts scatter more from day to day than texts taken as
independent would. How much more is estimated for each word from the windows of the reference; a few windows tell that
badly for one word, so each word's estimate is drawn towards that of all (a moderated variance).

References
----------
Smyth (2004), Statistical Applications in Genetics and Molecular Biology 3:3, sections 4 and 6.2 (moderated variances).
Anscombe (1948), Biometrika 35:246 (arcsine of a binomial share). Benjamini & Hochberg (1995), JRSS B 57:289.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.multiple_testing import benjamini_hochberg
from metrics_py.scipy_functions import digamma, t_tails, trigamma
from metrics_py.text.words import MIN_TEXTS, DocumentFrequencies, compared_words

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MIN_DAYS = 5
"""Windows of the reference from which on they say how days differ."""
MIN_DAY_TEXTS = 30
"""Windows with fewer texts say nothing of it."""
MIN_EXPECTED = 3.0
"""Words in fewer texts of a window on average do not tell how much words in general scatter."""
MOST_DF = 1e6


@dataclass(frozen=True, eq=False)
class DayScatter:
    """How much more shares of texts differ between days than texts alone explain.

    Attributes
    ----------
    factor : ndarray, shape (w,)
        Of each word: its variance between windows over that of independent texts, moderated; at least 1.
    spread : float
        Variance between days of the log-odds of a usual word.
    degrees_of_freedom : float
        Of the factors; at most a million, where all words scatter alike.
    n_texts : float
        Texts of a usual window of the reference.
    low, high : ndarray, shape (w,)
        Smallest and largest share of texts with each word in a window of the reference.
    """

    factor: FloatArray
    spread: float
    degrees_of_freedom: float
    n_texts: float
    low: FloatArray
    high: FloatArray

    def at(self, factor: FloatArray, n_texts: int) -> FloatArray:
        """Factors of a window of another size: what a day adds does not fall with its texts.

        Parameters
        ----------
        factor : ndarray, shape (w,)
            Of windows of the usual size, one per word, 1 or more.
        n_texts : int
            Texts of the window.

        Returns
        -------
        ndarray, shape (w,)
            Of this window.
        """
        return 1 + (factor - 1) * n_texts / self.n_texts


def day_scatter(counts: IntArray, n_texts: IntArray) -> DayScatter | None:
    """How much more the shares of words differ between windows than texts alone explain.

    Parameters
    ----------
    counts : ndarray of int64, shape (K, w)
        Texts of each window with each word.
    n_texts : ndarray of int64, shape (K,)
        Texts of each window.

    Returns
    -------
    DayScatter or None
        None with fewer than `MIN_DAYS` windows of `MIN_DAY_TEXTS` texts.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> found = day_scatter(rng.binomial(500, 0.1, (20, 300)), np.full(20, 500))
    >>> bool(found.factor.max() < 1.2), round(found.spread, 2)
    (True, 0.0)
    """
    kept = n_texts >= MIN_DAY_TEXTS
    counts, n_texts = counts[kept], n_texts[kept]
    k = len(n_texts)
    if k < MIN_DAYS:
        return None
    size = n_texts[:, None].astype(float)
    angle = 2 * np.arcsin(np.sqrt((counts + 0.375) / (size + 0.75)))  # variance 1 / n of independent texts
    weight = size / size.mean()
    middle = (weight * angle).sum(axis=0) / weight.sum()
    squares = (size * (angle - middle) ** 2).sum(axis=0) / (k - 1)
    share = counts.sum(axis=0) / size.sum()
    information = size.mean() * share * (1 - share)  # what a day adds to the log-odds counts for so much
    telling = information >= MIN_EXPECTED
    held = information[telling]
    spread = max(float(((squares[telling] - 1) * held).sum() / (held**2).sum()), 0.0) if telling.any() else 0.0
    trend = 1 + information * spread
    level, extra = _prior((squares / trend)[telling], k - 1)
    prior = trend * max(level, 1.0)
    pooled = (extra * prior + (k - 1) * squares) / (extra + k - 1) if np.isfinite(extra) else prior
    limits = (counts / size).min(axis=0), (counts / size).max(axis=0)
    factor = np.maximum(pooled, 1.0)
    return DayScatter(factor, spread, float(min(extra + k - 1, MOST_DF)), float(size.mean()), *limits)


def _prior(squares: FloatArray, df: int) -> tuple[float, float]:
    """Location and degrees of freedom of the inverse chi-square law that variances of words are drawn from."""
    known = squares[squares > 0]
    if len(known) < MIN_DAYS:
        return 1.0, float(df)
    half = np.array([df / 2])
    logs = np.log(known) - digamma(half)[0] + np.log(df / 2)
    spread = float(logs.var(ddof=1) - trigamma(half)[0])
    if spread <= 0:
        return float(np.exp(logs.mean())), np.inf
    extra = 2 * _trigamma_inverse(spread)
    return float(np.exp(logs.mean() + digamma(np.array([extra / 2]))[0] - np.log(extra / 2))), extra


def _trigamma_inverse(y: float) -> float:
    """The x whose trigamma is y, by halving: trigamma falls from infinity to 0."""
    low, high = 1e-4, 1e8
    for _ in range(100):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if trigamma(np.array([middle]))[0] > y else (low, middle)
    return float(np.sqrt(low * high))


def day_words(
    reference: DocumentFrequencies,
    current: DocumentFrequencies,
    scatter: DayScatter | None,
    words: pl.Series,
    *,
    false_discovery_rate: float = 0.1,
    min_texts: int = MIN_TEXTS,
) -> pl.DataFrame:
    """Words of a window against the reference's, with a p-value that allows for the day.

    Parameters
    ----------
    reference, current : DocumentFrequencies
        Of either side.
    scatter : DayScatter or None
        Of the reference's windows; None: texts are taken as independent.
    words : polars.Series of String, shape (w,)
        The words of `DayScatter.factor`.
    false_discovery_rate : float, default 0.1
        Share of false words among those told that is expected at most (Benjamini and Hochberg).
    min_texts : int, default 30
        Words in fewer texts of both together are not tested.

    Returns
    -------
    polars.DataFrame
        The columns of `metrics_py.text.words.moved_words` and ``is_moved``, of every word that was tested; the largest
        z first.

    Notes
    -----
    The p-value is the larger one of two: that of texts (two proportions with a common variance, Fisher's where few are
    expected), and Student's of the same z over the root of the word's `DayScatter.factor`. A word whose share lies
    within those of the reference's windows has not moved, whatever its p-value.
    """
    found = compared_words(reference, current, min_texts=min_texts)
    is_within = np.zeros(found.height, dtype=np.bool_)
    if scatter is not None and not found.is_empty():
        columns = {name: pl.Series(getattr(scatter, name)) for name in ("factor", "low", "high")}
        known = found.select("word").join(
            pl.DataFrame({"word": words, **columns}), on="word", how="left", maintain_order="left"
        )
        share = found["share_current"]
        is_within = ((known["low"] <= share) & (known["high"] >= share)).fill_null(value=False).to_numpy()
        usual = 1 + scatter.n_texts * (share * (1 - share)).to_numpy() * scatter.spread
        own = known["factor"].fill_null(float("nan")).to_numpy()
        factor = scatter.at(np.where(np.isnan(own), usual, own), current.n_units)
        found = _widened(found, factor, scatter.degrees_of_freedom)
    moved = found.with_columns(is_moved=(pl.col("q_value") <= false_discovery_rate) & ~pl.Series(is_within))
    return moved.sort([pl.col("z").abs(), pl.col("word")], descending=[True, False])


def _widened(found: pl.DataFrame, factor: FloatArray, df: float) -> pl.DataFrame:
    """Intervals and p-values of words whose variance is so many times as large as that of independent texts."""
    by_day = np.minimum(2 * t_tails(np.abs(found["z"].to_numpy()) / np.sqrt(factor), df), 1.0)
    p_values = np.maximum(found["p_value"].to_numpy(), by_day)
    half = (found["ci_high"] - found["ci_low"]).to_numpy() / 2 * np.sqrt(factor)
    middle = (found["ci_high"] + found["ci_low"]).to_numpy() / 2
    return found.with_columns(
        p_value=pl.Series(p_values),
        q_value=pl.Series(benjamini_hochberg(p_values)),
        ci_low=pl.Series(np.maximum(middle - half, -1.0)),
        ci_high=pl.Series(np.minimum(middle + half, 1.0)),
    )

"""What `compare` says of all texts of a column together: unknown words, and copies.

The numbers are those of the daily check (`metrics_py.text.window_texts`). What is usual is asked of the reference
itself: each of its consecutive parts is compared with the others, as a day of a reference is with its other days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from metrics_py.drift.methods import RATE_TOLERANCE
from metrics_py.multivariate.gauge import variance_of_shares
from metrics_py.results import Estimate
from metrics_py.text.copies import Copies, Fingerprints, copies, joined
from metrics_py.text.window_texts import MIN_REFERENCE, MOST_COPIES, RATES, WordModel, fit_texts
from metrics_py.text.word_counts import read_texts
from metrics_py.wording import percent

FloatArray = NDArray[np.float64]
Row = dict[str, Any]
PARTS = 10
"""Consecutive parts of the reference; how much they differ says how certain its mean is, whatever the order of rows."""
LAW_SAMPLE = 100
Z = float(ndtri(0.975))
T = float(stdtrit(PARTS - 1, 0.975))
TOO_MANY = f"copies are looked for among at most {MOST_COPIES:,} texts: compare fewer rows"
OVERLAP = "the tables overlap, or texts came twice: no verdict; bound it in a suite where neither may be"
OF_AN_ENTITY = "texts of one entity resemble each other: no interval, and no verdict"
PHRASES = {
    "unknown_word_share": "{now} of the words of a text are unknown, {usual} are usual",
    "duplicate_text_rate": "{now} repeat an earlier text, {usual} of as many texts of the reference",
    "near_duplicate_text_rate": "{now} nearly repeat another text, {usual} of as many texts of the reference",
    "reference_copy_rate": "{now} of the texts repeat one of the reference, {usual} are usual",
}


@dataclass(frozen=True)
class TextRate:
    """A rate of the current texts, and how far it is from what is usual for the reference.

    Attributes
    ----------
    metric : str
        One of `metrics_py.text.window_texts.RATES`.
    value, half : float
        Of the current texts; half of its 95 % interval.
    usual, usual_half : float
        Of the reference; half of its 95 % interval.
    now : float
        What is compared with it: `value`, for copies the rate among as many texts as there are on the other side.
    ci_low, ci_high : float
        95 % interval of ``now - usual``.
    n_reference, n_current : int
        Texts behind it.
    reason : str
        Why there is no value.
    """

    metric: str
    value: float
    half: float
    usual: float
    usual_half: float
    now: float
    ci_low: float
    ci_high: float
    n_reference: int
    n_current: int
    reason: str = ""

    def estimate(self, *, of_reference: bool = False) -> Estimate:
        """The value, or what is usual for the reference, with its interval within 0 and 1.

        Parameters
        ----------
        of_reference : bool, default False
            What is usual.

        Returns
        -------
        Estimate
            Without a value where there is a reason.
        """
        value, half, n = self.value, self.half, self.n_current
        if of_reference:
            value, half, n = self.usual, self.usual_half, self.n_reference
        if self.reason:
            return Estimate(None, None, None, n, "insufficient_data", self.reason)
        return Estimate(value, max(value - half, 0.0), min(value + half, 1.0), n)


def text_rates(old: pl.Series, new: pl.Series, min_rows: int) -> list[TextRate] | str:
    """Unknown words and copies of a column of texts, against the reference's.

    Parameters
    ----------
    old, new : polars.Series of String
        Texts of the reference and current ones, in the order of their rows.
    min_rows : int
        Fewer texts with words on either side: none.

    Returns
    -------
    list of TextRate, or str
        Those of `RATES`; or why there are none.

    Notes
    -----
    The share of unknown words is a mean over texts, with its sample variance; that of the reference's parts is as
    uncertain as they differ. The rate of copies of n independent texts has at most the variance of the share of texts
    that are in any group of copies (the jackknife's, which is no smaller than the true one), and that share is at most
    twice the rate. It grows with the number of texts if copies come about by chance, and does not if they are sent
    twice; which of both, no table tells. So the larger side is looked at as a whole and in consecutive parts of the
    smaller one's size, and the interval reaches over both.

    References
    ----------
    Efron & Stein (1981), Annals of Statistics 9:586 (the jackknife's variance is biased upwards).
    """
    before, after = (_thinned(side) for side in (old, new))
    edges = np.linspace(0, len(before), PARTS + 1).astype(int).tolist()
    read = [read_texts(before[a:b]) for a, b in pairwise(edges)]
    least, m = max(min_rows, MIN_REFERENCE), sum(counts.n for counts, _ in read)
    if m < least:
        return f"{m} reference texts with words, {least} needed"
    keys = [str(k) for k in range(PARTS)]
    model = fit_texts(keys, [counts for counts, _ in read], [marks for _, marks in read], before.head(LAW_SAMPLE))
    counts, marks = read_texts(after, model.vocabulary.knows)
    if counts.n < least:
        return f"{counts.n} current texts with words, {least} needed"
    now = {name: float(total) for name, total in model.window(counts, marks).items() if name != "present"}
    whole = joined([part for _, part in read])
    cut = "" if len(old) == len(before) and len(new) == len(after) else TOO_MANY
    alike = [rate_of_copies(name, whole, marks, cut) for name in RATES[1:3]]
    return [_of_words(model, now), *alike, _of_known(model, now)]


def _thinned(texts: pl.Series) -> pl.Series:
    """At most `MOST_COPIES` texts, in their order."""
    held = texts.drop_nulls().cast(pl.String)
    if len(held) <= MOST_COPIES:
        return held
    return held.gather(np.linspace(0, len(held) - 1, MOST_COPIES).astype(np.int64))


def _of_words(model: WordModel, now: dict[str, float]) -> TextRate:
    n = max(now["n_spelled"], 1.0)
    sums = (now["n_unknown"], now["unknown_squares"], now["word_steps"] / n, n)
    variance = float(variance_of_shares(*(np.array(each) for each in sums)))
    value, half = now["n_unknown"] / n, Z * variance**0.5 / n
    return _beside_parts(model, RATES[0], value, half, ("n_unknown", "n_spelled"), now)


def _of_known(model: WordModel, now: dict[str, float]) -> TextRate:
    n = max(now["n_looked"], 1.0)
    value = now["n_repeated"] / n
    return _beside_parts(model, RATES[3], value, _half(value, n), ("n_repeated", "n_looked"), now)


def _beside_parts(
    model: WordModel, metric: str, value: float, half: float, sums: tuple[str, str], now: dict[str, float]
) -> TextRate:
    """A mean beside those of the reference's parts, each compared with the others."""
    events, of = (model.sums.windows[name] for name in sums)
    usual = float(events.sum() / max(float(of.sum()), 1.0))
    shares = (events / np.maximum(of, 1))[of > 0]
    reach = T * float(shares.std(ddof=1)) / len(shares) ** 0.5 if len(shares) > 1 else 0.0
    both = float(np.hypot(half, reach))
    away = value - usual
    m, n = int(of.sum()), int(now[sums[1]])
    return TextRate(metric, value, half, usual, reach, value, away - both, away + both, m, n)


def _half(rate: float, n: float) -> float:
    """Half of the interval of a share of independent texts; two more with and two more without (Agresti and Coull)."""
    p = (rate * n + 2) / (n + 4)
    return Z * float(np.sqrt(p * (1 - p) / n))


def rate_of_copies(metric: str, old: Fingerprints, new: Fingerprints, cut: str = "") -> TextRate:
    """Rate of copies among texts, beside that of the reference.

    Parameters
    ----------
    metric : str
        ``duplicate_text_rate`` or ``near_duplicate_text_rate``.
    old, new : Fingerprints
        Of the texts of the reference and of current ones, at least one of each, in the order of their rows.
    cut : str, optional
        Why a draw was taken of the texts, which hides copies: there is no rate.

    Returns
    -------
    TextRate
        As `text_rates` says.
    """
    m, n = len(old), len(new)
    if cut:
        nothing = float("nan")
        return TextRate(metric, nothing, nothing, nothing, nothing, nothing, nothing, nothing, m, n, cut)
    size = min(m, n)
    sides = [_shares(side, size, metric == RATES[1]) for side in (old, new)]
    halves = [_half(min(2 * max(side), 0.5), len(marks)) for side, marks in zip(sides, (old, new), strict=True)]
    both = float(np.hypot(halves[0], halves[1]))
    (usual, usual_whole), (now, whole) = sides
    low = min(now, whole) - max(usual, usual_whole) - both
    high = max(now, whole) - min(usual, usual_whole) + both
    return TextRate(metric, whole, halves[1], usual, halves[0], now, low, high, m, n)


def _shares(marks: Fingerprints, size: int, is_exact: bool) -> tuple[float, float]:
    """Share of copies in consecutive parts of some size, and among all."""

    def share(found: Sequence[Copies]) -> float:
        events = sum(each.n_copies if is_exact else each.n_near for each in found)
        return events / max(sum(each.n for each in found), 1)

    whole = share([copies(marks)])
    if len(marks) < 2 * size:
        return whole, whole
    parts = [copies(marks[np.arange(k, k + size)]) for k in range(0, len(marks) - size + 1, size)]
    return share(parts), whole


def text_rows(name: str, old: pl.Series, new: pl.Series, min_rows: int, *, has_entity: bool = False) -> list[Row]:
    """Result rows of one text column beside those of its lengths and descriptors.

    Parameters
    ----------
    name : str
        Of the column.
    old, new : polars.Series of String
        Texts of the reference and current ones.
    min_rows : int
        Fewer texts with words on either side: insufficient_data.
    has_entity : bool, default False
        Whether texts depend on each other.

    Returns
    -------
    list of dict
        Of `metrics_py.text.window_texts.RATES`.
    """
    base: Row = {"column": name, "kind": "text", "segment": "all"}
    rates = text_rates(old, new, min_rows)
    if isinstance(rates, str):
        sizes = {"n_reference": len(old) - old.null_count(), "n_current": len(new) - new.null_count()}
        return [base | sizes | {"metric": RATES[0], "state": "insufficient_data", "reason": rates}]
    return [base | _row(rate, has_entity) for rate in rates]


def _row(rate: TextRate, has_entity: bool) -> Row:
    row: Row = {"metric": rate.metric, "n_reference": rate.n_reference, "n_current": rate.n_current}
    if rate.reason:
        return row | {"state": "insufficient_data", "reason": rate.reason}
    low, high = rate.ci_low, rate.ci_high
    is_moved = (low > 0 or high < 0) and not has_entity
    words = PHRASES[rate.metric].format(now=percent(rate.now), usual=percent(rate.usual))
    row |= {"value": rate.value, "effect": rate.now - rate.usual}
    row["direction"] = words if is_moved or has_entity else "no visible change"
    if has_entity:
        return row | {"reason": OF_AN_ENTITY}
    if rate.metric == RATES[3] and low > RATE_TOLERANCE:
        return row | {"ci_low": low, "ci_high": high, "reason": OVERLAP}
    is_far = low > RATE_TOLERANCE or high < -RATE_TOLERANCE
    state = "drift" if is_far else "stable" if low > -RATE_TOLERANCE and high < RATE_TOLERANCE else "unclear"
    return row | {"ci_low": low, "ci_high": high, "tolerance": RATE_TOLERANCE, "state": state}

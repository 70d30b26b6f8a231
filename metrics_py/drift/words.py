"""What changed in a column, in words a person understands: direction, amount and where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from metrics_py.profile.column_profile import BinKind, ColumnProfile
from metrics_py.wording import deviations, numbers, percent

FloatArray = NDArray[np.float64]
VISIBLE_Z = 3.0
VISIBLE_P = 0.0027
MIN_SD = 0.05
MIN_SHARE = 0.005
MIN_SPREAD = 0.05
MIN_BEYOND = 0.05
MAX_CATEGORIES = 3


def describe_shift(
    profile: ColumnProfile, counts: ArrayLike, *, rates_only: bool = False, shows_values: bool = True
) -> str:
    """Describe how one window differs from the reference.

    Only what stands out from sampling noise and is large enough to see is said; the largest changes come first.

    Parameters
    ----------
    profile : ColumnProfile
        Frozen reference.
    counts : array_like of int, shape (K,)
        Rows per bin of the window.
    rates_only : bool, default False
        Say only how much is missing or not finite: for columns whose shares are not to be compared.
    shows_values : bool, default True
        Name categories and limits. Without, categories and bins are numbered: for personal data.

    Returns
    -------
    str
        Such as ``higher by 0.3 sd; 4 % more in the top bin (> 1.86)``, ``JFK 31 % -> 40 %``, ``missing 2 % -> 15 %``,
        ``no visible change``, ``no rows``.

    Raises
    ------
    ValueError
        If there is not one count of at least 0 per bin.

    Notes
    -----
    Said is what exceeds 3 standard errors (of several bins or categories: the largest that noise makes among so many)
    and 0.05 sd, 5 % of the spread or 0.5 % of the rows. Rows count as independent, or are divided by the profile's
    design effect.

    Shifts in sd come from the frozen means of the bins, which understates them by some 5 %; values outside the
    reference's range count as at its ends, so a shift to there is told as "by more than". Categories not seen before
    are told only as far as they are more than chance alone brings, Good and Turing's share. The words explain a
    finding; whether there is one is for `metrics_py.compare` or the alert engine to say.

    References
    ----------
    Good (1953), Biometrika 40:237 (categories that chance brings).

    Examples
    --------
    >>> from metrics_py.profile.build import build_profile, count
    >>> airports = build_profile(["JFK"] * 310 + ["LGA"] * 690, "categorical")
    >>> describe_shift(airports, count(airports, ["JFK"] * 400 + ["LGA"] * 600))
    'JFK 31 % -> 40 %; LGA 69 % -> 60 %'
    >>> describe_shift(airports, count(airports, ["JFK"] * 32 + ["LGA"] * 68))
    'no visible change'
    >>> describe_shift(airports, count(airports, ["JFK"] * 400 + ["LGA"] * 600), shows_values=False)
    'category 2 31 % -> 40 %; category 1 69 % -> 60 %'
    """
    current = np.asarray(counts, dtype=np.int64)
    if current.shape != (len(profile),) or (current < 0).any():
        raise ValueError(
            f"describe_shift: column {profile.column!r}: counts have shape {current.shape}; "
            f"pass one per bin, ({len(profile)},)"
        )
    if current.sum() == 0:
        return "no rows"
    if profile.n_rows == 0:
        return "no reference rows to compare with"
    if not shows_values:
        profile = replace(profile, label=tuple(_number_words(profile)))
    parts = [_rate_words(profile, current, "missing", ("null",), valid_only=False)]
    parts.append(_rate_words(profile, current, "not finite", ("not_finite",), valid_only=False))
    if rates_only:
        pass
    elif profile.kind == "numeric":
        parts[:0] = _numeric_words(profile, current, shows_values=shows_values)
        outside = _range_words(profile) if shows_values else "outside the range of the reference"
        parts.append(_rate_words(profile, current, outside, ("below", "above")))
    else:
        parts[:0] = _category_words(profile, current)
        parts.append(_unseen_words(profile, current))
    return "; ".join(p for p in parts if p) or "no visible change"


def _number_words(profile: ColumnProfile) -> Iterator[str]:
    """Bins by their numbers; those that hold no value keep their words."""
    for k, (kind, label) in enumerate(zip(profile.bin_kind, profile.label, strict=True), start=1):
        yield {"category": f"category {k}", "interval": f"bin {k}", "atom": f"bin {k}"}.get(kind, label)


def _stands_out(p: float, q: float, m: float, n: float, *, among: int = 1) -> bool:
    """Whether the change of a share is larger than the largest one that noise makes among so many shares."""
    pooled = (p * m + q * n) / (m + n)
    noise = np.sqrt(max(pooled * (1 - pooled), 0.25 / (m + n)) * (1 / m + 1 / n))
    return bool(abs(q - p) > ndtri(1 - VISIBLE_P / 2 / among) * noise)


def _independent_rows(profile: ColumnProfile, counts: NDArray[np.int64], *, valid_only: bool = True) -> float:
    """Rows (with a value), as so many independent ones."""
    left_out = counts[profile.where("null", "not_finite")].sum() if valid_only else 0
    return float(counts.sum() - left_out) / max(profile.design_effect, 1e-9)


def _rate_words(
    profile: ColumnProfile,
    current: NDArray[np.int64],
    words: str,
    kinds: tuple[BinKind, ...],
    *,
    valid_only: bool = True,
) -> str:
    bins = profile.where(*kinds)
    m, n = (_independent_rows(profile, x, valid_only=valid_only) for x in (profile.n_reference, current))
    if not len(bins) or m <= 0 or n <= 0:
        return ""
    before, after = (
        float(x[bins].sum()) / r / profile.design_effect for x, r in ((profile.n_reference, m), (current, n))
    )
    if abs(after - before) < MIN_SHARE or not _stands_out(before, after, m, n):
        return ""
    return f"{words} {percent(before)} -> {percent(after)}"


def _unseen_words(profile: ColumnProfile, current: NDArray[np.int64]) -> str:
    """New categories beyond those that a reference of this size has not met by chance (Good and Turing)."""
    m, n = (_independent_rows(profile, x) for x in (profile.n_reference, current))
    if "unseen" not in profile.bin_kind or m <= 0 or n <= 0:
        return ""
    share = float(current[profile.where("unseen")].sum()) / n / profile.design_effect
    expected = min(profile.expected_unseen, 1.0)
    if share - expected < max(MIN_SHARE, VISIBLE_Z * profile.expected_unseen_error):
        return ""
    if not _stands_out(expected, share, m, n):
        return ""
    by_chance = f" ({percent(expected)} by chance)" if expected >= MIN_SHARE else ""
    return f"categories never seen 0 % -> {percent(share)}{by_chance}"


def _range_words(profile: ColumnProfile) -> str:
    if profile.minimum is None or profile.maximum is None:
        return "values though the reference has none"
    low, high = numbers([profile.minimum, profile.maximum])
    return f"values other than {low}" if profile.minimum == profile.maximum else f"outside {low} to {high}"


def _numeric_words(profile: ColumnProfile, current: NDArray[np.int64], *, shows_values: bool) -> list[str]:
    a, b = profile.merged(profile.n_reference).astype(float), profile.merged(current).astype(float)
    if a.sum() == 0 or b.sum() == 0:
        return ["no values in the window"] if a.sum() else []
    f, g = a / a.sum(), b / b.sum()
    m, n = (_independent_rows(profile, x) for x in (profile.n_reference, current))
    below, above = (
        float(current[profile.where(end)].sum()) / b.sum()
        - float(profile.n_reference[profile.where(end)].sum()) / a.sum()
        for end in ("below", "above")
    )
    words = [
        _location_words(profile, f, g, m, n, beyond=(below, above)),
        _spread_words(profile, f, g, m, n, beyond=max(below, above)),
        _bin_words(profile, f, g, m, n, beyond=(below, above), shows_values=shows_values),
    ]
    return [w for w in words if w]


def _centered(profile: ColumnProfile, shares: FloatArray) -> tuple[float, float, float]:
    """Mean, variance and fourth central moment with the mass of each group at its center, in sd of the reference."""
    center = np.nan_to_num(profile.center[profile.group_bins]) / (profile.scale or 1.0)
    mean = float(shares @ center)
    return mean, float(shares @ (center - mean) ** 2), float(shares @ (center - mean) ** 4)


def _location_words(
    profile: ColumnProfile, f: FloatArray, g: FloatArray, m: float, n: float, *, beyond: tuple[float, float]
) -> str:
    """Shift of the mean; "more than" where values beyond the range on that side hide how far."""
    if profile.scale is None:
        return ""
    (before, variance, _), (after, variance_now, _) = _centered(profile, f), _centered(profile, g)
    shift = after - before
    noise = np.sqrt(variance / m + max(variance_now, variance / 4) / n)
    if abs(shift) < MIN_SD or abs(shift) <= VISIBLE_Z * noise:
        return ""
    further = "more than " if beyond[int(shift > 0)] >= MIN_BEYOND else ""
    return f"{'higher' if shift > 0 else 'lower'} by {further}{deviations(abs(shift))}"


def _spread_words(profile: ColumnProfile, f: FloatArray, g: FloatArray, m: float, n: float, *, beyond: float) -> str:
    """Change of the spread; with values beyond the range it is at least so wide, and cannot be called narrower."""
    (_, variance, fourth), (_, variance_now, fourth_now) = _centered(profile, f), _centered(profile, g)
    if profile.scale is None or variance <= 0:
        return ""
    ratio = float(np.sqrt(variance_now / variance))
    noise = np.sqrt((fourth / variance**2 - 1) / m / 4 + max(fourth_now - variance_now**2, 0) / variance**2 / n / 4)
    if abs(ratio - 1) < MIN_SPREAD or abs(ratio - 1) <= VISIBLE_Z * noise:
        return ""
    if beyond >= MIN_SHARE:
        return f"spread more than {percent(ratio - 1)} wider" if ratio > 1 else ""
    return f"spread {percent(abs(ratio - 1))} {'wider' if ratio > 1 else 'narrower'}"


def _bin_words(
    profile: ColumnProfile,
    f: FloatArray,
    g: FloatArray,
    m: float,
    n: float,
    *,
    beyond: tuple[float, float],
    shows_values: bool,
) -> str:
    change = g - f
    k = int(np.argmax(np.abs(change)))
    if abs(change[k]) < MIN_SHARE or not _stands_out(float(f[k]), float(g[k]), m, n, among=len(f)):
        return ""
    i = int(profile.group_bins[k])
    first, last = k == 0, k == len(f) - 1
    outside = (beyond[0] if first else 0.0) + (beyond[1] if last else 0.0)
    if profile.bin_kind[i] in ("below", "above") or outside > abs(change[k]) / 2 or len(f) == 1:
        return ""  # said as a share outside the range
    lower, upper = numbers([profile.lower[i], profile.upper[i]])
    if profile.bin_kind[i] == "atom":
        if profile.minimum == profile.maximum:
            return ""  # said as values other than this one
        value = f"the value {lower}" if shows_values else f"the value of {profile.label[i]}"
        return f"{value}: {percent(float(f[k]))} -> {percent(float(g[k]))}"
    amount = f"{percent(abs(float(change[k])))} {'more' if change[k] > 0 else 'less'}"
    if not first and not last:
        return f"{amount} in {profile.label[i]}"
    where, limit = ("top", f" (> {lower})") if last else ("bottom", f" (<= {upper})")
    return f"{amount} in the {where} bin{limit if shows_values else ''}"


def _category_words(profile: ColumnProfile, current: NDArray[np.int64]) -> list[str]:
    bins = profile.where("category", "other")
    m, n = (_independent_rows(profile, x) for x in (profile.n_reference, current))
    if m == 0 or n == 0:
        return ["no values in the window"] if m else []
    before, after = (x[bins] / r / profile.design_effect for x, r in ((profile.n_reference, m), (current, n)))
    if "unseen" in profile.bin_kind:  # what the reference has not met by chance is as rare as the others
        unseen = float(current[profile.where("unseen")].sum()) / n / profile.design_effect
        after = after + np.where(np.array(profile.bin_kind)[bins] == "other", min(unseen, profile.expected_unseen), 0.0)
    if profile.kind == "boolean":
        bins, before, after = bins[1:], before[1:], after[1:]
    words: list[str] = []
    for k in np.argsort(-np.abs(after - before), kind="stable")[:MAX_CATEGORIES]:
        p, q = float(before[k]), float(after[k])
        if abs(q - p) >= MIN_SHARE and _stands_out(p, q, m, n, among=len(bins)):
            words.append(f"{profile.label[bins[k]].strip() or '(blank)'} {percent(p)} -> {percent(q)}")
    return words

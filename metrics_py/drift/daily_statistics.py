"""Day-level decision statistics of one column from its bin counts: what the alert engine watches.

Each is on a scale on which days scatter evenly: rates as arcsines, the PSI on a logarithmic scale, Neyman's components
as they are. The engine compares a window with the stream's own past; these functions only reduce a window to numbers.

References
----------
Anscombe (1948), Biometrika 35:246 (arcsine of a binomial rate).
Neyman (1937), Skandinavisk Aktuarietidskrift 20:149 (smooth components).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics_py.drift.binned_distances import degrees_of_freedom, psi
from metrics_py.drift.smooth_components import smooth_basis
from metrics_py.drift.words import MIN_BEYOND
from metrics_py.profile.column_profile import ColumnProfile

FloatArray = NDArray[np.float64]
MIN_ROWS = 200
MAX_ATOM_STREAMS = 3
OUTSTANDING = 2.0
"""So many times as heavy as each neighbouring bin is an atom that has a stream of its own."""
SMOOTH_NAMES = ("location", "spread", "skew", "tails")


@dataclass(frozen=True, eq=False)
class Stream:
    """One decision statistic over T windows.

    Attributes
    ----------
    statistic : str
        ``location``, ``spread``, ``skew``, ``tails`` (Neyman's N1..N4), ``log_psi``, ``null_rate``,
        ``out_of_range_rate``, ``unseen_rate``, ``true_rate``, ``atom_rate:<value>``.
    value : ndarray, shape (T,)
        On the stabilised scale; NaN exactly where there is a reason.
    variance : ndarray, shape (T,)
        Sampling variance of the value without drift.
    display : ndarray, shape (T,)
        On the scale people read: location in standard deviations of the reference, spread as a ratio (NaN where
        `MIN_BEYOND` of the values lie beyond the range of the reference), PSI without what sampling adds, rates as
        shares.
    n : ndarray, shape (T,)
        Rows behind the value.
    reason : tuple of (str or None), length T
        Why the window has too few data.
    """

    statistic: str
    value: FloatArray
    variance: FloatArray
    display: FloatArray
    n: FloatArray
    reason: tuple[str | None, ...]


def column_streams(
    profile: ColumnProfile,
    counts: ArrayLike,
    n: ArrayLike | None = None,
    *,
    min_rows: int = MIN_ROWS,
    period: str = "the window",
) -> list[Stream]:
    """Decision statistics of one column for T windows.

    Parameters
    ----------
    profile : ColumnProfile
        Frozen reference.
    counts : array_like of int, shape (T, K)
        Rows per bin and window, from `count` or the warehouse.
    n : array_like, shape (T,), optional
        Rows of each window; default: the sum of its counts. More rows than counts (rows of a column that did not exist
        yet) count as null.
    min_rows : int, default 200
        Fewer effective rows (rows / design effect): insufficient data.
    period : str, default "the window"
        What the counts are of, for the reasons.

    Returns
    -------
    list of Stream
        numeric: location, spread, skew, tails (as far as the bins can tell them apart), log_psi, null_rate,
        out_of_range_rate, atom_rate of the three heaviest atoms that stand out. categorical: log_psi, null_rate,
        unseen_rate. boolean: true_rate, null_rate. datetime: log_psi over the hours of the week, null_rate.

    Raises
    ------
    ValueError
        If the shapes do not fit, or counts are negative.
    """
    array = np.asarray(counts)
    if array.ndim != 2 or array.shape[1] != len(profile):
        raise ValueError(
            f"column_streams: column {profile.column!r}: counts have shape {array.shape}; "
            f"pass (windows, {len(profile)} bins)"
        )
    if not np.isfinite(array).all() or (array < 0).any():
        raise ValueError(f"column_streams: column {profile.column!r}: counts hold a negative, NaN or infinite entry")
    array = array.astype(np.int64)
    counted = array.sum(axis=1)
    rows = counted if n is None else np.asarray(n, dtype=np.int64)
    if rows.shape != counted.shape or (rows < counted).any():
        raise ValueError(
            f"column_streams: column {profile.column!r}: n must have shape {counted.shape} "
            "and not be below the rows counted"
        )
    missing = array[:, profile.where("null", "not_finite")].sum(axis=1) + rows - counted
    window = _Window(profile, array, rows - missing, rows, min_rows, period)
    streams = [*_distribution_streams(window), window.rate("null_rate", missing, rows)]
    if profile.kind == "numeric":
        outside = array[:, profile.where("below", "above")].sum(axis=1)
        streams.append(window.rate("out_of_range_rate", outside, window.valid))
        streams += [window.rate(f"atom_rate:{label}", array[:, i], window.valid) for i, label in _atoms(profile)]
    elif profile.kind == "categorical":
        streams.append(window.rate("unseen_rate", array[:, profile.where("unseen")].sum(axis=1), window.valid))
    return streams


@dataclass(frozen=True, eq=False)
class _Window:
    """Counts of T windows of one column: all bins, rows with a value, all rows."""

    profile: ColumnProfile
    counts: NDArray[np.int64]
    valid: NDArray[np.int64]
    rows: NDArray[np.int64]
    min_rows: int
    period: str

    def stream(
        self, statistic: str, value: FloatArray, variance: FloatArray, display: FloatArray, n: ArrayLike
    ) -> Stream:
        """Stream with windows of too few rows taken out, with the reason."""
        rows = np.asarray(n, dtype=float)
        effective = rows / self.profile.design_effect
        reasons = tuple(
            None if e >= self.min_rows else self._reason(int(r), float(e)) for r, e in zip(rows, effective, strict=True)
        )
        few = effective < self.min_rows
        values = [np.where(few, np.nan, x) for x in (value, variance, display)]
        return Stream(statistic, values[0], values[1], values[2], rows, reasons)

    def _reason(self, rows: int, effective: float) -> str:
        if rows == 0:
            return f"no rows with a value in {self.period}"
        if self.profile.design_effect == 1:
            return f"{rows} rows in {self.period}, {self.min_rows} needed: judge longer windows"
        return (
            f"{rows} rows in {self.period} count as {effective:.0f} independent ones, {self.min_rows} needed: "
            "judge longer windows"
        )

    def rate(self, statistic: str, events: NDArray[np.int64], n: NDArray[np.int64]) -> Stream:
        """Arcsine of a rate.

        Its variance is that of any rate, so a rate of always zero does not alarm at its first event.
        """
        size = np.maximum(n, 1).astype(float)
        value = np.arcsin(np.sqrt((events + 0.375) / (size + 0.75)))
        return self.stream(statistic, value, self.profile.design_effect / (4 * size), events / size, n)


def _atoms(profile: ColumnProfile) -> list[tuple[int, str]]:
    """The heaviest atoms that stand out, and the text of their value.

    A default, a sentinel or a limit is the lowest or the highest value of its column, or at least `OUTSTANDING` times
    as heavy as the bins beside it. The frequent values of a coarsely rounded measurement are neither; how often just
    one of them occurs on a day is chance.
    """
    bins: list[int] = [i for i in profile.where("interval", "atom").tolist() if profile.n_reference[i] > 0]
    bins.sort(key=lambda i: (profile.upper[i], profile.bin_kind[i] == "atom"))
    found: list[int] = []
    for k, i in enumerate(bins):
        beside = [int(profile.n_reference[j]) for j in (*bins[max(k - 1, 0) : k], *bins[k + 1 : k + 2])]
        stands_out = len(beside) < 2 or profile.n_reference[i] >= OUTSTANDING * max(beside)
        if profile.bin_kind[i] == "atom" and stands_out:
            found.append(i)
    found.sort(key=lambda i: (-int(profile.n_reference[i]), i))
    return [(i, f"{profile.lower[i]:.6g}") for i in found[:MAX_ATOM_STREAMS]]


def _distribution_streams(window: _Window) -> list[Stream]:
    profile = window.profile
    if profile.kind == "boolean":
        true = profile.label.index("true")
        return [window.rate("true_rate", window.counts[:, true], window.valid)]
    reference, current = profile.merged(profile.n_reference), profile.merged(window.counts)
    streams = _smooth_streams(window, reference, current) if profile.kind == "numeric" else []
    return [*streams, _log_psi(window, reference, current)]


def _smooth_streams(window: _Window, reference: NDArray[np.int64], current: NDArray[np.int64]) -> list[Stream]:
    profile = window.profile
    basis = smooth_basis(reference)
    size = np.maximum(window.valid, 1).astype(float)
    shares = current / size[:, None]
    components = shares @ basis
    mean, deviation = _moments(profile, reference[None] / max(int(reference.sum()), 1))
    now, deviation_now = _moments(profile, shares)
    ratio = deviation_now / deviation if deviation[0] > 0 else np.ones(len(shares))
    beyond = window.counts[:, profile.where("below", "above")].sum(axis=1) / size
    ratio = np.where(beyond >= MIN_BEYOND, np.nan, ratio)  # how far those values lie, the bins cannot tell
    displays = [now - mean, ratio, *(components[:, j] for j in range(2, components.shape[1]))]
    variance = profile.design_effect / size
    return [
        window.stream(SMOOTH_NAMES[j], components[:, j], variance, displays[j], window.valid)
        for j in range(components.shape[1])
    ]


def _moments(profile: ColumnProfile, shares: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation, in those of the reference, with the mass of each group at its (clipped) center."""
    center = np.nan_to_num(profile.center[profile.group_bins]) / (profile.scale or 1.0)
    mean = shares @ center
    return mean, np.sqrt(np.maximum((shares * (center - mean[:, None]) ** 2).sum(axis=1), 0.0))


def _log_psi(window: _Window, reference: NDArray[np.int64], current: NDArray[np.int64]) -> Stream:
    """PSI on a logarithmic scale that does not move with the volume.

    The PSI of n rows exceeds the true one by about df / n, so its plain logarithm would jump on every quiet day. That
    excess is replaced by the one at the usual volume, kappa = df / rows_per_window: the value is
    ``asinh((psi - df / n + kappa) / kappa)``, which is log(2 psi / kappa) where the PSI stands out from noise and
    linear where it does not. Shown is the PSI without the excess, as in judgements.
    """
    profile = window.profile
    m = max(int(reference.sum()), 1)
    usual = profile.rows_per_window or max(MIN_ROWS, m / 28)
    design = profile.design_effect
    size = np.maximum(window.valid, 1).astype(float)
    observed = np.nan_to_num(psi(reference, current)) if reference.sum() else np.zeros(len(size))
    df = degrees_of_freedom(reference, current)
    steady_df = max(int((reference > 0).sum()) - 1, 1)
    kappa = steady_df * design / usual
    unit = design / size
    place = (observed - df * unit + kappa) / kappa
    excess = np.maximum(observed / unit - df, 0.0)
    slope = 1 / (kappa * np.sqrt(1 + np.maximum(place, 1.0) ** 2))
    variance = unit**2 * (2 * np.maximum(df, 1) + 4 * excess) * slope**2
    shown = np.maximum(observed - df * (unit + design / m), 0.0)
    return window.stream("log_psi", np.arcsinh(place), variance, shown, window.valid)

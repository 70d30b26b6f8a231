"""How labels arrive: the share that has come by any age of a window, for each kind of row, and how well it is known.

Labels that come first are not like those that come late: bookings are cancelled early and kept late, fraud is reported
by some and noticed by others. What a window's labels say while others are on their way is biased; by how much depends
on the delay of each kind of row (its class and its score). That is learnt from windows that are older.

The share F(a) that has come by age a cannot be read off the windows that are still filling up. Conditioning on what has
arrived, which is right truncation, the *reverse* hazard ``h(u)`` = labels of delay u / labels of delay at most u, over
the windows old enough to show delay u, is free of that, and ``F(a)`` is the product of ``1 - h(u)`` over all u > a: the
chain ladder of reserving.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

FINE_WINDOWS = 4
"""Delays below so many windows are counted in quarters of a window, longer ones in whole windows."""

PARTS = 4
ROWS_PER_CELL = 200
"""Kinds of rows are joined with their neighbours until this many labels tell of each."""

MOST_GROUPS = 10
"""Groups of the score per class, at most."""

AT_ONCE = 8
"""Windows whose labels come as the first of all, and at one moment, are a history that was loaded."""

MATTERS = 0.01
"""A cell with less than this share of the labels of its class decides no state: precision and recall of a class that is
rare depend on its own labels, however many the others have."""

FEWEST_OF_CLASS = 20
"""Labels of a class from which on its delay decides a state; fewer are an accident, a slip of the pen."""

MOST_AGES = 0.8
"""Share of the ages that are known for which labels of a class must have been there, to be known as long as all."""

MOST_HIDDEN = 0.01
"""Share of the labels of a kind that may come later than any age that is known: then no tail is hidden."""


def delay_start(bins: IntArray) -> FloatArray:
    """Delay, in windows, at which bins begin.

    Parameters
    ----------
    bins : integer ndarray
        ``floor(4 d)`` for a delay d below 4 windows, ``12 + floor(d)`` for a longer one.

    Returns
    -------
    ndarray
        Windows since the window began.

    Examples
    --------
    >>> delay_start(np.array([0, 3, 15, 16, 17])).tolist()
    [0.0, 0.75, 3.75, 4.0, 5.0]
    """
    fine = FINE_WINDOWS * PARTS
    return np.where(bins < fine, bins / PARTS, bins - (fine - FINE_WINDOWS))


def delay_bin(delay: pl.Expr) -> pl.Expr:
    """Bin of a delay, as the mart `label_arrivals` counts them; `delay_start` is its inverse.

    Parameters
    ----------
    delay : polars.Expr
        Windows since the window began.

    Returns
    -------
    polars.Expr
        Integers.

    Examples
    --------
    >>> pl.DataFrame({"delay": [0.2, 0.8, 3.9, 4.5, 5.0]}).select(delay_bin(pl.col("delay"))).to_series().to_list()
    [0, 3, 15, 16, 17]
    """
    longer = FINE_WINDOWS * PARTS - FINE_WINDOWS + delay
    return pl.when(delay < FINE_WINDOWS).then(PARTS * delay).otherwise(longer).floor().cast(pl.Int32)


@dataclass(frozen=True, eq=False)
class DelayLaw:
    """Completion curves of the cells of one monitor.

    Attributes
    ----------
    cells : DataFrame
        ``label_class, score_group, cell``: which cell each class and score group belongs to.
    starts : ndarray, shape (bins,)
        Delay, in windows, at which each bin begins; the last one ends the axis.
    curve : ndarray, shape (cells, bins)
        Share of the labels of a cell that has come before each start.
    log_variance : ndarray, shape (cells, bins)
        Variance of the logarithm of `curve`.
    mass : ndarray, shape (cells,)
        Share of all labels that are of each cell.
    overdispersion : float
        Pearson's, of the arrivals around the law; at least 1.
    known_to : float
        Age, in windows, of the oldest window it was learnt from.
    n_labels : int
        Labels it was learnt from.
    class_known_to : ndarray, shape (cells,)
        Age, in windows, of the oldest window with labels of the cell's class; less than `known_to` where it came up
        later.
    longest : float
        Delay, in windows, after which no label is waited for.
    more_comes : bool
        Labels still come for windows that are older than those it was learnt from.
    settled_after : float
        Age, in windows, from which on hardly any label changes any more; infinite while that is not known.
    """

    cells: pl.DataFrame
    starts: FloatArray
    curve: FloatArray
    log_variance: FloatArray
    mass: FloatArray
    overdispersion: float
    known_to: float
    n_labels: int
    class_known_to: FloatArray
    longest: float = np.inf
    more_comes: bool = False
    settled_after: float = 0.0

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.curve)

    @property
    def hides_a_tail(self) -> bool:
        """Whether of some windows nobody can tell how late their last labels come."""
        return self.hidden_up_to > 0

    def hides(self, age: float) -> bool:
        """Whether of windows of an age nobody can tell how late their last labels come.

        Parameters
        ----------
        age : float
            Windows since the window began.

        Returns
        -------
        bool
            As of `hidden_up_to`.
        """
        return age <= self.hidden_up_to

    @cached_property
    def hidden_up_to(self) -> float:
        """Age up to which nobody knows how late the last labels of windows come: 0 for none, infinite for all.

        Labels of some kind are still arriving at the end of what is known. A class that came up later is known no
        further than its oldest window; that it takes long to come says nothing of windows before it.

        Of each class as a whole, and of each cell beyond two standard errors: cells are many, and few labels tell of
        the oldest ages. Classes of fewer than `ROWS_PER_CELL` labels tell nothing of a tail.
        """
        if not self.n_cells:
            return 0.0
        (first, _), (second, error) = (self._left(part * self.class_known_to / 3) for part in (1, 2))
        waits = self.class_known_to < self.longest
        tells = self.decides & (self.of_class >= ROWS_PER_CELL) & waits
        is_open = _hidden(first, np.maximum(second - 2 * error, 0.0)) > MOST_HIDDEN
        weight = np.where(tells, self.mass, 0.0)
        whole = [np.bincount(self._class_of_cell, weight * left) for left in (first, second)]
        of_classes = np.maximum(np.bincount(self._class_of_cell, weight), 1e-12)
        is_open_whole = _hidden(whole[0] / of_classes, whole[1] / of_classes) > MOST_HIDDEN
        is_hidden = (is_open | is_open_whole[self._class_of_cell]) & tells
        of_all = is_hidden & (self.class_known_to >= self.known_to)
        if of_all.any() or (self.more_comes and self.known_to < self.longest):
            return np.inf
        return float(self.class_known_to[is_hidden].max(initial=0.0))

    @cached_property
    def hidden_class(self) -> str | None:
        """The class that came up later and hides when its labels are all in; None where windows of all ages wait."""
        if not 0 < self.hidden_up_to < np.inf:
            return None
        cell = int(np.flatnonzero(self.class_known_to == self.hidden_up_to)[0])
        return self.cells.filter(cell=cell)["label_class"][0]

    def _left(self, ages: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Share of each cell's labels still to come at an age of its own, and its standard error."""
        share, log_variance = self._at(self.curve, ages), self._at(self.log_variance, ages)
        return 1 - share, share * np.sqrt(log_variance)

    @cached_property
    def _class_of_cell(self) -> IntArray:
        classes = self.cells.select("cell", "label_class").unique().sort("cell")["label_class"]
        return classes.rank("dense").to_numpy().astype(np.int64) - 1

    @cached_property
    def of_class(self) -> FloatArray:
        """Labels of each cell's class, shape (cells,)."""
        of_classes = np.bincount(self._class_of_cell, self.mass * self.n_labels)
        return of_classes[self._class_of_cell].astype(np.float64)

    @cached_property
    def decides(self) -> BoolArray:
        """Whether a state may depend on each cell, shape (cells,): enough of the labels of a class that has enough."""
        return (self.mass * self.n_labels >= MATTERS * self.of_class) & (self.of_class >= FEWEST_OF_CLASS)

    def completion(self, age: float) -> tuple[FloatArray, FloatArray]:
        """Share of each cell's labels that has come by an age, and the variance of its logarithm.

        Parameters
        ----------
        age : float
            Windows since the window began.

        Returns
        -------
        share, log_variance : ndarray, shape (cells,)
            Linear within a bin.
        """
        ages: FloatArray = np.full(self.n_cells, age)
        return self._at(self.curve, ages), self._at(self.log_variance, ages)

    def slowest(self, age: float) -> float:
        """Share that has come of the labels of the slowest cell that decides, seen in the window or not.

        Parameters
        ----------
        age : float
            Windows since the window began.

        Returns
        -------
        float
            1 without cells.
        """
        return float(self.completion(age)[0][self.decides].min(initial=1.0))

    def share_in(self, age: float) -> float:
        """Share of all labels that has come by an age.

        Parameters
        ----------
        age : float
            Windows since the window began.

        Returns
        -------
        float
            In [0, 1]; 1 without cells.
        """
        return float(self.mass @ self.completion(age)[0]) if self.n_cells else 1.0

    def share_in_of_classes(self, age: float) -> dict[str, float]:
        """The same of the labels of each class that has enough of them to tell.

        Parameters
        ----------
        age : float
            Windows since the window began.

        Returns
        -------
        dict of str to float
            Class -> share in [0, 1], of classes with at least `FEWEST_OF_CLASS` labels.
        """
        tells = self.of_class >= FEWEST_OF_CLASS
        weight = np.where(tells, self.mass, 0.0)
        come = np.bincount(self._class_of_cell, weight * self.completion(age)[0]) if self.n_cells else np.zeros(0)
        of_class = np.bincount(self._class_of_cell, weight) if self.n_cells else np.zeros(0)
        names = self.cells["label_class"].unique().sort().to_list()
        return {name: float(c / n) for name, c, n in zip(names, come, of_class, strict=True) if n > 0}

    def _at(self, curves: FloatArray, ages: FloatArray) -> FloatArray:
        found: FloatArray = np.zeros(len(curves))
        for i, own in enumerate(curves):
            found[i] = cast("float", np.interp(ages[i], self.starts, own))
        return found


def _hidden(first: FloatArray, second: FloatArray) -> FloatArray:
    """Share later than all known ages, of the shares left after one third and two thirds of them.

    Of a tail that falls geometrically, c q^t after t thirds, c (q^t - q^3) is left, as the curve is 1 at the last age;
    c q^3 comes later still. A tail that does not fall hides all, one that is gone by two thirds nothing.
    """
    ratio = np.divide(second, first, out=np.zeros_like(first), where=first > 0)
    hidden = np.where(ratio < 0.5, second * ratio / np.maximum(1 - 2 * ratio, 1e-9), 1.0)
    return np.where(second > MOST_HIDDEN, hidden, 0.0)


def fit(arrivals: pl.DataFrame, ages: pl.DataFrame, *, longest: float = np.inf) -> DelayLaw:
    """Learn the law from the labels of many windows.

    Parameters
    ----------
    arrivals : DataFrame
        ``window_start, label_class, score_group, delay_bin, n``: first arrivals (see `delay_start`); classes and
        groups of a row must be known when its label is. Those later than the window is old are left out: a label that
        says so has a wrong time.
    ages : DataFrame
        ``window_start, age``: windows since each window began, those without any label, too.
    longest : float
        Delay, in windows, after which no label is waited for.

    Returns
    -------
    DelayLaw
        Without cells where there is no label at all.

    Notes
    -----
    A cell is a class and a range of score groups: at most `MOST_GROUPS` per class, of about equal numbers of labels, at
    least `ROWS_PER_CELL` each. Assumed: within a cell the delay does not depend on what the metric measures, the law is
    stable over the windows given, and labels that never come are missing at random.

    References
    ----------
    Lagakos, Barraj & De Gruttola (1988), Biometrika 75:515 (reverse time). Mack (1993), ASTIN Bulletin 23:213 (chain
    ladder). Kalbfleisch & Lawless (1989), JASA 84:360.
    """
    begins = pl.Series(delay_start(arrivals["delay_bin"].to_numpy().astype(np.int64)), dtype=pl.Float64)
    came = arrivals.with_columns(begins=begins).filter(pl.col("begins") < longest, pl.col("n") > 0)
    came = came.join(ages, on="window_start").filter(pl.col("begins") <= pl.col("age"))
    rows = watched(came.drop("begins"))
    ages = ages.filter(pl.col("age") <= (rows["age"].max() if len(rows) else 0.0))
    cells = _cells(rows)
    rows = rows.join(cells, on=["label_class", "score_group"])
    known_to = float(ages["age"].max() or 0.0) if len(ages) else 0.0  # pyright: ignore[reportArgumentType]
    n_cells = int(cells["cell"].max()) + 1 if len(cells) else 0  # pyright: ignore[reportArgumentType]
    n_bins = int(rows["delay_bin"].max()) + 2 if len(rows) else 1  # pyright: ignore[reportArgumentType]
    starts = delay_start(np.arange(n_bins))
    if not n_cells:
        nothing = np.zeros((0, n_bins))
        return DelayLaw(cells, starts, nothing, nothing, np.zeros(0), 1.0, known_to, 0, np.zeros(0), longest)
    windows = ages.sort("window_start").with_row_index("window")
    placed = rows.join(windows.select("window_start", "window"), on="window_start")
    counts = np.zeros((len(windows), n_cells, n_bins - 1))
    np.add.at(
        counts, tuple(placed[name].to_numpy() for name in ("window", "cell", "delay_bin")), placed["n"].to_numpy()
    )
    shows = windows["age"].to_numpy()[:, None] >= np.minimum(starts[1:], longest)[None, :]
    new = np.where(shows[:, None, :], counts, 0.0)
    upto = np.where(shows[:, None, :], counts.cumsum(axis=2), 0.0)
    arrived, at_risk = new.sum(axis=0), upto.sum(axis=0)
    hazard = np.divide(arrived, at_risk, out=np.zeros_like(arrived), where=at_risk > 0)
    hazard[:, 0] = 0.0
    later = np.maximum(1 - hazard, 1e-9)
    upwards = cast("FloatArray", np.cumprod(later[:, ::-1], axis=1))[:, ::-1]
    curve = np.concatenate([upwards, np.ones((n_cells, 1))], axis=1)
    spread = hazard / (later * np.maximum(at_risk, 1.0))
    variance = np.concatenate([np.cumsum(spread[:, ::-1], axis=1)[:, ::-1], np.zeros((n_cells, 1))], axis=1)
    curve = _from_nothing(curve, starts)
    phi = _overdispersion(new, upto, hazard)
    labels = counts.sum(axis=(0, 2))
    mass = labels / labels.sum()
    oldest = _class_known_to(rows, known_to)
    return DelayLaw(cells, starts, curve, phi * variance, mass, phi, known_to, int(labels.sum()), oldest, longest)


def _class_known_to(rows: pl.DataFrame, known_to: float) -> FloatArray:
    """Age of the oldest window with labels of the class of each cell, but for a handful; rows of cells.

    A class that has been there for most of the ages that are known has been there for all: rare ones miss some windows.
    """
    older = rows.sort("age", descending=True).with_columns(so_far=pl.col("n").cum_sum().over("label_class"))
    oldest = older.filter(pl.col("so_far") >= FEWEST_OF_CLASS).group_by("label_class").agg(pl.col("age").max())
    classes = rows.select("cell", "label_class").unique().sort("cell").join(oldest, on="label_class", how="left")
    age = classes.sort("cell")["age"].fill_null(known_to).to_numpy()
    return np.where(age >= MOST_AGES * known_to, known_to, age)


def watched(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of the windows whose labels were watched from the start.

    Parameters
    ----------
    rows : DataFrame
        ``window_start, delay_bin, age``.

    Returns
    -------
    DataFrame
        Some of the rows.

    Notes
    -----
    A history that is loaded at once says of its labels only that they had come by then: where the first arrivals of all
    are of `AT_ONCE` windows or more, those that had begun before are left out.
    """
    ago = pl.col("age") - pl.Series(delay_start(rows["delay_bin"].to_numpy().astype(np.int64)))
    arrived = rows.with_columns(ago=ago)
    first = arrived["ago"].max()
    if not isinstance(first, float):
        return rows
    loaded = arrived.filter(pl.col("ago") > first - 1)
    if loaded["window_start"].n_unique() < AT_ONCE:
        return rows
    return arrived.filter(pl.col("age") <= first).drop("ago")


def _from_nothing(curve: FloatArray, starts: FloatArray) -> FloatArray:
    """Before the first bin nothing has come: the share at age 0 is 0, not that of the first bin's end."""
    found = np.concatenate([np.zeros((len(curve), 1)), curve[:, 1:]], axis=1)
    assert found.shape == (len(curve), len(starts))
    return found


def _overdispersion(new: FloatArray, upto: FloatArray, hazard: FloatArray) -> float:
    """Pearson's chi-square of arrivals around their hazard per degree of freedom, where enough are expected."""
    expected = upto * hazard[None]
    usable = (expected >= 1) & (hazard[None] < 1)
    free = int(usable.sum()) - int(usable.any(axis=0).sum())
    if free < 10:
        return 1.0
    chi = np.where(usable, (new - expected) ** 2 / np.where(usable, expected * (1 - hazard[None]), 1.0), 0.0)
    return max(float(chi.sum()) / free, 1.0)


def _cells(rows: pl.DataFrame) -> pl.DataFrame:
    """Which cell each class and score group belongs to.

    Groups of several classes are joined to about equal numbers of labels. Those of one class alone are sizes of an
    error: the largest ones weigh most and have cells as narrow as there are labels for.
    """
    totals = rows.group_by("label_class", "score_group").agg(pl.col("n").sum()).sort("label_class", "score_group")
    is_error = totals["label_class"].n_unique() == 1
    parts: list[pl.DataFrame] = []
    first = 0
    for _, own in totals.group_by(["label_class"], maintain_order=True):
        n = own["n"].to_numpy()
        ranges = _from_the_top(n) if is_error else _equal_parts(n)
        dense = np.unique(ranges, return_inverse=True)[1]
        parts.append(
            own.select("label_class", "score_group").with_columns(cell=pl.Series(first + dense).cast(pl.Int64))
        )
        first += int(dense.max()) + 1
    schema = {"label_class": pl.String, "score_group": pl.Int32, "cell": pl.Int64}
    return pl.concat([pl.DataFrame(schema=schema), *(part.cast(schema) for part in parts)])  # pyright: ignore


def _equal_parts(n: IntArray) -> IntArray:
    wanted = int(np.clip(n.sum() // ROWS_PER_CELL, 1, MOST_GROUPS))
    middle = n.cumsum() - n / 2
    return np.minimum((middle * wanted / n.sum()).astype(np.int64), wanted - 1)


def _from_the_top(n: IntArray) -> IntArray:
    """Cells of at least `ROWS_PER_CELL` labels, filled from the largest errors down; the rest joins the lowest cell."""
    ranges, cell, filled = np.zeros(len(n), dtype=np.int64), 0, 0
    for i in range(len(n) - 1, -1, -1):
        left = int(n[: i + 1].sum())
        if filled >= ROWS_PER_CELL and left >= ROWS_PER_CELL:
            cell, filled = cell - 1, 0
        ranges[i] = cell
        filled += int(n[i])
    return ranges


def nearest_cells(law: DelayLaw, wanted: pl.DataFrame) -> pl.DataFrame:
    """Cell of each class and score group, of those the law has not seen that of the nearest group of its class.

    Parameters
    ----------
    law : DelayLaw
        Whose cells are meant.
    wanted : DataFrame
        ``label_class, score_group``.

    Returns
    -------
    DataFrame
        `wanted`, distinct, with ``cell``; null for a class without any label in the law.
    """
    pairs = wanted.select("label_class", "score_group").unique()
    joined = pairs.join(law.cells.rename({"score_group": "known"}), on="label_class", how="left")
    distance = (pl.col("known") - pl.col("score_group")).abs()
    return (
        joined.sort("label_class", "score_group", distance, "known", nulls_last=True)
        .group_by("label_class", "score_group", maintain_order=True)
        .agg(pl.col("cell").first())
    )

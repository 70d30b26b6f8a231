"""Slices of rows: where the candidate errs most, where it loses to the champion, where its scores do not come true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.cause import WeakSlice, weak_slices
from metrics_py.intervals import N_BUCKETS, jackknife_estimate
from metrics_py.quality.probabilities import is_improper
from metrics_py.quality.rows import of_several_classes
from metrics_py.results import Estimate
from metrics_py.wording import count, number, percent
from sightline.alerts.causes.kinds import binned
from sightline.evaluation.sets.rows import Compared
from sightline.evaluation.suite.findings import Finding, Section
from sightline.spec.model import MonitorSpec
from sightline.warehouse.reference_quality import decided_class

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
MOST_ROWS, MOST_COLUMNS = 50_000, 30
SHOWN = 5
MATERIAL = 0.02
"""Loss to the champion in a slice, as a share of the champion's loss there, below which nobody is warned."""
SLICED_KINDS = ("numeric", "categorical", "boolean")
METHOD = "found on the rows of half of the entities, measured on the others (Benjamini-Hochberg, 10 %)"
NOTHING = "no slice by one or two columns is shown to be worse than the rest"
NO_LOSS = "no slice is shown in which it loses to the champion"


@dataclass(frozen=True)
class Slices:
    """Rows of the candidate by bins of columns.

    Attributes
    ----------
    frame : DataFrame
        The rows.
    codes : ndarray of int, shape (rows, columns)
        Bin of each value.
    names : tuple of str
        Of the columns.
    words : tuple of list of str
        Of the bins of each column.
    left_out : tuple of str
        Columns beyond the bound.
    """

    frame: pl.DataFrame
    codes: IntArray
    names: tuple[str, ...]
    words: tuple[list[str], ...]
    left_out: tuple[str, ...] = ()

    @property
    def is_first(self) -> BoolArray:
        """Rows on which slices are found; no entity has rows on both sides."""
        return (self.frame["bucket"].cast(pl.Int64) % 2 == 0).to_numpy()

    def find(self, loss: FloatArray) -> list[tuple[WeakSlice, str, BoolArray]]:
        """Confirmed slices with their words, and their rows on the half that they were not found on."""
        if not self.names:
            return []
        found: list[tuple[WeakSlice, str, BoolArray]] = []
        for item in weak_slices(self.codes, loss, self.is_first):
            told = " and ".join(
                self.words[j][v].format(self.names[j]) for j, v in zip(item.columns, item.values, strict=True)
            )
            inside = (self.codes[:, list(item.columns)] == np.asarray(item.values)).all(axis=1) & ~self.is_first
            found.append((item, told, np.asarray(inside)))
        return found

    def mean(self, values: FloatArray, rows: BoolArray) -> Estimate:
        """Mean over some rows with its interval."""
        bucket = self.frame["bucket"].cast(pl.Int64).to_numpy()[rows] % N_BUCKETS
        total = np.bincount(bucket, weights=values[rows], minlength=N_BUCKETS)
        n = np.bincount(bucket, minlength=N_BUCKETS)
        return jackknife_estimate(_ratio, total, n, n=int(n.sum()))


def _ratio(total: FloatArray, n: FloatArray) -> FloatArray:
    return total / n


def slices_of(spec: MonitorSpec, frame: pl.DataFrame) -> Slices:
    """Bins of the columns by which rows can be sliced: quantiles of numbers, the most frequent categories."""
    frame = frame.gather_every(-(-len(frame) // MOST_ROWS) or 1)
    features = {f"f_{name}": name for name, f in spec.columns.features.items() if f.kind in SLICED_KINDS}
    named = {f"g_{name}": name for name in spec.columns.segments} | features
    own = {lake: name for lake, name in named.items() if lake in frame.columns and frame[lake].n_unique() > 1}
    unique = {name: lake for lake, name in reversed(own.items())}
    order = sorted(unique, key=lambda name: -spec.importance.get(name, 0.0))
    kept = order[:MOST_COLUMNS]
    bins = [binned(frame[unique[name]], frame[unique[name]]) for name in kept]
    codes = np.column_stack([code for code, _ in bins]) if bins else np.zeros((len(frame), 0), dtype=np.int64)
    words = [
        ["some values of {0}"] * len(told) if name in spec.columns.personal else told
        for name, (_, told) in zip(kept, bins, strict=True)
    ]
    return Slices(frame, codes, tuple(kept), tuple(words), tuple(order[MOST_COLUMNS:]))


def losses(spec: MonitorSpec, frame: pl.DataFrame, *others: pl.DataFrame) -> tuple[str, pl.Series]:
    """Loss of each row and what its mean is called; null where a row has none.

    Parameters
    ----------
    spec : MonitorSpec
    frame : DataFrame
        Labelled rows in lake columns.
    *others : DataFrame
        Rows that are compared with these: class scores that do not sum to 1, in either, have no Brier score.
    """
    task = spec.model.task
    wrong = (decided_class(spec) != pl.col("label_class")).cast(pl.Float64)
    if task == "regression":
        name, loss = "mae", (pl.col("prediction") - pl.col("label_value")).abs()
    elif task == "binary_classification" and frame["score"].null_count() < len(frame):
        name, loss = "brier", (pl.col("score") - pl.col("label_value")) ** 2
    elif task == "multiclass_classification" and all(_has_probabilities(spec, each) for each in (frame, *others)):
        columns = {name: f"p_{name}" for name in spec.columns.class_scores}
        name, loss = "brier", of_several_classes(pl.col("label_class"), columns)[1]
    else:
        name, loss = "error_rate", wrong
    return name, frame.select(loss.alias("loss"))["loss"]


def _has_probabilities(spec: MonitorSpec, frame: pl.DataFrame) -> bool:
    """Whether rows have a score of every class, and these sum to 1 wherever they are."""
    columns = [f"p_{name}" for name in spec.columns.class_scores]
    has_scores = bool(columns) and all(frame[c].count() for c in columns)
    return has_scores and not frame.select(is_improper(columns).any()).item()


def weaknesses(spec: MonitorSpec, compared: Compared) -> Section | None:
    """Where the candidate errs most, and where it loses to the champion; None for ranking."""
    if spec.model.task == "ranking":
        return None
    paired = (compared.champion,) if compared.how == "paired" else ()
    name, loss = losses(spec, compared.challenger, *paired)
    old = losses(spec, compared.champion, compared.challenger)[1] if paired else None
    frame = compared.challenger.with_columns(_loss=loss, **({"_old": old} if old is not None else {}))
    slices = slices_of(spec, frame.drop_nulls([column for column in ("_loss", "_old") if column in frame.columns]))
    title = "Weak slices"
    if not slices.names or slices.frame.is_empty():
        why = "no column to slice by that varies" if not slices.names else "no row with a loss"
        nothing = Finding(name="weak_slices", status="insufficient_data", reason=why)
        return Section(key="slices", title=title, findings=(nothing,))
    new = slices.frame["_loss"].to_numpy()
    champion = slices.frame["_old"].to_numpy() if old is not None else None
    found = _lost(slices, name, new, champion) if champion is not None else []
    found += _weak(slices, name, new, champion)
    notes = [f"not sliced by: {', '.join(slices.left_out)}"] if slices.left_out else []
    if len(frame) > len(slices.frame) * 1.5:
        notes.append(f"slices are those of {len(slices.frame):,} of {count(len(frame), 'rows')}")
    return Section(key="slices", title=title, findings=tuple(found), notes=tuple(notes))


def _weak(slices: Slices, name: str, loss: FloatArray, champion: FloatArray | None) -> list[Finding]:
    """Slices with a larger loss than the rest, the largest difference first: facts, since some rows are harder."""
    told: list[Finding] = []
    rows = max(int((~slices.is_first).sum()), 1)
    for item, words, inside in sorted(slices.find(loss), key=lambda each: -each[0].difference)[:SHOWN]:
        mean = slices.mean(loss, inside)
        reason = f"{number(item.rest, 3)} elsewhere; {percent(item.n / rows)} of the rows"
        told.append(
            Finding(
                name=name,
                of=words,
                value=mean.value,
                ci_low=mean.ci_low,
                ci_high=mean.ci_high,
                champion=float(champion[inside].mean()) if champion is not None else None,
                n=item.n,
                method=METHOD,
                reason=reason,
                parts=({"rest": item.rest, "difference": item.difference, "q_value": item.q_value},),
            )
        )
    return told or [Finding(name=name, method=METHOD, n=int((~slices.is_first).sum()), reason=NOTHING)]


def _lost(slices: Slices, name: str, loss: FloatArray, champion: FloatArray) -> list[Finding]:
    """Slices in which the candidate's loss is larger than the champion's."""
    told: list[Finding] = []
    for item, words, inside in slices.find(loss - champion):
        mean = slices.mean(loss - champion, inside)
        if mean.value is None or mean.ci_low is None or mean.ci_low <= 0:
            continue  # it gains less there than elsewhere, and loses nothing
        before = float(champion[inside].mean())
        is_much = mean.value >= MATERIAL * before
        told.append(
            Finding(
                name=f"{name}_difference",
                of=words,
                value=mean.value,
                ci_low=mean.ci_low,
                ci_high=mean.ci_high,
                n=item.n,
                method=METHOD,
                status="warn" if is_much else "ok",
                reason=f"loses to the champion: {number(float(loss[inside].mean()), 3)} against {number(before, 3)}",
                parts=({"rest": item.rest, "q_value": item.q_value},),
            )
        )
    told.sort(key=lambda each: -(each.value or 0.0))
    return told[:SHOWN] or [
        Finding(name=f"{name}_difference", method=METHOD, n=int((~slices.is_first).sum()), reason=NO_LOSS)
    ]


def untrue(slices: Slices, score: FloatArray, outcome: FloatArray, least: float) -> Sequence[Finding]:
    """Slices whose scores do not come true: their mean lies away from the share of positives."""
    told: list[Finding] = []
    for sign, how in ((1.0, "too low"), (-1.0, "too high")):
        gap = sign * (outcome - score)
        for item, words, inside in slices.find(gap):
            mean = slices.mean(sign * gap, inside)
            if mean.value is None or mean.ci_low is None or mean.ci_high is None or mean.ci_low <= 0 <= mean.ci_high:
                continue
            low = min(abs(mean.ci_low), abs(mean.ci_high))
            told.append(
                Finding(
                    name="calibration_bias",
                    of=words,
                    value=mean.value,
                    ci_low=mean.ci_low,
                    ci_high=mean.ci_high,
                    n=item.n,
                    method=METHOD,
                    status="warn" if low > least else "ok",
                    reason=f"scores are {how} here: {number(float(score[inside].mean()), 3)} on average, "
                    f"{number(float(outcome[inside].mean()), 3)} came true",
                )
            )
    return sorted(told, key=lambda each: -abs(each.value or 0.0))[:SHOWN]

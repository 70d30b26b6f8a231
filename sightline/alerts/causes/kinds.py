"""Whether the model's error moved because other rows come or because like rows have another truth, and where."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.cause import Move, ShiftKind, moved, shift_kind, weak_slices
from metrics_py.cause.shift_kind import expected_loss
from metrics_py.wording import day, number, percent
from sightline.alerts.causes.case import MOST_AFTER, Case, Cause, LabelledRows

CONCEPT, CONFIRMED, BY_SCORE, COVARIATE, SLICE = 0.50, 0.72, 0.45, 0.28, 0.73
CALIBRATED = "calibration_bias"

LEAST_FRESH = 3
LASTS = 1.0
"""Standard errors by which the windows after an incident opened must lie on the same side: else it was chance, or has
passed without a trace."""

REAL_AT = 0.03
"""P-value of all of them together. They are apart from the tests of inputs and segments: that quality moved is what an
incident of quality says, and the question is why."""

ALONE = 1 / 3
"""A slice comes before the shift it is part of where the error rose elsewhere by this share of its rise, or less."""

GROUPS = 6
"""Bins of a numeric column for slices; categories beyond the most frequent ones are one."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class MovedQuality:
    """The metric of quality that moved most; `p_value` counts all that was tried.

    Attributes
    ----------
    metric, move, p_value
        What moved, how, and how likely by chance.
    began, first, last : datetime
        Windows before `began` were compared with those from `first` to `last`.
    """

    metric: str
    move: Move
    p_value: float
    began: datetime
    first: datetime
    last: datetime


def moved_quality(case: Case) -> MovedQuality | None:
    """The member of quality, and whether scores still come true, before and since; None without enough windows.

    Each is compared twice: with the windows in which it moved, and with those after it joined the incident. The latter
    had no part in the decision: of a false alarm nothing is left in them.
    """
    quality = case.quality
    if quality is None:
        return None
    tried: list[MovedQuality] = []
    since = (max(quality.began, quality.joined - (2 * MOST_AFTER - 1) * case.window), quality.joined)
    fresh = (quality.joined + case.window, quality.known)
    for metric in sorted({quality.metric, CALIBRATED}):
        rows = case.evidence.filter(pl.col("stream") == f"model_quality/{metric}")
        start = pl.col("window_start")
        first = quality.began - case.before_windows * case.window
        before = rows.filter(start.is_between(first, quality.began, closed="left"))["value"].fill_null(np.nan)
        for span in (since, fresh):
            after = rows.filter(start.is_between(*span))["value"].fill_null(np.nan)
            move = moved(before.to_numpy(), after.to_numpy(), singles=False)
            if move is not None and (span is since or move.n_after >= LEAST_FRESH):
                tried.append(MovedQuality(metric, move, move.p_value, quality.began, *span))
    if not tried:
        return None
    best = min(tried, key=lambda item: item.p_value)
    later = [item for item in tried if item.metric == best.metric and item.first == fresh[0]]
    is_back = any(item.move.z * np.sign(best.move.z) < LASTS for item in later)
    return replace(best, p_value=1.0 if is_back else min(1.0, len(tried) * best.p_value))


def causes(case: Case, found: MovedQuality, *, inputs_moved: bool) -> Iterator[Cause]:
    """Concept or covariate shift, and the slices in which it shows; `found` moved beyond chance."""
    rows = case.rows(found.began, found.first, found.last) if case.rows is not None else None
    chance = (
        f"{found.metric} of {found.move.n_after} windows from {day(found.first)} on: {number(abs(found.move.z), 2)} "
        f"standard errors from {found.move.n_before} before {day(found.began)}"
    )
    if rows is None:
        if not inputs_moved:
            reason = case.no_rows or "no labelled rows"
            words = (
                "the same inputs have another truth (concept drift): the model's error moved, none of its inputs did"
            )
            yield Cause("concept", words, f"{chance}; not split by rows: {reason}", CONCEPT, p_value=found.p_value)
        return
    before, after = (_inputs(part) for part in (rows.before, rows.after))
    is_signed = found.metric == CALIBRATED
    losses = [_loss(part, is_signed) for part in (rows.before, rows.after)]
    kind = shift_kind(before, losses[0], after, losses[1])
    what = "label minus score" if is_signed else "the squared error"
    if kind.concept is None or kind.covariate is None:
        yield from _by_score(rows, chance, kind.reason, inputs_moved)
        return
    is_concept = abs(kind.concept) >= abs(kind.covariate)
    told = f"{chance}; of the change of {what} by {number(kind.concept + kind.covariate, 2)}, {_told(kind, is_concept)}"
    if is_concept and abs(kind.concept) > 2 * (kind.concept_se or 0.0):
        rises = "more often positive" if kind.concept > 0 else "less often positive"
        words = "the same inputs have another truth (concept drift)"
        words += f": rows like those before are {rises} than the score says" if is_signed else ""
        yield Cause("concept", words, told, CONFIRMED, p_value=found.p_value)
        yield from _slices(rows, before, after, losses, case.personal)
    elif abs(kind.covariate) > 2 * (kind.covariate_se or 0.0):
        words = "other rows come than before (covariate shift): like rows are answered as well as ever"
        yield Cause("covariate", words, told, COVARIATE + (0.0 if inputs_moved else 0.1), p_value=found.p_value)


def _by_score(rows: LabelledRows, chance: str, reason: str, inputs_moved: bool) -> Iterator[Cause]:
    """Whether rows of the same score have another truth, where rows of the same inputs cannot be compared."""
    losses = [_loss(part, True) for part in (rows.before, rows.after)]
    kind = shift_kind(rows.before.select("score"), losses[0], rows.after.select("score"), losses[1])
    if kind.concept is None or abs(kind.concept) <= 3 * (kind.concept_se or 0.0):
        return
    often = "more" if kind.concept > 0 else "less"
    words = f"scores no longer come true: rows of the same score are {often} often positive than before (concept drift"
    words += ", or the inputs that moved)" if inputs_moved else ")"
    evidence = (
        f"{chance}; at the same score {number(kind.concept, 2)} (standard error {number(kind.concept_se or 0.0, 2)}); "
        f"by inputs it cannot be told: {reason}"
    )
    yield Cause("concept", words, evidence, BY_SCORE if inputs_moved else CONCEPT)


def _told(kind: ShiftKind, is_concept: bool) -> str:
    value, se, by = (
        (kind.concept, kind.concept_se, "the truth of like rows")
        if is_concept
        else (kind.covariate, kind.covariate_se, "other rows")
    )
    assert value is not None
    return f"{number(value, 2)} (standard error {number(se or 0.0, 2)}) come by {by}"


def _inputs(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("score", *(name for name in rows.columns if name.startswith("f_")))


def _loss(rows: pl.DataFrame, is_signed: bool) -> FloatArray:
    error = rows["is_positive"].cast(pl.Float64).to_numpy() - rows["score"].to_numpy()
    return np.asarray(error if is_signed else error**2, dtype=np.float64)


def _slices(
    rows: LabelledRows,
    before: pl.DataFrame,
    after: pl.DataFrame,
    losses: list[FloatArray],
    personal: Collection[str] = (),
) -> Iterator[Cause]:
    """Slices of the rows since in which the loss exceeds what it was for like rows before.

    Values of `personal` columns are not told.
    """
    own = [name for name in before.columns if name.startswith("f_")]
    bins = [binned(before[name], after[name]) for name in own]
    if not bins:
        return
    excess = losses[1] - expected_loss(before, losses[0], after)
    excess = excess * np.sign(excess.mean())
    half = (rows.after["bucket"] % 2 == 0).to_numpy()
    codes = np.column_stack([code for code, _ in bins])
    for item in weak_slices(codes, excess, half)[:1]:
        where = " and ".join(
            _words(bins[j][1][value], own[j].removeprefix("f_"), personal)
            for j, value in zip(item.columns, item.values, strict=True)
        )
        evidence = (
            f"found on one half of the rows and confirmed on {item.n:,} of the other: the excess is "
            f"{number(item.difference, 2)} larger than elsewhere (standard error {number(item.standard_error, 2)})"
        )
        share = item.n / max((~half).sum(), 1)
        words = f"rows with {where} ({percent(float(share))} of all): the error rose more there than elsewhere"
        score = SLICE if item.rest <= ALONE * item.loss else CONFIRMED - 0.01
        yield Cause("slice", words, evidence, score, own[item.columns[0]].removeprefix("f_"), p_value=item.p_value)


def _words(told: str, column: str, personal: Collection[str]) -> str:
    return f"some values of {column}" if column in personal else told.format(column)


def binned(before: pl.Series, after: pl.Series) -> tuple[NDArray[np.int64], list[str]]:
    """Bin of each value after by the quantiles or most frequent values before, and the words of each bin."""
    if before.dtype.is_numeric():
        values = before.drop_nulls().cast(pl.Float64).to_numpy()
        values = values[np.isfinite(values)]
        edges = np.unique(np.quantile(values, np.linspace(0, 1, GROUPS + 1)[1:-1])) if len(values) else np.array([])
        x = after.cast(pl.Float64).fill_null(np.nan).to_numpy()
        code = np.where(np.isfinite(x), np.searchsorted(edges, x, side="left"), len(edges) + 1)
        told = [number(float(edge), 4) for edge in edges]
        words = [
            *(
                f"{{0}} up to {told[0]}" if i == 0 else f"{{0}} from {told[i - 1]} to {told[i]}"
                for i in range(len(told))
            ),
            f"{{0}} above {told[-1]}" if told else "{0} of any value",
            "{0} missing",
        ]
        return code.astype(np.int64), words
    text = after.cast(pl.String)
    names = before.cast(pl.String).drop_nulls().value_counts(sort=True).head(20).to_series(0).to_list()
    number_of = {name: i for i, name in enumerate(names)}
    code = np.array(
        [len(names) + 1 if value is None else number_of.get(value, len(names)) for value in text.to_list()],
        dtype=np.int64,
    )
    escaped = [name.replace("{", "{{").replace("}", "}}") for name in names]
    return code, [*(f"{{0}} = {name}" for name in escaped), "a rarer {0}", "{0} missing"]

"""What happens where inputs are missing: in the rows as they are, and with the model itself where it can be asked."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.exceptions import PanicException

from metrics_py.evaluation.fairness import Rate, largest_gap
from metrics_py.failures import told_failure
from metrics_py.intervals import N_BUCKETS, jackknife_estimate
from metrics_py.wording import count, number, percent
from sightline.errors import SightlineError
from sightline.evaluation.sets.rows import Compared
from sightline.evaluation.suite.findings import Finding, Section
from sightline.evaluation.suite.slices import losses
from sightline.home import MonitorPaths
from sightline.judging.time_limit import TimeLimitExceeded, metric_seconds, time_limit
from sightline.spec.model import MonitorSpec
from sightline.user_metrics.python_metrics import brief, importable

FloatArray = NDArray[np.float64]
MOST_ROWS, MOST_COLUMNS = 5_000, 10
LEAST_SHARE = 0.01
OTHER = 0.01
"""Mean difference from the file's scores, as a share of their spread, from which on the function is another model."""
NOT_ASKED = "the model itself was not asked: name it under `evaluation.predict` to learn what each missing input costs"
AS_THEY_ARE = "rows where the input is missing against the others; they may differ in more than that"
BLANKED = "the same rows with the input missing, scored by evaluation.predict; jackknife over buckets of entities"


def robustness(spec: MonitorSpec, paths: MonitorPaths, compared: Compared) -> Section | None:
    """Loss where inputs are missing; None where there is nothing to tell."""
    findings = _missing(spec, compared.challenger)
    notes: tuple[str, ...] = ()
    if spec.evaluation.predict is None:
        notes = (NOT_ASKED,) if findings else ()
    elif spec.model.task not in ("binary_classification", "regression"):
        notes = ("evaluation.predict is asked for scores of two classes and for numbers only",)
    else:
        with importable(paths.home):
            findings += _asked(spec, compared.challenger, spec.evaluation.predict)
    if not findings:
        return None
    return Section(key="robustness", title="Missing inputs", findings=tuple(findings), notes=notes)


def _missing(spec: MonitorSpec, rows: pl.DataFrame) -> list[Finding]:
    name, loss = losses(spec, rows)
    known = rows.with_columns(_loss=loss).drop_nulls("_loss")
    found: list[Finding] = []
    for column in spec.columns.features:
        lake = f"f_{column}"
        share = known[lake].null_count() / len(known) if lake in known.columns and len(known) else 0.0
        if share < LEAST_SHARE or share == 1.0:
            continue
        sums: list[tuple[FloatArray, FloatArray]] = []
        for part in (known.filter(pl.col(lake).is_null()), known.filter(pl.col(lake).is_not_null())):
            sums.append(_sums(part["bucket"], part["_loss"].to_numpy()))
        total, n = (np.stack([each[k] for each in sums]) for k in (0, 1))
        gap = largest_gap({name: Rate(total, n, is_share=False)}, ["missing", "there"])
        there, missing = gap.groups[1], gap.groups[0]
        told = Finding(name=name, of=f"{column} missing", n=missing.n, method=AS_THEY_ARE)
        if missing.status != "ok":
            found.append(replace(told, status="insufficient_data", reason=missing.reason or "not enough data"))
            continue
        reason = f"{number(there.value, 3)} where it is there; missing in {percent(share)} of the rows"
        ends = {"value": missing.value, "ci_low": missing.ci_low, "ci_high": missing.ci_high}
        found.append(replace(told, reason=reason, **ends))
    return found


def _sums(bucket: pl.Series, loss: FloatArray) -> tuple[FloatArray, FloatArray]:
    place = bucket.cast(pl.Int64).to_numpy() % N_BUCKETS
    total = np.bincount(place, weights=loss, minlength=N_BUCKETS).astype(np.float64)
    return total, np.bincount(place, minlength=N_BUCKETS).astype(np.float64)


def _ratio(total: FloatArray, n: FloatArray) -> FloatArray:
    return total / n


def _asked(spec: MonitorSpec, rows: pl.DataFrame, path: str) -> list[Finding]:
    """Loss with each input blanked in turn, and the time per row."""
    forecast = "score" if spec.model.task == "binary_classification" else "prediction"
    rows = rows.drop_nulls([forecast, "label_value"])
    rows = rows.gather_every(-(-len(rows) // MOST_ROWS) or 1)
    base = Finding(name="predict", of=path, n=len(rows))
    if rows.is_empty():
        return [replace(base, status="insufficient_data", reason="no row with a label and an answer")]
    columns = [name for name in spec.columns.features if f"f_{name}" in rows.columns]
    inputs = rows.select(pl.col(f"f_{name}").alias(name) for name in columns)
    try:
        with time_limit(metric_seconds()):
            function = _function(path)
            start = time.perf_counter()
            answers = _answers(function, inputs, spec)
            seconds = time.perf_counter() - start
            found = _told(spec, rows, forecast, answers, seconds, base)
            order = sorted(columns, key=lambda name: -spec.importance.get(name, 0.0))[:MOST_COLUMNS]
            blanked = [_blanked(spec, rows, inputs, function, answers, name) for name in order]
            return [*found, *sorted(blanked, key=lambda each: -(each.value or 0.0))]
    except TimeLimitExceeded:
        return [replace(base, status="warn", reason=f"no end within {metric_seconds():g} s")]
    except SightlineError as error:
        return [replace(base, status="warn", reason=error.what)]
    except (Exception, SystemExit, PanicException) as error:  # the user's function may raise anything
        return [replace(base, status="warn", reason=f"it fails: {told_failure(error)}")]


def _function(path: str) -> Callable[[pl.DataFrame], Any]:
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise SightlineError(f"{path!r} cannot be imported: {brief(error)}") from error
    if not callable(found):
        raise SightlineError(f"module {module} has no function {name!r}")
    return found


def _answers(function: Callable[[pl.DataFrame], Any], inputs: pl.DataFrame, spec: MonitorSpec) -> FloatArray:
    """One finite number per row, between 0 and 1 for two classes."""
    found = np.asarray(function(inputs.clone()), dtype=np.float64)
    if found.shape != (len(inputs),):
        raise SightlineError(
            f"it returned the shape {found.shape} for {len(inputs)} rows: one number per row is needed"
        )
    if not np.isfinite(found).all():
        raise SightlineError(f"it returned {int((~np.isfinite(found)).sum())} numbers that are not finite")
    if spec.model.task == "binary_classification" and not ((found >= 0) & (found <= 1)).all():
        raise SightlineError("it returned scores that are no probabilities")
    return found


def _loss(spec: MonitorSpec, answers: FloatArray, truth: FloatArray) -> FloatArray:
    return (answers - truth) ** 2 if spec.model.task == "binary_classification" else np.abs(answers - truth)


def _told(
    spec: MonitorSpec, rows: pl.DataFrame, forecast: str, answers: FloatArray, seconds: float, base: Finding
) -> list[Finding]:
    """The time per row, and whether the function says what the file says."""
    given = rows[forecast].to_numpy()
    gap = float(np.abs(answers - given).mean())
    timed = replace(
        base,
        name="predict_ms_per_row",
        value=1000 * seconds / len(rows),
        method="one call on this machine",
        reason=f"{count(len(rows), 'rows')} in one call",
    )
    if gap <= OTHER * max(float(given.std()), 1e-12):
        return [timed]
    reason = f"it says other numbers than the file, by {number(gap, 2)} on average: another model, or other inputs"
    return [timed, replace(base, value=gap, status="warn", reason=reason)]


def _blanked(
    spec: MonitorSpec,
    rows: pl.DataFrame,
    inputs: pl.DataFrame,
    function: Callable[[pl.DataFrame], Any],
    answers: FloatArray,
    column: str,
) -> Finding:
    """What it costs that an input is missing in all rows."""
    truth = rows["label_value"].to_numpy()
    name = "brier" if spec.model.task == "binary_classification" else "mae"
    told = Finding(name=f"{name}_added", of=f"{column} blanked", n=len(rows), method=BLANKED)
    empty = pl.lit(None, inputs.schema[column]).alias(column)
    try:
        without = _answers(function, inputs.with_columns(empty), spec)
    except SightlineError as error:
        return replace(told, status="warn", reason=f"without {column} {error.what}")
    except (Exception, SystemExit, PanicException) as error:  # the user's function may raise anything
        return replace(told, status="warn", reason=f"it fails without {column}: {told_failure(error)}")
    old, new = _loss(spec, answers, truth), _loss(spec, without, truth)
    found = jackknife_estimate(_ratio, *_sums(rows["bucket"], new - old), n=len(rows))
    middle = float(truth.mean()) if name == "brier" else float(np.median(truth))
    nothing = float(_loss(spec, np.full(len(truth), middle), truth).mean())
    reason = f"{number(float(new.mean()), 3)} without it, {number(float(old.mean()), 3)} with it"
    is_useless = found.ci_low is not None and found.ci_low + float(old.mean()) > nothing
    if is_useless:
        reason += f": worse than an answer that knows no input ({number(nothing, 3)})"
    value = found.value if found.value is not None else float((new - old).mean())
    status = "warn" if is_useless else "ok"
    return replace(told, value=value, ci_low=found.ci_low, ci_high=found.ci_high, status=status, reason=reason)

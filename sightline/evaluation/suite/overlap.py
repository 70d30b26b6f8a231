"""Overlap with the training set, and inputs that know the label.

Only what cannot be chance makes the verdict doubtful: rows with the same id and the same inputs in both sets, or rows
whose inputs repeat those of training rows far more often than training rows repeat each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.evaluation.fairness import Rate, largest_gap
from metrics_py.evaluation.separation import separation
from metrics_py.intervals import N_BUCKETS, jackknife_estimate
from metrics_py.wording import count, day, number, percent
from sightline.alerts.causes.kinds import binned
from sightline.evaluation.sets.rows import Compared
from sightline.evaluation.suite.findings import Finding, Section
from sightline.evaluation.suite.slices import SLICED_KINDS, losses
from sightline.evaluation.suite.training import Training
from sightline.spec.model import MonitorSpec

FloatArray = NDArray[np.float64]
FEW = 0.01
"""Share of the evaluation rows that were trained on, below which they hardly move a metric."""
OFTEN = 0.05
"""Share of training rows that repeat each other from which on repeats are usual."""
TELLS = 0.99
"""ROC AUC of one input alone that hardly any input has."""
NOT_GIVEN = "no training set: `--training FILE`, or a file or folder `training` beside the candidate's"
MOST_ROWS = 50_000


def overlap(spec: MonitorSpec, compared: Compared, training: Training | None, *, has_ids: bool) -> Section:
    """What evaluation and training set share, and inputs that say the label alone."""
    rows = compared.challenger
    findings: list[Finding] = []
    doubts: list[str] = []
    if training is not None:
        same = [_same_ids(spec, rows, training)] if has_ids and training.has_ids else []
        repeats = _repeats(spec, rows, training)
        findings += [each for each in (*same, repeats) if each is not None]
        doubts = [f"{each.of}: {each.reason}" for each in findings if each.status == "fail"]
        findings += [*_entities(spec, rows, training), *_times(rows, training)]
    findings += _telling(spec, rows)
    notes = (NOT_GIVEN,) if training is None else ()
    return Section(
        key="overlap", title="Overlap and leakage", findings=tuple(findings), notes=notes, doubts=tuple(doubts)
    )


def _inputs(spec: MonitorSpec, *frames: pl.DataFrame) -> list[str]:
    kinds = {f"f_{name}": feature.kind for name, feature in spec.columns.features.items()}
    return [name for name, kind in kinds.items() if kind != "embedding" and all(name in f.columns for f in frames)]


def _same_ids(spec: MonitorSpec, rows: pl.DataFrame, training: Training) -> Finding:
    """Rows with the same id, and how many of them have the same inputs, too."""
    inputs = _inputs(spec, rows, training.frame)
    trained = training.frame.select("prediction_id", *(pl.col(name).alias(f"_{name}") for name in inputs))
    shared = rows.join(trained.unique("prediction_id"), on="prediction_id", how="inner")
    equal = [pl.col(name).eq_missing(pl.col(f"_{name}")) for name in inputs]
    n_same = len(shared.filter(pl.all_horizontal(equal))) if inputs else len(shared)
    told = Finding(
        name="shared_rows", of="prediction ids", value=n_same / len(rows), n=len(rows), method="same id and same inputs"
    )
    if n_same >= FEW * len(rows) and n_same:
        reason = f"{n_same:,} of {len(rows):,} evaluation rows were trained on: the same id and the same inputs"
        return replace(told, status="fail", reason=reason)
    if n_same:
        reason = f"trained on {count(n_same, 'rows')} of it: too few to move a metric"
        return replace(told, status="warn", reason=reason)
    if len(shared):
        reason = f"{len(shared):,} ids are in both sets with other inputs: they name other rows"
        return replace(told, reason=reason)
    return replace(told, reason="no row is in both sets")


def _repeats(spec: MonitorSpec, rows: pl.DataFrame, training: Training) -> Finding | None:
    """Rows whose inputs are exactly those of a training row, beside how often training rows repeat each other."""
    inputs = _inputs(spec, rows, training.frame)
    if not inputs:
        return None
    own, trained = (frame.select("bucket", key=frame.select(inputs).hash_rows()) for frame in (rows, training.frame))
    counts = trained["key"].value_counts()
    twins = counts.filter(pl.col("count") > 1)["key"]
    is_known, has_twin = own["key"].is_in(counts["key"].implode()), trained["key"].is_in(twins.implode())
    shares = [_sums(frame["bucket"], is_in) for frame, is_in in ((own, is_known), (trained, has_twin))]
    value, usual = _mean(is_known), _mean(has_twin)
    told = Finding(
        name="repeated_inputs",
        of="inputs",
        value=value,
        n=len(rows),
        method="share of rows whose inputs a training row has, against training rows among themselves",
        parts=({"usual": usual},),
    )
    within = _mean(own["key"].is_duplicated())
    words = f"{percent(value)} of the rows have the inputs of a training row"
    words += f"; {percent(usual)} of training rows repeat another"
    if not usual and within >= FEW:
        reason = f"{words}: it has been freed of repeats, so what is usual is not known"
        return replace(told, reason=reason)
    total, n = (np.stack([share[k] for share in shares]) for k in (0, 1))
    gap = largest_gap({"share": Rate(total, n)}, ["evaluation", "training"])
    is_more = gap.ci_low is not None and gap.highest == "evaluation"
    excess = gap.ci_low if is_more and gap.ci_low is not None else 0.0
    if excess >= FEW and usual < OFTEN and value > 2 * usual:
        return replace(told, status="fail", reason=f"{words}: these rows were trained on")
    if excess >= FEW:
        return replace(told, status="warn", reason=f"{words}: more than among themselves")
    return replace(told, reason=f"{words}: no more than is usual")


def _mean(flags: pl.Series) -> float:
    return float(flags.cast(pl.Float64).to_numpy().mean()) if len(flags) else 0.0


def _sums(bucket: pl.Series, counted: pl.Series) -> tuple[FloatArray, FloatArray]:
    place = bucket.cast(pl.Int64).to_numpy() % N_BUCKETS
    weights = counted.cast(pl.Float64).to_numpy()
    total = np.bincount(place, weights=weights, minlength=N_BUCKETS).astype(np.float64)
    return total, np.bincount(place, minlength=N_BUCKETS).astype(np.float64)


def _entities(spec: MonitorSpec, rows: pl.DataFrame, training: Training) -> Iterator[Finding]:
    """Rows of entities that were trained on, and whether the others are answered worse."""
    if spec.columns.entity_id is None or not training.frame["entity_id"].count() or not rows["entity_id"].count():
        return
    known = rows["entity_id"].is_in(training.frame["entity_id"].drop_nulls().unique().implode()).fill_null(value=False)
    share = _mean(known)
    name, loss = losses(spec, rows)
    reason = f"{percent(share)} of the rows are of a {spec.columns.entity_id} that was trained on"
    means: list[tuple[FloatArray, FloatArray]] = []
    for is_in in (~known, known):
        kept = rows.with_columns(_loss=loss).filter(is_in).drop_nulls("_loss")
        means.append(_sums(kept["bucket"], kept["_loss"]))
    total, n = (np.stack([mean[k] for mean in means]) for k in (0, 1))
    gap = largest_gap({name: Rate(total, n, is_share=False)}, ["new", "known"])
    told = Finding(name="known_entities", of=spec.columns.entity_id, value=share, n=len(rows), reason=reason)
    values = {each.group: each.value for each in gap.groups}
    old, new = values["known"], values["new"]
    if gap.status != "ok" or old is None or new is None:
        yield told
        return
    reason += f"; {name} {number(old, 3)} of them, {number(new, 3)} of the others"
    is_worse = gap.highest == "new" and (gap.ci_low or 0.0) > 0 and new > 1.1 * old
    words = f"{reason}: new ones are answered worse" if is_worse else reason
    yield replace(told, method="difference of both means", status="warn" if is_worse else "ok", reason=words)


def _times(rows: pl.DataFrame, training: Training) -> Iterator[Finding]:
    """Evaluation rows that are older than the newest training row."""
    times = rows["predicted_at"] if "predicted_at" in rows.columns else pl.Series([], dtype=pl.Datetime("us"))
    newest = training.frame["predicted_at"].max()
    if not training.has_times or times.n_unique() < 2 or not isinstance(newest, datetime):
        return
    share = _mean(times <= newest)
    told = Finding(name="rows_before_training_ended", of="time", value=share, n=len(rows))
    few = f"{percent(share)} of the rows are no newer than the newest training row"
    if share > FEW:
        yield replace(told, status="warn", reason=f"{few} ({day(newest)}): production's rows always are")
    else:
        yield replace(told, reason=few if share else "all rows are newer than the training set")


def _telling(spec: MonitorSpec, rows: pl.DataFrame) -> Iterator[Finding]:
    """The input that alone says most of the label, and all that say it nearly perfectly."""
    rows = rows.gather_every(-(-len(rows) // MOST_ROWS) or 1)
    found: list[Finding] = []
    for name, feature in spec.columns.features.items():
        column = f"f_{name}"
        if feature.kind not in SLICED_KINDS or column not in rows.columns or rows[column].n_unique() < 2:
            continue
        if spec.model.task == "regression":
            found += _explained(name, rows, column)
        else:
            found += _separated(spec, name, rows, column)
    found.sort(key=lambda each: -(each.value or 0.0))
    warned = [each for each in found if each.status == "warn"]
    yield from warned or found[:1]


def _separated(spec: MonitorSpec, name: str, rows: pl.DataFrame, column: str) -> Iterator[Finding]:
    known = rows.drop_nulls("label_class")
    codes, _ = binned(known[column], known[column])
    classes = [spec.positive_class]
    if spec.model.task != "binary_classification":
        classes = sorted(known["label_class"].value_counts(sort=True).head(12)["label_class"].to_list())
    areas = [separation(codes, (known["label_class"] == c).to_numpy(), known["bucket"]) for c in classes]
    told = [area for area in areas if area.value is not None and area.ci_low is not None]
    if not told:
        return
    worst = min(told, key=lambda area: area.value or 0.0)
    assert worst.value is not None and worst.ci_low is not None
    is_telling = worst.ci_low >= TELLS
    yield Finding(
        name="roc_auc_alone",
        of=name,
        value=worst.value,
        ci_low=worst.ci_low,
        ci_high=worst.ci_high,
        n=worst.n,
        method="bins of the input, learnt on one half of the entities for the other",
        status="warn" if is_telling else "ok",
        reason="it says the label alone: is it known before the label is?"
        if is_telling
        else "the input that alone says most of the label",
    )


def _explained(name: str, rows: pl.DataFrame, column: str) -> Iterator[Finding]:
    """Share of the label's variance that a number explains in a straight line."""
    known = rows.drop_nulls([column, "label_value"])
    if known[column].dtype == pl.String or len(known) < 60:
        return
    x, y = known[column].cast(pl.Float64).to_numpy(), known["label_value"].to_numpy()
    sums = [np.ones_like(x), x - x.mean(), y - y.mean()]
    parts = [sums[0], sums[1], sums[2], sums[1] ** 2, sums[2] ** 2, sums[1] * sums[2]]
    place = known["bucket"].cast(pl.Int64).to_numpy() % N_BUCKETS
    buckets = [np.bincount(place, weights=part, minlength=N_BUCKETS) for part in parts]
    found = jackknife_estimate(_r2, *buckets, n=len(x))
    if found.value is None:
        return
    low = found.ci_low if found.ci_low is not None else found.value
    is_telling = low >= TELLS
    yield Finding(
        name="r2_alone",
        of=name,
        value=found.value,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        n=len(x),
        method="squared correlation, jackknife over buckets of entities",
        status="warn" if is_telling else "ok",
        reason="it says the label alone: is it known before the label is?"
        if is_telling
        else "the input that alone says most of the label",
    )


def _r2(n: FloatArray, x: FloatArray, y: FloatArray, xx: FloatArray, yy: FloatArray, xy: FloatArray) -> FloatArray:
    return (xy - x * y / n) ** 2 / ((xx - x**2 / n) * (yy - y**2 / n))

"""Several columns at once, and embeddings: distances of windows from the reference, from sums of sampled rows.

The work of a run is that of its own windows. Every distance is a stream of the alert engine; as a report it is beside
what is usual for a window of the reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.drift.daily_statistics import Stream
from metrics_py.multivariate.embeddings import (
    EmbeddingDistances,
    EmbeddingModel,
    embedding_distances,
)
from metrics_py.multivariate.joint import JointDistances, JointModel, joint_distances
from metrics_py.multivariate.vectors import Vectors, read_vectors
from metrics_py.multivariate.window_sums import ReferenceSums
from metrics_py.profile.column_profile import ColumnProfile
from metrics_py.reasons import ReasonCode
from metrics_py.wording import number, percent
from sightline.judging.frames import EVIDENCE, Judged, Work, conform
from sightline.judging.marts import ALL_VERSIONS
from sightline.judging.reference_bounds import MIN_REFERENCE_WINDOWS
from sightline.judging.usual_distance import NOUNS
from sightline.results.window_sums import write_window_sums
from sightline.spec.model import MonitorSpec
from sightline.spec.multivariate import JOINT, embedding_columns, joint_columns
from sightline.warehouse.joint_reference import JointReference, ensure_joint_reference
from sightline.warehouse.joint_rows import window_columns, window_vectors

ASSET = "drift"
FloatArray = NDArray[np.float64]
TWO_SIDED = ("norm", "pca_error")
BROKEN_FROM = 0.01
"""Share of vectors of another dimension from which on the contract is broken."""
FAR = 3.5
"""Standard deviations of the reference's windows that are usual, if none of them lies farther out."""
UNWATCHED = ("centroid_cosine",)
"""Reported only: for vectors of one length it says what the Euclidean distance says."""


@dataclass
class _Found:
    """Sums of the run's windows, by column; and what is told of the vectors' dimensions."""

    keys: list[str]
    sums: dict[str, dict[str, dict[str, FloatArray]]] = field(
        default_factory=dict[str, "dict[str, dict[str, FloatArray]]"]
    )
    dimensions: dict[tuple[str, str], dict[int, int]] = field(default_factory=dict[tuple[str, str], "dict[int, int]"])


def judge(work: Work) -> Judged:
    """Judgements and evidence of every window of a run with rows.

    Parameters
    ----------
    work : Work
        Rows are read from the lake; sums of the windows are published (`sightline.results.window_sums`).
    """
    nothing = Judged(conform(pl.DataFrame({"window_start": []})), pl.DataFrame(schema=EVIDENCE))
    columns, vectors = joint_columns(work.spec), embedding_columns(work.spec)
    if not work.profiles or not (columns or vectors):
        return nothing
    reference = ensure_joint_reference(work.spec, work.paths, work.con)
    if reference is None:
        return nothing
    counts = (
        "select window_key, count(*) from raw.inferences where window_key in (select unnest(?::varchar[])) group by 1"
    )
    held = dict(work.con.sql(counts, params=[list(work.keys)]).fetchall())
    found = _Found([key for key in work.keys if held.get(key)])
    for key in found.keys:
        _sum_window(work, reference, key, held[key], found)
    frames: list[pl.DataFrame] = [nothing.judgements]
    evidence: list[pl.DataFrame] = [nothing.evidence]
    for column, distances, usual in _distances(work, reference, found):
        keys = list(found.sums[column])
        judged = list(_judgements(work.spec, reference, column, keys, distances, usual, found))
        frames.append(_frame(work.spec, column, judged))
        evidence += [_evidence(work.spec, column, keys, stream) for stream in distances.streams]
    for column in [JOINT] * bool(columns) + vectors:
        if column in reference.lacking:
            frames.append(_lacking(work.spec, column, found.keys, reference))
    return Judged(pl.concat(frames), pl.concat(evidence))


def _sum_window(work: Work, reference: JointReference, key: str, n: int, found: _Found) -> None:
    own: dict[str, dict[str, FloatArray]] = {}
    if reference.joint is not None:
        own[JOINT] = reference.joint.window(window_columns(work.con, key, reference.joint.columns, n))
    for column, model in reference.embeddings.items():
        vectors: Vectors = read_vectors(window_vectors(work.con, key, column, n), model.dimension)
        own[column] = model.window(vectors)
        found.dimensions[column, key] = vectors.dimensions
    write_window_sums(work.paths, key, reference.id, own)
    for column, sums in own.items():
        found.sums.setdefault(column, {})[key] = sums


Distances = JointDistances | EmbeddingDistances


def _distances(
    work: Work, reference: JointReference, found: _Found
) -> Iterator[tuple[str, Distances, Distances | None]]:
    """Of every column: distances of the run's windows, and of the reference's own."""
    models: dict[str, JointModel | EmbeddingModel] = {**reference.embeddings}
    if reference.joint is not None:
        models = {JOINT: reference.joint, **models}
    for column, model in models.items():
        own = found.sums.get(column, {})
        if not own:
            continue
        design = _design_effect(work.profiles, column, model)
        ordinary = _unstacked(model.sums)
        usual = _of(model, model.sums.keys, ordinary, 1, design) if len(ordinary) >= MIN_REFERENCE_WINDOWS else None
        yield column, _of(model, list(own), list(own.values()), work.spec.drift.min_rows, design), usual


def _of(
    model: JointModel | EmbeddingModel,
    keys: Sequence[str],
    sums: Sequence[Mapping[str, FloatArray]],
    least: int,
    design: float,
) -> Distances:
    if isinstance(model, JointModel):
        return joint_distances(model, keys, sums, min_rows=least, design_effect=design)
    return embedding_distances(model, keys, sums, min_rows=least, design_effect=design)


def _unstacked(sums: ReferenceSums) -> list[dict[str, FloatArray]]:
    return [{name: array[k] for name, array in sums.windows.items()} for k in range(len(sums.keys))]


def _design_effect(profiles: Mapping[str, ColumnProfile], column: str, model: JointModel | EmbeddingModel) -> float:
    """How dependent rows are, by the columns' own profiles."""
    names = model.columns if isinstance(model, JointModel) else (column,)
    known = [profiles[name].design_effect for name in names if name in profiles]
    return float(np.median(known)) if known else 1.0


# ---------------------------------------------------------------- judgements


@dataclass(frozen=True)
class _Usual:
    """What is usual for a window of the reference."""

    low: float | None
    high: float | None
    middle: float | None


def _usual(values: FloatArray, *, two_sided: bool) -> _Usual:
    known = values[np.isfinite(values)]
    if len(known) < MIN_REFERENCE_WINDOWS:
        return _Usual(None, None, None)
    reach = FAR * float(known.std(ddof=1)) * np.sqrt(1 + 1 / len(known))
    low = min(float(known.min()), float(known.mean() - reach)) if two_sided else None
    return _Usual(low, max(float(known.max()), float(known.mean() + reach)), float(np.median(known)))


def _shown(distances: Distances) -> dict[str, FloatArray]:
    """Displayed values by metric."""
    found = {stream.statistic: stream.display for stream in distances.streams}
    return found | ({"centroid_cosine": distances.cosine} if isinstance(distances, EmbeddingDistances) else {})


def _judgements(
    spec: MonitorSpec,
    reference: JointReference,
    column: str,
    keys: Sequence[str],
    distances: Distances,
    usual: Distances | None,
    found: _Found,
) -> Iterator[dict[str, object]]:
    ordinary = _shown(usual) if usual is not None else {}
    reasons = {stream.statistic: stream.reason for stream in distances.streams}
    sizes = {stream.statistic: stream.n for stream in distances.streams}
    first = distances.streams[0].statistic
    for metric, values in _shown(distances).items():
        limit = _usual(ordinary.get(metric, np.empty(0)), two_sided=metric in TWO_SIDED)
        told, n = reasons.get(metric, reasons[first]), sizes.get(metric, sizes[first])
        for t, key in enumerate(keys):
            row: dict[str, object] = {
                "window_start": spec.window_start(key).replace(tzinfo=None),
                "metric": metric,
                "value": None if told[t] or not np.isfinite(values[t]) else float(values[t]),
                "n": int(n[t]),
                "reference_value": limit.middle,
                "bound_low": limit.low,
                "bound_high": limit.high,
            }
            words = ""
            if isinstance(distances, JointDistances) and metric == "correlation_distance" and reference.joint:
                words = _pairs(distances, reference.joint.columns, t)
            yield row | _status(spec, row, told[t], words) | _broken(reference, column, key, row, found)


def _pairs(distances: JointDistances, columns: Sequence[str], t: int) -> str:
    pairs = [
        f"{a} and {b} {number(old, 2)} -> {number(new, 2)}" for a, b, old, new, _ in distances.moved_pairs(columns, t)
    ]
    return f"correlation of {', of '.join(pairs)}" if pairs else ""


def _status(spec: MonitorSpec, row: Mapping[str, object], few: str | None, words: str) -> dict[str, object]:
    """Whether a value lies beyond what is usual: a report; incidents come from the streams."""
    value, low, high = row["value"], row["bound_low"], row["bound_high"]
    if few or not isinstance(value, float):
        reason = few or "undefined on these rows"
        return {"status": "insufficient_data", "reason": reason, "reason_code": _code(reason)}
    side = (
        "above"
        if isinstance(high, float) and value > high
        else "below"
        if isinstance(low, float) and value < low
        else ""
    )
    if side:
        told = f"{side} what is usual for {NOUNS[spec.schedule]}"
        return {"status": "warn", "reason": f"{told}: {words}" if words else told, "reason_code": "drift"}
    if words and high is None:
        told = f"{words} (by rows alone: the reference has too few windows to tell what is usual)"
        return {"status": "ok", "reason": told, "reason_code": "unclear"}
    if words:
        return {"status": "ok", "reason": f"{words}: no farther than is usual in all", "reason_code": "usual"}
    return {"status": "ok"}


def _code(reason: str) -> ReasonCode:
    return "undefined" if reason.startswith("undefined") else "too_few_rows"


def _broken(
    reference: JointReference, column: str, key: str, row: Mapping[str, object], found: _Found
) -> dict[str, object]:
    """Vectors of another dimension break the contract: the reference's cannot be compared with them."""
    sums = found.sums[column][key]
    if row["metric"] != "wrong_dimension_rate" or not float(sums["n_wrong"]):
        return {}
    dimension, given, wrong = reference.embeddings[column].dimension, float(sums["n_given"]), float(sums["n_wrong"])
    others = {length: n for length, n in found.dimensions[column, key].items() if length != dimension}
    told = ", ".join(f"{length}: {n}" for length, n in list(others.items())[:3])
    reason = (
        f"{wrong:.0f} of {given:.0f} vectors ({percent(wrong / given)}) have not the {dimension} numbers of the "
        f"reference's ({told}); they are left out"
    )
    is_broken = wrong / given >= BROKEN_FROM
    status = {"status": "alert"} if is_broken else {"status": "ok"}
    return {
        **status,
        "value": wrong / given,
        "reason": reason,
        "reason_code": "broken_contract" if is_broken else "usual",
    }


def _frame(spec: MonitorSpec, column: str, rows: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    keys = ("window_start", "metric", "value", "n", "reference_value", "bound_low", "bound_high", "status", "reason")
    shape = {name: [row.get(name) for row in rows] for name in (*keys, "reason_code")}
    types = {"reason": pl.String, "reason_code": pl.String, "value": pl.Float64, "n": pl.Int64}
    bounds = dict.fromkeys(("reference_value", "bound_low", "bound_high"), pl.Float64)
    frame = pl.DataFrame(shape, schema_overrides={**types, **bounds, "window_start": pl.Datetime("us")})
    whole = {"model_version": pl.lit(ALL_VERSIONS), "segment": pl.lit("all"), "column": pl.lit(column)}
    return conform(frame.with_columns(**whole))


def _lacking(spec: MonitorSpec, column: str, keys: Sequence[str], reference: JointReference) -> pl.DataFrame:
    code, reason = reference.lacking[column]
    told = {"status": "insufficient_data", "reason": reason, "reason_code": code}
    metric = "correlation_distance" if column == JOINT else "rff_distance"
    rows = [{"window_start": spec.window_start(key).replace(tzinfo=None), "metric": metric, **told} for key in keys]
    return _frame(spec, column, rows)


def _evidence(spec: MonitorSpec, column: str, keys: Sequence[str], stream: Stream) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "asset": [ASSET] * len(keys),
            "column": [column] * len(keys),
            "statistic": [stream.statistic] * len(keys),
            "window_start": [spec.window_start(key).replace(tzinfo=None) for key in keys],
            "value": pl.Series(stream.value).fill_nan(None),
            "display_value": pl.Series(stream.display).fill_nan(None),
            "n": stream.n,
            "variance": pl.Series(stream.variance, dtype=pl.Float64).fill_nan(None),
            "reason": pl.Series(stream.reason, dtype=pl.String),
            "reason_code": pl.Series([why and _code(why) for why in stream.reason], dtype=pl.String),
        },
        schema=EVIDENCE,
    )

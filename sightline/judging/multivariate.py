"""Several columns at once, and embeddings: distances of windows from the reference, from sums of sampled rows.

The work of a run is that of its own windows. Every distance is a stream of the alert engine; as a report it is beside
what is usual for a window of the reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.drift.daily_statistics import Stream
from metrics_py.multivariate.embeddings import (
    EmbeddingDistances,
    EmbeddingModel,
    embedding_distances,
)
from metrics_py.multivariate.gauge import THE_WINDOW
from metrics_py.multivariate.joint import JointDistances, JointModel, joint_distances
from metrics_py.multivariate.vectors import read_vectors
from metrics_py.multivariate.window_sums import ReferenceSums
from metrics_py.profile.column_profile import ColumnProfile
from metrics_py.reasons import ReasonCode
from metrics_py.wording import number, percent
from sightline.judging.embedding_maps import publish_maps
from sightline.judging.frames import EVIDENCE, Judged, Work, conform
from sightline.judging.longer_windows import with_fix
from sightline.judging.marts import ALL_VERSIONS
from sightline.judging.periods import Cadences, Periods
from sightline.judging.reference_bounds import MIN_REFERENCE_WINDOWS
from sightline.judging.text_vectors import TextVectors
from sightline.judging.usual_range import NOT_KNOWN, usual_range
from sightline.results.window_sums import write_window_sums
from sightline.spec.model import MonitorSpec
from sightline.spec.multivariate import JOINT, embedding_columns, joint_columns
from sightline.warehouse.joint_reference import MOST_ASKED, MOST_TEXTS, JointReference, ensure_joint_reference
from sightline.warehouse.joint_rows import window_columns, window_vectors

ASSET = "drift"
FloatArray = NDArray[np.float64]
TWO_SIDED = ("norm", "pca_error")
BROKEN_FROM = 0.01
"""Share of vectors of another dimension from which on the contract is broken."""
MOST_NAMED, LEAST_LOST = 3, 0.01
"""Columns that are named as those that tell a window apart, and what the area must lose without one."""
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
    failed: dict[tuple[str, str], Mapping[str, int]] = field(default_factory=dict[tuple[str, str], "Mapping[str, int]"])


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
    embed = TextVectors(work.spec)
    reference = ensure_joint_reference(work.spec, work.paths, work.con, embed)
    if reference is None:
        return nothing
    cadences = Cadences(work)
    found = _Found(cadences.keys)
    for key in found.keys:
        own = {column: _sums(work, reference, embed, column, [key], cadences.held[key], found) for column in reference}
        write_window_sums(work.paths, key, reference.id, own)
        for column, sums in own.items():
            found.sums.setdefault(column, {})[key] = sums
    if found.keys:
        publish_maps(work.spec, work.paths, work.con, reference, found.keys[-1])
    frames: list[pl.DataFrame] = [nothing.judgements]
    evidence: list[pl.DataFrame] = [nothing.evidence]
    for column in reference:
        by_window, long = cadences.periods(column)
        of_windows = [found.sums[column][key] for key in by_window.keys]
        of_stretches: list[dict[str, FloatArray]] = []
        for key in long.keys:
            windows = long.windows(key)
            of_stretches.append(_sums(work, reference, embed, column, windows, cadences.n(windows)))
        for periods, sums in ((by_window, of_windows), (long, of_stretches)):
            if periods.keys:
                distances, usual = _distances(work, embed, reference, column, periods, sums)
                judged = list(_judgements(reference, column, periods, distances, usual, found))
                frames.append(_frame(work.spec, column, judged))
                evidence += [periods.evidence(_evidence(work.spec, column, periods.keys, s)) for s in distances.streams]
        told = [{"metric": _first_metric(column), **row} for row in cadences.between(column, _unit(column))]
        frames.append(_frame(work.spec, column, [*told, *_broken_between(work.spec, reference, column, told, found)]))
    for column in [JOINT] * bool(columns) + vectors:
        if column in reference.lacking:
            frames.append(_lacking(work.spec, column, found.keys, reference))
    return Judged(pl.concat(frames), pl.concat(evidence))


def _sums(
    work: Work,
    reference: JointReference,
    embed: TextVectors,
    column: str,
    keys: Sequence[str],
    n: int,
    found: _Found | None = None,
) -> dict[str, FloatArray]:
    """Sums of the rows of some windows together; of one window, with what is told of its vectors."""
    if column == JOINT:
        assert reference.joint is not None  # it is one of the reference's columns
        return reference.joint.window(window_columns(work.con, keys, reference.joint.columns, n))
    model = reference.embeddings[column]
    if column in reference.texts:
        text, known = embed.sources[column][0], reference.texts[column]
        texts = window_vectors(work.con, keys, text, n, MOST_ASKED if known is None else MOST_TEXTS)
        [made] = embed(column, known, [texts], model.dimension)
        vectors, failed = made.vectors, made.failed
    else:
        vectors, failed = read_vectors(window_vectors(work.con, keys, column, n), model.dimension), None
    if found is not None:
        [key] = keys
        found.dimensions[column, key] = vectors.dimensions
        if failed is not None:
            found.failed[column, key] = failed
    return model.window(vectors)


Distances = JointDistances | EmbeddingDistances


def _distances(
    work: Work,
    embed: TextVectors,
    reference: JointReference,
    column: str,
    periods: Periods,
    sums: Sequence[Mapping[str, FloatArray]],
) -> tuple[Distances, Distances | None]:
    """Distances of some periods, and of the reference's own where it has enough of them."""
    model = reference.model(column)
    design = design_effect_of(work.profiles, embed.sources.get(column, (column,))[0], model)
    ordinary, least = _unstacked(model.sums), periods.least if periods.stretch else 1
    is_known = len(ordinary) >= MIN_REFERENCE_WINDOWS
    usual = distances_of(model, model.sums.keys, ordinary, least, design) if is_known else None
    told = distances_of(model, periods.keys, sums, periods.least, design, periods.name)
    pooled = periods.stretch is not None
    return replace(told, streams=[with_fix(work.spec, stream, pooled=pooled) for stream in told.streams]), usual


def distances_of(
    model: JointModel | EmbeddingModel,
    keys: Sequence[str],
    sums: Sequence[Mapping[str, FloatArray]],
    least: int,
    design: float,
    period: str = THE_WINDOW,
) -> Distances:
    """Distances of some periods, by the kind of the model."""
    if isinstance(model, JointModel):
        return joint_distances(model, keys, sums, min_rows=least, design_effect=design, period=period)
    return embedding_distances(model, keys, sums, min_rows=least, design_effect=design, period=period)


def _unstacked(sums: ReferenceSums) -> list[dict[str, FloatArray]]:
    return [{name: array[k] for name, array in sums.windows.items()} for k in range(len(sums.keys))]


def design_effect_of(profiles: Mapping[str, ColumnProfile], column: str, model: JointModel | EmbeddingModel) -> float:
    """How dependent rows are, by the columns' own profiles."""
    names = model.columns if isinstance(model, JointModel) else (column,)
    known = [profiles[name].design_effect for name in names if name in profiles]
    return float(np.median(known)) if known else 1.0


# ---------------------------------------------------------------- judgements


def _shown(distances: Distances) -> dict[str, FloatArray]:
    """Displayed values by metric."""
    found = {stream.statistic: stream.display for stream in distances.streams}
    return found | ({"centroid_cosine": distances.cosine} if isinstance(distances, EmbeddingDistances) else {})


def _first_metric(column: str) -> str:
    return "correlation_distance" if column == JOINT else "rff_distance"


def _unit(column: str) -> str:
    return "rows" if column == JOINT else "vectors"


def _judgements(
    reference: JointReference,
    column: str,
    periods: Periods,
    distances: Distances,
    usual: Distances | None,
    found: _Found,
) -> Iterator[dict[str, object]]:
    spec, keys = periods.spec, periods.keys
    ordinary = _shown(usual) if usual is not None else {}
    reasons = {stream.statistic: stream.reason for stream in distances.streams}
    sizes = {stream.statistic: stream.n for stream in distances.streams}
    first = distances.streams[0].statistic
    for metric, values in _shown(distances).items():
        limit = usual_range(ordinary.get(metric, np.empty(0)), two_sided=metric in TWO_SIDED)
        told, n = reasons.get(metric, reasons[first]), sizes.get(metric, sizes[first])
        for t, key in enumerate(keys):
            row: dict[str, object] = {
                "window_start": spec.window_start(key).replace(tzinfo=None),
                "metric": metric,
                "value": None if told[t] or not np.isfinite(values[t]) else float(values[t]),
                "n": int(n[t]),
                **limit.columns(),
            }
            words = ""
            if isinstance(distances, JointDistances) and reference.joint:
                words = _joint_words(distances, reference.joint.columns, metric, t)
            judged = periods.told(row | _status(periods, row, told[t], words), _unit(column))
            yield judged | _broken(reference, column, key, row, found)
    for key in keys:
        if (column, key) in found.failed:
            yield _without_vector(spec, found, column, key)


def _broken_between(
    spec: MonitorSpec,
    reference: JointReference,
    column: str,
    waiting: Sequence[Mapping[str, object]],
    found: _Found,
) -> Iterator[dict[str, object]]:
    """Contracts that break in windows which are judged with a later one: that is told at once."""
    for row in waiting if column != JOINT else ():
        start = row["window_start"]
        assert isinstance(start, datetime)  # as `Cadences.between` gives it
        key = spec.key(start)
        wrong: dict[str, object] = {"window_start": start, "metric": "wrong_dimension_rate", "n": row["n"]}
        broken = [wrong | _broken(reference, column, key, wrong, found)]
        broken += [_without_vector(spec, found, column, key)] if (column, key) in found.failed else []
        yield from (each for each in broken if each.get("status") == "alert")


def _joint_words(distances: JointDistances, columns: Sequence[str], metric: str, t: int) -> str:
    if metric == "correlation_distance":
        return _pairs(distances, columns, t)
    return _needed(distances, columns, t) if metric == "domain_auc" else ""


def _needed(distances: JointDistances, columns: Sequence[str], t: int) -> str:
    """Columns that a classifier needs to tell the window from the reference."""
    lost = distances.importance[t]
    order = [int(k) for k in np.argsort(-lost)[:MOST_NAMED] if lost[k] >= LEAST_LOST]
    told = ", ".join(f"{columns[k]} ({number(float(lost[k]), 2)})" for k in order)
    return f"told apart by {told}" if told else ""


def _pairs(distances: JointDistances, columns: Sequence[str], t: int) -> str:
    pairs = [
        f"{a} and {b} {number(old, 2)} -> {number(new, 2)}" for a, b, old, new, _ in distances.moved_pairs(columns, t)
    ]
    return f"correlation of {', of '.join(pairs)}" if pairs else ""


def _status(periods: Periods, row: Mapping[str, object], few: str | None, words: str) -> dict[str, object]:
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
        told = f"{side} what is usual for {periods.noun}"
        return {"status": "warn", "reason": f"{told}: {words}" if words else told, "reason_code": "drift"}
    if high is None:
        told = f"{words} (by rows alone): {NOT_KNOWN}" if words else NOT_KNOWN
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
    sums = found.sums[column].get(key)  # of the window: a contract is one of each day
    if row["metric"] != "wrong_dimension_rate" or sums is None or not float(sums["n_wrong"]):
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


def _without_vector(spec: MonitorSpec, found: _Found, column: str, key: str) -> dict[str, object]:
    """Texts of which the user's function made no vector: they are left out, and somebody has to mend it."""
    sums, why = found.sums[column][key], found.failed[column, key]
    given, lost = float(sums["n_given"]), float(sums["n_none"])
    row: dict[str, object] = {
        "window_start": spec.window_start(key).replace(tzinfo=None),
        "metric": "no_vector_rate",
        "value": lost / given if given else None,
        "n": int(given),
    }
    if not given:
        return row | {"status": "insufficient_data", "reason": "no texts in the window", "reason_code": "too_few_rows"}
    if not lost:
        return row | {"status": "ok"}
    is_broken = lost / given >= BROKEN_FROM
    first = next(iter(why), "")
    told = f"{lost:.0f} of {given:.0f} texts ({percent(lost / given)}) have no vector and are left out ({first})"
    code = "broken_contract" if is_broken else "usual"
    return row | {"status": "alert" if is_broken else "ok", "reason": told, "reason_code": code}


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
    told["metric"] = _first_metric(column)
    rows = [{"window_start": spec.window_start(key).replace(tzinfo=None), **told} for key in keys]
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

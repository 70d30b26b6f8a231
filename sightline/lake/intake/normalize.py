"""Chunks of native columns to the canonical lake frame, and to quarantine rows for everything that did not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import polars as pl

from metrics_py.profile.values import category_texts, merged_spellings, plainly_spelled, read_classes
from sightline.lake.intake.chunks import BadRecord, Chunk
from sightline.lake.intake.convert import Converted, convert, without_nan
from sightline.lake.intake.described import FAILED, TEXT_CUT, Described, described
from sightline.lake.intake.measured import json_texts, measured, thumbs
from sightline.lake.intake.roles import roles, succeeded
from sightline.lake.intake.rounding import Rounded, rounded
from sightline.lake.store.parts import quarantine_frame, window_starts
from sightline.lake.store.schema import (
    LABEL_SCHEMA,
    QUARANTINE_SCHEMA,
    REVISION_SCHEMA,
    TIMESTAMP,
    inference_schema,
)
from sightline.spec.field_types import NUMBER_TASKS, Feedback
from sightline.spec.model import MonitorSpec

CLOCK_SKEW = timedelta(days=1)
"""Times this far behind the moment of receipt are a clock's error, later ones a mistake."""
VALUE_LIMIT = 200


@dataclass
class Normalized:
    """Accepted rows in canonical columns (``bucket`` still null), quarantine rows, and counts.

    ``revisions`` (`REVISION_SCHEMA`, without content) has a row for each row of ``frame`` that corrects another, and
    for each withdrawal; these are not in ``frame``.
    """

    frame: pl.DataFrame
    quarantine: list[pl.DataFrame] = field(default_factory=list[pl.DataFrame])
    n_rows: int = 0
    n_rejected: int = 0
    n_value_issues: int = 0
    revisions: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=REVISION_SCHEMA))


class _Work:
    """One chunk on its way: converted columns, rejected rows, value issues."""

    def __init__(self, spec: MonitorSpec, chunk: Chunk) -> None:
        self.spec, self.chunk, self.raw = spec, chunk, chunk.frame
        self.n, self.names = len(chunk.frame), frozenset(chunk.frame.columns)
        self.kinds = {role.name: role.kind for role in roles(spec, chunk.batch.kind)}
        self.sources = {role.name: role.column for role in roles(spec, chunk.batch.kind)}
        is_text = {name for name, dtype in self.raw.schema.items() if dtype == pl.String}
        texts = [name for name, kind in self.kinds.items() if kind == "categorical" and name in is_text]
        self.is_plain = plainly_spelled(self.raw.select(texts)) if chunk.batch.format != "segment" else set[str]()
        self.columns: dict[str, pl.Series] = {}
        self.read: dict[str, pl.Series] = {}
        self.rejected = pl.Series([False], dtype=pl.Boolean).new_from_index(0, self.n)
        self.withdrawn = self.rejected
        self.rejections: list[tuple[str, str, pl.Series]] = []
        self.issues: list[tuple[str, str, pl.Series]] = []
        self.rounded: list[tuple[str, Rounded]] = []
        self.merged: list[tuple[str, str]] = []
        self.described = Described()
        batch_time = chunk.batch.received_at.astimezone(UTC).replace(tzinfo=None)
        self.received = self.constant(batch_time, TIMESTAMP)
        if "received_at" in self.raw.columns:
            times = convert(self.raw["received_at"], "datetime").values
            self.received = times.fill_null(batch_time)

    def constant(self, value: object, dtype: pl.DataType) -> pl.Series:
        return pl.Series([value], dtype=dtype).new_from_index(0, self.n)

    def has(self, name: str) -> bool:
        return name in self.names

    def source(self, name: str) -> pl.Series:
        """A column as it was read; the same object each time, by which one tells that nothing was converted."""
        if name not in self.read:
            self.read[name] = self.raw[name]
        return self.read[name]

    def take(self, name: str, kind: str | None = None) -> Converted:
        """Convert one column; one that is absent is all null."""
        if not self.has(name):
            return convert(
                pl.Series(name, [None], dtype=pl.Null).new_from_index(0, self.n), kind or self.kinds.get(name, "text")
            )
        if name in self.is_plain and kind in (None, "categorical"):
            return Converted(self.source(name))
        found = convert(self.source(name), kind or self.kinds.get(name, "text"), parse=self.chunk.parses(name))
        is_logged_category = self.chunk.batch.format == "segment" and self.kinds.get(name) == "categorical"
        return without_nan(found) if is_logged_category else found

    def value(self, name: str, kind: str | None = None) -> pl.Series:
        """Convert one column whose bad values become null and are reported."""
        found = self.take(name, kind)
        if self.has(name) and (kind or self.kinds.get(name)) == "numeric":
            lost = rounded(self.source(name), found.values, parse=self.chunk.parses(name))
            if lost is not None:
                self.rounded.append((self.sources.get(name, name), lost))
        for reason, mask in found.issues:
            self.issues.append((name, reason, mask))
        if name.startswith("f_") and (kind or self.kinds.get(name)) == "categorical":
            raw = self.source(name) if self.has(name) else None
            spelled = merged_spellings(raw, found.values) if raw is not None and raw.dtype == pl.String else []
            self.merged += [(self.sources.get(name, name), told) for told in spelled]
        return found.values

    def drop(self, name: str, values: pl.Series, reason: str, bad: pl.Series) -> pl.Series:
        """Null the values a rule forbids."""
        if not bad.any():
            return values
        bad = bad.fill_null(False)
        self.issues.append((name, reason, bad))
        return values.set(bad, None)

    def reject(self, name: str, reason: str, bad: pl.Series) -> None:
        """Refuse whole rows; the first reason counts."""
        if not bad.any():
            return
        fresh = bad.fill_null(False) & ~self.rejected
        if fresh.any():
            self.rejections.append((name, reason, fresh))
            self.rejected = self.rejected | fresh


def normalize(spec: MonitorSpec, chunk: Chunk) -> Normalized:
    """Convert one chunk.

    Parameters
    ----------
    spec : MonitorSpec
        Kinds of columns, first window, task.
    chunk : Chunk
        From `sightline.lake.intake.read.read_chunks`.

    Returns
    -------
    Normalized
        Inferences in `inference_schema`; labels in `LABEL_SCHEMA` with ``predicted_at`` as the routing hint and
        ``revision_order`` as the row's position in the batch.
    """
    work = _Work(spec, chunk)
    is_inference = chunk.batch.kind == "inferences"
    frame = _inferences(work) if is_inference else _labels(work)
    revisions = (
        _revisions(work, frame) if is_inference and work.has("is_correction") | work.has("is_withdrawn") else None
    )
    left_out = work.rejected | work.withdrawn
    kept = frame.filter(~left_out) if left_out.any() else frame
    quarantine = [
        *_rejections(work, frame),
        *_value_issues(work, frame),
        *_notes(work),
        *_rounding_notes(work, frame),
        *_bad_records(work, chunk.bad),
    ]
    n_bad = sum(record.n_rows for record in chunk.bad)
    n_values = sum(len(part) for part in quarantine if part["severity"][0] == "value")
    done = Normalized(kept, quarantine, work.n + n_bad, int(work.rejected.sum()) + n_bad, n_values)
    return done if revisions is None else replace(done, revisions=revisions)


def id_texts(texts: pl.Series) -> pl.Series:
    """Ids in one spelling for every format: without blanks around, whole numbers without ``.0``.

    Parameters
    ----------
    texts : polars.Series of String
        Ids; one with zeros in front (``007``) is a name of its own.

    Examples
    --------
    >>> id_texts(pl.Series([" 7", "7.0", "007", "a.0"])).to_list()
    ['7', '7', '007', 'a.0']
    """
    stripped = texts.str.strip_chars()
    text = pl.col("text")
    is_candidate = text.str.ends_with(".0") | text.str.ends_with("00")
    if not stripped.alias("text").to_frame().select(is_candidate.any()).item():
        return stripped
    is_whole = stripped.str.contains(r"^-?(0|[1-9][0-9]*)\.0+$").fill_null(False)
    return stripped.zip_with(~is_whole, stripped.str.replace(r"\.0+$", "")) if is_whole.any() else stripped


def _identify(work: _Work) -> None:
    ids = work.take("prediction_id", "text")
    text = id_texts(ids.values)
    for _, bad in ids.issues:
        work.reject("prediction_id", "bad_id", bad)
    work.reject("prediction_id", "missing_id", text.is_null() | (text == ""))
    work.columns["prediction_id"] = text


def _times(work: _Work) -> None:
    """Prediction times: a segment's event without one was made when it was received; a file's row is refused."""
    found = work.take("predicted_at", "datetime")
    times = found.values
    for _, bad in found.issues:
        work.reject("predicted_at", "bad_timestamp", bad & ~work.withdrawn)
    if work.chunk.batch.format == "segment":
        times = times.zip_with(times.is_not_null(), work.received)
    work.reject("predicted_at", "missing_timestamp", times.is_null() & ~work.withdrawn)
    first = work.spec.first_window.replace(tzinfo=None)
    is_off = (times < first) | (times > work.received + CLOCK_SKEW)
    work.reject("predicted_at", "timestamp_out_of_range", is_off & ~work.withdrawn)
    work.columns["predicted_at"] = times


def _inferences(work: _Work) -> pl.DataFrame:
    spec, columns = work.spec, work.columns
    work.withdrawn = _flag(work, "is_withdrawn", "bad_withdrawal")
    _identify(work)
    _times(work)
    columns["model_version"] = work.value("model_version", "text").fill_null("unversioned")
    for name in ("entity_id", "query_id"):
        known = work.value(name, "text")
        if known.null_count() < len(known):
            known = id_texts(known)
            known = known.set((known == "").fill_null(value=False), None)
        columns[name] = known
    _outputs(work)
    status = work.value("status", "categorical")
    columns["status"] = status
    columns["is_error"] = ~succeeded(status)
    _require(work)
    latency = work.value("latency_ms", "numeric")
    columns["latency_ms"] = work.drop("latency_ms", latency, "negative", latency < 0)
    weight = work.value("weight", "numeric")
    columns["weight"] = work.drop("weight", weight, "bad_weight", weight <= 0).fill_null(1.0)
    columns["received_at"] = work.received
    columns["batch_id"] = work.constant(work.chunk.batch.batch_id, pl.String())
    columns["row_number"] = work.raw["row_number"]
    documents = f"f_{spec.columns.llm.documents}" if spec.columns.llm else ""
    if work.has(documents):
        work.read[documents] = json_texts(work.source(documents))
    for name in spec.columns.logged:
        columns[f"f_{name}"] = work.value(f"f_{name}")
    work.described = described(spec, columns)
    columns.update(work.described.columns)
    columns.update(measured(spec, columns, work.described.failed))
    for name in spec.columns.segments:
        if name in spec.columns.computed:
            columns[f"g_{name}"] = category_texts(columns[f"f_{name}"].cast(pl.String))
            continue
        columns[f"g_{name}"] = (
            work.value(f"g_{name}") if name not in spec.columns.features else work.take(f"g_{name}").values
        )
    schema = inference_schema(spec)
    starts = columns["predicted_at"].to_frame("t").select(window_starts(pl.col("t"), spec)).to_series()
    columns["window_start"] = starts
    return pl.DataFrame(
        [
            columns[name].alias(name).cast(dtype) if name in columns else work.constant(None, dtype).alias(name)
            for name, dtype in schema.items()
        ]
    )


def _outputs(work: _Work) -> None:
    """Score, prediction, class and class probabilities."""
    spec, columns = work.spec, work.columns
    task = spec.model.task
    score = work.value("score", "numeric")
    if task == "binary_classification":
        score = work.drop("score", score, "score_out_of_range", (score < 0) | (score > 1))
    columns["score"] = score
    for name in spec.columns.class_scores:
        values = work.value(f"p_{name}", "numeric")
        columns[f"p_{name}"] = work.drop(f"p_{name}", values, "score_out_of_range", (values < 0) | (values > 1))
    if task in NUMBER_TASKS:
        columns["prediction"] = work.value("prediction", "numeric")
        return
    said = work.value("prediction", "categorical")
    classes, _, unknown = read_classes(said, spec.class_names)
    if task != "binary_classification" and spec.columns.class_scores:
        is_said = said.is_not_null() & (said.str.strip_chars() != "")
        unknown |= is_said & classes.is_null()  # a word for "no value" may be a class: it is told, and not filled in
        best = _most_probable(classes, {name: columns[f"p_{name}"] for name in spec.columns.class_scores})
        classes = classes.zip_with(unknown, best)
    if unknown.any():
        work.issues.append(("prediction", "bad_class", unknown))
    columns["predicted_class"] = classes


def _most_probable(classes: pl.Series, scores: dict[str, pl.Series]) -> pl.Series:
    """The class of highest probability where no class was given; the first of equals, null unless all are known."""
    frame = pl.DataFrame([values.alias(name) for name, values in scores.items()])
    top = pl.max_horizontal(*map(pl.col, scores))
    best = pl.lit(None, dtype=pl.String)
    for name in reversed(scores):
        best = pl.when(pl.col(name) == top).then(pl.lit(name)).otherwise(best)
    known = pl.all_horizontal(pl.all().is_not_null())
    return classes.zip_with(classes.is_not_null(), frame.select(pl.when(known).then(best)).to_series())


def _flag(work: _Work, name: str, reason: str) -> pl.Series:
    """Which rows say yes; a row that does not say clearly whether it does is refused."""
    found = work.take(name, "boolean")
    for _, bad in found.issues:
        work.reject(name, reason, bad)
    return found.values.fill_null(value=False)


def _require(work: _Work) -> None:
    """Refuse predictions in a file that has room for withdrawals alone: it lacks what the others need."""
    if not work.has("is_withdrawn") or work.chunk.batch.format == "segment":
        return
    for role in roles(work.spec, "inferences"):
        if role.required and not work.has(role.name):
            is_excused = work.withdrawn | work.columns["is_error"] if role.of_answer else work.withdrawn
            work.reject(role.name, "missing_column", ~is_excused)


def _observed(work: _Work) -> pl.Series:
    """When the truth or a revision became known: default when it was received."""
    observed = work.value("observed_at", "datetime")
    observed = work.drop("observed_at", observed, "timestamp_out_of_range", observed > work.received + CLOCK_SKEW)
    return observed.zip_with(observed.is_not_null(), work.received)


def _revisions(work: _Work, frame: pl.DataFrame) -> pl.DataFrame:
    """Corrections and withdrawals among the rows; what a correction says is filled in later."""
    corrected = _flag(work, "is_correction", "bad_correction")
    wanted = (corrected | work.withdrawn) & ~work.rejected
    version = pl.when("is_withdrawn").then("said_version").otherwise("model_version")
    observed = _observed(work)
    made = pl.when(~work.withdrawn).then("predicted_at")
    told = frame.select(
        "prediction_id",
        "model_version",
        "received_at",
        "row_number",
        "batch_id",
        is_withdrawn=work.withdrawn,
        observed_at=observed,
        reaches_until=pl.max_horizontal(observed, made) + CLOCK_SKEW,
        said_version=work.take("model_version", "text").values,
        content=pl.lit("", pl.String),
        is_waiting=pl.lit(value=False),
    )
    return told.filter(wanted).with_columns(model_version=version).select(REVISION_SCHEMA.keys())


def _labels(work: _Work) -> pl.DataFrame:
    spec, columns = work.spec, work.columns
    _identify(work)
    kind = "numeric" if spec.model.task in NUMBER_TASKS else "categorical"
    retracted = _flag(work, "is_retracted", "bad_retraction")
    feedback: Feedback = spec.labels.feedback if spec.labels else None
    found = work.take("label", "categorical" if feedback == "thumbs" else kind)
    for reason, bad in found.issues:
        work.reject("label", "bad_label" if reason == "bad_type" else "label_not_finite", bad & ~retracted)
    values, is_off = _feedback(found.values, feedback)
    work.reject("label", "bad_label", is_off & ~retracted)
    values = values.set(retracted, None)
    if kind == "numeric":
        is_read = work.has("label") and feedback != "thumbs"  # thumbs are words
        lost = rounded(work.raw["label"], values, parse=work.chunk.parses("label")) if is_read else None
        if lost is not None:
            work.rounded.append((work.sources["label"], lost))
        work.reject("label", "missing_label", values.is_null() & ~retracted)
        if spec.model.task == "ranking":
            work.reject("label", "bad_label", (values < 0).fill_null(value=False))  # a relevance is 0 or more
        columns["label_value"] = values
    else:
        values, missing, unknown = read_classes(values, spec.class_names)
        work.reject("label", "missing_label", missing & ~retracted)
        work.reject("label", "bad_label", unknown & ~retracted)
        columns["label_class"] = values
        if spec.model.task == "binary_classification":
            columns["label_value"] = (values == spec.positive_class).cast(pl.Float64)
    hint = work.take("predicted_at", "datetime")
    columns["predicted_at"] = columns["hinted_at"] = hint.values
    columns["observed_at"] = _observed(work)
    columns["received_at"] = work.received
    columns["is_retracted"] = retracted
    columns["revision_order"] = work.raw["row_number"]
    columns["batch_id"] = work.constant(work.chunk.batch.batch_id, pl.String())
    return pl.DataFrame(
        [
            columns[name].alias(name).cast(dtype) if name in columns else work.constant(None, dtype).alias(name)
            for name, dtype in LABEL_SCHEMA.items()
        ]
    )


def _feedback(values: pl.Series, feedback: Feedback) -> tuple[pl.Series, pl.Series]:
    """Labels as numbers where they are thumbs, and which are none of the feedback that may come."""
    if feedback == "thumbs":
        return thumbs(values)
    if feedback is not None:
        lowest, highest = feedback
        return values, ((values < lowest) | (values > highest)).fill_null(value=False)
    return values, pl.Series([False], dtype=pl.Boolean).new_from_index(0, len(values))


def _text(value: object) -> str:
    try:
        return str(value)
    except RecursionError:
        return "nested too deeply to be shown"


def _shown(values: pl.Series) -> list[str | None]:
    shown: list[str | None] = []
    for value in values.to_list():
        if isinstance(value, datetime):
            shown.append(value.isoformat())
        else:
            shown.append(None if value is None else _text(value)[:VALUE_LIMIT])
    return shown


def _quarantined(
    work: _Work, frame: pl.DataFrame, name: str, reason: str, rows: pl.Series, severity: str
) -> pl.DataFrame:
    """Quarantine rows for some positions; ``window_start`` is null where the time itself is what is wrong."""
    picked = frame[rows]
    raw = work.raw[name].gather(rows) if work.has(name) else None
    shown = _shown(raw) if raw is not None else [None] * len(rows)
    source = work.sources.get(name, name)
    is_row = severity == "row"
    starts = picked["window_start"] if is_row and name != "predicted_at" and "window_start" in picked.columns else None
    if severity == "value":
        starts = picked["window_start"]
    return pl.DataFrame(
        {
            "kind": work.chunk.batch.kind,
            "batch_id": work.chunk.batch.batch_id,
            "source": work.chunk.batch.path,
            "row_number": work.raw["row_number"].gather(rows),
            "prediction_id": picked["prediction_id"],
            "predicted_at": picked["predicted_at"],
            "window_start": starts,
            "column": source,
            "reason": reason,
            "value": pl.Series(shown, dtype=pl.String),
            "severity": severity,
            "payload": pl.Series(work.chunk.payload(rows.to_list()), dtype=pl.String) if is_row else None,
            "received_at": picked["received_at"],
        },
        schema=QUARANTINE_SCHEMA,
    )


def _rejections(work: _Work, frame: pl.DataFrame) -> list[pl.DataFrame]:
    return [_quarantined(work, frame, name, reason, mask.arg_true(), "row") for name, reason, mask in work.rejections]


def _value_issues(work: _Work, frame: pl.DataFrame) -> list[pl.DataFrame]:
    found: list[pl.DataFrame] = []
    for name, reason, mask in work.issues:
        is_withdrawn = work.withdrawn if name != "observed_at" else work.withdrawn & False
        rows = (mask & ~work.rejected & ~is_withdrawn).arg_true()
        if len(rows):
            found.append(_quarantined(work, frame, name, reason, rows, "value"))
    return found


def _notes(work: _Work) -> list[pl.DataFrame]:
    """Columns nobody knows, columns that are not there: one line each per chunk."""
    text = f"{work.n} rows"
    notes = [(name, "unknown_column", text) for name in work.chunk.unknown]
    notes += [(role.column, "missing_column", text) for role in work.chunk.missing]
    notes += [(name, "merged_categories", told) for name, told in work.merged]
    notes += [(name, FAILED, reason[:VALUE_LIMIT]) for name, reason in work.described.failed.items()]
    if not notes or work.n == 0:
        return []
    row = {
        "kind": work.chunk.batch.kind,
        "batch_id": work.chunk.batch.batch_id,
        "source": work.chunk.batch.path,
        "severity": "note",
    }
    received = work.received[0]
    return [
        quarantine_frame(
            [
                {**row, "column": name, "reason": reason, "value": text, "received_at": received}
                for name, reason, text in dict.fromkeys(notes)
            ]
        )
    ]


def _rounding_notes(work: _Work, frame: pl.DataFrame) -> list[pl.DataFrame]:
    """What DOUBLE cannot hold, and texts that were cut: one line per column and window."""
    told = [(name, lost.reason, lost.rows) for name, lost in work.rounded]
    told += [(name, TEXT_CUT, is_cut) for name, is_cut in work.described.cut.items()]
    if not told:
        return []
    batch = work.chunk.batch
    row = {"kind": batch.kind, "batch_id": batch.batch_id, "source": batch.path, "severity": "note"}
    found: list[dict[str, object]] = []
    for name, reason, where in told:
        rows = frame.filter(where & ~work.rejected)
        counts = rows.group_by("window_start").agg(n=pl.len(), received_at=pl.col("received_at").min())
        for start, n, received in counts.sort("window_start").rows():
            note = {"column": name, "reason": reason, "value": f"{n} rows", "window_start": start}
            found.append(row | note | {"received_at": received})
    return [quarantine_frame(found)] if found else []


def _bad_records(work: _Work, bad: Sequence[BadRecord]) -> list[pl.DataFrame]:
    if not bad:
        return []
    batch = work.chunk.batch
    row = {"kind": batch.kind, "batch_id": batch.batch_id, "source": batch.path, "severity": "row"}
    received = batch.received_at.astimezone(UTC).replace(tzinfo=None)
    return [
        quarantine_frame(
            [
                {
                    **row,
                    "row_number": b.row_number,
                    "reason": b.reason,
                    "value": b.message[:VALUE_LIMIT],
                    "payload": b.payload,
                    "received_at": received,
                }
                for b in bad
            ]
        )
    ]

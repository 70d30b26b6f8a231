"""Rows a reference is built from: those of the lake in a span of time, or those of a file, one column at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl

from metrics_py.comparison.tables import read_file, read_table
from metrics_py.comparison.text_files import FORMATS, format_of
from sightline.arrow import to_arrow
from sightline.errors import SightlineError, nearest
from sightline.home import Home
from sightline.lake.intake.chunks import Chunk
from sightline.lake.intake.dedupe import add_buckets
from sightline.lake.intake.normalize import normalize
from sightline.lake.intake.roles import roles
from sightline.lake.intake.rounding import ROUNDINGS
from sightline.lake.intake.sources import Batch
from sightline.lake.store.schema import literal, quote
from sightline.spec.field_types import NUMBER_TASKS, FeatureKind
from sightline.spec.model import MonitorSpec
from sightline.warehouse.settings import negative_class

MAX_ROWS = 10_000_000
"""Larger references are thinned to every k-th row: more rows would not move a quantile that matters."""

BAD_LABELS = ("bad_label", "label_not_finite")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ColumnRole:
    """One judged column, where the lake keeps it, how it is read, and the part it plays."""

    column_name: str
    lake_column: str
    kind: str
    role: str


def column_roles(spec: MonitorSpec) -> list[ColumnRole]:
    """Judged columns in order: features, ``@score``, ``@prediction``, ``@class_score:<class>``, ``@label``."""
    columns = spec.columns
    is_number = spec.model.task in NUMBER_TASKS
    found = [ColumnRole(name, f"f_{name}", feature.kind, "feature") for name, feature in columns.features.items()]
    if columns.score:
        found.append(ColumnRole("@score", "score", "numeric", "score"))
    if columns.prediction:
        prediction = ("prediction", "numeric") if is_number else ("predicted_class", "categorical")
        found.append(ColumnRole("@prediction", *prediction, "prediction"))
    found += [ColumnRole(f"@class_score:{c}", f"p_{c}", "numeric", "class_score") for c in columns.class_scores]
    if spec.labels:
        label = ("label_value", "numeric") if is_number else ("label_class", "categorical")
        found.append(ColumnRole("@label", *label, "label"))
    return found


@dataclass(frozen=True)
class ReferenceData:
    """Access to the rows.

    Attributes
    ----------
    source : str
        Where they come from, in words.
    n_rows, n_windows, n_labelled, n_rejected : int
        Rows, windows that hold some, labelled rows, unreadable rows of a file.
    n_bad_labels : int
        Labels of a file that cannot be read, such as neither class; a missing one is none of them.
    rounding : mapping of str to set of str
        What 64-bit floats do to a column of the user's (`sightline.lake.intake.rounding`).
    has_ids : bool
        The rows of a file have ids of their own, not just numbers.
    unread : mapping of (str, str) to int
        Column of the user's and reason -> values of a file that cannot be used.
    select : callable
        SQL select list -> frame of all rows (thinned), labels joined only if asked for.
    is_file : bool
        Rows are those of a file; `frame` holds them in lake columns with ``label_class`` and ``label_value``.
    """

    source: str
    n_rows: int
    n_windows: int
    n_labelled: int
    n_rejected: int
    select: Callable[[str, bool], pl.DataFrame]
    is_file: bool = False
    frame: pl.DataFrame | None = None
    n_bad_labels: int = 0
    rounding: Mapping[str, set[str]] = field(default_factory=dict[str, set[str]])
    has_ids: bool = True
    unread: Mapping[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])

    def column(self, role: ColumnRole) -> pl.DataFrame:
        """``value`` as the column is judged (text by length, embedding by norm) and ``bucket``.

        Labels of labelled rows only.
        """
        name = quote(role.lake_column)
        readings = {
            "text": f"length({name})::DOUBLE",
            "embedding": f"sqrt(list_sum(list_transform({name}, lambda x: x::DOUBLE * x::DOUBLE)))",
        }
        return self.select(f"{readings.get(role.kind, name)} AS value, bucket", role.role == "label")

    def segment_counts(self, column: str) -> pl.DataFrame:
        """``value``, ``n`` of a segment column."""
        return self.select(f"{quote('g_' + column)} AS value", False).group_by("value").len("n")


def lake_data(
    con: duckdb.DuckDBPyConnection, spec: MonitorSpec, start: datetime | None, end: datetime | None
) -> ReferenceData:
    """Rows of the lake in [start, end), both starts of windows; none if they are None.

    Parameters
    ----------
    con : DuckDBPyConnection
        Schema ``raw`` is prepared.
    """
    if start is None or end is None:
        condition, source = "false", "the lake, which is empty"
    else:
        condition = f"window_key >= {literal(spec.key(start))} AND window_key < {literal(spec.key(end))}"
        source = f"inferences in the lake from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}"
    count = f"SELECT count(*), count(DISTINCT window_key) FROM raw.production WHERE {condition}"  # noqa: S608 (quoted)
    n_rows, n_windows = con.sql(count).fetchall()[0]
    value = "label_value" if spec.model.task in NUMBER_TASKS else "label_class"
    joined = (
        f"(SELECT * FROM raw.production WHERE {condition}) JOIN "  # noqa: S608 (all quoted)
        f"(SELECT window_start, prediction_id, {value} FROM raw.current_labels WHERE {condition}) "
        "USING (window_start, prediction_id)"
    )
    if spec.is_silence_negative:
        joined = _with_silence(spec, condition)
    count = f"SELECT count(*) FROM {joined}"  # noqa: S608 (all quoted)
    n_labelled = con.sql(count).fetchall()[0][0] if spec.labels and _silence_is_over(con, spec, end) else 0
    step = -(-n_rows // MAX_ROWS) or 1

    def select(items: str, with_label: bool) -> pl.DataFrame:
        rows = joined if with_label else f"raw.production WHERE {condition}"
        if step == 1:
            return con.sql(f"SELECT {items} FROM {rows}").pl()  # noqa: S608 (all quoted)
        thinned = f"SELECT *, hash(batch_id, row_number) % {step} AS thin FROM {rows}"  # noqa: S608 (all quoted)
        return con.sql(f"SELECT {items} FROM ({thinned}) WHERE thin = 0").pl()  # noqa: S608 (all quoted)

    notes = con.sql(
        'SELECT "column", reason FROM raw.quarantine WHERE kind = ? AND list_contains(?, reason) '
        "AND window_start >= ? AND window_start < ?",
        params=["inferences", list(ROUNDINGS), *(moment and moment.replace(tzinfo=None) for moment in (start, end))],
    ).pl()
    return ReferenceData(source, n_rows, n_windows, n_labelled, 0, select, rounding=_roundings([notes]))


def _with_silence(spec: MonitorSpec, condition: str) -> str:
    """Rows with their label, negative (of ranking irrelevant) where there is none."""
    negative = "coalesce(labels.label_class, " + literal(negative_class(spec)) + ") AS label_class"
    silent = "coalesce(labels.label_value, 0.0) AS label_value" if spec.model.task == "ranking" else negative
    return (
        f"(SELECT rows.*, {silent} FROM "  # noqa: S608 (all quoted)
        f"(SELECT * FROM raw.production WHERE {condition}) AS rows LEFT JOIN "
        f"(SELECT window_start, prediction_id, label_class, label_value FROM raw.current_labels WHERE {condition}) "
        "AS labels "
        "USING (window_start, prediction_id))"
    )


def _silence_is_over(con: duckdb.DuckDBPyConnection, spec: MonitorSpec, end: datetime | None) -> bool:
    """Whether what is not labelled by now counts as it does at last: labels were seen to come in for long enough."""
    limit = spec.labels.give_up_after if spec.labels is not None and spec.is_silence_negative else None
    if limit is None:
        return True
    [(latest,)] = con.sql("SELECT max(observed_at) FROM raw.labels").fetchall()
    return end is not None and latest is not None and latest >= end.replace(tzinfo=None) + limit


def _roundings(notes: Iterable[pl.DataFrame]) -> dict[str, set[str]]:
    """Columns of the user's of which quarantine rows say that a DOUBLE does not hold them, with what it does."""
    found: dict[str, set[str]] = {}
    for frame in notes:
        for column, reason in frame.filter(pl.col("reason").is_in(ROUNDINGS)).select("column", "reason").rows():
            found.setdefault(column, set()).add(reason)
    return found


def file_data(spec: MonitorSpec, home: Home) -> ReferenceData:
    """Rows of ``reference.path``, converted as intake converts them; the label may stand in the same file.

    A file without prediction ids or times is fine: rows are numbered, and no time is needed.

    Raises
    ------
    SightlineError
        The file is missing, unreadable, or lacks a column that the spec names.
    """
    path = spec.reference.path or ""
    return rows_of_file(spec, home.root / path, path)


def rows_of_file(spec: MonitorSpec, file: Path, name: str, what: str = "reference") -> ReferenceData:
    """As `file_data`, of any file or folder.

    Parameters
    ----------
    spec : MonitorSpec
    file : Path
        Parquet, CSV, NDJSON or a folder of them.
    name : str
        What the file is called in words.
    what : str, default "reference"
        What its rows are.
    """
    raw = _read(file, {column: feature.kind for column, feature in spec.columns.logged.items()}, what)
    spec = spec.model_copy(update={"start": EPOCH})  # reference rows may be older than the first window
    batch = Batch(what, "inferences", name, "parquet", "", 0, datetime.now(UTC))
    has_ids = spec.columns.prediction_id in raw.columns
    raw = _with_identity(spec, raw)
    numbers = pl.int_range(len(raw), dtype=pl.Int64, eager=True).alias("row_number")
    names = {role.name: role.column for role in roles(spec, "inferences")}
    lacking = [column for name, column in names.items() if column not in raw.columns and name[:2] in ("f_", "p_")]
    if lacking:
        raise SightlineError(
            f"the {what} file has no column {lacking[0]!r}", where=str(file), fix=nearest(lacking[0], raw.columns)
        )
    inputs = raw.select(raw[column].alias(name) for name, column in names.items() if column in raw.columns)
    done = normalize(spec, Chunk(batch, inputs.with_columns(numbers), True, _no_payload))
    frame = add_buckets(done.frame)
    n_labelled = n_bad = 0
    if spec.labels is not None and spec.labels.column in raw.columns:
        labels = raw.select(raw[names["prediction_id"]].alias("prediction_id"), raw[spec.labels.column].alias("label"))
        label_batch = Batch(what, "labels", batch.path, "parquet", "", 0, batch.received_at)
        read = normalize(spec, Chunk(label_batch, labels.with_columns(numbers), True, _no_payload))
        bad = [part.filter(pl.col("reason").is_in(BAD_LABELS)) for part in read.quarantine]
        n_bad = sum(part.height for part in bad)
        found = read.frame.select(pl.col("revision_order").alias("row_number"), "label_class", "label_value")
        frame = frame.join(found, on="row_number", how="left", maintain_order="left")
        if spec.is_silence_negative and len(found):
            unread = [number for part in bad for number in part["row_number"]]
            unlabelled = pl.all_horizontal(pl.col("label_class", "label_value").is_null())
            silent = unlabelled & ~pl.col("row_number").is_in(unread)
            negative = None if spec.model.task == "ranking" else negative_class(spec)
            frame = frame.with_columns(
                label_class=pl.when(silent).then(pl.lit(negative, pl.String)).otherwise("label_class"),
                label_value=pl.when(silent).then(0.0).otherwise("label_value"),
            )
        n_labelled = frame.filter(
            pl.coalesce(pl.col("label_class"), pl.col("label_value").cast(pl.String)).is_not_null()
        ).height
    else:
        frame = frame.with_columns(label_class=pl.lit(None, pl.String), label_value=pl.lit(None, pl.Float64))
    n_rejected = done.n_rejected

    def select(items: str, with_label: bool) -> pl.DataFrame:
        condition = "coalesce(label_class, label_value::VARCHAR) IS NOT NULL" if with_label else "true"
        with duckdb.connect() as con:
            con.register("reference_rows", to_arrow(frame))
            return con.sql(f"SELECT {items} FROM reference_rows WHERE {condition}").pl()  # noqa: S608 (all quoted)

    return ReferenceData(
        f"file {name}",
        len(frame),
        0,
        n_labelled,
        n_rejected,
        select,
        is_file=True,
        frame=frame,
        n_bad_labels=n_bad,
        rounding=_roundings(done.quarantine),
        has_ids=has_ids,
        unread=_unread(done.quarantine),
    )


def _unread(quarantine: Iterable[pl.DataFrame]) -> dict[tuple[str, str], int]:
    """Values that were dropped, by column and reason."""
    found: dict[tuple[str, str], int] = {}
    for part in quarantine:
        for column, reason in part.filter(severity="value").select("column", "reason").iter_rows():
            found[column, reason] = found.get((column, reason), 0) + 1
    return found


def _no_payload(rows: Sized) -> list[str]:
    return ["{}"] * len(rows)


def _read(file: Path, kinds: dict[str, FeatureKind], what: str) -> pl.DataFrame:
    """All columns of a file, or of a folder of files; those of a CSV are text."""
    if file.is_dir():
        try:
            return read_table(file, what, kinds=kinds).frame
        except ValueError as error:
            reason = str(error).removeprefix(f"{what}: ")
            raise SightlineError(f"the {what} cannot be read: {reason}", where=str(file)) from error
    if not file.is_file():
        fix = "correct reference.path" if what == "reference" else "give the path of a file that is there"
        raise SightlineError(f"the {what} file does not exist", where=str(file), fix=fix)
    if format_of(file.name) is None:
        fix = f"use one of {', '.join(sorted(FORMATS))}"
        raise SightlineError(f"the {what} file has no known format", where=str(file), fix=fix)
    try:
        return read_file(file)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SightlineError(f"the {what} file cannot be read: {reason}", where=str(file)) from error


def _with_identity(spec: MonitorSpec, raw: pl.DataFrame) -> pl.DataFrame:
    columns = spec.columns
    if columns.prediction_id not in raw.columns:
        raw = raw.with_columns(pl.int_range(pl.len()).cast(pl.String).alias(columns.prediction_id))
    if columns.timestamp not in raw.columns:
        raw = raw.with_columns(pl.lit(EPOCH.isoformat()).alias(columns.timestamp))
    return raw

"""The frozen reference profile.

Bins of every judged column, segments with a name, and facts of the data it was made from.

It is frozen: windows are binned by the same edges for ever, until someone rebuilds it on purpose. The id is a hash of
its content, so the same data give the same id, and whoever stored counts knows which bins they belong to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import duckdb
import polars as pl

from metrics_py.drift.design_effects import design_effect
from metrics_py.profile.build import build_profile, count
from metrics_py.profile.column_profile import BIN_SCHEMA, ColumnProfile
from metrics_py.profile.resolution import is_dense
from sightline.durable import replace_file
from sightline.errors import SightlineError
from sightline.home import Home, MonitorPaths
from sightline.lake.intake.roles import roles
from sightline.lake.intake.rounding import IMPRECISE
from sightline.spec.field_types import UNLEARNT
from sightline.spec.flows import is_weighted
from sightline.spec.model import MonitorSpec
from sightline.warehouse.reference_data import ColumnRole, ReferenceData, column_roles, file_data, lake_data
from sightline.warehouse.reference_quality import quality_aggregates
from sightline.warehouse.row_samples import LABELLED, labelled_rows_of_file
from sightline.warehouse.views import prepare

__all__ = [
    "ColumnRole",
    "ReferenceProfile",
    "build_reference",
    "column_roles",
    "ensure_reference",
    "load_reference",
    "reference_id",
]

TOP_SEGMENTS = 20
MIN_LABELLED_SHARE = 0.5
"""The label's bins are frozen once this share of the reference's predictions is labelled."""

FORMAT = 1


@dataclass(frozen=True)
class ReferenceProfile:
    """A frozen reference.

    Attributes
    ----------
    id : str
        Hash of the content.
    kind, source : str
        ``window``, ``file`` or ``rolling``, and where the rows came from in words.
    start, end : datetime or None
        Span of the rows (UTC); None for a file.
    n_rows, n_windows, n_rejected : int
        Rows, windows that hold them, rows of a file that could not be read.
    n_bad_labels : int
        Labels of a file that could not be read, such as neither class: their rows count as unlabelled.
    created_at : datetime
        When it was frozen (UTC).
    columns : dict of str to ColumnProfile
        One per judged column; ``@label`` is added when the reference's labels have arrived.
    segments : polars.DataFrame
        ``segment_column, value``: the most frequent values of each segment column.
    quality : dict of str to polars.DataFrame
        Kind file with labels: ``confusion``, ``score_label_bins``, ``score_areas``, ``quality_sums``, ``custom_sums``,
        ``error_bins`` in the shape of the marts (window_key ``reference``), and ``labelled_rows`` where estimates are
        made from weighted rows (`sightline.warehouse.row_samples`); else empty.
    is_new : bool
        It was frozen or extended by this call.
    """

    id: str
    kind: str
    source: str
    start: datetime | None
    end: datetime | None
    n_rows: int
    n_windows: int
    n_rejected: int
    created_at: datetime
    columns: dict[str, ColumnProfile]
    segments: pl.DataFrame
    quality: dict[str, pl.DataFrame] = field(default_factory=dict[str, pl.DataFrame])
    n_bad_labels: int = 0
    is_new: bool = False

    @property
    def bins(self) -> pl.DataFrame:
        """All bins: column_name, bin_id, bin_kind, label, lower, upper, n_reference."""
        frames = [profile.to_frame() for profile in self.columns.values()]
        return pl.concat(frames) if frames else pl.DataFrame(schema=BIN_SCHEMA)

    @property
    def cuts(self) -> pl.DataFrame:
        """Numeric bins as right ends of elementary intervals.

        Columns: column_name, cut (ascending, the last infinity), bin_id.
        """
        schema = {"column_name": pl.String, "cut": pl.Float64, "bin_id": pl.Int32}
        frames = [pl.DataFrame(schema=schema)]
        for name, profile in self.columns.items():
            if profile.kind == "numeric":
                ends, bins = profile.cuts()
                frames.append(
                    pl.DataFrame({"column_name": [name] * len(ends), "cut": ends, "bin_id": bins}, schema=schema)
                )
        return pl.concat(frames)

    @property
    def categories(self) -> pl.DataFrame:
        """Known categories: column_name, value, bin_id (those counted as ``other`` included)."""
        schema = {"column_name": pl.String, "value": pl.String, "bin_id": pl.Int32}
        frames = [pl.DataFrame(schema=schema)]
        for name, profile in self.columns.items():
            if profile.kind != "numeric":
                frames.append(profile.categories().select(pl.lit(name).alias("column_name"), "value", "bin_id"))
        return pl.concat(frames)

    @property
    def good_turing(self) -> dict[str, float]:
        """Per categorical column: share of rows with an unseen category that is expected without any drift."""
        return {
            name: profile.expected_unseen for name, profile in self.columns.items() if profile.kind == "categorical"
        }


def load_reference(paths: MonitorPaths) -> ReferenceProfile | None:
    """The frozen profile, or None if there is none; a rebuild that was killed half-way counts as none.

    Raises
    ------
    SightlineError
        The profile was written in another format than this version's, or a file of it is broken.
    """
    file = paths.reference / "profile.json"
    if not file.exists():
        return None
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        bins = pl.read_parquet(paths.reference / "profile.parquet", glob=False)
    except (ValueError, OSError, pl.exceptions.PolarsError) as error:
        raise SightlineError(
            f"the reference profile cannot be read: {str(error).splitlines()[0]}",
            where=str(file.parent),
            fix="restore its two files, or materialize `reference` with the config `rebuild: true`",
        ) from error
    if told.get("format") != FORMAT:
        raise SightlineError(
            f"the reference profile has format {told.get('format')}, this version of Sightline reads format {FORMAT}",
            where=str(file),
            fix="use the version that wrote it, or materialize `reference` with the config `rebuild: true` "
            "(every window is then worked up again)",
        )
    columns = {
        name: ColumnProfile.from_frame(bins.filter(pl.col("column_name") == name), facts)
        for name, facts in told["columns"].items()
    }
    segments = pl.DataFrame(told["segments"], schema={"segment_column": pl.String, "value": pl.String})
    if _content_id(columns, segments) != told["id"]:
        return None
    names = told["quality"]
    return ReferenceProfile(
        id=told["id"],
        kind=told["kind"],
        source=told["source"],
        start=_moment(told["start"]),
        end=_moment(told["end"]),
        n_rows=told["n_rows"],
        n_windows=told["n_windows"],
        n_rejected=told["n_rejected"],
        n_bad_labels=told.get("n_bad_labels", 0),
        created_at=datetime.fromisoformat(told["created_at"]),
        columns=columns,
        segments=segments,
        quality={name: pl.read_parquet(paths.reference / f"quality_{name}.parquet", glob=False) for name in names},
    )


def reference_id(paths: MonitorPaths, *, with_label: bool = True) -> str:
    """Id of the frozen profile; empty if there is none.

    Without the label's bins, which come later, it never changes.
    """
    file = paths.reference / "profile.json"
    if not file.exists():
        return ""
    return json.loads(file.read_text(encoding="utf-8"))["id" if with_label else "input_id"]


def build_reference(
    spec: MonitorSpec,
    paths: MonitorPaths,
    home: Home,
    con: duckdb.DuckDBPyConnection | None = None,
    *,
    force: bool = False,
    now: datetime | None = None,
) -> ReferenceProfile:
    """Freeze the reference, or return the one that is frozen.

    Parameters
    ----------
    spec : MonitorSpec
        ``reference.kind``: ``window`` takes the rows of the lake in [start, end), ``rolling`` those of
        the first `length` of data (its bins stay; only the windows that judgements compare with roll
        on), ``file`` a file of its own.
    paths, home
        The monitor's folders; `reference.path` is relative to the home folder.
    con : DuckDBPyConnection, optional
        A connection whose schema ``raw`` is prepared; default: one in memory.
    force : bool
        Build anew from the data there is now.
    now : datetime, optional
        Time of freezing (UTC); default: the clock.

    Returns
    -------
    ReferenceProfile
        ``is_new`` tells whether it was built by this call.

    Raises
    ------
    SightlineError
        There are no rows to build it from, or the file cannot be read.
    """
    frozen = None if force else load_reference(paths)
    if frozen is not None:
        return frozen
    with _raw(spec, paths, con) as prepared:
        return _build(spec, paths, home, prepared, now or datetime.now(UTC))


def ensure_reference(
    spec: MonitorSpec,
    paths: MonitorPaths,
    home: Home,
    *,
    now: datetime | None = None,
    con: duckdb.DuckDBPyConnection | None = None,
) -> ReferenceProfile | None:
    """Freeze the reference as soon as its rows are complete, and its label bins as soon as its labels are.

    Columns that the monitor's file named later are added, if rows of the reference hold them.

    Rows are complete when the lake holds data at or after the reference's end; or when the end has passed and the last
    window of the reference holds rows. Until then bins are unknown and None is returned.
    """
    moment = now or datetime.now(UTC)
    frozen = load_reference(paths)

    if frozen is not None:
        waits = spec.labels is not None and "@label" not in frozen.columns and frozen.kind != "file"
        later = [r for r in column_roles(spec) if r.role != "label" and r.column_name not in frozen.columns]
        if not waits and not later:
            return frozen
    else:
        waits, later = False, []
    with _raw(spec, paths, con) as prepared:
        if frozen is not None:
            frozen = _with_columns(spec, paths, home, frozen, prepared, later) if later else frozen
            return _with_label(spec, paths, frozen, prepared, moment) if waits else frozen
        if spec.reference.kind != "file" and not _is_complete(spec, prepared, moment):
            return None
        return _build(spec, paths, home, prepared, moment)


@contextmanager
def _raw(
    spec: MonitorSpec, paths: MonitorPaths, con: duckdb.DuckDBPyConnection | None
) -> Generator[duckdb.DuckDBPyConnection]:
    """The connection given, or one in memory with schema ``raw``."""
    if con is not None:
        yield con
        return
    with duckdb.connect() as memory:
        memory.execute("SET TimeZone = 'UTC'")
        prepare(memory, spec, paths)
        yield memory


def _span(spec: MonitorSpec, con: duckdb.DuckDBPyConnection) -> tuple[datetime, datetime] | None:
    """The reference's [start, end), widened to whole windows; None if a rolling one has no data to start at."""
    if spec.reference.kind == "window":
        if spec.reference.start is None or spec.reference.end is None:
            raise SightlineError(
                "a reference window needs a start and an end", fix="write reference.start and reference.end"
            )
        start, end = spec.reference.start, spec.reference.end
    else:
        first = con.sql("SELECT min(window_key) FROM raw.production").fetchall()[0][0]
        if first is None:
            return None
        start = spec.window_start(first)
        end = start + spec.reference.length
    last = spec.floor(end)
    return spec.floor(start), last if last == _utc(end) else last + spec.window


def _is_complete(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, now: datetime) -> bool:
    span = _span(spec, con)
    newest = con.sql("SELECT max(window_key) FROM raw.production").fetchall()[0][0]
    if span is None or newest is None:
        return False
    _, end = span
    newest_start = spec.window_start(newest)
    return newest_start >= end or (newest_start == end - spec.window and _utc(now) >= end)


def _build(
    spec: MonitorSpec, paths: MonitorPaths, home: Home, con: duckdb.DuckDBPyConnection, now: datetime
) -> ReferenceProfile:
    start = end = None
    if spec.reference.kind == "file":
        data = file_data(spec, home)
    else:
        span = _span(spec, con)
        start, end = span or (None, None)
        data = lake_data(con, spec, start, end)
    if data.n_rows == 0:
        raise SightlineError(
            "there are no rows to build the reference from",
            where=f"monitor {spec.id}: {data.source}",
            fix="load inferences of that time, or correct the section `reference`",
        )
    columns: dict[str, ColumnProfile] = {}
    for role in column_roles(spec):
        if role.role == "label" and not _has_label(spec, data, end, now):
            continue
        columns[role.column_name] = _profile(spec, data, role)
    segments = _segments(spec, data)
    quality: dict[str, pl.DataFrame] = {}
    if data.is_file and data.n_labelled:
        quality = quality_aggregates(spec, data, segments, columns.get("@prediction"))
        if is_weighted(spec):
            quality[LABELLED] = labelled_rows_of_file(spec, data)
    profile = ReferenceProfile(
        id=_content_id(columns, segments),
        kind=spec.reference.kind,
        source=data.source,
        start=start,
        end=end,
        n_rows=data.n_rows,
        n_windows=data.n_windows,
        n_rejected=data.n_rejected,
        n_bad_labels=data.n_bad_labels,
        created_at=_utc(now),
        columns=columns,
        segments=segments,
        quality=quality,
        is_new=True,
    )
    _write(paths, profile)
    return profile


def _with_columns(
    spec: MonitorSpec,
    paths: MonitorPaths,
    home: Home,
    frozen: ReferenceProfile,
    con: duckdb.DuckDBPyConnection,
    later: Sequence[ColumnRole],
) -> ReferenceProfile:
    """Add the bins of columns named later, leaving all others as they are; those without a value stay unknown."""
    try:
        data = file_data(spec, home) if frozen.kind == "file" else lake_data(con, spec, frozen.start, frozen.end)
    except SightlineError:  # the file has no such column: the judgement says that the reference does not know it
        return frozen
    known = [role for role in later if data.column(role)["value"].is_not_null().any()]
    if not known:
        return frozen
    columns = {**frozen.columns, **{role.column_name: _profile(spec, data, role) for role in known}}
    profile = replace(frozen, id=_content_id(columns, frozen.segments), columns=columns, is_new=True)
    _write(paths, profile)
    return profile


def _with_label(
    spec: MonitorSpec, paths: MonitorPaths, frozen: ReferenceProfile, con: duckdb.DuckDBPyConnection, now: datetime
) -> ReferenceProfile:
    """Add the label's bins, leaving all others as they are.

    While too few labels are known, this is the frozen profile itself.
    """
    data = lake_data(con, spec, frozen.start, frozen.end)
    if not _has_label(spec, data, frozen.end, now):
        return frozen
    role = next(role for role in column_roles(spec) if role.role == "label")
    columns = {**frozen.columns, role.column_name: _profile(spec, data, role)}
    profile = replace(
        frozen, id=_content_id(columns, frozen.segments), columns=columns, created_at=_utc(now), is_new=True
    )
    _write(paths, profile)
    return profile


def _has_label(spec: MonitorSpec, data: ReferenceData, end: datetime | None, now: datetime) -> bool:
    """Are the labels due and most of them here? The first to arrive are not like the rest."""
    due = spec.labels is not None and (
        data.is_file or end is None or _utc(now) >= _utc(end) + (spec.labels.expected_delay or UNLEARNT)
    )
    return due and data.n_labelled > 0 and data.n_labelled >= MIN_LABELLED_SHARE * data.n_rows


def _profile(spec: MonitorSpec, data: ReferenceData, role: ColumnRole) -> ColumnProfile:
    rows = data.column(role)
    kind = role.kind if role.kind in ("categorical", "boolean", "datetime") else "numeric"
    per_window = data.n_rows / data.n_windows if data.n_windows else None
    profile = build_profile(
        rows["value"], kind, column=role.column_name, bins=spec.drift.bins, rows_per_window=per_window
    )
    profile = replace(profile, is_imprecise=_is_imprecise(spec, data, role, profile))
    if spec.columns.entity_id is None:
        return profile
    parts = rows.partition_by("bucket", include_key=False, as_dict=True)  # in order: the id holds sums of doubles
    counts = [profile.merged(count(profile, parts[bucket]["value"])) for bucket in sorted(parts)]
    try:
        return replace(profile, design_effect=max(1.0, design_effect(counts).value))
    except ValueError:  # fewer than 4 buckets or 2 bins hold rows: nothing to tell dependence from
        return profile


def _is_imprecise(spec: MonitorSpec, data: ReferenceData, role: ColumnRole, profile: ColumnProfile) -> bool:
    sources = {each.name: each.column for each in roles(spec, "inferences")}
    lost = data.rounding.get(sources.get(role.lake_column, ""), set())
    if profile.kind != "numeric" or not lost or profile.minimum is None or profile.maximum is None:
        return False
    return IMPRECISE in lost or bool(is_dense(profile.n_rows, profile.minimum, profile.maximum))


def _segments(spec: MonitorSpec, data: ReferenceData) -> pl.DataFrame:
    frames = [pl.DataFrame(schema={"segment_column": pl.String, "value": pl.String})]
    for name in spec.columns.segments:
        counts = (
            data.segment_counts(name)
            .drop_nulls("value")
            .sort(["n", "value"], descending=[True, False])
            .head(TOP_SEGMENTS)
        )
        frames.append(counts.select(pl.lit(name).alias("segment_column"), "value"))
    return pl.concat(frames)


def _content_id(columns: dict[str, ColumnProfile], segments: pl.DataFrame) -> str:
    content = {
        "format": FORMAT,
        "bins": {
            name: profile.to_frame().drop("column_name").to_dict(as_series=False) for name, profile in columns.items()
        },
        "facts": {name: profile.facts() for name, profile in columns.items()},
        "segments": segments.rows(),
    }
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _write(paths: MonitorPaths, profile: ReferenceProfile) -> None:
    """Replace the files; profile.json comes last and says which content the others must have."""
    paths.reference.mkdir(parents=True, exist_ok=True)
    for name, frame in profile.quality.items():
        replace_file(paths.reference / f"quality_{name}.parquet", frame.write_parquet)
    replace_file(paths.reference / "profile.parquet", profile.bins.write_parquet)
    told = {
        "format": FORMAT,
        "id": profile.id,
        "input_id": _content_id({k: v for k, v in profile.columns.items() if k != "@label"}, profile.segments),
        "kind": profile.kind,
        "source": profile.source,
        "start": profile.start.isoformat() if profile.start else None,
        "end": profile.end.isoformat() if profile.end else None,
        "n_rows": profile.n_rows,
        "n_windows": profile.n_windows,
        "n_rejected": profile.n_rejected,
        "n_bad_labels": profile.n_bad_labels,
        "created_at": profile.created_at.isoformat(),
        "good_turing": profile.good_turing,
        "design_effect": {name: column.design_effect for name, column in profile.columns.items()},
        "segments": profile.segments.to_dicts(),
        "quality": sorted(profile.quality),
        "columns": {name: column.facts() for name, column in profile.columns.items()},
    }
    text = json.dumps(told, ensure_ascii=False, indent=1)
    replace_file(paths.reference / "profile.json", text)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

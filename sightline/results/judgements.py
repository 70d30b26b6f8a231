"""Judgements: one tidy table, appended; a changed number is a new revision."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from sightline.errors import SightlineError
from sightline.home import MonitorPaths
from sightline.lake.store.schema import TIMESTAMP
from sightline.results.append_only import locked, merge_if_many, next_stamp, publish, safe_name, scan_folders
from sightline.results.tables import NUMBER, TEXT, conform, naive_utc
from sightline.results.withdrawn import SCOPE, withdrawals

JUDGEMENT_SCHEMA: dict[str, pl.DataType] = {
    "monitor": TEXT,
    "model_version": TEXT,
    "window_start": TIMESTAMP,
    "window_end": TIMESTAMP,
    "segment": TEXT,
    "column": TEXT,
    "metric": TEXT,
    "value": NUMBER,
    "ci_low": NUMBER,
    "ci_high": NUMBER,
    "n": pl.Int64(),
    "reference_value": NUMBER,
    "bound_low": NUMBER,
    "bound_high": NUMBER,
    "status": TEXT,
    "reason": TEXT,
    "reason_code": TEXT,
    "naive_value": NUMBER,
    "maturity": NUMBER,
    "revision": pl.Int32(),
    "computed_at": TIMESTAMP,
    "run_id": TEXT,
}
JUDGEMENT_KEY = ["monitor", "model_version", "window_start", "window_end", "segment", "column", "metric"]
JUDGEMENT_CONTENT = [
    name for name in JUDGEMENT_SCHEMA if name not in (*JUDGEMENT_KEY, "revision", "computed_at", "run_id")
]
STATUSES = ("ok", "warn", "alert", "provisional", "insufficient_data")
SAME_TO = 1e-12
"""Relative difference up to which two floats are the same result: parallel sums differ in
the last bits from run to run.
"""


def append_judgements(
    paths: MonitorPaths,
    asset: str,
    frame: pl.DataFrame,
    run_id: str,
    computed_at: datetime,
    scope: pl.DataFrame | None = None,
) -> int:
    """Publish judgements; only rows that differ from the latest revision of their key are written.

    Parameters
    ----------
    paths : MonitorPaths
        `paths.results`.
    asset : str
        ``data_quality``, ``drift``, ``model_quality``...: one folder each.
    frame : polars.DataFrame
        Columns of `JUDGEMENT_SCHEMA` without ``revision, computed_at, run_id``; at most one row per key.
        Undefined numbers are null, never NaN.
    run_id : str
        Run that computed them.
    computed_at : datetime
        Moment of computation (aware, or naive UTC): what `processed_by` compares with.
    scope : polars.DataFrame, optional
        What was judged completely, shape `sightline.results.withdrawn.SCOPE`: published keys of it that the frame
        lacks are withdrawn. Default: none is.

    Returns
    -------
    int
        Rows written. The first revision of a key is 0. Floats that agree to 1e-12 are the same.

    Raises
    ------
    SightlineError
        Columns do not fit, a status is unknown, a key comes twice, or a number is not finite.
    """
    where = f"judgements of {asset}"
    own = {"revision", "computed_at", "run_id"}
    frame = conform(frame.drop([name for name in own if name in frame.columns]), JUDGEMENT_SCHEMA, tuple(own), where)
    _check_judgements(frame, where)
    scope = pl.DataFrame(schema=SCOPE) if scope is None else scope
    folder = paths.results / "judgements" / asset
    moment = computed_at.replace(tzinfo=UTC) if computed_at.tzinfo is None else computed_at.astimezone(UTC)
    with locked(folder):
        latest = _latest_in_span(folder, pl.concat([frame["window_start"], scope["window_start"]]))
        gone = withdrawals(latest, frame, scope, JUDGEMENT_KEY)
        changed = _changed(pl.concat([frame, gone]), latest)
        if changed.is_empty():
            return 0
        changed = changed.with_columns(
            computed_at=pl.lit(moment.replace(tzinfo=None), dtype=TIMESTAMP), run_id=pl.lit(run_id)
        )
        changed = changed.select(pl.col(name).cast(dtype) for name, dtype in JUDGEMENT_SCHEMA.items()).sort(
            "window_start"
        )
        publish(changed, folder / f"{next_stamp(folder, moment)}-{safe_name(run_id)}.parquet")
        merge_if_many(folder, JUDGEMENT_SCHEMA, [*JUDGEMENT_KEY, "revision"])
    return len(changed)


def _check_judgements(frame: pl.DataFrame, where: str) -> None:
    unknown = frame.filter(~pl.col("status").is_in(STATUSES).fill_null(False))
    if len(unknown):
        raise SightlineError(
            f"unknown status {unknown['status'][0]!r}", where=where, fix=f"one of {', '.join(STATUSES)}"
        )
    twice = frame.filter(pl.struct(JUDGEMENT_KEY).is_duplicated())
    if len(twice):
        key = ", ".join(f"{name}={value}" for name, value in twice.select(JUDGEMENT_KEY).row(0, named=True).items())
        raise SightlineError(f"two rows with the key {key}", where=where, fix="one row per key")


def _latest_in_span(folder: Path, starts: pl.Series) -> pl.DataFrame:
    low, high = starts.min(), starts.max()
    if starts.is_empty():
        return pl.DataFrame(schema=JUDGEMENT_SCHEMA)
    return scan_folders(
        [folder], JUDGEMENT_SCHEMA, lambda lazy: _latest(lazy.filter(pl.col("window_start").is_between(low, high)))
    )


def _latest(lazy: pl.LazyFrame) -> pl.LazyFrame:
    """The newest revision of each key. Few keys were ever revised, so only those are grouped."""
    newest = lazy.filter(pl.col("revision") > 0).group_by(JUDGEMENT_KEY).agg(pl.col("revision").max().alias("newest"))
    joined = lazy.join(newest, on=JUDGEMENT_KEY, how="left", nulls_equal=True, maintain_order="left")
    return joined.filter(pl.col("newest").is_null() | (pl.col("revision") == pl.col("newest"))).drop("newest")


def _changed(frame: pl.DataFrame, latest: pl.DataFrame) -> pl.DataFrame:
    """Rows without a revision, or unlike it, with their next revision number."""
    pairs = frame.drop("revision", "computed_at", "run_id").join(
        latest.select(*JUDGEMENT_KEY, *JUDGEMENT_CONTENT, "revision"),
        on=JUDGEMENT_KEY,
        how="left",
        suffix="@before",
        nulls_equal=True,
    )
    if "revision" not in pairs.columns:
        pairs = pairs.with_columns(revision=pl.lit(None, dtype=pl.Int32))
    same = pl.all_horizontal(_same(name) for name in JUDGEMENT_CONTENT) & pl.col("revision").is_not_null()
    pairs = pairs.filter(~same)
    return pairs.select(*JUDGEMENT_KEY, *JUDGEMENT_CONTENT, revision=(pl.col("revision") + 1).fill_null(0))


def _same(name: str) -> pl.Expr:
    now, before = pl.col(name), pl.col(f"{name}@before")
    equal = now.eq_missing(before)
    if JUDGEMENT_SCHEMA[name] == NUMBER:
        near = (now - before).abs() <= SAME_TO * pl.max_horizontal(now.abs(), before.abs())
        return equal | near.fill_null(False)
    return equal


def read_judgements(
    paths: MonitorPaths,
    metric: str | None = None,
    column: str | None = None,
    start: datetime | date | None = None,
    end: datetime | date | None = None,
    processed_by: datetime | None = None,
    asset: str | None = None,
    latest: bool = True,
    segment: str | None = None,
) -> pl.DataFrame:
    """Read judgements.

    Parameters
    ----------
    paths : MonitorPaths
        `paths.results`.
    metric, column, segment : str, optional
        Only these.
    start, end : datetime or date, optional
        Windows that start in ``[start, end)`` (naive: UTC).
    processed_by : datetime, optional
        What had been worked up then: later revisions are left out.
    asset : str, optional
        Only from this asset's folder.
    latest : bool
        One row per key (its newest revision); otherwise every revision.

    Returns
    -------
    polars.DataFrame
        `JUDGEMENT_SCHEMA`, sorted by window, within it in the order of publication.
    """
    base = paths.results / "judgements"
    folders = [base / asset] if asset else (sorted(f for f in base.iterdir() if f.is_dir()) if base.is_dir() else [])
    wanted = [
        pl.col(name) == value
        for name, value in (("metric", metric), ("column", column), ("segment", segment))
        if value is not None
    ]
    if start is not None:
        wanted.append(pl.col("window_start") >= naive_utc(start))
    if end is not None:
        wanted.append(pl.col("window_start") < naive_utc(end))
    if processed_by is not None:
        wanted.append(pl.col("computed_at") <= naive_utc(processed_by))

    def use(lazy: pl.LazyFrame) -> pl.LazyFrame:
        found = lazy.filter(wanted) if wanted else lazy
        return (
            _latest(found) if latest else found.unique([*JUDGEMENT_KEY, "revision"], keep="last", maintain_order=True)
        )

    return scan_folders(folders, JUDGEMENT_SCHEMA, use).sort("window_start", maintain_order=True)


def judgement_names(paths: MonitorPaths) -> dict[str, set[str]]:
    """What occurs in the judgements: ``asset, metric, column, segment`` -> values."""
    base = paths.results / "judgements"
    folders = sorted(f for f in base.iterdir() if f.is_dir()) if base.is_dir() else []
    names = ["metric", "column", "segment"]
    found = scan_folders(folders, JUDGEMENT_SCHEMA, lambda lazy: lazy.select(names).unique())
    return {"asset": {folder.name for folder in folders}, **{name: set(found[name].drop_nulls()) for name in names}}

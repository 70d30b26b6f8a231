"""Which windows would a batch touch? Cheap answers for sensors, before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from metrics_py.comparison.csv_files import csv_shape, scan_csv
from metrics_py.comparison.folders import partition_values
from metrics_py.comparison.parquet_files import parquet_frames
from sightline.errors import SightlineError
from sightline.home import Home, MonitorPaths
from sightline.lake.intake.better_matches import BETTER_THROUGH, better_matched, unseen_inferences
from sightline.lake.intake.chunks import UnreadableError, typed_series
from sightline.lake.intake.convert import convert
from sightline.lake.intake.json_lines import json_field
from sightline.lake.intake.label_revisions import TRIED_THROUGH, late_labels, told_in, waiting_labels
from sightline.lake.intake.match_labels import Predictions, match_labels
from sightline.lake.intake.normalize import CLOCK_SKEW
from sightline.lake.intake.read import decoded, read_chunks
from sightline.lake.intake.roles import roles
from sightline.lake.intake.segments import rejected_rows
from sightline.lake.intake.sources import Batch
from sightline.lake.intake.unpack import plain
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.parts import Staging, recover_if_needed, window_key_expr, window_starts
from sightline.log.events import REJECTED
from sightline.log.reader import read_segment
from sightline.spec.model import MonitorSpec

CACHE_SIZE = 4096
_peeked: dict[tuple[str, str, int], frozenset[str]] = {}
_waiting: dict[tuple[str, int, int], frozenset[str]] = {}


def peek_windows(spec: MonitorSpec, paths: MonitorPaths, batch: Batch, home: Home) -> set[str]:
    """Window keys that loading a batch would touch.

    Only the times of inferences are read; labels are looked up by id in the lake. Rows that intake will refuse are left
    out, so a batch without a usable row gives the empty set (load it all the same: the reason lands in the quarantine).

    Parameters
    ----------
    spec, paths, home
        The monitor and its folders.
    batch : Batch
        From `list_batches` or `pending`.

    Returns
    -------
    set of str
        Labels whose prediction is not known yet give nothing: see `label_windows_waiting`.
    """
    newest = 0
    if batch.kind == "labels":
        with open_ledger(paths.ledger, create=False) as ledger:
            newest = ledger.newest("inferences")
    remembered = (str(paths.root), batch.batch_id, newest)
    if remembered not in _peeked:
        if len(_peeked) >= CACHE_SIZE:
            _peeked.clear()
        try:
            keys = _labels(spec, paths, batch, home) if batch.kind == "labels" else _inferences(spec, batch, home)
        except UnreadableError:
            keys = set[str]()
        _peeked[remembered] = frozenset(keys)
    return set(_peeked[remembered])


def refused_windows(spec: MonitorSpec, batch: Batch, home: Home) -> set[str]:
    """Windows that the readable times of a refused batch lie in; none if there are no such times."""
    if batch.kind != "inferences":
        return set()
    try:
        return _inferences(spec, batch, home)
    except (UnreadableError, SightlineError):
        return set()


def _inferences(spec: MonitorSpec, batch: Batch, home: Home) -> set[str]:
    if batch.kind == REJECTED:
        times = pl.Series([row["predicted_at"] for row in rejected_rows(batch, home)[0]], dtype=pl.Datetime("us"))
        return _keys(spec, times, None)
    if batch.format == "segment":
        events = [event for event in read_segment(batch.file(home)).events if not event.withdrawn]
        received = pl.Series([event.received_at for event in events], dtype=pl.Datetime("us", "UTC"))
        times = pl.Series([event.at or event.received_at for event in events], dtype=pl.Datetime("us", "UTC"))
        return _keys(spec, times.dt.replace_time_zone(None), received.dt.replace_time_zone(None))
    column = next(role.column for role in roles(spec, "inferences") if role.name == "predicted_at")
    received_at = batch.received_at.astimezone(UTC).replace(tzinfo=None)
    keys: set[str] = set()
    for raw, parse in _time_columns(spec, batch, home, column):
        keys |= _keys(spec, convert(raw, "datetime", parse=parse).values, received_at)
    return keys


def _time_columns(spec: MonitorSpec, batch: Batch, home: Home, column: str) -> list[tuple[pl.Series, bool]]:
    """The raw time column alone where the format allows it, else out of the decoded chunks."""
    if batch.flaw:
        return []
    is_named = column in partition_values(Path(batch.path))
    if batch.format == "ndjson" and not is_named:
        values = json_field(batch, home, column)
        if values is not None:
            return [(typed_series(column, values, "datetime"), False)]
    if batch.format not in ("parquet", "csv") or is_named:
        chunks = read_chunks(spec, batch, home)
        return [(chunk.frame["predicted_at"], chunk.parses("predicted_at")) for chunk in chunks]
    file = batch.file(home)
    try:
        if batch.format == "parquet":
            return [(_parquet_column(file, column), False)]
        with plain(batch, home) as unpacked:
            text = unpacked.file(home)
            return [(scan_csv(text, csv_shape(text), "utf8-lossy").select(column).collect().to_series(), True)]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise UnreadableError("unreadable_file", str(error)) from error


def _parquet_column(file: Path, column: str) -> pl.Series:
    try:
        return pl.scan_parquet(file, glob=False, hive_partitioning=False).select(column).collect().to_series()
    except pl.exceptions.PanicException:  # a zone that Polars does not know
        return pl.concat([frame[column] for frame in parquet_frames(file)])


def _keys(spec: MonitorSpec, times: pl.Series, received: pl.Series | datetime | None) -> set[str]:
    frame = pl.DataFrame({"t": times.cast(pl.Datetime("us"))})
    good = pl.col("t") >= spec.first_window.replace(tzinfo=None)
    if received is not None:
        good &= pl.col("t") <= received + CLOCK_SKEW
    starts = frame.filter(good).select(window_starts(pl.col("t"), spec).unique())
    return set(starts.select(window_key_expr(pl.col("t"), spec)).to_series())


def _labels(spec: MonitorSpec, paths: MonitorPaths, batch: Batch, home: Home) -> set[str]:
    recover_if_needed(paths)
    keys: set[str] = set()
    with open_ledger(paths.ledger, create=False) as ledger:
        predictions = Predictions(spec, ledger.parts("inferences"), lambda part: paths.root / part.path)
        for _, ready in decoded(spec, batch, home):
            keys |= _matched_keys(spec, ready.frame, predictions)
    return keys


def _matched_keys(spec: MonitorSpec, labels: pl.DataFrame, predictions: Predictions) -> set[str]:
    matched, _ = match_labels(labels, predictions)
    return set(matched.select(window_key_expr(pl.col("window_start").unique(), spec)).to_series())


def label_windows_waiting(spec: MonitorSpec, paths: MonitorPaths, now: datetime | None = None) -> set[str]:
    """Windows of labels that would be matched anew: they found no prediction, or a better one has come since.

    Costs nothing unless inferences were loaded since the labels were last compared, or labels are to be given up.

    Parameters
    ----------
    spec, paths
        The monitor and its folders.
    now : datetime, optional
        Add the windows in which labels without a prediction would be given up by now.

    Returns
    -------
    set of str
        Window keys.
    """
    if not paths.ledger.exists():
        return set()
    recover_if_needed(paths)
    with open_ledger(paths.ledger) as ledger:
        tried, newest = ledger.get(TRIED_THROUGH), ledger.newest("inferences")
        remembered = (str(paths.root), min(tried, ledger.get(BETTER_THROUGH, tried)), newest)
        if remembered not in _waiting:
            if len(_waiting) >= CACHE_SIZE:
                _waiting.clear()
            staging = Staging(paths, ledger)
            labels, _, fresh = waiting_labels(spec, staging)
            predictions = Predictions(spec, fresh, lambda part: paths.root / part.path)
            found = _matched_keys(spec, labels, predictions) if len(labels) else set[str]()
            moved = better_matched(spec, staging, unseen_inferences(staging, tried))
            starts = pl.concat([moved["window_start"], moved["found_window"]]).unique().to_list()
            _waiting[remembered] = frozenset(found | {spec.key(start) for start in starts})
        return set(_waiting[remembered]) | (_given_up(spec, Staging(paths, ledger), now) if now else set[str]())


def _given_up(spec: MonitorSpec, staging: Staging, now: datetime) -> set[str]:
    limit = spec.labels.give_up_after if spec.labels is not None else None
    late = late_labels(staging, now - limit) if limit is not None else None
    if late is None or late.is_empty():
        return set()
    told = late.select(start=told_in(spec)).drop_nulls().unique()
    return set(told.select(window_key_expr(pl.col("start"), spec)).to_series())


def windows_of(spec: MonitorSpec, paths: MonitorPaths, batches: Sequence[Batch], home: Home) -> set[str]:
    """Union of `peek_windows` over some batches."""
    return set[str]().union(*(peek_windows(spec, paths, batch, home) for batch in batches)) if batches else set()

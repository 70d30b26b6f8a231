"""Which other files hold rows that a reload takes out: of rows that several files hold, only the first was taken in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from sightline.errors import SightlineError
from sightline.home import Home, MonitorPaths
from sightline.lake.intake.chunks import UnreadableError
from sightline.lake.intake.dedupe import KEY
from sightline.lake.intake.read import decoded
from sightline.lake.intake.sources import Batch, list_batches
from sightline.lake.store.parts import Staging
from sightline.lake.store.supersede import HISTORY
from sightline.spec.model import MonitorSpec

PAIR = ["window_start", "prediction_id"]
REPEATS = ("duplicate", "conflicting_duplicate")


def file_keys(spec: MonitorSpec, home: Home, batch: Batch) -> pl.DataFrame:
    """Keys of the rows of a file; one that would bring none is refused.

    Parameters
    ----------
    spec, home, batch
        What to read and where.

    Returns
    -------
    polars.DataFrame
        Window, prediction id and model version of inferences; prediction id of labels.

    Raises
    ------
    SightlineError
        The file cannot be read, or all of its rows would be refused.
    """
    columns = KEY if batch.kind == "inferences" else ["prediction_id"]
    frames: list[pl.DataFrame] = []
    n_rows, n_halves = 0, 0
    try:
        for chunk, ready in decoded(spec, batch, home):
            n_rows, n_halves = n_rows + ready.n_rows, n_halves + len(chunk.halves)
            frames.append(ready.frame.select(columns).unique())
    except UnreadableError as error:
        raise SightlineError(
            f"the file is refused ({error.reason}: {error})", where=batch.path, fix="mend it; nothing was changed"
        ) from error
    keys = pl.concat(frames)
    if n_rows and keys.is_empty() and not n_halves:
        raise SightlineError(
            f"all {n_rows} rows of the file would be refused", where=batch.path, fix="mend it; nothing was changed"
        )
    return keys


def holders(
    spec: MonitorSpec,
    paths: MonitorPaths,
    home: Home,
    staging: Staging,
    kind: str,
    batches: Sequence[Batch],
    keys: pl.DataFrame,
) -> list[Batch]:
    """Other loaded files with rows that some files brought and no longer hold.

    Parameters
    ----------
    spec, paths, home
        The monitor and its folders.
    staging : Staging
        The open commit; nothing has been taken out yet.
    kind : str
        ``inferences`` or ``labels``.
    batches : sequence of Batch
        The files to be loaded again.
    keys : polars.DataFrame
        What they hold now, as from `file_keys`.

    Returns
    -------
    list of Batch
        Oldest first. Files that changed since they were loaded wait for the intake and are not among them.
    """
    ledger = staging.ledger
    reloaded = {batch.path for batch in batches}
    mine = [row.batch_id for row in ledger.batches(kind, reloaded)]
    columns = KEY if kind == "inferences" else PAIR
    brought = _rows(staging, kind, columns, pl.col("batch_id").is_in(mine)).unique()
    missing = brought.join(keys, on=keys.columns, how="anti", nulls_equal=True)
    if missing.is_empty():
        return []
    is_repeat = (pl.col("kind") == kind) & pl.col("reason").is_in(REPEATS)
    told = [
        _rows(staging, "quarantine", [*PAIR, "batch_id"], is_repeat).join(missing, on=PAIR, how="semi"),
        _rows(staging, f"{HISTORY}{kind}", [*columns, "batch_id"]).join(
            missing, on=columns, how="semi", nulls_equal=True
        ),
    ]
    there = set(ledger.batch_paths(sorted({*told[0]["batch_id"], *told[1]["batch_id"]})).values()) - reloaded
    if not there:
        return []
    loaded = {batch_id for batch_id, (status, _) in ledger.loaded(kind).items() if status == "loaded"}
    known = [batch for batch in list_batches(spec, paths, kind, home) if batch.kind == kind]
    candidates = [batch for batch in known if batch.path in there and batch.batch_id in loaded]
    return [batch for batch in candidates if _holds(spec, home, batch, missing)]


def _holds(spec: MonitorSpec, home: Home, batch: Batch, missing: pl.DataFrame) -> bool:
    try:
        keys = file_keys(spec, home, batch)
    except SightlineError:
        return False  # what it brought once stays as it is
    return not keys.join(missing, on=keys.columns, how="semi", nulls_equal=True).is_empty()


def n_blocked(spec: MonitorSpec, staging: Staging, batches: Sequence[Batch]) -> int:
    """Predictions of some loaded files that differ from those of other files under the same keys, which came first.

    Parameters
    ----------
    spec : MonitorSpec
    staging : Staging
        Sees what is loaded.
    batches : sequence of Batch

    Returns
    -------
    int
    """
    ids = [batch.batch_id for batch in batches]
    is_conflict = (pl.col("reason") == "conflicting_duplicate") & pl.col("batch_id").is_in(ids)
    refused = _rows(staging, "quarantine", PAIR, is_conflict)
    if refused.is_empty():
        return 0
    windows = [spec.key(start) for start in refused["window_start"].unique().to_list()]
    first = _rows(staging, "inferences", PAIR, ~pl.col("batch_id").is_in(ids), windows)
    return len(refused.join(first, on=PAIR, how="semi"))


def _rows(
    staging: Staging,
    kind: str,
    columns: Sequence[str],
    wanted: pl.Expr | None = None,
    keys: Iterable[str] | None = None,
) -> pl.DataFrame:
    """Some columns of the rows of a kind."""
    files: list[Path] = [staging.file(part) for part in staging.live(kind, keys)]
    scans = [pl.scan_parquet(file, hive_partitioning=False, glob=False) for file in files]
    if wanted is not None:
        scans = [scan.filter(wanted) for scan in scans]
    if not scans:
        types = {"window_start": pl.Datetime("us")}
        return pl.DataFrame(schema={name: types.get(name, pl.String()) for name in columns})
    return pl.concat([scan.select(columns) for scan in scans]).collect()

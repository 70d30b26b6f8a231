"""Columns of stored predictions read again from what was logged: added ones, and those that are of another kind now."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import polars as pl

from sightline.home import Home, MonitorPaths
from sightline.lake.intake.chunks import UnreadableError
from sightline.lake.intake.convert import convert
from sightline.lake.intake.described import described
from sightline.lake.intake.measured import measured
from sightline.lake.intake.read import decoded
from sightline.lake.intake.sources import list_batches
from sightline.lake.store.ledger import Ledger
from sightline.lake.store.parts import Staging
from sightline.lake.store.schema import inference_schema
from sightline.lake.store.stored_spec import ADDABLE, Change, keep_facts
from sightline.spec.model import MonitorSpec

ROW = ["batch_id", "row_number"]
PREFIXES = {"features": "f_", "class_scores": "p_", "segments": "g_"}
MIGRATED = "migration"
"""Stands for a batch in the ledger's changes."""


def take_over(spec: MonitorSpec, paths: MonitorPaths, home: Home, ledger: Ledger, found: Sequence[Change]) -> int:
    """Apply harmless changes of the monitor's file; call under `lake_lock`.

    Returns
    -------
    int
        Stored rows for which added columns could not be read, because their file is gone.
    """
    n_gone = 0
    columns = changed_columns(found)
    if columns and ledger.parts("inferences"):
        staging = Staging(paths, ledger)
        n_gone = reread(spec, paths, home, staging, columns)
        staging.commit()
    keep_facts(spec, ledger)
    return n_gone


def changed_columns(found: Sequence[Change]) -> set[str]:
    """Lake columns that were added or are of another kind."""
    return {
        f"{PREFIXES[change.name]}{key}"
        for change in found
        if change.name in ADDABLE
        for key, kind in change.now.items()
        if change.before.get(key) != kind
    }


def reread(spec: MonitorSpec, paths: MonitorPaths, home: Home, staging: Staging, columns: Collection[str]) -> int:
    """Give stored predictions the values of some lake columns that their files and segments hold.

    Parameters
    ----------
    spec, paths, home
        The monitor as its file is now.
    staging : Staging
        The open commit.
    columns : collection of str
        Lake columns, such as ``f_age``.

    Returns
    -------
    int
        Stored rows whose file or segment is gone: they keep what was stored, converted to the kind of now.
    """
    parts = [part for kind in ("inferences", "replaced") for part in staging.live(kind)]
    n_gone = 0
    with tempfile.TemporaryDirectory(prefix=".reread-", dir=paths.root) as folder:
        values = _logged_values(spec, paths, home, sorted(columns), Path(folder))
        for part in parts:
            frame = pl.read_parquet(staging.file(part), hive_partitioning=False, glob=False)
            files = [values[batch] for batch in frame["batch_id"].unique() if batch in values]
            renewed = _renewed(spec, frame, files, sorted(columns))
            n_gone += frame.filter(~pl.col("batch_id").is_in(list(values))).height
            if renewed.equals(frame):
                continue
            staging.replace(part)
            staging.add(part.kind, part.window_key, renewed, part.seq)
            if part.window_key is not None and part.kind == "inferences":
                staging.changes.append(("inferences", part.window_key, MIGRATED, 0))
    return n_gone


def _logged_values(
    spec: MonitorSpec, paths: MonitorPaths, home: Home, columns: Sequence[str], folder: Path
) -> dict[str, Path]:
    """Batch id -> file with the columns of its rows, for every loaded batch that is still there."""
    found: dict[str, Path] = {}
    for batch in list_batches(spec, paths, "inferences", home):
        if batch.kind != "inferences":
            continue
        try:
            frames = [ready.frame.select(*ROW, *columns) for _, ready in decoded(spec, batch, home)]
        except UnreadableError:
            continue
        found[batch.batch_id] = folder / f"{batch.batch_id}.parquet"
        pl.concat(frames).write_parquet(found[batch.batch_id])
    return found


def _renewed(spec: MonitorSpec, frame: pl.DataFrame, files: Sequence[Path], columns: Sequence[str]) -> pl.DataFrame:
    schema = inference_schema(spec)
    kept = frame.with_columns(_kept(spec, frame, columns))
    if not files:
        return kept
    logged = pl.concat([pl.read_parquet(file, glob=False) for file in files]).unique(ROW, keep="last")
    logged = logged.with_columns(is_logged=pl.lit(value=True))
    joined = kept.join(logged, on=ROW, how="left", suffix="@logged", maintain_order="left")
    return joined.select(
        pl.when(pl.col("is_logged")).then(f"{name}@logged").otherwise(name).cast(schema[name]).alias(name)
        if name in columns
        else pl.col(name)
        for name in kept.columns
    )


def _kept(spec: MonitorSpec, frame: pl.DataFrame, columns: Sequence[str]) -> Iterator[pl.Series]:
    """What was stored, in the kind of now: null where it will not go, or was never there."""
    schema = inference_schema(spec)
    texts = {name: frame[name] for name in frame.columns if name[2:] in spec.columns.features}
    derived = described(spec, {name: values for name, values in texts.items() if values.dtype == pl.String}).columns
    derived |= measured(spec, {name: frame[name] for name in frame.columns})
    for name in columns:
        if name in derived:
            yield derived[name].cast(schema[name]).alias(name)
            continue
        kind = spec.columns.features[name[2:]].kind if name.startswith("f_") else None
        kind = kind or ("numeric" if name.startswith("p_") else "categorical")
        if name in frame.columns:
            yield (
                convert(frame[name], kind, parse=frame.schema[name] == pl.String).values.cast(schema[name]).alias(name)
            )
        else:
            yield pl.Series(name, [None], dtype=schema[name]).new_from_index(0, len(frame))

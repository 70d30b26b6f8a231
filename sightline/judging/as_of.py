"""What was known at an earlier moment, by when labels arrived and not by when they were worked up.

A history that is loaded at once has one revision of every judgement, made today. What its quality was known to be last
March follows from the labels whose time of observation lies before: their aggregates are made anew, in a warehouse of
their own that is thrown away.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import duckdb
import polars as pl

import sightline
from sightline.arrow import to_arrow
from sightline.errors import SightlineError
from sightline.home import PARSED, MonitorPaths
from sightline.judging import model_quality
from sightline.judging.frames import Work
from sightline.judging.maturity import n_learnt_from
from sightline.lake.intake.known_then import KnownThen, known_then
from sightline.lake.store.schema import literal
from sightline.results.judgements import JUDGEMENT_KEY, JUDGEMENT_SCHEMA, read_judgements
from sightline.results.withdrawn import in_scope
from sightline.spec.flows import DELAYED
from sightline.spec.model import MonitorSpec
from sightline.spec.stretches import sliding_windows
from sightline.spec.windows import next_key
from sightline.warehouse import prepare, write_control
from sightline.warehouse.reference import load_reference

PROJECT = Path(sightline.__file__).resolve().parent.parent / "dbt_project"
DBT = Path(sysconfig.get_path("scripts")) / "dbt"
VIEWS = ("stg_inferences", "stg_quarantine")


def judgements_as_of(
    spec: MonitorSpec,
    paths: MonitorPaths,
    moment: datetime,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
) -> pl.DataFrame:
    """Judgements of the windows that had ended by a moment, quality from the labels that had arrived by then.

    Parameters
    ----------
    spec, paths
        The monitor.
    moment : datetime
        Aware, or naive UTC.
    start, end : datetime, optional
        Windows that start in ``[start, end)``.

    Returns
    -------
    polars.DataFrame
        `JUDGEMENT_SCHEMA`, with ``asset``. Of windows all of whose labels had arrived, the newest published revision;
        of the others the quality is judged anew, with `moment` as ``computed_at`` and no revision.

    Notes
    -----
    A label arrived when it was observed: the column `labels.observed_at`, else the time of receipt. Predictions that
    were corrected or withdrawn later (`columns.observed_at`, else the time of receipt) stand as they were; what else
    than quality was judged of them is the newest published revision.
    """
    at = moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    published = _published(paths, start, end).filter(pl.col("window_end") <= at)
    if spec.labels is None:
        return published
    with tempfile.TemporaryDirectory(prefix=".as-of-", dir=paths.root) as folder:
        warehouse = Path(folder) / "warehouse.duckdb"
        with duckdb.connect(str(warehouse)) as con:
            con.execute("SET TimeZone = 'UTC'")
            keys = _unsettled(con, spec, paths, at, start, end)
            if not keys:
                return published
            profile = load_reference(paths)
            write_control(con, spec, profile, sorted({*keys, *_around(spec, keys, at), *_learnt_from(con, spec, at)}))
        _aggregate(Path(folder), warehouse, paths.dbt / "target" / PARSED)
        with duckdb.connect(str(warehouse), read_only=True) as con:
            work = Work(spec, paths, con, keys, profile.columns if profile else {}, at.replace(tzinfo=UTC))
            judged = model_quality.judge(work)
    redone = judged.judgements.with_columns(
        monitor=pl.lit(spec.id),
        window_end=pl.col("window_start") + pl.lit(spec.window, dtype=pl.Duration("us")),
        revision=pl.lit(None),
        computed_at=pl.lit(at),
        run_id=pl.lit("as of"),
    ).select(*(pl.col(name).cast(dtype) for name, dtype in JUDGEMENT_SCHEMA.items()), asset=pl.lit(model_quality.ASSET))
    quality = published.filter(asset=model_quality.ASSET)
    scope = _of_then(judged.scope(spec, keys), quality, keys, spec)
    inside = in_scope(redone, scope)
    later = _joined(_joined(redone, inside, "anti"), quality, "semi")  # audits whose record was another one
    kept = _joined(_joined(quality, in_scope(quality, scope), "anti"), later, "anti")
    return pl.concat([published.filter(pl.col("asset") != model_quality.ASSET), kept, inside, later])


def _joined(rows: pl.DataFrame, others: pl.DataFrame, how: Literal["semi", "anti"]) -> pl.DataFrame:
    return rows.join(others.select(JUDGEMENT_KEY), on=JUDGEMENT_KEY, how=how, nulls_equal=True)


def _of_then(scope: pl.DataFrame, quality: pl.DataFrame, keys: Sequence[str], spec: MonitorSpec) -> pl.DataFrame:
    """What is told anew: the windows themselves, and of sliding windows that hold one of them those in question."""
    starts = [spec.window_start(key).replace(tzinfo=None) for key in keys]
    is_asked = pl.col("window_start").is_in(quality["window_start"].unique().implode())
    return scope.filter(is_asked | pl.col("window_start").is_in(starts))


def _published(paths: MonitorPaths, start: datetime | None, end: datetime | None) -> pl.DataFrame:
    base = paths.results / "judgements"
    assets = sorted(folder.name for folder in base.iterdir() if folder.is_dir()) if base.is_dir() else []
    frames = [
        read_judgements(paths, asset=asset, start=start, end=end).with_columns(asset=pl.lit(asset)) for asset in assets
    ]
    return pl.concat([pl.DataFrame(schema={**JUDGEMENT_SCHEMA, "asset": pl.String()}), *frames])


def _unsettled(
    con: duckdb.DuckDBPyConnection,
    spec: MonitorSpec,
    paths: MonitorPaths,
    at: datetime,
    start: datetime | None,
    end: datetime | None,
) -> list[str]:
    """Windows that had ended and some of whose labels arrived, or predictions were revised, later.

    The raw views then show what was known before.
    """
    prepare(con, spec, paths)
    revised = _before_revisions(con, known_then(spec, paths, at))
    late = con.sql("SELECT DISTINCT window_key FROM raw.labels WHERE observed_at > ?", params=[at]).fetchall()
    late += [(key,) for key in revised]
    con.execute(
        f"CREATE OR REPLACE VIEW raw.labels AS SELECT * FROM ({_query_of(con, 'labels')}) "  # noqa: S608 (our own view)
        f"WHERE observed_at <= TIMESTAMP {literal(at.isoformat(sep=' '))}"
    )
    keys = {key for (key,) in late} | _waited_for(con, spec, at)
    return sorted(key for key in keys if _is_wanted(spec, key, at, start, end))


def _waited_for(con: duckdb.DuckDBPyConnection, spec: MonitorSpec, at: datetime) -> set[str]:
    """Windows whose silence was no answer yet, where it is one at last (`labels.silence: negative`)."""
    limit = spec.labels.give_up_after if spec.labels is not None and spec.is_silence_negative else None
    if limit is None:
        return set()
    since = at - spec.window - limit
    keys = con.sql("SELECT DISTINCT window_key FROM raw.inferences").fetchall()
    return {key for (key,) in keys if spec.window_start(key).replace(tzinfo=None) > since}


def _before_revisions(con: duckdb.DuckDBPyConnection, then: KnownThen | None) -> set[str]:
    """Let the raw views show predictions as they stood before they were revised; windows that held other rows."""
    if then is None:
        return set()
    con.register("revised_ids", to_arrow(then.ids))
    con.execute("CREATE TABLE raw.revised_ids AS SELECT * FROM revised_ids")
    for kind, rows in (("inferences", then.inferences), ("labels", then.labels)):
        con.register("rows_then", to_arrow(rows))
        con.execute(f"CREATE TABLE raw.{kind}_then AS SELECT * FROM rows_then")  # noqa: S608 (one of two names)
        con.unregister("rows_then")
        con.execute(
            f"CREATE OR REPLACE VIEW raw.{kind} AS SELECT * FROM ({_query_of(con, kind)}) "  # noqa: S608 (our own view)
            f"WHERE prediction_id NOT IN (SELECT prediction_id FROM raw.revised_ids) "
            f"UNION ALL BY NAME SELECT * FROM raw.{kind}_then"
        )
    con.unregister("revised_ids")
    return then.keys


def _query_of(con: duckdb.DuckDBPyConnection, name: str) -> str:
    """The query behind a raw view."""
    found = con.sql("SELECT sql FROM duckdb_views() WHERE schema_name = 'raw' AND view_name = ?", params=[name])
    return found.fetchall()[0][0].partition(" AS ")[2].rstrip().rstrip(";")


def _around(spec: MonitorSpec, keys: Sequence[str], at: datetime) -> set[str]:
    """Windows that had ended and are in one sliding window with these."""
    reach = max((over.n - 1 for over in sliding_windows(spec)), default=0)
    near = {next_key(spec, key, step) for key in keys for step in range(-reach, reach + 1)}
    return {key for key in near if _is_wanted(spec, key, at, spec.first_window, None)}


def _learnt_from(con: duckdb.DuckDBPyConnection, spec: MonitorSpec, at: datetime) -> list[str]:
    """Windows that had ended from which the delays are learnt, whichever are asked for."""
    keys = con.sql("SELECT DISTINCT window_key FROM raw.inferences").fetchall()
    over = sorted((spec.window_start(key), key) for (key,) in keys if _is_wanted(spec, key, at, None, None))
    return [key for start, key in over if start >= over[-1][0] - n_learnt_from(spec) * spec.window]


def _is_wanted(spec: MonitorSpec, key: str, at: datetime, start: datetime | None, end: datetime | None) -> bool:
    first = spec.window_start(key)
    is_over = first + spec.window <= at.replace(tzinfo=UTC)
    return is_over and (start is None or first >= _aware(start)) and (end is None or first < _aware(end))


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _aggregate(folder: Path, warehouse: Path, parsed: Path) -> None:
    """Run the models of the delayed flow on a warehouse; a project that was parsed before is not parsed again."""
    if parsed.is_file():
        (folder / "target").mkdir()
        shutil.copyfile(parsed, folder / "target" / PARSED)
    chosen: Sequence[str] = (f"tag:{DELAYED.name}", *VIEWS)
    command = [os.fspath(DBT), "run", "--select", *chosen, "--project-dir", os.fspath(PROJECT)]
    command += ["--profiles-dir", os.fspath(PROJECT), "--target-path", os.fspath(folder / "target")]
    command += ["--log-path", os.fspath(folder / "logs")]
    environment = {
        **os.environ,
        "SIGHTLINE_WAREHOUSE": warehouse.name,
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "False",
        "DO_NOT_TRACK": "1",
    }
    done = subprocess.run(  # noqa: S603 (our own command)
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SightlineError(
            "the aggregates of an earlier moment cannot be made",
            where=os.fspath(PROJECT),
            fix=(done.stdout + done.stderr).strip(),
        )

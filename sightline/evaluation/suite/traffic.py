"""Whether the evaluation set looks like the training set, the reference and today's traffic; how fast it was scored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.comparison.compare import compare
from metrics_py.intervals import N_BUCKETS, jackknife, proportion_interval
from metrics_py.wording import count, number
from sightline.errors import SightlineError
from sightline.evaluation.sets.rows import RECENT_WINDOWS, Candidate
from sightline.evaluation.suite.findings import Finding, Section
from sightline.evaluation.suite.training import Training
from sightline.home import Home, MonitorPaths
from sightline.lake.store.schema import lake_schema, literal, quote
from sightline.spec.model import MonitorSpec
from sightline.warehouse.connection import SETTINGS
from sightline.warehouse.reference_data import file_data
from sightline.warehouse.views import prepare

FloatArray = NDArray[np.float64]
MOST_ROWS, LEAST_ROWS = 50_000, 100
MOST_BYTES = 256 << 20
"""Larger reference files are not read for every candidate."""
FALSE_SHARE = 0.05
"""Columns that are named are beyond the tolerance and have this q-value at most (Benjamini-Hochberg)."""
LEVELS = (0.5, 0.95)
SLOWER = 1.2
"""Times production's latency from which on the candidate's warns."""
EVALUATION, PRODUCTION = "the evaluation set", "recent production"
METHOD = "as `sightline compare`: PSI and rates against their tolerance, by the whole interval; Benjamini-Hochberg, 5 %"


@dataclass(frozen=True)
class Traffic:
    """Rows to compare with, in lake columns; None where there are none.

    Attributes
    ----------
    production, reference : DataFrame or None
        A sample of the newest windows, and of the reference.
    reasons : tuple of str
        Why one of them is missing.
    """

    production: pl.DataFrame | None
    reference: pl.DataFrame | None
    reasons: tuple[str, ...] = ()


def read_traffic(spec: MonitorSpec, paths: MonitorPaths) -> Traffic:
    """A sample of the newest windows' rows and of the reference's, whether they have labels or not."""
    columns = [name for name in lake_schema(spec, "inferences") if name[:2] == "f_"]
    chosen = ", ".join(quote(name) for name in ["bucket", "entity_id", "latency_ms", *columns])
    with duckdb.connect() as con:
        for name, value in SETTINGS.items():
            con.execute(f"SET {name} = ?", [value])
        prepare(con, spec, paths)

        def sample(condition: str) -> pl.DataFrame:
            rows = f"SELECT {chosen} FROM raw.production WHERE {condition}"  # noqa: S608 (all quoted)
            kept = f"SELECT * FROM ({rows}) USING SAMPLE reservoir({MOST_ROWS} ROWS) REPEATABLE (1)"  # noqa: S608 (quoted)
            return con.sql(kept).pl()

        found = con.sql("SELECT DISTINCT window_key FROM raw.production ORDER BY 1 DESC").fetchall()
        keys = [key for (key,) in found[:RECENT_WINDOWS]]
        production = sample(f"window_key IN ({', '.join(map(literal, keys))})") if keys else None
        reference = None
        if spec.reference.kind == "window" and spec.reference.start and spec.reference.end:
            first, last = (literal(spec.key(moment)) for moment in (spec.reference.start, spec.reference.end))
            reference = sample(f"window_key >= {first} AND window_key < {last}")
    reasons = [] if keys else ["production has no rows to compare with"]
    if spec.reference.kind == "file":
        reference, reason = _reference_file(spec, paths)
        reasons += [reason] if reason else []
    return Traffic(production, reference, tuple(reasons))


def _reference_file(spec: MonitorSpec, paths: MonitorPaths) -> tuple[pl.DataFrame | None, str]:
    """Rows of the reference's file; a candidate is judged without it where it cannot be read."""
    file = paths.home / (spec.reference.path or "")
    if not file.exists() or (file.is_file() and file.stat().st_size > MOST_BYTES):
        return None, f"not compared with the reference: {'it is large' if file.exists() else 'its file is not there'}"
    try:
        return file_data(spec, Home(paths.home)).frame, ""
    except SightlineError as error:
        return None, f"not compared with the reference: {error.what}"


def drift(spec: MonitorSpec, candidate: Candidate, training: Training | None, traffic: Traffic) -> Section:
    """Columns in which the sets differ by more than is tolerated."""
    own = candidate.frame
    findings: list[Finding] = []
    pairs: list[tuple[str, str, pl.DataFrame | None, pl.DataFrame, bool]] = [
        (EVALUATION, PRODUCTION, traffic.production, own, True)
    ]
    if training is not None:
        pairs.append((EVALUATION, "the training set", training.frame, own, True))
        if traffic.production is not None:
            pairs.append((PRODUCTION, "the training set", training.frame, traffic.production, False))
    pairs.append((EVALUATION, "the reference", traffic.reference, own, False))
    for what, other, old, new, is_judged in pairs:
        if old is not None and len(old):
            findings += _drifted(spec, f"{what} against {other}", old, new, is_judged=is_judged)
    return Section(key="drift", title="Drift between the sets", findings=tuple(findings), notes=traffic.reasons)


def _drifted(spec: MonitorSpec, of: str, old: pl.DataFrame, new: pl.DataFrame, *, is_judged: bool) -> Iterator[Finding]:
    kinds = {
        f"f_{name}": (name, feature.kind)
        for name, feature in spec.columns.features.items()
        if feature.drift and f"f_{name}" in old.columns and f"f_{name}" in new.columns and feature.kind != "datetime"
    }
    base = Finding(name="drift", of=of, n=len(new), method=METHOD)
    if min(len(old), len(new)) < LEAST_ROWS or not kinds:
        why = f"{count(min(len(old), len(new)), 'rows')}, {LEAST_ROWS} needed" if kinds else "no input in both"
        yield replace(base, status="insufficient_data", reason=why)
        return
    sides = [_sampled(spec, frame, kinds) for frame in (old, new)]
    entity = "(entity)" if all("(entity)" in side.columns for side in sides) else None
    named = dict(kinds.values())
    result = compare(
        *sides, entity=entity, kinds=named, tolerance=spec.drift.tolerance, bins=spec.drift.bins, min_rows=LEAST_ROWS
    )
    rows = result.frame
    drifted = rows.filter((pl.col("state") == "drift") & (pl.col("q_value").fill_null(0.0) <= FALSE_SHARE))
    n_judged = rows.filter(pl.col("state").is_in(["drift", "stable", "unclear"]))["column"].n_unique()
    worst = drifted.sort("effect", descending=True, nulls_last=True).unique("column", maintain_order=True)
    for row in worst.iter_rows(named=True):
        yield replace(
            base,
            name=row["metric"],
            of=f"{row['column']}, {of}",
            value=row["effect"],
            ci_low=row["ci_low"],
            ci_high=row["ci_high"],
            n=row["n_current"],
            status="warn" if is_judged else "ok",
            reason=row["direction"] or row["reason"] or "",
        )
    unclear = rows.filter(pl.col("state") == "unclear")["column"].unique(maintain_order=True).to_list()
    if not len(worst):
        words = f"none of {n_judged} columns differs by more than is tolerated"
        if unclear:
            words += f"; too few rows to tell of {', '.join(unclear[:5])}"
        yield replace(base, value=0.0, reason=words)


def _sampled(spec: MonitorSpec, frame: pl.DataFrame, kinds: dict[str, tuple[str, str]]) -> pl.DataFrame:
    frame = frame.gather_every(-(-len(frame) // MOST_ROWS) or 1)
    chosen = [pl.col(lake).alias(name) for lake, (name, _) in kinds.items()]
    has_entities = spec.columns.entity_id is not None and frame["entity_id"].null_count() == 0
    return frame.select(*chosen, *([pl.col("entity_id").alias("(entity)")] if has_entities else []))


def latency(spec: MonitorSpec, candidate: Candidate, traffic: Traffic) -> Section | None:
    """Quantiles of the latency in the candidate's file beside production's; None where it has none."""
    if spec.columns.latency_ms is None or not candidate.frame["latency_ms"].count():
        return None
    findings: list[Finding] = []
    for level in LEVELS:
        new, old = (
            _quantile(frame, level) if frame is not None else None for frame in (candidate.frame, traffic.production)
        )
        assert new is not None  # the file has latencies
        is_slower = old is not None and new[1] is not None and old[2] is not None and new[1] > SLOWER * old[2]
        findings.append(
            Finding(
                name=f"latency_p{round(100 * level)}_ms",
                value=new[0],
                ci_low=new[1],
                ci_high=new[2],
                champion=old[0] if old else None,
                n=candidate.frame["latency_ms"].count(),
                method="Woodruff's interval of a quantile, rows of one entity together",
                status="warn" if is_slower else "ok",
                reason=f"slower than production by more than {number(100 * (SLOWER - 1), 2)} %" if is_slower else "",
            )
        )
    return Section(key="latency", title="Latency", findings=tuple(findings))


def _quantile(frame: pl.DataFrame, level: float) -> tuple[float, float | None, float | None] | None:
    """A quantile, and those at the ends of the interval of the share of rows below it (Woodruff 1952)."""
    rows = frame.drop_nulls("latency_ms")
    if rows.is_empty():
        return None
    x = np.sort(rows["latency_ms"].to_numpy())
    value = float(np.quantile(x, level, method="inverted_cdf"))
    place = rows["bucket"].cast(pl.Int64).to_numpy() % N_BUCKETS
    below = (rows["latency_ms"].to_numpy() <= value).astype(np.float64)
    total, n = (np.bincount(place, weights=w, minlength=N_BUCKETS)[None] for w in (below, np.ones(len(x))))
    found = jackknife(_ratio, total, n)
    if len(x) < LEAST_ROWS:
        return value, None, None
    low, high, _ = proportion_interval(level * len(x), float(len(x)), found.standard_error, found.degrees_of_freedom)
    ends = [float(np.quantile(x, float(np.clip(end[0], 0, 1)), method="inverted_cdf")) for end in (low, high)]
    return value, ends[0], ends[1]


def _ratio(total: FloatArray, n: FloatArray) -> FloatArray:
    return total / n

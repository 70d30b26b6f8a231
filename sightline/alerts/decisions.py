"""The alert engine over a monitor's published evidence: settings from the spec, replay, snapshots."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from glob import escape
from typing import Any, cast

import polars as pl

import sightline
from metrics_py.alerting import EngineConfig, Replay, SavedReplay, replay
from metrics_py.alerting.engine import STATE_VERSION
from sightline.alerts import answers
from sightline.alerts.answers import ENDS, REOPEN
from sightline.durable import exclusive, replace_file
from sightline.home import MonitorPaths
from sightline.results.actions import read_actions
from sightline.results.evidence import read_evidence
from sightline.results.snapshots import read_snapshot, write_snapshot
from sightline.spec.model import MonitorSpec
from sightline.spec.stretches import ENDING, split, strides

DEFAULT_WEIGHTS = {
    "model_quality/label_arrivals": 1.0,  # of the label feed, not of the model
    "model_quality/*": 8.0,
    "data_quality/*": 3.0,
    "drift/*": 1.0,
}
"""So weighted, each of the three assets holds about a third of the budget (15 columns).

A column has many drift streams, a model few of quality: what costs money is heard first. The spec's own patterns come
before these.
"""

FAILURES = ("is_empty", "is_refusal", "is_truncated", "is_valid_format")
"""Measures of a language model's answers whose rates are its quality, known without labels: they weigh as much."""

NEEDS: dict[str, tuple[str, type]] = {"merge": ("into", str), "split": ("streams", list)}
"""What an action says besides its kind and its incident."""

DISTANCES = (
    "correlation_distance", "rff_distance", "pca_error", "domain_auc", "centroid_distance", "hotelling",
    "word_distance",
)  # fmt: skip
TAILS = {"label_arrivals": 1, **dict.fromkeys(DISTANCES, 2)}
"""Statistics with a tail that is not everybody's (0), by the number of their pool.

A day on which half of the labels fail to come says nothing of how far a metric may stray. Distances of many columns at
once stray farther than any column does: three of them among 150 streams made the common tail so heavy that two changes
of quality in a year were not found.
"""

FOLLOWS = ("data_quality/*", "drift/*")
"""Inputs wander with seasons: after an incident that nobody attended to they are judged against their own recent level.
Quality is not: its slow decline must be told again."""
REFERENCES = {
    **{f"drift/*/{statistic}": 0.0 for statistic in ("location", "spread", "skew", "tails")},
    **{f"drift/*/{statistic}": 0.0 for statistic in ("norm", "pca_error")},
    **{
        pattern: float("-inf")
        for pattern in ("drift/*/log_psi", "data_quality/*/unseen_rate", "data_quality/*/out_of_range_rate")
    },
    **{f"drift/*/{statistic}": float("-inf") for statistic in DISTANCES if statistic != "pca_error"},
}
"""Where the reference lies on the scale of these statistics: a column that comes back to it is no incident."""

STREAMS, INCIDENTS, MEMBERS = "alert_streams", "incidents", "incident_members"
WARNING_VALUES = 3
"""Values of a stream over several windows whose credit its evidence must exceed to warn."""
LEVEL_WINDOWS = 28
"""So many windows before a change point tell from where a stream came."""
CHECKPOINT_FROM = 400
"""So many decided windows are replayed each time; a longer history goes on from a checkpoint."""
REPLAYED = 8
"""Windows before the last one that are decided again each time, because evidence of their labels may still come."""


def config(spec: MonitorSpec) -> EngineConfig:
    """Settings of the engine: the budget is the promise, the weights and holidays are the user's."""
    return EngineConfig.from_budget(
        spec.alerts.budget.incidents,
        spec.alerts.budget.per,
        window=spec.window,
        warmup=spec.warmup_windows,
        warn_share=_warn_share(spec),
        strides=strides(spec),
        holidays=frozenset(spec.alerts.holidays),
        follows=FOLLOWS,
        references=REFERENCES,
        weights={**{p: weight for p, weight in spec.alerts.weights.items() if weight > 0}, **default_weights(spec)},
    )


def _warn_share(spec: MonitorSpec) -> float:
    """Share of the budget's threshold from which evidence warns; at most 1: no warning is later than an incident."""
    return min(1.0, spec.warnings.windows(spec.window) / spec.alerts.budget.windows(spec.window))


def default_weights(spec: MonitorSpec) -> dict[str, float]:
    """Default weights of the patterns that the spec does not set itself."""
    answers = (escape(feature) for feature, measure in spec.columns.measured.items() if measure in FAILURES)
    failures = {f"drift/{feature}/true_rate": DEFAULT_WEIGHTS["model_quality/*"] for feature in answers}
    known = {**failures, **DEFAULT_WEIGHTS}
    return {pattern: weight for pattern, weight in known.items() if pattern not in spec.alerts.weights}


def is_silenced(spec: MonitorSpec, stream: str) -> bool:
    """Does the spec give this stream the weight 0? The first pattern that matches decides."""
    for pattern, weight in spec.alerts.weights.items():
        if matches(pattern, stream):
            return weight == 0
    return False


def matches(pattern: str, stream: str) -> bool:
    """Whether a pattern of the spec means a stream, one over a stretch also by the name that it has by window."""
    return fnmatchcase(stream, pattern) or fnmatchcase(split(stream)[0], pattern)


def run(spec: MonitorSpec, paths: MonitorPaths) -> Replay:
    """Replay the evidence with all actions, and publish streams, incidents and their members.

    The result is a function of the evidence and the actions alone: a run killed half-way, repeated or done again after
    a backfill publishes the same. A long history is not replayed from its start but from a checkpoint, which is dropped
    whenever anything before it has changed. One process at a time: of a run and a person's word at one moment, whoever
    publishes last has read what the other one has.

    Returns
    -------
    Replay
        `streams` holds all windows, also those before the checkpoint.
    """
    with exclusive(paths.results / ".decisions.lock"):
        return _run(spec, paths)


def log_of(spec: MonitorSpec, evidence: pl.DataFrame) -> pl.DataFrame:
    """The evidence that the engine decides on: without silenced streams, with what goes together.

    Parameters
    ----------
    spec : MonitorSpec
    evidence : DataFrame
        As from `sightline.results.evidence.read_evidence`.

    Returns
    -------
    DataFrame
        With ``group`` and ``pool``.
    """
    silenced = [name for name in evidence["stream"].unique() if is_silenced(spec, name)]
    return evidence.filter(~pl.col("stream").is_in(silenced)).with_columns(
        group=group_of(pl.col("asset"), pl.col("column")),
        pool=pl.col("statistic").str.replace(ENDING, "").replace_strict(TAILS, default=0, return_dtype=pl.Int64),
    )


def _run(spec: MonitorSpec, paths: MonitorPaths) -> Replay:
    evidence = read_evidence(paths)
    log = log_of(spec, evidence)
    said = read_actions(paths)
    actions = [read_action(action) for action in in_force(said)]
    found, checkpoint = _replay(spec, paths, log, actions)
    found = replace(
        found,
        streams=with_warnings(found.streams, strides(spec), again_after=spec.settle_windows * spec.window),
        incidents=answers.of_incidents(with_settled(found, spec.settle_windows * spec.window), said),
        members=answers.of_members(found.members, found.streams, said),
    )
    write_snapshot(paths, STREAMS, found.streams)
    write_snapshot(paths, INCIDENTS, found.incidents)
    calm = evidence.join(found.streams.filter("in_incident"), on=["stream", "window_start"], how="anti")
    write_snapshot(paths, MEMBERS, with_levels(found.members, evidence, spec.window, calm))
    if checkpoint is not None:  # last of all: the next run takes the windows before it from the snapshot
        replace_file(paths.results / "checkpoint.json.gz", checkpoint)
    return found


def with_warnings(
    streams: pl.DataFrame, strides: Mapping[str, int] | None = None, *, again_after: timedelta = timedelta(0)
) -> pl.DataFrame:
    """Streams with `warns`: the windows in which a stream's evidence came to exceed the budget of warnings.

    A warning is told once. It can be told again when the evidence has fallen back to chance in between (below one
    window), or the stream has been in an incident, and not before `again_after`: streams of one column that come to
    exceed it one after the other are one piece of news. A stream over n windows is credited with n of them at each
    value, whatever that is: it warns from `WARNING_VALUES` times n windows on, and has fallen back below n.

    Parameters
    ----------
    streams : polars.DataFrame
        Of `STREAMS_SCHEMA`, sorted by window within each stream.
    strides : mapping of str to int, optional
        Ending of streams over several windows -> their number.
    again_after : timedelta, optional
        After a warning none of the same column, or of the same stream where it has none, for so long.

    Returns
    -------
    polars.DataFrame
        The same rows; what does not warn for this reason has the status ``ok``.
    """
    n = pl.lit(1)
    for ending, stride in (strides or {}).items():
        n = pl.when(pl.col("stream").str.ends_with(ending)).then(stride).otherwise(n)
    evidence = pl.col("adjusted_evidence").fill_null(0.0)
    is_credit = (pl.col("status") == "warn") & (n > 1) & (evidence < WARNING_VALUES * n)
    streams = streams.with_columns(status=pl.when(is_credit).then(pl.lit("ok")).otherwise("status"))
    is_over = pl.col("status") == "warn"
    is_chance = evidence < n
    state = pl.when(is_over).then(True).when((pl.col("status") != "ok") | is_chance).then(False)
    on = state.forward_fill().over("stream").fill_null(False)
    begins = on & ~on.shift(1, fill_value=False).over("stream")
    if not again_after:
        return streams.with_columns(warns=begins)
    episode = begins.cast(pl.Int64).cum_sum().over("stream")
    over = streams.select("stream", "window_start", on=on, episode=episode).filter("on").drop("on")
    told = _told_once(over, again_after)
    joined = streams.join(told, on=["stream", "window_start"], how="left", maintain_order="left")
    return joined.with_columns(pl.col("warns").fill_null(value=False))


def _told_once(over: pl.DataFrame, again_after: timedelta) -> pl.DataFrame:
    """``stream, window_start, warns``: where each episode above the budget is told, one per column at a time.

    One that begins too soon after a warning of the same column is told when that time has passed, if it lasts.
    """
    column = pl.col("stream").str.extract(r"^([^/]+/.+)/[^/]+$", 1)
    rows = over.with_columns(news=pl.coalesce(column, "stream")).sort("window_start", "stream")
    told: dict[tuple[str, int], datetime] = {}
    last: dict[str, datetime] = {}
    for stream, start, episode, news in rows.iter_rows():
        is_free = news not in last or start == last[news] or start >= last[news] + again_after
        if is_free and (stream, episode) not in told:
            told[stream, episode] = last[news] = start
    found = [(stream, start) for (stream, _), start in told.items()]
    schema = {"stream": pl.String, "window_start": over.schema["window_start"]}
    return pl.DataFrame(found, schema=schema, orient="row").with_columns(warns=pl.lit(value=True))


def with_settled(found: Replay, after: timedelta) -> pl.DataFrame:
    """Incidents with `settled_at`: since when an open one has settled, null for all others.

    That is when the last of its open members had been away, without moving again, for `after`.
    """
    if found.streams.is_empty():
        return found.incidents.with_columns(settled_at=pl.lit(None, dtype=pl.Datetime("us")))
    settled = (
        found.members.filter(pl.col("status") == "open")
        .group_by("incident_id")
        .agg(settled_at=pl.max_horizontal("joined_at", "moved_again_at").max() + after)
        .filter(pl.col("settled_at") <= found.streams["window_start"].max())
    )
    return found.incidents.join(settled, on="incident_id", how="left", maintain_order="left")


def with_levels(
    members: pl.DataFrame, evidence: pl.DataFrame, window: timedelta, calm: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Members with `display_before` and `display_after`, medians of the displayed value, and `display_extreme`.

    The first is over the `LEVEL_WINDOWS` windows before the change point, the second over those from it until the
    member joined the incident; the third is that one of the latter that lies farthest from the first. All are null
    where nothing is displayed. Windows of an incident do not count before the change point where `calm`, the evidence
    outside of incidents, holds others: a level that somebody called mended is not the old one.
    """
    keyed = members.with_row_index("member")
    seen = (
        evidence.filter(pl.col("display_value").is_not_null())
        .select("stream", "window_start", "display_value")
        .join(keyed.select("member", "stream", "change_point", "joined_at"), on="stream")
    )
    start, point = pl.col("window_start"), pl.col("change_point")
    is_calm = pl.lit(value=True)
    if calm is not None:
        outside = calm.select("stream", "window_start", calm=pl.lit(value=True))
        seen = seen.join(outside, on=["stream", "window_start"], how="left")
        is_calm = pl.col("calm").fill_null(value=False)
    shown = pl.col("display_value")
    within = (start < point) & (start >= point - LEVEL_WINDOWS * window)
    latest_calm = shown.filter((start < point) & is_calm).tail(LEVEL_WINDOWS)  # where an incident fills all of `within`
    before = pl.coalesce(shown.filter(within & is_calm).median(), latest_calm.median(), shown.filter(within).median())
    since = shown.filter(start >= point, start <= pl.col("joined_at"))
    levels = (
        seen.sort("window_start")
        .group_by("member")
        .agg(
            display_before=before,
            display_after=since.median(),
            display_extreme=since.sort_by((since - before).abs()).last(),
        )
    )
    return keyed.join(levels, on="member", how="left", maintain_order="left").drop("member")


def _replay(
    spec: MonitorSpec, paths: MonitorPaths, log: pl.DataFrame, actions: Sequence[Mapping[str, Any]]
) -> tuple[Replay, bytes | None]:
    """Replay from the checkpoint if there is one that still holds, else from the start.

    Returns the checkpoint to keep for a long history, too; None to keep what there is.
    """
    settings = config(spec)
    windows = log["decided_at"].unique().sort()
    if len(windows) <= CHECKPOINT_FROM:
        return replay(log, settings, actions), None
    through = windows[-REPLAYED]
    before = read_snapshot(paths, STREAMS)
    kept = _load(paths, settings, log, actions, before) if before is not None else None
    if kept is None or before is None:
        found = replay(log, settings, actions, save_through=through)
    else:
        start, resume = kept
        later = replay(
            log.filter(pl.col("decided_at") > start),
            settings,
            [action for action in actions if _index(settings, action["at"]) > _index(settings, start)],
            resume=resume,
            save_through=through if through > start else None,
        )
        streams = pl.concat([before.filter(pl.col("decided_at") <= start).select(later.streams.columns), later.streams])
        found = Replay(
            streams, later.incidents, later.members, later.ignored, later.unapplied_actions, later.engine, later.saved
        )
    if found.saved is None:
        return found, None
    return found, _checkpoint(settings, log, actions, through, found.saved, found.streams)


# ---------------------------------------------------------------- checkpoint


def _fingerprint(
    settings: EngineConfig, log: pl.DataFrame, actions: Sequence[Mapping[str, Any]], through: datetime
) -> str:
    """Changes with anything that a replay up to `through` depends on: settings, rows and actions."""
    rows = log.filter(pl.col("decided_at") <= through).select(
        "stream", "window_start", "decided_at", "value", "variance", "pool"
    )
    early = [action for action in actions if _index(settings, action["at"]) <= _index(settings, through)]
    content = [
        sightline.__version__,
        str(STATE_VERSION),
        repr(settings),
        str(len(rows)),
        str(rows.hash_rows(seed=1).sum()),
        json.dumps(early, default=str),
    ]
    return hashlib.sha256("\n".join(content).encode()).hexdigest()


def _index(settings: EngineConfig, moment: datetime) -> int:
    return settings.index(moment)


def _decided(streams: pl.DataFrame, through: datetime) -> str:
    """Changes with any decision up to `through`."""
    rows = streams.filter(pl.col("decided_at") <= through).select(
        "stream", "window_start", "decided_at", "status", "incident_id", "evidence"
    )
    return f"{len(rows)}:{rows.hash_rows(seed=1).sum()}"


def _load(
    paths: MonitorPaths,
    settings: EngineConfig,
    log: pl.DataFrame,
    actions: Sequence[Mapping[str, Any]],
    before: pl.DataFrame,
) -> tuple[datetime, SavedReplay] | None:
    """The checkpoint (start of its last window, where to go on), or None when there is none that holds.

    It holds for the decisions (`before`) that it was saved with: a run that was killed may have left others.
    """
    try:
        kept = json.loads(gzip.decompress((paths.results / "checkpoint.json.gz").read_bytes()))
    except (FileNotFoundError, gzip.BadGzipFile, EOFError, json.JSONDecodeError):
        return None
    through = datetime.fromisoformat(kept["through"])
    if kept["fingerprint"] != _fingerprint(settings, log, actions, through):
        return None
    if kept["decided"] != _decided(before, through):
        return None
    pending = [{**action, "at": datetime.fromisoformat(action["at"])} for action in kept["pending"]]
    return through, SavedReplay(kept["state"], pending)


def _checkpoint(
    settings: EngineConfig,
    log: pl.DataFrame,
    actions: Sequence[Mapping[str, Any]],
    through: datetime,
    saved: SavedReplay,
    streams: pl.DataFrame,
) -> bytes:
    pending = [{**action, "at": action["at"].isoformat()} for action in saved.pending]
    fingerprint = _fingerprint(settings, log, actions, through)
    kept = {
        "through": through.isoformat(),
        "fingerprint": fingerprint,
        "decided": _decided(streams, through),
        "state": saved.state,
        "pending": pending,
    }
    return gzip.compress(json.dumps(kept).encode(), compresslevel=1)


# ---------------------------------------------------------------- evidence and actions


def group_of(asset: pl.Expr, column: pl.Expr) -> pl.Expr:
    """Streams of one column belong together, its data quality apart from its drift.

    A feed that breaks must not hide in a season's open incident. Streams without a column belong to their asset, a
    group of many things (`Grouping.belongs`): its name ends in a slash.
    """
    return pl.concat_str(asset, column, separator="/")


def read_action(action: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of ``actions.jsonl`` as the engine wants it."""
    at = action.get("effective_at") or action["at"]
    wanted = NEEDS.get(action["kind"])
    more: dict[str, Any] = {wanted[0]: action[wanted[0]]} if wanted else {}
    if action["kind"] == "fixed" and action.get("bad_to"):
        first = action.get("bad_from")
        more["bad"] = (datetime.fromisoformat(first) if first else None, datetime.fromisoformat(action["bad_to"]))
    return {"action": action["kind"], "incident": action["incident"], "at": datetime.fromisoformat(at), **more}


def in_force(said: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Entries of ``actions.jsonl`` that the engine has to know: without ends that somebody has taken back since."""
    last = {action["incident"]: n for n, action in enumerate(said) if action["kind"] == REOPEN}
    return [
        action
        for n, action in enumerate(said)
        if _is_for_engine(action) and not (action["kind"] in ENDS and n < last.get(action["incident"], -1))
    ]


def _is_for_engine(action: Mapping[str, Any]) -> bool:
    """Whether the engine has to know an action; one that lacks what it needs was never confirmed to anybody."""
    kind = action["kind"]
    return kind in ENDS or (kind in NEEDS and isinstance(action.get(NEEDS[kind][0]), NEEDS[kind][1]))


def newest_window(paths: MonitorPaths) -> datetime | None:
    """Start of the newest window judged so far (naive UTC); labels may be decided with a later one."""
    streams = read_snapshot(paths, STREAMS)
    return None if streams is None or streams.is_empty() else cast("datetime | None", streams["window_start"].max())


def published_through(paths: MonitorPaths) -> datetime | None:
    """Start of the last window decided so far (naive UTC).

    Evidence that comes later is decided after it, so that published decisions never change.
    """
    streams = read_snapshot(paths, STREAMS)
    return None if streams is None or streams.is_empty() else cast("datetime | None", streams["decided_at"].max())

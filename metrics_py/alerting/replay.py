"""Evidence log in, decisions and incidents out: the alert engine as a pure function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from metrics_py.alerting.config import MONDAY, EngineConfig
from metrics_py.alerting.engine import Decision, Engine
from metrics_py.alerting.tables import TIME, incidents_frame, members_frame, streams_frame
from metrics_py.reasons import ReasonCode

ACTIONS = ("accept", "fixed", "merge", "split")


@dataclass(frozen=True)
class SavedReplay:
    """A replay stopped after some window.

    Parameters
    ----------
    state : dict
        `Engine.to_state`.
    pending : list of mapping
        Actions given then and not yet in force.
    """

    state: dict[str, Any]
    pending: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Replay:
    """Result of `replay`.

    Parameters
    ----------
    streams : DataFrame
        One row per (stream, window) of the log. `status` is ``alert`` (rejected in this window), ``muted`` (member of
        an open incident), ``warn`` (adjusted evidence above `warn_share` of the threshold), ``ok`` or
        ``insufficient_data`` (with `reason` and `reason_code`: warm-up, holiday, no value). `evidence_days`: this much
        appears by chance at most once in so many days for the stream alone; `adjusted_evidence_days`: over all streams,
        to compare with the budget.
    incidents : DataFrame
        One row per incident, oldest first; `main_*` describe the member with the largest evidence.
    members : DataFrame
        One row per stream of an incident: its own change point, effect and end.
    ignored : DataFrame
        Rows of the log not used (stream, window_start, reason): repeated windows and windows before one already
        decided.
    unapplied_actions : list of mapping
        Actions whose incident does not exist.
    engine : Engine
        The engine after the last window.
    saved : SavedReplay or None
        Where `replay` can go on, as of `save_through`.
    """

    streams: pl.DataFrame
    incidents: pl.DataFrame
    members: pl.DataFrame
    ignored: pl.DataFrame
    unapplied_actions: list[Mapping[str, Any]]
    engine: Engine
    saved: SavedReplay | None = None


def replay(
    evidence: pl.DataFrame,
    config: EngineConfig,
    actions: Iterable[Mapping[str, Any]] = (),
    *,
    resume: SavedReplay | None = None,
    save_through: datetime | None = None,
) -> Replay:
    """Run the engine over an evidence log.

    Parameters
    ----------
    evidence : DataFrame
        Columns `stream`, `window_start` (naive UTC or aware), `value` (stabilised scale; null: not enough data) and
        optionally `variance` (sampling variance), `reason` and `reason_code` (why there is no value), `group` (the
        column a stream belongs to), `pool` (a number: the streams of one share a tail), `may_alarm`
        (practical gate), `decided_at` (start of the window with which the row was first decided, default its own
        window: give the later one for labels that came late, and published decisions never change).
    config : EngineConfig
        Settings.
    actions : iterable of mapping
        ``{"action": one of `ACTIONS`, "incident": id, "at": datetime}``, of a merger with the id ``into``, of a split
        with ``streams``, of ``fixed`` perhaps with ``bad`` (see `Engine.fix`); in force from the first window that ends
        after `at`.
    resume : SavedReplay, optional
        Go on from there, under the same settings: `evidence` and `actions` are then the later ones only, and so are the
        rows of the result's `streams` and `ignored`.
    save_through : datetime, optional
        Keep in `Replay.saved` where things stood after the last step decided with a window that starts at or before
        this.

    Returns
    -------
    Replay
        Decisions and incidents as frames, the engine after the last window, and what was not used.

    Raises
    ------
    ValueError
        If a column is missing, an action is unknown, or an action has no time.

    Notes
    -----
    The result does not depend on the order of the rows, except that of several rows for one (stream, window) the first
    counts. Rows are taken in the order of `decided_at`, then of their window; a row whose window is not after the last
    one of its stream is ignored and listed.

    The log is the whole state: the same log, settings and actions give the same incidents, so restarts, backfills and
    late labels need no special case. `resume` only saves time.

    References
    ----------
    Shin, Ramdas & Rinaldo (2022), E-detectors, arXiv 2203.03532.
    Dandapanthula & Ramdas (2025), e-d-BH, arXiv 2501.04130.

    Examples
    --------
    Eight weeks of noise, then a week that is six standard deviations higher, accepted as the new normal at its end:

    >>> from datetime import timedelta
    >>> value = np.random.default_rng(1).normal(size=63)
    >>> value[56:] += 6
    >>> days = [datetime(2026, 1, 5) + timedelta(days=k) for k in range(63)]
    >>> log = pl.DataFrame({"stream": "x", "window_start": days, "value": value})
    >>> config = EngineConfig.from_budget(1, timedelta(days=90))
    >>> found = replay(log, config)
    >>> found.incidents.select("incident_id", "n_streams", "status").rows()
    [('2026-03-02-2d7116', 1, 'open')]
    >>> found.streams["status"].tail(8).to_list()
    ['ok', 'alert', 'muted', 'muted', 'muted', 'muted', 'muted', 'muted']
    >>> action = {"action": "accept", "incident": "2026-03-02-2d7116", "at": days[-1]}
    >>> replay(log, config, [action]).incidents.select("status", "closed_by").rows()
    [('accepted', 'user')]
    """
    log, ignored = _prepare(evidence, config)
    pending = _read_actions([*(resume.pending if resume else ()), *actions], config)
    groups = dict(zip(log["stream"].to_list(), log["group"].to_list(), strict=True))
    pools = dict(zip(log["stream"].to_list(), log["pool"].to_list(), strict=True))
    engine = Engine.from_state(resume.state, config) if resume else Engine(config)
    save_at = None if save_through is None else config.index(save_through)
    saved: SavedReplay | None = None
    chunks: list[dict[str, Any]] = []
    for step in log.partition_by("decided", "turn", maintain_order=True):
        decided = int(step["decided"][0])
        is_first_turn = int(step["turn"][0]) == 0
        if saved is None and save_at is not None and decided > save_at:
            saved = SavedReplay(engine.to_state(), list(pending))
        if is_first_turn:  # an action on what was decided with this window was said after all of its turns
            pending = _apply(engine, pending, before=decided)
        names = step["stream"].to_list()
        new = [name for name in dict.fromkeys(names) if name not in engine.states]
        engine.register(new, [groups[name] for name in new], [pools[name] for name in new])
        position = np.array([engine.position(name) for name in names], dtype=np.int64)
        value = step["value"].to_numpy()
        usable = np.isfinite(value)
        decision = engine.step(
            decided,
            position[usable],
            value[usable],
            step["variance"].to_numpy()[usable],
            windows=step["window"].to_numpy()[usable],
            may_alarm=step["may_alarm"].to_numpy()[usable],
        )
        chunks.append(_collect(engine, decision, step.filter(~pl.Series(usable)), position[~usable]))
    pending = _apply(engine, pending, before=None)
    engine.lifecycle.note_second_changes()
    return Replay(
        streams=streams_frame(engine, chunks),
        incidents=incidents_frame(engine.incidents, config),
        members=members_frame(engine.incidents, config),
        ignored=ignored,
        unapplied_actions=pending,
        engine=engine,
        saved=saved,
    )


def _prepare(evidence: pl.DataFrame, config: EngineConfig) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sort the log; split off rows that do not count."""
    missing = {"stream", "window_start", "value"} - set(evidence.columns)
    if missing:
        raise ValueError(
            f"replay: columns {sorted(missing)} are missing from the evidence\n  fix: found {evidence.columns}"
        )
    optional = {
        "variance": pl.lit(0.0),
        "reason": pl.lit(None, dtype=pl.String),
        "reason_code": pl.lit(None, dtype=pl.String),
        "group": pl.col("stream"),
        "pool": pl.lit(0),
        "may_alarm": pl.lit(True),
        "decided_at": pl.col("window_start"),
    }
    log = evidence.with_columns(**{name: value for name, value in optional.items() if name not in evidence.columns})
    for name in ("window_start", "decided_at"):
        dtype = log.schema[name]
        if isinstance(dtype, pl.Datetime) and dtype.time_zone:
            log = log.with_columns(pl.col(name).dt.convert_time_zone("UTC").dt.replace_time_zone(None))
    origin, length = MONDAY.replace(tzinfo=None), int(config.window.total_seconds() * 1e6)
    number = {
        out: (pl.col(name).cast(TIME) - origin).dt.total_microseconds() // length
        for out, name in (("window", "window_start"), ("decided", "decided_at"))
    }
    log = log.select(
        "stream",
        pl.col("window_start").cast(TIME),
        pl.col("value").cast(pl.Float64).fill_null(float("nan")),
        pl.col("variance").cast(pl.Float64).fill_null(0.0).fill_nan(0.0),
        "reason",
        "reason_code",
        pl.col("group").fill_null(pl.col("stream")),
        pl.col("pool").cast(pl.Int64),
        pl.col("may_alarm").fill_null(True),
        **number,
    )
    log = log.with_columns(decided=pl.max_horizontal("decided", "window")).sort(
        "decided", "window", "stream", maintain_order=True
    )
    latest = pl.col("window").cum_max().shift(1).over("stream")
    log = log.with_columns(
        late=(pl.col("window") <= latest).fill_null(False), same=(pl.col("window") == latest).fill_null(False)
    )
    words = pl.when("same").then(pl.lit("repeated window")).otherwise(pl.lit("earlier than a window already decided"))
    ignored = log.filter("late").select("stream", "window_start", reason=words)
    log = log.filter(~pl.col("late"))
    turn = pl.int_range(pl.len()).over("decided", "stream")
    return log.with_columns(turn=turn).sort("decided", "turn", "stream", maintain_order=True), ignored


def _read_actions(actions: Iterable[Mapping[str, Any]], config: EngineConfig) -> list[Mapping[str, Any]]:
    read: list[tuple[int, Mapping[str, Any]]] = []
    for action in actions:
        if action.get("action") not in ACTIONS:
            raise ValueError(f"replay: action {action.get('action')!r} is unknown\n  fix: use one of {ACTIONS}")
        if not isinstance(action.get("at"), datetime):
            raise ValueError(
                f"replay: action on {action.get('incident')!r} has no time\n  fix: give `at` as a datetime"
            )
        read.append((config.index(action["at"]), action))
    return [action for _, action in sorted(read, key=lambda pair: pair[0])]


def _apply(engine: Engine, pending: list[Mapping[str, Any]], before: int | None) -> list[Mapping[str, Any]]:
    """Apply the actions due before window `before` (None: all) to incidents that exist; returns the rest."""
    rest: list[Mapping[str, Any]] = []
    known: set[str] = {incident.incident_id for incident in engine.incidents} if pending else set()
    for action in pending:
        due = before is None or engine.config.index(action["at"]) <= before
        needed = {action["incident"], action["into"]} if action["action"] == "merge" else {action["incident"]}
        if not (due and needed <= known):
            rest.append(action)
            continue
        match action["action"]:
            case "accept":
                engine.accept(action["incident"])
            case "fixed":
                engine.fix(action["incident"], bad=action.get("bad"))
            case "merge":
                engine.merge(action["incident"], action["into"])
            case _:
                known.add(engine.split(action["incident"], action["streams"]).incident_id)
    return rest


def _collect(engine: Engine, decision: Decision, empty: pl.DataFrame, empty_position: np.ndarray) -> dict[str, Any]:
    """One step's rows as arrays, those without a value at the end."""
    n, k = len(decision.streams), len(empty)
    config = engine.config
    rejected = np.isin(decision.streams, decision.rejected)
    incident = engine.lifecycle.columns.incident
    named_bad = engine.lifecycle.is_bad(decision.streams, decision.windows)
    reason, code = np.full(n + k, None, dtype=object), np.full(n + k, None, dtype=object)
    warming = ~decision.live & ~decision.muted
    status = np.where(decision.adjusted_evidence >= config.warn_share * config.threshold_windows, "warn", "ok").astype(
        object
    )
    status[warming] = "insufficient_data"
    _say(reason, code, warming, "warm_up", "warm-up: the baseline is not known yet")
    _say(reason, code, warming & decision.holiday, "holiday", "holiday")
    _say(reason, code, decision.muted & decision.holiday, "holiday", "holiday")
    _say(reason, code, warming & named_bad, "named_bad", "a person said that something was broken in this window")
    status[decision.muted] = "muted"
    status[rejected] = "alert"
    returned = np.isin(decision.streams, decision.returned)
    status[:n][returned] = "ok"
    _say(reason, code, returned, "returned", "moved back towards the reference: no incident, the baseline follows")
    reason[:n][rejected] = code[:n][rejected] = None
    reason[n:] = [text or "no value" for text in empty["reason"].to_list()]
    code[n:] = [text or "no_value" for text in empty["reason_code"].to_list()]
    gap = np.full(k, np.nan)
    return {
        "stream": np.r_[decision.streams, empty_position],
        "window": np.r_[decision.windows, empty["window"].to_numpy()],
        "decided": np.full(n + k, decision.window),
        "value": np.r_[decision.value, gap],
        "expected": np.r_[decision.expected, gap],
        "level": np.r_[decision.level, gap],
        "level_variance": np.r_[decision.level_variance, gap],
        "usual_variance": np.r_[decision.usual_variance, gap],
        "z": np.r_[decision.z, gap],
        "p_value": np.r_[decision.p_value, gap],
        "distance": np.r_[decision.distance, gap],
        "evidence": np.r_[decision.evidence, gap],
        "adjusted_evidence": np.r_[decision.adjusted_evidence, gap],
        "muted": np.r_[decision.muted, incident[empty_position] >= 0],
        "incident": np.r_[incident[decision.streams], incident[empty_position]],
        "n_history": np.r_[decision.history, engine.states.baseline.history[empty_position]],
        "status": np.r_[status, np.full(k, "insufficient_data", dtype=object)],
        "reason": reason,
        "reason_code": code,
    }


def _say(reason: np.ndarray, code: np.ndarray, where: np.ndarray, why: ReasonCode, words: str) -> None:
    """Give the first rows under a mask a reason."""
    reason[: len(where)][where], code[: len(where)][where] = words, why

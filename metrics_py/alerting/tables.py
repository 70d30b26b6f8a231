"""What the alert engine decided, as tables: streams by window, incidents, their members."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from metrics_py.alerting.config import MONDAY, EngineConfig
from metrics_py.alerting.engine import Engine
from metrics_py.alerting.incidents import Incident

TIME = pl.Datetime("us")
NUMBERS = (
    "window",
    "decided",
    "value",
    "expected",
    "level",
    "level_variance",
    "usual_variance",
    "z",
    "p_value",
    "distance",
    "evidence",
)
STREAMS_SCHEMA = pl.Schema(
    {
        "stream": pl.String,
        "window_start": TIME,
        "decided_at": TIME,
        "value": pl.Float64,
        "expected": pl.Float64,
        "level": pl.Float64,
        "level_variance": pl.Float64,
        "usual_variance": pl.Float64,
        "z": pl.Float64,
        "p_value": pl.Float64,
        "distance": pl.Float64,
        "evidence": pl.Float64,
        "evidence_days": pl.Float64,
        "adjusted_evidence": pl.Float64,
        "adjusted_evidence_days": pl.Float64,
        "muted": pl.Boolean,
        "in_incident": pl.Boolean,
        "incident_id": pl.String,
        "n_history": pl.Int64,
        "status": pl.String,
        "reason": pl.String,
        "reason_code": pl.String,
    }
)
INCIDENTS_SCHEMA = pl.Schema(
    {
        "incident_id": pl.String,
        "opened_at": TIME,
        "change_point": TIME,
        "streams": pl.List(pl.String),
        "n_streams": pl.Int64,
        "evidence": pl.Float64,
        "evidence_days": pl.Float64,
        "status": pl.String,
        "closed_at": TIME,
        "closed_by": pl.String,
        "moved_to": pl.String,
        "split_from": pl.String,
        "main_stream": pl.String,
        "main_effect": pl.Float64,
        "main_shift": pl.Float64,
        "main_shift_low": pl.Float64,
        "main_shift_high": pl.Float64,
    }
)
MEMBERS_SCHEMA = pl.Schema(
    {
        "incident_id": pl.String,
        "stream": pl.String,
        "joined_at": TIME,
        "change_point": TIME,
        "evidence": pl.Float64,
        "adjusted_evidence": pl.Float64,
        "level_before": pl.Float64,
        "level_after": pl.Float64,
        "effect": pl.Float64,
        "latest_effect": pl.Float64,
        "shift": pl.Float64,
        "shift_low": pl.Float64,
        "shift_high": pl.Float64,
        "status": pl.String,
        "ended_at": TIME,
        "ended_by": pl.String,
        "moved_again_at": TIME,
        "moved_again_effect": pl.Float64,
        "moved_from": pl.List(pl.String),
    }
)


def streams_frame(engine: Engine, chunks: list[dict[str, Any]]) -> pl.DataFrame:
    """Decisions as a frame (see `Replay`).

    Parameters
    ----------
    engine : Engine
        The engine that decided, for names and the times of windows.
    chunks : list of dict
        Arrays of the decided windows, by name.

    Returns
    -------
    DataFrame
        Of `STREAMS_SCHEMA`, one row per stream and window.
    """
    if not chunks:
        return pl.DataFrame(schema=STREAMS_SCHEMA)
    data = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    names = np.array(engine.streams, dtype=object)
    ids = np.array([incident.incident_id for incident in engine.incidents] + [None], dtype=object)
    days = engine.config.days_per_window
    origin = MONDAY.replace(tzinfo=None)
    length = int(engine.config.window.total_seconds() * 1e6)
    frame = pl.DataFrame(
        {
            "stream": names[data["stream"]].tolist(),
            **{name: data[name] for name in NUMBERS},
            "adjusted_evidence": data["adjusted_evidence"],
            "muted": data["muted"],
            "in_incident": data["incident"] >= 0,
            "incident_id": ids[data["incident"]].tolist(),
            "n_history": data["n_history"],
            "status": data["status"].tolist(),
            **{name: pl.Series(data[name].tolist(), dtype=pl.String) for name in ("reason", "reason_code")},
        },
        schema_overrides={"incident_id": pl.String},
    )
    return frame.with_columns(
        pl.col(pl.Float64).fill_nan(None),
        window_start=origin + pl.duration(microseconds=pl.col("window") * length),
        decided_at=origin + pl.duration(microseconds=pl.col("decided") * length),
        evidence_days=pl.col("evidence").fill_nan(None) * days,
        adjusted_evidence_days=pl.col("adjusted_evidence").fill_nan(None) * days,
    ).select(pl.col(name).cast(dtype) for name, dtype in STREAMS_SCHEMA.items())


def _moment(config: EngineConfig, index: int | None) -> datetime | None:
    return None if index is None else config.start(index).replace(tzinfo=None)


def incidents_frame(incidents: list[Incident], config: EngineConfig) -> pl.DataFrame:
    """Incidents as a frame (see `Replay`).

    Parameters
    ----------
    incidents : list of Incident
        As in `Engine.incidents`.
    config : EngineConfig
        Settings of the engine, for the times of windows.

    Returns
    -------
    DataFrame
        Of `INCIDENTS_SCHEMA`, one row per incident.
    """
    rows: list[dict[str, Any]] = []
    for incident in incidents:
        main = max(incident.members, key=lambda member: member.adjusted_evidence)
        rows.append(
            {
                "incident_id": incident.incident_id,
                "opened_at": _moment(config, incident.opened_at),
                "change_point": _moment(config, incident.change_point),
                "streams": incident.streams,
                "n_streams": len(incident.streams),
                "evidence": incident.evidence,
                "evidence_days": incident.evidence * config.days_per_window,
                "status": incident.status,
                "closed_at": _moment(config, incident.closed_at),
                "closed_by": incident.closed_by,
                "moved_to": incident.moved_to,
                "split_from": incident.split_from,
                "main_stream": main.stream,
                "main_effect": main.effect,
                "main_shift": main.shift,
                "main_shift_low": main.shift_low,
                "main_shift_high": main.shift_high,
            }
        )
    return pl.DataFrame(rows, schema=INCIDENTS_SCHEMA)


def members_frame(incidents: list[Incident], config: EngineConfig) -> pl.DataFrame:
    """Members of incidents as a frame (see `Replay`).

    Parameters
    ----------
    incidents : list of Incident
        As in `Engine.incidents`.
    config : EngineConfig
        Settings of the engine, for the times of windows.

    Returns
    -------
    DataFrame
        Of `MEMBERS_SCHEMA`, one row per stream of an incident.
    """
    rows: list[dict[str, Any]] = []
    for incident in incidents:
        for member in incident.members:
            row = {name: getattr(member, name) for name in MEMBERS_SCHEMA if hasattr(member, name)}
            for name in ("joined_at", "change_point", "ended_at", "moved_again_at"):
                row[name] = _moment(config, row[name])
            rows.append({"incident_id": incident.incident_id, **row})
    return pl.DataFrame(rows, schema=MEMBERS_SCHEMA)

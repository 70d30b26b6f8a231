"""A home with published results as the judging assets leave them, made without dbt or Dagster."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from metrics_py.alerting.tables import INCIDENTS_SCHEMA, MEMBERS_SCHEMA
from sightline.home import Home
from sightline.results.evidence import EVIDENCE_SCHEMA, append_evidence
from sightline.results.judgements import JUDGEMENT_SCHEMA, append_judgements
from sightline.results.snapshots import write_snapshot

HOSTILE = '<script>alert("x")</script>'
DAYS = 60
MONITOR = """\
version: 1
model: {{id: {name}, task: binary_classification, owner: ml@example.com, description: "Who <b>leaves</b>?"}}
columns:
  score: p
  model_version: release
  features: {{age: numeric, '<script>alert("x")</script>': categorical}}
  segments: [plan]
labels: {{column: churned, expected_delay: 2d}}
reference: {{kind: window, start: {start}, end: {end}}}
"""


@dataclass(frozen=True)
class World:
    """The home, its first day, and its one incident."""

    home: Home
    first: datetime
    incident: str = "2026-02-20-abc123"

    def day(self, k: int) -> datetime:
        """Start of a window, naive UTC."""
        return self.first + timedelta(days=k)


def make_published(root: Path, monitors: tuple[str, ...] = ("churn",), days: int = DAYS, seed: int = 8) -> World:
    """Monitors with volume, drift, quality (provisional in the last days), segments, versions and one incident."""
    home = Home(root)
    home.monitors.mkdir(parents=True)
    now = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    world = World(home, now - timedelta(days=days + 1))
    for k, name in enumerate(monitors):
        text = MONITOR.format(name=name, start=f"{world.first:%Y-%m-%d}", end=f"{world.day(14):%Y-%m-%d}")
        (home.monitors / f"{name}.yaml").write_text(text, encoding="utf-8")
        _publish(world, name, days, np.random.default_rng(seed + k))
    return world


def _publish(world: World, name: str, days: int, rng: np.random.Generator) -> None:
    paths, now = world.home.monitor(name), datetime.now(UTC)
    for asset, rows in _judgements(world, name, days, rng).items():
        frame = pl.DataFrame(rows, schema={k: v for k, v in JUDGEMENT_SCHEMA.items() if k not in LATER})
        append_judgements(paths, asset, frame, "run-1", now)
    last = world.day(days - 1)
    revised = row(world, name, days - 1, "roc_auc", 0.61, status="provisional", n=90, naive_value=0.66, maturity=0.5)
    append_judgements(
        paths, "model_quality", pl.DataFrame([revised], schema=frame_schema()), "run-2", now + timedelta(seconds=1)
    )
    write_snapshot(paths, "provisional_windows", pl.DataFrame({"window_start": [last]}))
    stream = "drift/age/location"
    evidence = [
        {
            "stream": stream, "asset": "drift", "column": "age", "statistic": "location", "value": float(k > 45),
            "window_key": f"{world.day(k):%Y-%m-%d}", "window_start": world.day(k), "display_value": 3.0 * (k > 45),
            "n": 400.0, "variance": 0.0, "decided_at": world.day(k),
        }
        for k in range(days)
    ]  # fmt: skip
    append_evidence(
        paths, pl.DataFrame(evidence, schema_overrides={k: EVIDENCE_SCHEMA[k] for k in evidence[0]}), "run-1"
    )
    opened = {"incident_id": world.incident, "opened_at": world.day(48), "change_point": world.day(46)}
    incident = opened | {"streams": [stream], "n_streams": 1, "evidence": 900.0, "evidence_days": 900.0}
    incident |= {"status": "open", "main_stream": stream, "main_effect": 4.0, "settled_at": None}
    member = {
        "incident_id": world.incident,
        "stream": stream,
        "joined_at": world.day(48),
        "change_point": world.day(46),
    }
    member |= {"evidence": 900.0, "adjusted_evidence": 900.0, "effect": 4.0, "status": "open", "moved_from": []}
    member |= {"display_before": 0.0, "display_after": 3.0}
    schema = {**INCIDENTS_SCHEMA, "settled_at": pl.Datetime("us")}
    write_snapshot(paths, "incidents", pl.DataFrame([incident], schema=schema))
    states = {"stream": stream, "window_start": world.day(48), "status": "ok", "in_incident": True}
    states |= {"incident_id": world.incident, "distance": 4.0, "adjusted_evidence_days": 900.0}
    states |= {"decided_at": world.day(48)}
    write_snapshot(paths, "alert_streams", pl.DataFrame([states]))
    write_snapshot(paths, "incident_members", pl.DataFrame([member], schema=MEMBERS_SCHEMA))


LATER = ("revision", "computed_at", "run_id")


def frame_schema() -> dict[str, pl.DataType]:
    """Columns of judgements before they are published."""
    return {k: v for k, v in JUDGEMENT_SCHEMA.items() if k not in LATER}


def row(world: World, monitor: str, k: int, metric: str, value: float | None, **more: object) -> dict[str, object]:
    """One judgement."""
    spread = {} if value is None else {"ci_low": value - 0.05, "ci_high": value + 0.05}
    base = {"monitor": monitor, "model_version": "all", "window_start": world.day(k), "window_end": world.day(k + 1)}
    base |= {"segment": "all", "column": "", "metric": metric, "value": value, "n": 400, "status": "ok"}
    return {**dict.fromkeys(frame_schema()), **base, **spread, **more}


def _judgements(world: World, name: str, days: int, rng: np.random.Generator) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = {"data_quality": [], "drift": [], "model_quality": []}
    for k in range(days):
        version = "1.0" if k < 30 else "2.0"
        for own in ("all", version):
            rows = float(rng.integers(380, 420))
            found["data_quality"].append(row(world, name, k, "n_rows", rows, model_version=own))
            auc = 0.8 + 0.01 * rng.standard_normal()
            found["model_quality"].append(row(world, name, k, "roc_auc", auc, reference_value=0.8, model_version=own))
        for column in ("age", HOSTILE):
            far = column == "age" and k > 45
            psi = 0.4 if far else 0.02 + 0.01 * rng.random()
            status = "warn" if far else "ok"
            found["drift"].append(row(world, name, k, "psi", psi, column=column, status=status, bound_high=0.1))
            found["data_quality"].append(row(world, name, k, "null_rate", 0.0, column=column))
        for plan, level in (("basic", 0.85), (HOSTILE, 0.7)):
            auc = level + 0.02 * rng.standard_normal()
            found["model_quality"].append(row(world, name, k, "roc_auc", auc, segment=f"plan={plan}", n=200))
        found["model_quality"].append(row(world, name, k, "labelled_rate", 1.0 if k < days - 1 else 0.5))
        found["model_quality"].append(row(world, name, k, "f1", None, status="insufficient_data", reason="too few"))
    return found

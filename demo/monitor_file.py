"""The demo's monitor file, written to be copied: every line says what it does and how to change it.

It is generated, not committed: its dates follow the day of the replay.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

from demo import retraining
from demo.calendar import Calendar
from demo.data import CATEGORICAL, FEATURES
from sightline.durable import replace_file
from sightline.home import Home
from sightline.spec.schema import SCHEMA_LINE, write_schema

MONITOR_ID = "flight_delay"
REFERENCE_FILE = f"data/{MONITOR_ID}/reference_rows.parquet"
SCORE, LABEL = "p_late", "is_late"

COMMENTS = {
    "carrier": "16 airlines",
    "origin": "EWR, JFK, LGA",
    "dest": "105 airports: the 50 most frequent have a bin of their own",
    "hour": "scheduled hour of departure",
    "distance": "miles",
    "scheduled_minutes": "scheduled duration",
    "plane_year": "missing for two airlines all year: constant, so no incident",
    "temp": "Fahrenheit; drifts with the seasons",
    "wind_gust": "missing unless it blows",
    "precip": "0 most of the time: the point mass gets a bin of its own",
    "pressure": "missing in bad weather: the gaps are informative",
}
CONTRACTS = {"wind_max_3h": ("{kind: numeric, max: 200}", "mph; the strongest wind of three hours, and a hard limit")}


def monitor_text(calendar: Calendar) -> str:
    """The text of ``monitors/flight_delay.yaml``."""
    lines = [
        SCHEMA_LINE,
        "# Written by `python -m demo`; copy it for a model of your own. Every key: docs/spec.md.",
        "# What it creates: sightline validate flight_delay",
        "version: 1",
        "model:",
        _line(f"  id: {MONITOR_ID}", "name of this file, of the folder below data/ and of the assets' group"),
        _line("  task: binary_classification", "or multiclass_classification, regression, ranking"),
        _line("  owner: team:flight_operations", "or an e-mail address"),
        "  description: Will the flight arrive more than 15 minutes late?",
        "",
        "columns:                                          # names in your data",
        _line("  prediction_id: flight_id", "labels refer to it"),
        _line("  timestamp: scheduled_departure_at", "New York wall-clock time: a window is a New York day"),
        _line(f"  score: {SCORE}", "P(late)"),
        _line("  model_version: version", "optional; so are entity_id, latency_ms, status, weight"),
        _line("  entity_id: tailnum", "flights of one plane depend on each other: intervals account for it"),
        _line("  features:", "inputs: numeric, categorical, boolean, datetime, text or embedding"),
        *(_feature(name) for name in FEATURES),
        _line("  segments: [origin, carrier]", "quality and drift are also reported by these"),
        _line(f"shadows: [{', '.join(retraining.RETRAININGS)}]", "versions that answer beside it, used by nobody"),
        "",
        _line("labels:", "the truth, in files of its own; leave this section out if there is none"),
        _line(f"  column: {LABEL}", "the column with the truth, beside flight_id"),
        _line("  positive: 1", "the value that counts as positive"),
        _line("  observed_at: landed_at", "when the truth became known; default: when the file arrived"),
        _line("  expected_delay: 6h", "usual time from prediction to label"),
        _line("  give_up_after: 2d", "cancelled and diverted flights never get one"),
        "",
        _line("reference:", "what production is compared with; or {kind: window, start: ..., end: ...}"),
        "  kind: file",
        _line(f"  path: {REFERENCE_FILE}", "even days of January and February, not trained on"),
        _line(f"start: {calendar.first_day}", f"first window; flown on {calendar.recorded(calendar.first_day)}"),
        _line("schedule: daily", "or hourly, weekly"),
        "",
        "alerts:",
        _line("  budget: 1 per 90d", "false incidents at most, over everything watched here"),
        _line("  notify: [flight_operations]", "named on incidents"),
        _line("  holidays:", "days that neither alarm nor teach"),
        *(f"    - {day}" for day in _holidays(calendar)),
        *(_line(f"    - {day}", "the replay has ended: a planned pause") for day in calendar.pause),
        "",
        *retraining.section(calendar),
    ]
    return "\n".join(lines) + "\n"


def _holidays(calendar: Calendar) -> list[date]:
    """The public holidays of the year as they are replayed: few people fly."""
    days = (
        date(2013, 1, 1),
        date(2013, 7, 4),
        *(date(2013, 11, day) for day in (28, 29, 30)),
        date(2013, 12, 24),
        date(2013, 12, 25),
    )
    return [day + calendar.offset for day in days]


def _feature(name: str) -> str:
    kind = "categorical" if name in CATEGORICAL else "numeric"
    value, comment = CONTRACTS.get(name, (kind, COMMENTS.get(name, "")))
    text = f"    {name}: {value}"
    return _line(text, comment) if comment else text


def _line(text: str, comment: str) -> str:
    return f"{text:<49} # {comment}"


def write_monitor(home: Home, calendar: Calendar) -> Path:
    """Write the monitor file and the schema it points to; return its path."""
    path = home.monitors / f"{MONITOR_ID}.yaml"
    replace_file(path, monitor_text(calendar))
    write_schema(home.root / "schemas")
    return path

"""The demo's own page of the dashboard, for both monitors together."""

from __future__ import annotations

from pathlib import Path

from sightline.durable import replace_file
from sightline.home import Home

NAME = "both_models"
TEXT = """\
# yaml-language-server: $schema=../schemas/dashboard.schema.json
title: Both models
description: Flights and bookings side by side, for the Monday meeting.
rows:
  - title: Quality
    panels:
      - {kind: metric, monitor: flight_delay, metric: roc_auc}
      - {kind: metric, monitor: generated_bookings, metric: roc_auc}
  - title: What the flights look like
    panels:
      - {kind: column, monitor: flight_delay, column: wind_speed}
      - {kind: segments, monitor: flight_delay, metric: roc_auc, by: origin}
  - title: From the published tables
    panels:
      - kind: sql
        title: Predictions per day
        show: line
        x: day
        y: [flights, bookings]
        sql: |
          SELECT window_start AS day,
                 max(value) FILTER (monitor = 'flight_delay') AS flights,
                 max(value) FILTER (monitor = 'generated_bookings') AS bookings
          FROM judgements
          WHERE metric = 'n_rows' AND segment = 'all' AND model_version = 'all'
            AND window_start >= $from AND window_start < $to
          GROUP BY day ORDER BY day
      - kind: sql
        title: Columns by days beyond their tolerance
        sql: |
          SELECT monitor, "column", count(*) AS days
          FROM judgements
          WHERE metric = 'psi' AND status IN ('warn', 'alert') AND segment = 'all'
            AND window_start >= $from AND window_start < $to
          GROUP BY ALL ORDER BY days DESC, "column" LIMIT 10
      - kind: text
        title: How to read it
        text: |
          Quality counts from the day on which the labels are in; before that it is estimated, and dashed.

          A new version is marked. Who has a doubt follows the link below a picture.
"""


def write_dashboard(home: Home) -> Path:
    """Write ``dashboards/both_models.yaml``; return its path."""
    path = home.dashboards / f"{NAME}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, TEXT)
    return path

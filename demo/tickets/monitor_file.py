"""The monitor's file of the generated tickets, and what has come of them in its landing folders."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import polars as pl

from demo import deliveries
from demo.tickets.phrases import QUEUES
from demo.tickets.world import DAYS, TEXT
from sightline.durable import replace_file
from sightline.home import Home
from sightline.spec.schema import SCHEMA_LINE, write_schema

MONITOR_ID = "generated_tickets"
WEEK = timedelta(weeks=1)


def monitor_text(start: date) -> str:
    """The text of ``monitors/generated_tickets.yaml``."""
    return f"""\
{SCHEMA_LINE}
# Written by `python -m demo.tickets`: generated data, to show texts and embeddings.
version: 1
model:
  id: {MONITOR_ID}
  task: multiclass_classification
  description: Generated. Which queue does the ticket belong to?
columns:
  prediction_id: ticket_id
  timestamp: at
  class_scores: {{{", ".join(f"{queue}: p_{queue}" for queue in QUEUES)}}}
  features:
    {TEXT}:
      kind: text
      descriptors: [characters, words, digit_share, language, has_personal_data]
    embedding: embedding                            # what the model makes of the text, logged with the answer
  segments: [{TEXT}.language]
labels: {{column: queue, observed_at: known_at, expected_delay: 2d, give_up_after: 10d}}
reference: {{kind: file, path: data/{MONITOR_ID}/reference_rows.parquet}}
start: {start}
schedule: daily
alerts: {{budget: 1 per 90d}}
"""


def windows(start: date) -> list[str]:
    """Window keys of the days."""
    return [f"{start + timedelta(days=day)}" for day in range(DAYS)]


def write(home: Home, start: date, answered: pl.DataFrame) -> None:
    """The monitor's file, its reference, and a file of predictions and one of labels for each week."""
    deliveries.start_clean(home, MONITOR_ID)
    replace_file(home.monitors / f"{MONITOR_ID}.yaml", monitor_text(start))
    write_schema(home.root / "schemas")
    paths = home.monitor(MONITOR_ID)
    is_reference = pl.col("day") < 0
    reference = answered.filter(is_reference).drop("day", "known_at")
    reference.write_parquet(paths.root / "reference_rows.parquet")
    until = datetime.combine(start, time()) + timedelta(days=DAYS)
    later = answered.filter(~is_reference).drop("day")
    labels = later.select("ticket_id", "queue", "known_at").filter(pl.col("known_at") <= until)
    for kind, part, moment in (
        ("inferences", later.drop("queue", "known_at"), "at"),
        ("labels", labels, "known_at"),
    ):
        weeks = part.sort(moment).with_columns(week=pl.col(moment).dt.truncate("1w"))
        for (week,), own in weeks.partition_by("week", as_dict=True, include_key=False, maintain_order=True).items():
            deliveries.land(paths, kind, f"{week:%Y-%m-%d}.parquet", own.write_parquet)

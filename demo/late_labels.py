"""A second monitor, generated: bookings whose cancellations are known in days and whose stays only after weeks.

Nothing here was measured anywhere. It exists to show numbers that no real data set shows, because all labels are known
to the generator: what the labels that are in say (naive), what Sightline makes of them (corrected), and what all labels
will say in the end (final).
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from demo import deliveries
from demo.calendar import LAST_DAY, Calendar
from metrics_py.wording import percent
from sightline.durable import replace_file
from sightline.home import Home
from sightline.results.judgements import read_judgements
from sightline.results.learnt_delays import delay_words
from sightline.spec.model import MonitorSpec
from sightline.spec.schema import SCHEMA_LINE

MONITOR_ID = "generated_bookings"
WEEKS, PER_WEEK, REFERENCE_ROWS = 44, 900, 6_000
SHOWN_WEEKS = 12
METRICS = ("roc_auc", "precision")
WEEK = timedelta(weeks=1)


def first_monday(calendar: Calendar) -> date:
    """First of the weeks; the last one is over when the demo is made."""
    end = calendar.today or LAST_DAY + timedelta(days=1)
    return end - timedelta(days=end.weekday()) - WEEKS * WEEK


def generate(calendar: Calendar) -> pl.DataFrame:
    """Bookings of the weeks and, before them, of the reference.

    Returns
    -------
    polars.DataFrame
        ``booking_id, booked_at, p_cancelled, lead_days, price, channel, cancelled, known_at``, in the order of time;
        those before `first_monday` are the reference.
    """
    rng = np.random.default_rng(20130101)
    n, first = WEEKS * PER_WEEK, datetime.combine(first_monday(calendar), time())
    seconds = np.sort(np.append(-rng.random(REFERENCE_ROWS) * 8, rng.random(n) * WEEKS)) * WEEK.total_seconds()
    n += REFERENCE_ROWS
    lead, price = rng.gamma(1.5, 30, n), np.exp(rng.normal(4.6, 0.35, n))
    channel = rng.choice(["agency", "direct", "portal"], n, p=[0.2, 0.3, 0.5])
    risk = -2.0 + 0.016 * lead + 0.5 * (channel == "portal") - 0.6 * (channel == "direct") + 0.4 * rng.normal(size=n)
    score = 1 / (1 + np.exp(-risk))
    cancelled = rng.random(n) < score
    # The surer a cancellation, the sooner it comes; that somebody stayed is known when the stay has begun
    days = rng.gamma(2.0, np.where(cancelled, 1.5 + 12 * (1 - score), 24.0) / 2)
    booked = pl.Series([first + timedelta(seconds=float(s)) for s in seconds], dtype=pl.Datetime("us"))
    known = pl.Series(
        [at + timedelta(days=float(d)) for at, d in zip(booked, days, strict=True)], dtype=pl.Datetime("us")
    )
    return pl.DataFrame(
        {
            "booking_id": [f"b{i:06}" for i in range(n)],
            "booked_at": booked,
            "p_cancelled": score,
            "lead_days": lead.round(1),
            "price": price.round(2),
            "channel": channel,
            "cancelled": cancelled.astype(int),
            "known_at": known,
        }
    )


def monitor_text(calendar: Calendar) -> str:
    """The text of ``monitors/generated_bookings.yaml``: nothing is said of delays."""
    return f"""\
{SCHEMA_LINE}
# Written by `python -m demo`: generated data, to show labels that come late.
version: 1
model:
  id: {MONITOR_ID}
  task: binary_classification
  description: Generated. Will the booking be cancelled?
columns:
  prediction_id: booking_id
  timestamp: booked_at
  score: p_cancelled
  features: {{lead_days: numeric, price: numeric, channel: categorical}}
labels:                                           # when they are due and given up is learnt
  column: cancelled
  positive: 1
  observed_at: known_at
reference: {{kind: file, path: data/{MONITOR_ID}/reference_rows.parquet}}
start: {first_monday(calendar)}
schedule: weekly
alerts: {{budget: 1 per 90d}}
"""


def now_of(calendar: Calendar) -> datetime:
    """Up to when labels are known: the end of the last week (naive UTC)."""
    return datetime.combine(first_monday(calendar) + WEEKS * WEEK, time())


def write(home: Home, calendar: Calendar, rows: pl.DataFrame) -> None:
    """The monitor's file, its reference, and what has come so far in its landing folders: a file for each week."""
    deliveries.start_clean(home, MONITOR_ID)
    replace_file(home.monitors / f"{MONITOR_ID}.yaml", monitor_text(calendar))
    paths, first = home.monitor(MONITOR_ID), datetime.combine(first_monday(calendar), time())
    rows.filter(pl.col("booked_at") < first).write_parquet(paths.root / "reference_rows.parquet")
    later = rows.filter(pl.col("booked_at") >= first)
    labels = later.select("booking_id", "cancelled", "known_at").filter(pl.col("known_at") <= now_of(calendar))
    for kind, part, moment in (
        ("inferences", later.drop("cancelled", "known_at"), "booked_at"),
        ("labels", labels, "known_at"),
    ):
        weeks = part.sort(moment).with_columns(week=pl.col(moment).dt.truncate("1w"))
        for (week,), own in weeks.partition_by("week", as_dict=True, include_key=False, maintain_order=True).items():
            deliveries.land(paths, kind, f"{week:%Y-%m-%d}.parquet", own.write_parquet)


def windows(calendar: Calendar) -> list[str]:
    """Window keys of the weeks."""
    return [f"{first_monday(calendar) + i * WEEK}" for i in range(WEEKS)]


def compared(home: Home, calendar: Calendar, rows: pl.DataFrame) -> pl.DataFrame:
    """What was published of the newest weeks beside what all labels say.

    Returns
    -------
    polars.DataFrame
        ``window_start, metric, maturity, naive, value, ci_low, ci_high, final, status``, newest last.
    """
    from sklearn.metrics import precision_score, roc_auc_score

    since = now_of(calendar) - SHOWN_WEEKS * WEEK
    finals = [
        {
            "window_start": week,
            "roc_auc": float(roc_auc_score(own["cancelled"], own["p_cancelled"])),
            "precision": float(precision_score(own["cancelled"], own["p_cancelled"] >= 0.5)),
        }
        for (week,), own in rows.filter(pl.col("booked_at") >= since)
        .with_columns(week=pl.col("booked_at").dt.truncate("1w"))
        .partition_by("week", as_dict=True, maintain_order=True)
        .items()
    ]
    final = pl.DataFrame(finals, schema_overrides={"window_start": pl.Datetime("us")}).unpivot(
        index="window_start", variable_name="metric", value_name="final"
    )
    told = read_judgements(home.monitor(MONITOR_ID), asset="model_quality", segment="all").filter(
        pl.col("metric").is_in(METRICS), pl.col("model_version") == "all"
    )
    told = told.select(
        "window_start", "metric", "maturity", "value", "ci_low", "ci_high", "status", naive="naive_value"
    )
    return final.join(told, on=["window_start", "metric"], how="left").sort("metric", "window_start")


def print_table(console: Console, home: Home, spec: MonitorSpec, found: pl.DataFrame) -> None:
    """Naive, corrected and final values side by side, and how often the interval holds the final one."""
    console.print(f"\n[bold]{MONITOR_ID}[/bold]: generated data with labels that take days to weeks", highlight=False)
    for line in delay_words(spec, home.monitor(MONITOR_ID)):
        console.print(f"  labels: {line}", highlight=False)
    title = "Quality of the newest weeks: by the labels that are in, corrected for which come first, and in the end"
    table = Table(title=title, title_justify="left")
    for header in ("week", "metric", "labels in", "naive", "corrected", "95 % interval", "final", "state"):
        table.add_column(header, justify="left" if header in ("week", "metric", "state") else "right")
    for row in found.iter_rows(named=True):
        holds = _holds(row)
        style = "" if holds is None else "green" if holds else "red"
        interval = "-" if holds is None else f"[{style}]{row['ci_low']:.3f} to {row['ci_high']:.3f}[/]"
        table.add_row(
            f"{row['window_start']:%Y-%m-%d}",
            row["metric"],
            "-" if row["maturity"] is None else percent(row["maturity"]),
            _number(row["naive"]),
            _number(row["value"]),
            interval,
            _number(row["final"]),
            row["status"] or "not judged",
        )
    console.print(table)
    for metric in METRICS:
        own = [row for row in found.iter_rows(named=True) if row["metric"] == metric]
        told = [row for row in own if _holds(row) is not None]
        off = {
            name: [abs(row[name] - row["final"]) for row in told if row[name] is not None]
            for name in ("naive", "value")
        }
        held = sum(_holds(row) is True for row in told)
        naive, value = (float(np.mean(each or [np.nan])) for each in off.values())
        console.print(
            f"{metric}: the interval holds the final value in {held} of {len(told)} weeks with a value; mean distance "
            f"from it {naive:.3f} by the labels that are in, {value:.3f} corrected.",
            highlight=False,
        )


def _holds(row: dict[str, float | None]) -> bool | None:
    """Whether the interval holds the final value; None without one."""
    low, high, final = row["ci_low"], row["ci_high"], row["final"]
    return None if low is None or high is None or final is None else low <= final <= high


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"

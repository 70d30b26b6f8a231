"""Two monitors as users would write them, with rows landed as files.

`churn` is binary, daily, with service columns; `price` is regression, hourly, with awkward names of columns. Windows
end shortly before now, because Dagster's partitions do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from sightline.home import Home
from sightline.spec.field_types import CLOSE_AFTER
from sightline.spec.loader import load_monitor
from sightline.spec.model import MonitorSpec

ROOT = Path(__file__).parents[2]
DAYS, ROWS_PER_DAY, REFERENCE_DAYS = 40, 400, 14
SHIFT_DAY = 36
"""From this day on `age` lies two standard deviations higher: the streams have had their warm-up by then."""
HOURS, ROWS_PER_HOUR, REFERENCE_HOURS = 60, 240, 30
AWKWARD = (
    "Wind Speed (m/s)",
    'quo"ted',
    "it's",
    "select",
    "ref",
    "{{ config }}",
    "Größe",
    "MiXeD",
    "日本",
    "100% cotton",
)


@dataclass(frozen=True)
class Workshop:
    """A home folder with monitors and what was landed in it."""

    home: Home
    churn: MonitorSpec
    price: MonitorSpec

    def day(self, number: int) -> str:
        """Window key of the churn monitor's day, from 0."""
        return self.churn.key(self.churn.first_window + number * self.churn.window)

    def hour(self, number: int) -> str:
        """Window key of the price monitor's hour, from 0."""
        return self.price.key(self.price.first_window + number * self.price.window)


def make_workshop(root: Path, *, days: int = DAYS, ended_days_ago: int = 1) -> Workshop:
    """Write both monitors and land their rows; churn's labels for all but the last two days.

    The last day ended `ended_days_ago` days before the last midnight (UTC) whose day is closed: 1 and its labels are
    due, 0 and it has just closed.
    """
    home = Home(root)
    home.monitors.mkdir(parents=True)
    now = datetime.now(UTC)
    closed = now - CLOSE_AFTER["daily"] - timedelta(minutes=1)  # a day that ended minutes ago is still open
    midnight = closed.replace(hour=0, minute=0, second=0, microsecond=0)
    first_day = midnight - timedelta(days=days + ended_days_ago)
    settled = now - CLOSE_AFTER["hourly"] - timedelta(minutes=1)  # the last hour's labels are due, at any minute
    first_hour = settled.replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS + 1)
    write(home, "churn", churn_yaml(first_day))
    write(home, "price", price_yaml(first_hour))
    (root / "metrics_of_price.py").write_text(PRICE_METRICS, encoding="utf-8")
    predictions, labels = churn_rows(first_day, days)
    known = labels.filter(pl.col("day") < days - 2).drop("day")
    land(home, "churn", "inferences", "history", predictions)
    land(home, "churn", "labels", "history", known)
    land(home, "price", "inferences", "history", price_rows(first_hour)[0])
    land(home, "price", "labels", "history", price_rows(first_hour)[1])
    churn = load_monitor(home.monitors / "churn.yaml", home=home)
    return Workshop(home, churn, load_monitor(home.monitors / "price.yaml", home=home))


def write(home: Home, monitor: str, text: str) -> Path:
    """A monitor file."""
    file = home.monitors / f"{monitor}.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def land(home: Home, monitor: str, kind: str, name: str, rows: pl.DataFrame) -> Path:
    """Drop a Parquet file into a landing folder, whole at once."""
    paths = home.monitor(monitor)
    folder = paths.landing_inferences if kind == "inferences" else paths.landing_labels
    folder.mkdir(parents=True, exist_ok=True)
    hidden, file = folder / f".{name}.parquet", folder / f"{name}.parquet"
    rows.write_parquet(hidden)
    hidden.rename(file)
    return file


def churn_yaml(first: datetime) -> str:
    """The binary monitor."""
    end = first + timedelta(days=REFERENCE_DAYS)
    return f"""\
version: 1
model: {{id: churn, task: binary_classification, owner: ml@example.com, description: "Who leaves next month?"}}
columns:
  prediction_id: id
  timestamp: at
  score: p
  model_version: version
  entity_id: user
  status: status
  latency_ms: ms
  features:
    age: {{kind: numeric, min: 0, max: 130}}
    plan: categorical
    active: boolean
  segments: [plan]
labels: {{column: churned, expected_delay: 6h, give_up_after: 10d}}
reference: {{kind: window, start: {first:%Y-%m-%d}, end: {end:%Y-%m-%d}}}
alerts:
  budget: 1 per 30d
  warmup: 14
  max_null_rate: {{plan: 0.5}}
  thresholds: [{{metric: roc_auc, fail_below: 0.5}}]
"""


def churn_rows(first: datetime, days: int = DAYS) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Predictions and labels (with their day); `age` moves up on day `SHIFT_DAY`."""
    rng = np.random.default_rng(20)
    n = days * ROWS_PER_DAY
    day = np.repeat(np.arange(days), ROWS_PER_DAY)
    wobble = rng.normal(0, 0.05, days)[day]
    age = np.clip(40 + 12 * (rng.normal(size=n) + wobble + 2.0 * (day >= SHIFT_DAY)), 0, 120)
    plan = rng.choice(["basic", "plus", "max"], n, p=[0.5, 0.3, 0.2])
    usual = (age - 40) / 12 - 2.0 * (day >= SHIFT_DAY)
    p = 1 / (1 + np.exp(1.0 - 1.2 * usual - 0.5 * (plan == "max")))
    predictions = pl.DataFrame(
        {
            "id": [f"c{i:06d}" for i in range(n)],
            "at": [
                first.replace(tzinfo=None) + timedelta(days=int(d), seconds=int(s))
                for d, s in zip(day, rng.integers(0, 86400, n), strict=True)
            ],
            "p": p,
            "version": np.where(day < days // 2, "v1", "v2"),
            "user": [f"u{i}" for i in rng.integers(0, n // 3, n)],
            "status": np.where(rng.random(n) < 0.02, "500", "200"),
            "ms": rng.lognormal(3, 0.3, n),
            "age": pl.Series(age).set(pl.Series(rng.random(n) < 0.03), None),
            "plan": plan,
            "active": rng.random(n) < 0.7,
        }
    )
    labels = pl.DataFrame({"id": predictions["id"], "churned": (rng.random(n) < p).astype(int), "day": day})
    return predictions, labels


def price_yaml(first: datetime) -> str:
    """The regression monitor with the awkward names; one feature is always missing."""
    features = "\n".join(
        f"    {json.dumps(name, ensure_ascii=False)}: {kind}" for name, kind in awkward_kinds().items()
    )
    end = first + timedelta(hours=REFERENCE_HOURS)
    return f"""\
version: 1
model: {{id: price, task: regression, owner: "team:pricing"}}
columns:
  prediction_id: "Offer Id"
  timestamp: "Time (UTC)"
  prediction: "PREDICTED price"
  features:
{features}
    nothing: numeric
  segments: ["it's"]
labels: {{column: "actual 'price'", expected_delay: 1h}}
reference: {{kind: window, start: "{first:%Y-%m-%dT%H:%M:%SZ}", end: "{end:%Y-%m-%dT%H:%M:%SZ}"}}
schedule: hourly
quality: {{quantiles: [0.5, 0.9]}}
metrics:
  - {{name: dear, sql: '"prediction" > 100', direction: none}}
  - {{name: typical_error, python: "metrics_of_price:typical_error", needs_label: true}}
  - {{name: lost, python: "metrics_of_price:lost"}}
"""


PRICE_METRICS = '''\
from metrics_py.registry import metric


@metric(name="typical_error", task="custom", needs="rows", direction="lower_is_better", range=(0, float("inf")))
def typical_error(rows):
    """Median absolute error."""
    return (rows["prediction"] - rows["label"]).abs().median()
'''
"""A user's module in the home folder: one metric, and none by the name of `lost`."""


def awkward_kinds() -> dict[str, str]:
    """Kinds of the awkward features: mostly numeric, two categorical."""
    return {name: "categorical" if name in ("it's", "日本") else "numeric" for name in AWKWARD}


def price_rows(first: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Predictions and labels, 240 an hour."""
    rng = np.random.default_rng(21)
    n = HOURS * ROWS_PER_HOUR
    hour = np.repeat(np.arange(HOURS), ROWS_PER_HOUR)
    value = rng.normal(100, 20, n)
    columns = {
        name: rng.choice(["a", "b", 'c"c', "d|d"], n) if kind == "categorical" else rng.normal(0, 1, n)
        for name, kind in awkward_kinds().items()
    }
    predictions = pl.DataFrame(
        {
            "Offer Id": [f"o{i}" for i in range(n)],
            "Time (UTC)": [
                first.replace(tzinfo=None) + timedelta(hours=int(h), seconds=int(s))
                for h, s in zip(hour, rng.integers(0, 3600, n), strict=True)
            ],
            "PREDICTED price": value,
            **columns,
            "nothing": pl.Series([None] * n, dtype=pl.Float64),
        }
    )
    labels = pl.DataFrame({"Offer Id": predictions["Offer Id"], "actual 'price'": value + rng.normal(0, 5, n)})
    return predictions, labels

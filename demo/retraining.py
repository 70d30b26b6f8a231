"""When to retrain the demo's model: its estimator for the backtest, its costs, its later versions, and what is told.

The costs are made up; what follows from them is measured on the flights.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl
from rich.console import Console

from demo import model
from demo.calendar import Calendar
from demo.data import CATEGORICAL, FEATURES
from sightline.clock import utc_now
from sightline.evaluation.live import evaluate_live
from sightline.evaluation.live_render import WORDS, difference, rows_of
from sightline.home import Home
from sightline.retraining.advise import advise
from sightline.retraining.words import sections, verdict
from sightline.spec.model import MonitorSpec

COST, VALUE_PER_POINT, HORIZON = 500, 200, "8w"
MAX_ROWS, MAX_FITS = 8_000, 36
"""Small enough for the demo: about 20 seconds of one core."""

RETRAININGS = {"hgb-2": date(2013, 5, 1), "hgb-3": date(2013, 9, 1)}
"""Later versions and the day on which each was trained, in the dates of the flights."""
SHADOW_DAYS = 14
"""So long each answers beside the model in service, and nobody uses what it says."""
SHOWN = ("roc_auc", "brier", "log_loss")
ROLLING = timedelta(days=90)
"""History that a retraining sees."""
TRAINED_UP_TO = date(2013, 3, 1)
"""Of the model in service."""


def section(calendar: Calendar) -> list[str]:
    """The section `retraining` of the monitor's file."""
    return [
        _line("retraining:", "when a new training pays: sightline retraining flight_delay --backtest"),
        _line(f"  cost: {COST}", "of one retraining, made up here"),
        _line(f"  value_per_point: {VALUE_PER_POINT}", "of 0.01 ROC AUC per week, made up here"),
        _line("  unit: USD", "shown behind amounts"),
        _line(f"  horizon: {HORIZON}", "for how long a model trained now would serve"),
        _line("  trained_at:", "up to when the training data of a version reach"),
        *(
            f"    {version}: {day + calendar.offset}"
            for version, day in {model.VERSION: TRAINED_UP_TO, **RETRAININGS}.items()
        ),
        _line("  estimator: demo.retraining:estimator", "what the backtest trains, as often as max_fits allows"),
        _line(f"  max_rows: {MAX_ROWS}", "small, so that the demo ends soon; the default is 50000"),
        f"  max_fits: {MAX_FITS}",
    ]


def estimator() -> Any:
    """A new estimator like the demo's model, for rows as the lake has them; on one core."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=float("nan"))
    inputs = make_column_transformer((codes, list(CATEGORICAL)), remainder="passthrough")
    boosting = HistGradientBoostingClassifier(
        **model.PARAMETERS,
        random_state=model.SEED,
        categorical_features=list(range(len(CATEGORICAL))),
        early_stopping=False,
    )
    return make_pipeline(inputs, boosting)


def training_rows(flights: pl.DataFrame, day: date) -> pl.DataFrame:
    """The flights of the `ROLLING` days before a day that had landed by then."""
    return flights.filter(
        pl.col("day").is_between(day - ROLLING, day, closed="left"),
        pl.col("is_late").is_not_null(),
        pl.col("landed_at") < day,
    )


def later_versions(flights: pl.DataFrame) -> pl.DataFrame:
    """What each of `RETRAININGS` says of every flight of its first `SHADOW_DAYS` days: shadows of the model in service.

    Parameters
    ----------
    flights : DataFrame
        From `demo.data.build_flights`, in the dates of the flights.

    Returns
    -------
    DataFrame
        Columns of `flights`, ``score`` and ``version``.
    """
    parts: list[pl.DataFrame] = []
    for version, day in RETRAININGS.items():
        seen = training_rows(flights, day)
        later = flights.filter(pl.col("day").is_between(day, day + timedelta(days=SHADOW_DAYS), closed="left"))
        trained = estimator().fit(seen.select(FEATURES), seen["is_late"].to_numpy())
        score = pl.Series("score", trained.predict_proba(later.select(FEATURES))[:, 1])
        parts.append(later.with_columns(score, pl.lit(version).alias("version")))
    return pl.concat(parts)


def print_shadows(console: Console, home: Home, spec: MonitorSpec, calendar: Calendar) -> None:
    """What the log says of the later versions, beside the one in service on the same flights."""
    for version, day in RETRAININGS.items():
        found = evaluate_live(spec, home.monitor(spec.id), version, now=utc_now(), with_sections=False)
        trained = f"trained on the {ROLLING.days} days before {calendar.both(calendar.replayed(day))}"
        beside = f"beside {found.champion} on {found.n_days} days"
        told = f"  [bold]{version}[/bold], {trained}, {beside}: {WORDS[found.verdict.outcome]}"
        console.print(told, highlight=False)
        console.print(f"    {found.verdict.reason}", highlight=False, markup=False)
        for row in rows_of(found, "all"):
            if row["metric"] in SHOWN:
                values = f"{row['champion']:.4f} -> {row['challenger']:.4f}" if row["difference"] is not None else ""
                console.print(f"    {row['metric']}: {values} {difference(row)}", highlight=False, markup=False)


def print_advice(console: Console, home: Home, spec: MonitorSpec) -> None:
    """Train at past moments over the lake, and print what is advised, whatever it is."""
    found = advise(spec, home.monitor(spec.id), now=utc_now(), with_backtest=True)
    console.print(f"\n[bold]When to retrain {spec.id}[/bold]: {verdict(found)}", highlight=False)
    for head, sentences in sections(found):
        console.print(f"  {head}", highlight=False, markup=False)
        for text in sentences:
            console.print(f"    {text}", highlight=False, markup=False)


def _line(text: str, comment: str) -> str:
    return f"{text:<49} # {comment}"

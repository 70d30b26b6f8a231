"""Sections ``evaluation``, ``fairness``, ``report``, ``retraining`` and ``registry``: candidates and their verdicts."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import (
    Field,
)

from sightline.spec.field_types import Duration, Moment
from sightline.spec.part import Part


class Evaluation(Part):
    """What a candidate must show before it may take the champion's place (`sightline evaluate`)."""

    margin: float | None = Field(
        default=None,
        gt=0,
        description=(
            "Loss of the primary metric that does not matter, in its units: half of the smallest effect that matters "
            "is a good choice. Default 0.005 for metrics between 0 and 1, else 1 % of the champion's value."
        ),
    )
    guardrails: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default={},
        description="Further metrics that must not suffer -> the loss that does not matter (`{precision: 0.01}`).",
    )
    segments: tuple[str, ...] = Field(
        default=(),
        description=(
            "Segments in which the primary metric must not suffer by more than its margin either: `region=EU`, or "
            "`region` for each of its values."
        ),
    )
    live: bool = Field(
        default=False,
        description=(
            "Judge versions of the log that run beside an earlier one (shadow, canary, A/B) every day, as candidates "
            "without a file. Off: a version that simply takes the place of the one before has nothing to be judged by."
        ),
    )
    predict: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description=(
            "`package.module:function` that scores rows: a Polars frame with the features by their names -> one "
            "probability or number per row. Each input is blanked in turn to learn what its absence costs; the module "
            "lies in the home folder or is installed."
        ),
    )


class Fairness(Part):
    """Groups that a candidate must not treat too differently (`sightline evaluate`)."""

    columns: tuple[str, ...] = Field(
        default=(),
        description="Segments, or categorical or boolean features, whose values are the groups (`sex`, `age_band`).",
    )
    metrics: tuple[str, ...] = Field(
        default=(),
        description=(
            "What is compared between groups. Binary: demographic_parity (share of positive decisions), "
            "equal_opportunity (recall), equalized_odds (recall and false positive rate), predictive_parity "
            "(precision), accuracy, mean_error (score minus outcome); default the first three. Multiclass: "
            "demographic_parity and equal_opportunity of each class, accuracy. Regression: mean_error, mae."
        ),
    )
    margin: Annotated[float, Field(gt=0)] | dict[str, Annotated[float, Field(gt=0)]] | None = Field(
        default=None,
        description=(
            "Largest gap between two groups that is fair: a guardrail of the verdict. One number for all metrics, or "
            "one for each (`{equal_opportunity: 0.1, demographic_parity_ratio: 0.8}`: the ratio must lie above)."
        ),
    )
    min_rows: int = Field(
        default=50, ge=10, description="A group with fewer rows behind a rate is left out of its gap, and named."
    )


class Report(Part):
    """Reports of windows that are written by themselves (asset `report`, docs/reports.md)."""

    keep: Duration = Field(
        default=timedelta(days=90),
        description="Reports of windows that began longer before the newest one are removed.",
    )


class Retraining(Part):
    """When a new training pays, in your own units (`sightline retraining`, asset `retraining`)."""

    cost: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description=(
            "What one retraining costs, review and roll-out included, in your currency. Goes with `value_per_point`; "
            "without both the decay is shown and nothing is advised."
        ),
    )
    value_per_point: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description=(
            "What one point of the metric is worth per week over all predictions, in the same currency. A point is "
            "0.01 of a metric between 0 and 1 and of a skill, and 1 of any other (one minute of `mae`)."
        ),
    )
    unit: str = Field(default="", max_length=30, description="The currency, shown behind amounts (`EUR`).")
    horizon: Duration | None = Field(
        default=None,
        description=(
            "For how long a model trained now would serve: up to then its gain is counted against the cost. Default: "
            "half of the advised cadence, with which both ask for a retraining at the same age; none without a cadence."
        ),
    )
    metric: str | None = Field(
        default=None, description="Quality metric whose decay counts; default: the one that matters most (`quality`)."
    )
    trained_at: dict[str, Moment] = Field(
        default={},
        description=(
            "Model version -> up to when its training data reach. Default: when the version was first seen; "
            "candidates without an entry are left out."
        ),
    )
    in_service: str | None = Field(
        default=None,
        description=(
            "Version whose replacement is weighed. Default: the one with the most rows in the newest windows; of "
            "several with about as many (shadows) the one that was trained last."
        ),
    )
    estimator: str | None = Field(
        default=None,
        description=(
            "`package.module:function` that returns a new estimator in the manner of scikit-learn, for the backtest; "
            "the module lies in the home folder or is installed."
        ),
    )
    training_window: Duration | None = Field(
        default=None,
        description=(
            "History that each training of the backtest sees; default: as long as lets six trainings share no rows."
        ),
    )
    max_rows: int = Field(
        default=50_000, ge=100, description="Rows per training of the backtest, a sample that is always the same."
    )
    max_fits: int = Field(default=48, ge=18, le=1000, description="Trainings in one backtest.")


class RegistryLink(Part):
    """A model registry whose new versions are evaluated (docs/registries.md)."""

    kind: Literal["mlflow", "python"] = Field(
        default="mlflow", description="`mlflow`: by its REST interface; `python`: a function of your own."
    )
    url: str | None = Field(default=None, description="`mlflow`: address of the tracking server, without secrets.")
    model: str | None = Field(default=None, description="`mlflow`: name of the registered model; default: the id.")
    artifact: str = Field(
        default="evaluation",
        min_length=1,
        description="`mlflow`: folder or file among the artifacts of a version's run that holds its evaluation set.",
    )
    candidate_alias: str | None = Field(
        default=None,
        description=(
            "Only versions that carry this alias are candidates. Default: the newest version at the first look, and "
            "every later one."
        ),
    )
    passed_alias: str | None = Field(
        default=None,
        description=(
            "`mlflow`: alias that is set on a version that passes. Where Sightline set it and a later evaluation finds "
            "the version inferior, it goes back to the version that had it before. Default: none is moved, since in "
            "most places an alias such as `champion` is what serves."
        ),
    )
    token_env: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="`mlflow`: environment variable with a token, or with `user:password`.",
    )
    webhook_secret_env: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description=(
            "`mlflow`: environment variable with the secret of a webhook that calls the collector at "
            "`/v1/monitors/<id>/registry`: the registry is then looked at at once. Default: no call is taken."
        ),
    )
    python: str | None = Field(
        default=None, description="`python`: `module:function`, called with the monitor's spec; returns a registry."
    )

"""``MonitorSpec``: what one ``monitors/<id>.yaml`` says. Everything downstream reads these objects, never the YAML."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    TypeAdapter,
    WithJsonSchema,
    model_validator,
)

from metrics_py.class_names import ClassNames, binary_classes, class_text, several_classes
from sightline.narrowing import is_object
from sightline.spec.budget import Budget, parse_budget
from sightline.spec.durations import format_duration, parse_duration

Task = Literal["binary_classification", "multiclass_classification", "regression", "ranking"]
FeatureKind = Literal["numeric", "categorical", "boolean", "datetime", "text", "embedding"]
Schedule = Literal["hourly", "daily", "weekly"]
CLOSE_AFTER = {"hourly": timedelta(minutes=10), "daily": timedelta(hours=1), "weekly": timedelta(hours=6)}
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*[smhdw]\s*$", "examples": ["12h", "3d"]}),
]
Severity = Literal["warn", "error"]

UNLEARNT = timedelta(days=1)
"""Labels are taken to be due after so long, until it is known when they come."""

WARN_SHARE = 0.75
"""Share of a deadline of freshness from which on it warns."""

ID_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"
"""Ids of monitors."""

_DATETIME = TypeAdapter(datetime)


def parse_moment(value: object) -> object:
    """Read a date or ISO 8601 time as UTC; a number is refused (it would be read as seconds since 1970)."""
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = datetime(value.year, value.month, value.day)
    elif isinstance(value, str) and not value.strip().lstrip("+-").replace(".", "").isdigit():
        try:
            moment = _DATETIME.validate_python(value.strip())
        except ValueError:
            raise ValueError(f"{value!r} is no time: write 2026-01-31 or 2026-01-31T06:00:00Z") from None
    else:
        raise ValueError(f"{value!r} is no time: write 2026-01-31 or 2026-01-31T06:00:00Z")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


Moment = Annotated[
    datetime,
    BeforeValidator(parse_moment),
    WithJsonSchema({"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}", "examples": ["2026-01-31"]}),
]


class Part(BaseModel):
    """Base of every section: unknown keys are refused, instances are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Model(Part):
    """Who is monitored, and who answers for it."""

    id: str = Field(
        pattern=ID_PATTERN,
        description="Name of the monitor: file name, asset key prefix and folder name.",
    )
    task: Task = Field(description="What the model predicts.")
    owner: str | None = Field(
        default=None, description="E-mail address or `team:name`; shown as the owner of every asset."
    )
    description: str = Field(default="", description="One sentence in business words.")


class TextDescriptor(Part):
    """A property of the texts of a column: a built-in one by name, or one of your own."""

    name: str = Field(
        min_length=1, max_length=60, description="The feature is called `<column>.<name>`; built-in ones: docs/text.md."
    )
    regex: str | None = Field(
        default=None, min_length=1, description="Boolean: does this regular expression (Rust's, linear time) match?"
    )
    words: tuple[str, ...] | None = Field(
        default=None, description="Boolean: does the text hold any of these words or phrases, whatever their case?"
    )
    python: str | None = Field(
        default=None,
        description="`module:function` that takes a list of texts and returns as many values; the module lies in the "
        "home folder or is installed.",
    )
    kind: Literal["numeric", "categorical", "boolean"] | None = Field(
        default=None, description="Kind of the values of `python`; default: boolean."
    )

    @property
    def is_own(self) -> bool:
        """Whether it is defined here."""
        return self.regex is not None or self.words is not None or self.python is not None


def expand_descriptor(value: object) -> object:
    """Shorthand ``words`` -> ``{name: words}``."""
    return {"name": value} if isinstance(value, str) else value


DescriptorEntry = Annotated[TextDescriptor, BeforeValidator(expand_descriptor)]


class Feature(Part):
    """One model input and its contract."""

    kind: FeatureKind = Field(description="How the column is read and judged.")
    min: float | None = Field(default=None, description="Contract: smallest allowed value (numeric).")
    max: float | None = Field(default=None, description="Contract: largest allowed value (numeric).")
    allowed: tuple[str, ...] | None = Field(default=None, description="Contract: allowed values (categorical).")
    nullable: bool = Field(default=True, description="Contract: may the value be missing?")
    drift: bool = Field(default=True, description="Judge drift of this column.")
    tolerance: float | None = Field(
        default=None, gt=0, description="PSI that is no drift yet; default: drift.tolerance."
    )
    descriptors: tuple[DescriptorEntry, ...] | None = Field(
        default=None,
        description="Text: what is computed of each text, every one a feature `<column>.<name>` of its own that is "
        "judged like any other. Default: characters, words, word_length, letter_share, digit_share, script.",
    )


def expand_feature(value: object) -> object:
    """Shorthand ``distance: numeric`` -> ``distance: {kind: numeric}``."""
    return {"kind": value} if isinstance(value, str) else value


FeatureEntry = Annotated[Feature, BeforeValidator(expand_feature)]


class Columns(Part):
    """Names of the columns in the inference data."""

    prediction_id: str = Field(default="prediction_id", description="Identifies a prediction; labels refer to it.")
    timestamp: str = Field(
        default="timestamp", description="When the prediction was made (UTC unless it carries a zone)."
    )
    score: str | None = Field(
        default=None, description="P(positive) for binary classification, ranking score for ranking."
    )
    prediction: str | None = Field(default=None, description="Predicted class (classification) or value (regression).")
    class_scores: dict[str, str] = Field(
        default={}, description="Multiclass: class name -> column with its probability."
    )
    model_version: str | None = Field(default=None, description="Version of the model that answered.")
    entity_id: str | None = Field(
        default=None, description="User, account, plane...: rows of one entity are dependent (clustered)."
    )
    query_id: str | None = Field(
        default=None,
        description="Ranking: the query or session a row belongs to. One id is one list of ranked rows: an id that "
        "comes again in a later window is another list, unless its rows go on across the end of a window.",
    )
    status: str | None = Field(
        default=None, description="Outcome of the call: ok, 200, true and empty are success, all else an error."
    )
    latency_ms: str | None = Field(default=None, description="Latency of the call in milliseconds.")
    weight: str | None = Field(
        default=None,
        description="Weight of the row (1 / sampling fraction). It is kept and added up (`sum_weight`) and weighs "
        "nothing: metrics, rates and drift count each row once, and say so where weights differ (`unweighted`).",
    )
    supersedes: str | None = Field(
        default="supersedes",
        description="Column that is true where a row replaces the earlier ones with its prediction id and model "
        "version. Its absence is no mistake.",
    )
    withdrawn: str | None = Field(
        default="withdrawn",
        description="Column that is true where a row takes its prediction back; it needs nothing but the id then. Its "
        "absence is no mistake.",
    )
    observed_at: str | None = Field(
        default=None, description="Column with the time a correction or withdrawal was known; default: arrival."
    )
    features: dict[str, FeatureEntry] = Field(default={}, description="Inputs: name -> kind, or name -> contract.")
    segments: tuple[str, ...] = Field(
        default=(), description="Columns by whose values quality and drift are also reported."
    )

    @model_validator(mode="before")
    @classmethod
    def _with_descriptors(cls, value: Any) -> Any:
        features = value.get("features") if is_object(value) else None
        if not is_object(features):
            return value
        from sightline.spec.texts import with_descriptors

        return {**value, "features": with_descriptors(features)}

    @property
    def derived(self) -> dict[str, tuple[str, TextDescriptor]]:
        """Features that are computed at intake: name -> text column and descriptor; no data hold them."""
        texts = {name: feature.descriptors for name, feature in self.features.items() if feature.kind == "text"}
        if not texts:
            return {}
        from metrics_py.text.descriptors import DEFAULTS

        defaults = tuple(TextDescriptor(name=name) for name in DEFAULTS)
        return {
            f"{column}.{entry.name}": (column, entry)
            for column, entries in texts.items()
            for entry in (defaults if entries is None else entries)
        }

    @property
    def described(self) -> frozenset[str]:
        """Text columns that have descriptors, which are judged in their place."""
        return frozenset(column for column, _ in self.derived.values())

    @property
    def logged(self) -> dict[str, Feature]:
        """Features that data hold: all but the derived ones."""
        derived = self.derived
        return {name: feature for name, feature in self.features.items() if name not in derived}


class Labels(Part):
    """How the truth arrives."""

    column: str = Field(default="label", description="Column (or event field) with the true value.")
    prediction_id: str | None = Field(
        default=None, description="Id column in the label data; default: columns.prediction_id."
    )
    observed_at: str | None = Field(
        default=None, description="Column with the time the truth was known; default: arrival."
    )
    retracted: str | None = Field(
        default="retracted",
        description="Column of the label data that takes a label back where it is true; the row needs no value then. "
        "Its absence is no mistake.",
    )
    positive: str | int | float | bool | None = Field(
        default=1, description="Positive value (binary classification); 1, 1.0, true and the text `1` are one."
    )
    negative: str | int | float | bool | tuple[str | int | float | bool, ...] | None = Field(
        default=None,
        description="Negative value, or a list of several; other labels are refused as `bad_label`. Default: the "
        "counterpart of 1, true, yes (0, false, no) in `positive`, and every other value where it has none.",
    )
    classes: tuple[str | int | float | bool, ...] | None = Field(
        default=None,
        description="Multiclass: all classes; other labels are refused as `bad_label`. Default: those of "
        "columns.class_scores, else of value_matrix, else every name but words for no answer (`unknown`, `N/A`, `?`).",
    )
    expected_delay: Duration | None = Field(
        default=None,
        description="After a window's end: its labels are due. Default: learnt from how they come (80 % are in), and "
        "one day until that is known.",
    )
    give_up_after: Duration | None = Field(
        default=None,
        description="Later labels are kept, but not waited for. Default: learnt (99 % are in); until that is known, "
        "all are waited for.",
    )
    silence: Literal["unknown", "negative"] = Field(
        default="unknown",
        description="What a prediction without a label is once `give_up_after` has passed: `unknown` (left out), or "
        "`negative` where only positives are ever reported (fraud, churn, clicks); of ranking it is irrelevant then. "
        "`negative` needs `give_up_after`.",
    )


class Reference(Part):
    """What production is compared with; bins are frozen from it once."""

    kind: Literal["window", "file", "rolling"] = Field(
        default="window", description="A fixed window, a file, or the latest `length`."
    )
    start: Moment | None = Field(default=None, description="kind window: first moment (inclusive, UTC).")
    end: Moment | None = Field(default=None, description="kind window: last moment (exclusive, UTC).")
    path: str | None = Field(
        default=None, description="kind file: Parquet, CSV or NDJSON, relative to the home folder."
    )
    length: Duration = Field(
        default=timedelta(days=28), description="kind rolling: how much history before each window."
    )


class Source(Part):
    """Existing data to read besides the log and the landing folder."""

    parquet: str | None = Field(
        default=None, description="Glob of Parquet files; each new or changed file is loaded once."
    )
    duckdb: str | None = Field(
        default=None, description="Path of a DuckDB file (opened read-only for the moment of reading)."
    )
    table: str | None = Field(default=None, description="Table or view in that DuckDB file.")


class Sources(Part):
    """Where data comes from, besides `data/<id>/landing/` and the log."""

    inferences: Source | None = Field(default=None, description="Existing predictions.")
    labels: Source | None = Field(default=None, description="Existing labels.")


class Drift(Part):
    """Defaults of drift judgement."""

    tolerance: float = Field(
        default=0.1,
        gt=0,
        description="PSI that is no drift yet (states: drift, stable, unclear); where the reference's own windows lie "
        "farther from the rest of it, the farthest of them is the limit: what is usual for a day is no drift.",
    )
    method: str = Field(
        default="psi",
        description=(
            "Distance that decides: psi, kl_divergence, js_divergence, js_distance or hellinger. Each is tolerated "
            "as far as the shift that has the tolerated PSI."
        ),
    )
    bins: int = Field(default=32, ge=4, le=256, description="Reference-quantile bins per numeric column.")
    min_rows: int = Field(default=200, ge=1, description="Fewer effective rows in a window: too few to judge it alone.")
    multivariate: bool = Field(
        default=True,
        description="Watch the numeric and boolean features together as well: correlations and joint distances "
        "(`multivariate_drift`).",
    )


class Quality(Part):
    """Defaults of realised quality."""

    threshold: float = Field(default=0.5, description="Score at and above which the decision is positive (binary).")
    min_labels: int = Field(default=100, ge=1, description="Fewer labelled rows in a window: insufficient_data.")
    primary: str | None = Field(
        default=None,
        description=(
            "The metric that matters most: shown first and named so; default by task (roc_auc, roc_auc_macro, mae, "
            "ndcg, or what the columns allow)."
        ),
    )
    estimation: Literal["pape"] | None = Field(
        default=None,
        description=(
            "How quality is estimated before labels. Default: from the scores or predictions alone, as if scores came "
            "true as often as in the reference. `pape` (two classes with a score): from the reference's labelled rows, "
            "weighted to each window's inputs, as if inputs did; it reads 20,000 rows of a window at most."
        ),
    )
    quantiles: tuple[float, ...] = Field(default=(0.5,), description="Regression: quantiles of the pinball loss.")
    k: int = Field(
        default=10, ge=1, le=1000, description="Ranking: places of a query that are looked at (`ndcg`, `recall_at_k`)."
    )
    item: str | None = Field(
        default=None,
        description="Ranking: the categorical feature that names the recommended item. With it popularity, novelty and "
        "coverage of what is recommended are judged, without labels; mark it `drift: false` where there are many.",
    )
    windows: tuple[Duration, ...] = Field(
        default=(),
        description=(
            "Lengths over which quality is judged: with `[1d, 7d, 28d]` every day also over the last 7 and 28 days "
            "(`roc_auc@7d`), for monitors with few labels a day. Multiples of the schedule, up to 92 windows; the "
            "schedule's own window is always judged."
        ),
    )


class CustomMetric(Part):
    """A metric of one's own: a SQL expression over the joined rows (aggregated by dbt), or a Python function."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="Name in the judgement table.")
    sql: str | None = Field(
        default=None, description="SQL expression per row over lake columns, `label` and `is_positive`; averaged."
    )
    python: str | None = Field(
        default=None,
        description=(
            "`package.module:function`, decorated with `@metric`; the module lies in the home folder or is installed."
        ),
    )
    columns: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Python: lake columns the function reads (`score`, `f_age`); default: all but text and embeddings.",
    )
    unit: str = Field(default="", max_length=30, description="Unit shown beside the value.")
    direction: Literal["higher_is_better", "lower_is_better", "none"] = Field(
        default="none", description="Which way is better."
    )
    needs_label: bool = Field(default=False, description="Count labelled rows only.")
    scale: Literal["identity", "log", "logit", "arcsine"] = Field(
        default="identity",
        description=(
            "Scale on which alerts see the window's value: `log` for a positive, skewed amount, `logit` or `arcsine` "
            "for a share. A value that the scale is not defined for (0 on `log`) is no evidence: insufficient_data, "
            "with the reason."
        ),
    )


BudgetField = Annotated[
    Budget,
    BeforeValidator(parse_budget),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s+per\s+\S+\s*$", "examples": ["1 per 90d"]}),
]


class Threshold(Part):
    """A fixed threshold on one judged value: a hard rule, outside of the budget."""

    metric: str = Field(description="Name of the metric, as in the judgements (`roc_auc`, `null_rate`, `psi`, yours).")
    column: str = Field(default="", description="The column it is about; left out for metrics of the whole model.")
    fail_above: float | None = Field(default=None, description="A value above fails the check.")
    fail_below: float | None = Field(default=None, description="A value below fails the check.")
    warn_above: float | None = Field(default=None, description="A value above warns.")
    warn_below: float | None = Field(default=None, description="A value below warns.")

    def broken(self, value: float) -> tuple[Severity, str] | None:
        """The level and the words of the broken limit; None where all hold."""
        verbs: tuple[tuple[Severity, str], ...] = (("error", "fail"), ("warn", "warn"))
        for level, verb in verbs:
            above, below = getattr(self, f"{verb}_above"), getattr(self, f"{verb}_below")
            if above is not None and value > above:
                return level, f"above {verb}_above: {above:g}"
            if below is not None and value < below:
                return level, f"below {verb}_below: {below:g}"
        return None


class Alerts(Part):
    """The promise: how many false incidents at most, and who hears of the rest."""

    budget: BudgetField = Field(
        default=Budget(incidents=1, per=timedelta(days=90)),
        description="Expected false incidents at most, e.g. `1 per 90d`.",
    )
    warnings: BudgetField | None = Field(
        default=None,
        description=(
            "Expected false warnings at most, over the same evidence: a softer budget. Default ten times `budget`: "
            "`1 per 9d` for `1 per 90d`."
        ),
    )
    thresholds: tuple[Threshold, ...] = Field(
        default=(),
        description=(
            "Fixed thresholds on judged values: hard rules, outside of the budget. They alarm as often as they are "
            "crossed."
        ),
    )
    settle_after: int | None = Field(
        default=None,
        ge=1,
        description=(
            "Windows after a change for which an incident may keep checks failed; from then on it has settled: it is "
            "listed, and fails nothing, until somebody says what it was. Default 14 daily, 72 hourly, 4 weekly."
        ),
    )
    not_judged: tuple[str, ...] = Field(
        default=(),
        description=(
            "Patterns of checks or columns (`carrier`, `drift__*`) that are known not to be judged: the check "
            "`coverage` stays silent about them."
        ),
    )
    notify: tuple[str, ...] = Field(
        default=(),
        description=(
            "Channels or named routes of `alerts/routes.yaml` that are told, and names of people: all are shown on "
            "incidents and on checks that fail."
        ),
    )
    weights: dict[str, float] = Field(
        default={},
        description=(
            "Stream pattern (`drift/*`, `*/carrier/*`) -> relative weight; the first that matches counts, 0 silences."
        ),
    )
    spikes: dict[str, float] = Field(
        default={},
        description=(
            "Stream pattern (`data_quality/*`, `*/amount/*`) -> standard deviations; the first that matches counts. A "
            "single window at least this far from what its past expects fails its check, outside of the budget: for "
            "those who must hear of one bad day, which the budget spends its evidence on changes that last."
        ),
    )
    holidays: tuple[date, ...] = Field(default=(), description="Days that neither alarm nor teach the baseline.")
    warmup: int | None = Field(
        default=None,
        ge=8,
        description=(
            "Windows a stream must teach before it may alarm; default 28 daily (4 weeks), 336 hourly (2 weeks), 12 "
            "weekly."
        ),
    )
    max_null_rate: dict[str, float] = Field(
        default={}, description="Hard contract per column: null share above it fails the check."
    )


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
            "`mlflow`: alias that is set on a version that passes. Default: none is moved, since in most places an "
            "alias such as `champion` is what serves."
        ),
    )
    token_env: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="`mlflow`: environment variable with a token, or with `user:password`.",
    )
    python: str | None = Field(
        default=None, description="`python`: `module:function`, called with the monitor's spec; returns a registry."
    )


class Freshness(Part):
    """Deadlines on the clock; defaults follow the schedule and the expected label delay."""

    inferences: Duration | None = Field(default=None, description="No new inferences for this long fails.")
    labels: Duration | None = Field(default=None, description="No new labels for this long fails.")
    judgements: Duration | None = Field(default=None, description="No new judgements for this long fails.")


class MonitorSpec(Part):
    """One monitored model."""

    version: Literal[1] = Field(default=1, description="Version of this format.")
    model: Model
    columns: Columns = Columns()
    labels: Labels | None = Field(default=None, description="Leave out when the truth never arrives.")
    reference: Reference
    schedule: Schedule = Field(default="daily", description="Size of a window, and how often it is judged.")
    close_after: Duration | None = Field(
        default=None,
        description=(
            "How long after its end a window waits for its last rows before it is judged for good; default 10m hourly, "
            "1h daily, 6h weekly. Where a day's rows land the next morning, say until when: `9h`."
        ),
    )
    start: Moment | None = Field(default=None, description="First window (UTC); default: reference.start.")
    sources: Sources = Sources()
    drift: Drift = Drift()
    quality: Quality = Quality()
    value_matrix: dict[str, dict[str, float]] | None = Field(
        default=None, description="Business value of one prediction: predicted class -> actual class -> value."
    )
    metrics: tuple[CustomMetric, ...] = ()
    alerts: Alerts = Alerts()
    freshness: Freshness = Freshness()
    evaluation: Evaluation = Evaluation()
    registry: RegistryLink | None = Field(
        default=None, description="A model registry: its new versions are evaluated, and it is told the verdicts."
    )
    retraining: Retraining | None = Field(
        default=None, description="With this section the monitor has an asset `retraining`, which runs on request."
    )
    fairness: Fairness = Fairness()
    importance: dict[str, float] = Field(
        default={},
        description=(
            "Input -> how much the model rests on it (any unit, 0 or more): causes of an incident are ranked by it. "
            "Default: how much of the score's variance each input explains alone, before the change."
        ),
    )
    upstream: tuple[str, ...] = Field(
        default=(),
        description=(
            "Keys of Dagster assets of your own that the data come from (`warehouse/orders`): the monitor's "
            "`inferences` then follow them in the lineage, and a changed code version or a missing partition of one is "
            "a likely cause of an incident."
        ),
    )

    _budget_note: str = PrivateAttr(default="")
    _home_folder: Path | None = PrivateAttr(default=None)

    @property
    def home_folder(self) -> Path | None:
        """Where Python functions of the user's are found besides what is installed; None if not read from a file."""
        return self._home_folder

    def placed_in(self, home: Path) -> MonitorSpec:
        """The same monitor, of this home folder."""
        found = self.model_copy()
        found._home_folder = home
        return found

    @property
    def budget_note(self) -> str:
        """Where the budget comes from, if not from this file (`sightline.spec.teams`)."""
        return self._budget_note

    def with_budget(self, budget: Budget, note: str) -> MonitorSpec:
        """The same monitor under another budget."""
        found = self.model_copy(update={"alerts": self.alerts.model_copy(update={"budget": budget})})
        found._budget_note = note
        return found

    @property
    def id(self) -> str:
        """The monitor's id."""
        return self.model.id

    @property
    def positive_class(self) -> str:
        """Spelling of the positive class in `label_class` and `predicted_class` (binary classification)."""
        return class_text(self.labels.positive if self.labels else 1)

    @property
    def is_silence_negative(self) -> bool:
        """Whether only positives are reported: what has no label by `labels.give_up_after` is negative."""
        return self.labels is not None and self.labels.silence == "negative"

    @property
    def negative_classes(self) -> tuple[str, ...]:
        """What counts as negative, as far as the file says it (binary classification)."""
        given = self.labels.negative if self.labels else None
        if given is not None:
            return tuple(class_text(value) for value in (given if isinstance(given, tuple) else (given,)))
        return tuple(name for name in map(class_text, self.value_matrix or {}) if name != self.positive_class)

    @property
    def class_names(self) -> ClassNames:
        """How the classes of labels and predictions may be spelled (classification)."""
        if self.model.task == "binary_classification":
            return binary_classes(self.positive_class, self.negative_classes)
        given = (self.labels.classes if self.labels else None) or ()
        scored = self.columns.class_scores
        return several_classes([*scored, *map(class_text, given)] or self.value_matrix or ())

    @property
    def warmup_windows(self) -> int:
        """Windows a stream must teach before it may alarm; the defaults are those of the alert engine."""
        return self.alerts.warmup or {"hourly": 336, "daily": 28, "weekly": 12}[self.schedule]

    @property
    def warnings(self) -> Budget:
        """The softer budget, over the same evidence, from which on a stream warns."""
        budget = self.alerts.budget
        return self.alerts.warnings or Budget(incidents=10 * budget.incidents, per=budget.per)

    @property
    def settle_windows(self) -> int:
        """Windows after a change from which on an incident has settled."""
        return self.alerts.settle_after or {"hourly": 72, "daily": 14, "weekly": 4}[self.schedule]

    @property
    def deadlines(self) -> dict[str, timedelta]:
        """Freshness deadline of `inferences`, `labels` (if any are expected) and `judgements`.

        Defaults: two windows for inferences (the window itself and one to arrive in, or `close_after` if that is
        longer), a third one for judgements; for labels their usual delay on top of two windows (see
        `sightline.results.learnt_delays` where it is learnt).
        """
        given = self.freshness
        late = self.window + max(self.window, self.closing_time)
        deadlines = {
            "inferences": given.inferences or late,
            "judgements": given.judgements or late + self.window,
        }
        if self.labels:
            deadlines["labels"] = given.labels or late + (self.labels.expected_delay or UNLEARNT)
        return deadlines

    @property
    def window(self) -> timedelta:
        """Length of one window."""
        return {"hourly": timedelta(hours=1), "daily": timedelta(days=1), "weekly": timedelta(days=7)}[self.schedule]

    @property
    def closing_time(self) -> timedelta:
        """How long after its end a window waits for its last rows."""
        return self.close_after if self.close_after is not None else CLOSE_AFTER[self.schedule]

    @property
    def first_window(self) -> datetime:
        """Start of the first window (UTC, floored to the schedule; weeks start on Monday)."""
        start = self.start or self.reference.start
        assert start is not None  # the loader refuses a spec without either
        return self.floor(start)

    def floor(self, moment: datetime) -> datetime:
        """Start of the window that holds `moment` (naive datetimes are UTC)."""
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        hour = moment.replace(minute=0, second=0, microsecond=0)
        if self.schedule == "hourly":
            return hour
        day = hour.replace(hour=0)
        return day - timedelta(days=day.weekday()) if self.schedule == "weekly" else day

    def key(self, moment: datetime) -> str:
        """Window key: Dagster partition key and hive folder name (`2026-01-31`, hourly `2026-01-31-05`)."""
        return self.floor(moment).strftime("%Y-%m-%d-%H" if self.schedule == "hourly" else "%Y-%m-%d")

    def window_start(self, key: str) -> datetime:
        """Start of the window with this key (UTC)."""
        fmt = "%Y-%m-%d-%H" if self.schedule == "hourly" else "%Y-%m-%d"
        return datetime.strptime(key, fmt).replace(tzinfo=UTC)

"""``MonitorSpec``: what one ``monitors/<id>.yaml`` says. Everything downstream reads these objects, never the YAML."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    Field,
    PrivateAttr,
    model_validator,
)

from metrics_py.class_names import ClassNames, binary_classes, class_text, several_classes
from sightline.narrowing import is_object
from sightline.spec import llm
from sightline.spec.budget import Budget
from sightline.spec.columns import Columns
from sightline.spec.data_sections import Labels, Model, Reference, Sources
from sightline.spec.evaluation_sections import Evaluation, Fairness, RegistryLink, Report, Retraining
from sightline.spec.field_types import CLOSE_AFTER, UNLEARNT, Duration, Moment, Schedule
from sightline.spec.judging_sections import Alerts, CustomMetric, Drift, Freshness, Quality
from sightline.spec.part import Part


class MonitorSpec(Part):
    """One monitored model."""

    version: Literal[1] = Field(default=1, description="Version of this format.")
    model: Model
    columns: Columns = Columns()
    shadows: tuple[str, ...] | dict[str, Moment | None] = Field(
        default=(),
        description=(
            "Versions that answer beside production without being used (`[hgb-2]`): their rows are judged by version "
            "only and are no part of the monitor's traffic, drift, quality and alerts. Of one that took over, say "
            "when: `{hgb-2: 2026-06-01}`; from the window that holds this moment on its rows are production's."
        ),
    )
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
    report: Report | None = Field(
        default=None, description="With this section every run writes a report of its windows (asset `report`)."
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

    @model_validator(mode="before")
    @classmethod
    def _with_feedback(cls, value: Any) -> Any:
        return llm.with_feedback(value) if is_object(value) else value

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
    def shadow_ends(self) -> dict[str, datetime | None]:
        """Version -> when it took over; None while it is a shadow."""
        return dict.fromkeys(self.shadows) if isinstance(self.shadows, tuple) else dict(self.shadows)

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

"""Sections ``model``, ``labels``, ``reference`` and ``sources``: whose data come from where."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import (
    Field,
)

from sightline.spec.field_types import ID_PATTERN, Duration, Feedback, Moment, Task
from sightline.spec.part import Part
from sightline.spec.source_sections import S3, Delta, Iceberg, Kafka, Postgres, Remote


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
    feedback: Feedback = Field(
        default=None,
        description="Text generation: what the label is: `thumbs` (up or down), a range of ratings (`[1, 5]`), or any "
        "number of your judge (default). The newest label of an answer counts.",
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
    postgres: Postgres | None = Field(default=None, description="A table of a PostgreSQL database.")
    s3: S3 | None = Field(default=None, description="Files of an S3-compatible object store.")
    delta: Delta | None = Field(default=None, description="A Delta table.")
    iceberg: Iceberg | None = Field(default=None, description="An Iceberg table.")
    kafka: Kafka | None = Field(default=None, description="A Kafka topic.")


def remotes(source: Source) -> dict[str, Remote]:
    """The sources that are fetched before they are loaded, by their key: one at most in a valid file."""
    found: dict[str, Remote | None] = {
        "postgres": source.postgres,
        "s3": source.s3,
        "delta": source.delta,
        "iceberg": source.iceberg,
        "kafka": source.kafka,
    }
    return {key: remote for key, remote in found.items() if remote is not None}


class Sources(Part):
    """Where data comes from, besides `data/<id>/landing/` and the log."""

    inferences: Source | None = Field(default=None, description="Existing predictions.")
    labels: Source | None = Field(default=None, description="Existing labels.")

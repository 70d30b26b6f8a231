"""``sightline.yaml``: what holds for a whole home folder, such as the engine of the aggregates."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from sightline.home import Home
from sightline.spec.field_types import Duration
from sightline.spec.loader import SpecError, read_part
from sightline.spec.part import Part

NAME = "sightline.yaml"
OWN_SETTINGS = (
    "spark.sql.warehouse.dir",
    "spark.sql.catalogImplementation",
    "spark.sql.ansi.enabled",
    "spark.sql.session.timeZone",
    "spark.sql.variable.substitute",
    "spark.sql.parser.escapedStringLiterals",
    "spark.sql.caseSensitive",
)
"""Settings of Spark that decide what the numbers are, or where they are found: Sightline's own."""


class EngineSettings(Part):
    """Which engine computes the aggregates (the dbt models) from the lake."""

    kind: Literal["duckdb", "spark"] = Field(
        default="duckdb",
        description="`duckdb` in the process of the run, or `spark` (`pip install 'sightline[spark]'`).",
    )
    master: str = Field(
        default="local[*]",
        description="Spark: `local[N]` for N cores of this machine, or a cluster: `spark://host:7077`, `yarn`, `k8s://...`.",
    )
    memory: str = Field(default="2g", pattern=r"^\d+[mgMG]$", description="Spark: memory of the driver.")
    start_within: Duration = Field(
        default=timedelta(seconds=60),
        description="Spark: a cluster that has given no executor after so long is an error.",
    )
    work: Path | None = Field(
        default=None,
        description="Spark: folder for the files of a run, which every worker must see under the same path; by default "
        "in the monitor's folder, and then the workers must see the home folder.",
    )
    conf: dict[str, str] = Field(
        default={}, description="Spark: more of its settings, e.g. `spark.executor.memory: 8g`."
    )

    @field_validator("conf")
    @classmethod
    def _not_our_own(cls, conf: dict[str, str]) -> dict[str, str]:
        taken = [name for name in conf if name in OWN_SETTINGS]
        if taken:
            raise ValueError(f"{', '.join(taken)}: Sightline sets it, since the numbers depend on it: leave it out")
        return conf


class HomeFile(Part):
    """The file `sightline.yaml`."""

    engine: EngineSettings = Field(default=EngineSettings(), description="The engine of the aggregates.")


def home_file(home: Home) -> Path:
    """``sightline.yaml`` of a home."""
    return home.root / NAME


def load_home_file(home: Home) -> HomeFile:
    """Read `sightline.yaml`; without it everything is as by default.

    Raises
    ------
    SpecError
        With all mistakes of the file, each with its line.
    """
    path = home_file(home)
    if not path.is_file():
        return HomeFile()
    _, found, problems = read_part(path, HomeFile)
    if problems or found is None:
        raise SpecError(problems)
    return found

"""What run workers have imported when they are forked (`warm_start`): slow to import, and starting no thread.

dbt makes the schemas of its settings, and the code that reads its parsed project, when it first needs them; here it
needs them once. Its own modules and `inspect`'s list of them are private to dbt-core 1.11 and dbt-duckdb 1.11.
"""

# ruff: noqa: F401
import inspect
import logging

import alembic.command
import dagster
import dagster._core.storage.sqlite_storage
import dagster._grpc.server
import dagster_dbt
import dbt.cli.main
import dbt.task.build
import sqlalchemy.dialects.sqlite
from dbt.adapters.duckdb.credentials import DuckDBCredentials
from dbt.contracts.graph.manifest import Manifest
from dbt.contracts.project import Configuration, PackageConfig, ProfileConfig, Project, ProjectFlags
from dbt.contracts.selection import SelectorFile
from dbt.parser.manifest import extended_mashumuro_decoder
from dbt.task.test import TestResultData

from sightline.home import PARSED, Home

SETTINGS = (
    ProjectFlags,
    DuckDBCredentials,
    ProfileConfig,
    Project,
    PackageConfig,
    SelectorFile,
    Configuration,
    TestResultData,
)
"""What dbt checks by a schema when it builds."""


def use_once() -> None:
    """Make what dbt makes when it is first called, without calling it: dbt may start threads."""
    for settings in SETTINGS:
        settings.json_schema()
    inspect.stack()  # dbt looks up who calls it
    parsed = Home.from_env().root / ".sightline" / "dbt" / PARSED
    if parsed.is_file():
        Manifest.from_msgpack(parsed.read_bytes(), decoder=extended_mashumuro_decoder)


try:
    use_once()
except Exception:  # a run tells it with its cause; this process has to live
    logging.getLogger("sightline").exception("dbt is not warm")

"""dagster-dbt's resource without its two costs per process.

``dbt --version`` asks the package index (3 s), and a second dbt adapter is started inside the Dagster process for row
counts that we count ourselves. Overrides private members of dagster-dbt 0.29.27; tests/orchestration/test_resources.py
holds them. Can go when both can be switched off.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from dagster_dbt import DbtCliResource
from packaging.version import Version, parse


class FastDbt(DbtCliResource):
    """`DbtCliResource` that knows dbt's version and starts no adapter of its own."""

    @cached_property
    def _cli_version(self) -> Version:
        return parse(importlib.metadata.version("dbt-core"))

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> Any:
        return None

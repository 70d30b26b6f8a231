"""One monitor as Dagster sees it: its spec, its folders, and what all its assets have in common."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import dagster as dg

from orchestration import partitions
from sightline.home import Home, MonitorPaths
from sightline.results.learnt_delays import with_learnt_delays
from sightline.spec import names
from sightline.spec.model import MonitorSpec
from sightline.spec.plan import PlannedCheck

KINDS = {
    "inferences": {"python", "parquet"},
    "labels": {"python", "parquet"},
    "reference": {"polars", "parquet"},
    "data_quality": {"polars", "parquet"},
    "drift": {"polars", "scipy", "parquet"},
    "model_quality": {"polars", "scipy", "parquet"},
    "estimated_quality": {"polars", "scipy", "parquet"},
    "alerts": {"polars", "parquet"},
    "report": {"polars"},
    "evaluation": {"polars", "scipy"},
    "retraining": {"polars", "scipy"},
}


@dataclass(frozen=True)
class Monitor:
    """A monitor's spec together with the home folder it lives in."""

    spec: MonitorSpec
    home: Home
    models: Mapping[str, tuple[str, ...]]
    """Names of the dbt models by flow."""
    upstream: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Feed -> keys of assets that a component names, beside those in the file."""

    @property
    def id(self) -> str:
        """The monitor's id: asset key prefix, group and folder name."""
        return self.spec.id

    @cached_property
    def paths(self) -> MonitorPaths:
        """Folders and files of the monitor."""
        return self.home.monitor(self.id)

    @property
    def current_spec(self) -> MonitorSpec:
        """The spec with the delays that its file leaves open as they are known now."""
        return with_learnt_delays(self.spec, self.paths)

    @cached_property
    def partitions(self) -> dg.TimeWindowPartitionsDefinition:
        """Its windows as partitions."""
        return partitions.definition(self.spec)

    @cached_property
    def pool(self) -> str:
        """One run at a time writes a monitor's warehouse."""
        return names.pool_name(self.spec)

    @cached_property
    def owners(self) -> list[str]:
        """Owners of every asset."""
        return [self.spec.model.owner] if self.spec.model.owner else []

    @cached_property
    def tags(self) -> dict[str, str]:
        """Tags of every asset."""
        return {
            "sightline/monitor": self.id,
            "sightline/task": self.spec.model.task,
            "sightline/schedule": self.spec.schedule,
        }

    @cached_property
    def code_version(self) -> str:
        """Changes with whatever in the spec changes a number, so that Dagster shows older partitions as outdated."""
        parts = self.spec.model_dump(
            mode="json",
            exclude={
                "model": {"owner", "description"},
                **dict.fromkeys(("alerts", "freshness", "evaluation", "registry", "importance", "upstream"), True),
                "retraining": True,
            },
        )
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    def key(self, name: str) -> dg.AssetKey:
        """Asset key ``[monitor id, name]``."""
        return dg.AssetKey(names.asset_key(self.spec, name))

    def check_key(self, check: PlannedCheck) -> dg.AssetCheckKey:
        """Dagster's key of one of the monitor's checks."""
        return dg.AssetCheckKey(self.key(check.asset), check.name)

    def asset_args(self, name: str, *, partitioned: bool = True) -> dict[str, Any]:
        """Keyword arguments that ``@dg.asset`` gets for every asset of the monitor."""
        partition_args = {"partitions_def": self.partitions, "backfill_policy": dg.BackfillPolicy.single_run()}
        return {
            "key": self.key(name),
            "group_name": names.group_name(self.spec),
            "owners": self.owners,
            "tags": self.tags,
            "kinds": KINDS[name],
            "pool": self.pool,
            "code_version": self.code_version,
            **(partition_args if partitioned else {}),
        }

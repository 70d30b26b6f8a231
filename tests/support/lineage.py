"""What the lineage shows, asked through GraphQL as the browser asks it."""

from __future__ import annotations

from typing import Any

from tests.support.dagster_server import Server, serving

__all__ = ["Server", "asset_key", "check_executions", "runs", "serving"]

RUNS = """query($tags: [ExecutionTag!]) { runsOrError(filter: {tags: $tags}) { ... on Runs {
    results { runId jobName status tags { key value } } } } }"""
CHECKS = """query($key: AssetKeyInput!, $check: String!) {
  assetCheckExecutions(assetKey: $key, checkName: $check, limit: 100) {
    status partition runId evaluation { severity success description metadataEntries {
        label ... on IntMetadataEntry { intValue } ... on MarkdownMetadataEntry { mdStr } } } } }"""


def asset_key(monitor: str, name: str) -> dict[str, list[str]]:
    """The key of one of a monitor's assets, as a variable of a query."""
    return {"path": [monitor, name]}


def runs(server: Server, monitor: str, flow: str, partition: str) -> list[dict[str, Any]]:
    """Runs of a flow over one partition, the newest first."""
    tags = [{"key": "dagster/partition", "value": partition}, {"key": "sightline/flow", "value": flow}]
    found = server.ask(RUNS, tags=tags)["runsOrError"]["results"]
    return [run for run in found if run["jobName"] == f"{monitor}__{flow}"]


def check_executions(server: Server, monitor: str, asset: str, check: str) -> list[dict[str, Any]]:
    """Executions of a check, the newest first."""
    return server.ask(CHECKS, key=asset_key(monitor, asset), check=check)["assetCheckExecutions"]

"""The systemd units of `deploy/`, and the processes they would start."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = ("collector", "code", "daemon", "webserver", "dashboard")
PROGRAMS = Path(sys.executable).parent


def settings_of(unit: str) -> dict[str, str]:
    """Keys of all sections; a key that stands there twice keeps its last value."""
    lines = (DEPLOY / "systemd" / f"sightline-{unit}.service").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def environment_example() -> dict[str, str]:
    """The variables of the example."""
    lines = (DEPLOY / "environment.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def command_of(unit: str, variables: Mapping[str, str]) -> list[str]:
    """The words of its ExecStart, as systemd would expand them, with the programs beside this Python."""
    line = settings_of(unit)["ExecStart"].replace("/opt/sightline/bin", str(PROGRAMS))
    return [re.sub(r"\$\{(\w+)\}", lambda found: variables[found[1]], word) for word in line.split()]

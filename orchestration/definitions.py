"""Sightline's own code location: every file in ``monitors/`` becomes assets, checks, jobs and sensors.

For a project of one's own see `sightline.MonitorComponent`; `build` makes the definitions of any home folder.
"""

from orchestration.code_location import build, build_monitors
from orchestration.dagster_private import warm_start
from sightline.home import Home

__all__ = ["build", "build_monitors", "defs"]

warm_start.install_if_asked()

defs = build(Home.from_env())

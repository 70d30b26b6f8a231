"""Sightline: ML observability as software-defined assets. This package is everything that talks to the outside.

``sightline.incidents(home)``, ``sightline.acknowledge(home, monitor, incident)`` and the other names of `INCIDENTS` are
the functions of `sightline.alerts.actions`, imported when they are first asked for. ``sightline.compare(old, new)``,
``sightline.test(suite, old, new)`` and ``sightline.report(home, monitor)`` are those of `sightline.reports`: a notebook
shows what they return. ``sightline.MonitorComponent`` is for ``defs.yaml`` of a Dagster project of one's own.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

INCIDENTS = (
    "incidents", "incident", "acknowledge", "accept", "fixed", "assign", "note", "reopen", "merge", "split",
)  # fmt: skip
"""What there is to read of incidents, and to say of one."""

COMPONENT = "MonitorComponent"
"""Monitors in a Dagster project of one's own; imports Dagster when it is first asked for."""

REPORTS = {"compare": "notebook", "test": "notebook", "report": "window.outputs"}
"""What makes something to look at -> its module in `sightline.reports`."""


def __getattr__(name: str) -> Any:
    if name in REPORTS:
        return getattr(import_module(f"sightline.reports.{REPORTS[name]}"), name)
    if name == COMPONENT:
        return getattr(import_module("orchestration.component"), name)
    if name in INCIDENTS:
        return getattr(import_module("sightline.alerts.actions"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """All names, also those that are imported when they are first asked for: Dagster finds its components by them."""
    return sorted({*globals(), COMPONENT, *REPORTS, *INCIDENTS})

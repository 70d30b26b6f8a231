"""Freshness: how old the newest data, labels and judgements may be, on the clock.

Dagster looks at the time of the latest materialization, whatever its partition. Runs that only judge a closed window
anew therefore leave `inferences` and `labels` alone (see `orchestration.sensors`).
"""

from __future__ import annotations

from datetime import timedelta

import dagster as dg

from sightline.spec.field_types import WARN_SHARE
from sightline.spec.model import MonitorSpec

SHORTEST = timedelta(minutes=1)
"""Dagster takes no shorter deadline."""

CLOCK_OF = {
    "inferences": "inferences",
    "labels": "labels",
    **dict.fromkeys(("data_quality", "drift", "estimated_quality"), "judgements"),
}
"""Asset -> which deadline of the spec applies. Judgements of labels come with the labels and share their deadline."""


def policy(spec: MonitorSpec, asset: str) -> dg.FreshnessPolicy | None:
    """Warns when three quarters of the deadline have passed, fails at the deadline."""
    clock = "labels" if asset == "model_quality" else CLOCK_OF.get(asset)
    if clock is None or clock not in spec.deadlines:
        return None
    deadline = max(spec.deadlines[clock], SHORTEST * 1.5)
    if asset == "model_quality":
        deadline += spec.window
    return dg.FreshnessPolicy.time_window(fail_window=deadline, warn_window=max(deadline * WARN_SHARE, SHORTEST))

"""What people see in a year without any change: days on which a check of `alerts` is red, or any stream warns."""

from __future__ import annotations

from datetime import UTC

import numpy as np
import pytest

from metrics_py.alerting import replay
from sightline.alerts import decisions
from sightline.judging.board import open_incidents
from sightline.judging.published import IncidentMember, Published, StreamState
from sightline.spec.model import MonitorSpec
from tests.simulation.alerting.test_null import holds
from tests.simulation.alerting.worlds import WARMUP, messy
from tests.support.alerting import day, log
from tests.support.measured import record

SECTION = "Alert budget"
YEAR, STREAMS = 365, 40
SPEC = MonitorSpec.model_validate(
    {
        "model": {"id": "m", "task": "binary_classification"},
        "columns": {"score": "p", "features": {f"x{k}": "numeric" for k in range(STREAMS)}},
        "reference": {"path": "r.parquet"},
        "alerts": {"warmup": WARMUP},
    }
)


def year_of_a_monitor(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Through the spec's settings, the engine and the verdicts: is each day red, does a stream warn on it?"""
    names = [f"drift/x{k}/location" for k in range(STREAMS)]
    found = replay(log(values, names), decisions.config(SPEC))
    members = [
        IncidentMember(
            incident_id=m["incident_id"],
            stream=m["stream"],
            change_point=m["change_point"],
            joined_at=m["joined_at"],
            evidence=m["evidence"],
            evidence_days=m["adjusted_evidence"],
            level_before=m["level_before"],
            level_after=m["level_after"],
            effect=m["effect"],
            moved_again_at=m["moved_again_at"],
            moved_again_effect=m["moved_again_effect"],
            settle_after=SPEC.settle_windows * SPEC.window,
            ended_at=m["ended_at"],
            ended_by=m["ended_by"],
        )
        for m in found.members.to_dicts()
    ]
    inside = found.streams.filter("in_incident")
    states = [
        StreamState(
            stream=s["stream"],
            asset="drift",
            column="",
            statistic="location",
            window_start=s["window_start"],
            decided_at=s["decided_at"],
            status=s["status"],
            in_incident=True,
            incident_id=s["incident_id"],
            distance=s["distance"],
        )
        for s in inside.to_dicts()
    ]
    days = [day(k) for k in range(WARMUP, WARMUP + YEAR)]
    keys = [SPEC.key(moment.replace(tzinfo=UTC)) for moment in days]
    red = {
        key for key, verdict in open_incidents(SPEC, Published([], states, members), keys) if verdict.level == "error"
    }
    told = decisions.with_warnings(found.streams, again_after=SPEC.settle_windows * SPEC.window)
    warned = set(told.filter("warns")["window_start"].unique().to_list())
    return np.array([key in red for key in keys]), np.array([moment in warned for moment in days])


@pytest.mark.parametrize("monitors", [6, pytest.param(100, marks=pytest.mark.full)])
def test_a_quiet_year_on_the_board(monitors):
    """Red days without a cause: at most what the budget allows times `settle_after`; warnings: at most their budget."""
    world = messy(np.random.default_rng([51]), WARMUP + YEAR, STREAMS * monitors, monitor=STREAMS)
    n_red = n_warned = 0
    for k in range(monitors):
        red, warned = year_of_a_monitor(world.values[:, k * STREAMS : (k + 1) * STREAMS])
        n_red += int(red.sum())
        n_warned += int(warned.sum())
    allowed_red = SPEC.settle_windows / SPEC.alerts.budget.windows(SPEC.window)
    allowed_warnings = 1 / SPEC.warnings.windows(SPEC.window)
    days = monitors * YEAR
    measured = {
        f"share of days with a red check (allowed {allowed_red:.3f})": round(n_red / days, 4),
        f"share of days with a warning (allowed {allowed_warnings:.3f})": round(n_warned / days, 4),
    }
    record("alert-board", "red and yellow days of a quiet year, messy, 40 streams", measured, monitors, SECTION)
    full = monitors >= 100
    assert n_red <= allowed_red * days
    assert holds(n_warned, allowed_warnings * days, full), measured

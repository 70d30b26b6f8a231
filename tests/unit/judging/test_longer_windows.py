"""Windows with too few rows say which setting gives them enough."""

from __future__ import annotations

import numpy as np
import pytest

from metrics_py.multivariate.gauge import Gauge
from sightline.judging.longer_windows import longer_windows, with_fix


@pytest.mark.parametrize(
    ("schedule", "fix"),
    [
        ("hourly", "`schedule: daily` or `weekly` gives longer windows; a lower `drift.min_rows`"),
        ("daily", "`schedule: weekly` gives longer windows; a lower `drift.min_rows`"),
        ("weekly", "a lower `drift.min_rows`"),
    ],
)
def test_the_setting_is_that_of_the_schedule(make_spec, schedule: str, fix: str):
    spec = make_spec(schedule=schedule)
    assert longer_windows(spec).startswith(fix)
    gauge = Gauge(np.array([160.0, 0.0, 300.0]), 200, 1.0, "vectors")
    few, none, enough = with_fix(spec, gauge.stream("norm", *[np.ones(3)] * 3)).reason
    assert few == f"160 vectors in the window, 200 needed: {longer_windows(spec)}"
    assert none == "0 vectors in the window, 200 needed"
    assert enough is None

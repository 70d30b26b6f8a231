"""Metrics of the user's on the scale that evidence needs."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from sightline.judging.scales import on_scale, scales

RAW_VARIANCE = 0.01


def table(values: list[float | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "metric": ["m"] * len(values) + ["other"],
            "value": [*values, 0.0],
            "stabilised_value": [*values, 0.0],
            "variance": [None if v is None else RAW_VARIANCE for v in values] + [RAW_VARIANCE],
            "reason": ["3 rows, 20 needed" if v is None else None for v in values] + [None],
            "reason_code": ["too_few_rows" if v is None else None for v in values] + [None],
        },
        schema_overrides={
            **dict.fromkeys(("value", "stabilised_value"), pl.Float64),
            **dict.fromkeys(("reason", "reason_code"), pl.String),
        },
    )


@pytest.mark.parametrize(
    ("scale", "value", "outside"),
    [("log", 12.5, 0.0), ("log", 0.02, -3.0), ("logit", 0.3, 1.0), ("arcsine", 0.3, 1.2)],
)
def test_value_and_variance_are_those_of_the_delta_method(scale, value, outside):
    found = on_scale(table([value, outside, None]), {"m": scale})
    inside, beyond, unknown, other = found.to_dicts()
    functions = {"log": np.log, "logit": lambda x: np.log(x / (1 - x)), "arcsine": lambda x: np.arcsin(np.sqrt(x))}
    step = 1e-6
    slope = (functions[scale](value + step) - functions[scale](value - step)) / (2 * step)
    assert inside["stabilised_value"] == pytest.approx(functions[scale](value))
    assert inside["variance"] == pytest.approx(RAW_VARIANCE * slope**2, rel=1e-6)
    assert (inside["value"], inside["reason"]) == (value, None)
    assert (beyond["stabilised_value"], beyond["variance"]) == (None, None)
    assert beyond["reason"].startswith(f"the value {outside} is not ") and f"(scale: {scale})" in beyond["reason"]
    assert (unknown["stabilised_value"], unknown["reason"]) == (None, "3 rows, 20 needed")
    assert (other["stabilised_value"], other["variance"]) == (0.0, RAW_VARIANCE)


def test_the_edges_of_the_arcsine_scale_have_no_variance_and_are_no_nan():
    found = on_scale(table([0.0, 1.0]), {"m": "arcsine"}).filter(pl.col("metric") == "m")
    assert found["stabilised_value"].to_list() == pytest.approx([0, np.pi / 2])
    assert found["variance"].to_list() == [None, None]


def test_metrics_keep_their_own_scale_unless_the_monitor_says_otherwise(make_spec):
    spec = make_spec(
        metrics=[{"name": "revenue", "sql": "f_age", "scale": "log"}, {"name": "margin", "sql": "f_age"}],
        columns={"score": "p", "features": {"age": "numeric"}},
    )
    assert scales(spec) == {"revenue": "log"}

"""The scale on which the alert engine sees a metric of the user's: where its noise is about the same at every level."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from sightline.spec.model import MonitorSpec

DOMAINS = {"log": "above 0", "logit": "between 0 and 1", "arcsine": "from 0 to 1"}
"""Values that a scale is defined for; `identity` takes all."""


def scales(spec: MonitorSpec) -> dict[str, str]:
    """Scale by metric, of those that are not on their own."""
    return {metric.name: metric.scale for metric in spec.metrics if metric.scale != "identity"}


def on_scale(table: pl.DataFrame, scale_of: Mapping[str, str]) -> pl.DataFrame:
    """Put `stabilised_value` and `variance` of some metrics on their scale.

    Their `value` and interval stay as they are.

    Parameters
    ----------
    table : DataFrame
        At least ``metric, value, stabilised_value, variance, reason, reason_code``; both are on the identity scale. A
        null `stabilised_value` means that there is not enough for evidence.
    scale_of : mapping of metric to {'log', 'logit', 'arcsine'}
        Others are left alone.

    Returns
    -------
    DataFrame
        The variance is that of the delta method: divided by the squared derivative of the scale, which for ``arcsine``
        (of the square root) is ``4 x (1 - x)``. A value the scale is not defined for has no
        evidence, and the reason says so.
    """
    for metric, scale in scale_of.items():
        x = pl.col("stabilised_value")
        is_inside = {"log": x > 0, "logit": (x > 0) & (x < 1), "arcsine": (x >= 0) & (x <= 1)}[scale]
        scaled = {"log": x.log(), "logit": (x / (1 - x)).log(), "arcsine": x.sqrt().arcsin()}[scale]
        factor = {"log": x**-2, "logit": (x * (1 - x)) ** -2, "arcsine": (4 * x * (1 - x)) ** -1}[scale]
        variance = pl.col("variance") * factor
        own, known = pl.col("metric") == metric, x.is_not_null()
        text = pl.format("the value {} is not {} (scale: {})", x, pl.lit(DOMAINS[scale]), pl.lit(scale))
        table = table.with_columns(
            stabilised_value=pl.when(own & is_inside).then(scaled).when(own).then(None).otherwise(x),
            variance=pl.when(own & is_inside & variance.is_finite()).then(variance)
                .when(own).then(None).otherwise("variance"),
            reason=pl.when(own & known & ~is_inside).then(text).otherwise("reason"),
            reason_code=pl.when(own & known & ~is_inside).then(pl.lit("outside_scale")).otherwise("reason_code"),
        )  # fmt: skip
    return table

"""Why a number is missing, not trusted or out of bounds: codes that code decides by.

The sentence beside a code is for people.
"""

from __future__ import annotations

from typing import Literal

ReasonCode = Literal[
    "no_rows",
    "no_labels",
    "no_forecast",
    "no_value",
    "too_few_rows",
    "one_bucket",
    "no_spread",
    "heavy_tail",
    "binned",
    "undefined",
    "outside_scale",
    "metric_failed",
    "no_reference",
    "column_named_later",
    "not_comparable",
    "imprecise",
    "window_open",
    "labels_not_due",
    "warm_up",
    "holiday",
    "returned",
    "unclear",
    "drift",
    "usual",
    "constant",
    "beyond_reference",
    "no_predictions",
    "pause",
    "broken_contract",
    "too_many_missing",
]

MEANINGS: dict[ReasonCode, str] = {
    "no_rows": "no rows to compute it from",
    "no_labels": "no labelled rows",
    "no_forecast": "the labelled rows carry no score or prediction",
    "no_value": "nothing was measured",
    "too_few_rows": "fewer rows than are needed",
    "one_bucket": "all that matters stands in one bucket of entities: there is no interval",
    "no_spread": "the value is the same without each bucket of entities: there is no interval",
    "heavy_tail": "a few rows decide the value: there is no interval that holds",
    "binned": "computed from binned scores: the reason says how far off the value can be",
    "undefined": "the metric is undefined on these rows",
    "outside_scale": "the value lies outside the range of the metric's scale",
    "metric_failed": "the user's function or expression failed",
    "no_reference": "there is no reference to compare with",
    "column_named_later": "the frozen reference does not know the column",
    "not_comparable": "the window is too short for what is compared",
    "imprecise": "values that differ are one and the same as 64-bit floats",
    "window_open": "the window has not closed yet",
    "labels_not_due": "the labels are not due yet",
    "warm_up": "the alert engine does not know the stream's baseline yet",
    "holiday": "a listed day: it neither alarms nor teaches",
    "returned": "the stream moved back towards its reference",
    "unclear": "the interval holds the tolerance",
    "usual": "far from the whole reference, but no farther than its own windows lie from the rest of it",
    "drift": "the whole interval lies beyond the tolerance and what is usual",
    "constant": "a column that varied holds a single value",
    "beyond_reference": "beyond what the reference's windows show",
    "no_predictions": "a closed window without predictions",
    "pause": "no predictions on a listed day",
    "broken_contract": "values break the column's contract",
    "too_many_missing": "more values are missing than the rule allows",
}

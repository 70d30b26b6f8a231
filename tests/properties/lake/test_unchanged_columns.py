"""What is seen to need no conversion is what the conversion returns as it is."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_py.class_names import ClassNames, binary_classes, category_text, several_classes
from metrics_py.profile.values import category_texts, plainly_spelled, read_classes
from sightline.lake.intake.convert import LARGEST, convert

WORDS = st.sampled_from(
    ["2.0", "-7.00", "True", "False", "true", "02.0", "-0.0", "10", "100", "2.50", ".0", "0", "00", "1.000", "x.00", ""]
)
TEXTS = st.lists(st.none() | WORDS | st.text(alphabet="0.1-eTrux", max_size=6), max_size=12)
NUMBERS = st.lists(
    st.none()
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.sampled_from([LARGEST, -LARGEST, 1.1 * LARGEST, -1e200, 1e308, -1e308]),
    max_size=12,
)


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_categories(first: list[str | None], second: list[str | None]) -> None:
    n = max(len(first), len(second))
    frame = pl.DataFrame(
        {
            name: pl.Series(values + [None] * (n - len(values)), dtype=pl.String)
            for name, values in {"a*": first, "b": second}.items()
        }
    )
    plain = plainly_spelled(frame)
    for name in frame.columns:
        expected = [None if text is None else category_text(text) for text in frame[name].to_list()]
        assert category_texts(frame[name]).to_list() == expected
        if name in plain:
            assert expected == frame[name].to_list()


@settings(deadline=None)
@given(NUMBERS, st.sampled_from([pl.Float32, pl.Float64]))
def test_numbers(values: list[float | None], dtype: Any) -> None:
    raw = pl.Series("x", values, dtype=dtype, strict=False)
    found = convert(raw, "numeric")
    is_bad = [v is not None and (not math.isfinite(v) or abs(v) > LARGEST) for v in raw.to_list()]
    expected = [None if bad else v for v, bad in zip(raw.to_list(), is_bad, strict=True)]
    assert found.values.to_list() == expected
    told = dict(found.issues).get("not_finite")
    assert (told.to_list() if told is not None else [False] * len(raw)) == is_bad


@settings(deadline=None)
@given(
    st.lists(
        st.none() | st.sampled_from(["1", "0", "1.0", " 1", "yes", "nan", "", "setosa", "Setosa", "?"]), max_size=9
    ),
    st.sampled_from([binary_classes(1), binary_classes("setosa"), several_classes(["1", "setosa"]), several_classes()]),
)
def test_classes(texts: list[str | None], names: ClassNames) -> None:
    classes, missing, unknown = read_classes(pl.Series(texts, dtype=pl.String), names)
    expected = [None if text is None else names.read(text) for text in texts]
    gaps = [text is None or names.is_missing(text) for text in texts]
    assert classes.to_list() == expected
    assert missing.to_list() == gaps
    assert unknown.to_list() == [c is None and not gap for c, gap in zip(expected, gaps, strict=True)]

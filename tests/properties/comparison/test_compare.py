"""`compare` never raises on data, finds no drift of a table from itself, and does not depend on the order of rows."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from metrics_py import compare
from metrics_py.drift.rare_bins import MIN_EXPECTED, coarsen

PROFILE = settings(deadline=None, max_examples=200, derandomize=True)

CELLS = {
    pl.Float64: st.floats(allow_nan=True, allow_infinity=True),
    pl.Float32: st.floats(width=32, allow_nan=True),
    pl.Int64: st.integers(-(2**63), 2**63 - 1),
    pl.UInt8: st.integers(0, 255),
    pl.Boolean: st.booleans(),
    pl.String: st.text(max_size=5) | st.sampled_from(["a", "2026-01-01", "nan", "1.5", ""]),
    pl.Date: st.dates(),
    pl.Datetime("us"): st.datetimes(),
    pl.Duration("us"): st.timedeltas(min_value=timedelta(days=-1000), max_value=timedelta(days=1000)),
    pl.Binary: st.binary(max_size=3),
    pl.List(pl.Float64): st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3),
    pl.List(pl.String): st.lists(st.text(max_size=2), max_size=2),
    pl.Null: st.none(),
}


@st.composite
def columns(draw, dtype):
    """A column with repeated values and nulls."""
    some = draw(st.lists(CELLS[dtype] | st.none(), min_size=1, max_size=6))
    rows = draw(st.integers(0, 80))
    picks = np.random.default_rng(draw(st.integers(0, 999))).integers(0, len(some), rows)
    return pl.Series("x", [some[i] for i in picks], dtype=dtype)


@st.composite
def pairs(draw):
    old = draw(st.sampled_from(list(CELLS)))
    new = draw(st.sampled_from([old, old, *CELLS]))
    return draw(columns(old)), draw(columns(new))


@PROFILE
@given(pair=pairs())
def test_any_two_columns_can_be_compared(pair):
    old, new = pair
    result = compare(pl.DataFrame([old]), pl.DataFrame([new]))
    rows = result.to_dicts()
    assert rows
    assert json.loads(result.to_json()) == rows
    for row in rows:
        assert row["state"] in ("drift", "stable", "unclear", "insufficient_data")
        assert row["state"] != "insufficient_data" or row["reason"]
        if row["ci_low"] is not None:
            assert row["ci_low"] <= row["ci_high"]
        if row["p_value"] is not None:
            assert 0 <= row["p_value"] <= row["q_value"] <= 1


@PROFILE
@given(dtype=st.sampled_from(list(CELLS)), data=st.data())
def test_a_table_never_drifts_from_itself(dtype, data):
    table = pl.DataFrame([data.draw(columns(dtype))])
    result = compare(table, table)
    assert result.drifted == []
    psi = result.frame.filter(pl.col("metric") == "psi")["value"][0]
    assert psi is None or psi == 0


@PROFILE
@given(dtype=st.sampled_from(list(CELLS)), data=st.data())
def test_the_order_of_rows_does_not_matter(dtype, data):
    old, new = data.draw(columns(dtype)), data.draw(columns(dtype))
    first = compare(pl.DataFrame([old]), pl.DataFrame([new]))
    second = compare(pl.DataFrame([old.gather(list(range(old.len()))[::-1])]), pl.DataFrame([new.shuffle(seed=1)]))
    numbers = ["value", "effect", "ci_low", "ci_high", "p_value"]
    assert first.frame.drop(numbers, "q_value", "p_holm").equals(second.frame.drop(numbers, "q_value", "p_holm"))
    for name in numbers:
        a, b = (f.frame[name].cast(pl.Float64).to_numpy() for f in (first, second))
        assert_allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True)


@PROFILE
@given(
    reference=st.lists(st.integers(0, 300), min_size=1, max_size=40),
    seed=st.integers(0, 99),
    n=st.integers(0, 400),
    is_ordered=st.booleans(),
)
def test_coarse_bins_hold_all_rows(reference, seed, n, is_ordered):
    a = np.array([reference])
    b = np.random.default_rng(seed).multinomial(n, np.full(len(reference), 1 / len(reference)))[None]
    old, new = coarsen(a, b, is_ordered=is_ordered)
    assert (old.sum(), new.sum()) == (a.sum(), b.sum())
    told, joined = (a, old) if is_ordered else (a + b, old + new)  # by which it is told what is rare
    assert ((told == 0) <= (joined == 0)).all()
    filled = int((joined > 0).sum())
    assert filled == (told > 0).sum() or filled >= 2 or (told > 0).sum() < 2 or not n
    if n and a.sum():
        expected = joined / told.sum() * min(n, a.sum())
        assert filled <= 2 or (expected[joined > 0] >= MIN_EXPECTED - 1e-9).all()

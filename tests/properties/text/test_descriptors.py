"""Any text has descriptors within their ranges, and its own whatever its neighbours are."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_py.text.descriptors import DESCRIPTORS, describe

TEXTS = st.lists(st.none() | st.text(st.characters(codec="utf-8"), max_size=200), max_size=8)


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_any_texts_are_described(texts):
    series = pl.Series(texts, dtype=pl.String)
    found = describe(series, list(DESCRIPTORS))
    assert list(found) == list(DESCRIPTORS)
    for name, values in found.items():
        assert len(values) == len(texts)
        assert (values.is_null() | series.is_not_null()).all()
        if name.endswith("_share"):
            assert values.drop_nulls().is_between(0, 1).all()
        if name in ("characters", "words", "sentences"):
            assert (values.drop_nulls() >= 0).all()
        if DESCRIPTORS[name].kind == "numeric":
            assert values.drop_nulls().is_finite().all()
    assert found["characters"].to_list() == [None if text is None else float(len(text)) for text in texts]


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_a_text_is_described_alone_as_among_others(texts):
    together = pl.DataFrame(describe(pl.Series(texts, dtype=pl.String), list(DESCRIPTORS)))
    alone = [pl.DataFrame(describe(pl.Series([text], dtype=pl.String), list(DESCRIPTORS))) for text in texts]
    assert not texts or pl.concat(alone).equals(together)

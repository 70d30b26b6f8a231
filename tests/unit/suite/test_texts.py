"""Suites may bound descriptors of text columns by name."""

from __future__ import annotations

import polars as pl
import pytest

from metrics_py.suite.checks import Check, Suite, run_suite

OLD = pl.DataFrame({"review": ["a good item"] * 40 + ["write to me: jo@example.org"] * 10})
NEW = pl.DataFrame({"review": ["a good item and more of it"] * 40 + ["jo@example.org"] * 20})


def test_descriptors_are_checked_like_columns():
    suite = Suite(
        (
            Check("mean", ("review.words",), le=5),
            Check("null_rate", ("review.letter_share",), le=0.0),
            Check("psi", ("review.has_email",), le=0.2),
        )
    )
    rows = run_suite(suite, OLD, NEW).to_dicts()
    assert [row["status"] for row in rows] == ["fail", "pass", "pass"]
    assert rows[0]["value"] == pytest.approx((40 * 7 + 20 * 3) / 60)


def test_a_text_that_is_missing_is_no_pass():
    suite = Suite((Check("mean", ("review.words",), le=5),))
    [row] = run_suite(suite, OLD, NEW.rename({"review": "text"})).to_dicts()
    assert row["status"] != "pass"


def test_what_is_no_descriptor_is_refused():
    with pytest.raises(ValueError, match=r"review\.wrods"):
        run_suite(Suite((Check("mean", ("review.wrods",), le=5),)), OLD, NEW)

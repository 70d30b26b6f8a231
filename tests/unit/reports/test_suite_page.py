"""The outcome of a suite as one file: what failed first, the numbers of the JSON, names as text."""

from __future__ import annotations

import json
import re
from html import unescape

import numpy as np
import polars as pl
import pytest

import sightline
from metrics_py import Check, Suite
from sightline.dashboard.charts.chart import shown
from sightline.reports.suite import checks_of, suite_html

HOSTILE = '</script><img src=x onerror="alert(1)">'


@pytest.fixture(scope="module")
def tested():
    rng = np.random.default_rng(31)
    old = pl.DataFrame({"age": rng.normal(40, 10, 2000), HOSTILE: rng.choice(["a", "b"], 2000), "c": 1.0})
    new = old.with_columns(age=pl.Series(rng.normal(52, 10, 2000))).drop("c")
    suite = Suite(
        (
            Check("row_count", ge=1000),
            Check("null_rate", ("age", "c"), le=0.1),
            Check("psi", ("age",), le=0.1, judge="interval"),
            Check("mean", ("age",), absolute_tolerance=1.0, severity="warn"),
            Check("unseen_rate", (HOSTILE,), le=0.5),
        )
    )
    return sightline.test(suite, old, new)


def test_what_failed_comes_first_with_observed_and_bound(tested):
    rows = checks_of(tested)
    assert [(row["check"], row["word"]) for row in rows[:3]] == [
        ("psi(age)", "failed"),
        ("mean(age)", "failed (warns only)"),
        ("null_rate(c)", "not measured"),
    ]
    text = tested.to_html()
    assert "Of 6 checks 1 failed and 1 could not be measured" in text
    assert text.index("psi(age)") < text.index("mean(age)") < text.index("3 checks passed")
    assert "age, % of rows" in text and "1 of the columns above have no picture" in text


def test_the_page_has_the_numbers_of_the_json(tested):
    text = unescape(re.sub(r"<script.*?</script>", "", tested.to_html(), flags=re.S))
    for row in json.loads(tested.to_json()):
        line = next(each for each in re.findall(r"<tr>.*?</tr>", text, re.S) if f'row">{row["check"]}<' in each)
        assert f">{shown(row['value'])}<" in line
        for name in ("ci_low", "ci_high") if row["status"] != "pass" else ():
            assert row[name] is None or shown(row[name]) in line


def test_names_are_text_in_every_output(tested):
    for text in (tested.to_html(), tested._repr_html_(), tested.to_markdown()):
        assert HOSTILE not in text and "<img src=x" not in text
    assert (
        "alert\\(1"
        in sightline.test(
            Suite((Check("null_rate", (HOSTILE,), le=0.0),)), {HOSTILE: ["a"]}, {HOSTILE: [None]}
        ).to_markdown()
    )


def test_a_suite_that_passes_says_so():
    table = {"x": [1.0, 2.0, 3.0]}
    tested = sightline.test(Suite((Check("row_count", ge=1),)), table, table)
    assert "All checks passed" in suite_html(tested, tested.bins) and "All checks passed" in tested.to_markdown()


def test_an_allowed_range_is_drawn_to_the_scale_of_its_bounds(tested):
    row = next(row for row in checks_of(tested) if row["check"] == "psi(age)")
    allowed = re.search(r'<rect x="0.0" y="6" width="([\d.]+)"', row["picture"])
    value = re.search(r'circle cx="([\d.]+)"', row["picture"])
    low, high = min(row["bound_high"], row["ci_low"]), max(row["bound_high"], row["ci_high"])
    first, last = low - 0.12 * (high - low), high + 0.12 * (high - low)
    assert float(allowed[1]) == pytest.approx(260 * (row["bound_high"] - first) / (last - first), abs=0.1)
    assert float(value[1]) == pytest.approx(260 * (row["value"] - first) / (last - first), abs=0.1)

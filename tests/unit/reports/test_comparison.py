"""A comparison as one file: what moved first, everything inside, nothing that runs but our own scripts."""

from __future__ import annotations

import base64
import re
from hashlib import sha256
from html import unescape

import numpy as np
import polars as pl
import pytest

from metrics_py import compare
from sightline.reports.comparison import comparison_html

HOSTILE = '</script><script>alert("x")</script>'


def tables(seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    rng = np.random.default_rng(seed)

    def make(n: int, shift: float) -> pl.DataFrame:
        columns = {"age": rng.normal(40 + shift, 10, n), "height": rng.normal(170, 9, n)}
        return pl.DataFrame({**columns, HOSTILE: rng.choice(["a", HOSTILE], n)})

    return make(3000, 0.0), make(2000, 6.0)


@pytest.fixture(scope="module")
def found():
    return compare(*tables(3))


def test_bins_hold_every_row_of_both_tables(found):
    sums = found.bins.group_by("column").agg(pl.col("n_reference", "n_current").sum()).sort("column")
    assert sums["n_reference"].to_list() == [3000] * 3 and sums["n_current"].to_list() == [2000] * 3


def test_bins_hold_every_row_of_both_tables_with_groups():
    old, new = tables(4)
    groups = {"country": pl.Series(["DE", "FR"] * 1500)}, {"country": pl.Series(["DE", "FR"] * 1000)}
    result = compare(old.with_columns(**groups[0]), new.with_columns(**groups[1]), by="country")
    sums = result.bins.group_by("column").agg(pl.col("n_reference", "n_current").sum())
    assert set(sums["n_reference"]) == {3000} and set(sums["n_current"]) == {2000}


def test_what_moved_comes_first_and_in_words(found):
    text = comparison_html(found)
    assert "1 of 3 columns drifted" in text and re.search(r"age: higher by 0\.[56]\d sd", text)
    assert re.findall(r'<h2>(\w+) <span class="badge (\w+)">(\w+)', text)[0] == ("age", "bad", "drift")
    assert text.index("age, % of rows") < text.index("columns without drift") < text.index("height, % of rows")


def test_names_are_text_and_only_own_scripts_run(found):
    text = comparison_html(found, reference=HOSTILE)
    assert HOSTILE not in text
    policy = unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1])
    named = set(re.findall(r"'sha256-([^']+)'", policy))
    scripts = re.findall(r"<script>(.*?)</script>", text, re.S)
    styles = re.findall(r"<style>(.*?)</style>", text, re.S)
    held = {base64.b64encode(sha256(each.encode()).digest()).decode() for each in (*scripts, *styles)}
    assert len(scripts) == 3 and held == named
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert not re.search(r'(?:src|href)="(?!data:,)', re.sub(r"<script>.*?</script>", "", text, flags=re.S))


def test_a_quiet_comparison_says_so():
    old, _ = tables(5)
    text = comparison_html(compare(old, old.sample(2000, seed=1)))
    assert "No column drifted" in text


def test_a_missing_column_and_an_empty_one_have_a_reason():
    old, new = tables(6)
    nothing = pl.lit(None, pl.Float64)
    text = comparison_html(compare(old.with_columns(gone=1.0, none=nothing), new.with_columns(none=nothing)))
    assert "gone" in text and "none" in text

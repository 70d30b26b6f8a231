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
from sightline.reports.comparison import MOST_ROWS, columns_of, comparison_html

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
    sums = result.bins.filter(segment="all").group_by("column").agg(pl.col("n_reference", "n_current").sum())
    assert set(sums["n_reference"]) == {3000} and set(sums["n_current"]) == {2000}


def test_what_moved_comes_first_and_in_words(found):
    text = comparison_html(found)
    assert "1 of 3 columns drifted" in text and re.search(r"age</a>: higher by 0\.[56]\d sd", text)
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
    assert not re.search(r'(?:src|href)="(?!data:,|#)', re.sub(r"<script>.*?</script>", "", text, flags=re.S))


def test_a_quiet_comparison_says_so():
    old, _ = tables(5)
    text = comparison_html(compare(old, old.sample(2000, seed=1)))
    assert "No column drifted" in text


def test_a_missing_column_and_an_empty_one_have_a_reason():
    old, new = tables(6)
    nothing = pl.lit(None, pl.Float64)
    text = comparison_html(compare(old.with_columns(gone=1.0, none=nothing), new.with_columns(none=nothing)))
    assert "gone" in text and "none" in text


@pytest.fixture(scope="module")
def by_country():
    rng = np.random.default_rng(21)
    rows = {"DE": 1500, "FR": 1500, "small": 10}

    def make(moved: str) -> pl.DataFrame:
        parts = [
            pl.DataFrame({"country": [name] * n, "age": rng.normal(40 + 20 * (name == moved), 10, n)})
            for name, n in rows.items()
        ]
        return pl.concat(parts)

    return compare(make(""), make("FR"), by="country")


def test_segments_that_moved_have_a_picture_of_their_own(by_country):
    own = by_country.bins.filter(column="age")
    assert own["segment"].unique(maintain_order=True).to_list() == ["all", "country=FR"]
    of_fr = own.filter(segment="country=FR")
    assert (of_fr["n_reference"].sum(), of_fr["n_current"].sum()) == (1500, 1500)
    text = comparison_html(by_country)
    assert "1 of 1 columns drifted in at least one segment" in text
    assert "country=FR: higher by" in text and "(other segments: 1 not enough data, 1 stable)" in text
    assert "age, % of rows, country=FR" in text and "the farthest 1 of 1 that are not stable" in text


def test_what_is_farthest_in_its_own_tolerances_comes_first():
    rng = np.random.default_rng(22)
    old = pl.DataFrame({"a": rng.normal(0, 1, 3000), "b": rng.normal(0, 1, 3000)})
    gone = pl.Series(rng.random(3000) < 0.9)
    new = pl.DataFrame({"a": rng.normal(0.6, 1, 3000), "b": rng.normal(0, 1, 3000)}).with_columns(
        b=pl.when(gone).then(None).otherwise("b")
    )
    result = compare(old.with_columns(c=1.5), new)
    assert [row["column"] for row in columns_of(result)] == ["c", "b", "a"]  # missing column, 18 times 5 %, 3 times .1
    assert "the column is missing in the current table" in columns_of(result)[0]["what"]


def test_what_is_left_out_of_a_table_is_counted():
    rng = np.random.default_rng(23)
    old = pl.DataFrame({"s": [f"s{k:02d}" for k in range(40)] * 60, "x": rng.normal(0, 1, 2400)})
    new = old.with_columns(x=pl.Series(rng.normal(1.5, 1, 2400)))
    result = compare(old, new, by="s")
    text = comparison_html(result)
    assert len(result.frame) > MOST_ROWS
    assert f"{MOST_ROWS} of {len(result.frame)} rows shown" in text
    assert result.bins["segment"].n_unique() == 31


def test_few_rows_are_no_change_that_is_not_visible():
    rng = np.random.default_rng(24)
    result = compare({"x": rng.normal(0, 1, 60)}, {"x": rng.normal(0, 1, 60)}, metrics=["psi"])
    assert result.state == "unclear"
    assert columns_of(result)[0]["what"].startswith("too few rows to tell: psi lies between")

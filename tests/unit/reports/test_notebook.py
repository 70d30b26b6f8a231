"""What `sightline.compare` and `sightline.test` return: shown in a cell, saved by ending, the same everywhere."""

from __future__ import annotations

import json
import re
from html import unescape
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from IPython.core.formatters import DisplayFormatter

import sightline
from metrics_py import compare
from sightline.dashboard.charts.chart import shown
from sightline.errors import SightlineError
from sightline.reports.share_bars import MOST_BARS, share_bars

HOSTILE = "</td><script>alert('x')</script> | `a`"


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(41)
    old = {"age": rng.normal(40, 10, 2000), HOSTILE: rng.choice([HOSTILE, "b"], 2000), "z": rng.normal(0, 1, 2000)}
    new = {**old, "age": rng.normal(47, 10, 2000), "z": rng.normal(0, 1, 2000)}
    return old, new


@pytest.fixture(scope="module")
def compared(tables):
    return sightline.compare(*tables)


def test_it_is_the_comparison_of_the_library(tables, compared):
    assert compared.to_dicts() == compare(*tables).to_dicts()
    assert str(compared) == str(compare(*tables)) and compared.drifted == ["age"]


def test_a_cell_has_a_picture_and_runs_nothing(compared):
    text = compared._repr_html_()
    assert "1 of 3 columns drifted" in text and text.count("<svg") == 3
    root = ElementTree.fromstring(text)
    assert {each.tag.rpartition("}")[2] for each in root.iter()} <= {
        "div", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "svg", "g", "title", "rect",
    }  # fmt: skip
    attributes = {name for each in root.iter() for name in each.attrib}
    assert not [name for name in attributes if name.startswith("on") or name in ("href", "src")]
    assert HOSTILE in "".join(root.itertext())


def test_ipython_takes_it_for_html(compared):
    formatter = DisplayFormatter()
    shapes, _ = formatter.format(compared)
    assert "1 of 3 columns drifted" in shapes["text/html"] and "3 columns compared" in shapes["text/plain"]


def test_a_picture_shows_shares_of_both():
    svg = share_bars(["a", "b"], [300, 100], [50, 50], "x: <b>")
    root = ElementTree.fromstring(svg)
    tall = [float(each.get("height")) for each in root.iter() if each.tag.endswith("rect")]
    assert tall == pytest.approx([60, 40, 20, 40], abs=0.1)
    assert root.get("aria-label") == "x: <b>"
    assert share_bars(["a"], [0], [0], "none") == ""
    many = share_bars([str(k) for k in range(90)], [5] * 90, [5] * 90, "many")
    assert many.count("<g>") == MOST_BARS


def test_every_output_has_the_same_numbers(compared, tmp_path):
    files = [compared.save(tmp_path / f"found.{ending}") for ending in ("html", "md", "json", "parquet")]
    records = json.loads(files[2].read_text(encoding="utf-8"))
    assert records == pl.read_parquet(files[3]).to_dicts() == compared.to_dicts()
    page = unescape(re.sub(r"<script.*?</script>", "", files[0].read_text(encoding="utf-8"), flags=re.S))
    sections = dict(re.findall(r'id="column-\d+"><h2>(.*?) <span(.*?)</section>', page, re.S))
    for row in records:
        line = next(
            each for each in re.findall(r"<tr>.*?</tr>", sections[row["column"]], re.S) if row["metric"] in each
        )
        wanted = [row["value"], row["effect"], row["ci_low"], row["ci_high"], row["tolerance"]]
        assert all(shown(number) in line for number in wanted)
    summary = files[1].read_text(encoding="utf-8")
    direction = next(row["direction"] for row in records if row["column"] == "age")
    assert "**1 of 3 columns drifted**" in summary and direction.split(";")[0] in summary


def test_markdown_holds_no_markup_of_the_data():
    old, new = {HOSTILE: ["a"] * 200}, {HOSTILE: ["b"] * 200}
    text = sightline.compare(old, new).to_markdown()
    assert "<script>" not in text and "\\| \\`a\\`" in text


def test_an_unknown_ending_and_a_table_without_rows_are_told(compared, tables, tmp_path):
    with pytest.raises(SightlineError, match=r"no format of a report"):
        compared.save(tmp_path / "found.pdf")
    empty = tmp_path / "empty.csv"
    empty.write_text("age\n", encoding="utf-8")
    with pytest.raises(SightlineError, match=r"the current table has no rows"):
        sightline.compare({"age": [1.0] * 50}, empty)

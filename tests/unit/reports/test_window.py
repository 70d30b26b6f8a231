"""The report of a window: the same numbers in every format, names as text, old ones forgotten."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from html import unescape

import polars as pl
import pytest

import sightline
from sightline.dashboard.charts.chart import shown
from sightline.errors import SightlineError
from sightline.reports.window import outputs
from sightline.reports.window.collect import collect, said_of
from sightline.results.judgements import read_judgements
from sightline.spec.evaluation_sections import Report
from sightline.spec.loader import find_monitor
from tests.support.published import HOSTILE, World, make_published


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return make_published(tmp_path_factory.mktemp("window") / "home")


@pytest.fixture(scope="module")
def newest(world):
    return collect(world.home, "churn")


def test_the_newest_window_is_told_with_its_incident_and_its_provisional_quality(world, newest):
    facts = newest.facts
    assert facts["window"] == f"{world.day(59):%Y-%m-%d}" == facts["newest_window"]
    [incident] = facts["incidents"]
    assert (incident["incident_id"], incident["is_open"]) == (world.incident, True)
    assert incident["since"] == f"{world.day(46):%Y-%m-%d}" and "age" in incident["what"]
    assert incident["todo"][0].startswith(f"sightline acknowledge churn {world.incident}")
    assert facts["health"]["level"] == "bad" and "age" in facts["health"]["reasons"][0]
    first = facts["quality"][0]
    assert (first["metric"], first["stage"], first["realised"]["value"]) == ("roc_auc", "provisional", 0.61)
    assert facts["newest_final"]["window"] == f"{world.day(58):%Y-%m-%d}"
    assert facts["labels"]["labelled_rate"] == 0.5
    assert facts["not_judged"][0]["reason"] == "too few"


def test_drift_is_sorted_by_what_matters(newest):
    assert [(row["column"], row["status"]) for row in newest.facts["drift"]] == [("age", "warn"), (HOSTILE, "ok")]
    assert newest.facts["drift"][0]["times_tolerance"] == pytest.approx(4.0)


def test_a_window_before_the_incident_knows_nothing_of_it(world):
    facts = collect(world.home, "churn", f"{world.day(20):%Y-%m-%d}").facts
    assert facts["incidents"] == [] and facts["drift"][0]["status"] == "ok"
    assert facts["quality"][0]["stage"] == "final"
    assert facts["newest_final"]["window"] == facts["window"]


def test_every_format_has_the_same_numbers(world, newest):
    page = outputs.to_html(newest)
    inside = re.search(r'<script type="application/json" id="report">(.*?)</script>', page, re.S)
    assert json.loads(inside[1]) == json.loads(outputs.to_json(newest)) == newest.facts
    text = unescape(re.sub(r"<script.*?</script>", "", page, flags=re.S))
    for row in newest.facts["drift"]:
        assert f">{shown(row['value'])}<" in text and f">{shown(row['times_tolerance'], 3)}<" in text
    quality = newest.facts["quality"][0]["realised"]
    assert f">{shown(quality['value'])}<" in text and f">{shown(quality['naive_value'])}<" in text
    assert f"{shown(quality['ci_low'])} to {shown(quality['ci_high'])}" in text
    summary = outputs.to_markdown(newest)
    assert "1 of 2 columns beyond tolerance: age" in summary and "(provisional: labels are still coming)" in summary
    rows = pl.read_parquet(outputs.to_parquet(newest))
    published = read_judgements(world.home.monitor("churn"), start=world.day(59), end=world.day(60), segment=None)
    assert rows.height == published.height > 0
    assert set(rows["value"].drop_nulls()) == set(published["value"].drop_nulls())


def test_names_are_text_in_every_format(newest):
    cell = outputs.Report(newest)._repr_html_()
    for text in (outputs.to_html(newest), outputs.to_markdown(newest), cell):
        assert HOSTILE not in text
    assert "<script" not in cell and "<b>leaves" not in outputs.to_html(newest)


def test_the_function_of_a_notebook_saves_by_ending(world, tmp_path):
    found = sightline.report(world.home.root, "churn")
    assert str(found).startswith("**▲ churn")
    for ending in ("html", "md", "json", "parquet"):
        assert found.save(tmp_path / f"r.{ending}").stat().st_size > 100
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8")) == found.facts
    with pytest.raises(ValueError, match="no format of a report"):
        found.save(tmp_path / "r.pdf")


@pytest.mark.parametrize(
    ("monitor", "window", "told"),
    [
        ("churn", "yesterday", "names no window"),
        ("churn", "2001-01-01", "nothing has been judged of the window 2001-01-01"),
        ("nobody", None, "there is no monitor 'nobody'"),
    ],
)
def test_what_is_not_there_is_told(world, monitor, window, told):
    with pytest.raises(SightlineError, match=told):
        collect(world.home, monitor, window)


def test_old_reports_are_forgotten_and_other_files_stay(world):
    paths, spec = world.home.monitor("churn"), find_monitor(world.home, "churn")
    spec = spec.model_copy(update={"report": Report(keep=timedelta(days=10))})
    folder = outputs.folder_of(paths)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "notes.html").write_text("mine", encoding="utf-8")
    for k in (30, 50, 59):
        found = collect(world.home, "churn", f"{world.day(k):%Y-%m-%d}")
        file = outputs.publish(paths, spec, found)
        assert file.exists()
    kept = sorted(file.stem for file in folder.glob("*.html"))
    assert kept == sorted([f"{world.day(50):%Y-%m-%d}", f"{world.day(59):%Y-%m-%d}", "notes"])


def test_weights_of_inputs_change_the_order(world, newest):
    from sightline.reports.window import collect as module

    rows = newest.rows.filter(asset="drift", segment="all", model_version="all").drop("asset")
    rows = rows.with_columns(status=pl.lit("warn"))
    spec = newest.subject.spec
    plain = module._drift(rows, spec, [])
    weighed = module._drift(rows, spec.model_copy(update={"importance": {HOSTILE: 1.0}}), [])
    assert plain[0]["column"] == "age"
    ratio = plain[1]["times_tolerance"] / plain[0]["times_tolerance"]
    assert [row["column"] for row in weighed] == ([HOSTILE, "age"] if ratio > 0.05 else ["age", HOSTILE])
    assert weighed[1]["weight"] < weighed[0]["weight"]


def test_the_windows_own_selection_is_one_window(newest):
    own = newest.in_window.selection
    assert (own.start, own.end) == (newest.start, newest.end)
    assert own == replace(newest.subject.selection, start=newest.start, end=newest.end)


def test_what_checks_say_of_many_windows_at_once_is_what_they_say_of_each(world):
    spec = find_monitor(world.home, "churn")
    keys = [spec.key(world.day(k)) for k in (50, 51, 59)]
    together = said_of(spec, world.home, keys)
    assert [len(rows) > 5 for rows in together.values()] == [True] * 3
    assert together == {key: said_of(spec, world.home, [key])[key] for key in keys}
    facts = [collect(world.home, "churn", keys[1], said=said).facts["checks"] for said in (None, together)]
    assert facts[0] == facts[1] != []

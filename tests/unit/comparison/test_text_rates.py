"""Unknown words and copies in `compare` and in suites: the numbers of the daily check, and intervals that hold."""

from __future__ import annotations

import json
from io import BytesIO

import numpy as np
import polars as pl
import pytest

from metrics_py.comparison import text_rates as module
from metrics_py.comparison.text_rates import rate_of_copies, text_rates
from metrics_py.suite.checks import Check, Suite, run_suite
from metrics_py.suite.draft import draft_suite
from metrics_py.text.window_texts import RATES, fit_texts, text_streams
from metrics_py.text.word_counts import read_texts
from sightline.reports.files import parquet_bytes
from sightline.reports.notebook import compare
from tests.support.bursty_texts import draw_texts

WORDS = [f"word{i}" for i in range(300)]


def texts(seed: int, n: int) -> list[str]:
    rng = np.random.default_rng([71, seed])
    return [" ".join(rng.choice(WORDS, 12)) for _ in range(n)]


def changed(how: str) -> list[str]:
    rng = np.random.default_rng([72, 0])
    now = texts(1, 300)
    if how == "unknown":
        return [f"{text} {' '.join(f'new{rng.integers(10**9)}' for _ in range(4))}" for text in now]
    if how == "copies":
        return [*now[:200], *(f" {text.upper()}" for text in now[:100])]
    if how == "near":
        long = " ".join(rng.choice(WORDS, 100))
        return [*now[:200], *(f"{long} {word}" for word in WORDS[:100])]
    return [*now[:150], *texts(0, 600)[100:250]] if how == "replayed" else now


CHANGES = {
    "none": (None, 0.0),
    "unknown": ("unknown_word_share", 4 / 16),
    "copies": ("duplicate_text_rate", 100 / 300),
    "near": ("near_duplicate_text_rate", 99 / 300),
    "replayed": ("reference_copy_rate", 150 / 300),
}


def rows_of(result) -> dict[str, dict]:
    return {row["metric"]: row for row in result.to_dicts() if row["column"] == "note" and row["metric"] in RATES}


@pytest.mark.parametrize("how", CHANGES)
def test_each_change_is_told_by_its_rate(how: str):
    metric, value = CHANGES[how]
    result = compare({"note": texts(0, 600)}, {"note": changed(how)})
    rows = rows_of(result)
    assert set(rows) == set(RATES)
    assert {name for name, row in rows.items() if row["state"] not in ("stable", "unclear")} == {metric} - {None}
    if metric:
        told = (None, module.OVERLAP) if metric == "reference_copy_rate" else ("drift", None)
        assert (rows[metric]["state"], rows[metric]["reason"]) == told
    for name, row in rows.items():
        assert row["ci_low"] <= row["effect"] <= row["ci_high"]
        assert (row["direction"] != "no visible change") == (name == metric)
    if metric:
        assert rows[metric]["value"] == pytest.approx(value, abs=1e-9)


def test_the_values_are_those_of_the_daily_check():
    old, new = draw_texts(np.random.default_rng(731), 400, mean=30), pl.Series([*changed("copies"), "w1 w2 w3", "?"])
    counts, marks = read_texts(old)
    model = fit_texts([], [counts], [marks], old)
    streams = text_streams(model, ["d"], [model.window(*read_texts(new, model.vocabulary.knows))])
    daily = {stream.statistic: float(stream.display[0]) for stream in streams if stream.statistic in RATES}
    found = text_rates(old, new, 30)
    assert not isinstance(found, str)
    assert {rate.metric: rate.value for rate in found} == pytest.approx(daily)


def test_every_form_of_the_output_has_them():
    result = compare({"note": texts(0, 600)}, {"note": changed("copies")})
    assert {row["metric"] for row in json.loads(result.to_json())} >= set(RATES)
    assert set(pl.read_parquet(BytesIO(parquet_bytes(result.frame)))["metric"]) >= set(RATES)
    for shown in (result.to_text(), result.to_markdown(), result.to_html()):
        assert "33 % repeat an earlier text, 0 % of as many texts of the reference" in shown
    assert all(metric in result.to_html() for metric in RATES)


def test_texts_of_one_law_are_no_drift_and_their_unknown_words_are_usual():
    """Bursty words with a long tail: a tenth of the words of fresh texts is unknown without any change."""
    rng = np.random.default_rng(732)
    inside = 0
    for _ in range(12):
        found = text_rates(draw_texts(rng, 150, mean=20), draw_texts(rng, 150, mean=20), 30)
        assert not isinstance(found, str)
        assert found[0].value > 0.1
        inside += found[0].ci_low < 0 < found[0].ci_high
        assert all(rate.ci_low < 0.05 and rate.ci_high > -0.05 for rate in found)
    assert inside >= 10  # of 12: usual is asked of a reference that lacks a tenth, so a little more is unknown


def test_the_interval_of_copies_holds_in_nearly_all_draws():
    """Texts drawn from 400: how many repeat is chance, and the same on both sides."""
    pool = read_texts(pl.Series(texts(2, 400)))[1]
    rng = np.random.default_rng(733)
    drawn = [[pool[rng.integers(0, 400, 150)] for _ in range(2)] for _ in range(200)]
    found = [rate_of_copies("duplicate_text_rate", *pair) for pair in drawn]
    assert np.mean([rate.value for rate in found]) == pytest.approx(
        1 - 400 * (1 - (1 - 1 / 400) ** 150) / 150, abs=0.01
    )
    assert np.mean([rate.ci_low < 0 < rate.ci_high for rate in found]) >= 0.95


def test_more_texts_with_more_copies_are_no_drift():
    """By chance, and sent twice: a table of another size has another rate of the one, and the same of the other."""
    pool = read_texts(pl.Series(texts(2, 400)))[1]
    rng = np.random.default_rng(734)
    small, large = (pool[rng.integers(0, 400, n)] for n in (100, 1_000))
    for pair in ((small, large), (large, small)):
        by_chance = rate_of_copies("duplicate_text_rate", *pair)
        assert by_chance.ci_low < 0 < by_chance.ci_high
    twice = pool[np.repeat(np.arange(400), 2)]
    resent = rate_of_copies("duplicate_text_rate", twice, twice[np.arange(100)])
    assert (resent.value, resent.usual) == (0.5, 0.5)
    assert resent.ci_low < 0 < resent.ci_high


def test_texts_of_entities_have_no_verdict():
    table = {"note": texts(0, 600), "author": [f"a{i // 3}" for i in range(600)]}
    now = {"note": changed("copies"), "author": [f"b{i // 3}" for i in range(300)]}
    for row in rows_of(compare(table, now, entity="author")).values():
        assert (row["state"], row["ci_low"], row["reason"]) == (None, None, module.OF_AN_ENTITY)


@pytest.mark.parametrize(("n_old", "n_new", "told"), [(40, 300, "40 reference"), (600, 40, "40 current")])
def test_few_texts_have_no_rate(n_old: int, n_new: int, told: str):
    row = rows_of(compare({"note": texts(0, n_old)}, {"note": texts(1, n_new)}))["unknown_word_share"]
    assert (row["state"], row["value"]) == ("insufficient_data", None)
    assert row["reason"] == f"{told} texts with words, 50 needed"


def test_a_draw_of_the_texts_has_no_rate_of_copies(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST_COPIES", 500)
    rows = rows_of(compare({"note": texts(0, 600)}, {"note": changed("unknown")}))
    assert rows["unknown_word_share"]["state"] == "drift" and rows["unknown_word_share"]["n_reference"] == 500
    for name in ("duplicate_text_rate", "near_duplicate_text_rate"):
        assert (rows[name]["state"], rows[name]["value"]) == ("insufficient_data", None)


def test_suites_bound_them():
    old = {"note": texts(0, 600)}
    bounds = (
        Check("unknown_word_share", ("note",), le=0.1),
        Check("duplicate_text_rate", ("note",), absolute_tolerance=0.05, judge="interval"),
        Check("near_duplicate_text_rate", ("note",), le=0.1),
        Check("reference_copy_rate", ("note",), le=0.1),
    )
    for how, (metric, value) in CHANGES.items():
        found = {row["metric"]: row for row in run_suite(Suite(bounds), old, {"note": changed(how)}).to_dicts()}
        assert {name for name, row in found.items() if row["status"] == "fail"} == {metric} - {None}
        if metric:
            assert found[metric]["value"] == pytest.approx(value)
            assert found[metric]["ci_low"] < value < found[metric]["ci_high"]
    few = run_suite(Suite(bounds[:1]), old, {"note": texts(1, 20)}).to_dicts()[0]
    assert (few["status"], few["reason"]) == ("insufficient_data", "20 current texts with words, 50 needed")


def test_a_drafted_suite_bounds_unknown_words_and_copies():
    old = pl.DataFrame({"note": texts(0, 600)})
    suite = draft_suite(old)
    assert {check.metric for check in suite.checks} >= {"unknown_word_share", "duplicate_text_rate"}
    assert set(run_suite(suite, old, old).frame["status"]) == {"pass"}
    for how in ("unknown", "copies"):
        failed = run_suite(suite, old, pl.DataFrame({"note": changed(how)})).frame.filter(status="fail")
        assert CHANGES[how][0] in set(failed["metric"])

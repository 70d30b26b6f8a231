"""`compare`: its numbers, the peers' known failures, groups, entities, options and their mistakes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from scipy import stats

from metrics_py import compare, registry
from metrics_py.comparison.result import SCHEMA
from metrics_py.drift import binned_distances
from metrics_py.multiple_testing import benjamini_hochberg, holm
from tests.support.comparison import frame, states


def test_the_result_is_tidy():
    result = compare(frame(seed=1), frame(seed=2, shift=0.5))
    assert result.frame.schema == SCHEMA
    needed = {
        "column", "metric", "value", "p_value", "effect", "ci_low", "ci_high", "state", "n_reference", "n_current",
    }  # fmt: skip
    assert needed <= set(result.frame.columns)
    assert json.loads(result.to_json()) == result.to_dicts()
    row = result.frame.row(by_predicate=(pl.col("column") == "age") & (pl.col("metric") == "psi"), named=True)
    assert row["ci_low"] < row["effect"] < row["ci_high"]
    assert row["ci_low"] > row["tolerance"] == 0.1
    assert row["direction"].startswith("higher by 0.")
    assert row["p_value"] <= row["q_value"] <= row["p_holm"] < 1e-9
    assert "4 columns compared" in repr(result)
    assert result.state == "drift"
    assert compare(frame(seed=1), frame(seed=2), metrics=["psi"]).state == "stable"


# The measured failures of other tools: each must come out right here.


def test_one_outlier_does_not_hide_a_shift_nor_make_one():
    rng = np.random.default_rng(5)
    old, shifted, same = rng.normal(size=20_000), rng.normal(1, 1, 20_000), rng.normal(size=20_000)
    with_outlier = np.append(shifted, 1e6)
    psi = [compare({"x": old}, {"x": new}, metrics=["psi"]).frame["value"][0] for new in (shifted, with_outlier)]
    assert psi[0] > 0.9
    assert abs(psi[1] / psi[0] - 1) < 0.01
    assert compare({"x": old}, {"x": np.append(same, 1e6)}).drifted == []


def test_a_heavy_tail_is_measured_exactly():
    rng = np.random.default_rng(6)
    old, new = (np.exp(5 * rng.normal(mu, 1, 20_000)) for mu in (0, 0.2))
    result = compare({"x": old}, {"x": new}, metrics=["ks"]).to_dicts()[0]
    assert result["value"] == pytest.approx(stats.ks_2samp(old, new).statistic, abs=1e-12)
    assert compare({"x": old}, {"x": new}, metrics=["psi"]).frame["value"][0] == pytest.approx(0.04, abs=0.02)


def test_missing_values_are_a_change_of_their_own():
    old = frame()
    new = frame(seed=2).with_columns(
        age=pl.when(pl.int_range(pl.len()) % 4 == 0).then(pl.col("age")), visits=pl.lit(float("nan"))
    )
    found = states(compare(old, new))
    assert found["age", "null_rate"] == "drift"
    assert found["age", "psi"] == "stable"
    assert found["visits", "not_finite_rate"] == "drift"
    assert found["visits", "psi"] == "insufficient_data"


def test_a_small_scale_hides_nothing():
    rng = np.random.default_rng(7)
    result = compare({"x": rng.normal(0, 1e-5, 1000)}, {"x": rng.normal(5e-5, 1e-5, 1000)})
    assert result.drifted == ["x"]
    assert result.frame.filter(metric="psi")["direction"][0].startswith("higher by")


def test_high_cardinality_does_not_drift_by_itself():
    rng = np.random.default_rng(8)
    old, new = ([f"user {u}" for u in rng.zipf(1.3, 5000) % 5000] for _ in range(2))
    found = states(compare({"user": old}, {"user": new}))
    assert found["user", "psi"] == "stable"
    assert found["user", "unseen_rate"] == "stable"
    invaded = states(compare({"user": old}, {"user": ["bot"] * 1500 + new[1500:]}))
    assert invaded["user", "unseen_rate"] == "drift"


def test_few_rows_are_unclear_not_stable():
    rng = np.random.default_rng(9)
    few = {"x": rng.normal(size=1000)}, {"x": rng.normal(0.3, 1, size=60)}
    assert compare(*few, metrics=["psi"]).state == "unclear"
    tiny = compare({"x": rng.normal(size=1000)}, {"x": rng.normal(9, 1, size=29)}, metrics=["psi"]).to_dicts()[0]
    assert (tiny["state"], tiny["reason"]) == ("insufficient_data", "29 current values, 30 needed")
    empty = compare({"x": rng.normal(size=1000)}, {"x": []}, metrics=["psi"]).to_dicts()[0]
    assert (empty["state"], empty["reason"]) == ("insufficient_data", "no current values")


# Options


@pytest.mark.parametrize("name", registry.names("drift"))
def test_every_registered_drift_metric_can_be_asked_for(name):
    result = compare(frame(400, seed=1), frame(300, seed=2, shift=1.0), metrics=[name])
    rows = [row for row in result.to_dicts() if row["value"] is not None]
    assert rows, f"{name} gave no number on any column"
    assert {row["metric"] for row in rows} == {name}
    assert all(row["state"] in ("drift", "stable", "unclear", None) for row in rows)
    assert all(row["reason"] for row in rows if row["state"] is None)


@pytest.mark.parametrize(
    "name", ["psi", "kl_divergence", "js_divergence", "js_distance", "hellinger", "ks", "welch_t", "mann_whitney"]
)
def test_metrics_agree_on_a_large_shift_and_on_none(name):
    rng = np.random.default_rng(10)
    old, same, shifted = rng.normal(size=20_000), rng.normal(size=20_000), rng.normal(0.8, 1, 20_000)
    assert compare({"x": old}, {"x": shifted}, metrics=[name]).state == "drift"
    assert compare({"x": old}, {"x": same}, metrics=[name]).state == "stable"


def test_values_are_those_of_the_library():
    old, new = frame(seed=1), frame(seed=2, shift=0.3)
    found = {
        row["metric"]: row
        for row in compare(old, new, metrics=["psi", "js_distance", "chi_square"], columns=["plan"]).to_dicts()
    }
    counts = [[int((f["plan"] == p).sum()) for p in ("free", "paid", "team")] for f in (old, new)]
    assert found["psi"]["value"] == pytest.approx(float(binned_distances.psi([*counts[0], 0], [*counts[1], 0])))
    assert found["js_distance"]["value"] == pytest.approx(float(binned_distances.js_distance(*counts)))
    table = stats.chi2_contingency(np.array(counts), correction=False)
    assert (found["chi_square"]["value"], found["chi_square"]["p_value"]) == pytest.approx(
        (table.statistic, table.pvalue)
    )


def test_by_compares_like_with_like():
    rng = np.random.default_rng(11)
    region = np.repeat(["north", "south", "west"], 2000)
    level = np.repeat([0.0, 3.0, 6.0], 2000)
    old = pl.DataFrame({"region": region, "x": rng.normal(level, 1)})
    new = pl.DataFrame({"region": region, "x": rng.normal(level + np.repeat([0, 1, 0], 2000), 1)}).filter(
        pl.col("region") != "west"
    )
    rows = {row["segment"]: row for row in compare(old, new, by="region", metrics=["psi"]).to_dicts()}
    assert {name: row["state"] for name, row in rows.items()} == {
        "region=north": "stable", "region=south": "drift", "region=west": "insufficient_data",
    }  # fmt: skip
    assert rows["region=west"]["reason"] == "no current values"
    assert rows["region=south"]["n_reference"] == 2000


def test_by_a_column_that_the_reference_lacks_compares_with_all_of_it():
    day = np.repeat(["2026-01-01", "2026-01-02"], 1000)
    old, new = frame(seed=1), frame(seed=2).with_columns(day=pl.Series(day))
    new = new.with_columns(age=pl.when(pl.col("day") == "2026-01-02").then(pl.col("age") + 9).otherwise("age"))
    result = compare(old, new, by="day", columns=["age"], metrics=["psi", "ks"])
    rows = {(row["segment"], row["metric"]): row for row in result.to_dicts()}
    assert rows["day=2026-01-01", "psi"]["state"] == "stable"
    assert rows["day=2026-01-02", "psi"]["state"] == "drift"
    single = compare(old, new.filter(day="2026-01-02"), columns=["age"], metrics=["psi", "ks"]).to_dicts()
    for row in single:
        assert rows["day=2026-01-02", row["metric"]]["value"] == row["value"]
        assert rows["day=2026-01-02", row["metric"]]["n_reference"] == 2000


def test_entities_widen_the_interval():
    rng = np.random.default_rng(12)
    user = np.repeat(np.arange(300), 20)

    def table():
        return pl.DataFrame(
            {
                "user": user,
                "x": rng.normal(size=300)[user] + 0.1 * rng.normal(size=6000),
                "flag": (rng.random(300) < 0.5)[user],
            }
        )

    old, new = table(), table()
    single = {
        (r["column"], r["metric"]): r for r in compare(old, new, metrics=["psi"], columns=["x", "flag"]).to_dicts()
    }
    together = {
        (r["column"], r["metric"]): r
        for r in compare(old, new, metrics=["psi", "ks"], columns=["x", "flag"], entity="user").to_dicts()
    }
    for column in ("x", "flag"):
        a, b = single[column, "psi"], together[column, "psi"]
        assert a["value"] == b["value"]
        assert b["p_value"] > a["p_value"]
        assert b["ci_low"] <= a["ci_low"]
    assert single["x", "psi"]["p_value"] < 1e-6
    assert together["x", "psi"]["p_value"] > 1e-3
    assert "does not use the entity" in together["x", "ks"]["reason"]
    few = compare(
        old.with_columns(user=pl.col("user") % 2), new.with_columns(user=1), entity="user", metrics=["psi"]
    ).to_dicts()[0]
    assert (few["state"], few["p_value"]) == ("insufficient_data", None)


def test_tolerance_decides():
    old, new = frame(seed=1), frame(seed=2, shift=0.25)
    assert compare(old, new, columns=["age"], metrics=["psi"], tolerance=0.02).state == "drift"
    assert compare(old, new, columns=["age"], metrics=["psi"], tolerance=0.5).state == "stable"
    found = {
        r["metric"]: r
        for r in compare(old, new, columns=["age"], metrics=["psi", "ks"], tolerance={"ks": 0.01}).to_dicts()
    }
    assert found["ks"]["tolerance"] == 0.01
    assert found["psi"]["tolerance"] == 0.1


def test_kinds_can_be_told():
    old, new = frame(seed=1), frame(seed=2)
    assert compare(old, new, columns=["visits"]).frame["kind"][0] == "numeric"
    found = compare(old, new, columns=["visits"], kinds={"visits": "categorical"})
    assert set(found.frame["metric"]) == {"psi", "null_rate", "unseen_rate"}
    assert found.frame["kind"][0] == "categorical"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["kss"]}, "did you mean 'ks'"),
        ({"columns": ["ages"]}, "did you mean 'age'"),
        ({"by": "nope"}, "by: there is no column 'nope'"),
        ({"by": "age"}, "at most 1000 are judged"),
        ({"entity": "nope"}, "entity: there is no column 'nope'"),
        ({"tolerance": 0}, "must be positive"),
        ({"tolerance": {"kss": 0.1}}, "did you mean 'ks'"),
        ({"kinds": {"age": "number"}}, "kind 'number' is unknown"),
        ({"kinds": {"agee": "numeric"}}, "did you mean 'age'"),
        ({"kinds": {"age": "text"}}, "cannot be read as text"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        compare(frame(), frame(), **options)


def test_q_values_match_scipy():
    p = np.random.default_rng(13).random(50) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p))
    order = np.argsort(p)
    expected = np.minimum(np.maximum.accumulate(p[order] * np.arange(50, 0, -1)), 1)
    np.testing.assert_allclose(holm(p)[order], expected)
    assert len(benjamini_hochberg([])) == len(holm([])) == 0


def test_long_columns_are_binned_from_a_part_but_counted_whole():
    rng = np.random.default_rng(14)
    x = rng.normal(size=300_000)
    row = compare({"x": x}, {"x": np.append(x, [99.0, -99.0])}).frame.filter(metric="out_of_range_rate")
    assert row["value"][0] == pytest.approx(2 / 300_002)
    psi = compare({"x": x}, {"x": x}, metrics=["psi"]).to_dicts()[0]
    assert (psi["value"], psi["n_reference"]) == (0.0, 300_000)


def test_an_adjusted_p_value_is_never_below_the_p_value():
    p = np.random.default_rng(3).random((200, 3))
    assert all((benjamini_hochberg(row) >= row).all() and (holm(row) >= row).all() for row in p)


def test_a_small_reference_does_not_know_the_unseen_share_well():
    rng = np.random.default_rng(21)
    surprised = 0
    for _ in range(60):
        old, new = ({"x": rng.zipf(1.5, rows).astype(str)} for rows in (300, 20_000))
        surprised += compare(old, new, metrics=["unseen_rate"]).frame["ci_low"][0] > 0
    assert surprised <= 6  # the share that is expected is an estimate: taken for the truth it gives 24


@pytest.mark.parametrize("users", [10**9, 1000, 300])
@pytest.mark.parametrize("rows", [50, 200, 2000])
def test_identifiers_do_not_drift_by_themselves(users, rows):
    rng = np.random.default_rng(users + rows)
    drifted = 0
    for _ in range(20):
        old, new = ({"id": [f"u{u}" for u in rng.integers(0, users, rows)]} for _ in range(2))
        drifted += bool(compare(old, new, metrics=["psi", "unseen_rate"]).drifted)
    assert drifted <= 2
    names = [f"u{u}" for u in rng.integers(0, 10, rows)]
    assert compare({"id": names}, {"id": ["u1"] * rows}, metrics=["psi"]).drifted == ["id"]


def test_names_may_stand_alone_and_a_tolerance_is_a_number():
    table = {"abc": [1.0, 2.0] * 50, "b": [1.0, 2.0] * 50}
    assert compare(table, table, metrics="psi", columns="abc").frame.height == 1
    with pytest.raises(TypeError, match="tolerance 'a' of psi is no number"):
        compare(table, table, tolerance="a")


def test_an_infinite_odds_ratio_is_no_lack_of_data():
    row = compare({"x": [True, False] * 50}, {"x": [True] * 100}, metrics=["fisher_exact"]).to_dicts()[0]
    assert (row["value"], row["state"]) == (None, "drift")
    assert row["effect"] == 0.5


def test_a_number_without_a_verdict_hides_no_verdict_of_its_column_in_the_headline():
    values = pl.DataFrame({"x": np.random.default_rng(12).normal(size=5000)})
    found = compare(values, values, metrics=["psi", "wasserstein_scaled"])
    assert found.to_text().splitlines()[0] == "1 column compared, 5,000 reference and 5,000 current rows: 1 stable"
    assert "nothing to judge" in compare(values, values, metrics=["wasserstein_scaled"]).to_text().splitlines()[0]


def hours(start, n, seed=5, hours=24):
    rng = np.random.default_rng(seed)
    return pl.Series([start + timedelta(minutes=int(x)) for x in rng.integers(0, 60 * hours, n)])


def test_times_are_compared_only_where_they_cover_the_week_evenly():
    """A day has no weekend: against a month the hours of its week always differ, whatever the data are like."""
    month = {"at": hours(datetime(2026, 1, 1), 6000, hours=24 * 31)}
    for length, is_judged in ((24, False), (24 * 7, True), (24 * 10, False), (24 * 14, True), (24 * 45, True)):
        result = compare(month, {"at": hours(datetime(2026, 2, 2), 3000, hours=length)}, metrics=["psi", "null_rate"])
        row, nulls = result.to_dicts()
        assert row["state"] == ("stable" if is_judged else "insufficient_data"), length
        assert (row["reason"] is None) == is_judged
        assert nulls["state"] == "stable"
        assert is_judged or nulls["direction"] == "no visible change"
    weekdays = hours(datetime(2026, 2, 2), 6000, hours=24 * 28)
    weekdays = weekdays.filter(weekdays.dt.weekday() < 6)
    assert compare(month, {"at": weekdays}).state == "drift"


def test_dates_of_seven_days_are_a_week():
    days = pl.Series([datetime(2026, 1, 5) + timedelta(days=i % 7) for i in range(700)]).cast(pl.Date)
    assert compare({"d": days}, {"d": days}, metrics=["psi"]).state == "stable"
    assert compare({"d": days}, {"d": days.filter(days.dt.day() < 10)}, metrics=["psi"]).state == "unclear"


def test_identifiers_have_no_distribution_to_drift():
    old, new = (
        frame().with_columns(order_id=np.arange(2000)),
        frame(seed=2).with_columns(order_id=np.arange(2000) + 5000),
    )
    result = compare(old, new)
    assert result.state == "stable"
    row = result.frame.filter(column="order_id", metric="psi").to_dicts()[0]
    assert row["state"] is None
    assert "an identifier" in row["reason"]
    assert compare(old, new, kinds={"order_id": "numeric"}).drifted == ["order_id"]
    assert compare(old, new.with_columns(order_id=7)).drifted == ["order_id"]
    assert compare({"x": range(2000)}, {"x": range(5000, 7000)}).drifted == ["x"]  # not called one


def test_a_column_of_another_spelling_is_named():
    rows = compare({"Age": [1.0] * 50}, {"age ": [1.0] * 50}).to_dicts()
    assert rows[0]["reason"] == "the column is missing in the current table; it has 'age '"
    assert rows[1]["reason"] == "the reference does not have this column; it has 'Age'"


def test_the_table_folds_what_is_stable_and_fits_the_line():
    old, new = frame().with_columns(order_id=np.arange(2000)), frame(seed=2).with_columns(order_id=np.arange(2000))
    result = compare(old, new.with_columns(pl.col("age") + 8))
    lines = result.to_text().splitlines()
    assert [line.split()[0] for line in lines[2:-1]] == ["age", "order_id", "visits", "plan", "active"]
    assert lines[-1].startswith("... and ") and lines[-1].endswith(" more stable rows")
    assert len(result.to_text(max_rows=None).splitlines()) == result.frame.height + 2
    narrow = result.to_text(width=80).splitlines()
    assert max(map(len, narrow[1:])) <= 80
    assert any(line.startswith("    higher by 0.") for line in narrow)
    wide = pl.DataFrame({f"column_{i}": np.random.default_rng(i).normal(size=200) for i in range(60)})
    text = compare(wide, wide).to_text().splitlines()
    assert len(text) == 43  # summary, header, 40 columns, what is left


def test_a_metric_of_ones_own_that_fails_is_told_in_its_row():
    @registry.metric(name="broken_gap", task="drift", needs="values")
    def broken_gap(reference, current):
        """Gap."""
        raise KeyError("no such key")

    @registry.metric(name="texty_gap", task="drift", needs="values")
    def texty_gap(reference, current):
        """Gap."""
        return "wide"

    try:
        rows = compare(frame(), frame(seed=2), metrics=["broken_gap", "psi", "texty_gap"], columns=["age"]).to_dicts()
    finally:
        for name in ("broken_gap", "texty_gap"):
            registry._entries.pop(("drift", name))
    assert [row["state"] for row in rows] == ["insufficient_data", "stable", "insufficient_data"]
    assert re.fullmatch(r"the metric failed: KeyError in line \d+ of test_compare.py", rows[0]["reason"])
    assert rows[2]["reason"].startswith("the metric failed: ValueError in line ") and "wide" not in rows[2]["reason"]


PROBE = """
from metrics_py.registry import metric
try:
    metric(name="psi", task="drift", needs="bins")(lambda a, b: 0.0)
except ValueError as error:
    print(error)
from metrics_py import compare
print(compare({"x": [1.0] * 500}, {"x": [1.0] * 500}).state)
"""


def test_a_built_in_name_is_taken_whichever_is_imported_first():
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == [
        "metric 'psi': the name is taken by metrics_py.drift.binned_distances.psi for task drift; choose another one",
        "stable",
    ]


@pytest.mark.parametrize("limits", [None, (0,), "ab c"])
def test_a_range_is_a_pair(limits):
    with pytest.raises(ValueError, match=r"is no pair; give \(low, high\)"):
        registry.metric(name="odd_range", task="custom", needs="rows", range=limits)(lambda rows: 1.0)


def test_intervals_of_shares_stay_within_one():
    row = compare(frame(), frame().with_columns(pl.col("age") + 1000)).frame.filter(
        metric="out_of_range_rate", column="age"
    )
    assert row["ci_high"].item() <= 1


@pytest.mark.parametrize("decimals", [0, 1, 2, None])
@pytest.mark.parametrize("change", ["float32", "moved", "other order"])
def test_the_last_digits_of_a_float_are_no_drift(decimals, change):
    rng = np.random.default_rng(71)
    values = rng.normal(5, 2, 4000)
    values = values if decimals is None else np.round(values, decimals)
    same = {
        "float32": values.astype(np.float32), "moved": values + 1e-9, "other order": (values * 3 + 0.1 - 0.1) / 3
    }[change]  # fmt: skip
    result = compare({"x": values}, {"x": same}, metrics=["psi", "ks", "wasserstein_scaled", "out_of_range_rate"])
    rows = {row["metric"]: row for row in result.to_dicts()}
    assert rows["psi"]["value"] == pytest.approx(0, abs=1e-12 if decimals is not None else 1e-4)
    assert rows["ks"]["value"] <= (0 if decimals is not None else 1 / 4000)
    assert rows["wasserstein_scaled"]["value"] == pytest.approx(0, abs=1e-7)
    assert rows["out_of_range_rate"]["value"] <= (0 if decimals is not None else 1 / 4000)
    assert rows["psi"]["state"] == "stable"
    assert rows["psi"]["direction"] == "no visible change"


def test_half_precision_has_its_own_resolution():
    values = np.round(np.random.default_rng(72).normal(5, 2, 4000), 1)
    row = compare({"x": values}, {"x": values.astype(np.float16)}, metrics=["psi"]).to_dicts()[0]
    assert (row["value"], row["state"]) == (0, "stable")


def test_values_that_the_reference_tells_apart_stay_apart():
    rng = np.random.default_rng(73)
    old = 1.7e9 + rng.choice([0.0, 1.0, 2.0], 3000)
    row = compare({"x": old}, {"x": old + 1}, metrics=["psi"]).to_dicts()[0]
    assert row["state"] == "drift"
    same = compare({"x": old}, {"x": old.copy()}, metrics=["psi"]).to_dicts()[0]
    assert (same["value"], same["state"]) == (0, "stable")


@pytest.mark.parametrize("kind", ["integer", "decimal", "csv"])
def test_whole_numbers_that_doubles_cannot_tell_apart_are_never_stable(kind, tmp_path):
    rng = np.random.default_rng(74)
    old = [10**18 + 2 * int(k) for k in rng.integers(0, 50, 2000)]
    new = [value + int(k) for value, k in zip(old, rng.integers(0, 2, 2000), strict=True)]
    if kind == "csv":
        for name, values in (("old", old), ("new", new)):
            (tmp_path / f"{name}.csv").write_text("x\n" + "\n".join(map(str, values)) + "\n")
        sides = [tmp_path / "old.csv", tmp_path / "new.csv"]
    else:
        dtype = pl.Int64 if kind == "integer" else pl.Decimal(38, 2)
        sides = [pl.DataFrame({"x": pl.Series(values).cast(dtype)}) for values in (old, new)]
    row = compare(*sides, metrics=["psi"]).to_dicts()[0]
    assert row["state"] == "insufficient_data"
    assert row["reason"].startswith("values that differ are one and the same as 64-bit floats")
    rows = compare(*sides, metrics=["unseen_rate"], kinds={"x": "categorical"}).to_dicts()
    assert rows[0]["value"] == pytest.approx(0.5, abs=0.05)
    assert rows[0]["state"] == "drift"


def test_large_numbers_that_stay_apart_are_compared():
    rng = np.random.default_rng(75)
    nanoseconds = 1_760_000_000_000_000_000 + rng.integers(0, 10**15, 3000)
    row = compare({"t": nanoseconds[:1500]}, {"t": nanoseconds[1500:]}, metrics=["psi"]).to_dicts()[0]
    assert row["state"] in ("stable", "unclear")
    assert "64-bit" not in (row["reason"] or "")

"""`compare`: every kind of table and column, the peers' known failures, options and their mistakes."""

from __future__ import annotations

import datetime as dt
import decimal
import json

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import stats

from metrics_py import compare, registry
from metrics_py.comparison_result import SCHEMA, benjamini_hochberg, holm
from metrics_py.distances import binned


def frame(n=2000, seed=1, shift=0.0):
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "age": rng.normal(40 + 10 * shift, 10, n),
            "visits": rng.poisson(3, n),
            "plan": rng.choice(["free", "paid", "team"], n, p=[0.6 - shift / 4, 0.3 + shift / 4, 0.1]),
            "active": rng.random(n) < 0.7,
        }
    )


def states(result):
    return {(row["column"], row["metric"]): row["state"] for row in result.to_dicts()}


SOURCES = {
    "polars": lambda f, _: f,
    "lazy": lambda f, _: f.lazy(),
    "pandas": lambda f, _: f.to_pandas(),
    "arrow table": lambda f, _: f.to_arrow(),
    "record batch": lambda f, _: f.to_arrow().combine_chunks().to_batches()[0],
    "duckdb": lambda f, _: duckdb.connect().from_arrow(f.to_arrow()),
    "mapping": lambda f, _: f.to_dict(as_series=False),
    "parquet": lambda f, folder: (f.write_parquet(folder / "t.parquet"), folder / "t.parquet")[1],
    "csv": lambda f, folder: (f.write_csv(folder / "t.csv"), str(folder / "t.csv"))[1],
    "ndjson": lambda f, folder: (f.write_ndjson(folder / "t.ndjson"), str(folder / "t.ndjson"))[1],
    "jsonl": lambda f, folder: (f.write_ndjson(folder / "t.jsonl"), str(folder / "t.jsonl"))[1],
    "glob": lambda f, folder: (
        f.head(700).write_parquet(folder / "p1.parquet"),
        f.slice(700).write_parquet(folder / "p2.parquet"),
        str(folder / "p*.parquet"),
    )[2],
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_kind_of_table_gives_the_same_result(source, tmp_path):
    reference, current = frame(seed=1), frame(seed=2, shift=0.5)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    make = SOURCES[source]
    found = compare(make(reference, tmp_path / "a"), make(current, tmp_path / "b"))
    expected = compare(reference, current)
    assert found.frame.drop("value", "effect", "ci_low", "ci_high", "p_value", "q_value", "p_holm").equals(
        expected.frame.drop("value", "effect", "ci_low", "ci_high", "p_value", "q_value", "p_holm")
    )
    np.testing.assert_allclose(found.frame["value"].to_numpy(), expected.frame["value"].to_numpy(), rtol=1e-9)
    assert (found.n_reference, found.n_current) == (2000, 2000)
    assert found.drifted == ["age"]
    assert states(found)["visits", "psi"] == "stable"


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


def typed(n=400):
    rng = np.random.default_rng(3)
    minutes = [int(m) for m in rng.integers(0, 60_000, n)]
    start = dt.datetime(2026, 1, 1)
    return pl.DataFrame(
        {
            "u8": pl.Series(rng.integers(0, 200, n), dtype=pl.UInt8),
            "u64": pl.Series(rng.integers(0, 200, n), dtype=pl.UInt64),
            "i16 with nulls": pl.Series([None if m % 7 == 0 else m % 5 for m in minutes], dtype=pl.Int16),
            "f32": pl.Series(rng.normal(size=n), dtype=pl.Float32),
            "decimal": [decimal.Decimal(m) / 100 for m in minutes],
            "boolean": rng.random(n) < 0.4,
            "dictionary": pl.Series(rng.choice(["a", "b"], n), dtype=pl.Categorical),
            "enum": pl.Series(rng.choice(["a", "b"], n), dtype=pl.Enum(["a", "b"])),
            "naive": [start + dt.timedelta(minutes=m) for m in minutes],
            "zoned": pl.Series([start + dt.timedelta(minutes=m) for m in minutes]).dt.replace_time_zone("Asia/Tokyo"),
            "date": [start.date() + dt.timedelta(days=m % 90) for m in minutes],
            "iso text": [(start + dt.timedelta(minutes=m)).isoformat() for m in minutes],
            "duration": [dt.timedelta(seconds=m) for m in minutes],
            "time": [dt.time(m % 24) for m in minutes],
            "long text": [f"a sentence with some number {m} and then another one {m * 17 % 1009}" for m in minutes],
            "list": [[float(m % 5), 1.0] for m in minutes],
            "array": pl.Series(rng.normal(size=(n, 4)), dtype=pl.Array(pl.Float32, 4)),
            "nan": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
            "infinite": np.where(rng.random(n) < 0.2, np.inf, rng.normal(size=n)),
            "constant": [5] * n,
            "all null": pl.Series([None] * n, dtype=pl.Float64),
            "null type": pl.Series([None] * n, dtype=pl.Null),
            "identifier": [f"id-{m}-{i}" for i, m in enumerate(minutes)],
            "": rng.normal(size=n),
            "struct": [{"a": 1}] * n,
            "binary": [b"x"] * n,
            "list of text": [["a"]] * n,
        }
    )


KINDS = {
    "u8": "numeric", "u64": "numeric", "i16 with nulls": "numeric", "f32": "numeric", "decimal": "numeric",
    "boolean": "boolean", "dictionary": "categorical", "enum": "categorical", "naive": "datetime", "zoned": "datetime",
    "date": "datetime", "iso text": "datetime", "duration": "numeric", "time": "numeric", "long text": "text",
    "list": "embedding", "array": "embedding", "nan": "numeric", "infinite": "numeric", "constant": "numeric",
    "all null": "numeric", "null type": "categorical", "identifier": "categorical", "": "numeric",
}  # fmt: skip


def test_every_type_has_a_defined_treatment_and_none_stops_the_others():
    result = compare(typed(), typed())
    kinds = dict(result.frame.select("column", "kind").unique().rows())
    assert {name: kinds[name] for name in KINDS} == KINDS
    psi = {row["column"]: row for row in result.to_dicts() if row["metric"] == "psi"}
    assert psi["identifier"]["reason"] == "the values hardly repeat: their shares cannot be compared"
    for name in set(KINDS) - {"all null", "null type", "identifier"}:
        assert psi[name]["value"] == 0, name
        assert psi[name]["state"] in ("stable", "unclear"), name
    for name in ("all null", "null type"):
        assert (psi[name]["state"], psi[name]["reason"]) == ("insufficient_data", "no reference values")
        assert states(result)[name, "null_rate"] == "stable"
    for name in ("struct", "binary", "list of text"):
        assert psi[name]["state"] == "insufficient_data"
        assert "cannot be judged" in psi[name]["reason"]
    assert result.drifted == []


def test_columns_that_come_go_or_change_their_type():
    reference = frame().with_columns(gone=1, code=pl.lit(7))
    current = frame(seed=2).with_columns(new=1, code=pl.lit("seven"))
    rows = {row["column"]: row for row in compare(reference, current, metrics=["psi"]).to_dicts()}
    assert (rows["gone"]["state"], rows["gone"]["reason"]) == ("drift", "the column is missing in the current table")
    assert rows["code"]["state"] == "drift"
    assert "type has changed" in rows["code"]["reason"]
    assert (rows["new"]["state"], rows["new"]["reason"]) == (
        "insufficient_data",
        "the reference does not have this column",
    )
    assert rows["age"]["state"] == "stable"


def test_pandas_columns_of_its_own_kinds():
    n = 300
    mixed = pd.DataFrame(
        {
            "mixed": [1, "a", None] * (n // 3),
            "nullable": pd.array([1, None, 3] * (n // 3), dtype="Int64"),
            "category": pd.Categorical(["x", "y", "z"] * (n // 3)),
            "zoned": pd.date_range("2026-01-01", periods=n, freq="h", tz="Europe/Berlin"),
            7: range(n),
        },
        index=range(100, 100 + n),
    )
    rows = {row["column"]: row for row in compare(mixed, mixed, metrics=["psi"]).to_dicts()}
    assert rows["mixed"]["state"] == "insufficient_data"
    assert rows["mixed"]["reason"].startswith("cannot be read")
    assert [rows[c]["kind"] for c in ("nullable", "category", "zoned", "7")] == [
        "numeric", "categorical", "datetime", "numeric",
    ]  # fmt: skip


# The measured failures of other tools (shared in the design notes): each must come out right here.


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
    assert found["psi"]["value"] == pytest.approx(float(binned.psi([*counts[0], 0], [*counts[1], 0])))
    assert found["js_distance"]["value"] == pytest.approx(float(binned.js_distance(*counts)))
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


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (5, TypeError, "reference: a int is no table"),
        ("nope.parquet", ValueError, "nope.parquet does not exist"),
        (pa.array([1, 2]), TypeError, "is no table|without a name"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, "'a' occurs twice"),
        ({"a": [1, 2], "b": [1]}, ValueError, "differ in length"),
    ],
)
def test_what_is_no_table_is_refused(source, error, message):
    with pytest.raises(error, match=message):
        compare(source, frame())


def test_broken_files_are_named(tmp_path):
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(ValueError, match=r"current: .*broken\.parquet cannot be read"):
        compare(frame(), tmp_path / "broken.parquet")
    (tmp_path / "table.xlsx").write_bytes(b"")
    with pytest.raises(ValueError, match=r"\.xlsx"):
        compare(tmp_path / "table.xlsx", frame())


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


def test_column_names_are_kept_and_never_repeated():
    table = {"": [1.0, 2.0] * 50, 'n "x"\n': [1, 2] * 50, "segment": ["a"] * 100}
    assert set(compare(table, table).frame["column"]) == set(table)
    twice = pa.table([[1] * 50, [2] * 50], names=["a", "a"])
    for source in (twice, duckdb.sql("select 1 as a, 2 as A1, 3 as a from range(50)").to_arrow_table()):
        with pytest.raises(ValueError, match="'a' occurs twice; rename"):
            compare({"a": [1]}, source)


def test_a_type_that_polars_cannot_hold_stops_no_other_column():
    wide = pa.array([decimal.Decimal(1)] * 50, type=pa.decimal256(50, 2))
    table = pa.table({"wide": wide, "x": list(range(50))})
    rows = {row["column"]: row for row in compare(table, table, metrics=["psi"]).to_dicts()}
    assert rows["x"]["state"] == "stable"
    assert rows["wide"]["reason"].startswith("cannot be read")
    sparse = pd.DataFrame({"x": pd.arrays.SparseArray([0, 0, 1] * 50), "z": np.arange(150) * 1j})
    rows = {row["column"]: row for row in compare(sparse, sparse, metrics=["psi"]).to_dicts()}
    assert rows["x"]["state"] == "stable"
    assert rows["z"]["reason"].endswith("cast the column to numbers, texts or times")


def test_groups_are_named_alike_on_both_sides():
    x = [1.0, 2.0] * 100
    whole, floats = {"x": x, "g": [1, 2] * 100}, {"x": x, "g": [1.0, 2.0] * 100}
    found = compare(whole, floats, by="g", metrics=["psi"]).frame
    assert found["segment"].to_list() == ["g=1", "g=2"]
    assert found["n_reference"].to_list() == found["n_current"].to_list() == [100, 100]
    for option in ("by", "entity"):
        with pytest.raises(ValueError, match=f"{option}: the column 'g' of type List"):
            compare({"x": x}, {"x": x, "g": [[1], [2]] * 100}, **{option: "g"})
    with pytest.raises(ValueError, match="no rows"):
        compare({"x": x}, pl.DataFrame(schema={"x": pl.Float64, "g": pl.String}), by="g")


def test_names_may_stand_alone_and_a_tolerance_is_a_number():
    table = {"abc": [1.0, 2.0] * 50, "b": [1.0, 2.0] * 50}
    assert compare(table, table, metrics="psi", columns="abc").frame.height == 1
    with pytest.raises(TypeError, match="tolerance 'a' of psi is no number"):
        compare(table, table, tolerance="a")


def test_files_with_different_columns_and_types_are_one_table(tmp_path):
    x = np.linspace(0, 1, 60)
    pl.DataFrame({"x": x, "y": x, "z": x}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"y": pl.Series(x, dtype=pl.Float32), "z": [[1.0]] * 60, "w": x}).write_parquet(tmp_path / "b.parquet")
    whole = pl.DataFrame({"x": [*x, *[None] * 60], "y": [*x, *x], "z": [*x, *x], "w": [*[None] * 60, *x]})
    rows = {(r["column"], r["metric"]): r for r in compare(whole, str(tmp_path / "*.parquet")).to_dicts()}
    assert rows["y", "psi"]["value"] < 0.01
    assert rows["x", "null_rate"]["value"] == rows["w", "null_rate"]["value"] == 0.5
    assert rows["z", "psi"]["state"] == "insufficient_data"
    assert rows["z", "psi"]["reason"].startswith("the files do not agree on its type: Float64, List(Float64)")
    assert rows["y", "psi"]["n_current"] == 120


def test_what_is_wrong_with_a_file_is_told(tmp_path):
    for name, text, words in (
        ("twice.csv", "a,a\n1,2\n", "'a' occurs twice"),
        ("ragged.csv", "a,b\n1,2,3\n", "as many in every line"),
        ("array.json", '[{"a": 1}]', "one JSON object per line"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=words):
            compare(tmp_path / name, {"a": [1]})
    with pytest.raises(ValueError, match=r"is a folder; name its files"):
        compare(tmp_path, {"a": [1]})
    (tmp_path / "oops.csv").write_text("x\n" + "1.5\n" * 40 + "oops\n")
    row = compare({"x": [1.5] * 40}, tmp_path / "oops.csv").to_dicts()[0]
    assert row["state"] == "drift"
    assert "1 of them no number, such as 'oops'" in row["reason"]


def test_an_infinite_odds_ratio_is_no_lack_of_data():
    row = compare({"x": [True, False] * 50}, {"x": [True] * 100}, metrics=["fisher_exact"]).to_dicts()[0]
    assert (row["value"], row["state"]) == (None, "drift")
    assert row["effect"] == 0.5


def test_a_blank_category_is_named():
    row = compare({"x": ["a", ""] * 50}, {"x": ["a"] * 100}, metrics=["psi"]).to_dicts()[0]
    assert row["direction"] == "(blank) 50 % -> 0 %; a 50 % -> 100 %"


def test_a_number_without_a_verdict_hides_no_verdict_of_its_column_in_the_headline():
    values = pl.DataFrame({"x": np.random.default_rng(12).normal(size=5000)})
    found = compare(values, values, metrics=["psi", "wasserstein_scaled"])
    assert found.to_text().splitlines()[0] == "1 column compared, 5,000 reference and 5,000 current rows: 1 stable"
    assert "nothing to judge" in compare(values, values, metrics=["wasserstein_scaled"]).to_text().splitlines()[0]

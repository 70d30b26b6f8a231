"""`compare`: every kind of table, file and column, and what is wrong with them."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from metrics_py import compare
from metrics_py.comparison.folders import HIVE_NULL
from metrics_py.comparison.tables import read_table
from tests.support.comparison import frame, states

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


def test_column_names_are_kept_and_never_repeated():
    table = {"": [1.0, 2.0] * 50, 'n "x"\n': [1, 2] * 50, "segment": ["a"] * 100}
    assert set(compare(table, table).frame["column"]) == set(table)
    twice = pa.table([[1] * 50, [2] * 50], names=["a", "a"])
    for source in (twice, duckdb.sql("select 1 as a, 2 as A1, 3 as a from range(50)").to_arrow_table()):
        with pytest.raises(ValueError, match="'a' occurs twice; rename"):
            compare({"a": [1]}, source)


def test_a_type_that_polars_cannot_hold_stops_no_other_column():
    wide = pa.array([decimal.Decimal(1)] * 1000, type=pa.decimal256(50, 2))
    table = pa.table({"wide": wide, "x": list(range(1000))})
    rows = {row["column"]: row for row in compare(table, table, metrics=["psi"]).to_dicts()}
    assert rows["x"]["state"] == "stable"
    assert rows["wide"]["reason"].startswith("cannot be read")
    sparse = pd.DataFrame({"x": pd.arrays.SparseArray([0, 0, 1] * 500), "z": np.arange(1500) * 1j})
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
        ("long.csv", "a,b\n1,2\n1,2,3\n", "1 of 2 rows, the first of them row 2, have more fields than the 2 columns"),
        ("short.csv", "a,b\n1,2\n\n3\n", "1 of 3 rows, the first of them row 3, have fewer fields"),
        ("quotes.csv", 'a,b\n1,"2\n3,4\n', "cannot be read"),
        ("mac.csv", "a,b\r1,2\r", "carriage return alone"),
        ("empty.csv", "\n\n", "it has no header"),
        ("scalar.json", '"a"', "one JSON object per line"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=words):
            compare(tmp_path / name, {"a": [1]})
    with pytest.raises(ValueError, match=r"'csv' and 'ndjson' is no single known format"):
        compare(tmp_path, {"a": [1]})
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"is a folder without files that end in"):
        compare(tmp_path / "empty", {"a": [1]})
    (tmp_path / "oops.csv").write_text("x\n" + "1.5\n" * 40 + "oops\n")
    row = compare({"x": [1.5] * 40}, tmp_path / "oops.csv").to_dicts()[0]
    assert row["state"] == "drift"
    assert "1 of them no number, such as 'oops'" in row["reason"]


def test_a_blank_category_is_named():
    row = compare({"x": ["a", ""] * 50}, {"x": ["a"] * 100}, metrics=["psi"]).to_dicts()[0]
    assert row["direction"] == "(blank) 50 % -> 0 %; a 50 % -> 100 %"


def test_files_as_people_have_them(tmp_path):
    """Compressed, with another separator, with a byte order mark, in folders."""
    table = frame(300)
    plain = table.write_csv()
    kinds = {"plan": "categorical"}
    expected = compare(table, table, kinds=kinds).to_dicts()
    (tmp_path / "mark.csv").write_bytes(b"\xef\xbb\xbf" + plain.encode())
    (tmp_path / "semicolon.csv").write_text(plain.replace(",", ";"))
    (tmp_path / "tab.csv").write_text(plain.replace(",", "\t"))
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(plain.encode()))
    (tmp_path / "packed.ndjson.gz").write_bytes(gzip.compress(table.write_ndjson().encode()))
    (tmp_path / "days" / "a").mkdir(parents=True)
    table.head(100).write_parquet(tmp_path / "days" / "a" / "1.parquet")
    table.slice(100).write_parquet(tmp_path / "days" / "2.parquet")
    (tmp_path / "days" / "_SUCCESS").touch()
    for source in ("mark.csv", "semicolon.csv", "tab.csv", "packed.csv.gz", "packed.ndjson.gz", "days"):
        assert compare(tmp_path / source, table, kinds=kinds).to_dicts() == expected, source
    (tmp_path / "odd.parquet.gz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"'.gz' is no single known format"):
        compare(tmp_path / "odd.parquet.gz", table)


def test_a_list_of_rows_is_a_table():
    rows = [{"x": 1.0}, {"x": 2.0, "y": "a"}] * 40
    result = compare(rows, rows, metrics=["psi", "null_rate"])
    assert result.n_reference == 80
    values = {(row["column"], row["metric"]): row["value"] for row in result.to_dicts()}
    assert values["y", "null_rate"] == 0.5


def csv(path, columns, separator=",", head=""):
    names = list(columns)
    lines = [separator.join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    path.write_text(head + "\n".join([separator.join(names), *lines]) + "\n")
    return path


def test_codes_with_leading_zeros_keep_them(tmp_path):
    rng = np.random.default_rng(31)
    zips = [f"{code:05d}" for code in rng.choice(np.arange(1000, 90000, 3500), 800)]
    old = csv(tmp_path / "ref.csv", {"zip": zips, "x": range(800)})
    new = csv(tmp_path / "cur.csv", {"zip": [str(int(z)) for z in zips], "x": range(800)})
    share = np.mean([z.startswith("0") for z in zips])
    for kinds in (None, {"zip": "categorical"}):
        rows = compare(old, new, columns=["zip"], metrics=["unseen_rate"], kinds=kinds).to_dicts()
        assert (rows[0]["kind"], rows[0]["state"]) == ("categorical", "drift")
        assert rows[0]["value"] == pytest.approx(share)
        told = rows[0]["reason"] or ""
        assert told.startswith("values that begin with 0, such as '0") is (kinds is None)
    typed = pl.DataFrame({"zip": zips, "x": range(800)})
    assert compare(typed, new, columns=["zip"], metrics=["unseen_rate"]).to_dicts()[0]["value"] == pytest.approx(share)
    assert compare(old, typed, columns=["zip"], metrics=["psi"]).to_dicts()[0]["state"] == "stable"


def test_one_odd_row_does_not_make_other_values_of_the_rest(tmp_path):
    days = [f"2026-01-{1 + i % 28:02d}" for i in range(600)]
    old = csv(tmp_path / "ref.csv", {"d": [*days, "1"], "h": range(601)})
    new = csv(tmp_path / "cur.csv", {"d": days, "h": range(600)})
    rows = compare(old, new, columns=["d"]).to_dicts()
    by_metric = {row["metric"]: row for row in rows}
    assert (by_metric["unseen_rate"]["value"], by_metric["unseen_rate"]["state"]) == (0, "stable")
    assert by_metric["psi"]["state"] == "stable"
    assert by_metric["psi"]["reason"] == "1 of 601 values is no time, such as '1': read as categories"


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (["1,5", "2,25"], "numbers written with a comma or blanks, such as '1,5': read as categories; write 1.5"),
        (["1.234,5", "7"], "numbers written with a comma or blanks, such as '1.234,5': read as categories; write 1.5"),
        (["03/01/2026", "17/01/2026"], "dates that are not ISO 8601, such as '03/01/2026': read as categories;"),
    ],
)
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_numbers_and_dates_in_other_spellings_are_told(values, note, form, tmp_path):
    column = values * 100
    path = tmp_path / f"a.{form}"
    if form == "csv":
        csv(path, {"x": column, "y": range(200)}, separator=";")
    else:
        pl.DataFrame({"x": column, "y": range(200)}).write_parquet(path)
    rows = compare(path, path, columns=["x"], metrics=["psi"]).to_dicts()
    assert (rows[0]["kind"], rows[0]["state"]) == ("categorical", "stable")
    assert rows[0]["reason"].startswith(note)


@pytest.mark.parametrize(
    ("head", "separator"), [("sep=;\n", ";"), ("sep=,\n", ","), ("", "|"), ("\ufeffsep=\t\r\n", "\t")]
)
def test_the_separator_of_spreadsheets_is_found(head, separator, tmp_path):
    path = csv(tmp_path / "a.csv", {"a": [1, 2], "b": ["x", "y"]}, separator, head)
    assert read_table(path).frame.to_dicts() == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


def test_the_reference_decides_before_the_texts_of_a_csv_are_read(tmp_path):
    like = pl.DataFrame(
        {
            "n": [1.5],
            "b": [True],
            "t": [dt.datetime(2026, 1, 1)],
            "c": ["01"],
            "e": [[0.5]],
            "h": [dt.time(1)],
            "z": [None],
        }
    )
    text = csv(
        tmp_path / "a.csv",
        {"n": [1, "NA"], "b": ["yes", 0], "t": ["2026-01-01", "2026-01-01T05:00Z"], "c": [1, 2], "e": ["[1]", "[2]"],
         "h": ["00:10", "12:00:01"], "z": [7, 8]},
        separator=";",
    )  # fmt: skip
    frame = read_table(text, like=like).frame
    assert frame["n"].to_list() == [1, None]
    assert frame["b"].to_list() == [True, False]
    assert frame["t"].to_list() == [dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 1, 5)]
    assert frame["c"].to_list() == ["1", "2"]
    assert frame["e"].to_list() == [[1.0], [2.0]]
    assert frame["h"].to_list() == [dt.time(0, 10), dt.time(12, 0, 1)]
    assert frame["z"].to_list() == [7, 8]
    assert read_table(text, kinds={"n": "categorical"}).frame["n"].to_list() == ["1", "NA"]


def test_folders_that_name_values_are_columns(tmp_path):
    for folder, n in (
        ("country=DE/year=2026", 90),
        ("country=F%20R/year=2026", 10),
        (f"country={HIVE_NULL}/year=2025", 1),
    ):
        (tmp_path / "ref" / folder).mkdir(parents=True)
        pl.DataFrame({"x": range(n)}).write_parquet(tmp_path / "ref" / folder / "part.parquet")
    found = read_table(tmp_path / "ref").frame
    assert found["country"].value_counts().sort("country").rows() == [(None, 1), ("DE", 90), ("F R", 10)]
    assert found["year"].dtype == pl.Int64
    assert read_table(str(tmp_path / "ref" / "*" / "*" / "*.parquet")).frame.equals(found)
    assert read_table(tmp_path / "ref" / "country=DE").frame.columns == ["x", "year"]


@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
def test_texts_that_become_one_category_are_told(form, tmp_path):
    """As the lake notes it (`merged_categories`): whoever writes `1.00` beside `1` may mean two codes."""
    codes = ["A1", "1", "2", "True"]
    before, after = tmp_path / f"before.{form}", tmp_path / f"after.{form}"
    for path, more in ((before, "1"), (after, "1.00")):
        frame = pl.DataFrame({"x": [*codes, more] * 50, "y": range(250)})
        {"csv": frame.write_csv, "ndjson": frame.write_ndjson, "parquet": frame.write_parquet}[form](path)
    for given in ({}, {"kinds": {"x": "categorical"}}):
        [row] = compare(before, after, columns=["x"], metrics=["psi"], **given).to_dicts()
        assert (row["value"], row["state"]) == (0, "stable")
        assert row["reason"] == "texts that count as one category: '1.00' as '1'"
    [row] = compare(before, before, columns=["x"], metrics=["psi"]).to_dicts()
    assert not row["reason"]


def test_a_last_value_in_a_line_without_an_end_is_noted_as_perhaps_cut(tmp_path: Path):
    numbers = [f"{100 + 0.625 * i:.3f}" for i in range(60)]
    whole = "name,size\n" + "".join(f"{'xyz'[i % 3]},{number}\n" for i, number in enumerate(numbers))
    files = {"whole.csv": whole, "cut.csv": whole[:-4], "sign.csv": whole[: -len(numbers[-1]) - 1] + "-"}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(whole.rstrip("\n").encode()))

    def told(current: str) -> dict[str, set[bool]]:
        frame = compare(str(tmp_path / "whole.csv"), str(tmp_path / current)).frame
        words = f"the last line of {current} has no end: row 60 may be cut"
        noted = frame["reason"].fill_null("").str.contains(words, literal=True)
        return {str(name): set(noted.filter(frame["column"] == name)) for name in frame["column"].unique()}

    assert told("cut.csv") == told("sign.csv") == {"name": {False}, "size": {True}}
    assert told("whole.csv") == told("packed.csv.gz") == {"name": {False}, "size": {False}}
    assert compare(str(tmp_path / "whole.csv"), str(tmp_path / "cut.csv")).state != "drift"


def test_files_of_a_folder_without_an_end_are_counted(tmp_path: Path):
    for day in "abc":
        (tmp_path / f"{day}.csv").write_text("name,size\nx,1\ny,2" + "\n" * (day == "b"), encoding="utf-8")
    words = "the last line of a.csv has no end: row 2 may be cut; so of 1 other files"
    assert read_table(str(tmp_path)).perhaps_cut == {"size": words}
    assert read_table(str(tmp_path), rows=1).perhaps_cut == {}

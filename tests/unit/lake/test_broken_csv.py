"""CSV and compressed files that would be read wrongly without an error: rows or files are refused, and counted."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard

from sightline.lake.intake.load import intake
from sightline.lake.store.parts import scan_lake
from sightline.spec.columns import Columns, Feature
from tests.support.lake import START, make_paths, make_spec, rows

N = 60


def spec() -> Any:
    kinds = {"x": Feature(kind="numeric"), "c": Feature(kind="categorical")}
    return make_spec(columns=Columns(prediction_id="id", timestamp="ts", score="p", features=kinds))


def table(n: int = N) -> str:
    names = ["café", "cafè", "plain"]
    frame = rows(n, seed=811).with_columns(pl.Series("c", [names[i % 3] for i in range(n)])).drop("version")
    return frame.write_csv()


def landed(root: Path, name: str, content: bytes) -> tuple[Any, pl.DataFrame]:
    home, paths = make_paths(root)
    file = paths.landing_inferences / name
    file.write_bytes(content)
    os.utime(file, (START.timestamp(), START.timestamp()))
    report = intake(spec(), paths, "inferences", home)
    return report, scan_lake(spec(), paths, "inferences").collect()


def without_a_quote(text: str, every: int) -> str:
    """Every so many rows with a decimal comma in `p`."""
    lines = text.splitlines()
    broken = [line.replace("0.", "0,", 1) if i and i % every == 0 else line for i, line in enumerate(lines)]
    return "\n".join(broken) + "\n"


def test_a_row_with_more_fields_than_the_header_is_refused_and_not_shifted(tmp_path: Path) -> None:
    text = table()
    report, found = landed(tmp_path, "a.csv", without_a_quote(text, 6).encode())
    assert (report.accepted, report.quarantined_by_reason) == (N - 10, {"corrupt_record": 10})
    assert set(found["f_c"].unique()) == {"café", "cafè", "plain"}
    expected = [i for i in range(N) if (i + 1) % 6]
    assert found.sort("row_number")["row_number"].to_list() == expected
    assert found.sort("row_number")["prediction_id"].to_list() == [f"id-{i}" for i in expected]


def test_a_file_of_nothing_but_shifted_rows_is_refused_whole(tmp_path: Path) -> None:
    report, found = landed(tmp_path, "a.csv", without_a_quote(table(1_100), 1).encode())
    assert (report.accepted, report.quarantined_by_reason, len(found)) == (0, {"unreadable_file": 1}, 0)


def test_separators_at_the_end_of_a_row_are_no_fields(tmp_path: Path) -> None:
    header, *lines = table().splitlines()
    report, found = landed(tmp_path, "a.csv", "\n".join([header, *(f"{line}," for line in lines)]).encode())
    assert (report.accepted, report.quarantined_by_reason) == (N, {})
    assert found["f_c"].null_count() == 0


def test_rows_of_another_encoding_are_refused_and_their_categories_not_merged(tmp_path: Path) -> None:
    report, found = landed(tmp_path, "a.csv", table().encode("latin-1"))
    assert (report.accepted, report.quarantined_by_reason) == (N // 3, {"corrupt_record": 2 * N // 3})
    assert found["f_c"].unique().to_list() == ["plain"]


def test_the_replacement_sign_in_a_file_that_is_utf8_is_a_value(tmp_path: Path) -> None:
    report, found = landed(tmp_path, "a.csv", table().replace("plain", "\ufffd").encode())
    assert (report.accepted, report.quarantined_by_reason) == (N, {})
    assert (found["f_c"] == "\ufffd").sum() == N // 3


@pytest.mark.parametrize("start", ["", "\ufeff", "\n\r\n", "sep=,\r\n", "\ufeff\n"])
def test_what_stands_before_the_header_is_no_row(tmp_path: Path, start: str) -> None:
    report, _ = landed(tmp_path, "a.csv", (start + table()).encode())
    assert (report.accepted, report.quarantined_by_reason) == (N, {})


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [("id,ts,p,x,c", "id,ts,p,x,x", "occurs twice"), ("\n", "\r", "carriage return alone")],
)
def test_a_header_that_cannot_be_believed_refuses_the_file(tmp_path: Path, old: str, new: str, told: str) -> None:
    report, found = landed(tmp_path, "a.csv", table().replace(old, new).encode())
    assert (report.accepted, report.quarantined_by_reason, len(found)) == (0, {"unreadable_file": 1}, 0)
    _, paths = make_paths(tmp_path)
    kept = pl.concat(pl.read_parquet(file) for file in paths.root.rglob("quarantine/**/*.parquet"))
    assert told in kept["value"].item()


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


@pytest.mark.parametrize("ending", ["csv", "ndjson"])
@pytest.mark.parametrize(("pack", "suffix"), [(zstd, "zst"), (gzip.compress, "gz")])
def test_a_compressed_file_with_a_torn_end_is_refused(tmp_path: Path, ending: str, pack: Any, suffix: str) -> None:
    frame = rows(20_000, seed=812).drop("version")
    text = (frame.write_csv() if ending == "csv" else frame.write_ndjson()).encode()
    whole = pack(text)
    for cut in (100, len(whole) // 2):
        report, found = landed(tmp_path / str(cut), f"a.{ending}.{suffix}", whole[:-cut])
        assert (report.accepted, report.quarantined_by_reason, len(found)) == (0, {"unreadable_file": 1}, 0)


@pytest.mark.parametrize(("pack", "suffix"), [(zstd, "zst"), (gzip.compress, "gz")])
def test_all_parts_of_a_compressed_file_are_read(tmp_path: Path, pack: Any, suffix: str) -> None:
    text = table().encode()
    middle = text.index(b"\n", len(text) // 2) + 1
    report, _ = landed(tmp_path, f"a.csv.{suffix}", pack(text[:middle]) + pack(text[middle:]))
    assert report.accepted == N


def test_a_row_with_fewer_fields_than_the_header_is_refused_and_a_blank_line_is_no_row(tmp_path: Path) -> None:
    header, *lines = table().splitlines()
    lines[7] = lines[7].rpartition(",")[0]
    lines[20:20] = ["", "  ", "\r"]
    text = "\n".join([header, *lines]) + "\n\n\n"
    for name, content in (("a.csv", text.encode()), ("a.csv.gz", gzip.compress(text.encode()))):
        report, found = landed(tmp_path / name, name, content)
        assert (report.accepted, report.rejected, report.quarantined_by_reason) == (N - 1, 1, {"corrupt_record": 1})
        assert found["f_c"].null_count() == 0


@pytest.mark.parametrize("ending", ["tsv", "tsv.gz", "tsv.zst", "TSV"])
def test_values_separated_by_tabs_are_read(tmp_path: Path, ending: str) -> None:
    text = table().replace(",", "\t").replace("café", "caf,é").encode()
    packed = {"gz": gzip.compress, "zst": zstd}.get(ending[-3:].strip("."), bytes)(text)
    report, found = landed(tmp_path, f"a.{ending}", packed)
    assert (report.accepted, report.quarantined_by_reason) == (N, {})
    assert set(found["f_c"].unique()) == {"caf,é", "cafè", "plain"}


def test_a_column_that_is_called_as_a_repeated_one_would_be_is_read(tmp_path: Path) -> None:
    text = "\n".join(f"{line},{i or 'x_duplicated_0'}" for i, line in enumerate(table().splitlines()))
    report, found = landed(tmp_path, "a.csv", text.encode() + b"\n")
    assert (report.accepted, report.quarantined_by_reason) == (N, {"unknown_column": 1})
    assert found["f_x"].max() < 10

"""Files of text: packed or not, blank lines, rows that are too short, files that are being written."""

from __future__ import annotations

import csv
import gzip
import io

import numpy as np
import pytest
import zstandard
from polars.testing import assert_frame_equal

from metrics_py.comparison import tables
from metrics_py.comparison.csv_files import CsvShape, count_fields, csv_shape
from metrics_py.comparison.tables import read_table
from tests.support.comparison import frame


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.ndjson", "a.jsonl", "a.json"])
@pytest.mark.parametrize(("pack", "ending"), [(bytes, ""), (gzip.compress, ".gz"), (zstd, ".zst")])
def test_every_format_gives_the_same_rows_packed_or_not(tmp_path, name, pack, ending):
    table = frame(40)
    text = table.write_csv(separator="\t" if name == "a.tsv" else ",") if "sv" in name else table.write_ndjson()
    if name == "a.json":
        text = f"[{','.join(text.splitlines())}]"
    file = tmp_path / f"{name}{ending}"
    file.write_bytes(pack(text.encode()))
    assert_frame_equal(read_table(file).frame, table, check_dtypes=False)
    file.write_bytes(pack(text.encode())[: -len(text) // 200 if ending else -8])
    if ending or "json" in name:
        with pytest.raises(ValueError, match="cannot be read"):
            read_table(file)


def test_blank_lines_are_no_rows_and_a_column_that_stands_alone_keeps_its_gaps(tmp_path):
    (tmp_path / "two.csv").write_text('a,b\n1,2\n\n3,\n  \r\n,\n"x\n\ny",5\n\n\n')
    assert read_table(tmp_path / "two.csv").frame.rows() == [("1", 2), ("3", None), (None, None), ("x\n\ny", 5)]
    (tmp_path / "one.csv").write_text("a\n1\n\n3\n")
    assert read_table(tmp_path / "one.csv").frame["a"].to_list() == [1, None, 3]


def test_a_column_that_is_called_as_a_repeated_one_would_be_is_read(tmp_path):
    (tmp_path / "a.csv").write_text("x,x_duplicated_0\n1,2\n")
    assert read_table(tmp_path / "a.csv").frame.rows(named=True) == [{"x": 1, "x_duplicated_0": 2}]
    assert CsvShape(("x", "x", "x_duplicated_1", ""), ",", 1).columns == ["x", "x_duplicated_0", "x_duplicated_1", ""]


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_fields_are_counted_as_the_csv_module_reads_them(tmp_path, monkeypatch, piece):
    monkeypatch.setattr("metrics_py.comparison.text_files.PIECE", piece)
    rng = np.random.default_rng(4031)
    for _ in range(30):
        values = [["1", "", "a b", 'say "x"', "two\nlines", "a,b"][i] for i in rng.integers(0, 6, 60)]
        sizes = rng.integers(1, 5, 20)
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator=str(rng.choice(["\n", "\r\n"])))
        rows = [["h1", "h2", "h3"], *([values[(i * 5 + j) % 60] for j in range(n)] for i, n in enumerate(sizes))]
        writer.writerows(rows)
        text = buffer.getvalue().rstrip("\r\n") if rng.random() < 0.5 else buffer.getvalue()
        file = tmp_path / "a.csv"
        file.write_bytes(text.encode())
        expected = [max(len(row), 1) for row in csv.reader(io.StringIO(text, newline=""))][1:]
        assert count_fields(file, csv_shape(file)).tolist() == expected


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "a.csv"
    file.write_text("x,y\n1,12.3")
    read = tables.csv_frame

    def and_grow(*given):
        found = read(*given)
        with file.open("a") as more:
            more.write("45\n")
        return found

    monkeypatch.setattr(tables, "csv_frame", and_grow)
    with pytest.raises(ValueError, match="changed while it was read"):
        read_table(file)

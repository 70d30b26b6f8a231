"""Each landing file is judged alone, in bounded time and memory: what it holds or is stops no file beside it."""

from __future__ import annotations

import gzip
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
import zstandard

from sightline.home import Home
from sightline.judging.intake_contract import not_taken
from sightline.lake.intake.affected_windows import peek_windows
from sightline.lake.intake.load import intake
from sightline.lake.intake.sources import list_batches, pending
from sightline.lake.store.parts import scan_lake
from tests.support.lake import START, land, ledger_adds_up, make_paths, make_spec, quarantine, rows

SPEC = make_spec()
NOW = START + timedelta(days=3)
MIB = 1 << 20


def object_line(**changes: object) -> bytes:
    row = {"id": "deep", "ts": "2026-01-05T01:00:00Z", "p": 0.5, "version": "v1", "x": 1.0, "c": "red", **changes}
    return json.dumps(row).encode()


def nested(depth: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return object_line(x="@").replace(b'"@"', opening * depth + closing * depth)


def write(content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / "odd.ndjson").write_bytes(content)


HOSTILE: dict[str, Callable[[Path], object]] = {
    "JSON nested 50,000 deep": write(nested(50_000)),
    "an array nested 50,000 deep": write(b"[" * 50_000 + b"]" * 50_000),
    "objects nested 50,000 deep": write(nested(50_000, b'{"a":', b"}").replace(b":}", b":1}")),
    "half a surrogate pair": write(object_line() + b'\n{"id": "\\\\ud800", "ts"'.replace(b"\\\\", b"\\") + b": 1}\n{"),
    "no JSON at all": write(b"no json\n" * 200_000),
    "a line of 40 MiB": write(b'{"id": "' + b"x" * 40 * MIB + b'"}'),
    "blanks": write(b" " * 40 * MIB),
    "a name that is no UTF-8": lambda folder: Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.csv")).write_text("a"),
    "a pipe": lambda folder: os.mkfifo(folder / "pipe.csv"),
    "a folder called like a file": lambda folder: (folder / "dir.parquet").mkdir(),
    "a link out of the landing folder": lambda folder: (folder / "passwd.csv").symlink_to("/etc/passwd"),
    "a link to a folder elsewhere": lambda folder: (folder / "etc").symlink_to("/etc"),
    "a link in a circle": lambda folder: (folder / "loop.csv").symlink_to(folder / "loop.csv"),
    "a link to nothing": lambda folder: (folder / "gone.csv").symlink_to(folder / "nothing.csv"),
    "gzip of nothing but blanks": lambda folder: (folder / "b.csv.gz").write_bytes(gzip.compress(b" " * 100 * MIB)),
    "gzip of many equal lines": lambda folder: (folder / "b.csv.gz").write_bytes(
        gzip.compress(b"id,ts,p\n" + b"a,b,c\n" * 20_000_000)
    ),
    "zstd of many equal lines": lambda folder: (folder / "b.ndjson.zst").write_bytes(
        zstandard.compress(b'{"id":1}\n' * 20_000_000)
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_it_stops_no_file_beside_it(tmp_path: Path, name: str) -> None:
    home, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "good.parquet", rows(30))
    HOSTILE[name](paths.landing_inferences)
    started = time.process_time()
    for batch in list_batches(SPEC, paths, "inferences", home):
        peek_windows(SPEC, paths, batch, home)
    report = intake(SPEC, paths, "inferences", home, now=NOW)
    assert time.process_time() - started < 30
    assert (
        scan_lake(SPEC, paths, "inferences").filter(pl.col("prediction_id").str.starts_with("id-")).collect().height
        == 30
    )
    assert pending(SPEC, paths, "inferences", home) == []
    assert report.accepted >= 30
    assert not list(home.data.glob(".unpacked-*"))
    ledger_adds_up(tmp_path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("an array nested 50,000 deep", "no JSON array"),
        ("no JSON at all", "none of the first 50000 lines is a JSON object"),
        ("a line of 40 MiB", "a line is longer than 16,777,216 bytes"),
        ("a name that is no UTF-8", "its name is no UTF-8"),
        ("a pipe", "it is no regular file"),
        ("a link out of the landing folder", "a link that leads out of the landing folder"),
        ("a link to a folder elsewhere", "a link that leads out of the landing folder"),
        ("a link in a circle", "it cannot be opened"),
        ("gzip of nothing but blanks", "no table does that"),
        ("gzip of many equal lines", "no table does that"),
        ("zstd of many equal lines", "there is no column 'ts' and 'p'"),
    ],
)
def test_it_is_refused_with_its_reason_until_it_is_taken_away(tmp_path: Path, name: str, reason: str) -> None:
    home, paths = make_paths(tmp_path)
    HOSTILE[name](paths.landing_inferences)
    report = intake(SPEC, paths, "inferences", home, now=NOW)
    [(_, _, message)] = report.refused
    assert reason in message
    key = SPEC.key(NOW)
    [told] = not_taken(SPEC, paths, "inferences", [key])[key].files.values()
    assert reason in told
    for file in paths.landing_inferences.iterdir():
        file.unlink()
    assert key not in not_taken(SPEC, paths, "inferences", [key])


@pytest.mark.parametrize("depth", [2, 60, 400, 900])
def test_nested_values_are_no_numbers(tmp_path: Path, depth: int) -> None:
    home, paths = make_paths(tmp_path)
    write(nested(depth) + b"\n" + object_line(id="id-1"))(paths.landing_inferences)
    report = intake(SPEC, paths, "inferences", home, now=NOW)
    assert (report.accepted, report.quarantined_by_reason) == (2, {"bad_type": 1})


def test_nothing_of_what_a_link_leads_to_is_kept(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    secret = tmp_path / "secret.csv"
    secret.write_text("id,ts,p\nhunter2,x,y\n")
    (paths.landing_inferences / "a.csv").symlink_to(secret)
    intake(SPEC, paths, "inferences", home, now=NOW)
    assert "hunter2" not in str(quarantine(tmp_path).to_dicts())


def test_a_link_within_the_landing_folder_is_a_file(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", rows(30)).rename(paths.landing_inferences / ".a.parquet")
    (paths.landing_inferences / "b.parquet").symlink_to(paths.landing_inferences / ".a.parquet")
    assert intake(SPEC, paths, "inferences", home, now=NOW).accepted == 30


@pytest.mark.parametrize("suffix", [".ndjson", ".ndjson.gz", ".ndjson.zst", ".json", ".csv.gz", ".csv.zst"])
def test_packed_or_not_and_in_any_number_of_blocks_the_rows_are_the_same(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sightline.lake.intake.unpack.BLOCK", 2_000)
    monkeypatch.setattr("metrics_py.comparison.text_files.PIECE", 700)
    home, paths = make_paths(tmp_path)
    told = rows(500)
    text = told.write_csv() if ".csv" in suffix else told.write_ndjson()
    if suffix == ".json":
        text = "\n [" + ",\n".join(text.splitlines()) + " ] \n"
    pack = {"gz": gzip.compress, "zst": zstandard.compress}.get(suffix.rpartition(".")[2], bytes)
    (paths.landing_inferences / f"a{suffix}").write_bytes(pack(text.encode()))
    assert intake(SPEC, paths, "inferences", home, now=START + timedelta(days=30)).accepted == 500
    found = scan_lake(SPEC, paths, "inferences").collect().sort("row_number")
    assert found["row_number"].to_list() == list(range(500))
    assert found["f_x"].to_list() == pytest.approx(told["x"].to_list())


SCRIPT = """
import resource, sys
from pathlib import Path
from tests.support.lake import make_paths, make_spec
from sightline.lake.intake.affected_windows import peek_windows
from sightline.lake.intake.load import intake
from sightline.lake.intake.sources import list_batches
home, paths = make_paths(Path(sys.argv[1]))
spec = make_spec()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for batch in list_batches(spec, paths, "inferences", home):
    peek_windows(spec, paths, batch, home)
intake(spec, paths, "inferences", home)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "line", "times"),
    [
        ("blanks.ndjson", b" " * MIB, 1024),
        ("blanks.csv", b" " * MIB, 1024),
        ("lines.ndjson", b"\n" * MIB, 1024),
        ("bomb.csv.gz", b"\0" * MIB, 600),
        ("bomb.ndjson.gz", b" " * MIB, 600),
        ("rows.ndjson", b'{"id": 1}\n' * 100_000, 200),
    ],
)
def test_memory_stays_bounded(tmp_path: Path, name: str, line: bytes, times: int) -> None:
    _, paths = make_paths(tmp_path)
    file = paths.landing_inferences / name
    with gzip.open(file, "wb", 1) if name.endswith(".gz") else file.open("wb") as target:
        for _ in range(times):
            target.write(line)
    started = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 400, "MiB more than before"
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ended.ru_utime + ended.ru_stime - started.ru_utime - started.ru_stime < 60, "CPU seconds"
    assert Home(tmp_path).root.exists()

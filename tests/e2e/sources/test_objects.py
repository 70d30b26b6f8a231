"""Objects of an S3-compatible store as a source: each once, a changed one as another state of its file."""

from __future__ import annotations

import gzip
import io
import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sightline.judging.intake_contract import not_taken
from sightline.lake.fetch.object_store import keys_of
from sightline.lake.intake.fetching import columns_found, fetch_new
from sightline.lake.intake.load import intake
from sightline.lake.intake.reload import reload
from sightline.spec.model import MonitorSpec
from tests.support.lake import rows
from tests.support.object_store import ACCESS, SECRET, Store
from tests.support.sources import fetch_all, files_holding, home_of, ids, lake, load, look, spec_of

pytestmark = pytest.mark.e2e

NAMES = itertools.count()


@pytest.fixture
def bucket(store: Store) -> str:
    """An empty bucket."""
    name = f"bucket-{next(NAMES)}"
    store.client().create_bucket(Bucket=name)
    return name


def monitor(store: Store, uri: str, side: str = "inferences", **changes: Any) -> MonitorSpec:
    return spec_of(side, s3={"uri": uri, **store.section, **changes})


def parquet(frame: pl.DataFrame) -> bytes:
    held = io.BytesIO()
    frame.write_parquet(held)
    return held.getvalue()


def test_each_format_is_loaded_once(store: Store, bucket: str, tmp_path: Path) -> None:
    data = rows(40)
    files = {
        "p/a.parquet": parquet(data.slice(0, 10)),
        "p/day=2026-01-05/b.csv.gz": gzip.compress(data.slice(10, 10).write_csv().encode()),
        "p/c.ndjson": data.slice(20, 10).write_ndjson().encode(),
        "p/_SUCCESS": b"",
        "p/.hidden.parquet": b"no parquet",
        "p/half.parquet.tmp": b"no parquet",
        "other/d.parquet": parquet(data.slice(30, 10)),
    }
    for key, content in files.items():
        store.client().put_object(Bucket=bucket, Key=key, Body=content)
    home, _ = home_of(tmp_path)
    spec = monitor(store, f"s3://{bucket}/p/")
    report = load(spec, home)
    assert (report.accepted, report.refused) == (30, [])
    assert look(spec, home).n_files == 0
    assert load(monitor(store, f"s3://{bucket}/**/*.parquet"), home).accepted == 10


def test_a_changed_object_is_another_state_of_its_file(store: Store, bucket: str, tmp_path: Path) -> None:
    home, paths = home_of(tmp_path)
    spec = monitor(store, f"s3://{bucket}/*.csv")
    data = rows(30)
    store.client().put_object(Bucket=bucket, Key="a.csv", Body=data.head(10).write_csv())
    load(spec, home)
    store.client().put_object(Bucket=bucket, Key="a.csv", Body=data.write_csv())
    report = load(spec, home)
    assert (report.accepted, report.duplicates) == (20, 10)
    fetch_all(spec, home)
    assert len(list(paths.fetched.rglob("*.csv"))) == 1


def test_an_object_is_loaded_again_by_its_name(store: Store, bucket: str, tmp_path: Path) -> None:
    home, paths = home_of(tmp_path)
    spec = monitor(store, f"s3://{bucket}/")
    store.client().put_object(Bucket=bucket, Key="a.csv", Body=rows(10).write_csv())
    load(spec, home)
    store.client().put_object(Bucket=bucket, Key="a.csv", Body=rows(10, seed=5).write_csv())
    assert load(spec, home).quarantined_by_reason["conflicting_duplicate"] == 10
    report = reload(spec, paths, home, [Path(f"s3://{bucket}/a.csv")])
    assert report.files["inferences"].accepted == 10
    assert lake(spec, home)["score"].sort().to_list() == rows(10, seed=5)["p"].sort().to_list()


def test_folders_name_values(store: Store, bucket: str, tmp_path: Path) -> None:
    home, _ = home_of(tmp_path)
    for name in ("red", "blue"):
        body = parquet(rows(20).filter(pl.col("c") == name).drop("c"))
        store.client().put_object(Bucket=bucket, Key=f"c={name}/a.parquet", Body=body)
    spec = monitor(store, f"s3://{bucket}/")
    load(spec, home)
    assert set(lake(spec, home)["g_c"]) <= {"red", "blue"}


def test_a_refused_object_is_told_until_it_is_gone(store: Store, bucket: str, tmp_path: Path) -> None:
    home, paths = home_of(tmp_path)
    spec = monitor(store, f"s3://{bucket}/")
    store.client().put_object(Bucket=bucket, Key="a.parquet", Body=b"no parquet")
    store.client().put_object(Bucket=bucket, Key="b.xlsx", Body=b"no table")
    report = load(spec, home)
    assert sorted(reason for _, reason, _ in report.refused) == ["unreadable_file", "unsupported_file"]
    today = spec.key(datetime.now(UTC))
    told = not_taken(spec, paths, "inferences", [today])[today].files
    assert set(told) == {f"s3://{bucket}/a.parquet", f"s3://{bucket}/b.xlsx"}
    store.client().delete_object(Bucket=bucket, Key="b.xlsx")
    store.client().put_object(Bucket=bucket, Key="a.parquet", Body=parquet(rows(5)))
    assert load(spec, home).accepted == 5
    assert today not in not_taken(spec, paths, "inferences", [today])


def test_columns_are_shown(store: Store, bucket: str, tmp_path: Path) -> None:
    home, _ = home_of(tmp_path)
    spec = monitor(store, f"s3://{bucket}/")
    assert columns_found(spec, "inferences", home) == (f"s3://{bucket}/ at {store.endpoint}", {})
    store.client().put_object(Bucket=bucket, Key="a.csv", Body=rows(5).write_csv())
    found = columns_found(spec, "inferences", home)
    assert found is not None
    assert list(found[1]) == rows(5).columns


ERRORS = {
    "no bucket": ({"uri": "s3://no-such-bucket/"}, "NoSuchBucket", "correct the bucket's name"),
    "no key": ({"access_key_env": "NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE is not set", "export NO_SUCH_VARIABLE"),
    "nobody listens": ({"endpoint": "http://127.0.0.1:1"}, "Could not connect", "see whether `endpoint` is right"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_the_place_and_the_fix_and_no_secret(
    store: Store, bucket: str, tmp_path: Path, case: str, capfd: pytest.CaptureFixture[str]
) -> None:
    changes, what, fix = ERRORS[case]
    home, paths = home_of(tmp_path)
    spec = monitor(store, **{"uri": f"s3://{bucket}/", **changes})
    found = fetch_new(spec, paths, "inferences", home)
    assert found is not None
    assert found.problem is not None
    assert what in found.problem.what
    assert fix in (found.problem.fix or "")
    assert "sources.inferences.s3" in (found.problem.where or "")
    output = capfd.readouterr()
    for hidden in (SECRET, ACCESS):
        assert hidden not in str(found.problem) + output.out + output.err
        assert not files_holding(tmp_path, hidden)


def test_a_store_that_is_silent_holds_nobody_up(
    store: Store, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, paths = home_of(tmp_path)
    spec = monitor(store, f"s3://{bucket}/")
    store.client().put_object(Bucket=bucket, Key="a.csv", Body=rows(5).write_csv())
    load(spec, home)
    monkeypatch.setenv("SIGHTLINE_SOURCE_SECONDS", "1")
    store.freeze()
    started = datetime.now(UTC)
    found = fetch_new(spec, paths, "inferences", home)
    assert found is not None
    assert "no answer for" in str(found.problem)
    assert datetime.now(UTC) - started < timedelta(seconds=10)
    store.freeze(18)
    store.client().put_object(Bucket=bucket, Key="b.csv", Body=rows(8).write_csv())
    monkeypatch.setenv("SIGHTLINE_SOURCE_SECONDS", "30")
    deadline = datetime.now(UTC) + timedelta(seconds=60)
    while (found := fetch_new(spec, paths, "inferences", home)) is None or found.problem:
        assert datetime.now(UTC) < deadline
    fetch_all(spec, home)
    intake(spec, paths, "inferences", home)
    assert ids(spec, home) == sorted(set(rows(8)["id"].to_list()))


def test_rotated_keys_are_read_from_a_file(
    store: Store, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STORE_SECRET")
    file = tmp_path / "secret"
    file.write_text("first\n")
    monkeypatch.setenv("STORE_SECRET_FILE", str(file))
    home, _ = home_of(tmp_path / "home")
    spec = monitor(store, f"s3://{bucket}/")
    look(spec, home)
    file.write_text("second\n")
    look(spec, home)
    assert spec.sources.inferences is not None
    assert spec.sources.inferences.s3 is not None
    assert keys_of(spec.sources.inferences.s3, "here").secret == "second"

"""Published results: append only what changed.

Every revision, "as of" reads, crash safety, and the command that prints them.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from sightline.commands.judgements import command
from sightline.errors import SightlineError
from sightline.home import Home, MonitorPaths
from sightline.results import append_only
from sightline.results.actions import acted_at, append_action, read_actions
from sightline.results.evidence import EVIDENCE_KEY, EVIDENCE_SCHEMA, append_evidence, read_evidence
from sightline.results.judgements import (
    JUDGEMENT_KEY,
    JUDGEMENT_SCHEMA,
    append_judgements,
    judgement_names,
    read_judgements,
)
from sightline.results.snapshots import read_snapshot, write_snapshot

DAY = timedelta(days=1)
START = datetime(2026, 1, 5)
NOON = datetime(2026, 2, 1, 12, tzinfo=UTC)


@pytest.fixture
def paths(tmp_path: Path) -> MonitorPaths:
    return Home(tmp_path).monitor("m")


def merge_all(folder: Path) -> None:
    """All files of judgements in a folder as one."""
    append_only.merge(folder, append_only.live_files(folder), JUDGEMENT_SCHEMA, [*JUDGEMENT_KEY, "revision"])


def judgements(days: int = 1, first: int = 0, **changes: Any) -> pl.DataFrame:
    """Two metrics per day."""
    base: dict[str, Any] = {
        "monitor": "m", "model_version": "all", "segment": "all", "column": None, "value": 0.5, "ci_low": 0.4,
        "ci_high": 0.6, "n": 100,
        "reference_value": 0.55, "bound_low": None, "bound_high": 0.9, "status": "ok", "reason": None,
    }  # fmt: skip
    rows = [
        {
            **base,
            "window_start": START + (first + d) * DAY,
            "window_end": START + (first + d + 1) * DAY,
            "metric": metric,
            **changes,
        }
        for d in range(days)
        for metric in ("accuracy", "roc_auc")
    ]
    schema = {
        name: dtype for name, dtype in JUDGEMENT_SCHEMA.items() if name not in ("revision", "computed_at", "run_id")
    }
    return pl.DataFrame(rows, schema=schema)


def test_the_same_judgements_are_not_written_twice(paths: MonitorPaths) -> None:
    assert append_judgements(paths, "model_quality", judgements(3), "run-1", NOON) == 6
    assert append_judgements(paths, "model_quality", judgements(3), "run-2", NOON + DAY) == 0
    last_bits = judgements(3).with_columns(pl.col("value") * (1 + 1e-15))
    assert append_judgements(paths, "model_quality", last_bits, "run-3", NOON + DAY) == 0
    found = read_judgements(paths)
    assert found.schema == pl.Schema(JUDGEMENT_SCHEMA)
    assert found["revision"].to_list() == [0] * 6
    assert found["run_id"].unique().to_list() == ["run-1"]
    assert found["computed_at"].unique().to_list() == [NOON.replace(tzinfo=None)]


@pytest.mark.parametrize(
    "change",
    [
        {"value": 0.51},
        {"value": None},
        {"status": "warn"},
        {"reason": "few rows"},
        {"n": 101},
        {"bound_low": 0.1},
        {"ci_high": 0.6 + 1e-9},
        {"reference_value": None},
    ],
)
def test_any_change_is_a_revision(paths: MonitorPaths, change: dict[str, Any]) -> None:
    append_judgements(paths, "drift", judgements(), "run-1", NOON)
    assert append_judgements(paths, "drift", judgements(**change), "run-2", NOON + DAY) == 2
    assert append_judgements(paths, "drift", judgements(), "run-3", NOON + 2 * DAY) == 2
    assert read_judgements(paths)["revision"].to_list() == [2, 2]
    assert sorted(read_judgements(paths, latest=False)["revision"].to_list()) == [0, 0, 1, 1, 2, 2]


def test_processed_by_shows_what_had_been_worked_up(paths: MonitorPaths) -> None:
    append_judgements(paths, "drift", judgements(2), "run-1", NOON)
    append_judgements(paths, "drift", judgements(1, value=0.7), "run-2", NOON + DAY)
    values = [
        read_judgements(paths, metric="accuracy", processed_by=NOON + shift)["value"].to_list()
        for shift in (-DAY, timedelta(0), DAY)
    ]
    assert values == [[], [0.5, 0.5], [0.7, 0.5]]
    tokyo = (NOON + DAY).astimezone(tz=None)
    assert read_judgements(paths, metric="accuracy", processed_by=tokyo)["value"].to_list() == [0.7, 0.5]


def test_filters_and_assets(paths: MonitorPaths) -> None:
    append_judgements(
        paths, "drift", judgements(5, column="wind", metric="psi").unique(JUDGEMENT_KEY, maintain_order=True), "r", NOON
    )
    append_judgements(paths, "model_quality", judgements(5), "r", NOON)
    assert len(read_judgements(paths)) == 15
    assert len(read_judgements(paths, asset="drift")) == 5
    assert len(read_judgements(paths, column="wind", metric="psi")) == 5
    assert len(read_judgements(paths, segment="carrier=UA")) == 0
    assert len(read_judgements(paths, asset="unknown")) == 0
    window = read_judgements(paths, metric="psi", start=date(2026, 1, 6), end=datetime(2026, 1, 8, tzinfo=UTC))
    assert window["window_start"].to_list() == [START + DAY, START + 2 * DAY]
    assert judgement_names(paths) == {
        "asset": {"drift", "model_quality"}, "metric": {"psi", "accuracy", "roc_auc"}, "column": {"wind"},
        "segment": {"all"},
    }  # fmt: skip


def test_times_with_a_zone_are_stored_in_utc(paths: MonitorPaths) -> None:
    frame = judgements().with_columns(
        pl.col("window_start", "window_end").dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")
    )
    assert append_judgements(paths, "drift", frame, "r", NOON) == 2
    assert append_judgements(paths, "drift", judgements(), "r", NOON) == 0


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (judgements(value=float("nan")), r"NaN or infinite values in \['value'\]"),
        (judgements(status="fine"), "unknown status 'fine'"),
        (pl.concat([judgements(), judgements()]), "two rows with the key monitor=m"),
        (judgements().drop("metric"), r"missing \['metric'\]"),
        (judgements().with_columns(colour=pl.lit(1)), r"unknown \['colour'\]"),
    ],
)
def test_wrong_frames_are_refused(paths: MonitorPaths, frame: pl.DataFrame, message: str) -> None:
    with pytest.raises(SightlineError, match=message):
        append_judgements(paths, "drift", frame, "r", NOON)
    assert read_judgements(paths).is_empty()


def test_empty_frames_and_empty_stores(paths: MonitorPaths) -> None:
    assert append_judgements(paths, "drift", judgements().clear(), "r", NOON) == 0
    assert read_judgements(paths).schema == pl.Schema(JUDGEMENT_SCHEMA)
    assert read_evidence(paths).schema == pl.Schema(EVIDENCE_SCHEMA)
    assert read_snapshot(paths, "incidents") is None
    assert read_actions(paths) == []


def test_files_are_merged_and_nothing_changes(paths: MonitorPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append_only, "COMPACT_FROM_FILES", 4)
    monkeypatch.setattr(append_only, "COMPACT_FROM_MERGED", 3)
    for day in range(30):
        append_judgements(paths, "drift", judgements(first=day), f"run-{day}", NOON)
        if day % 5 == 0:
            append_judgements(paths, "drift", judgements(first=day // 2, value=0.5 + day), f"fix-{day}", NOON)
    folder = paths.results / "judgements" / "drift"
    assert len(list(folder.glob("*.parquet"))) < 8
    found, every = read_judgements(paths), read_judgements(paths, latest=False)
    assert len(found) == 60
    assert len(every) == 60 + 5 * 2
    assert every.select(*JUDGEMENT_KEY, "revision").is_duplicated().any() is False
    merge_all(folder)
    assert len(list(folder.glob("*.parquet"))) == 1
    assert read_judgements(paths).equals(found)
    assert (
        read_judgements(paths, latest=False)
        .sort(*JUDGEMENT_KEY, "revision")
        .equals(every.sort(*JUDGEMENT_KEY, "revision"))
    )
    assert append_judgements(paths, "drift", judgements(first=3), "again", NOON) == 0


def test_a_merge_killed_before_its_deletions_counts_nothing_twice(
    paths: MonitorPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(5):
        append_judgements(paths, "drift", judgements(first=day), f"run-{day}", NOON)
    before = read_judgements(paths, latest=False)
    folder = paths.results / "judgements" / "drift"
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
    merge_all(folder)
    monkeypatch.undo()
    assert len(list(folder.glob("*.parquet"))) == 6
    assert read_judgements(paths, latest=False).equals(before)
    assert append_judgements(paths, "drift", judgements(first=9), "next", NOON) == 2
    assert len(list(folder.glob("*.parquet"))) == 2  # the next writer removes what the merge left


def test_a_reader_survives_a_merge_between_listing_and_opening(
    paths: MonitorPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(5):
        append_judgements(paths, "drift", judgements(first=day), f"run-{day}", NOON)
    original: Callable[..., Any] = append_only._collect
    calls = 0

    def late(*args: Any) -> pl.DataFrame:
        nonlocal calls
        calls += 1
        if calls == 1:
            merge_all(paths.results / "judgements" / "drift")
        return original(*args)

    monkeypatch.setattr(append_only, "_collect", late)
    assert len(read_judgements(paths)) == 10
    assert calls == 2


WRITER = """
import sys
from datetime import datetime, timedelta, UTC
from pathlib import Path
import polars as pl
from sightline.home import Home
from sightline.results import append_only
from sightline.results.evidence import append_evidence
from sightline.results.judgements import append_judgements
from sightline.results.snapshots import write_snapshot
append_only.COMPACT_FROM_FILES = 3
paths = Home(Path(sys.argv[1])).monitor("m")
frame = pl.read_parquet(sys.argv[2])
print("ready", flush=True)
for i in range(40):
    later = frame.with_columns(pl.col("window_start", "window_end") + timedelta(days=i))
    append_judgements(paths, "drift", later, f"run-{i}", datetime(2026, 2, 1, tzinfo=UTC))
    write_snapshot(paths, "incidents", later)
"""


def test_a_writer_killed_at_random_moments_leaves_whole_appends(paths: MonitorPaths, tmp_path: Path) -> None:
    frame = tmp_path / "frame.parquet"
    judgements().write_parquet(frame)
    rng = random.Random(5)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    for attempt in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(frame)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        deadline = time.monotonic() + (rng.uniform(0.02, 0.4) if attempt < 3 else 120)
        while time.monotonic() < deadline and child.poll() is None:
            pass
        child.kill()
        child.wait(timeout=30)
        found = read_judgements(paths, latest=False)
        assert found.select(*JUDGEMENT_KEY, "revision").is_duplicated().any() is False
        assert (found.group_by("window_start").len()["len"] == 2).all()
        snapshot = read_snapshot(paths, "incidents")
        assert snapshot is None or len(snapshot) == 2
    assert len(read_judgements(paths)) == 80
    assert set(read_judgements(paths)["revision"]) == {0}


def evidence(streams: list[str], day: int, value: float = 1.0) -> pl.DataFrame:
    moment = START + day * DAY
    return pl.DataFrame(
        {
            "stream": streams, "asset": "drift", "column": "wind", "statistic": "mean",
            "window_key": f"{moment:%Y-%m-%d}",
            "window_start": moment, "value": value, "display_value": value, "n": 100.0, "variance": None,
        }
    )  # fmt: skip


def test_evidence_is_written_once(paths: MonitorPaths) -> None:
    assert append_evidence(paths, evidence(["a", "b"], 0), "run-1") == 2
    assert append_evidence(paths, evidence(["a", "b", "c", "c"], 0, value=9.0), "run-2") == 1
    assert append_evidence(paths, evidence(["a"], 1), "run-2") == 1
    found = read_evidence(paths)
    assert found.select("stream", "window_key", "value", "run_id").rows() == [
        ("a", "2026-01-05", 1.0, "run-1"),
        ("b", "2026-01-05", 1.0, "run-1"),
        ("c", "2026-01-05", 9.0, "run-2"),
        ("a", "2026-01-06", 1.0, "run-2"),
    ]
    assert found["written_at"].null_count() == 0
    kept = paths.results / "evidence"
    append_only.merge(kept, append_only.live_files(kept), EVIDENCE_SCHEMA, EVIDENCE_KEY)
    assert read_evidence(paths).equals(found)


def test_snapshots_are_replaced_and_actions_are_kept(paths: MonitorPaths) -> None:
    write_snapshot(paths, "incidents", pl.DataFrame({"a": [1]}))
    write_snapshot(paths, "incidents", pl.DataFrame({"b": [2, 3]}))
    found = read_snapshot(paths, "incidents")
    assert found is not None
    assert found.to_dict(as_series=False) == {"b": [2, 3]}
    first = append_action(paths, {"kind": "accept", "incident": "i-1", "user": "müller"})
    assert datetime.fromisoformat(first["at"]).tzinfo is not None
    with (paths.results / "actions.jsonl").open("a") as handle:
        handle.write('{"at": "torn by a ki')
    append_action(paths, {"at": "2026-01-05T00:00:00+00:00", "kind": "fixed", "incident": "i-2", "user": "b"})
    assert [(a["kind"], a["user"]) for a in read_actions(paths)] == [("accept", "müller"), ("fixed", "b")]


@pytest.mark.parametrize("note", ["two\u2028lines", "next\x85line", "page\x0cfeed", "new\nline"])
def test_an_action_is_kept_whatever_its_note_holds(paths: MonitorPaths, note: str) -> None:
    append_action(paths, {"kind": "accept", "incident": "i-1", "note": note})
    [action] = read_actions(paths)
    assert (action["kind"], action["note"]) == ("accept", note)


def test_what_is_no_unicode_in_a_note_is_replaced(paths: MonitorPaths) -> None:
    append_action(paths, {"kind": "accept", "incident": "i-1", "note": "at the \udcff feed", "user": 7})
    with (paths.results / "actions.jsonl").open("a") as handle:
        handle.write('{"kind": "fixed", "incident": "i-1", "at": "2026-01-05", "note": "\\ud83d"}\n')
    assert [(a["note"], a.get("user", "")) for a in read_actions(paths)] == [("at the ? feed", "7"), ("?", "")]


@pytest.mark.parametrize(
    "line",
    [
        "5",
        "[]",
        "null",
        '"accept"',
        '{"kind": "accept"}',
        '{"kind": "fixed", "incident": "i-2", "at": "yesterday"}',
        '{"kind": "fixed", "incident": "i-2", "at": null}',
        '{"kind": "fixed", "incident": "i-2", "at": "2026-01-05T00:00:00", "from_window": "newest"}',
        "\xff\xfe",
        "[" * 100_000,
    ],
)
def test_a_line_that_is_no_action_harms_none_beside_it(paths: MonitorPaths, line: str) -> None:
    file = paths.results / "actions.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{line}\n", encoding="latin-1")
    kept = append_action(paths, {"kind": "accept", "incident": "i-1"})
    assert [action["incident"] for action in read_actions(paths)] == ["i-1"]
    assert acted_at(paths) == datetime.fromisoformat(kept["at"])


def test_a_moment_without_a_zone_is_utc(paths: MonitorPaths) -> None:
    append_action(paths, {"kind": "fixed", "incident": "i-1", "at": "2026-01-05T06:00:00"})
    assert acted_at(paths) == datetime(2026, 1, 5, 6, tzinfo=UTC)


# ---------------------------------------------------------------- sightline judgements


def run(tmp_path: Path, *args: str) -> tuple[int, str, Any]:
    result = CliRunner().invoke(command, list(args), env={"SIGHTLINE_HOME": str(tmp_path)})
    return result.exit_code, result.stdout, result.exception


@pytest.fixture
def filled(paths: MonitorPaths, tmp_path: Path) -> Path:
    append_judgements(paths, "model_quality", judgements(3), "run-1", NOON)
    append_judgements(paths, "model_quality", judgements(1, value=0.7), "run-2", NOON + DAY)
    append_judgements(paths, "drift", judgements(1, column="wind", segment="origin=JFK").head(1), "run-2", NOON)
    return tmp_path


def test_table(filled: Path) -> None:
    code, text, _ = run(filled, "m", "--metric", "accuracy", "--segment", "all", "--to", "2026-01-07")
    assert code == 0
    assert [line.split() for line in text.splitlines()] == [
        [
            "window_start",
            "segment",
            "model_version",
            "metric",
            "value",
            "ci_low",
            "ci_high",
            "n",
            "bound_high",
            "status",
        ],
        ["-" * n for n in (12, 7, 13, 8, 5, 6, 7, 3, 10, 6)],
        ["2026-01-05", "all", "all", "accuracy", "0.7", "0.4", "0.6", "100", "0.9", "ok"],
        ["2026-01-06", "all", "all", "accuracy", "0.5", "0.4", "0.6", "100", "0.9", "ok"],
    ]


def test_json_processed_by_and_revisions(filled: Path) -> None:
    args = ["m", "--metric", "accuracy", "--asset", "model_quality", "--to", "2026-01-06", "--format", "json"]
    _, text, _ = run(filled, *args)
    (record,) = json.loads(text)
    assert list(record) == list(JUDGEMENT_SCHEMA)
    assert (record["value"], record["revision"], record["window_start"]) == (0.7, 1, "2026-01-05T00:00:00Z")
    _, text, _ = run(filled, *args, "--processed-by", "2026-02-01T18:00:00")
    assert [r["value"] for r in json.loads(text)] == [0.5]
    _, text, _ = run(filled, *args, "--revisions")
    assert [r["value"] for r in json.loads(text)] == [0.5, 0.7]


def test_a_table_of_several_revisions_of_a_row_tells_them_apart(filled: Path) -> None:
    args = ["m", "--metric", "accuracy", "--asset", "model_quality", "--to", "2026-01-06"]
    assert "revision" not in run(filled, *args)[1]
    lines = [line.split() for line in run(filled, *args, "--revisions")[1].splitlines()]
    assert lines[0][-2:] == ["revision", "computed_at"]
    at = [line.index("ok") + 1 for line in lines[2:]]
    assert [line[i] for line, i in zip(lines[2:], at, strict=True)] == ["0", "1"]


@pytest.mark.parametrize("form", ["table", "json", "parquet"])
def test_a_reader_that_goes_away_is_no_error(filled, form):
    """``sightline judgements ... | head`` ends quietly, whatever the format."""
    code = "from sightline.cli import main; main()"
    arguments = [sys.executable, "-c", code, "judgements", "m", "--format", form]
    environment = {**os.environ, "SIGHTLINE_HOME": str(filled)}
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(arguments, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    os.close(writer)
    assert "Traceback" not in done.stderr and "Error" not in done.stderr


def test_parquet_to_stdout_and_file(filled: Path) -> None:
    result = CliRunner().invoke(command, ["m", "--format", "parquet"], env={"SIGHTLINE_HOME": str(filled)})
    found = pl.read_parquet(io.BytesIO(result.stdout_bytes))
    assert len(found) == 7
    output = filled / "out.parquet"
    assert run(filled, "m", "--format", "parquet", "--output", str(output))[0] == 0
    assert pl.read_parquet(output).equals(found)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["mm"], "no monitor 'mm'.*\n.*Did you mean 'm'"),
        (["m", "--metric", "acuracy"], "no judgement has the metric 'acuracy'.*\n.*Did you mean 'accuracy'"),
        (["m", "--column", "winds"], "Did you mean 'wind'"),
        (["m", "--segment", "origin=JKF"], "Did you mean 'origin=JFK'"),
        (["m", "--asset", "drifts"], "Did you mean 'drift'"),
        (["m", "--output", "nowhere/found.json"], "there is no folder nowhere"),
    ],
)
def test_wrong_names_get_the_nearest_one(filled: Path, args: list[str], message: str) -> None:
    code, _, error = run(filled, *args)
    assert code != 0
    assert isinstance(error, SightlineError)
    assert re.search(message, str(error))


def test_help_names_every_asset_with_judgements() -> None:
    told = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    assert "Only data_quality, drift, model_quality or estimated_quality." in told


def test_nothing_found_is_no_error(filled: Path) -> None:
    result = CliRunner().invoke(
        command, ["m", "--to", "2020-01-01", "--format", "json"], env={"SIGHTLINE_HOME": str(filled)}
    )
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])
    assert "no judgement matches" in result.stderr
    assert run(filled, "m", "--from", "tomorrow")[0] == 2

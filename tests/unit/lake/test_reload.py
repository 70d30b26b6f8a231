"""A corrected file takes the place of what it brought: rows are superseded, counted, and kept in a history."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from sightline.cli import cli
from sightline.errors import SightlineError
from sightline.lake.intake.load import intake
from sightline.lake.intake.reload import reload
from sightline.lake.intake.sources import pending
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.parts import scan_lake
from sightline.lake.store.progress import open_progress
from tests.support.lake import START, land, ledger_adds_up, make_paths, make_spec, quarantine, rows

LATER = START + timedelta(days=31)
SPEC = make_spec()
MONITOR = """\
model: {id: m, task: binary_classification}
columns: {prediction_id: id, timestamp: ts, score: p, model_version: version, features: {x: numeric, c: categorical}, \
segments: [c]}
reference: {kind: window, start: 2026-01-05, end: 2026-01-07}
"""


def lake(root: Path, kind: str = "inferences") -> pl.DataFrame:
    return scan_lake(SPEC, make_paths(root)[1], kind).collect().sort("prediction_id")


def load(root: Path, *kinds: str) -> None:
    home, paths = make_paths(root)
    for kind in kinds or ("inferences",):
        intake(SPEC, paths, kind, home)


def window_rows(root: Path, kind: str = "inferences") -> dict[str, int]:
    """Rows by window as the ledger counts them, beside those that are there."""
    paths = make_paths(root)[1]
    there = dict(lake(root, kind).group_by(pl.col("window_start").dt.strftime("%Y-%m-%d")).len().iter_rows())
    with open_progress(paths.ledger) as progress:
        counted = progress.rows(kind, progress.changes([kind]))
    assert {key: n for key, n in counted.items() if n} == there
    return there


def history(root: Path, kind: str = "inferences") -> pl.DataFrame:
    files = sorted(make_paths(root)[1].lake.glob(f"superseded_{kind}/**/*.parquet"))
    return pl.concat([pl.read_parquet(file, hive_partitioning=False) for file in files])


@pytest.mark.parametrize("suffix", ["parquet", "csv", "ndjson"])
@pytest.mark.parametrize("dropped_again", [True, False])
def test_a_corrected_file_replaces_what_it_brought(tmp_path: Path, suffix: str, dropped_again: bool) -> None:
    home, paths = make_paths(tmp_path)
    right = rows(300)
    land(paths.landing_inferences, f"a.{suffix}", right.with_columns(x=pl.lit(None, pl.Float64)))
    land(paths.landing_inferences, "b.parquet", rows(50, first=1000, seed=3))
    load(tmp_path)
    file = land(paths.landing_inferences, f"a.{suffix}", right, LATER)
    if dropped_again:
        load(tmp_path)
        assert quarantine(tmp_path)["reason"].value_counts().rows() == [("conflicting_duplicate", 300)]
    report = reload(SPEC, paths, home, [file])
    assert report.superseded == {("inferences", f"data/m/landing/inferences/a.{suffix}"): 300}
    assert report.files["inferences"].accepted == 300
    found = lake(tmp_path)
    assert len(found) == 350
    assert (
        found.filter(pl.col("prediction_id").str.len_chars() < 7).sort("predicted_at")["f_x"].to_list()
        == right["x"].to_list()
    )
    assert window_rows(tmp_path) == {"2026-01-05": 206 + 50, "2026-01-06": 94}
    assert history(tmp_path)["f_x"].null_count() == 300
    assert not list(paths.quarantine.glob("*.parquet")), "what was refused of the file is history too"
    with open_ledger(paths.ledger) as ledger:
        told = ledger.reloads()
        states = [batch.status for batch in ledger.batches("inferences")]
    assert sum(row.n_superseded for row in told) == 300
    assert sorted(states) == (["loaded", "loaded", "superseded"])
    assert pending(SPEC, paths, "inferences", home) == []
    ledger_adds_up(tmp_path)


def test_a_file_that_did_not_change_may_be_loaded_again(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    file = land(paths.landing_inferences, "a.parquet", rows(30))
    load(tmp_path)
    before = lake(tmp_path)
    reload(SPEC, paths, home, [file])
    assert lake(tmp_path).equals(before)
    ledger_adds_up(tmp_path)


def test_under_another_name_it_replaces_the_rows_of_its_ids_alone(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", rows(100).with_columns(p=pl.lit(0.5)))
    load(tmp_path)
    land(paths.landing_inferences, "corrected.parquet", rows(40), LATER)
    load(tmp_path)
    with pytest.raises(SightlineError, match="corrected"):
        reload(SPEC, paths, home, [Path("correctd.parquet")])
    kept = reload(SPEC, paths, home, [Path("corrected.parquet")])
    assert (kept.files["inferences"].accepted, lake(tmp_path)["score"].n_unique()) == (0, 1)
    done = reload(SPEC, paths, home, [Path("corrected.parquet")], replace=True)
    assert done.superseded == {("inferences", "data/m/landing/inferences/a.parquet"): 40}
    assert done.files["inferences"].accepted == 40
    found = lake(tmp_path)
    assert (len(found), found.filter(pl.col("score") == 0.5).height) == (100, 60)
    ledger_adds_up(tmp_path)


def test_a_file_that_would_be_refused_changes_nothing(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    file = land(paths.landing_inferences, "a.parquet", rows(100))
    load(tmp_path)
    before = lake(tmp_path)
    for bad, reason in (
        (rows(100).rename({"p": "score"}), "there is no column 'p'"),
        (rows(100).with_columns(id=pl.lit(None, pl.String)), "all 100 rows of the file would be refused"),
    ):
        land(paths.landing_inferences, "a.parquet", bad, LATER)
        with pytest.raises(SightlineError, match=reason):
            reload(SPEC, paths, home, [file])
        assert lake(tmp_path).equals(before)


def test_labels_follow_predictions_into_their_right_window(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    file = land(paths.landing_inferences, "a.parquet", rows(20))
    truth = pl.DataFrame({"id": [f"id-{i}" for i in range(25)], "y": [i % 2 for i in range(25)]})
    land(paths.landing_labels, "y.parquet", truth)
    load(tmp_path, "inferences", "labels")
    assert window_rows(tmp_path, "labels") == {"2026-01-05": 20}
    land(paths.landing_inferences, "a.parquet", rows(18, start=START + timedelta(days=1)), LATER)
    report = reload(SPEC, paths, home, [file])
    assert report.windows == {"2026-01-05", "2026-01-06"}
    assert window_rows(tmp_path) == {"2026-01-06": 18}
    assert window_rows(tmp_path, "labels") == {"2026-01-06": 18}
    assert sorted(lake(tmp_path, "unmatched")["prediction_id"]) == [f"id-{i}" for i in range(18, 25)]
    assert lake(tmp_path, "labels").filter(pl.col("prediction_id") == "id-3")["label_value"].to_list() == [1.0]
    ledger_adds_up(tmp_path)


def test_corrected_labels_replace_what_their_file_said(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", rows(20))
    truth = pl.DataFrame({"id": [f"id-{i}" for i in range(25)], "y": [1] * 25})
    file = land(paths.landing_labels, "y.parquet", truth)
    load(tmp_path, "inferences", "labels")
    land(paths.landing_labels, "y.parquet", truth.with_columns(y=pl.lit(0)).head(22), LATER)
    report = reload(SPEC, paths, home, [file])
    assert report.superseded == {("labels", "data/m/landing/labels/y.parquet"): 20}
    assert lake(tmp_path, "labels")["label_value"].to_list() == [0.0] * 20
    assert len(lake(tmp_path, "unmatched")) == 2
    ledger_adds_up(tmp_path)


def test_the_command_tells_what_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, paths = make_paths(tmp_path)
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    (tmp_path / "monitors").mkdir()
    (tmp_path / "monitors" / "m.yaml").write_text(MONITOR)
    land(paths.landing_inferences, "a.parquet", rows(30))
    load(tmp_path)
    file = land(paths.landing_inferences, "a.parquet", rows(29, seed=1), LATER)
    done = CliRunner().invoke(cli, ["reload", "m", str(file)], catch_exceptions=False)
    assert done.exit_code == 0
    assert "data/m/landing/inferences/a.parquet: 30 rows superseded" in done.output
    assert "inferences: 29 rows accepted, 0 left out as known, 0 refused" in done.output
    assert "inferences: 1 row fewer than before: no other loaded file holds it" in done.output
    assert "--replace" not in done.output
    assert "1 window changed (2026-01-05 to 2026-01-05)" in done.output


def test_another_file_of_the_same_name_is_not_taken_for_the_loaded_one(tmp_path: Path, monkeypatch) -> None:
    home, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", rows(10))
    load(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    rows(10, seed=8).write_parquet(elsewhere / "a.parquet")
    monkeypatch.chdir(elsewhere)
    with pytest.raises(SightlineError, match=r"(?s)another file than the one that was loaded.*copy it over"):
        reload(SPEC, paths, home, [Path("a.parquet")])
    assert len(lake(tmp_path)) == 10


def test_a_row_that_another_file_holds_too_stays(tmp_path: Path) -> None:
    """A: 0 to 99, B: 50 to 149, C: 60 to 69; then A holds 0 to 39 alone."""
    home, paths = make_paths(tmp_path)
    every = rows(150)
    land(paths.landing_inferences, "a.parquet", every.head(100))
    land(paths.landing_inferences, "b.csv", every.slice(50, 100), START + timedelta(days=30, hours=1))
    land(paths.landing_inferences, "c.parquet", every.slice(60, 10), START + timedelta(days=30, hours=2))
    land(paths.landing_inferences, "far.parquet", rows(10, first=900), START + timedelta(days=30, hours=3))
    load(tmp_path)
    assert (len(lake(tmp_path)), len(quarantine(tmp_path))) == (160, 60)
    file = land(paths.landing_inferences, "a.parquet", every.head(40).with_columns(p=pl.lit(0.5)), LATER)
    report = reload(SPEC, paths, home, [file])
    place = "data/m/landing/inferences"
    assert report.holders == [f"{place}/b.csv", f"{place}/c.parquet"]
    assert report.superseded == {("inferences", f"{place}/a.parquet"): 100, ("inferences", f"{place}/b.csv"): 50}
    assert report.files["inferences"].accepted == 140
    found = lake(tmp_path)
    assert set(found["prediction_id"]) == {f"id-{i}" for i in [*range(40), *range(50, 150), *range(900, 910)]}
    assert found.filter(pl.col("score") == 0.5).height == 40
    again = found.join(every.select("id", "p"), left_on="prediction_id", right_on="id").filter(pl.col("score") != 0.5)
    assert (again["score"] - again["p"]).abs().max() < 1e-12 and len(again) == 100
    assert quarantine(tmp_path)["source"].to_list() == [f"{place}/c.parquet"] * 10
    assert sum(window_rows(tmp_path).values()) == 150
    assert pending(SPEC, paths, "inferences", home) == []
    ledger_adds_up(tmp_path)
    report = reload(SPEC, paths, home, [file])
    assert (report.holders, len(lake(tmp_path))) == ([], 150)
    ledger_adds_up(tmp_path)


def test_rows_that_gave_way_to_replace_come_back_when_these_are_gone(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", rows(100).with_columns(p=pl.lit(0.25)))
    load(tmp_path)
    file = land(paths.landing_inferences, "corrected.parquet", rows(40), LATER)
    load(tmp_path)
    reload(SPEC, paths, home, [file], replace=True)
    land(paths.landing_inferences, "corrected.parquet", rows(10), LATER + timedelta(hours=1))
    reload(SPEC, paths, home, [file])
    found = lake(tmp_path)
    assert (len(found), found.filter(pl.col("score") == 0.25).height) == (100, 90)
    ledger_adds_up(tmp_path)


def test_a_file_that_is_gone_or_damaged_keeps_what_it_brought(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", rows(30))
    gone = land(paths.landing_inferences, "b.parquet", rows(20, first=20), START + timedelta(days=30, hours=1))
    load(tmp_path)
    gone.unlink()
    file = land(paths.landing_inferences, "a.parquet", rows(5), LATER)
    report = reload(SPEC, paths, home, [file])
    assert report.holders == []
    assert set(lake(tmp_path)["prediction_id"]) == {f"id-{i}" for i in [*range(5), *range(30, 40)]}
    ledger_adds_up(tmp_path)


def test_a_label_that_another_file_holds_too_stays(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", rows(40))
    truth = pl.DataFrame({"id": [f"id-{i}" for i in range(40)], "y": [i % 2 for i in range(40)]})
    file = land(paths.landing_labels, "y.parquet", truth.head(30))
    land(paths.landing_labels, "z.parquet", truth.slice(20, 20), START + timedelta(days=30, hours=1))
    load(tmp_path, "inferences", "labels")
    assert len(lake(tmp_path, "labels")) == 40
    land(paths.landing_labels, "y.parquet", truth.head(15).with_columns(y=1 - pl.col("y")), LATER)
    report = reload(SPEC, paths, home, [file])
    assert report.holders == ["data/m/landing/labels/z.parquet"]
    found = dict(lake(tmp_path, "labels").select("prediction_id", "label_value").iter_rows())
    wanted = {f"id-{i}": float(1 - i % 2 if i < 15 else i % 2) for i in [*range(15), *range(20, 40)]}
    assert found == wanted
    ledger_adds_up(tmp_path)


def test_the_command_names_replace_where_it_would_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, paths = make_paths(tmp_path)
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    (tmp_path / "monitors").mkdir()
    (tmp_path / "monitors" / "m.yaml").write_text(MONITOR)
    land(paths.landing_inferences, "a.parquet", rows(30))
    repeated = pl.concat([rows(12, seed=5), rows(2, seed=6)])
    land(paths.landing_inferences, "new file.parquet", repeated, LATER)
    load(tmp_path)
    done = CliRunner().invoke(cli, ["reload", "m", "new file.parquet"], catch_exceptions=False)
    assert "inferences: 14 rows left out because other files brought others under the same ids" in done.output
    assert "sightline reload m --replace 'new file.parquet'" in done.output
    done = CliRunner().invoke(cli, ["reload", "m", "--replace", "new file.parquet"], catch_exceptions=False)
    assert "inferences: 12 rows accepted" in done.output
    assert "other files" not in done.output


def test_an_unknown_file_is_told_with_ten_of_those_there_are(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    for i in range(14):
        land(paths.landing_inferences, f"{i:02}.parquet", rows(1, first=i))
    with pytest.raises(SightlineError) as caught:
        reload(SPEC, paths, home, [Path("zzz")])
    text = str(caught.value)
    assert text.count(".parquet") == 10
    assert text.endswith("09.parquet and 4 more.")


def test_a_file_that_is_being_written_is_not_loaded_again(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    text = rows(5).write_csv()
    land(paths.landing_inferences, "a.csv", rows(5), START)
    load(tmp_path)
    before = lake(tmp_path)
    (paths.landing_inferences / "a.csv").write_text(text[:-3], encoding="utf-8")
    with pytest.raises(SightlineError, match=r"still being written.*a\.csv"):
        reload(SPEC, paths, home, [Path("a.csv")], now=LATER)
    assert lake(tmp_path).equals(before)
    (paths.landing_inferences / "a.csv").write_text(text, encoding="utf-8")
    reload(SPEC, paths, home, [Path("a.csv")], now=LATER)
    assert len(lake(tmp_path)) == 5

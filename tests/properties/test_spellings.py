"""The same table in every spelling, type, format and path gives the same numbers."""

from __future__ import annotations

import json
import os
import tempfile
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_py import Roles, compare, quality_of_rows
from metrics_py.comparison.tables import read_table
from metrics_py.profile.build import build_profile, count
from sightline.lake.intake.load import intake
from sightline.lake.store.parts import scan_lake
from sightline.log.events import InferenceEvent, LabelEvent, build_event
from sightline.log.writer import SegmentWriter
from sightline.spec.columns import Columns, Feature
from sightline.spec.model import MonitorSpec
from tests.support.lake import START, make_paths, make_spec

LABELS: dict[str, tuple[Any, Any]] = {
    "integer": (1, 0),
    "float": (1.0, 0.0),
    "boolean": (True, False),
    "digit": ("1", "0"),
    "float text": ("1.0", "0.0"),
    "python": ("True", "False"),
    "capital": ("TRUE", "FALSE"),
    "blank": (" 1", "0 "),
    "decimal": (Decimal("1.0"), Decimal("0.0")),
}
CODES: dict[str, Any] = {"integer": int, "float": float, "text": str, "float text": lambda k: f"{k}.0"}
NUMBERS: dict[str, Any] = {"double": pl.Float64, "single": pl.Float32, "decimal": pl.Decimal(20, 2)}
FORMATS = ("parquet", "csv", "ndjson")
N = 240


def base(seed: int) -> dict[str, np.ndarray]:
    """What the table says, whatever it looks like."""
    rng = np.random.default_rng(seed)
    score = np.round(rng.random(N), 3)
    return {
        "p": score,
        "y": rng.random(N) < score,
        "x": np.round(rng.normal(20, 5, N), 1),
        "c": rng.integers(1, 5, N),
        "w": rng.random(N) < 0.4,
    }


def spelled(table: dict[str, np.ndarray], label: str, code: str, number: str, flag: str) -> pl.DataFrame:
    """The table in one choice of types and spellings."""
    times = [(START + timedelta(minutes=5 * i)).replace(tzinfo=None) for i in range(N)]
    return pl.DataFrame(
        {
            "id": [f"id-{i}" for i in range(N)],
            "ts": times,
            "p": table["p"],
            "x": pl.Series(table["x"]).cast(NUMBERS[number]),
            "c": [CODES[code](int(k)) for k in table["c"]],
            "w": [LABELS[flag][0 if truth else 1] for truth in table["w"]],
            "y": [LABELS[label][0 if truth else 1] for truth in table["y"]],
        }
    )


def write(frame: pl.DataFrame, path: Path) -> Path:
    if path.suffix == ".ndjson":  # JSON has no decimals
        frame = frame.with_columns(pl.col(pl.Decimal).cast(pl.Float64))
    {".parquet": frame.write_parquet, ".csv": frame.write_csv, ".ndjson": frame.write_ndjson}[path.suffix](path)
    os.utime(path, (START.timestamp() + 30 * 86400,) * 2)
    return path


def spec_of() -> MonitorSpec:
    kinds = {"x": Feature(kind="numeric"), "c": Feature(kind="categorical"), "w": Feature(kind="categorical")}
    return make_spec(columns=Columns(prediction_id="id", timestamp="ts", score="p", features=kinds))


def lake_numbers(root: Path) -> dict[str, Any]:
    """Numbers of a lake that has been loaded: classes, categories and counts of the bins of the values."""
    _, paths = make_paths(root)
    spec = spec_of()
    rows = scan_lake(spec, paths, "inferences").collect().sort("prediction_id")
    labels = scan_lake(spec, paths, "labels").collect().sort("prediction_id")
    joined = rows.join(labels.select("prediction_id", "label_class", "label_value"), on="prediction_id")
    return {
        "rows": joined.select("prediction_id", "score", "f_c", "f_w", "label_class", "label_value").rows(),
        "x": joined["f_x"].to_numpy(),
    }


def landed(frame: pl.DataFrame, form: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        home, paths = make_paths(Path(folder))
        write(frame.drop("y"), paths.landing_inferences / f"a.{form}")
        write(frame.select("id", "y"), paths.landing_labels / f"a.{form}")
        for kind in ("inferences", "labels"):
            report = intake(spec_of(), paths, kind, home)
            assert (report.accepted, report.quarantined_by_reason) == (N, {})
        return lake_numbers(Path(folder))


def logged(frame: pl.DataFrame) -> dict[str, Any]:
    """The rows as events of the collector: read from JSON, written to the log, loaded."""
    rows = frame.with_columns(pl.col(pl.Decimal).cast(pl.Float64)).to_dicts()
    events = [
        {
            "id": row["id"], "at": row["ts"].isoformat() + "Z", "score": row["p"],
            "features": {name: row[name] for name in ("x", "c", "w")},
        }
        for row in rows
    ]  # fmt: skip
    truths = [{"id": row["id"], "value": row["y"]} for row in rows]
    spec = spec_of()
    with tempfile.TemporaryDirectory() as folder:
        home, paths = make_paths(Path(folder))
        for kind, sent, event_type in (("inferences", events, InferenceEvent), ("labels", truths, LabelEvent)):
            with SegmentWriter(paths.log, "m", kind) as log:
                log.append(
                    [event_of(spec, kind, event, event_type) for event in sent], received_at=START + timedelta(days=20)
                )
            report = intake(spec, paths, kind, home)
            assert (report.accepted, report.quarantined_by_reason) == (N, {})
        return lake_numbers(Path(folder))


def event_of(spec: Any, kind: str, event: dict[str, Any], event_type: Any) -> Any:
    found = build_event(kind, json.loads(json.dumps(event)))
    assert isinstance(found, event_type)
    return found


def check_same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert found["rows"] == wanted["rows"]
    profile = build_profile(wanted["x"], "numeric")
    assert count(profile, found["x"]).tolist() == profile.n_reference.tolist()


CHOICES = {
    "label": st.sampled_from(sorted(LABELS)),
    "code": st.sampled_from(sorted(CODES)),
    "number": st.sampled_from(sorted(NUMBERS)),
    "flag": st.sampled_from(["boolean", "python"]),
    "form": st.sampled_from(FORMATS),
    "seed": st.integers(0, 50),
}


@pytest.mark.long
@settings(max_examples=25, deadline=None)
@given(**CHOICES)
def test_landing_files_of_one_table_give_one_lake(label, code, number, flag, form, seed):
    table = base(seed)
    wanted = landed(spelled(table, "integer", "integer", "double", "boolean"), "parquet")
    assert [row[5] for row in sorted(wanted["rows"], key=lambda r: int(r[0][3:]))] == table["y"].astype(float).tolist()
    check_same(landed(spelled(table, label, code, number, flag), form), wanted)


@pytest.mark.long
@settings(max_examples=12, deadline=None)
@given(**CHOICES)
def test_events_of_a_table_give_the_lake_of_its_files(label, code, number, flag, form, seed):
    table = base(seed)
    wanted = landed(spelled(table, "integer", "integer", "double", "boolean"), "parquet")
    check_same(logged(spelled(table, label, code, number, flag)), wanted)


@settings(max_examples=40, deadline=None)
@given(**CHOICES, other=st.sampled_from(FORMATS), code_before=st.sampled_from(sorted(CODES)))
def test_compare_sees_no_change_between_spellings(label, code, number, flag, form, seed, other, code_before):
    table = base(seed)
    with tempfile.TemporaryDirectory() as folder:
        old = write(spelled(table, "integer", code_before, "double", "boolean"), Path(folder) / f"old.{other}")
        new = write(spelled(table, label, code, number, flag), Path(folder) / f"new.{form}")
        names = ["x", "c", "w", "p"]
        result = compare(old, new, columns=names, metrics=["psi", "unseen_rate"], kinds={"c": "categorical"})
        assert {row["value"] for row in result.to_dicts()} == {0.0}, result.to_text()


@settings(max_examples=40, deadline=None)
@given(**CHOICES, positive=st.sampled_from(["1", "true", "1.0"]))
def test_suites_give_the_quality_of_every_spelling(label, code, number, flag, form, seed, positive):
    table = base(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = write(spelled(table, label, code, number, flag), Path(folder) / f"a.{form}")
        rows = read_table(path).frame
    found = quality_of_rows(rows, Roles("binary_classification", "y", score="p", positive=positive))
    by_metric = {row["metric"]: row for row in found.to_dicts()}
    assert by_metric["accuracy"]["value"] == pytest.approx(np.mean((table["p"] >= 0.5) == table["y"]), abs=1e-12)
    assert by_metric["positive_rate"]["value"] == pytest.approx(table["y"].mean(), abs=1e-12)
    assert by_metric["accuracy"]["n"] == N
    assert by_metric["accuracy"]["reason"] is None


OPEN_CLASSES: dict[str, tuple[Any, Any, Any]] = {
    "integer": (0, 1, 2),
    "float": (0.0, 1.0, 2.0),
    "text": ("0", "1", "2"),
    "float text": ("0.0", "1.0", "2.0"),
    "two digits": ("0.00", "1.00", "2.00"),
    "exponent": ("0e0", "1e0", "2E+00"),
    "decimal": (Decimal("0.00"), Decimal("1.00"), Decimal("2.00")),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("spelling", list(OPEN_CLASSES))
def test_classes_of_an_open_list_are_the_same_in_every_spelling(tmp_path: Path, spelling: str, form: str) -> None:
    home, paths = make_paths(tmp_path)
    names = OPEN_CLASSES[spelling]
    columns = Columns(prediction_id="id", timestamp="ts", prediction="said")
    spec = make_spec(model={"id": "m", "task": "multiclass_classification"}, columns=columns)
    rng = np.random.default_rng(77)
    truth, said = rng.integers(0, 3, (2, 60))
    predictions = pl.DataFrame(
        {
            "id": [f"id-{i}" for i in range(60)],
            "ts": [(START + timedelta(minutes=i)).replace(tzinfo=None) for i in range(60)],
            "said": [names[k] for k in said],
        }
    )
    labels = pl.DataFrame({"id": predictions["id"], "y": [names[k] for k in truth]})
    write(predictions, paths.landing_inferences / f"a.{form}")
    write(labels, paths.landing_labels / f"a.{form}")
    for kind in ("inferences", "labels"):
        intake(spec, paths, kind, home)
    rows = scan_lake(spec, paths, "inferences").collect().sort("row_number")
    known = scan_lake(spec, paths, "labels").collect().sort("revision_order")
    assert rows["predicted_class"].to_list() == [str(k) for k in said]
    assert known["label_class"].to_list() == [str(k) for k in truth]
    together = predictions.join(labels, on="id")
    found = quality_of_rows(together, Roles("multiclass_classification", "y", prediction="said"), min_labels=1)
    accuracy = found.filter(metric="accuracy")["value"].item()
    assert accuracy == pytest.approx(float((truth == said).mean()))


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("dtype", [pl.Float32, pl.Float64])
def test_a_score_at_the_threshold_is_decided_alike_in_every_type(threshold, dtype):
    rng = np.random.default_rng([61, int(10 * threshold)])
    tenths = rng.integers(0, 11, 400)
    rows = pl.DataFrame({"y": rng.integers(0, 2, 400), "p": tenths / 10})
    roles = Roles("binary_classification", "y", score="p", threshold=threshold)
    expected = float(((tenths >= round(10 * threshold)) == (rows["y"].to_numpy() == 1)).mean())
    found = quality_of_rows(rows.with_columns(pl.col("p").cast(dtype)), roles).filter(metric="accuracy")
    assert found["value"].item() == pytest.approx(expected, abs=1e-12)

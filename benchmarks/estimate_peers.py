"""Quality estimated before labels, of two classes, of three and of a regression: Sightline beside NannyML, in one run.

Both read the same rows: a labelled reference and windows whose labels only we know. Sightline is timed from rows to
estimates, the aggregation included that its marts do once. CPU seconds are of the work alone, of short runs the median
of three. ``python -m benchmarks estimate_peers --rows 1000000 [--days 10] [--tasks cbpe,classes,dle]``
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.special import expit, softmax

from benchmarks.drift_peers import BUILD, PRELUDE, ROOT, STEADY_SECONDS, environment

SHOWN = {
    "cbpe": ("roc_auc", "accuracy", "precision", "recall", "f1", "average_precision"),
    "classes": ("roc_auc", "accuracy", "precision", "recall", "f1"),
    "dle": ("mae", "rmse"),
}
CLASSES = ("bird", "cat", "dog")
WEIGHTS = np.array([[1.2, -0.4, -0.8], [-0.5, 1.1, -0.6], [0.3, -0.7, 0.9]])
SIGHTLINE = """
import polars as pl
reference, current = pl.read_parquet(ref_path), pl.read_parquet(cur_path)
def told(found):
    means = found.group_by("metric").agg(pl.col("value").mean())
    return dict(means.iter_rows())
"""
NANNYML = """
import pandas as pd, nannyml as nml
reference, current = pd.read_parquet(ref_path), pd.read_parquet(cur_path)
chunks = {"timestamp_column_name": "at", "chunk_period": "D"} if days > 1 else {"chunk_number": 1}
def told(result, names):
    frame = result.filter(period="analysis").to_df()
    return {ours: float(frame[theirs]["value"].mean()) for ours, theirs in names.items()}
"""
SCRIPTS = {
    ("cbpe", "sightline"): SIGHTLINE
    + """
from metrics_py.estimation.calibration import calibrate
from metrics_py.estimation.cbpe import estimate
score, clipped = pl.col("score"), pl.col("score").clip(1e-15, 1 - 1e-15)
score_bin = (score * 256).floor().clip(0, 255).cast(pl.Int32)
def judge(old, new):
    labels = old.group_by(score_bin=score_bin, is_positive=pl.col("y") == 1).agg(n=pl.len().cast(pl.Int64))
    window, decided = pl.col("at").dt.truncate("1d"), pl.col("decided").cast(pl.String)
    bins = new.group_by(window=window, predicted_class=decided, score_bin=score_bin).agg(
        n=pl.len().cast(pl.Int64), sum_score=score.sum(), sum_squared_score=(score**2).sum(),
        sum_log_loss_positive=-clipped.log().sum(), sum_log_loss_negative=-(1 - clipped).log().sum())
    return estimate(bins, calibrate(labels), positive="1", min_rows=100, by=["window"])
judge(reference.head(2000), current.head(2000))
start = cpu()
found = judge(reference, current)
print(json.dumps({"cpu_seconds": cpu() - start, "values": told(found)}))
""",
    ("classes", "sightline"): SIGHTLINE
    + """
from metrics_py.estimation.class_calibration import calibrate_classes
from metrics_py.estimation.multiclass import estimate
classes = ["bird", "cat", "dog"]
def judge(old, new):
    def counted(frame, keys):
        parts = []
        for name in classes:
            score = pl.col(f"p_{name}")
            clipped = score.clip(1e-15, 1 - 1e-15)
            parts.append(frame.group_by(
                **keys(name), predicted_class=pl.col("decided"), class_name=pl.lit(name),
                score_bin=(score * 256).floor().clip(0, 255).cast(pl.Int32),
            ).agg(n=pl.len().cast(pl.Int64), sum_log_loss=-clipped.log().sum(), sum_score=score.sum(),
                sum_squared_score=(score**2).sum()))
        return pl.concat(parts)
    labels = counted(old, lambda name: {"is_positive": pl.col("y") == name})
    bins = counted(new, lambda name: {"window": pl.col("at").dt.truncate("1d")})
    found = estimate(bins, calibrate_classes(labels, classes), min_rows=100, by=["window"])
    return found.with_columns(pl.col("metric").str.strip_suffix("_macro"))
judge(reference.head(2000), current.head(2000))
start = cpu()
found = judge(reference, current)
print(json.dumps({"cpu_seconds": cpu() - start, "values": told(found)}))
""",
    ("dle", "sightline"): SIGHTLINE
    + """
import numpy as np
from metrics_py.estimation.dle import estimate, learn_errors
from metrics_py.profile.build import build_profile
error, prediction = (pl.col("prediction") - pl.col("y")).abs(), pl.col("prediction")
def judge(old, new):
    ends, bins = build_profile(old["prediction"], "numeric", bins=32).cuts()
    def binned(frame):
        return frame.with_columns(prediction_bin=pl.Series(bins[np.searchsorted(ends, frame["prediction"].to_numpy())]))
    sums = {"n": pl.len().cast(pl.Int64), "sum_prediction": prediction.sum()}
    errors = binned(old).group_by("prediction_bin").agg(
        **sums, sum_abs_error=error.sum(), sum_squared_error=(error**2).sum(), sum_fourth_error=(error**4).sum())
    counts = binned(new).group_by("prediction_bin", window=pl.col("at").dt.truncate("1d")).agg(**sums)
    return estimate(counts, learn_errors(errors), min_rows=100, by=["window"])
judge(reference.head(2000), current.head(2000))
start = cpu()
found = judge(reference, current)
print(json.dumps({"cpu_seconds": cpu() - start, "values": told(found)}))
""",
    ("cbpe", "nannyml"): NANNYML
    + """
names = {name: name for name in ("roc_auc", "accuracy", "precision", "recall", "f1", "average_precision")}
def judge(old, new):
    estimator = nml.CBPE(y_pred_proba="score", y_pred="decided", y_true="y", problem_type="classification_binary",
        metrics=list(names), **chunks)
    return estimator.fit(old).estimate(new)
judge(reference.head(2000), current.head(2000))
start = cpu()
found = judge(reference, current)
print(json.dumps({"cpu_seconds": cpu() - start, "values": told(found, names)}))
""",
    ("classes", "nannyml"): NANNYML
    + """
names = {name: name for name in ("roc_auc", "accuracy", "precision", "recall", "f1")}
def judge(old, new):
    estimator = nml.CBPE(y_pred_proba={name: f"p_{name}" for name in ("bird", "cat", "dog")}, y_pred="decided",
        y_true="y", problem_type="classification_multiclass", metrics=list(names), **chunks)
    return estimator.fit(old).estimate(new)
judge(reference.head(2000), current.head(2000))
start = cpu()
found = judge(reference, current)
print(json.dumps({"cpu_seconds": cpu() - start, "values": told(found, names)}))
""",
    ("dle", "nannyml"): NANNYML
    + """
names = {"mae": "mae", "rmse": "rmse"}
def judge(old, new):
    estimator = nml.DLE(feature_column_names=["x0", "x1", "x2"], y_pred="prediction", y_true="y",
        metrics=list(names), **chunks)
    return estimator.fit(old).estimate(new)
judge(reference.head(2000), current.head(2000))
start = cpu()
found = judge(reference, current)
print(json.dumps({"cpu_seconds": cpu() - start, "values": told(found, names)}))
""",
}


def sample(task: str, rows: int, days: int, shift: float, seed: int) -> pl.DataFrame:
    """Rows of a model with overconfident scores, or errors that grow with the prediction; `shift` moves an input."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(rows, 3)) + np.array([shift, 0, 0])
    signal = inputs @ np.array([1.0, 0.8, -0.5])
    start = np.datetime64("2026-01-01T00:00:00")
    columns: dict[str, Any] = {
        "at": start + (np.arange(rows) * (days * 86_400_000_000 // rows)).astype("timedelta64[us]"),
        **{f"x{i}": inputs[:, i] for i in range(3)},
    }
    if task == "classes":
        logits = inputs @ WEIGHTS + np.array([0.4, 0.0, -0.4])
        scores, truth = softmax(1.5 * logits, axis=1), softmax(logits, axis=1)
        drawn = (truth.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1).clip(0, 2)
        columns |= {f"p_{name}": scores[:, k] for k, name in enumerate(CLASSES)}
        columns |= {"decided": np.array(CLASSES)[scores.argmax(axis=1)], "y": np.array(CLASSES)[drawn]}
    elif task == "cbpe":
        score = expit(1.4 * (signal - 1))
        columns |= {"score": score, "decided": (score >= 0.5).astype(np.int64)}
        columns |= {"y": (rng.random(rows) < expit(signal - 1)).astype(np.int64)}
    else:
        prediction = 50 + 10 * signal
        columns |= {"prediction": prediction, "y": prediction + np.exp(0.3 * signal) * rng.normal(size=rows)}
    return pl.DataFrame(columns)


def realised(task: str, rows: pl.DataFrame) -> dict[str, float]:
    """What the labels say, by scikit-learn; the mean over the days."""
    from sklearn import metrics as sk

    found: dict[str, list[float]] = {name: [] for name in SHOWN[task]}
    for _, day in rows.group_by(pl.col("at").dt.date(), maintain_order=True):
        y = day["y"].to_numpy()
        if task == "cbpe":
            score, decided = day["score"].to_numpy(), day["decided"].to_numpy()
            found["roc_auc"].append(sk.roc_auc_score(y, score))
            found["average_precision"].append(sk.average_precision_score(y, score))
            for name in ("accuracy", "precision", "recall", "f1"):
                found[name].append(getattr(sk, f"{name}_score")(y, decided))
        elif task == "classes":
            scores, decided = day.select(f"p_{name}" for name in CLASSES).to_numpy(), day["decided"].to_numpy()
            found["roc_auc"].append(sk.roc_auc_score(y, scores, multi_class="ovr"))
            found["accuracy"].append(sk.accuracy_score(y, decided))
            for name in ("precision", "recall", "f1"):
                found[name].append(getattr(sk, f"{name}_score")(y, decided, average="macro"))
        else:
            prediction = day["prediction"].to_numpy()
            found["mae"].append(sk.mean_absolute_error(y, prediction))
            found["rmse"].append(sk.root_mean_squared_error(y, prediction))
    return {name: float(np.mean(values)) for name, values in found.items()}


def measure(task: str, tool: str, reference: Path, current: Path, days: int) -> dict[str, Any]:
    """CPU seconds and estimates of one tool; the median of three short runs."""
    command = [str(environment(tool)), "-W", "ignore", "-c", PRELUDE + SCRIPTS[task, tool]]
    runs: list[dict[str, Any]] = []
    while not runs or (len(runs) < 3 and runs[0]["cpu_seconds"] < STEADY_SECONDS):
        done = subprocess.run(  # noqa: S603 (its own command)
            [*command, str(reference), str(current), str(days), "default"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"{tool} failed:\n{done.stderr[-2000:]}")
        runs.append(json.loads(done.stdout.strip().splitlines()[-1]))
    return sorted(runs, key=lambda run: run["cpu_seconds"])[len(runs) // 2]


def main(arguments: list[str] | None = None) -> None:
    """Generate, measure, print the values and the ratio of the times."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks estimate_peers", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of reference and of current, each")
    parser.add_argument("--days", type=int, default=10, help="daily windows the current rows are spread over")
    parser.add_argument("--shift", type=float, default=0.5, help="standard deviations an input has moved by")
    parser.add_argument("--tasks", default="cbpe,classes,dle")
    options = parser.parse_args(arguments)
    BUILD.mkdir(parents=True, exist_ok=True)
    for task in options.tasks.split(","):
        with tempfile.TemporaryDirectory(dir=BUILD) as folder:
            reference, current = Path(folder, "reference.parquet"), Path(folder, "current.parquet")
            sample(task, options.rows, 30, 0.0, 1).write_parquet(reference)
            rows = sample(task, options.rows, options.days, options.shift, 2)
            rows.write_parquet(current)
            found = {tool: measure(task, tool, reference, current, options.days) for tool in ("sightline", "nannyml")}
        own, theirs = (found[tool]["cpu_seconds"] for tool in ("sightline", "nannyml"))
        print(f"{task}: {options.rows:,} rows against {options.rows:,}, {options.days} window(s)")
        print(f"  CPU seconds: sightline {own:.2f}, nannyml {theirs:.2f} ({theirs / own:.0f} times)")
        final = realised(task, rows)
        for name in SHOWN[task]:
            ours, peer = (found[tool]["values"][name] for tool in ("sightline", "nannyml"))
            print(f"  {name:<18} realised {final[name]:.4f}   sightline {ours:.4f}   nannyml {peer:.4f}")


if __name__ == "__main__":
    main()

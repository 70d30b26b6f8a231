"""`sightline init`: roles and kinds from a sample, every assumption said, the result loads."""

from __future__ import annotations

import datetime as dt
import random

import polars as pl
import pytest
from click.testing import CliRunner

from sightline.cli import cli
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.spec.infer import infer_monitor
from sightline.spec.loader import load_monitor, load_monitors
from sightline.warehouse.reference_data import file_data

N = 400
RNG = random.Random(7)
TIMES = [dt.datetime(2026, 9, 1) + dt.timedelta(minutes=20 * i) for i in range(N)]


def binary(**more) -> pl.DataFrame:
    columns = {
        "request_id": [f"r{i}" for i in range(N)],
        "scored_at": TIMES,
        "P_churn": [RNG.random() for _ in range(N)],
        "label": [RNG.random() < 0.3 for _ in range(N)],
        "plan": [RNG.choice("abc") for _ in range(N)],
        "age": [RNG.randrange(80) for _ in range(N)],
        **more,
    }
    return pl.DataFrame({name: values for name, values in columns.items() if values is not None}, strict=False)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    return Home(tmp_path)


def init(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["init", *arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.mark.parametrize("form", ["parquet", "csv", "ndjson"])
def test_binary_sample(home, form):
    path = home.root / f"Churn sample.{form}"
    frame = binary()
    {"parquet": frame.write_parquet, "csv": frame.write_csv}.get(form, frame.write_ndjson)(path)
    told = init(str(path))
    spec = load_monitor(home.monitors / "churn_sample.yaml")
    assert spec.model.task == "binary_classification"
    assert (spec.columns.prediction_id, spec.columns.timestamp, spec.columns.score) == (
        "request_id",
        "scored_at",
        "P_churn",
    )
    assert spec.labels is not None and spec.labels.column == "label" and spec.labels.positive is True
    assert {n: f.kind for n, f in spec.columns.features.items()} == {"plan": "categorical", "age": "numeric"}
    assert spec.columns.segments == ("plan",)
    assert (spec.reference.kind, spec.reference.path) == ("file", path.name)
    assert spec.key(spec.first_window) == "2026-09-01"
    assert "task binary_classification: label has 2 values   (--task)" in told
    assert "score = 'P_churn': by its name, and its values lie between 0 and 1   (--score COLUMN)" in told
    assert (home.root / "schemas" / "monitor.schema.json").exists()


def test_first_line_points_editors_to_the_schema(home):
    binary().write_csv(home.root / "s.csv")
    init(str(home.root / "s.csv"))
    first = (home.monitors / "s.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=../schemas/monitor.schema.json"


def test_never_overwrites_without_force(home):
    binary().write_csv(home.root / "s.csv")
    init(str(home.root / "s.csv"))
    (home.monitors / "s.yaml").write_text("mine")
    with pytest.raises(SightlineError, match="exists already") as caught:
        init(str(home.root / "s.csv"))
    assert "--force" in str(caught.value.fix)
    assert (home.monitors / "s.yaml").read_text() == "mine"
    init(str(home.root / "s.csv"), "--force")
    assert load_monitor(home.monitors / "s.yaml").id == "s"


def test_awkward_columns_survive(home):
    awkward = {
        "select": ["x"] * N, "größe (m²)": [1.5] * N, 'say "hi": #1': [1] * N, "it's": ["a", "b"] * (N // 2),
        "no": [True] * N,
        "123": [1.0] * N, "{{ x }}": ["a"] * N, "back\\slash": [1] * N, "tab\there": [1] * N, "trailing ": [1] * N,
    }  # fmt: skip
    frame = binary(**awkward)
    frame.write_parquet(home.root / "s.parquet")
    init(str(home.root / "s.parquet"))
    spec = load_monitor(home.monitors / "s.yaml")
    assert set(awkward) <= set(spec.columns.features)


def test_columns_that_cannot_be_features_are_left_out_aloud(home):
    frame = binary(PLAN=["x"] * N, gap=[dt.timedelta(1)] * N, empty=[None] * N, **{"@x": [1] * N})
    frame.write_parquet(home.root / "s.parquet")
    told = init(str(home.root / "s.parquet"))
    text = (home.monitors / "s.yaml").read_text()
    assert load_monitor(home.monitors / "s.yaml").columns.features.keys() == {"plan", "age"}
    for name, reason in {
        "PLAN": "differs from 'plan' only in case",
        "gap": "cannot be judged",
        "empty": "no value in the sample",
        "@x": "starts with @",
    }.items():
        assert f"left out {name!r}" in told
        assert reason in told and reason in text


def test_usual_names_of_other_roles(home):
    more = {
        "model_version": ["v1"] * N,
        "user_id": ["u"] * N,
        "latency_ms": [3.5] * N,
        "status_code": [200, 500] * (N // 2),
    }
    draft = infer_monitor(binary(**more))
    assert draft.roles["model_version"] == "model_version"
    assert draft.roles["entity_id"] == "user_id"
    assert draft.roles["latency_ms"] == "latency_ms"
    assert draft.roles["status"] == "status_code"


def test_versions_of_a_csv_file_are_versions_and_measurements_are_not():
    assert infer_monitor(binary(model_version=[2.0, 2.1] * (N // 2))).roles["model_version"] == "model_version"
    draft = infer_monitor(binary(version=[i / 7 for i in range(N)]))
    assert "model_version" not in draft.roles
    assert "version" in draft.features


def test_features_that_merely_sound_like_a_role():
    draft = infer_monitor(binary(status=["married", "single"] * (N // 2), weight=[70.5] * N, model=["golf"] * N))
    assert {"status", "weight", "model"} <= draft.features.keys()


def test_regression_sample():
    frame = binary(
        P_churn=None, prediction=[RNG.gauss(0, 1) for _ in range(N)], label=[RNG.gauss(0, 1) for _ in range(N)]
    )
    draft = infer_monitor(frame)
    assert draft.task == "regression"
    assert draft.roles["prediction"] == "prediction"


def test_multiclass_sample_with_probabilities(home):
    rows = [sorted([RNG.random(), RNG.random()]) for _ in range(N)]
    shares = {
        "p_red": [a for a, _ in rows],
        "p_blue": [b - a for a, b in rows],
        "p_dark green": [1 - b for _, b in rows],
    }
    frame = binary(P_churn=None, label=[RNG.choice(["red", "blue", "dark green"]) for _ in range(N)], **shares)
    frame.write_parquet(home.root / "s.parquet")
    init(str(home.root / "s.parquet"))
    spec = load_monitor(home.monitors / "s.yaml")
    assert spec.model.task == "multiclass_classification"
    assert spec.columns.class_scores == {"red": "p_red", "blue": "p_blue", "dark green": "p_dark green"}


def test_classes_of_several_are_proposed(home):
    words = ["red", "blue", 'dark "green"', "unknown"]
    frame = binary(P_churn=None, label=[words[k % 4] for k in range(N)], prediction=[words[k % 2] for k in range(N)])
    frame.write_csv(home.root / "s.csv")
    init(str(home.root / "s.csv"))
    spec = load_monitor(home.monitors / "s.yaml")
    assert spec.labels is not None and spec.labels.classes == ("blue", 'dark "green"', "red")


def test_the_time_of_the_truth_is_proposed_and_no_feature(home):
    binary(labelled_at=[t + dt.timedelta(days=9) for t in TIMES]).write_csv(home.root / "s.csv")
    told = init(str(home.root / "s.csv"))
    spec = load_monitor(home.monitors / "s.yaml")
    assert spec.labels is not None and spec.labels.observed_at == "labelled_at"
    assert "labelled_at" not in spec.columns.features and "labels.observed_at = 'labelled_at'" in told
    assert spec.columns.timestamp != "labelled_at"


def test_a_folder_of_predictions_and_labels_is_refused_by_the_names_of_the_files(home):
    folder = home.root / "s"
    folder.mkdir()
    sample = binary()
    sample.drop("label").head(20).write_csv(folder / "a.csv")
    sample.drop("label").tail(20).write_csv(folder / "b.csv")
    init(str(folder))
    sample.select(sample.columns[0], "label").head(20).write_csv(folder / "truth.csv")
    with pytest.raises(SightlineError, match=r"1 of 3 files are no files of predictions: truth\.csv has no ") as caught:
        init(str(folder), "--force")
    assert "files of labels have a landing folder of their own" in str(caught.value)


def test_sample_without_label(home):
    binary(label=None).write_csv(home.root / "s.csv")
    told = init(str(home.root / "s.csv"))
    text = (home.monitors / "s.yaml").read_text()
    assert "no label found" in told
    assert load_monitor(home.monitors / "s.yaml").labels is None
    filled = text.replace("# labels:", "labels:").replace("#   ", "  ")
    (home.monitors / "s.yaml").write_text(filled)
    assert load_monitor(home.monitors / "s.yaml").labels is not None


def test_given_roles_win(home):
    frame = binary(other_time=[t + dt.timedelta(days=9) for t in TIMES], truth2=["yes", "no"] * (N // 2))
    frame.write_csv(home.root / "s.csv")
    init(
        str(home.root / "s.csv"), "--timestamp", "other_time", "--label", "truth2", "--id", "mine", "--owner", "team:x"
    )
    spec = load_monitor(home.monitors / "mine.yaml")
    assert spec.columns.timestamp == "other_time"
    assert spec.labels is not None and (spec.labels.column, spec.labels.positive) == ("truth2", "yes")
    assert spec.model.owner == "team:x"


@pytest.mark.parametrize(
    ("arguments", "what", "fix"),
    [
        (["--label", "labl"], "the sample has no column 'labl'", "Did you mean 'label'?"),
        (["--task", "binary"], "unknown task 'binary'", "binary_classification"),
        (["--task", "ranking"], "the query of a ranking model", "--query-id"),
        (["--task", "regression"], "the output of a regression model", "--prediction"),
        (["--timestamp", "plan"], "no column of the sample can be the time", "--timestamp"),
    ],
)
def test_what_cannot_be_told(home, arguments, what, fix):
    binary().write_csv(home.root / "s.csv")
    with pytest.raises(SightlineError, match=what) as caught:
        init(str(home.root / "s.csv"), *arguments)
    assert fix in str(caught.value.fix)
    assert not (home.monitors / "s.yaml").exists()


def test_bad_id_leaves_no_file_behind(home):
    binary().write_csv(home.root / "s.csv")
    with pytest.raises(SightlineError, match="My Model"):
        init(str(home.root / "s.csv"), "--id", "My Model")
    assert load_monitors(home) == ({}, [])


def test_repeated_ids_and_missing_times_are_noted():
    frame = binary().with_columns(
        request_id=pl.lit("same"), scored_at=pl.when(pl.int_range(N) > 5).then(pl.col("scored_at"))
    )
    notes = infer_monitor(frame).notes
    assert any(f"request_id repeats in {N - 1} rows" in note for note in notes)
    assert any("6 rows of the sample have no scored_at" in note for note in notes)


def test_few_rows_a_day_make_weekly_windows():
    frame = binary(scored_at=[dt.datetime(2026, 1, 1) + dt.timedelta(days=i) for i in range(N)])
    assert infer_monitor(frame).schedule == "weekly"


def scored(n: int = 600, seed: int = 5, **more) -> pl.DataFrame:
    rng = random.Random(seed)
    p = [rng.random() for _ in range(n)]
    columns = {
        "request_id": [f"r{i}" for i in range(n)],
        "scored_at": [dt.datetime(2026, 9, 1) + dt.timedelta(minutes=20 * i) for i in range(n)],
        "p": p,
        "churned": [int(rng.random() < x) for x in p],
        "age": [rng.randrange(80) for _ in range(n)],
        **more,
    }
    return pl.DataFrame(columns)


def test_a_column_of_0_and_1_that_goes_with_the_score_is_asked_about():
    draft = infer_monitor(scored())
    assert ("label" in draft.roles, list(draft.features)) == (False, ["age"])
    assert "--label churned takes it for the label, --no-label for a feature" in draft.left_out["churned"]
    rng = random.Random(6)
    draft = infer_monitor(scored(weekend=[rng.random() < 0.3 for _ in range(600)]))
    assert (set(draft.left_out), list(draft.features)) == ({"churned"}, ["age", "weekend"])


def test_where_several_columns_may_be_the_truth_none_becomes_a_feature_unasked():
    frame = scored()
    frame = frame.with_columns(renewed=1 - pl.col("churned"))
    draft = infer_monitor(frame)
    assert "label" not in draft.roles
    assert list(draft.features) == ["age"]
    assert set(draft.left_out) == {"churned", "renewed"}
    assert "--label churned" in draft.left_out["churned"]
    assert list(infer_monitor(frame, has_label=False).features) == ["churned", "age", "renewed"]
    given = infer_monitor(frame, given={"label": "churned"})
    assert (given.roles["label"], "renewed" in given.features) == ("churned", True)


def test_the_other_class_is_written_where_it_has_no_usual_name(home):
    path = home.root / "late.csv"
    frame = scored().with_columns(label=pl.when(pl.col("churned") == 1).then(pl.lit("pos")).otherwise(pl.lit("fine")))
    frame.drop("churned").write_csv(path)
    init(str(path))
    spec = load_monitor(home.monitors / "late.yaml")
    assert spec.labels is not None
    assert (spec.labels.positive, spec.labels.negative) == ("pos", "fine")


def test_a_csv_with_codes_and_a_line_of_its_separator(home):
    path = home.root / "m.csv"
    frame = scored().with_columns(zip=pl.Series([f"{i % 30:05d}" for i in range(600)]), amount=pl.lit("1,5"))
    path.write_text("sep=;\n" + frame.write_csv(separator=";"))
    told = init(str(path), "--no-label")
    features = load_monitor(home.monitors / "m.yaml").columns.features
    assert (features["zip"].kind, features["amount"].kind) == ("categorical", "categorical")
    assert "labels" not in told.split("features:")[0]
    text = (home.monitors / "m.yaml").read_text()
    assert "values that begin with 0, such as '00000', are codes" in text
    assert "numbers written with a comma or blanks, such as '1,5'; write 1.5" in text


def test_a_folder_of_partitions(home):
    for country, n in (("DE", 300), ("FR", 100)):
        folder = home.root / "sample" / f"country={country}"
        folder.mkdir(parents=True)
        scored(n, seed=n).with_columns(request_id=pl.lit(country) + pl.col("request_id")).write_parquet(
            folder / "a.parquet"
        )
    init(str(home.root / "sample"), "--label", "churned")
    spec = load_monitor(home.monitors / "sample.yaml")
    assert spec.columns.features["country"].kind == "categorical"
    data = file_data(spec, home)
    assert (data.n_rows, data.n_labelled) == (400, 400)
    assert data.select("f_country AS value", False)["value"].value_counts().sort("value").rows() == [
        ("DE", 300),
        ("FR", 100),
    ]


@pytest.mark.parametrize("name", ["nothere.csv", "nothere", "sub/nothere.parquet"])
def test_a_sample_that_does_not_exist_is_told_with_the_place_that_was_searched(tmp_path, monkeypatch, name):
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SightlineError, match="No such file") as caught:
        CliRunner().invoke(cli, ["init", name], catch_exceptions=False)
    assert caught.value.where == str(tmp_path / name)
    assert "a folder of them" in str(caught.value.fix)
    assert not list(tmp_path.iterdir())


def test_a_ranking_sample_whose_scores_are_any_numbers(home):
    n = 60
    frame = pl.DataFrame(
        {
            "impression_id": [f"i{i}" for i in range(n)],
            "shown_at": [f"2026-03-01T0{i % 6}:00:00" for i in range(n)],
            "query": [f"q{i // 6}" for i in range(n)],
            "score": [float(i % 7) - 3 for i in range(n)],
            "label": [float(i % 5 == 0) for i in range(n)],
        }
    )
    frame.write_parquet(home.root / "search.parquet")
    init(str(home.root / "search.parquet"), "--task", "ranking")
    spec = load_monitor(home.monitors / "search.yaml")
    assert (spec.columns.score, spec.columns.query_id, spec.columns.prediction_id) == (
        "score",
        "query",
        "impression_id",
    )
    assert spec.labels is not None and spec.labels.column == "label"


def ranked(n: int = 60, **more) -> pl.DataFrame:
    columns = {
        "hit_id": [f"i{i}" for i in range(n)],
        "shown_at": [dt.datetime(2026, 3, 1, i % 6) for i in range(n)],
        "query": [f"q{i // 6}" for i in range(n)],
        "rank_score": [float(i % 7) - 3 for i in range(n)],
        **more,
    }
    return pl.DataFrame({name: values for name, values in columns.items() if values is not None})


@pytest.mark.parametrize("label", [None, [i % 3 for i in range(60)]])
def test_a_score_that_is_no_probability_is_called_none(label):
    draft = infer_monitor(ranked(label=label), given={"score": "rank_score"})
    assert (draft.task, draft.roles["query_id"]) == ("ranking", "query")
    assert draft.task_reason == "rank_score is no probability, and query is called like a query"
    with pytest.raises(SightlineError, match="rank_score is no probability") as caught:
        infer_monitor(ranked(query=None), given={"score": "rank_score"})
    assert "--task ranking" in str(caught.value.fix) and "--prediction" in str(caught.value.fix)


def test_a_forecast_is_the_output_of_a_regression():
    frame = ranked(query=None, rank_score=None, forecast=[i * 1.5 for i in range(60)])
    draft = infer_monitor(frame)
    assert (draft.task, draft.roles["prediction"]) == ("regression", "forecast")


def test_decisions_that_a_threshold_makes_are_told_from_the_truth():
    draft = infer_monitor(scored().with_columns(decision=pl.col("p") >= 0.5))
    assert "--prediction decision takes it for them" in draft.left_out["decision"]
    assert "may be the truth or an input: --label churned" in draft.left_out["churned"]
    assert list(draft.features) == ["age"]

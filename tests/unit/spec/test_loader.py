"""Loading monitor files: good ones, and every mistake told with its line and the way out."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from sightline.errors import SightlineError
from sightline.home import Home
from sightline.spec.docs import EXAMPLE
from sightline.spec.loader import SpecError, find_monitor, load_monitor, load_monitors

BINARY = """\
model: {id: m, task: binary_classification}
columns:
  score: p
  features: {a: numeric}
labels: {}
reference: {start: 2026-01-01, end: 2026-02-01}
"""


def write(folder: Path, text: str, name: str = "m.yaml") -> Path:
    path = folder / "monitors" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def mistakes(folder: Path, text: str, name: str = "m.yaml") -> list[tuple[int, str, str]]:
    """(line, what, fix) of every mistake in a file."""
    path = write(folder, text, name)
    with pytest.raises(SpecError) as caught:
        load_monitor(path)
    found = []
    for problem in caught.value.problems:
        assert problem.where is not None
        file, _, line = problem.where.rpartition(":")
        assert file == str(path)
        found.append((int(line), problem.what, problem.fix or ""))
    return found


def one_mistake(folder: Path, text: str, name: str = "m.yaml") -> tuple[int, str, str]:
    found = mistakes(folder, text, name)
    assert len(found) == 1, found
    return found[0]


def test_example_of_the_documentation_loads(tmp_path):
    spec = load_monitor(write(tmp_path, EXAMPLE, "flight_delay.yaml"))
    assert spec.id == "flight_delay"
    assert spec.columns.features["distance"].kind == "numeric"
    assert spec.columns.features["wind_speed"].max == 150
    assert spec.labels is not None and spec.labels.expected_delay == timedelta(hours=12)
    assert spec.reference.start == datetime(2026, 1, 1, tzinfo=UTC)
    assert spec.first_window == datetime(2026, 1, 1, tzinfo=UTC)
    assert str(spec.alerts.budget) == "1 per 90d"
    assert spec.alerts.budget.windows(spec.window) == 90
    assert spec.warmup_windows == 28
    assert (str(spec.warnings), spec.warnings.windows(spec.window), spec.settle_windows) == ("10 per 90d", 9, 14)
    assert spec.deadlines == {
        "inferences": timedelta(days=2),
        "judgements": timedelta(days=3),
        "labels": timedelta(days=2, hours=12),
    }


def test_awkward_column_names(tmp_path):
    names = [
        "Wind Speed",
        "order",
        'say "hi"',
        "it's",
        "größe (m²)",
        "气温",
        "a: b",
        "# x",
        "123",
        "null",
        "no",
        "{{ x }}",
        "%s",
    ]
    lines = "\n".join(f"    {name!r}: numeric" if "'" not in name else f'    "{name}": numeric' for name in names)
    spec = load_monitor(write(tmp_path, BINARY.replace("  features: {a: numeric}", f"  features:\n{lines}")))
    assert list(spec.columns.features) == names


def test_keys_need_no_quotes(tmp_path):
    text = BINARY.replace(
        "{a: numeric}", "{no: boolean, on: numeric, 123: numeric, null: numeric, 1.5: numeric, true: categorical}"
    )
    spec = load_monitor(write(tmp_path, text))
    assert list(spec.columns.features) == ["no", "on", "123", "null", "1.5", "true"]


@pytest.mark.parametrize(
    ("old", "new", "line", "what", "fix"),
    [
        ("  score: p", "  scroe: p", 3, "unknown key 'scroe' in columns", "Did you mean 'score'?"),
        ("a: numeric", "a: numerc", 4, "columns.features.a.kind is 'numerc'", "Did you mean 'numeric'?"),
        ("{a: numeric}", "{a: {kind: numeric, mx: 1}}", 4, "unknown key 'mx' in columns.features.a",
         "Did you mean 'max'?"),
        ("labels: {}", "labels: {expected_delay: 12}", 5, "labels.expected_delay: 12 is no duration", ""),
        ("labels: {}", "labels: {expected_delay: -1d}", 5, "'-1d' is no duration", ""),
        ("labels: {}", "labels: {}\nalerts: {budget: 10 per 1d}", 6, "more than one false incident per window of 1d",
         "`1 per 1d`"),
        ("labels: {}", "labels: {}\nalerts: {spikes: {drift/*: 2}}", 6, "2 standard deviations are no", "3 or more"),
        ("labels: {}", "labels: {}\nalerts: {spikes: {drfit/*: 6}}", 6, "matches no stream", "Did you mean 'drift'?"),
        (
            "labels: {}",
            "labels: {}\nalerts: {thresholds: [{metric: psy, column: a, fail_above: 1}]}",
            6,
            "no check judges a metric 'psy'",
            "Did you mean 'psi'?",
        ),
        ("labels: {}", "labels: {}\nalerts: {thresholds: [{metric: n_rows}]}", 6, "has no limit", "`fail_above`"),
        (
            "labels: {}",
            "labels: {}\nalerts: {thresholds: [{metric: psi, column: b, fail_above: 1}]}",
            6,
            "no judged column",
            "Allowed: @label, @score, a.",
        ),
        ("labels: {}", "labels: {}\nalerts: {warnings: 1 per 100d}", 6, "fewer warnings (1 per 100d)", "softer"),
        ("labels: {}", "labels:", 5, "the section 'labels' is empty", "labels: {}"),
        ("labels: {}", "labels: 3", 5, "labels must be a section, not a number (3)", "write keys: column"),
        ("labels: {}", "lables: {}", 5, "unknown key 'lables' at the top level", "Did you mean 'labels'?"),
        ("  score: p", "  score: 7", 3, "columns.score must be text, not a number (7)", "put it in quotes: '7'"),
        ("  score: p", "  score: p\n  score: q", 4, "the key 'score' stands here a second time", "first: line 3"),
        ("  score: p", "  score: p\n  segments: a", 4, "columns.segments must be a list, not text ('a')", "[a, b]"),
        ("  score: p", "  score: p\n  segments: ['a=b']", 4, "the segment column 'a=b' holds an equals sign", "rename"),
        ("  score: p", "  score: ''", 3, "a column name is empty", "write the name"),
        ("{a: numeric}", "{'@a': numeric}", 4, "the column name '@a' starts with @", "rename"),
        ("{a: numeric}", "{'': numeric}", 4, "a column name is empty", "write the name"),
        ("{a: numeric}", "{a: numeric, A: numeric}", 4, "'a' and 'A' differ only in case", "rename"),
        ("{a: numeric}", "{straße: numeric, STRASSE: numeric}", 4, "differ only in case", "rename"),
        ("{a: numeric}", "{a: {kind: categorical, min: 3}}", 4, "`min` has no meaning for a categorical", "remove"),
        ("{a: numeric}", "{a: {kind: numeric, allowed: [b]}}", 4, "`allowed` has no meaning for a numeric", "remove"),
        ("{a: numeric}", "{a: {kind: numeric, min: 3, max: 1}}", 4, "min 3 is above max 1", "swap"),
        ("{a: numeric}", "{a: {kind: categorical, allowed: []}}", 4, "`allowed` is empty", "list"),
        ("  score: p", "  timestamp: t", 2, "needs columns.score or columns.prediction", "P(positive)"),
        ("  score: p", "  score: p\n  timestamp: p", 3, "the column 'p' is already columns.timestamp",
         "another column"),
        ("  score: p", "  score: p\n  class_scores: {x: y}", 4, "columns.class_scores has no meaning", "remove it"),
        ("  score: p", "  score: p\n  segments: [b, b]", 4, "'b' is named 2 times as a segment column", "once"),
        ("  score: p", "  score: p\n  segments: [b, B]", 4, "'b' and 'B' differ only in case", "rename"),
        ("2026-02-01", "2026-01-01", 6, "the reference window is empty", "later than start"),
        (", end: 2026-02-01", "", 6, "a reference window needs start and end", "write both"),
        ("end: 2026-02-01", "end: 2026-02-01, path: x", 6, "reference.path has no meaning for kind window",
         "remove it"),
        ("start: 2026-01-01", "start: 2026", 6, "reference.start: 2026 is no time", ""),
        ("start: 2026-01-01", "start: 2026-13-01", 6, "'2026-13-01' is no time", ""),
        ("{start: 2026-01-01, end: 2026-02-01}", "{kind: file}\nstart: 2026-01-01", 6, "a reference file needs `path`",
         "relative"),
        ("labels: {}", "labels: {positive: null}", 5, "binary classification needs a positive value", "positive: 1"),
        ("labels: {}", "labels: {expected_delay: 1d, give_up_after: 1h}", 5, "given up before they are expected",
         "shorter"),
        ("labels: {}", "labels: {silence: negative}", 5, "labels.silence: negative without labels.give_up_after",
         "give_up_after: 30d"),
        ("labels: {}", "labels: {silence: never}", 5, "labels.silence", "negative"),
        ("labels: {}", "version: 2", 5, "version is 2", "newer Sightline"),
        ("labels: {}", "quality: {threshold: 3}", 5, "the threshold is no probability", "0 to 1"),
        ("labels: {}", "quality: {estimation: pape}", 5, "estimated where there are labels and a score", "labels"),
        ("{a: numeric}", "{a: embedding}\nquality: {estimation: pape}", 5, "no inputs to weigh", "numeric, "),
        ("labels: {}", "quality: {quantiles: [0.1]}", 5, "quality.quantiles has no meaning for binary", "regression"),
        ("labels: {}", "drift: {bins: 2}", 5, "drift.bins is a number (2)", ""),
        ("labels: {}", "alerts: {budget: often}", 5, "'often' is no alert budget", ""),
        ("labels: {}", "alerts: {max_null_rate: {b: 0.1}}", 5, "'b' is no feature", "Allowed: @score, a."),
        ("labels: {}", "alerts: {max_null_rate: {a: 2}}", 5, "2 is no share", "0 to 1"),
        ("labels: {}", "alerts: {weights: {'drift/*': -1}}", 5, "the weight -1 is negative", "0 or more"),
        ("labels: {}", "sources: {labels: {parquet: x}}", 5, "sources.labels without a section `labels`", "add"),
        ("labels: {}", "sources: {inferences: {duckdb: x}}", 5, "sources.inferences names no data", "table"),
        ("labels: {}", "sources: {inferences: {parquet: y, duckdb: x}}", 5, "several places", "keep one"),
        ("labels: {}", "freshness: {labels: 1d}", 5, "freshness.labels without a section `labels`", "remove"),
        ("labels: {}", "metrics: [{name: x}]", 5, "needs either `sql` or `python`", "exactly one"),
        ("labels: {}", "metrics: [{name: x, python: y}]", 5, "'y' names no function", "package.module:function"),
        ("labels: {}", "metrics: [{name: x, sql: '1', columns: [score]}]", 5, "`columns` is for Python",
         "remove `columns`"),
        ("labels: {}", "metrics: [{name: x, sql: '1', needs_label: true}]", 5, "needs labels", "add a section"),
        ("labels: {}", "metrics: [{name: roc_auc, sql: '1'}]", 5, "'roc_auc' is the name of a metric that",
         "`own_roc_auc`"),
        ("labels: {}", "metrics: [{name: n_rows, sql: '1'}]", 5, "'n_rows' is the name of a metric that",
         "`own_n_rows`"),
        ("labels: {}", "metrics: [{name: value, sql: '1'}]", 5, "'value' is the name of a metric that", "`own_value`"),
        ("labels: {}", "alerts: {weights: {'drfit/*': 1}}", 5, "'drfit/*' matches no stream", "Did you mean 'drift'?"),
        ("labels: {}", "alerts: {weights: {drift: 1}}", 5, "'drift' matches no stream", "`drift/*`"),
        ("labels: {}", "alerts: {weights: {'drift/ag/*': 1}}", 5, "there is no column 'ag'", "Did you mean"),
        ("labels: {}", "value_matrix: {1: {1: 2, 0: 1}, 0: {1: 1, 0: 1}}", 5, "a value matrix needs labels", "add"),
        ("labels: {}", "labels: {}\nvalue_matrix: {1: {1: 2}, 0: {1: 2, 0: 3}}", 6, "lacks 0", "0, 1"),
        ("labels: {}", "labels: {}\nvalue_matrix: {a: {a: 2, b: 1}, b: {a: 1, b: 1}}", 6, "positive class '1'",
         "spell"),
        ("id: m,", "id: m, owner: bob,", 1, "'bob' is no owner", "team:name"),
        ("id: m,", "id: m, owner: a@b.c,", 1, "'a@b.c' is no owner", "team:name"),
        ("id: m,", "id: m, owner: ml@shop.technology,", 1, "'ml@shop.technology' is no owner", "team:name"),
        ("id: m,", "id: other,", 1, "called m.yaml, but model.id is 'other'", "rename the file to other.yaml"),
        ("id: m,", "id: My Model,", 1, "model.id is 'My Model'", "lower-case"),
        ("task: binary_classification", "task: binary", 1, "model.task is 'binary'", "binary_classification"),
        ("model: {id: m, task: binary_classification}", "schedule: daily", 1, "the key 'model' is missing",
         "add `model:"),
        ("a: numeric", "<<: numeric", 4, "merge keys", "write the keys out"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_line_and_fix(tmp_path, old, new, line, what, fix):
    assert old in BINARY
    found_line, found_what, found_fix = one_mistake(tmp_path, BINARY.replace(old, new))
    assert found_line == line
    assert what in found_what
    assert fix in found_fix


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "the file is empty"),
        ("# only a comment", "the file is empty"),
        ("- a\n- b", "the file is no mapping"),
        ("just text", "the file is no mapping"),
    ],
)
def test_files_that_are_no_monitor(tmp_path, text, what):
    line, found, fix = one_mistake(tmp_path, text)
    assert (line, fix) == (1, "start with `sightline init`")
    assert what in found


@pytest.mark.parametrize(
    ("text", "line", "fix"),
    [
        (BINARY + "\tx: 1", 7, "indent with spaces, not tabs"),
        ("a: b: c", 1, "in quotes"),
        ("a: @b", 1, "in quotes"),
        ("a: *b", 1, "in quotes"),
        ("a: [1", 1, "brackets"),
    ],
)
def test_broken_yaml(tmp_path, text, line, fix):
    path = write(tmp_path, text)
    with pytest.raises(SightlineError) as caught:
        load_monitor(path)
    assert caught.value.where == f"{path}:{line}"
    assert fix in str(caught.value.fix)


def test_file_that_is_no_text(tmp_path):
    path = write(tmp_path, "")
    path.write_bytes(b"model: {id: \xff}")
    with pytest.raises(SightlineError, match="byte 12 is not UTF-8"):
        load_monitor(path)
    with pytest.raises(SightlineError, match="No such file"):
        load_monitor(tmp_path / "monitors" / "nothing.yaml")


def test_all_mistakes_of_a_file_at_once(tmp_path):
    text = BINARY.replace("score:", "scroe:").replace("a: numeric", "a: numerc").replace("labels: {}", "labels: 3")
    assert [line for line, _, _ in mistakes(tmp_path, text)] == [3, 4, 5]


def test_alias_to_itself_is_refused(tmp_path):
    assert "an alias refers to the section it stands in" in mistakes(tmp_path, "model: &x {id: *x}")[0][1]


@pytest.mark.parametrize(
    ("task", "columns", "what"),
    [
        ("multiclass_classification", "score: p", "needs columns.prediction or columns.class_scores"),
        ("multiclass_classification", "class_scores: {a: pa}", "class_scores names only one class"),
        ("multiclass_classification", "class_scores: {a: pa, A: pb}", "differ only in case"),
        ("multiclass_classification", "class_scores: {a: p, b: p}", "'p' is named 2 times"),
        ("regression", "entity_id: e", "regression needs columns.prediction"),
        ("regression", "{prediction: y, score: z}", "columns.score has no meaning for regression"),
        ("multiclass_classification", "prediction: s}\nlabels: {classes: [a]", "names fewer than two classes"),
        (
            "multiclass_classification",
            "prediction: s}\nlabels: {classes: [a, 1, 1.0]",
            "'1' is named 2 times as a class",
        ),
        (
            "multiclass_classification",
            "class_scores: {a: p, b: q}}\nlabels: {classes: [a, c]",
            "'b' of columns.class_scores",
        ),
        ("ranking", "score: p", "ranking needs columns.score and columns.query_id"),
    ],
)
def test_what_a_task_needs(tmp_path, task, columns, what):
    columns = columns if columns.startswith("{") else "{" + columns + "}"
    text = f"model: {{id: m, task: {task}}}\ncolumns: {columns}\nreference: {{start: 2026-01-01, end: 2026-02-01}}\n"
    assert what in one_mistake(tmp_path, text)[1]


@pytest.mark.parametrize(
    "key",
    [
        "labels: {positive: 1}",
        "labels: {silence: negative, give_up_after: 9d}",
        "quality: {threshold: 0.4}",
        "value_matrix: {a: {a: 1}}",
    ],
)
def test_keys_without_meaning_for_regression(tmp_path, key):
    text = f"model: {{id: m, task: regression}}\ncolumns: {{prediction: y}}\nlabels: {{}}\n{key}\n"
    text = text.replace("labels: {}\n", "") if key.startswith("labels") else text
    line, what, fix = one_mistake(tmp_path, text + "reference: {start: 2026-01-01, end: 2026-02-01}\n")
    assert "has no meaning for regression" in what
    assert fix.startswith("remove it")
    assert line == (3 if key.startswith("labels") else 4)


@pytest.mark.parametrize("reference", ["{kind: rolling}", "{kind: file, path: x.parquet}"])
def test_start_is_needed_without_a_reference_window(tmp_path, reference):
    text = BINARY.replace("{start: 2026-01-01, end: 2026-02-01}", reference)
    assert "`start` is missing" in one_mistake(tmp_path, text)[1]
    spec = load_monitor(write(tmp_path, text + "start: 2026-01-07T13:00:00+02:00\n"))
    assert spec.start == datetime(2026, 1, 7, 11, tzinfo=UTC)


def test_a_broken_file_never_stops_the_others(tmp_path):
    write(tmp_path, BINARY)
    write(tmp_path, BINARY.replace("id: m", "id: n"), "n.yml")
    write(tmp_path, "model: [", "broken.yaml")
    write(tmp_path, BINARY.replace("score", "scroe").replace("id: m", "id: typo"), "typo.yaml")
    write(tmp_path, "", ".hidden.yaml")
    write(tmp_path, "", "_template.yaml")
    write(tmp_path, "", "notes.txt")
    (tmp_path / "monitors" / "folder.yaml").mkdir()
    specs, broken = load_monitors(Home(tmp_path))
    assert sorted(specs) == ["m", "n"]
    assert [b.path.name for b in broken] == ["broken.yaml", "typo.yaml"]
    assert "Did you mean 'score'?" in str(broken[1].error)


def test_two_files_for_one_monitor(tmp_path):
    write(tmp_path, BINARY)
    write(tmp_path, BINARY, "m.yml")
    specs, broken = load_monitors(Home(tmp_path))
    assert list(specs) == ["m"]
    assert "a second file describes the monitor 'm'" in str(broken[0].error)


def test_no_monitors_folder(tmp_path):
    assert load_monitors(Home(tmp_path)) == ({}, [])


def test_find_monitor_by_id(tmp_path):
    write(tmp_path, BINARY)
    assert find_monitor(Home(tmp_path), "m").id == "m"
    with pytest.raises(SightlineError, match="there is no monitor 'mm'") as caught:
        find_monitor(Home(tmp_path), "mm")
    assert caught.value.fix == "Did you mean 'm'?"


class TestKindsLeftOut:
    """`features: [a, b]`: kinds are told from data once and frozen."""

    TEXT = BINARY.replace("{a: numeric}", "[a, city]")

    def test_without_data_there_is_a_clear_error(self, tmp_path):
        line, what, fix = one_mistake(tmp_path, self.TEXT)
        assert line == 4
        assert "the kind of 'a', 'city' is not given, and there is no data" in what
        assert "land a first file" in fix

    def test_from_landed_data_then_frozen(self, tmp_path):
        path = write(tmp_path, self.TEXT)
        landing = Home(tmp_path).monitor("m").landing_inferences
        landing.mkdir(parents=True)
        pl.DataFrame({"a": [1, 2], "city": ["x", "y"]}).write_parquet(landing / "1.parquet")
        specs, broken = load_monitors(Home(tmp_path))
        assert not broken
        assert {n: f.kind for n, f in specs["m"].columns.features.items()} == {"a": "numeric", "city": "categorical"}
        pl.DataFrame({"a": ["z", "y"], "city": [1, 2]}).write_parquet(landing / "1.parquet")
        assert load_monitor(path).columns.features["a"].kind == "numeric"

    def test_reading_alone_freezes_nothing(self, tmp_path):
        pl.DataFrame({"a": [1], "city": ["x"]}).write_csv(tmp_path / "ref.csv")
        text = self.TEXT.replace(
            "{start: 2026-01-01, end: 2026-02-01}", "{kind: file, path: ref.csv}\nstart: 2026-01-01"
        )
        assert load_monitor(write(tmp_path, text)).columns.features["city"].kind == "categorical"
        assert not Home(tmp_path).monitor("m").reference.exists()

    @pytest.mark.parametrize(
        ("frame", "what", "fix"),
        [
            (pl.DataFrame({"a": [1], "citi": ["x"]}), "the feature 'city' is no column of", "Did you mean 'citi'?"),
            (
                pl.DataFrame({"a": [1], "city": [None]}),
                "the kind of the feature 'city' cannot be told",
                "leave the feature out",
            ),
        ],
    )
    def test_data_that_does_not_tell(self, tmp_path, frame, what, fix):
        landing = Home(tmp_path).monitor("m").landing_inferences
        landing.mkdir(parents=True)
        frame.write_parquet(landing / "1.parquet")
        line, found, found_fix = one_mistake(tmp_path, self.TEXT)
        assert (line, what in found, fix in found_fix) == (4, True, True)

    def test_contract_without_kind(self, tmp_path):
        pl.DataFrame({"a": [1.5]}).write_ndjson(tmp_path / "ref.ndjson")
        text = BINARY.replace("{a: numeric}", "{a: {min: 0}}")
        text = text.replace("{start: 2026-01-01, end: 2026-02-01}", "{kind: file, path: ref.ndjson}\nstart: 2026-01-01")
        feature = load_monitor(write(tmp_path, text)).columns.features["a"]
        assert (feature.kind, feature.min) == ("numeric", 0)

    def test_names_twice_and_entries_that_are_no_names(self, tmp_path):
        text = BINARY.replace("{a: numeric}", "[a, a, 3]")
        assert {what for _, what, _ in mistakes(tmp_path, text)} >= {
            "the feature 'a' stands here a second time",
            "an entry of features is no name",
        }

    def test_from_a_duckdb_table(self, tmp_path):
        import duckdb

        with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
            connection.execute("create table t as select 1::utinyint as a, 'x' as city")
        path = write(tmp_path, self.TEXT + "sources: {inferences: {duckdb: w.duckdb, table: t}}\n")
        assert load_monitor(path).columns.features["city"].kind == "categorical"
        path = write(tmp_path, self.TEXT + "sources: {inferences: {duckdb: w.duckdb, table: nope}}\n")
        with pytest.raises(SpecError, match="cannot read the table 'nope'"):
            load_monitor(path)

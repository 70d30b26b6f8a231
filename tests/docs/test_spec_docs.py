"""The schema and the page in the tree are what the generator writes, and tell the truth about the loader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from metrics_py.drift.methods import METHODS
from sightline.errors import SightlineError
from sightline.spec.docs import EXAMPLE, SECTIONS, spec_page
from sightline.spec.loader import load_monitor
from sightline.spec.model import MonitorSpec
from sightline.spec.schema import json_schema, schema_text
from sightline.spec.yaml_lines import read_yaml

ROOT = Path(__file__).resolve().parents[2]
UP_TO_DATE = "run `python -m sightline.spec.docs`"


def test_schema_in_the_tree_is_current():
    assert (ROOT / "schemas" / "monitor.schema.json").read_text(encoding="utf-8") == schema_text(), UP_TO_DATE


def test_page_in_the_tree_is_current():
    assert (ROOT / "docs" / "spec.md").read_text(encoding="utf-8") == spec_page(), UP_TO_DATE


def test_every_key_is_on_the_page_with_a_meaning():
    page = spec_page()
    schema = json_schema()
    for name in MonitorSpec.model_fields:
        assert f"| `{name}` |" in page or f"## `{name}`" in page
    for part in schema["$defs"].values():
        for key, node in part["properties"].items():
            assert node.get("description"), key
            assert f"| `{key}` |" in page
    assert all(section in MonitorSpec.model_fields for section in SECTIONS)


def test_the_methods_that_can_decide_are_named():
    text = json_schema()["$defs"]["Drift"]["properties"]["method"]["description"]
    able = [method.name for method in METHODS if method.can_decide]
    assert text.startswith(f"Distance that decides: {', '.join(able[:-1])} or {able[-1]}.")


def test_defaults_are_written_as_a_user_writes_them():
    text = json.dumps(json_schema())
    assert '"1 per 90d"' in text and '"28d"' in text
    assert "P90D" not in text and "P1D" not in text


def test_schema_is_valid():
    jsonschema.Draft202012Validator.check_schema(json_schema())


BASE = (
    "model: {id: m, task: regression}\ncolumns: {prediction: y, features: FEATURES}\nreference: {start: 2026-01-01, "
    "end: 2026-02-01}\n"
)
"""Both the schema (as an editor checks) and the loader must agree on these."""
DOCUMENTS = {
    "example": (EXAMPLE.replace("flight_delay", "m"), True),
    "shorthand": (BASE.replace("FEATURES", "{a: numeric}"), True),
    "contract": (BASE.replace("FEATURES", "{a: {kind: numeric, min: 0}}"), True),
    "unknown kind": (BASE.replace("FEATURES", "{a: number}"), False),
    "unknown contract key": (BASE.replace("FEATURES", "{a: {kind: numeric, mn: 0}}"), False),
    "name with @": (BASE.replace("FEATURES", "{'@a': numeric}"), False),
    "unknown key": (BASE.replace("FEATURES", "{}") + "lables: {}\n", False),
    "bad duration": (BASE.replace("FEATURES", "{}") + "labels: {expected_delay: 1 day}\n", False),
    "bad budget": (BASE.replace("FEATURES", "{}") + "alerts: {budget: 1}\n", False),
    "empty section": (BASE.replace("FEATURES", "{}") + "labels:\n", False),
    "bad time": (BASE.replace("FEATURES", "{}") + "start: soon\n", False),
    "bad schedule": (BASE.replace("FEATURES", "{}") + "schedule: monthly\n", False),
    "wrong version": (BASE.replace("FEATURES", "{}") + "version: 2\n", False),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_schema_and_loader_agree(tmp_path, name):
    text, good = DOCUMENTS[name]
    path = tmp_path / "m.yaml"
    path.write_text(text)
    document: Any = read_yaml(path).value
    errors = list(jsonschema.Draft202012Validator(json_schema()).iter_errors(document))
    assert (not errors) == good, errors
    if good:
        assert load_monitor(path).id == "m"
    else:
        with pytest.raises(SightlineError):
            load_monitor(path)

"""Every mart and every column of it is documented in docs/tables.md, as its contract says."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import yaml

from metrics_py.reasons import MEANINGS, ReasonCode

ROOT = Path(__file__).parents[2]
MARTS = sorted((ROOT / "dbt_project" / "models" / "marts").glob("*.yml"))
COMMON = {"window_key", "window_start", "model_version", "segment"}


@pytest.mark.parametrize("file", MARTS, ids=lambda file: file.stem)
def test_mart_is_documented(file):
    model = yaml.safe_load(file.read_text(encoding="utf-8"))["models"][0]
    text = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    heading = f"### `{model['name']}` ({model['config']['tags'][0]})"
    assert heading in text
    section = text.partition(heading)[2].partition("\n## ")[0].partition("\n### ")[0]
    assert model["description"] in section
    for column in model["columns"]:
        if column["name"] not in COMMON:
            row = next((line for line in section.splitlines() if line.startswith(f"| `{column['name']}`")), "")
            assert column["data_type"].upper() in row and column["description"].rstrip(".") in row, column["name"]


def test_every_model_has_its_yaml_beside_it():
    models = sorted((ROOT / "dbt_project" / "models").rglob("*.sql"))
    assert len(MARTS) == 24 and models
    for model in models:
        described = yaml.safe_load(model.with_suffix(".yml").read_text(encoding="utf-8"))["models"]
        assert [m["name"] for m in described] == [model.stem] and described[0]["description"]


def test_every_reason_code_is_explained():
    page = (ROOT / "docs" / "tables.md").read_text()
    for code, meaning in MEANINGS.items():
        assert f"| `{code}` | {meaning} |" in page
    assert set(MEANINGS) == set(get_args(ReasonCode))

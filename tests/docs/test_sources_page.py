"""Every example of docs/sources.md is a monitor's section that loads, and the page names each kind of source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sightline.spec.loader import load_monitor
from sightline.spec.source_sections import REMOTE

PAGE = (Path(__file__).parents[2] / "docs" / "sources.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
MONITOR = """\
version: 1
model: {id: churn, task: binary_classification}
columns: {score: p}
labels: {column: churned}
reference: {kind: window, start: 2026-01-01, end: 2026-01-11}
"""


@pytest.mark.parametrize("example", EXAMPLES, ids=list(REMOTE))
def test_examples_load(example: str, tmp_path: Path) -> None:
    file = tmp_path / "churn.yaml"
    file.write_text(MONITOR + example)
    sources = load_monitor(file).sources
    assert sources.inferences is not None
    assert sources.labels is not None


def test_each_kind_has_an_example() -> None:
    named = [re.findall(rf"^ +({'|'.join(REMOTE)}):", example, re.MULTILINE) for example in EXAMPLES]
    assert [set(kinds) for kinds in named] == [{kind} for kind in REMOTE]

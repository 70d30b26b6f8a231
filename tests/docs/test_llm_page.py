"""docs/llm.md: its example is a monitor, and its tables name what there is."""

from __future__ import annotations

import re
from pathlib import Path

from metrics_py.text.generation import MEASURES
from sightline.collector.formats.gen_ai import OPERATIONS, SEMANTIC_CONVENTIONS
from sightline.home import Home
from sightline.spec import plan
from sightline.spec.llm import FEEDBACK_METRICS
from sightline.spec.loader import load_monitor

PAGE = (Path(__file__).parents[2] / "docs" / "llm.md").read_text(encoding="utf-8")


def test_the_example_is_a_monitor_whose_measures_and_feedback_have_checks(tmp_path: Path):
    home = Home(tmp_path)
    home.monitors.mkdir(parents=True)
    [text] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    file = home.monitors / "assistant.yaml"
    file.write_text(text, encoding="utf-8")
    spec = load_monitor(file, home=home)
    found = {check.name for check in plan.checks(spec)}
    assert {"drift__answer_is_refusal", "drift__answer_cost", "quality__thumbs_up_rate"} <= found
    assert set(spec.columns.measured.values()) == set(MEASURES) - {"switches_language"}


def test_the_tables_name_every_measure_and_metric():
    table = PAGE.split("## What is measured")[1].split("## Feedback")[0]
    named = {name.rpartition(".")[2] for name in re.findall(r"^\| `([\w.]+)` \|", table, re.MULTILINE)}
    assert named == set(MEASURES)
    assert all(f"`{metric['name']}`" in PAGE for metrics in FEEDBACK_METRICS.values() for metric in metrics)
    assert all(f"`{operation}`" in PAGE for operation in OPERATIONS) and SEMANTIC_CONVENTIONS in PAGE

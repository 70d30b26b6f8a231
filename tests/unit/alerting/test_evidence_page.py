"""The evidence page holds every recorded number, by section, in natural order."""

from __future__ import annotations

import json

from tests.simulation.write_evidence import read, render


def entry(name, measured, section="Alerts", n=1000):
    return {"name": name, "section": section, "promised": f"promise of {name}", "measured": measured, "n": n}


def test_every_case_is_a_row(tmp_path):
    entries = [
        entry("null-c9000", {"Gaussian": 0.00712, "t3|x": 0.01}),
        entry("null-c90", 1.3),
        entry("coverage", {"n=100": {"low": 0.94, "high": [0.95, 0.96]}}, section="Intervals", n=600),
    ]
    for item in entries:
        (tmp_path / f"{item['name']}.json").write_text(json.dumps(item), encoding="utf-8")
    page = render(read(tmp_path))
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert "| null-c90 | promise of null-c90 |  | 1.3 | 1,000 |" in rows
    assert "| null-c9000 | promise of null-c9000 | Gaussian | 0.00712 | 1,000 |" in rows
    assert "|  |  | t3\\|x | 0.01 | 1,000 |" in rows
    assert "| coverage | promise of coverage | n=100, low | 0.94 | 600 |" in rows
    assert "|  |  | n=100, high | 0.96 | 600 |" in rows
    assert page.index("| null-c90 |") < page.index("| null-c9000 |")
    assert page.index("## Alerts") < page.index("## Intervals")

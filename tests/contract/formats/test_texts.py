"""Texts that come in over HTTP are described as those of files are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sightline.home import Home
from sightline.lake.intake.load import intake
from sightline.lake.store.parts import scan_lake
from sightline.spec.loader import load_monitor
from tests.support.collector_site import INFER, Site, run

DAY = (datetime.now(UTC) - timedelta(days=2)).replace(hour=6, minute=0, second=0, microsecond=0)
SPEC = f"""\
model: {{id: m, task: regression}}
columns:
  prediction: y
  features:
    review: {{kind: text, descriptors: [characters, words, script, {{name: refund, words: [refund]}}]}}
    review.characters: {{max: 100}}
  segments: [review.script]
reference: {{start: {DAY - timedelta(days=9):%Y-%m-%d}, end: {DAY - timedelta(days=1):%Y-%m-%d}}}
"""
TEXTS = ["A refund, please", "", "привет", "z" * 500]


def test_the_collector_takes_texts_and_the_intake_describes_them(tmp_path: Path):
    home = Home(tmp_path)
    home.monitors.mkdir(parents=True)
    (home.monitors / "m.yaml").write_text(SPEC, encoding="utf-8")

    async def talk(site: Site) -> None:
        rows = [
            {
                "id": f"r{i}",
                "at": (DAY + timedelta(minutes=i)).isoformat(),
                "features": {"review": text},
                "prediction": 1,
            }
            for i, text in enumerate(TEXTS)
        ]
        answer = (await site.post(INFER, rows)).json()
        assert (answer["accepted"], answer["errors"]) == (4, [])
        unnamed = await site.post("/v1/monitors/m/inferences", {**rows[0], "id": "x", "features": {"review.words": 3}})
        assert unnamed.status_code == 200

    run(home, talk, guards=True)
    spec = load_monitor(home.monitors / "m.yaml", home=home)
    intake(spec, home.monitor("m"), "inferences", home)
    found = scan_lake(spec, home.monitor("m"), "inferences").collect().sort("prediction_id")
    assert found["prediction_id"].to_list() == ["r0", "r1", "r2", "r3", "x"]
    assert found["f_review.characters"].to_list() == [16, 0, 6, 500, None]
    assert found["f_review.words"].to_list() == [3, 0, 1, 1, None]
    assert found["f_review.script"].to_list() == ["Latin", "none", "Cyrillic", "Latin", None]
    assert found["f_review.refund"].to_list() == [True, False, False, False, None]
